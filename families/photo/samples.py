"""Sampled faces of the photo family: codes and small pictures, made once, resumably; and sheets to label by eye.

    python -m families.photo.samples [--folder DIR] [--count N]

The seed of a face is its number, so `StyleCLIP.sample(seed, psi)` makes it again. `codes.safetensors` holds `w`
(N, 512), `psi` (N,) and `latent_avg` (512,), the mean that ψ counts from. Pictures are `images/SEED.jpg`, 256 px; the
sheets show 48 faces each of the first 1,536 seeds.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save_file
from torch import Tensor

from pipeline.errors import UserError
from pipeline.files import written_whole
from pipeline.images import to_pil
from pipeline.models.family import load_generator
from pipeline.models.registry import family_row
from pipeline.networks.generator import StyleGenerator
from pipeline.training.command import run

FOLDER = Path(".cache/photo")
COUNT = 12_000
SIZE, QUALITY = 256, 95
LOWEST_PSI = 0.5
LABELLED, COLUMNS, ROWS, CELL = 1_536, 8, 6, 160  # faces on sheets, and how a sheet is laid out


def codes(generator: StyleGenerator, mean: Tensor, count: int) -> dict[str, Tensor]:
    """The codes of seeds 0 ... `count` - 1: w (N, D) after truncation by psi (N,), which runs evenly over [0.5, 1)."""
    psi = LOWEST_PSI + (1 - LOWEST_PSI) * (torch.arange(count) * 0.618034 % 1)
    z = [torch.randn(1, generator.style_dim, generator=torch.Generator().manual_seed(seed)) for seed in range(count)]
    w = mean + psi[:, None] * (generator.mapping(torch.cat(z)) - mean)
    return {"w": w, "psi": psi, "latent_avg": mean[0]}


@torch.inference_mode()
def sample(folder: Path, count: int) -> None:
    """Make what is missing of `count` faces, on one core."""
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    generator, mean = load_generator(family_row("photo"), torch.device("cpu"), torch.bfloat16)
    generator.preview = None  # which draws small pictures nearly, not exactly, as the whole generator
    kept = folder / "codes.safetensors"
    if kept.exists() and "begun" in (there := load_file(kept)) and len(there["w"]) < count:
        raise UserError("Edited samples follow the samples already; please make more samples in a new folder.")
    if not kept.exists() or len(load_file(kept)["w"]) < count:
        save_file(codes(generator, mean, count), kept)
    draw_pictures(generator, load_file(kept)["w"][:count], folder)


def picture_path(folder: Path, seed: int) -> Path:
    """Where the picture of a seed is."""
    return folder / "images" / f"{seed:05}.jpg"


def draw_pictures(generator: StyleGenerator, w: Tensor, folder: Path) -> None:
    """Draw the pictures that are not there yet, and the sheets as soon as their faces are."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "sheets").mkdir(exist_ok=True)
    on_sheet = COLUMNS * ROWS
    for seed, code in enumerate(w):
        if not (path := picture_path(folder, seed)).exists():
            picture = to_pil(generator(code[None], SIZE))
            with written_whole(path) as fresh:
                picture.save(fresh, "JPEG", quality=QUALITY, subsampling=0)
        if (seed + 1) % on_sheet == 0 and seed < LABELLED:
            draw_sheet(folder, seed + 1 - on_sheet)
        if (seed + 1) % 100 == 0:
            print(f"{seed + 1} of {len(w)} faces", flush=True)


def draw_sheet(folder: Path, first: int) -> None:
    """The 48 faces from seed `first` on, each with its seed."""
    path = folder / "sheets" / f"{first:05}.jpg"
    if path.exists():
        return
    sheet = Image.new("RGB", (COLUMNS * CELL, ROWS * CELL))
    pen = ImageDraw.Draw(sheet)
    for i in range(COLUMNS * ROWS):
        x, y = i % COLUMNS * CELL, i // COLUMNS * CELL
        with Image.open(picture_path(folder, first + i)) as picture:
            sheet.paste(picture.resize((CELL, CELL), Image.Resampling.LANCZOS), (x, y))
        pen.rectangle((x, y, x + 36, y + 15), fill="black")
        pen.text((x + 3, y + 1), str(first + i), fill="white", font_size=13)
    with written_whole(path) as fresh:
        sheet.save(fresh, "JPEG", quality=QUALITY)


def tell(folder: Path, part: str, text: str) -> None:
    """Print what a part measured, and keep it for the model card."""
    print(text, flush=True)
    (folder / f"{part}.md").write_text(text + "\n", encoding="utf-8")


def figures(found: dict[str, float]) -> str:
    """Named numbers as a table."""
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value:.3f} |" for name, value in found.items())])


def part_parser(description: str) -> argparse.ArgumentParser:
    """The command line that all parts have: --folder."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of the samples and what is made of them")
    return parser


def train_command(description: str, train: Callable[[Path, int], None], steps: int) -> None:
    """The command line of a part that trains: `train` gets the folder and the number of steps, `steps` unless told
    otherwise."""
    parser = part_parser(description)
    parser.add_argument("--steps", type=int, default=steps)
    options = parser.parse_args()
    run(lambda: train(options.folder, options.steps))


def main() -> None:
    """The command line."""
    parser = part_parser(__doc__)
    parser.add_argument("--count", type=int, default=COUNT)
    options = parser.parse_args()
    run(lambda: sample(options.folder, options.count))


if __name__ == "__main__":
    main()
