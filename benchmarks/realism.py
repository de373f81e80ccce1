"""Does an edit look real, and does it stay in its place? What the renderer of drawn faces says of it.

The renderer knows where each part of a sampled face is, and draws the same face with what an edit is to bring. So the
colour of the edited part is compared with that of the drawing (ΔE, CIEDE2000: 1 is just seen, from about 12 on it is
another colour), and what has changed beside the part is counted, in grey levels of 255.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import torch
from skimage.color import deltaE_ciede2000, rgb2lab
from torch import Tensor

from families.drawn.attributes import EYES, HAIR, attributes, sample_z
from families.drawn.renderer import render, render_parts
from pipeline.methods.regions import REGIONS, region_of
from pipeline.networks.parts import PARTS

SIZE = 256  # pixels a side of what is compared
INSIDE, NOWHERE = 0.95, 0.05  # shares of a pixel: wholly in a part, and outside it
SEEN = 0.1  # of the range of a channel, by which a pixel shows that an attribute is another
FEWEST = 12  # pixels that have a colour
BELIEVABLE = 12.0  # ΔE
BACKGROUND = [PARTS.index(part) for part in ("background", "clothes")]
KEPT = 160  # faces, of which what was drawn is remembered
Numbers = Mapping[str, float]


def _colour(name: str, rgb: tuple[float, ...]) -> Numbers:
    return {f"{name}_{channel}": value for channel, value in zip("rgb", rgb, strict=True)}


BLACK, WHITE = (0.0,) * 3, (1.0,) * 3
# Category -> where it is drawn, and two looks of it, which differ wherever it is seen.
CONTRASTS: dict[str, tuple[str, Numbers, Numbers]] = {
    "hair_colour": ("hair", _colour("hair", BLACK), _colour("hair", WHITE)),
    "eye_colour": ("eyes", _colour("eye", BLACK), _colour("eye", WHITE)),
    "lips": ("mouth", {"lipstick": 0.0}, {"lipstick": 1.0}),
}
# Category and value -> the renderer's palette.
PALETTE: dict[tuple[str, str], Numbers] = (
    {("hair_colour", name): _colour("hair", rgb) for name, _, rgb in HAIR}
    | {("eye_colour", name): _colour("eye", rgb) for name, _, rgb in EYES}
    | {("lips", name): {"lipstick": 1.0, "lip_hue": hue} for name, hue in (("red", 0.0), ("pink", 1.0))}
)


@lru_cache(maxsize=KEPT)
def drawn_numbers(seed: int) -> dict[str, Tensor]:
    """What the face of a seed is drawn from; each number (1,)."""
    return {name: value for name, value in attributes(sample_z(1, seed)).items() if value.ndim == 1}


def drawn(seed: int, numbers: Numbers) -> Tensor:
    """The drawing (3, R, R) in [0, 1] of the face of a seed, with some of its numbers others."""
    face = drawn_numbers(seed) | {name: torch.tensor([value]) for name, value in numbers.items()}
    return render(face, SIZE)[0][0] / 2 + 0.5


@lru_cache(maxsize=KEPT)
def parts(seed: int) -> Tensor:
    """The share of each pixel (P, R, R) that each of `PARTS` has in the drawing of a seed."""
    return render_parts(drawn_numbers(seed), SIZE)[0].half()


@lru_cache(maxsize=3 * KEPT)
def coloured(seed: int, category: str) -> Tensor:
    """Where the colour of a category is seen in the drawing of a seed (R, R)."""
    part, *looks = CONTRASTS[category]
    one, other = (drawn(seed, look) for look in looks)
    return ((one - other).abs().amax(0) > SEEN) & (parts(seed)[PARTS.index(part)] > INSIDE)


@lru_cache(maxsize=8 * KEPT)
def expected(seed: int, category: str, value: str) -> Tensor:
    """The colour (3,) in [0, 1] that the renderer gives the face of a seed, with the palette's value of a category."""
    return _median(drawn(seed, PALETTE[category, value]), coloured(seed, category))


def _median(picture: Tensor, mask: Tensor) -> Tensor:
    return picture[:, mask].median(1).values


def colour_error(seed: int, category: str, value: str, picture: Tensor) -> float | None:
    """ΔE between the colour of an edited part in a picture (3, R, R) in [0, 1] of the face of a seed, and in the
    renderer's drawing of it; medians over the part. None where hardly anything of the part is seen."""
    mask = coloured(seed, category)
    if mask.sum() < FEWEST:
        return None
    labs = [rgb2lab(colour.double().numpy()) for colour in (_median(picture, mask), expected(seed, category, value))]
    return float(deltaE_ciede2000(*labs))


class Outside(NamedTuple):
    """The mean change of a picture, in grey levels, outside the part that an edit is about: everywhere else, and in the
    backdrop and the clothes alone."""

    all: float
    backdrop: float


def change_outside(inside: Tensor, backdrop: Tensor, before: Tensor, after: Tensor) -> Outside:
    """Of two pictures (3, R, R) in [0, 1]; `inside` and `backdrop` (R, R) are shares of the pixels."""
    change, outside = (after - before).abs().mean(0) * 255, inside < NOWHERE
    return Outside(change[outside].mean().item(), change[outside & (backdrop > INSIDE)].mean().item())


def drawn_outside(seed: int, target: str, before: Tensor, after: Tensor) -> Outside | None:
    """`change_outside` by the renderer's drawing of the face of a seed. None where the target is about the whole
    picture."""
    inside = sorted({PARTS.index(part) for region in region_of(target) for part in REGIONS[region]})
    shares = parts(seed).float()
    return change_outside(shares[inside].sum(0), shares[BACKGROUND].sum(0), before, after) if inside else None
