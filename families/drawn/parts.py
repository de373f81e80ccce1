"""Which part of a face is where, for the drawn family: the renderer knows it.

    python -m families.drawn.parts [--steps N]

A small network learns from the generator's features at 64 px what the renderer painted there for the same code. Writes
`checkpoints/demo/parts.safetensors`, and prints the intersection over union on other codes.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from families.drawn.attributes import attributes, sample_z
from families.drawn.renderer import render_parts
from families.parts import fit, overlap, write
from pipeline.models.family import load_generator
from pipeline.models.registry import family_row
from pipeline.networks.generator import StyleGenerator
from pipeline.networks.parts import PARTS, PartReader

OUTPUT = Path("checkpoints/demo/parts.safetensors")
SIZE, PLACES = 64, 400  # pixels a side of the features; places of a face that are learned from
FACES, HELD, STEPS = 500, 100, 1_500
SEED, HELD_SEED = 300, 301


@torch.inference_mode()
def features_and_parts(generator: StyleGenerator, z: Tensor) -> tuple[Tensor, Tensor]:
    """Features (N, C, R, R) of the faces of codes z, and the shares (N, P, R, R) of the parts."""
    features = torch.cat([generator.features_at(generator.styles(generator.mapping(one)), SIZE) for one in z.split(1)])
    truth = torch.cat([render_parts(attributes(part), 2 * SIZE) for part in z.split(10)])
    return features.float(), torch.nn.functional.avg_pool2d(truth, 2)


def measure(reader: PartReader, generator: StyleGenerator, count: int = HELD) -> dict[str, float]:
    """Part -> intersection over union with the renderer's, over faces that nothing was trained on; and of the face."""
    features, truth = features_and_parts(generator, sample_z(count, HELD_SEED))
    with torch.inference_mode():
        found, truth = reader(features).argmax(1), truth.argmax(1)
    face = torch.tensor([PARTS.index(part) for part in ("skin", "mouth", "eyes")])
    shares = {part: overlap(found == i, truth == i) for i, part in enumerate(PARTS)}
    return shares | {"face (skin, mouth, eyes)": overlap(torch.isin(found, face), torch.isin(truth, face))}


def main() -> None:
    """Train, write the reader and print what it reaches."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=STEPS)
    steps = parser.parse_args().steps
    torch.set_num_threads(1)
    generator, _ = load_generator(family_row("demo"), torch.device("cpu"), torch.float32)
    features, truth = features_and_parts(generator, sample_z(FACES, SEED))
    rng = torch.Generator().manual_seed(0)
    chosen = torch.stack([torch.randperm(SIZE * SIZE, generator=rng)[:PLACES] for _ in features])
    pairs = ([one.flatten(1).T[at] for one, at in zip(values, chosen, strict=True)] for values in (features, truth))
    features, truth = map(torch.cat, pairs)
    reader = fit(features, truth, SIZE, steps)
    write(reader, OUTPUT)
    for part, value in measure(reader, generator).items():
        print(f"{part}: {value:.3f}")


if __name__ == "__main__":
    main()
