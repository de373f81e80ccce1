"""More samples of what is rare among sampled faces: beards, glasses, hats, anger, made by steps in W.

    python -m families.photo.edited [--folder DIR] [--count N]

Each is one of the first samples, moved as far as its attribute's probe asks for, in the direction in which sampled
faces differ when the probe's answer does; expressions, which face-api sees in the new picture again, by the shortest
step, which changes little else. They get the seeds after the samples and are treated as those from then on:
their codes are appended to `codes.safetensors`, with the truncation of the sample that they began as. Run face_labels
and labels again after it. Goes on where it stopped.
"""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from families.photo.face_labels import EXPRESSIONS, read_face_labels
from families.photo.labels import Prober
from families.photo.samples import draw_pictures, part_parser
from pipeline.errors import UserError
from pipeline.files import written_whole
from pipeline.models.family import load_generator
from pipeline.models.registry import family_row
from pipeline.training.command import run

COUNT = 4_000
# Values of labelled attributes that fewer than one face in five has, and what matters for edits.
RARE = {
    "age": ("old", "child"),
    "hair_color": ("grey", "blond", "red", "black"),
    "hair_length": ("long", "none"),
    "hair_curl": ("curly",),
    "bald": ("yes", "receding"),
    "bangs": ("yes",),
    "beard": ("full", "stubble"),
    "moustache": ("yes",),
    "glasses": ("eyeglasses", "sunglasses", "no"),
    "hat": ("yes",),
    "lipstick": ("yes",),
    "makeup": ("yes",),
    "earrings": ("yes",),
    "skin": ("brown", "dark"),
    "smile": ("yes", "no"),
    "mouth": ("open",),
}
# face-api is sure of few faces that have these, so their log-odds are followed instead.
RARE_EXPRESSIONS = ("angry", "surprised", "sad")
MARGIN = 4.0  # by which the logit of a value is to exceed that of the value before
RISE = 7.0  # deviations by which log-odds are to rise
FARTHEST = 4.0  # deviations of W, along the step
LEAST = 1e-4  # probability


def moved(w: Tensor, slope: Tensor, rise: Tensor, covariance: Tensor) -> Tensor:
    """Codes w (N, D) where linear functions of `slope` (N, D) are higher by `rise` (N,), at most `FARTHEST`: the
    likeliest such codes of a normal distribution."""
    step = slope @ covariance
    spread = (step * slope).sum(1).clamp(min=1e-12)  # the variance of the function
    deviations = (rise / spread.sqrt()).clamp(0, FARTHEST)
    return w + (deviations / spread.sqrt())[:, None] * step


def towards_value(w: Tensor, weight: Tensor, bias: Tensor, value: int, covariance: Tensor) -> Tensor:
    """Codes w (N, D) moved until a probe (K, D), (K,) rather answers `value` than what it answered before, or as far as
    codes may be moved."""
    logits = w @ weight.T + bias
    others = logits.clone()
    others[:, value] = -torch.inf
    now = others.argmax(1)
    rise = MARGIN + logits.gather(1, now[:, None])[:, 0] - logits[:, value]
    return moved(w, weight[value] - weight[now], rise, covariance)


def edited_codes(folder: Path, w: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The codes (M, D) of `count` edited samples, and which samples (M,) they were; all goals have equal shares.

    Raises UserError before there are labels.
    """
    try:
        with np.load(folder / "labels.npz") as file:
            probes = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise UserError("The samples have no labels yet; make them with the part labels.") from None
    expressions = torch.from_numpy(read_face_labels(folder)["expressions"]).clamp(LEAST, 1 - LEAST)
    odds, prober, rows = expressions.logit(), Prober(w), torch.arange(len(w))
    goals: list[tuple[str, str | None]] = [(name, v) for name, values in RARE.items() for v in values]
    goals = [(name, v) for name, v in goals if v in probes.get(f"{name}.values", [])] + [
        (name, None) for name in RARE_EXPRESSIONS
    ]
    covariance, rng = w.T.cov(), torch.Generator().manual_seed(4)
    codes, begun = [], []
    for number, (name, value) in enumerate(goals):
        chosen = torch.randint(len(w), (len(range(number, count, len(goals))),), generator=rng)
        if value is not None:
            weight, bias = (torch.from_numpy(probes[f"{name}.{part}"]) for part in ("weight", "bias"))
            at = probes[f"{name}.values"].tolist().index(value)
            codes.append(towards_value(w[chosen], weight, bias, at, covariance))
        else:
            y = odds[:, EXPRESSIONS.index(name)]
            slope = prober.fit(rows, y, 0).weight.expand(len(chosen), -1)
            deviation = (slope[0] @ covariance @ slope[0]).sqrt()
            codes.append(w[chosen] + RISE * deviation * slope / slope[0].square().sum().clamp(min=1e-12))
        begun.append(chosen)
    order = torch.randperm(count, generator=rng)  # so that those that are held out are of all goals
    return torch.cat(codes)[order], torch.cat(begun)[order]


@torch.inference_mode()
def extend(folder: Path, count: int) -> None:
    """Append the codes of `count` edited samples, once, and draw what is missing of the pictures, on one core."""
    torch.set_num_threads(1)
    kept = folder / "codes.safetensors"
    codes = load_file(kept)
    if "begun" not in codes:
        w, begun = edited_codes(folder, codes["w"], count)
        codes = {
            "w": torch.cat([codes["w"], w]),
            "psi": torch.cat([codes["psi"], codes["psi"][begun]]),
            "begun": begun,
            "latent_avg": codes["latent_avg"],
        }
        with written_whole(kept) as fresh:
            save_file(codes, fresh)
    generator, _ = load_generator(family_row("photo"), torch.device("cpu"), torch.bfloat16)
    generator.preview = None  # as for the samples
    draw_pictures(generator, codes["w"], folder)


def main() -> None:
    """The command line."""
    parser = part_parser(__doc__)
    parser.add_argument("--count", type=int, default=COUNT)
    options = parser.parse_args()
    run(lambda: extend(options.folder, options.count))


if __name__ == "__main__":
    main()
