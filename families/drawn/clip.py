"""Train the demo CLIP on drawn faces: what they show is known.

    python -m families.drawn.clip [--minutes N]

Work is kept in `.cache/demo/clip.pt` and goes on from there.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from families.clip import Faces, Space, SpaceFit, table, train, zero_shot
from families.drawn.attributes import Attributes, labels
from families.drawn.captions import CAPTIONS
from families.drawn.dataset import CACHE, Dataset
from families.drawn.reader import EXCHANGED, SEED, exchanged, to_bytes
from families.drawn.renderer import render
from pipeline.losses import clip_pool
from pipeline.networks.clip import CLIP, build_clip

OUTPUT = Path("checkpoints/demo/clip.safetensors")
RESOLUTION, WIDTH = 96, 16
WEIGHT = {"freckles": 6.0, "moustache": 2.0, "eyeshadow": 2.0}  # of the categories' errors, where they are hard to see


def _ramp(value: Tensor, low: float, high: float) -> Tensor:
    return ((value - low) / (high - low)).clamp(0, 1)


def weights(a: Attributes) -> dict[str, Tensor]:
    """How much of each value a face shows: category -> (N, K), summing to 1, or to less where it is partly hidden.

    Agrees with `attributes.labels` where that is not ambiguous, and is continuous between.
    """

    def pair(yes: Tensor, visible: Tensor | float = 1.0) -> Tensor:
        return torch.stack([(1 - yes) * visible, yes * visible], 1)

    haired = (1 - a["bald"]) * (1 - a["mohawk"])
    open_eyes = 1 - a["sunglasses"]
    pale, dark = _ramp(a["skin_g"], 0.66, 0.76), _ramp(a["skin_g"], 0.50, 0.36)
    red, pink = a["lipstick"] * (1 - a["lip_hue"]), a["lipstick"] * a["lip_hue"]
    return {
        "hair_colour": a["hair_weights"] * (1 - a["bald"])[:, None],
        "hairstyle": torch.stack([a["bald"], 1 - a["bald"] - a["mohawk"], a["mohawk"]], 1),
        "hair_texture": pair(a["curl"], haired),
        "hair_length": pair(_ramp(a["length"], 0.28, 0.55), haired),
        "fringe": pair(a["fringe"], haired),
        "skin": torch.stack([pale, 1 - pale - dark, dark], 1),
        "gender": pair(a["masculine"]),
        "age": pair(_ramp(a["age"], 0.5, 0.72)),
        "beard": pair(a["beard"]),
        "moustache": pair(a["moustache"], 1 - a["beard"]),
        "eyewear": torch.stack([1 - a["glasses"], a["glasses"] - a["sunglasses"], a["sunglasses"]], 1),
        "expression": a["expression_weights"],
        "eye_colour": a["eye_weights"] * open_eyes[:, None],
        "lips": torch.stack([1 - a["lipstick"], red, pink], 1),
        "eyeshadow": pair(a["eyeshadow"], open_eyes),
        "earrings": pair(a["earrings"]),
        "freckles": pair(a["freckles"]),
    }


def _numbers(a: Attributes) -> Tensor:
    """The numbers (N, 13) that some of the values stand for, centred; `NUMBERS_OF` names their categories."""
    hair, eyes = 1 - a["bald"], 1 - a["sunglasses"]
    return torch.stack(
        [
            *((a[f"hair_{c}"] - mean) * hair * 2 for c, mean in zip("rgb", (0.45, 0.36, 0.36), strict=True)),
            (a["length"] - 0.45) * hair * (1 - a["mohawk"]) * 2,
            (a["skin_g"] - 0.6) * 4,
            (a["age"] - 0.5) * 2,
            *((a[name] - 0.19) * 1.5 for name in ("sad", "smile", "surprise", "anger")),
            *((a[f"eye_{c}"] - mean) * eyes * 2 for c, mean in zip("rgb", (0.26, 0.39, 0.44), strict=True)),
        ],
        1,
    )


NUMBERS_OF = ("hair_colour",) * 3 + ("hair_length", "skin", "age") + ("expression",) * 4 + ("eye_colour",) * 3


def known_faces(a: Attributes) -> Faces:
    """What faces with attributes `a` show."""
    return Faces(weights(a), _numbers(a), labels(a))


def pictures(data: Dataset) -> tuple[Tensor, Attributes]:
    """Images uint8 (N, 3, RESOLUTION, RESOLUTION) and attributes: the rendered set, then exchanged attributes.

    The latter are there so that no attribute stands for another that usually goes with it.
    """
    kept = CACHE / f"clip-{RESOLUTION}.pt"
    dealt = exchanged(EXCHANGED, SEED)
    both = {name: torch.cat([data.attributes[name], dealt[name]]) for name in dealt}
    if not kept.exists():
        if not data.done.all():
            raise SystemExit("the rendered set is incomplete: python -m families.drawn.dataset")
        chunks = []
        for index in torch.arange(len(data.images)).split(100):
            chunks.append(to_bytes(clip_pool(data.batch(index), RESOLUTION)))
        numbers = {name: value for name, value in dealt.items() if value.ndim == 1}
        with torch.inference_mode():
            for start in range(0, EXCHANGED, 24):
                drawn, _ = render({name: v[start : start + 24] for name, v in numbers.items()}, 2 * RESOLUTION)
                chunks.append(to_bytes(clip_pool(drawn, RESOLUTION)))
        torch.save(torch.cat(chunks), kept)
    return torch.load(kept, weights_only=True), both


def load(path: Path = OUTPUT) -> CLIP:
    """The trained model, frozen."""
    return build_clip(load_file(path))


def zero_shot_here(images: Tensor, truth: Mapping[str, Tensor]) -> dict[str, dict[str, float]]:
    """`zero_shot` of the trained model by the plain texts of the drawn faces' values."""
    return zero_shot(load(), CAPTIONS, images, truth)


def main() -> None:
    """Train until `--minutes` in all are spent, then export and print the zero-shot table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=85)
    minutes = parser.parse_args().minutes
    torch.set_num_threads(1)
    data = Dataset()
    images, attributes = pictures(data)
    faces = known_faces(attributes)
    space = Space(CAPTIONS, NUMBERS_OF, faces)
    learned = torch.cat([torch.arange(data.train), torch.arange(len(data.images), len(images))])
    fit = SpaceFit(CAPTIONS, space, images, space.faces(faces), learned, WIDTH, WEIGHT)
    train(fit, CACHE / "clip.pt", minutes)
    fit.export(OUTPUT)
    held_out = torch.arange(data.train, len(data.images))
    print(table(zero_shot_here(images[held_out].float() / 127.5 - 1, faces.of(held_out).truth)), flush=True)


if __name__ == "__main__":
    main()
