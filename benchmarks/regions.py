"""Edits of hair with and without its region: what of them lands outside it, and how often the colour is read.

    python -m benchmarks.regions [--model photo] [--faces 24] [--sheet FILE]

Outside is where the hair is neither before nor after the edit: by the renderer for the drawn family, which knows where
it is before, and by the family's reader of parts otherwise. The reader of attributes says whether the colour is there;
each colour is tried on the faces that lack it, at the strength that the page begins with. Pictures are of 256 px, as
sliders show them.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from benchmarks.photographs import contact_sheet
from families.drawn import attributes as drawn
from families.drawn.reader import SIZE, Reader, probabilities
from families.drawn.renderer import render_parts
from families.photo import captions as photographed
from pipeline import Latent, StyleCLIP
from pipeline.images import to_tensor
from pipeline.networks.parts import PARTS
from pipeline.training.command import run
from webapp.presets import presets

COLOURS = ("blonde", "black", "grey")
FIRST_SEED, LOOKED_AT = 1_000_000, 256  # sampled faces that nothing was trained on; pixels a side of what is compared
NOWHERE = 0.05  # of the mask, below which a pixel is outside
CATEGORIES = {"demo": drawn.CATEGORIES, "photo": photographed.CATEGORIES}
ON_SHEET = 6


def hair(studio: StyleCLIP, seed: int, latents: list[Latent]) -> Tensor:
    """Where hair is in any of the pictures, the first of which is that of `seed` (1, 1, R, R)."""
    masks = [studio.region(latent, "hair") for latent in latents]
    if studio.family.row.pictures == "drawings":
        truth = render_parts(drawn.attributes(drawn.sample_z(1, seed)), 128)[:, [PARTS.index("hair")]]
        masks[0] = F.adaptive_avg_pool2d(truth, masks[0].shape[-1])
    return torch.stack(masks).amax(0)


def outside_change(before: Image.Image, after: Image.Image, mask: Tensor) -> float:
    """The mean change outside a mask, in grey levels."""
    a, b = (to_tensor(picture, (LOOKED_AT, LOOKED_AT)) for picture in (before, after))
    outside = F.interpolate(mask, a.shape[2:], mode="bilinear") < NOWHERE
    return ((a - b).abs() * 127.5)[outside.expand_as(a)].mean().item()


def measure(name: str, faces: int, sheet: Path | None) -> None:
    """Print the table of a family, and draw its first faces: before, and each colour without and with its region."""
    studio = StyleCLIP.from_pretrained(name, device="cpu")
    categories = CATEGORIES[name]
    reader = Reader.from_file(Path("checkpoints") / name / "reader.safetensors", categories)
    strengths = {pair.target: pair.strength for pair in presets(name, studio.family.defaults).pairs}

    def colour(picture: Image.Image) -> str:
        found = probabilities(reader, to_tensor(picture, (SIZE, SIZE)))["hair_colour"]
        return categories["hair_colour"][int(found.argmax())]

    truncation = 1.0 if studio.family.row.pictures == "drawings" else 0.7
    changes, hits, rows = defaultdict(list), defaultdict(list), []
    for seed in range(FIRST_SEED, FIRST_SEED + faces):
        latent = studio.sample(seed, truncation)
        before = studio.image(latent, LOOKED_AT)
        read, row = colour(before), [before]
        for wanted in COLOURS:
            target = f"face with {wanted} hair"
            edit = studio.direct(latent, target, "face", strengths.get(target))
            held = studio.within(latent, edit, ["hair"])
            mask = hair(studio, seed, [latent, edit.latent])
            pictures = {way: studio.image(one.latent, LOOKED_AT) for way, one in (("whole", edit), ("held", held))}
            row += pictures.values()
            if read == wanted or mask.mean() < 0.01:  # it has that colour, or no hair
                continue
            for way, picture in pictures.items():
                changes[wanted, way].append(outside_change(before, picture, mask))
                hits[wanted, way].append(colour(picture) == wanted)
        rows.append(row)
    print("| hair | faces | outside it, whole picture | held to hair | colour read, whole picture | held to hair |")
    print("|---|---|---|---|---|---|")
    for wanted in COLOURS:
        cells = [f"{np.mean(changes[wanted, way]):.2f}" for way in ("whole", "held")]
        cells += [f"{np.mean(hits[wanted, way]):.0%}" for way in ("whole", "held")]
        print(f"| {wanted} | {len(hits[wanted, 'held'])} | " + " | ".join(cells) + " |")
    if sheet:
        contact_sheet(rows[:ON_SHEET], sheet)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=[*CATEGORIES], default="photo")
    parser.add_argument("--faces", type=int, default=24)
    parser.add_argument("--sheet", type=Path, help="the picture to write")
    options = parser.parse_args()
    run(lambda: measure(options.model, options.faces, options.sheet))


if __name__ == "__main__":
    main()
