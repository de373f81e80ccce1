"""How close an inverted face comes to its photo, and whether edits still work from there: a Markdown table.

    python -m benchmarks.likeness [--faces 12] [--painted 8] [--sheet docs/results/likeness.jpg]

Three kinds of photo: drawings of faces that no model was trained on; the page's example photos, found and aligned; and
drawings with a headband and a plaster, which no code of the generator draws. Each is inverted, then refined, tuned, or
both, at the defaults. Everything is compared with the photo: PSNR at 256 px, identity cosine, attributes that read the
same; for the edits, of those faces that lack the target, what benchmarks.edits says of its cells. Seconds are CPU time.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image, ImageDraw

from benchmarks.judging import FIRST_SEED, Face, Score, direct, map_, tensor
from benchmarks.targets import PAIRS
from families.drawn.attributes import CATEGORIES, attributes, sample_z
from families.drawn.reader import Reader, read, visible
from families.drawn.renderer import render
from pipeline import Latent, StyleCLIP
from pipeline.edits import Step
from pipeline.images import to_pil

WAYS = {"e4e": (), "refined": ("refine",), "tuned": ("tune",), "refined, then tuned": ("refine", "tune")}
EDITS = {"direction: smiling": direct, "direction: glasses": direct, "mapper: blonde": map_}
GLASSES = next(pair for pair in PAIRS if "glasses" in pair.target)
EXAMPLES, SIZE, TILE, GAP = Path("webapp/examples/drawings"), 256, 192, 6


def drawn(count: int, seed: int) -> Iterator[Image.Image]:
    """Aligned drawings that no model was trained on."""
    numbers = attributes(sample_z(count, seed))
    for i in range(count):
        yield to_pil(render({name: value[i : i + 1] for name, value in numbers.items()}, SIZE)[0])


def painted(image: Image.Image) -> Image.Image:
    """The face with a headband and a plaster on the cheek."""
    image = image.copy()
    draw = ImageDraw.Draw(image)
    draw.polygon([(78, 74), (178, 66), (181, 82), (80, 90)], (215, 40, 60))
    draw.polygon([(148, 160), (172, 148), (177, 158), (153, 170)], (245, 225, 170), (150, 120, 80))
    return image


class Result(NamedTuple):
    """A face after one of `WAYS`: CPU seconds, and the likeness of its picture."""

    latent: Latent
    image: Image.Image
    seconds: float
    psnr: float
    identity: float
    attributes: float


def closer(studio: StyleCLIP, reader: Reader, photo: Image.Image) -> dict[str, Result]:
    """A photo inverted in all `WAYS`."""
    results, truth = {}, read(reader, tensor(photo))
    names = [name for name in CATEGORIES if visible(truth)[name]]
    for way, methods in WAYS.items():
        begin, latent = time.process_time(), studio.invert(photo)
        if way == "refined, then tuned":  # what was refined above is not refined again
            latent, methods = results["refined"].latent, methods[1:]
        for method in methods:
            last: Step
            *_, last = getattr(studio, method)(latent, photo, preview=SIZE)
            latent = last.latent
        seconds = time.process_time() - begin + (results["refined"].seconds if len(WAYS[way]) > 1 else 0)
        image = studio.image(latent)
        error = (tensor(image) - tensor(photo)).square().mean() / 4
        found = read(reader, tensor(image))
        same = sum(bool(found[name] == truth[name]) for name in names) / len(names)
        identity = studio.likeness(latent, photo)
        results[way] = Result(latent, image, seconds, -10 * error.log10().item(), identity, same)
    return results


def measure(studio: StyleCLIP, reader: Reader, photos: Iterator[Image.Image]) -> None:
    """Print a row a way."""
    pairs = {edit: next(p for p in PAIRS if edit.split()[-1] in p.target) for edit in EDITS}
    rows: dict[str, list[Result]] = {way: [] for way in WAYS}
    scores = {way: {edit: Score(studio, reader, pair) for edit, pair in pairs.items()} for way in WAYS}
    for photo in photos:
        truth = read(reader, tensor(photo))
        for way, result in closer(studio, reader, photo).items():
            rows[way].append(result)
            for edit, apply in EDITS.items():
                if pairs[edit].lacking(truth):
                    before = Face(result.latent, photo, truth)
                    scores[way][edit].add(before, apply(studio, result.latent, pairs[edit]))
    for way, results in rows.items():
        seconds, psnr, identity, same = torch.tensor([result[2:] for result in results]).mean(0).tolist()
        cells = [way, f"{psnr:.1f} dB", f"{identity:.3f}", f"{same:.1%}", f"{seconds:.1f} s"]
        print("| " + " | ".join(cells + [str(score) for score in scores[way].values()]) + " |", flush=True)


def sheet(studio: StyleCLIP, reader: Reader, photos: list[Image.Image]) -> Image.Image:
    """Two rows a photo: it and what becomes of it on each way; the same edited with glasses."""
    out = Image.new("RGB", ((len(WAYS) + 1) * (TILE + GAP) - GAP, 2 * len(photos) * (TILE + GAP) - GAP), "white")

    def put(image: Image.Image, column: int, row: int) -> None:
        tile = image.resize((TILE, TILE), Image.Resampling.LANCZOS)
        out.paste(tile, (column * (TILE + GAP), row * (TILE + GAP)))

    for i, photo in enumerate(photos):
        put(photo, 0, 2 * i)
        for column, result in enumerate(closer(studio, reader, photo).values(), 1):
            put(result.image, column, 2 * i)
            put(direct(studio, result.latent, GLASSES), column, 2 * i + 1)
    return out


def main() -> None:
    """Print the table as it grows; write the picture if asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faces", type=int, default=12)
    parser.add_argument("--painted", type=int, default=8)
    parser.add_argument("--sheet", type=Path, help="picture file to write")
    options = parser.parse_args()
    studio, reader = StyleCLIP.from_pretrained("demo", device="cpu"), Reader.from_file()
    examples = [studio.align(path)[0].image for path in sorted(EXAMPLES.glob("*.png"))]
    print("| | PSNR | identity | attributes | CPU | " + " | ".join(EDITS) + " |\n|---|" + "---|" * (4 + len(EDITS)))
    for title, photos in {
        f"{options.faces} drawings": drawn(options.faces, FIRST_SEED),
        f"{len(examples)} example photos": iter(examples),
        f"{options.painted} drawings with headband and plaster": map(painted, drawn(options.painted, FIRST_SEED + 1)),
    }.items():
        print(f"| **{title}** |" + " |" * (4 + len(EDITS)), flush=True)
        measure(studio, reader, photos)
    if options.sheet:
        odd = map(painted, drawn(options.painted, FIRST_SEED + 1))
        faces = [next(f for f in photos if GLASSES.lacking(read(reader, tensor(f)))) for photos in (examples[1:], odd)]
        sheet(studio, reader, faces).save(options.sheet, quality=88)


if __name__ == "__main__":
    main()
