"""The benchmark's pictures: success against side effects, and a sheet of edited faces."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from PIL import Image, ImageDraw, ImageFont

from benchmarks.cells import FACTORS, TILE
from benchmarks.methods import METHODS, OURS, PAPERS
from benchmarks.tables import Cells
from benchmarks.targets import Target

matplotlib.use("Agg")
# Okabe and Ito's colours, which colour-blind people tell apart; a paper's default has the colour of ours.
COLOURS = {
    "optimization": "#0072B2",
    "mapper": "#009E73",
    "directions": "#D55E00",
    "estimate": "#E69F00",
    "csla": "#CC79A7",
    "ganspace": "#56B4E9",
    "interfacegan": "#0072B2",
    "styleflow": "#E69F00",
    "stylespace": "#009E73",
    "tedigan": "#000000",
}
SHEET, LEFT, TOP, LIMIT = 104, 96, 56, 300_000


def mean(cells: Sequence[dict[str, Any]], name: str) -> float:
    """Over all edits."""
    values = [value for cell in cells for value in cell[name]]
    return sum(values) / len(values)


def line(axes: Axes, cells: Cells, name: str, faint: bool = False) -> None:
    """A method's curve over strength, its default and the strength of the rule."""
    own = [cell for (method, _), cell in cells.items() if method == name]
    if not own:
        return
    points = [[cell["curve"][i] for cell in own] for i in range(len(FACTORS))]
    x, y = ([mean(point, n) for point in points] for n in ("changed", "hits"))
    colour = "#999999" if faint else COLOURS[PAPERS.get(name, name)]
    style = {"color": colour, "linestyle": "--" if name in PAPERS else "-", "linewidth": 1.2 if faint else 1.8}
    label = METHODS[name].title + (f" ({len(own)} targets)" if len(own) < len({t for _, t in cells}) else "")
    axes.plot([0, *x], [0, *y], label=label, zorder=1 if faint else 2, **style)
    default = FACTORS.index(1.0)
    axes.plot(x[default], y[default], "o", color="white", markeredgecolor=colour, markersize=6, zorder=3)
    if not faint:
        marker = "s" if name in PAPERS else "D"
        axes.plot(mean(own, "changed"), mean(own, "hits"), marker, color=colour, markersize=7, zorder=4)


def chart(cells: Cells, path: Path) -> None:
    """Two panels: our methods with the paper's defaults, and the baselines beside our directions and CSLA."""
    with matplotlib.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure((10, 5), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        for name in OURS:
            line(left, cells, name)
        for name in METHODS:
            if name in ("directions", "csla") or name not in OURS:
                line(right, cells, name)
        for axes, title in ((left, "ours, and the paper's defaults (dashed)"), (right, "beside the baselines")):
            axes.set_title(title, fontsize=11)
            axes.set_xlabel("other attributes changed")
            axes.set_xlim(0, 0.32)
            axes.set_ylim(0, 1.02)
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_formatter(PercentFormatter(1, 0))
            axes.grid(color="#e5e5e5", linewidth=0.6)
            axes.legend(loc="lower right", frameon=False, fontsize=9)
        left.set_ylabel("target appeared")
        figure.supxlabel(
            "each line: strength grows from 0 to 4 defaults · ring: the default · filled: equal strength by the rule",
            fontsize=9,
        )
        figure.savefig(path, dpi=130, metadata={"Software": None})


def realism(points: Mapping[str, Sequence[tuple[float, float]]], path: Path) -> None:
    """Success against realism, of each way a point a target and its mean."""
    with matplotlib.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure((6, 5), layout="constrained")
        axes = figure.subplots()
        colours = matplotlib.colormaps["tab20"].colors  # ten dark ones, and after each its pale one
        for (title, pairs), colour in zip(points.items(), (*colours[::2], *colours[1::2]), strict=False):
            x, y = np.array(pairs).T
            axes.plot(x, y, "o", color=colour, markersize=4, alpha=0.5)
            axes.plot(x.mean(), y.mean(), "D", color=colour, markersize=9, label=title)
        axes.set_xlabel("target appeared")
        axes.set_ylabel("colour as the renderer's, ΔE ≤ 12")
        axes.set_xlim(-0.02, 1.03)
        axes.set_ylim(-0.02, 1.03)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PercentFormatter(1, 0))
        axes.grid(color="#e5e5e5", linewidth=0.6)
        axes.legend(loc="upper left", frameon=False, fontsize=9)
        figure.savefig(path, dpi=130, metadata={"Software": None})


def sheet(cells: Cells, pairs: Sequence[Target], before: dict[str, Path], after: dict[tuple[str, str], Path]) -> Image:
    """A row a target, a column a method: one of its faces at equal strength, `after` beside the face `before`."""
    names = [name for name in METHODS if any(method == name for method, _ in cells)]
    out = Image.new("RGB", (LEFT + SHEET * (1 + len(names)), TOP + SHEET * len(pairs)), "white")
    draw, font = ImageDraw.Draw(out), ImageFont.load_default(12)
    for column, title in enumerate(["face", *(METHODS[name].title for name in names)]):
        words = "\n".join(textwrap.wrap(title, 15))
        draw.multiline_text((LEFT + SHEET * (column + 0.5), TOP / 2), words, "black", font, "mm", align="center")
    for row, pair in enumerate(pairs):
        words = "\n".join(textwrap.wrap(pair.title, 12))
        draw.multiline_text((LEFT - 6, TOP + SHEET * (row + 0.5)), words, "black", font, "rm", align="right")
        for column, path in enumerate([before[pair.target], *(after.get((name, pair.target)) for name in names)]):
            if path:
                tile = Image.open(path).resize((SHEET, SHEET), Image.Resampling.LANCZOS)
                out.paste(tile, (LEFT + SHEET * column, TOP + SHEET * row))
    return out


def save_sheet(image: Image.Image, path: Path) -> None:
    """As the best JPEG under the limit."""
    for quality in range(90, 40, -5):
        image.save(path, quality=quality, optimize=True)
        if path.stat().st_size < LIMIT:
            return


assert TILE >= SHEET
