"""Pictures painted in words (CLIPstyler): what becomes of them, how long it takes, and a sheet.

    python -m benchmarks.painting [--photos FOLDER] [--steps N] [--sheet docs/results/painted.jpg]

Photographs are aligned, the generator is tuned to each, and the painted face goes back into the whole photograph, which
is painted with it; faces that the model made up fill the rows. A row a style. CLIP: on how many pictures the family's,
which guided them, says the style rather than another one; judge as in `benchmarks.styles`; person by dlib, against the
face that was not painted. Pictures are kept in `.cache/painting` and made once; remove the folder after a change. Needs
dlib's files, see benchmarks/photo_judging.py, and the judge of `benchmarks.style_judge`.
"""

import argparse
import time
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from benchmarks.photo_judging import SAME_PERSON, described
from benchmarks.photographs import FIRST_SEED, PSI, contact_sheet, photographs, tuned
from benchmarks.style_judge import NAMES, judge_of
from benchmarks.tables import table
from families.styles import WORDS
from pipeline import Face, Latent, StyleCLIP
from pipeline.files import written_whole
from pipeline.images import to_tensor
from pipeline.losses import clip_features
from pipeline.training.command import run

CACHE = Path(".cache/painting")
STYLES = ("pencil sketch", "engraving", "cartoon", "comic", "oil painting", "watercolour")
ROWS, TILE = 4, 280  # TILE: pixels, in which strokes are seen


class Subject(NamedTuple):
    """A face, and the photograph that it was found in, if any."""

    name: str
    latent: Latent
    photo: Path | None = None
    face: Face | None = None

    def shown(self, studio: StyleCLIP, latent: Latent) -> Image.Image:
        """The whole photograph with this latent's picture, where there is one, else the picture."""
        if self.face is None:
            return studio.image(latent)
        return studio.paste(self.photo, self.face, latent)


def painted(studio: StyleCLIP, subject: Subject, style: str, steps: int) -> tuple[Latent, float]:
    """A face painted, kept, and the seconds that it took; NaN where it was there already."""
    path = CACHE / f"{subject.name}-{style.replace(' ', '-')}-{steps}.safetensors"
    seconds = float("nan")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        begin = time.monotonic()
        *_, last = studio.paint(subject.latent, style, "photo", steps, preview=64)
        seconds = time.monotonic() - begin
        with written_whole(path) as fresh:
            last.latent.save(fresh)
    return Latent.load(path), seconds


def measure(folder: Path | None, steps: int | None, sheet: Path | None) -> None:
    """Print the table, and write the sheet."""
    studio = StyleCLIP.from_pretrained("photo")
    steps = steps or studio.family.defaults.paint_steps
    clip, normalize = studio.family.clip, studio.family.row.clip_normalize
    judge = judge_of("photo", clip.visual.input_resolution)
    words = [f"a {WORDS[name][0][0]} of a face" if name in WORDS else "a photo of a face" for name in NAMES]
    said = torch.cat([studio.texts.embedding(text) for text in words])
    some = islice(photographs(studio, folder), ROWS)
    found = [Subject(name, tuned(studio, name, face)[0], path, face) for name, path, face in some]
    found += [Subject(f"seed{k}", studio.sample(FIRST_SEED + k, PSI)) for k in range(ROWS - len(found))]
    sheets, rows = [[subject.shown(studio, subject.latent) for subject in found]], []
    people = [described(studio.image(subject.latent)) for subject in found]
    for style in STYLES:
        latents, seconds = zip(*(painted(studio, subject, style, steps) for subject in found), strict=True)
        pictures = [studio.image(latent) for latent in latents]
        shown = torch.cat([to_tensor(picture, picture.size) for picture in pictures])
        by_clip = [NAMES[k] for k in (clip_features(clip, shown, normalize) @ said.T).argmax(1).tolist()]
        pairs = zip(pictures, people, strict=True)
        near = [float(np.linalg.norm(described(picture) - person)) < SAME_PERSON for picture, person in pairs]
        counts = [sum(one == style for one in names) for names in (by_clip, judge(shown))]
        told = np.nanmedian(seconds) if not np.isnan(seconds).all() else float("nan")
        rows.append([style, *(f"{n} of {len(found)}" for n in (*counts, sum(near))), f"{told:.0f} s"])
        print(rows[-1], flush=True)
        sheets.append([subject.shown(studio, latent) for subject, latent in zip(found, latents, strict=True)])
    print(table(["style", "CLIP", "judge", "same person", f"{steps} steps at 512 px"], rows))
    if sheet:
        contact_sheet(sheets, sheet, TILE)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, help="a folder of photographs")
    parser.add_argument("--steps", type=int, help="a picture; the family's, if left out")
    parser.add_argument("--sheet", type=Path, help="the picture to write")
    options = parser.parse_args()
    run(lambda: measure(options.photos, options.steps, options.sheet))


if __name__ == "__main__":
    main()
