"""Do edits work? What an attribute reader, which no method uses, says about edits of held-out faces: a Markdown table.

    python -m benchmarks.edits [--faces 50] [--optimized 50] [--methods directions optimization mappers] [--sheet FILE]

Each cell: share of the faces on which the target attribute appeared · cosine of the identity embeddings of face and
edit · share of the other visible attributes that changed. The faces are sampled from seeds that no training used, in
the generator's whole variety, and lack the target. Everything runs at the family's defaults. On the demo family W is a
rotation of the faces' attributes, so S is nearly disentangled by construction: real models are harder.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pipeline import Latent, StyleCLIP
from pipeline.losses import identity_features
from pipeline.training.demo.attributes import CATEGORIES
from pipeline.training.demo.reader import Reader, read, visible

FIRST_SEED, STEPS = 1_000_000, 100
SHEET_FACES, TILE, GAP = 3, 128, 12


class Pair(NamedTuple):
    """An edit: its texts, the class (of a category) that must appear, and the mapper made for it, if any."""

    neutral: str
    target: str
    category: str
    value: str
    mapper: str | None = None

    @property
    def prompt(self) -> str:
        """What the optimization is told."""
        return f"an {self.target}" if self.target[0] in "aeiou" else f"a {self.target}"

    def lacking(self, found: dict[str, Tensor]) -> bool:
        """Whether readings of one face say that it could, and does not, have the target."""
        there = found[self.category] == CATEGORIES[self.category].index(self.value)
        worn = self.category == "eyewear" and found["eyewear"] != CATEGORIES["eyewear"].index("none")
        return bool(visible(found)[self.category] & ~there) and not worn


PAIRS = (
    Pair("face", "face with blonde hair", "hair_colour", "blonde", "blonde_hair"),
    Pair("face", "face with black hair", "hair_colour", "black"),
    Pair("face", "face with red hair", "hair_colour", "red"),
    Pair("face", "face with grey hair", "hair_colour", "grey"),
    Pair("face", "smiling face", "expression", "smiling", "smiling"),
    Pair("face", "surprised face", "expression", "surprised", "surprised"),
    Pair("face", "face with glasses", "eyewear", "glasses", "glasses"),
    Pair("face", "face with a beard", "beard", "yes", "beard"),
    Pair("face", "bald face", "hairstyle", "bald", "bald"),
    Pair("face", "face with curly hair", "hair_texture", "curly", "curly_hair"),
    Pair("face", "old face", "age", "old", "old"),
    Pair("face", "face with red lipstick", "lips", "red", "red_lipstick"),
    Pair("face", "face with blue eyes", "eye_colour", "blue"),
    Pair("face", "face with purple hair", "hair_colour", "purple", "purple_hair"),
    Pair("face", "face with a mohawk", "hairstyle", "mohawk", "mohawk"),
    Pair("face", "angry face", "expression", "angry", "angry"),
)


def direct(studio: StyleCLIP, latent: Latent, pair: Pair) -> Image.Image:
    """Global direction at the default α and β."""
    return studio.direct(latent, pair.target, pair.neutral).image


def optimize(studio: StyleCLIP, latent: Latent, pair: Pair) -> Image.Image:
    """Latent optimization in 100 steps."""
    *_, last = studio.optimize(latent, pair.prompt, steps=STEPS)
    return last.edit.image


def map_(studio: StyleCLIP, latent: Latent, pair: Pair) -> Image.Image | None:
    """The shipped mapper, where there is one."""
    return studio.map(latent, pair.mapper).image if pair.mapper in studio.mappers() else None


METHODS: dict[str, Callable[[StyleCLIP, Latent, Pair], Image.Image | None]] = {
    "directions": direct,
    "optimization": optimize,
    "mappers": map_,
}


class Face(NamedTuple):
    """A held-out face: code, picture, readings (each a tensor (1,))."""

    latent: Latent
    image: Image.Image
    found: dict[str, Tensor]


def tensor(image: Image.Image) -> Tensor:
    """RGB picture -> (1, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 127.5 - 1


def faces(studio: StyleCLIP, reader: Reader) -> Iterator[Face]:
    """Held-out faces without end."""
    seed = FIRST_SEED
    while True:
        latent = studio.sample(seed, truncation=1.0)
        image = studio.image(latent)
        yield Face(latent, image, read(reader, tensor(image)))
        seed += 1


class Score:
    """What became of the edits of one pair by one method."""

    def __init__(self, studio: StyleCLIP, reader: Reader, pair: Pair) -> None:
        self.studio, self.reader, self.pair = studio, reader, pair
        self.hits: list[float] = []
        self.identity: list[float] = []
        self.changed: list[float] = []

    def add(self, before: Face, after: Image.Image) -> None:
        """Judge one edit."""
        found = read(self.reader, tensor(after))
        pair, network = self.pair, self.studio.family.identity
        self.hits.append(float(found[pair.category] == CATEGORIES[pair.category].index(pair.value)))
        with torch.inference_mode():
            features = identity_features(network, torch.cat([tensor(before.image), tensor(after)]))
        self.identity.append(float(features[0] @ features[1]))
        seen, still = visible(before.found), visible(found)
        others = [name for name in CATEGORIES if name != pair.category and seen[name] & still[name]]
        self.changed.append(sum(bool(found[name] != before.found[name]) for name in others) / len(others))

    def __str__(self) -> str:
        if not self.hits:
            return "–"
        hits, identity, changed = (sum(v) / len(v) for v in (self.hits, self.identity, self.changed))
        return f"{hits:.0%} · {identity:.2f} · {changed:.0%}"


def judge(
    studio: StyleCLIP, reader: Reader, pair: Pair, pool: list[Face], counts: dict[str, int]
) -> tuple[dict[str, Score], list[list[Image.Image]]]:
    """Scores by method, and the pictures of the first faces: source, then one a method."""
    scores = {method: Score(studio, reader, pair) for method in counts}
    pictures = [[face.image] for face in pool[:SHEET_FACES]]
    for method, count in counts.items():
        for i, face in enumerate(pool[:count]):
            image = METHODS[method](studio, face.latent, pair)
            if image is None:
                break
            scores[method].add(face, image)
            if i < SHEET_FACES:
                pictures[i].append(image)
    return scores, pictures


def sheet(rows: list[list[list[Image.Image]]]) -> Image.Image:
    """A contact sheet: a row a pair; for each face the source and what each method made of it."""
    width = max(sum(len(group) * TILE + GAP for group in row) for row in rows)
    out = Image.new("RGB", (width, len(rows) * (TILE + GAP)), "white")
    for y, row in enumerate(rows):
        x = 0
        for group in row:
            for image in group:
                out.paste(image.resize((TILE, TILE), Image.Resampling.LANCZOS), (x, y * (TILE + GAP)))
                x += TILE
            x += GAP
    return out


def main() -> None:
    """Print the table as it grows; write the contact sheet if asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faces", type=int, default=50)
    parser.add_argument("--optimized", type=int, help="faces for the optimization, which is slow; default: as many")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--targets", nargs="+", help="only pairs whose target has one of these words")
    parser.add_argument("--sheet", type=Path, help="picture file to write")
    options = parser.parse_args()
    studio, reader = StyleCLIP.from_pretrained("demo"), Reader.from_file()
    counts = dict.fromkeys(options.methods, options.faces)
    if options.optimized and "optimization" in counts:
        counts["optimization"] = options.optimized
    supply, pool = faces(studio, reader), []
    print(f"Faces: {counts}. Cells: target appeared · identity cosine · other attributes changed.\n")
    print("| neutral → target | " + " | ".join(counts) + " |\n|---|" + "---|" * len(counts), flush=True)
    rows = []
    for pair in PAIRS:
        if options.targets and not any(word in pair.target for word in options.targets):
            continue
        chosen = [face for face in pool if pair.lacking(face.found)]
        while len(chosen) < max(counts.values()):
            pool.append(next(supply))
            chosen += [pool[-1]] if pair.lacking(pool[-1].found) else []
        scores, pictures = judge(studio, reader, pair, chosen, counts)
        rows.append(pictures)
        print(f"| {pair.neutral} → {pair.target} | " + " | ".join(map(str, scores.values())) + " |", flush=True)
    if options.sheet:
        sheet(rows).save(options.sheet)


if __name__ == "__main__":
    main()
