"""The benchmark's tables, from its cells: means with intervals by a bootstrap over faces, in Markdown."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks.cells import FACTORS, Drawings, Pool
from benchmarks.methods import METHODS, PAPERS
from benchmarks.realism import BELIEVABLE
from benchmarks.targets import Target
from families.drawn.attributes import CATEGORIES

RESAMPLED, LEVEL = 1000, 0.95
Cells = dict[tuple[str, str], dict[str, Any]]
"""(method, target) -> cell."""


class Interval(NamedTuple):
    """A mean and the ends of its interval."""

    mean: float
    low: float
    high: float

    def percent(self) -> str:
        return f"{100 * self.mean:.0f}% ({100 * self.low:.0f}–{100 * self.high:.0f})"

    def number(self, digits: int = 2) -> str:
        return f"{self.mean:.{digits}f} ({self.low:.{digits}f}–{self.high:.{digits}f})"


def interval(faces: Sequence[int], values: Sequence[float]) -> Interval:
    """The mean of values, each of a face, and its 95 % interval when the faces are drawn anew, with all they bring.

    The same faces get the same resamples, so a difference of two methods is best handed over as differences.
    """
    _, where = np.unique(np.asarray(faces), return_inverse=True)
    sums, counts = np.bincount(where, weights=np.asarray(values)), np.bincount(where)
    drawn = np.random.default_rng(0).multinomial(len(counts), np.full(len(counts), 1 / len(counts)), RESAMPLED)
    low, high = np.quantile(drawn @ sums / (drawn @ counts), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(sums.sum() / counts.sum()), float(low), float(high))


def gathered(cells: Sequence[dict[str, Any]], name: str) -> tuple[list[int], list[float]]:
    """Faces and values of several cells."""
    return [f for cell in cells for f in cell["faces"]], [v for cell in cells for v in cell[name]]


def difference(cells: Cells, one: str, other: str, name: str) -> tuple[Interval, int]:
    """By how much `one` is above `other` on the same targets and faces, and how many edits of each those are."""
    faces, values = [], []
    for (method, target), cell in cells.items():
        if method == one and (beside := cells.get((other, target))):
            known = dict(zip(beside["faces"], beside[name], strict=True))
            for face, value in zip(cell["faces"], cell[name], strict=True):
                if face in known:
                    faces.append(face)
                    values.append(value - known[face])
    return interval(faces, values), len(values)


def frechet(one: Tensor, other: Tensor) -> float:
    """Fréchet distance of the Gaussians that features (N, D) and (M, D) have the moments of."""
    one, other = one.double(), other.double()
    first, second = (x.T.cov() for x in (one, other))
    values, vectors = torch.linalg.eigh(first)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ second @ root).clamp(min=0).sqrt().sum()
    return ((one.mean(0) - other.mean(0)).square().sum() + first.trace() + second.trace() - 2 * cross).item()


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def figures(edits: Sequence[dict[str, Any]]) -> str:
    """Success · identity · others changed, the means over all edits of several cells or points of their curves."""
    hits, identity, changed = (
        sum(sum(some[name]) for some in edits) / sum(len(some[name]) for some in edits)
        for name in ("hits", "identity", "changed")
    )
    return f"{hits:.0%} · {identity:.2f} · {changed:.1%}"


class Report:
    """All tables of finished cells."""

    def __init__(self, cells: Cells, pairs: Sequence[Target], pool: Pool, drawings: Drawings) -> None:
        self.cells, self.pool, self.drawings = cells, pool, drawings
        self.pairs = [pair for pair in pairs if any(target == pair.target for _, target in cells)]
        self.all_pairs = list(pairs)
        self.methods = [name for name in METHODS if any(method == name for method, _ in cells)]

    def of(self, method: str) -> list[dict[str, Any]]:
        """A method's cells."""
        return [cell for (name, _), cell in self.cells.items() if name == method]

    def quality(self, method: str) -> tuple[float, float]:
        """Fréchet distance of a method's pictures to drawings of faces with the same targets; that of the same faces
        before."""
        cells = self.of(method)
        each = len(self.drawings.seen) // len(self.all_pairs)
        starts = [each * i for i, pair in enumerate(self.all_pairs) if (method, pair.target) in self.cells]
        drawn = self.drawings.seen.pooled[torch.cat([torch.arange(start, start + each) for start in starts])]
        after = torch.tensor([row for cell in cells for row in cell["pooled"]])
        before = self.pool.seen.pooled[torch.tensor(gathered(cells, "hits")[0])]
        return frechet(after, drawn), frechet(before, drawn)

    def main(self) -> str:
        """A row a method, at equal strength; at its own default, on the faces that found the strengths."""
        rows = []
        for name in self.methods:
            cells = self.of(name)
            success, identity, changed = (interval(*gathered(cells, n)) for n in ("hits", "identity", "changed"))
            edits = sum(len(cell["faces"]) for cell in cells)
            after, before = self.quality(name)
            met = sum(cell["reached"] > 0.5 for cell in cells)
            colours, outside = ([v for cell in cells for v in cell[n]] for n in ("colours", "outside"))
            rows.append(
                [
                    METHODS[name].title,
                    f"{len(cells)} × {edits / len(cells):.0f}",
                    success.percent(),
                    identity.number(),
                    f"{100 * changed.mean:.1f}% ({100 * changed.low:.1f}–{100 * changed.high:.1f})",
                    f"{after:.2f} ({before:.2f})",
                    f"{np.mean(np.array(colours) <= BELIEVABLE):.0%}" if colours else "–",
                    f"{np.mean(outside):.1f}" if outside else "–",
                    f"{met} of {len(cells)}",
                    figures([cell["curve"][FACTORS.index(1.0)] for cell in cells]),
                ]
            )
        head = ["", "targets × faces", "success", "identity", "others changed", "Fréchet (before)"]
        return table([*head, f"ΔE ≤ {BELIEVABLE:g}", "outside", "strength met", "at its default"], rows)

    def realism(self) -> dict[str, list[tuple[float, float]]]:
        """Of each method, for every target that is a colour, its success and the share of believable colours."""
        found: dict[str, list[tuple[float, float]]] = {}
        for name in self.methods:
            cells = [cell for cell in self.of(name) if cell["colours"]]
            shares = [(np.mean(c["hits"]), np.mean(np.array(c["colours"]) <= BELIEVABLE)) for c in cells]
            found |= {METHODS[name].title: shares} if shares else {}
        return found

    def costs(self) -> str:
        """Seconds."""
        rows = []
        for name in self.methods:
            cells, method = self.of(name), METHODS[name]
            seconds = {k: sum(c[k] for c in cells) / len(cells) for k in ("seconds", "model_seconds", "text_seconds")}
            factor = sum(sum(cell["factors"]) / len(cell["factors"]) for cell in cells) / len(cells)
            model, text = ("with the family" if kind in method.shipped else "" for kind in ("model", "text"))
            rows.append(
                [
                    method.title,
                    model or short(seconds["model_seconds"]),
                    text or short(seconds["text_seconds"]),
                    short(seconds["seconds"]),
                    f"{factor:.2f}",
                ]
            )
        return table(["", "once a model", "once a text", "an edit", "mean strength, in defaults"], rows)

    def compared(self) -> str:
        """Differences on the same faces: of ours to the paper's defaults, and of the others to global directions."""
        couples = [(ours, paper) for paper, ours in PAPERS.items()]
        couples += [(name, "directions") for name in METHODS if name != "directions" and name not in PAPERS]
        rows = []
        for one, other in couples:
            if {one, other} <= set(self.methods):
                values = [difference(self.cells, one, other, name) for name in ("hits", "changed", "identity")]
                (success, edits), (changed, _), (identity, _) = values
                rows.append(
                    [
                        f"{METHODS[one].title} − {METHODS[other].title}",
                        str(edits),
                        *(
                            f"{100 * v.mean:+.1f} ({100 * v.low:+.1f} to {100 * v.high:+.1f})"
                            for v in (success, changed)
                        ),
                        f"{identity.mean:+.3f} ({identity.low:+.3f} to {identity.high:+.3f})",
                    ]
                )
        return table(["", "edits", "success, points", "others changed, points", "identity"], rows)

    def targets(self) -> str:
        """A row a target: success · identity · others changed."""
        rows = []
        for pair in self.pairs:
            cells = [self.cells.get((name, pair.target)) for name in self.methods]
            met = ["" if cell is None or cell["reached"] > 0.5 else " \\*" for cell in cells]
            rows.append([pair.title, *(figures([c]) + star if c else "" for c, star in zip(cells, met, strict=True))])
        return table(["", *(METHODS[name].title for name in self.methods)], rows)

    def reader(self) -> str:
        """How often the reader is right where the truth is known: on drawings, and on the generator's pictures."""
        rows, columns = [], ((self.drawings.seen, self.drawings.truth), (self.pool.seen, self.pool.truth))
        shares: list[list[float]] = [[], []]
        for name in CATEGORIES:
            right = []
            for column, (seen, truth) in zip(shares, columns, strict=True):
                clear = truth[name] >= 0
                right.append((seen.found[name] == truth[name])[clear].float().mean().item())
                column.append(right[-1])
            rows.append([name.replace("_", " "), *(f"{share:.1%}" for share in right)])
        rows.append(["mean", *(f"{sum(column) / len(column):.1%}" for column in shares)])
        drawn, made = len(self.drawings.seen), len(self.pool.seen)
        return table(["", f"{drawn} drawings", f"{made} pictures of the generator"], rows)


def short(seconds: float) -> str:
    """Seconds as one reads them."""
    if seconds < 0.0005:
        return "–"
    return f"{1000 * seconds:.0f} ms" if seconds < 0.1 else f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
