"""Which attributes the sampled faces have: linear probes in W, fitted to the labels that some of the faces have.

    python -m families.photo.labels [--folder DIR]

The labels are those of `eye_labels.csv`, which were given by eye to the first 1,488 samples and to 1,470 others in
which probes expected something rare, and those of face-api where `face_labels.npz` is in the folder. An attribute with
values is fitted by logistic regression, an age in years by ridge regression. Prints how well each attribute is told in
cross-validation, which also says how sharp the probabilities are to be, and writes `labels.npz` for all samples. For an
attribute `NAME` it holds `NAME` (N, K), the probabilities of the K values, `NAME.values` (K,), and the probe:
`NAME.weight` (K, D) and `NAME.bias` (K,), whose softmax over w @ weight.T + bias is the probabilities. An age is (N,)
in years, and has a probe of one row.
"""

import csv
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from families.photo.face_labels import EXPRESSIONS, read_face_labels
from families.photo.samples import part_parser, tell
from pipeline.errors import UserError
from pipeline.training.command import run

EYE_LABELS = Path(__file__).with_name("eye_labels.csv")
LEFT_OUT = ("unsure", "hidden", "")  # answers that tell nothing of an attribute
FOLDS = 5  # of the cross-validation; a value with fewer labels is left out
PENALTY = 0.1  # on the squared weights of codes whose numbers have a variance of 1 in the mean
SURE = 0.8  # probability from which face-api's sex and expression count as labels


class Attribute(NamedTuple):
    """The labels of one attribute: the samples `rows` (M,) have the answers `y` (M,), positions in `values`; years,
    where `values` is empty."""

    name: str
    rows: Tensor
    y: Tensor
    values: tuple[str, ...]


class Probe(NamedTuple):
    """Logits w @ weight.T + bias of the values, or years; weight (K, D), bias (K,)."""

    weight: Tensor
    bias: Tensor

    def logits(self, w: Tensor) -> Tensor:
        """w (N, D) -> (N, K)."""
        return w @ self.weight.T + self.bias


def choices(name: str, rows: list[int], answers: list[str]) -> Attribute | None:
    """An attribute from the answers that stand beside the `rows`; None where fewer than two values are left."""
    counts = Counter(answer for answer in answers if answer not in LEFT_OUT)
    values = tuple(value for value, count in counts.most_common() if count >= FOLDS)
    kept = [(row, values.index(answer)) for row, answer in zip(rows, answers, strict=True) if answer in values]
    return Attribute(name, *torch.tensor(kept).T, values) if len(values) > 1 else None


def eye_labels(path: Path, psi: Tensor) -> list[Attribute]:
    """The attributes of a CSV of labels, for the samples whose truncations are `psi` (N,).

    Raises UserError where the labels are of other samples.
    """
    with path.open(newline="") as file:
        faces = list(csv.DictReader(file))
    rows = [int(face["seed"]) for face in faces]
    if max(rows) >= len(psi):
        raise UserError(
            f"{path.name} has labels of {max(rows) + 1} samples, and {len(psi)} are there; make the others."
        )
    if (psi[rows] - torch.tensor([float(face["psi"]) for face in faces])).abs().max() > 1e-3:
        raise UserError(f"{path.name} has labels of samples with another ψ.")
    names = [name for name in faces[0] if name not in ("seed", "psi")]
    return [found for name in names if (found := choices(name, rows, [face[name] for face in faces]))]


def face_api_labels(folder: Path) -> list[Attribute]:
    """Sex, expression and age as face-api tells them."""
    seen = read_face_labels(folder)
    female, expressions, age = (torch.from_numpy(seen[name]) for name in ("female", "expressions", "age"))
    rows = torch.arange(len(age))
    sure, best = expressions.max(1)
    expression = [EXPRESSIONS[i] if p >= SURE else "unsure" for p, i in zip(sure.tolist(), best.tolist(), strict=True)]
    sex = ["female" if p >= SURE else "male" if p <= 1 - SURE else "unsure" for p in female.tolist()]
    told = [choices(name, rows.tolist(), a) for name, a in (("face_api_sex", sex), ("face_api_expression", expression))]
    return [attribute for attribute in told if attribute] + [Attribute("face_api_age", rows, age, ())]


class Prober:
    """Fits probes to labels of the samples with the codes w (N, D)."""

    def __init__(self, w: Tensor) -> None:
        w = w.double()
        self.mean = w.mean(0)
        self.scale = w.std(0).square().mean().sqrt()  # one for all: whitened codes make attributes harder to tell
        self.x = (w - self.mean) / self.scale

    def fit(self, rows: Tensor, y: Tensor, values: int) -> Probe:
        """The probe for answers y (M,) of the samples `rows`; of a number where `values` is 0."""
        x = torch.cat([self.x[rows], torch.ones(len(rows), 1, dtype=torch.float64)], 1)
        found = _logistic(x, y, values) if values else _ridge(x, y.double())
        weight = found[:, :-1] / self.scale
        return Probe(weight.float(), (found[:, -1] - weight @ self.mean).float())


def _ridge(x: Tensor, y: Tensor) -> Tensor:
    """Weights (1, D + 1) for inputs (M, D + 1), the last of them 1, whose weight costs nothing."""
    penalty = PENALTY * len(x) * torch.eye(x.shape[1], dtype=x.dtype)
    penalty[-1] = 0
    return torch.linalg.solve(x.T @ x + penalty, x.T @ y)[None]


def _logistic(x: Tensor, y: Tensor, values: int) -> Tensor:
    """Weights (K, D + 1) of the logits, for inputs as those of `_ridge`."""
    weights = torch.zeros(values, x.shape[1], dtype=x.dtype, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=100, tolerance_grad=1e-5, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(x @ weights.T, y) + PENALTY / 2 * weights[:, :-1].square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return weights.detach()


def cross_validated(prober: Prober, w: Tensor, attribute: Attribute) -> Tensor:
    """The logits (M, K) of the labelled samples, each from a probe that was fitted without its fifth of them."""
    _, rows, y, values = attribute
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
    if values:
        order = order[y[order].argsort(stable=True)]  # each fold has its share of each value
    logits = torch.empty(len(rows), max(1, len(values)))
    for fold in range(FOLDS):
        held = order[fold::FOLDS]
        others = torch.ones(len(rows), dtype=torch.bool).index_fill(0, held, False)
        logits[held] = prober.fit(rows[others], y[others], len(values)).logits(w[rows[held]])
    return logits


def sharpness(logits: Tensor, y: Tensor) -> float:
    """The factor on cross-validated logits (M, K) with which the answers y (M,) are likeliest: the penalty makes the
    probes' probabilities too even."""
    factors = torch.logspace(-1, 2, 121)
    return min(factors.tolist(), key=lambda factor: F.cross_entropy(factor * logits, y).item())


def recalls(logits: Tensor, y: Tensor) -> Tensor:
    """The share (K,) of each value's samples that are told to have it, when all values are equally likely before."""
    shares = y.bincount(minlength=logits.shape[1]) / len(y)
    right = (logits - shares.log()).argmax(1) == y
    return torch.stack([right[y == value].float().mean() for value in range(logits.shape[1])])


def line(attribute: Attribute, logits: Tensor) -> str:
    """A row of the table: how well the cross-validated logits (M, K) tell the attribute."""
    name, _, y, values = attribute
    if not values:
        error, r = (logits[:, 0] - y).abs().median(), torch.corrcoef(torch.stack([logits[:, 0], y]))[0, 1]
        return f"| {name} | {len(y)} | | correlation {r:.3f}, median error {error:.1f} years |"
    shares = recalls(logits, y)
    counts = y.bincount(minlength=len(values)).tolist()
    told = ", ".join(f"{v} {c}: {r:.2f}" for v, c, r in zip(values, counts, shares.tolist(), strict=True))
    return f"| {name} | {len(y)} | {shares.mean():.3f} | {told} |"


def spread(folder: Path) -> None:
    """Fit, measure and print, and write the probabilities of all samples."""
    codes = load_file(folder / "codes.safetensors")
    w, attributes = codes["w"], eye_labels(EYE_LABELS, codes["psi"])
    if (folder / "face_labels.npz").is_file():
        attributes += face_api_labels(folder)
    prober, written = Prober(w), {}
    lines = ["| attribute | labels | balanced accuracy | labels and recall of each value |", "|---|---|---|---|"]
    for attribute in attributes:
        found = cross_validated(prober, w, attribute)
        lines.append(line(attribute, found))
        name, rows, y, values = attribute
        probe = prober.fit(rows, y, len(values))
        if values:
            probe = Probe(*(sharpness(found, y) * part for part in probe))
        logits = probe.logits(w)
        written[name] = (logits.softmax(1) if values else logits[:, 0]).numpy()
        written |= {f"{name}.values": np.array(values)} if values else {}
        written |= {f"{name}.weight": probe.weight.numpy(), f"{name}.bias": probe.bias.numpy()}
    tell(folder, "labels", "\n".join(lines))
    part = folder / "labels.part.npz"
    np.savez_compressed(part, **written)
    part.rename(folder / "labels.npz")


def main() -> None:
    """The command line."""
    parser = part_parser(__doc__)
    options = parser.parse_args()
    run(lambda: spread(options.folder))


if __name__ == "__main__":
    main()
