"""Styles of a generator (StyleGAN-NADA): are they there, is the person, and do edits still work?

    python -m benchmarks.styles [--faces 50] [--sheet docs/results/styles.jpg]

A row a style, on sampled faces that nothing was trained on, at the default strength. CLIP, the family's: the share of
faces of which it says the style rather than any other one or a photo. Judge: the same of a small network that no method
uses, which learned the filters' pictures (`benchmarks.style_judge`). Person: the share whose
picture dlib finds to be of the same person as the face without the style, on the first `PERSONS` faces. Edits: each by
its words, as in the page's first field, on as many sampled faces that lack it; the share of them on which the attribute
reader, which no method uses, finds a smile, glasses or age afterwards, in the style and without. The sheet has six
faces and all styles. Needs dlib's files, see benchmarks/photo_judging.py.
"""

import argparse
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.photo_judging import SAME_PERSON, described
from benchmarks.photographs import FIRST_SEED, PSI, contact_sheet
from benchmarks.strength import MODELS
from benchmarks.style_judge import NAMES, judge_of
from benchmarks.tables import table
from families.drawn.reader import Reader, read
from families.photo.captions import CATEGORIES
from families.styles import WORDS
from pipeline import Latent, StyleCLIP
from pipeline.images import to_tensor
from pipeline.losses import clip_features
from pipeline.training.command import run

EDITS = (("smiling", "expression", "smiling"), ("glasses", "eyewear", "glasses"), ("old", "age", "old"))
PERSONS, ON_SHEET = 12, 6


def in_tensors(pictures: Sequence[Image.Image]) -> Tensor:
    """Pictures as (N, 3, R, R) in [-1, 1]."""
    return torch.cat([to_tensor(picture, picture.size) for picture in pictures])


class Readings:
    """Whether the attribute reader finds what an edit asks for."""

    def __init__(self) -> None:
        self.reader = Reader.from_file(MODELS["photo"].reader, CATEGORIES)

    def __call__(self, pictures: Tensor, category: str, value: str) -> list[bool]:
        """Of each picture (N, 3, R, R)."""
        return (read(self.reader, pictures)[category] == CATEGORIES[category].index(value)).tolist()


def measure(count: int, sheet: Path | None) -> None:
    """Print the table, and write the sheet."""
    studio, reads = StyleCLIP.from_pretrained("photo"), Readings()
    family = studio.family
    judge = judge_of("photo", family.clip.visual.input_resolution)
    faces = [studio.sample(FIRST_SEED + k, PSI) for k in range(count)]
    words = [f"a {WORDS[name][0][0]} of a face" if name in WORDS else "a photo of a face" for name in NAMES]
    said = torch.cat([studio.texts.embedding(text) for text in words])
    people = [described(studio.image(face)) for face in faces[:PERSONS]]

    def small(latents: Sequence[Latent], style: str | None) -> Tensor:
        """Their pictures (N, 3, R, R) in a style."""
        shown = [studio.style(latent, style).latent if style else latent for latent in latents]
        return in_tensors([studio.image(latent, family.generator.working_size) for latent in shown])

    def edited(words: str, category: str, value: str) -> list[Latent]:
        """The first faces that lack something, edited by words."""
        seeds, found, (wish,) = itertools.count(FIRST_SEED), [], studio.wishes(words).wishes
        while len(found) < count:
            face = studio.sample(next(seeds), PSI)
            if not reads(small([face], None), category, value)[0]:
                found.append(studio.change(face, wish).latent)
        return found

    edits = [(edit, edited(*edit)) for edit in EDITS]

    def shares(style: str | None) -> list[str]:
        """Of each edit, the share of the faces in which the reader finds it."""
        return [f"{np.mean(reads(small(latents, style), *edit[1:])):.0%}" for edit, latents in edits]

    rows, sheets = [["without", "", "", "", *shares(None)]], [[studio.image(face) for face in faces[:ON_SHEET]]]
    for style, title in studio.styles().items():
        name, pictures = style.replace("_", " "), small(faces, style)
        features = clip_features(family.clip, pictures, family.row.clip_normalize)
        by_clip = [NAMES[k] == name for k in (features @ said.T).argmax(1).tolist()]
        by_judge = [one == name for one in judge(pictures)]
        large = [studio.image(studio.style(face, style).latent) for face in faces[:PERSONS]]
        pairs = zip(large, people, strict=True)
        near = [float(np.linalg.norm(described(picture) - person)) < SAME_PERSON for picture, person in pairs]
        rows.append([title, *(f"{np.mean(column):.0%}" for column in (by_clip, by_judge, near)), *shares(style)])
        sheets.append(large[:ON_SHEET])
        print(rows[-1], flush=True)
    print(table(["style", "CLIP", "judge", "same person", "smiling", "glasses", "old"], rows))
    if sheet:
        contact_sheet(sheets, sheet)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faces", type=int, default=50, help="a style (%(default)s)")
    parser.add_argument("--sheet", type=Path, help="the picture to write")
    options = parser.parse_args()
    run(lambda: measure(options.faces, options.sheet))


if __name__ == "__main__":
    main()
