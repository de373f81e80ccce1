"""The photo family on photographs and on faces that nothing was trained on: likeness, edits, and sheets to look at.

    python -m benchmarks.photographs likeness [--photos FOLDER] [--sheet FILE]
    python -m benchmarks.photographs edits [--photos FOLDER] [--faces 24] [--methods NAME ...] [--sheets docs/results]

`likeness`: each photograph is aligned, inverted, and the generator tuned to it; a row says what is kept of the person.
`edits`: at the strength that the page begins with, on sampled faces and on photographs after tuning; each target is
tried on those that lack it. Pictures are kept in `.cache/photographs` and made once, so a run that was cut goes on;
remove the folder after a change of the models. Photographs of people are brought by who measures: scikit-image's
astronaut, where that is installed, is always one of them. Needs node 20 and what benchmarks/photo_judging.py names.
"""

import argparse
import importlib.util
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from benchmarks.photo_judging import SAME_PERSON, SMILES, TARGETS, Seen, Target, look
from pipeline import Latent, StyleCLIP
from pipeline.errors import UserError
from pipeline.faces.detection import Face
from pipeline.files import written_whole
from pipeline.models.registry import family_row
from pipeline.training.command import run
from webapp.presets import presets

CACHE = Path(".cache/photographs")
FIRST_SEED, PSI = 1_000_000, 0.7  # of sampled faces: no part of the family was trained on these
STEPS = 60  # of the optimization
ON_SHEET, TILE, QUALITY = 8, 160, 88
PICTURES = (".jpg", ".jpeg", ".png", ".webp")

Method = Callable[[StyleCLIP, Latent, Target], Image.Image]


@cache
def suggested() -> dict[str, float | None]:
    """Target text -> the α that the page suggests."""
    return {pair.target: pair.strength for pair in presets("photo", family_row("photo").defaults).pairs}


def direct(studio: StyleCLIP, latent: Latent, target: Target) -> Image.Image:
    """The global direction at the α that the page suggests for these words, else the default."""
    return studio.direct(latent, target.target, target.neutral, suggested().get(target.target)).image


def map_(studio: StyleCLIP, latent: Latent, target: Target) -> Image.Image:
    """The shipped mapper."""
    return studio.map(latent, target.name).image


def optimize(studio: StyleCLIP, latent: Latent, target: Target) -> Image.Image:
    """Latent optimization in `STEPS` steps."""
    *_, last = studio.optimize(latent, target.target, steps=STEPS)
    return last.edit.image


METHODS: dict[str, Method] = {"directions": direct, "mappers": map_, "optimization": optimize}


def photographs(studio: StyleCLIP, folder: Path | None) -> Iterator[tuple[str, Path, Face]]:
    """Name, file and face of the astronaut and of every face in a folder's pictures; pictures without one are told and
    left out. Raises UserError where there is no photograph."""
    count = 0
    if spec := importlib.util.find_spec("skimage"):
        count += 1
        path = Path(spec.origin).parent / "data" / "astronaut.png"
        yield "astronaut", path, studio.align(path)[0]
    for path in sorted(folder.rglob("*") if folder else ()):
        if path.suffix.lower() in PICTURES:
            try:
                faces = studio.align(path)
            except UserError as error:
                print(f"{path.name}: {error}", flush=True)
                continue
            for number, face in enumerate(faces):
                count += 1
                yield f"{'-'.join(path.relative_to(folder).parts)}-{number}", path, face
    if not count:
        raise UserError("There is no photograph of a face; name a folder of some with --photos.")


def made(path: Path, make: Callable[[], Image.Image]) -> Image.Image:
    """The picture of a file, which is made where it is missing."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as fresh:
            make().convert("RGB").save(fresh, "JPEG", quality=95, subsampling=0)
    return opened(path)


def opened(path: Path) -> Image.Image:
    """The picture of a file, which is closed again."""
    with Image.open(path) as picture:
        return picture.copy()


def tuned(studio: StyleCLIP, name: str, face: Face) -> tuple[Latent, float]:
    """The latent of a photograph after tuning, kept, and the seconds that it took."""
    path = CACHE / "tuned" / f"{name}.safetensors"
    seconds = path.with_suffix(".txt")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        begin = time.monotonic()
        *_, last = studio.tune(studio.invert(face), face)
        seconds.write_text(f"{time.monotonic() - begin:.1f}")
        with written_whole(path) as fresh:
            last.latent.save(fresh)
    return Latent.load(path), float(seconds.read_text())


def kept(before: Seen, after: Seen) -> dict[str, bool]:
    """What of a photograph is there still in another picture."""
    smiles = [face.expressions["happy"] >= SMILES for face in (before, after)]
    glasses = [not face.is_("eyewear", "none") for face in (before, after)]
    return {
        "sex": (before.female >= 0.5) == (after.female >= 0.5),
        "smile": smiles[0] == smiles[1],
        "glasses": glasses[0] == glasses[1],
    }


def measure_likeness(studio: StyleCLIP, folder: Path | None, sheet: Path | None) -> None:
    """Print a row a photograph and one of all; write the sheet: photograph, inversion, tuned."""
    rows: dict[str, list[list[Seen]]] = {"inverted": [], "tuned": []}
    tiles, seconds = [], []
    print("| photograph | inverted: distance | age off | kept | tuned: distance | age off | kept | seconds |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for name, _, face in photographs(studio, folder):
        inverted = studio.image(studio.invert(face))
        latent, spent = tuned(studio, name, face)
        trio = [face.image, inverted, studio.image(latent)]
        before, *after = look(trio)
        cells = []
        for way, seen in zip(rows, after, strict=True):
            rows[way].append([before, seen])
            lost = [what for what, same in kept(before, seen).items() if not same]
            cells += [f"{before.distance(seen):.2f}", f"{seen.age - before.age:+.0f}", ", ".join(lost) or "all"]
        cells[2], cells[5] = (f"all but {c}" if c != "all" else c for c in (cells[2], cells[5]))
        print(f"| {name} | " + " | ".join(cells) + f" | {spent:.0f} |", flush=True)
        tiles.append(trio)
        seconds.append(spent)
    print(
        "\n| | median distance | below 0.6 | sex | smile | glasses | age off, median |\n|---|---|---|---|---|---|---|"
    )
    for way, pairs in rows.items():
        distances = np.array([before.distance(after) for before, after in pairs])
        shares = [np.mean([kept(*pair)[what] for pair in pairs]) for what in ("sex", "smile", "glasses")]
        age = np.median([abs(after.age - before.age) for before, after in pairs])
        cells = [f"{np.median(distances):.2f}", f"{np.mean(distances < SAME_PERSON):.0%}"]
        cells += [f"{share:.0%}" for share in shares] + [f"{age:.1f} years"]
        print(f"| {way}, {len(pairs)} faces | " + " | ".join(cells) + " |")
    print(f"\nTuning took {np.median(seconds):.0f} s in the median, {max(seconds):.0f} s at most.")
    if sheet:
        contact_sheet(tiles, sheet)


def contact_sheet(rows: list[list[Image.Image]], path: Path, tile: int = TILE) -> None:
    """Pictures in rows, as one JPEG; each has `tile` pixels a side."""
    out = Image.new("RGB", (max(map(len, rows)) * tile, len(rows) * tile), "white")
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            out.paste(ImageOps.fit(picture, (tile, tile), Image.Resampling.LANCZOS), (x * tile, y * tile))
    path.parent.mkdir(parents=True, exist_ok=True)
    out.save(path, quality=QUALITY)


def measure_edits(
    studio: StyleCLIP, faces: dict[str, Latent], methods: list[str], title: str, sheets: Path | None
) -> None:
    """Print a row a target, a column a method: on how many faces it appeared, and whether the person stayed."""
    images = {
        name: made(CACHE / "faces" / f"{name}.jpg", lambda k=latent: studio.image(k)) for name, latent in faces.items()
    }
    before = dict(zip(faces, look(list(images.values())), strict=True))
    shown = list(faces)[:ON_SHEET]
    print(f"\n| {title} | faces | " + " | ".join(f"{method}: appeared · same person" for method in methods) + " |")
    print("|---|---|" + "---|" * len(methods), flush=True)
    sums: dict[str, list[list[bool]]] = {method: [[], []] for method in methods}
    for target in TARGETS:
        lacking = [name for name in faces if target.lacking(before[name])]
        cells = []
        for method in methods:
            if method == "mappers" and target.name not in studio.mappers():
                cells.append("–")
                continue

            def edited(name: str, method: str = method, target: Target = target) -> Image.Image:
                path = CACHE / method / target.name / f"{name}.jpg"
                return made(path, lambda: METHODS[method](studio, faces[name], target))

            found = dict(zip(lacking, look([edited(name) for name in lacking]), strict=True))
            hits = [target.reached(before[name], seen) for name, seen in found.items()]
            same = [before[name].distance(seen) < SAME_PERSON for name, seen in found.items()]
            sums[method][0] += hits
            sums[method][1] += same if target.same_person else []
            cells.append(f"{np.mean(hits):.0%} · {np.mean(same):.0%}" if hits else "–")
            if sheets:
                for name in shown:
                    edited(name)
        print(f"| {target.name.replace('_', ' ')} | {len(lacking)} | " + " | ".join(cells) + " |", flush=True)
    whole = [f"{np.mean(hits):.0%} · {np.mean(same):.0%}" if hits else "–" for hits, same in sums.values()]
    print("| all (the person without old, young) | | " + " | ".join(whole) + " |", flush=True)
    for method in methods if sheets else ():
        rows = []
        for name in shown:
            files = [CACHE / method / target.name / f"{name}.jpg" for target in TARGETS]
            blank = Image.new("RGB", (TILE, TILE), "white")  # of a mapper that there is not
            rows.append([images[name], *(opened(path) if path.exists() else blank for path in files)])
        contact_sheet(rows, sheets / f"photo-{method}-{title.split()[0]}.jpg")


def command(options: argparse.Namespace) -> None:
    """Measure what was asked for."""
    studio = StyleCLIP.from_pretrained("photo", device="cpu")
    if options.part == "likeness":
        measure_likeness(studio, options.photos, options.sheet)
        return
    samples = {f"seed-{seed}": studio.sample(seed, PSI) for seed in range(FIRST_SEED, FIRST_SEED + options.faces)}
    measure_edits(studio, samples, options.methods, "samples", options.sheets)
    people = {name: tuned(studio, name, face)[0] for name, _, face in photographs(studio, options.photos)}
    measure_edits(studio, people, options.methods, "photographs after tuning", options.sheets)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["likeness", "edits"])
    parser.add_argument("--photos", type=Path, help="a folder of photographs of people")
    parser.add_argument("--sheet", type=Path, help="likeness: the picture to write")
    parser.add_argument("--faces", type=int, default=24, help="edits: as many sampled faces (%(default)s)")
    parser.add_argument("--methods", nargs="+", choices=[*METHODS], default=[*METHODS])
    parser.add_argument("--sheets", type=Path, help="edits: the folder for a sheet a method")
    run(lambda: command(parser.parse_args()))


if __name__ == "__main__":
    main()
