"""Which form of CSLA edits best? Forms trained on the same pairs, judged by their edits: a Markdown table.

    python -m benchmarks.alignment --kept FILE [--faces N] [--forms WORD ...] | --sheet FILE

`--kept` has the pairs; they are sampled to there when it is not. Strength is chosen as in benchmarks.edits: for each
form and target so that the target's log-odds rise by the same share of what parts faces without it from faces with it.
The faces are none that a training or benchmarks.edits saw. `--sheet` draws what the model's alignment does instead.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.cells import SHARE, strength
from benchmarks.judging import Judge, Seen, verdict
from benchmarks.targets import PAIRS, Pair
from families.drawn.attributes import CATEGORIES
from families.drawn.reader import Reader
from pipeline import Latent, StyleCLIP
from pipeline.latents import draw_together
from pipeline.losses import clip_features
from pipeline.methods.csla import bridge_step, seen
from pipeline.networks.csla import Alignment
from pipeline.training.csla import Form, align
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
Step = Callable[[Alignment, Tensor, Tensor], list[Tensor]]


class Scores(NamedTuple):
    """Means over a form's edits, and the median of the strengths; `kept`: attributes kept by inversion through CLIP."""

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

    def edits(self, pair: Pair, step: list[Tensor], faces: Tensor, factor: float) -> tuple[Seen, Tensor]:
        return self.look([self.latents[i].moved([factor * s for s in step]) for i in faces.tolist()])

    def score(self, network: Alignment, step: Step) -> Scores:
        """Judge a trained form by its edits."""
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

    def kept(self, network: Alignment) -> float:
        """Share of the attributes of faces that inversion through CLIP keeps."""
        family, latents = self.studio.family, self.latents[: self.faces * 2]
        with torch.inference_mode():
            pictures = [latent.draw(family.generator).clamp(-1, 1) for latent in latents]
            features = [clip_features(family.clip, picture, family.clip_normalize_directions) for picture in pictures]
        back = self.judge.faces([seen(network, family.latent_avg, f) for f in features])
        same = [back.found[name] == self.seen.found[name][: len(latents)] for name in CATEGORIES]
        return torch.stack(same).float().mean().item()


def sheet(studio: StyleCLIP) -> Image.Image:
    """Pictures from texts alone; a face and edits of it; faces, each followed by its inversion through CLIP."""
    latents = [studio.sample(FIRST_SEED + i, truncation=1.0) for i in SHOWN]
    rows = [
        [studio.imagine(text).image for text in TEXTS],
        [studio.image(latents[0]), *(studio.bridge(latents[0], text, "face").image for text in EDITS)],
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
    parser.add_argument("--kept", type=Path, help="safetensors file with the pairs")
    parser.add_argument("--sheet", type=Path, help="picture to write instead of the table")
    parser.add_argument("--pairs", type=int, default=7_000)
    parser.add_argument("--faces", type=int, default=10)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--forms", nargs="+", default=[""], help="only forms whose name has one of these words")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.sheet:
        sheet(StyleCLIP.from_pretrained("demo", device="cpu")).save(options.sheet, quality=88)
        return
    if not options.kept:
        parser.error("name a file with --kept, or --sheet")
    bench = Bench(options.faces)
    family, texts = bench.studio.family, bench.studio.texts
    if options.kept.exists():
        pairs = Pairs(*(values[: options.pairs] for values in (load_file(options.kept)[k] for k in Pairs._fields)))
    else:
        pairs = sample_pairs(FrozenModels.of(family), options.pairs, kept=options.kept)

    def in_s(network: Alignment, target: Tensor, neutral: Tensor) -> list[Tensor]:
        return bridge_step(network, family.generator, target, neutral)

    def in_w(network: Alignment, target: Tensor, neutral: Tensor) -> list[Tensor]:
        with torch.no_grad():
            codes = family.latent_avg[:1] + network.to_w(torch.stack([target, neutral]))
            return [s[:1] - s[1:] for s in family.generator.styles(codes)]

    mean, text = pairs.features.mean(0), texts.averaged(family.defaults.neutral)
    forms: dict[str, tuple[Form, Step]] = {
        "CSLA, S": (Form(), in_s),
        "CSLA, W": (Form(), in_w),
        "codes, not residuals, S": (Form(residuals=False), in_s),
        "codes, not residuals, W": (Form(residuals=False), in_w),
        "centre: the mean of embeddings": (Form(centre=mean), in_s),
        "centre: the text “face”": (Form(centre=text), in_s),
        "without style mixing": (Form(mixing=False), in_s),
        "differences of two faces (DeltaEdit)": (Form(differences=True), in_s),
        "without noise": (Form(noise=0.0), in_s),
        "half the noise": (Form(noise=0.085), in_s),
        "twice the noise": (Form(noise=0.34), in_s),
        "seeing along the gap between pictures and texts": (Form(gap=True), in_s),
        "with what goes together by chance": (Form(chance=True), in_s),
    }
    print(f"{len(pairs.w)} pairs, {len(bench.pairs)} targets, {options.faces} faces each.\n")
    print("| form | W, S explained | success | identity | others changed | backdrop moved | strength | CLIP keeps |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for name, (form, step) in forms.items():
        if not any(word in name for word in options.forms):
            continue
        learned = align(family.generator, pairs, text, options.steps, form)
        s = bench.score(learned.network, step)
        cells = (f"{learned.w:.3f}, {learned.s:.3f}", f"{s.hits:.1%}", f"{s.identity:.3f}", f"{s.changed:.2%}")
        cells += (f"{s.backdrop:.1f}", f"{s.strength:.2f}", f"{s.kept:.1%}")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
