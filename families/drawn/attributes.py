"""What a drawn face is made of: attributes computed from a code z, their class labels, and the code w* they form.

The demo generator is fitted on known truth. A code ``z`` (N, 128) is normalised as StyleGAN's mapping network
normalises it, its first entries become uniform *factors*, and the factors become *attributes*: numbers with a meaning
(age, smile, the red of the hair). Attributes that a prompt names are plateaus joined by steep, smooth ramps, so that
nearly every face either has them or not. `SEMANTICS` lists the numbers that a picture depends on; `w_from_attributes`
standardises them and turns them by a fixed rotation into W, so that no axis of W is an attribute.
"""

import functools

import torch
from torch import Tensor

Z_DIM = 128
W_DIM = 128
Attributes = dict[str, Tensor]

# Plateaus of the palettes: (name, share of the faces, RGB).
HAIR = (
    ("black", 0.19, (0.055, 0.05, 0.06)),
    ("brown", 0.19, (0.33, 0.19, 0.10)),
    ("red", 0.13, (0.74, 0.25, 0.07)),
    ("blonde", 0.17, (0.91, 0.74, 0.36)),
    ("grey", 0.11, (0.72, 0.73, 0.76)),
    ("blue", 0.07, (0.12, 0.33, 0.82)),
    ("purple", 0.07, (0.48, 0.17, 0.68)),
    ("pink", 0.07, (0.95, 0.42, 0.66)),
)
EYES = (("brown", 0.38, (0.33, 0.19, 0.09)), ("green", 0.28, (0.25, 0.52, 0.22)), ("blue", 0.34, (0.20, 0.48, 0.86)))
FRAMES = (
    ("black", 0.4, (0.06, 0.06, 0.07)),
    ("brown", 0.2, (0.36, 0.19, 0.09)),
    ("red", 0.2, (0.70, 0.09, 0.10)),
    ("gold", 0.2, (0.80, 0.62, 0.25)),
)
SKIN = ((0.0, (0.99, 0.86, 0.78)), (0.35, (0.94, 0.74, 0.60)), (0.65, (0.76, 0.53, 0.37)), (1.0, (0.36, 0.22, 0.15)))
EXPRESSIONS = ("sad", "neutral", "smiling", "surprised", "angry")
EYEWEAR = ("none", "glasses", "sunglasses")

CATEGORIES: dict[str, tuple[str, ...]] = {
    "hair_colour": tuple(name for name, *_ in HAIR),
    "hairstyle": ("bald", "hair", "mohawk"),
    "hair_texture": ("straight", "curly"),
    "hair_length": ("short", "long"),
    "fringe": ("no", "yes"),
    "skin": ("pale", "tanned", "dark"),
    "gender": ("woman", "man"),
    "age": ("young", "old"),
    "beard": ("no", "yes"),
    "moustache": ("no", "yes"),
    "eyewear": EYEWEAR,
    "expression": EXPRESSIONS,
    "eye_colour": tuple(name for name, *_ in EYES),
    "lips": ("bare", "red", "pink"),
    "eyeshadow": ("no", "yes"),
    "earrings": ("no", "yes"),
    "freckles": ("no", "yes"),
}

FACTORS = (
    "skin hair_colour hair_shade greying style length curl volume fringe parting hairline gender age beard moustache "
    "eyewear frame_colour frame_round frame_size expression intensity teeth eye_colour lipstick lip_hue eyeshadow "
    "shadow_hue earrings freckles blush face_width jaw chin eye_size nose_width nose_length lips brow_thick "
    "brow_height cheeks yaw light back_hue back_sat back_light cloth_hue cloth_light"
).split()

SEMANTICS = (
    "skin_r skin_g skin_b hair_r hair_g hair_b bald mohawk length curl volume fringe parting hairline masculine age "
    "beard moustache glasses sunglasses frame_r frame_g frame_b frame_round frame_size smile sad open surprise anger "
    "eye_r eye_g eye_b lipstick lip_hue eyeshadow shadow_hue earrings freckles blush face_width jaw chin eye_size "
    "nose_width nose_length lips brow_thick brow_height cheeks yaw light back_r back_g back_b cloth_r cloth_g cloth_b"
).split()


def sample_z(count: int, seed: int) -> Tensor:
    """Gaussian codes (count, Z_DIM) from a seed."""
    return torch.randn(count, Z_DIM, generator=torch.Generator().manual_seed(seed))


def _smooth(t: Tensor) -> Tensor:
    t = t.clamp(0, 1)
    return t * t * (3 - 2 * t)


def _present(u: Tensor, share: float | Tensor, width: float = 0.03) -> Tensor:
    """1 for the upper `share` of a uniform factor, 0 below, joined by a ramp `width` wide."""
    return _smooth((u - 1 + share) / width + 0.5)


def _plateaus(u: Tensor, shares: list[float], width: float = 0.024) -> Tensor:
    """Weights (N, K), summing to 1, of K plateaus laid side by side along a uniform factor."""
    edges = torch.tensor(shares).cumsum(0)[:-1]
    steps = _smooth((u[:, None] - edges) / width + 0.5)
    ones, zeros = torch.ones_like(u[:, None]), torch.zeros_like(u[:, None])
    return torch.cat([ones, steps], 1) - torch.cat([steps, zeros], 1)


def _wheel(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """A smooth colour wheel: RGB (N, 3) in [0, 1]."""
    phase = torch.tensor([0.0, 1 / 3, 2 / 3])
    wave = 0.5 + 0.5 * torch.cos(2 * torch.pi * (hue[:, None] - phase))
    return (value[:, None] * (1 - saturation[:, None] * (1 - wave))).clamp(0, 1)


def attributes(z: Tensor) -> Attributes:
    """Attributes of the faces that codes z (N, Z_DIM) stand for: tensors (N,), colours as three entries _r _g _b."""
    z = z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()  # the mapping network's PixelNorm
    uniform = torch.special.ndtr(z)
    u = {name: uniform[:, i] for i, name in enumerate(FACTORS)}
    signed = {name: (2 * value - 1) for name, value in u.items()}
    a: Attributes = {}

    man = _present(u["gender"], 0.5, 0.08)
    a["masculine"] = man
    a["age"] = age = u["age"]
    old = _smooth((age - 0.66) / 0.06)

    knots, colours = torch.tensor([k for k, _ in SKIN]), torch.tensor([c for _, c in SKIN])
    position = u["skin"].clamp(1e-4, 1 - 1e-4)
    index = torch.bucketize(position, knots) - 1
    share = ((position - knots[index]) / (knots[index + 1] - knots[index]))[:, None]
    _put_colour(a, "skin", colours[index] * (1 - share) + colours[index + 1] * share)

    weights = _plateaus(u["hair_colour"], [share for _, share, _ in HAIR])
    grey = _present(u["greying"], 0.55)[:, None] * old[:, None]
    weights = weights * (1 - grey) + grey * torch.eye(len(HAIR))[4]
    a["hair_weights"] = weights
    shade = 1 + 0.16 * signed["hair_shade"][:, None]
    _put_colour(a, "hair", (weights @ torch.tensor([rgb for *_, rgb in HAIR])) * shade)

    a["bald"] = _present(1 - u["style"], 0.03 + 0.17 * man)
    a["mohawk"] = _present(u["style"], 0.08)
    a["length"] = u["length"] ** (0.55 + 1.6 * man)
    a["curl"] = _present(u["curl"], 0.42, 0.08)
    a["volume"] = u["volume"]
    a["fringe"] = _present(u["fringe"], 0.3)
    a["parting"], a["hairline"] = signed["parting"], signed["hairline"]

    a["beard"] = man * _present(u["beard"], 0.42)
    a["moustache"] = torch.maximum(man * _present(u["moustache"], 0.3), a["beard"])

    eyewear = _plateaus(u["eyewear"], [0.52, 0.32, 0.16])
    a["glasses"], a["sunglasses"] = eyewear[:, 1] + eyewear[:, 2], eyewear[:, 2]
    _put_colour(
        a, "frame", _plateaus(u["frame_colour"], [s for _, s, _ in FRAMES]) @ torch.tensor([c for *_, c in FRAMES])
    )
    a["frame_round"], a["frame_size"] = u["frame_round"], signed["frame_size"]

    a["expression_weights"] = face = _plateaus(u["expression"], [0.2] * 5)
    strength = 0.75 + 0.4 * u["intensity"]
    a["sad"], a["smile"] = face[:, 0] * strength, face[:, 2] * strength
    a["surprise"], a["anger"] = face[:, 3] * strength, face[:, 4] * strength
    a["open"] = torch.maximum(a["smile"] * _present(u["teeth"], 0.6), a["surprise"])

    a["eye_weights"] = _plateaus(u["eye_colour"], [share for _, share, _ in EYES])
    _put_colour(a, "eye", a["eye_weights"] @ torch.tensor([rgb for *_, rgb in EYES]))
    a["lipstick"] = _present(u["lipstick"], 0.04 + 0.56 * (1 - man))
    a["lip_hue"] = _present(u["lip_hue"], 0.5)
    a["eyeshadow"] = (1 - man) * _present(u["eyeshadow"], 0.4)
    a["shadow_hue"] = u["shadow_hue"]
    a["earrings"] = _present(u["earrings"], 0.05 + 0.4 * (1 - man))
    a["freckles"] = _present(u["freckles"], 0.22)
    a["blush"] = u["blush"]
    for name in (
        "face_width",
        "jaw",
        "chin",
        "eye_size",
        "nose_width",
        "nose_length",
        "lips",
        "brow_thick",
        "brow_height",
        "cheeks",
        "yaw",
        "light",
    ):
        a[name] = signed[name]
    _put_colour(a, "back", _wheel(u["back_hue"], 0.15 + 0.55 * u["back_sat"] ** 2, 0.35 + 0.6 * u["back_light"]))
    _put_colour(a, "cloth", _wheel(u["cloth_hue"], torch.full_like(man, 0.6), 0.25 + 0.6 * u["cloth_light"]))
    return a


def _put_colour(a: Attributes, name: str, rgb: Tensor) -> None:
    for channel, suffix in enumerate("rgb"):
        a[f"{name}_{suffix}"] = rgb[:, channel]


def labels(a: Attributes) -> dict[str, Tensor]:
    """Class indices (N,) into `CATEGORIES`, -1 where a face is in a transition or the thing cannot be seen."""

    def plateau(weights: Tensor) -> Tensor:
        top, index = weights.max(1)
        return torch.where(top > 0.97, index, -1)

    def split(value: Tensor, low: float = 0.05, high: float = 0.95) -> Tensor:
        return torch.where(value <= low, 0, torch.where(value >= high, 1, -1))

    hidden = (a["bald"] > 0.05) | (a["mohawk"] > 0.05)
    style = torch.stack([a["bald"], 1 - a["bald"] - a["mohawk"], a["mohawk"]], 1)
    brightness = a["skin_g"]
    skin = torch.where(
        brightness > 0.76,
        0,
        torch.where((brightness < 0.66) & (brightness > 0.5), 1, torch.where(brightness < 0.36, 2, -1)),
    )
    eyewear = torch.stack([1 - a["glasses"], a["glasses"] - a["sunglasses"], a["sunglasses"]], 1)
    lips = torch.stack([1 - a["lipstick"], a["lipstick"] * (1 - a["lip_hue"]), a["lipstick"] * a["lip_hue"]], 1)
    return {
        "hair_colour": torch.where(a["bald"] > 0.05, -1, plateau(a["hair_weights"])),
        "hairstyle": plateau(style),
        "hair_texture": torch.where(hidden, -1, split(a["curl"])),
        "hair_length": torch.where(hidden, -1, split(a["length"], 0.28, 0.55)),
        "fringe": torch.where(hidden, -1, split(a["fringe"])),
        "skin": skin,
        "gender": split(a["masculine"]),
        "age": split(a["age"], 0.5, 0.72),
        "beard": split(a["beard"]),
        "moustache": torch.where(a["beard"] > 0.05, -1, split(a["moustache"])),
        "eyewear": plateau(eyewear),
        "expression": plateau(a["expression_weights"]),
        "eye_colour": torch.where(a["sunglasses"] > 0.05, -1, plateau(a["eye_weights"])),
        "lips": plateau(lips),
        "eyeshadow": torch.where(a["sunglasses"] > 0.05, -1, split(a["eyeshadow"])),
        "earrings": split(a["earrings"]),
        "freckles": split(a["freckles"]),
    }


@functools.cache
def standardisation() -> tuple[Tensor, Tensor, Tensor]:
    """Mean (D,) and deviation (D,) of the semantics, and the rotation (D, W_DIM) that spreads them over W."""
    values = torch.stack([attributes(sample_z(50_000, seed=1))[name] for name in SEMANTICS], 1)
    basis = torch.linalg.qr(torch.randn(W_DIM, W_DIM, generator=torch.Generator().manual_seed(2), dtype=torch.float64))[
        0
    ]
    spread = (W_DIM / len(SEMANTICS)) ** 0.5
    return values.mean(0), values.std(0), (basis[: len(SEMANTICS)] * spread).float()


def w_from_attributes(a: Attributes) -> Tensor:
    """The code w* (N, W_DIM), of about unit variance, that the generator is fitted to draw the face of."""
    mean, deviation, rotation = standardisation()
    values = torch.stack([a[name] for name in SEMANTICS], 1)
    return (values - mean) / deviation @ rotation
