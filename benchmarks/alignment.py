"""How well does CSLA edit, in S and in W? Mappers trained on pairs, judged by their edits: a Markdown table.

    python -m benchmarks.alignment --pairs-file FILE [--faces N] | --sheet FILE

The pairs are read from `--pairs-file`, and sampled into it where there is no such file. Strength is chosen as in
benchmarks.edits: for each row and target so that the target's log-odds rise by the same share of what parts faces
without it from faces with it. The faces are none that a training or benchmarks.edits saw. `--sheet` draws what the
model's alignment does instead.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.cells import SHARE, strength
from benchmarks.judging import Judge, Seen, verdict
from benchmarks.targets import PAIRS, Target
from families.drawn.attributes import CATEGORIES
from families.drawn.reader import Reader
from pipeline import Latent, StyleCLIP
from pipeline.latents import draw_together
from pipeline.methods.csla import csla_step, invert_through_clip
from pipeline.networks.csla import CSLA
from pipeline.training.csla import train_csla
from pipeline.training.frozen import FrozenModels
from pipeline.training.pairs import Pairs, sample_pairs

FIRST_SEED, POOL = 2_000_000, 160
STRENGTHS = (0.1, 0.2, 0.3, 0.45, 0.65)
TARGETS = (
    "blonde hair",
    "red hair",
    "smiling",
    "glasses",
    "beard",
    "bald",
    "curly hair",
    "old",
    "red lipstick",
    "blue eyes",
)
TEXTS = (
    "a smiling woman with long blonde hair",
    "an old man with a beard",
    "a face with purple hair",
    "a bald man with glasses",
    "a surprised woman with red hair",
    "a man with a mohawk",
    "an angry man with black hair",
    "a young woman with red lipstick",
)
EDITS = (
    "face with blonde hair",
    "face with curly hair",
    "surprised face",
    "angry face",
    "face with glasses",
    "young face",
    "bald face",
)
SHOWN = (2, 1, 6, 3, 4)  # of the faces: the edited one, and those inverted
TILE, GAP = 128, 8
CORNER = 32  # pixels a side of the corners of a picture, where there is nothing but backdrop
StepFunction = Callable[[CSLA, Tensor, Tensor], list[Tensor]]


class Scores(NamedTuple):
    """Means over all edits, and the median of the strengths; `kept`: attributes kept by inversion through CLIP."""

    hits: float
    identity: float
    changed: float
    backdrop: float
    strength: float
    kept: float


class Bench:
    """The faces, and what is seen in them."""

    def __init__(self, faces: int) -> None:
        self.studio = StyleCLIP.from_pretrained("demo", device="cpu")
        self.judge = Judge(self.studio, Reader.from_file())
        self.latents = [self.studio.sample(FIRST_SEED + i, truncation=1.0) for i in range(POOL)]
        self.seen, self.corners = self.look(self.latents)
        self.faces = faces
        self.pairs = [pair for pair in PAIRS if pair.title in TARGETS]

    def look(self, latents: list[Latent]) -> tuple[Seen, Tensor]:
        """What is seen in latents' pictures, and their upper corners (N, ...)."""
        found, corners = [], []
        for start in range(0, len(latents), 4):
            wanted = [(latent, None) for latent in latents[start : start + 4]]
            with torch.inference_mode():
                images = torch.cat(draw_together(self.studio.family.generator, wanted))
            found.append(self.judge.look(images))
            corners.append(torch.cat([images[..., :CORNER, :CORNER], images[..., :CORNER, -CORNER:]], 3))
        return Seen.joined(found), torch.cat(corners).clamp(-1, 1)

    def edits(self, pair: Target, step: list[Tensor], faces: Tensor, factor: float) -> tuple[Seen, Tensor]:
        return self.look([self.latents[i].moved([factor * s for s in step]) for i in faces.tolist()])

    def score(self, network: CSLA, step: StepFunction) -> Scores:
        """Judge trained mappers by their edits."""
        rows, strengths = [], []
        for pair in self.pairs:
            odds = self.seen.odds[pair.category][:, pair.index]
            lacking, having = pair.lacking(self.seen.found), pair.having(self.seen.found)
            amount = SHARE * (odds[having].mean() - odds[lacking].mean()).item()
            texts = self.studio.texts
            change = step(network, texts.averaged(pair.target), texts.averaged(pair.neutral))
            faces = lacking.nonzero()[: self.faces, 0]
            rises: list[float] = []
            for factor in STRENGTHS:
                edited, _ = self.edits(pair, change, faces[::2], factor)
                rises.append(verdict(pair, self.seen[faces[::2]], edited).rise.mean().item())
                if rises[-1] >= amount:
                    break
            strengths.append(strength(STRENGTHS[: len(rises)], rises, amount)[0])
            edited, corners = self.edits(pair, change, faces, strengths[-1])
            found = verdict(pair, self.seen[faces], edited)
            moved = (corners - self.corners[faces]).abs().mean((1, 2, 3)) * 127.5
            rows.append([values.mean().item() for values in (found.hits, found.identity, found.changed, moved)])
        kept = self.kept(network)
        hits, identity, changed, backdrop = torch.tensor(rows).mean(0).tolist()
        return Scores(hits, identity, changed, backdrop, torch.tensor(strengths).median().item(), kept)

    def kept(self, network: CSLA) -> float:
        """Share of the attributes of faces that inversion through CLIP keeps."""
        family, latents = replace(self.studio.family, alignment=network), self.latents[: self.faces * 2]
        with torch.inference_mode():
            pictures = [latent.draw(family.generator).clamp(-1, 1) for latent in latents]
        back = self.judge.faces([invert_through_clip(family, picture) for picture in pictures])
        same = [back.found[name] == self.seen.found[name][: len(latents)] for name in CATEGORIES]
        return torch.stack(same).float().mean().item()


def sheet(studio: StyleCLIP) -> Image.Image:
    """Pictures from texts alone; a face and edits of it; faces, each followed by its inversion through CLIP."""
    latents = [studio.sample(FIRST_SEED + i, truncation=1.0) for i in SHOWN]
    rows = [
        [studio.csla_generate(text).image for text in TEXTS],
        [studio.image(latents[0]), *(studio.csla_edit(latents[0], text, "face").image for text in EDITS)],
        [
            picture
            for face in map(studio.image, latents[1:])
            for picture in (face, studio.image(studio.invert(face, through="clip")))
        ],
    ]
    out = Image.new("RGB", (TILE * len(rows[0]), (TILE + GAP) * len(rows) - GAP), "white")
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            out.paste(picture.resize((TILE, TILE), Image.Resampling.LANCZOS), (x * TILE, y * (TILE + GAP)))
    return out


def main() -> None:
    """Print the table as it grows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs-file", type=Path, help="safetensors file with the pairs")
    parser.add_argument("--sheet", type=Path, help="picture to write instead of the table")
    parser.add_argument("--pairs", type=int, default=7_000)
    parser.add_argument("--faces", type=int, default=10)
    parser.add_argument("--steps", type=int, default=300)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.sheet:
        sheet(StyleCLIP.from_pretrained("demo", device="cpu")).save(options.sheet, quality=88)
        return
    if not options.pairs_file:
        parser.error("name a file with --pairs-file, or --sheet")
    bench = Bench(options.faces)
    family, texts = bench.studio.family, bench.studio.texts
    if options.pairs_file.exists():
        read = load_file(options.pairs_file)
        pairs = Pairs(*(read[name][: options.pairs] for name in Pairs._fields))
    else:
        pairs = sample_pairs(FrozenModels.of(family), options.pairs, path=options.pairs_file)

    def in_s(network: CSLA, target: Tensor, neutral: Tensor) -> list[Tensor]:
        return csla_step(network, family.generator, target, neutral)

    def in_w(network: CSLA, target: Tensor, neutral: Tensor) -> list[Tensor]:
        with torch.no_grad():
            codes = family.latent_avg[:1] + network.to_w(torch.stack([target, neutral]))
            return [s[:1] - s[1:] for s in family.generator.styles(codes)]

    print(f"{len(pairs.w)} pairs, {len(bench.pairs)} targets, {options.faces} faces each.\n")
    print(
        "| edits in | W, S explained | success | identity | others changed | backdrop moved | strength | CLIP keeps |"
    )
    print("|---|---|---|---|---|---|---|---|", flush=True)
    learned = train_csla(family.generator, pairs, texts.averaged(family.defaults.neutral), options.steps)
    for space, step in (("S", in_s), ("W", in_w)):
        s = bench.score(learned.network, step)
        cells = (f"{learned.w:.3f}, {learned.s:.3f}", f"{s.hits:.1%}", f"{s.identity:.3f}", f"{s.changed:.2%}")
        cells += (f"{s.backdrop:.1f}", f"{s.strength:.2f}", f"{s.kept:.1%}")
        print(f"| {space} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
