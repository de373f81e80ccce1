"""Edits as the page makes them: whether they look real, and stay in their place.

    python -m benchmarks.regions [--model photo] [--faces 24] [--ways NAME ...] [--samples FOLDER] [--folder DIR]

Each target is tried on held-out faces that lack it, in small pictures, in several ways: a direction with one α for all
in the whole picture; what the words of the page give; and by a direction, the shipped mapper and the optimization (on a
few faces), each at its default and held to its part. Drawn faces: ΔE is that of `benchmarks.realism`, and the renderer
says where the parts are. Photographed faces: Fréchet distance of the reader's features to those of labelled samples
that have the target, which are `families.photo.samples` in `--samples`. Writes realism.png, success against realism,
and a sheet into the folder.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from benchmarks import figure
from benchmarks.judging import FIRST_SEED, tensor
from benchmarks.photographs import contact_sheet
from benchmarks.realism import (
    BELIEVABLE,
    CONTRASTS,
    Outside,
    change_outside,
    colour_error,
    coloured,
    drawn_outside,
)
from benchmarks.strength import MODELS, Face, Judge, Words
from benchmarks.tables import frechet, table
from families.drawn.reader import SIZE
from families.photo.clip import known_faces
from families.photo.encoder import Samples
from families.photo.samples import picture_path
from pipeline import Edit, Latent, StyleCLIP
from pipeline.methods.regions import region_of
from pipeline.training.command import run
from pipeline.wishes import Wish

SEED = FIRST_SEED + 500_000  # of faces on which no default was chosen
TARGETS = {
    "demo": (
        *(Words(f"face with {c} hair", "hair_colour", c) for c in ("blonde", "black", "red", "grey", "purple")),
        *(Words(f"face with {c} eyes", "eye_colour", c) for c in ("blue", "green")),
        Words("face with red lipstick", "lips", "red"),
    ),
    "photo": (
        *(Words(f"face with {c} hair", "hair_colour", c) for c in ("blonde", "black", "red", "grey", "brown")),
        Words("face with curly hair", "hair_texture", "curly"),
        Words("face with lipstick", "lips", "painted"),
        Words("face with tanned skin", "skin", "tanned"),
    ),
}
OPTIMIZED = 3  # faces a target
SMALLEST = 0.01  # of the picture, that a part has
ON_SHEET = 2  # faces a target
Way = Callable[[StyleCLIP, Latent, Words, float], Edit | None]


def whole_picture(studio: StyleCLIP, latent: Latent, words: Words, alpha: float) -> Edit:
    """A direction with one α, anywhere in the picture and in S."""
    return studio.direct(latent, words.target, "face", alpha, limit=0.0)


def held_direction(studio: StyleCLIP, latent: Latent, words: Words, _: float) -> Edit:
    """A direction with the α that is found, held to its part."""
    return studio.within(latent, studio.direct(latent, words.target, "face"), region_of(words.target))


def by_words(studio: StyleCLIP, latent: Latent, words: Words, _: float) -> Edit:
    """What the page's field makes of the target's words."""
    return studio.change(latent, Wish(words.target, words.target, "face"))


def held_mapper(studio: StyleCLIP, latent: Latent, words: Words, _: float) -> Edit | None:
    """The shipped mapper, if there is one, held to its part."""
    name = studio.family.mappers.adding(words.target, "face")
    return studio.within(latent, studio.map(latent, name), region_of(words.target)) if name else None


def held_optimization(studio: StyleCLIP, latent: Latent, words: Words, _: float) -> Edit:
    """Latent optimization, held to its part."""
    *_, last = studio.optimize(latent, f"a {words.target}")
    return studio.within(latent, last.edit, region_of(words.target))


WAYS: dict[str, tuple[str, Way]] = {
    "whole": ("one α, whole picture", whole_picture),
    "direction": ("direction, held", held_direction),
    "mapper": ("mapper, held", held_mapper),
    "optimization": ("optimization, held", held_optimization),
    "words": ("the page's words", by_words),
}


class Verdict(NamedTuple):
    """Of one edit: whether the target is read, how alike the person is, which share of the other attributes is read
    differently, ΔE where there is a palette, the change outside, and the reader's features (D,)."""

    hit: float
    person: float
    others: float
    colour: float | None
    outside: Outside
    features: Tensor


class Measure:
    """Held-out faces of a family, and what is seen in edits of them."""

    def __init__(self, name: str, count: int) -> None:
        self.studio, self.judged = StyleCLIP.from_pretrained(name, device="cpu"), MODELS[name]
        self.judge, self.count, self.known = Judge(self.studio, self.judged), count, dict[int, Face]()
        self.drawn = self.studio.family.row.pictures == "drawings"

    def lacking(self, words: Words) -> Iterator[tuple[int, Face]]:
        """Seeds of faces in which the target could be seen and is not."""
        seed, found = SEED, 0
        while found < self.count:
            if seed not in self.known:
                self.known[seed] = self.judge.face(seed)
            face, seed = self.known[seed], seed + 1
            lacks = face.found[words.category].item() != self.judged.categories[words.category].index(words.value)
            if lacks and self._seen(seed - 1, face, words):
                found += 1
                yield seed - 1, face

    def _seen(self, seed: int, face: Face, words: Words) -> bool:
        if self.drawn and words.category in CONTRASTS:
            return bool(coloured(seed, words.category).float().mean() > SMALLEST / 20)
        return self.studio.region(face.latent, *region_of(words.target)).mean().item() > SMALLEST

    @torch.inference_mode()
    def features(self, picture: Image.Image) -> Tensor:
        """The reader's last features (D,), averaged over the picture."""
        return self.judge.reader.body(F.adaptive_avg_pool2d(tensor(picture), SIZE)).mean((2, 3))[0]

    def verdict(self, words: Words, seed: int, face: Face, edit: Edit, picture: Image.Image) -> Verdict:
        """What became of an edit."""
        before, after = ((tensor(image)[0] / 2 + 0.5) for image in (face.image, picture))
        colour = None
        if self.drawn:
            outside = drawn_outside(seed, words.target, before, after)
            colour = colour_error(seed, words.category, words.value, after)
        else:
            masks = [self.studio.region(one, *region_of(words.target)) for one in (face.latent, edit.latent)]
            backdrop = self.studio.region(face.latent, "background", "clothes")
            size = before.shape[1:]
            inside, backdrop = (
                F.interpolate(mask, size, mode="bilinear")[0, 0] for mask in (torch.stack(masks).amax(0), backdrop)
            )
            outside = change_outside(inside, backdrop, before, after)
        return Verdict(*self.judge.verdict(words, face, picture), colour, outside, self.features(picture))


def believable(verdicts: Sequence[Verdict]) -> tuple[float, float]:
    """The share of edits whose ΔE is small enough, and the median."""
    values = np.array([v.colour for v in verdicts if v.colour is not None])
    return (float(np.mean(values <= BELIEVABLE)), float(np.median(values))) if len(values) else (np.nan, np.nan)


def cells(verdicts: Sequence[Verdict]) -> list[str]:
    """The cells of a row: edits, ΔE, success, person, others changed, outside, and of it backdrop and clothes."""
    if not verdicts:
        return ["–"] * 7
    hits, person, others = np.mean([v[:3] for v in verdicts], 0)
    share, median = believable(verdicts)
    out, back = np.nanmean([v.outside for v in verdicts], 0)
    real = f"{share:.0%} ({median:.1f})" if share == share else "–"
    return [str(len(verdicts)), real, f"{hits:.0%}", f"{person:.3f}", f"{others:.1%}", f"{out:.2f}", f"{back:.2f}"]


def labelled(measure: Measure, words: Words, folder: Path, truth: dict[str, Tensor]) -> list[Tensor]:
    """Features of labelled samples that have a target, as many as there are faces."""
    having = (truth[words.category] == measure.judged.categories[words.category].index(words.value)).nonzero()[:, 0]
    return [measure.features(Image.open(picture_path(folder, seed))) for seed in having[: measure.count].tolist()]


def report(name: str, count: int, ways: Sequence[str], samples: Path | None, folder: Path) -> None:
    """Print a row a target and way, and one a way; write the figure and the sheet."""
    measure, alpha = Measure(name, count), MODELS[name].alpha
    found: dict[tuple[str, str], list[Verdict]] = {}
    real: list[Tensor] = []
    truth = known_faces(samples, len(Samples(samples).w)).truth if samples else {}
    rows = []
    for words in TARGETS[name]:
        row: list[list[Image.Image]] = [[] for _ in range(ON_SHEET)]
        for number, (seed, face) in enumerate(measure.lacking(words)):
            if number < ON_SHEET:
                row[number].append(face.image)
            for way in ways:
                kept = found.setdefault((words.target, way), [])
                if way == "optimization" and number >= OPTIMIZED:
                    continue
                if edit := WAYS[way][1](measure.studio, face.latent, words, alpha):
                    picture = measure.judge.picture(edit.latent)
                    kept.append(measure.verdict(words, seed, face, edit, picture))
                if number < ON_SHEET:
                    row[number].append(picture if edit else Image.new("RGB", face.image.size, "white"))
        for way in ways:
            print("| " + " | ".join([words.target, WAYS[way][0], *cells(found[words.target, way])]) + " |", flush=True)
        real += labelled(measure, words, samples, truth) if samples else []
        rows.append([picture for pictures in row for picture in pictures])
    head = ["", "edits", f"ΔE ≤ {BELIEVABLE:g} (median)", "success", "person", "others changed", "outside"]
    head += ["backdrop, clothes", *(["Fréchet"] if samples else [])]
    sums = []
    for way in ways:
        verdicts = [v for words in TARGETS[name] for v in found[words.target, way]]
        distance = [f"{frechet(torch.stack([v.features for v in verdicts]), torch.stack(real)):.3f}"] if samples else []
        sums.append([WAYS[way][0], *cells(verdicts), *distance])
    print("\n" + table(head, sums))
    folder.mkdir(parents=True, exist_ok=True)
    contact_sheet(rows, folder / f"realism-{name}.jpg")
    if measure.drawn:
        points = {
            WAYS[way][0]: [
                (np.mean([v.hit for v in found[words.target, way]]), believable(found[words.target, way])[0])
                for words in TARGETS[name]
                if found[words.target, way]
            ]
            for way in ways
        }
        figure.realism(points, folder / "realism.png")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=[*TARGETS], default="photo")
    parser.add_argument("--faces", type=int, default=24, help="a target (%(default)s)")
    parser.add_argument("--ways", nargs="+", choices=[*WAYS], default=[*WAYS])
    parser.add_argument("--samples", type=Path, help="photo: the folder of families.photo.samples, with labels")
    parser.add_argument("--folder", type=Path, default=Path("docs/results"), help="where pictures go (%(default)s)")
    options = parser.parse_args()
    run(lambda: report(options.model, options.faces, options.ways, options.samples, options.folder))


if __name__ == "__main__":
    main()
