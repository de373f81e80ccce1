"""Is a direction as strong as its words need? The α that is found for each pair of texts, and how even its slider is.

    python -m benchmarks.strength [--model photo] [--faces 6] [--alpha 2] [--pairs WORD ...] [--sheet FILE]

A row a pair: the target appeared, the person stayed and the other attributes changed, with one α for all pairs and no
limit, and with the α that is found. Small pictures of held-out faces that lack the target; the sheet has two faces a
pair: before, with one α, with the one found. Then the slider: how much the picture changes with each 10 %. Judges: the
family's attribute reader, which no method uses; of the person the identity network of `demo`, whose cosine is printed,
and dlib for `photo`, whose share of same persons is (see benchmarks/photo_judging.py). `--alpha` is 6 for `demo`.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.judging import FIRST_SEED, tensor
from benchmarks.targets import PAIRS
from families.drawn import attributes
from families.drawn import reader as drawn
from families.drawn.reader import Reader, read
from families.photo import captions
from pipeline import Latent, StyleCLIP
from pipeline.losses import identity_features
from pipeline.training.command import run

STEPS = 10  # of the slider from 0 to 100 %
EVEN = 0.3  # a step may differ so far from the mean
ON_SHEET, TILE = 2, 128


class Words(NamedTuple):
    """A target, after the neutral text "face", and what a reader finds where it is there."""

    target: str
    category: str
    value: str


class Judged(NamedTuple):
    """A family, and how it is judged. `alpha` is the one α for all pairs, `psi` that of the held-out faces."""

    pairs: Sequence[Words]
    reader: Path
    categories: Mapping[str, Sequence[str]]
    alpha: float
    psi: float


PHOTOGRAPHS = (
    Words("smiling face", "expression", "smiling"),
    Words("face with blonde hair", "hair_colour", "blonde"),
    Words("face with black hair", "hair_colour", "black"),
    Words("face with grey hair", "hair_colour", "grey"),
    Words("face with glasses", "eyewear", "glasses"),
    Words("face with a beard", "beard", "yes"),
    Words("face with curly hair", "hair_texture", "curly"),
    Words("face with bangs", "fringe", "yes"),
    Words("surprised face", "expression", "surprised"),
    Words("old face", "age", "old"),
    Words("face with makeup", "makeup", "yes"),
    Words("face with red hair", "hair_colour", "red"),
    Words("face with brown hair", "hair_colour", "brown"),
    Words("face with a moustache", "moustache", "yes"),
    Words("face with a hat", "hat", "yes"),
    Words("face with sunglasses", "eyewear", "sunglasses"),
    Words("face with earrings", "earrings", "yes"),
    Words("face with lipstick", "lips", "painted"),
    Words("face with pale skin", "skin", "pale"),
    Words("face with tanned skin", "skin", "tanned"),
    Words("bald face", "hairstyle", "bald"),
)
MODELS = {
    "demo": Judged(
        [Words(p.target, p.category, p.value) for p in PAIRS], drawn.OUTPUT, attributes.CATEGORIES, 6.0, 1.0
    ),
    "photo": Judged(PHOTOGRAPHS, Path("checkpoints/photo/reader.safetensors"), captions.CATEGORIES, 2.0, 0.7),
}


class Face(NamedTuple):
    """A held-out face: what is seen in its small picture."""

    latent: Latent
    image: Image.Image
    found: dict[str, Tensor]


class Judge:
    """Draws small pictures and looks at them."""

    def __init__(self, studio: StyleCLIP, judged: Judged) -> None:
        self.studio, self.judged = studio, judged
        self.reader = Reader.from_file(judged.reader, judged.categories)
        self.alike: Callable[[Image.Image, Image.Image], float] = self._cosine
        if studio.family.row.likeness == "photographs":
            from benchmarks.photo_judging import SAME_PERSON, described  # needs dlib's files

            self.alike = lambda a, b: float(np.linalg.norm(described(a) - described(b)) < SAME_PERSON)

    def picture(self, latent: Latent) -> Image.Image:
        """At the size at which methods look at it."""
        return self.studio.image(latent, self.studio.family.generator.working_size)

    def face(self, seed: int) -> Face:
        """The face of a seed."""
        latent = self.studio.sample(seed, self.judged.psi)
        image = self.picture(latent)
        return Face(latent, image, read(self.reader, tensor(image)))

    def verdict(self, words: Words, before: Face, image: Image.Image) -> tuple[float, float, float]:
        """Whether the target is there, how alike the person is, and which share of the rest is read differently."""
        found = read(self.reader, tensor(image))
        there = found[words.category].item() == self.judged.categories[words.category].index(words.value)
        others = [found[name].item() != before.found[name].item() for name in found if name != words.category]
        return float(there), self.alike(before.image, image), sum(others) / len(others)

    @torch.inference_mode()
    def _cosine(self, a: Image.Image, b: Image.Image) -> float:
        one, two = (identity_features(self.studio.family.identity, tensor(image)) for image in (a, b))
        return (one * two).sum().item()


def unevenness(judge: Judge, source: Latent, edited: Latent) -> list[float]:
    """The change of the picture with each tenth of the way, in shares of the mean change."""
    pictures = [np.asarray(judge.picture(source.towards(edited, k / STEPS)), float) for k in range(STEPS + 1)]
    changes = np.array([np.abs(b - a).mean() for a, b in zip(pictures, pictures[1:], strict=False)])
    return (changes / max(changes.mean(), 1e-9)).tolist()


def cell(verdicts: Sequence[tuple[float, float, float]]) -> str:
    """Success · person · others changed."""
    if not verdicts:
        return "–"
    hits, person, others = np.mean(verdicts, 0)
    return f"{hits:.0%} · {person:.2f} · {others:.1%}"


def measure(model: str, count: int, alpha: float | None, words: Sequence[str] | None, sheet: Path | None) -> None:
    """Print the rows and what the slider does; write the sheet."""
    judged = MODELS[model]
    studio = StyleCLIP.from_pretrained(model, device="cpu")
    judge, fixed = Judge(studio, judged), judged.alpha if alpha is None else alpha
    faces = [judge.face(FIRST_SEED + number) for number in range(count)]
    print(f"| target | faces | α {fixed:g}, no limit | α found | as found |\n|---|---|---|---|---|", flush=True)
    sums: tuple[list, list] = ([], [])
    rows, steps = [], []
    for pair in [p for p in judged.pairs if not words or any(word in p.target.split() for word in words)]:
        index = judged.categories[pair.category].index(pair.value)
        lacking = [face for face in faces if face.found[pair.category].item() != index]
        found = studio.strengths.of(pair.target, "face")
        verdicts, row = ([], []), []
        for number, face in enumerate(lacking):
            ways = ({"strength": fixed, "limit": 0.0}, {})
            edits = [studio.direct(face.latent, pair.target, "face", **way).latent for way in ways]
            images = [judge.picture(edit) for edit in edits]
            for told, image in zip(verdicts, images, strict=True):
                told.append(judge.verdict(pair, face, image))
            if number < ON_SHEET:
                row += [face.image, *images]
            if number == 0:
                steps.append((pair.target, unevenness(judge, face.latent, edits[1])))
        rows.append(row)
        for total, told in zip(sums, verdicts, strict=True):
            total += told
        cells = [cell(told) for told in verdicts]
        print(f"| {pair.target} | {len(lacking)} | {cells[0]} | {found:g} | {cells[1]} |", flush=True)
    print(f"| all | {len(sums[0])} | {cell(sums[0])} | | {cell(sums[1])} |")
    spread = [max(abs(step - 1) for step in each) for _, each in steps]
    within = np.mean([abs(step - 1) <= EVEN for _, each in steps for step in each])
    print(f"\nOf the slider's steps {within:.0%} are within ±{EVEN:.0%} of their mean, on {len(steps)} pairs; all of")
    print(
        f"{sum(s <= EVEN for s in spread)} pairs are. Furthest: {max(spread):.0%}, {steps[int(np.argmax(spread))][0]}."
    )
    if sheet:
        out = Image.new("RGB", (3 * ON_SHEET * TILE, len(rows) * TILE), "white")
        for y, row in enumerate(rows):
            for x, image in enumerate(row):
                out.paste(image.resize((TILE, TILE), Image.Resampling.LANCZOS), (x * TILE, y * TILE))
        out.save(sheet, quality=88)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="photo")
    parser.add_argument("--faces", type=int, default=6, help="held-out faces (%(default)s)")
    parser.add_argument("--alpha", type=float, help="the one α for all pairs")
    parser.add_argument("--pairs", nargs="+", metavar="WORD", help="only targets with one of these words")
    parser.add_argument("--sheet", type=Path, help="the picture to write")
    options = parser.parse_args()
    run(lambda: measure(options.model, options.faces, options.alpha, options.pairs, options.sheet))


if __name__ == "__main__":
    main()
