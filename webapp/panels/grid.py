"""The α × β grid (paper, figure 6), a picture to click in: small ones around a strength and a number of channels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr
from PIL import Image

from pipeline import Edit, Latent, StyleCLIP
from pipeline.errors import UserError
from pipeline.text import check_pair
from webapp.download_progress import bar
from webapp.error_messages import guard
from webapp.files import on_screen
from webapp.model_handle import ModelHandle
from webapp.panels.chooser import chooser
from webapp.panels.result import SILENT, problem, set_to, status
from webapp.queues import SERIES
from webapp.render import Context, Updates
from webapp.session import Session

STRONGEST = 10.0  # |α|
ROWS, COLUMNS = 4, 5
RESOLUTION = 128  # pixels of a picture
FINEST = 3  # how often "More like this" halves the steps
DUE = "\N{NO-BREAK SPACE}…"  # ends the caption of a picture that isn't drawn yet
SCROLL = """() => requestAnimationFrame(() => document.getElementById('grid-box')?.scrollIntoView({
  block: 'start', behavior: matchMedia('(prefers-reduced-motion: reduce)').matches ? 'instant' : 'smooth' }))"""
"""Brings the grid to the upper edge of the window, so that the large picture is seen below it."""
SHOW = "Show the grid"
HINT = "Stronger to the right, more channels further down. Choose a picture to apply it."


@dataclass(frozen=True)
class Grid:
    """A grid of strengths and channels kept; of finer `level` the nearer its pictures are to one another."""

    target: str
    neutral: str
    keep: tuple[str, ...]
    source: str
    """The digest of the latent that it was drawn for."""
    strength: float
    channels: int
    """What it is drawn around."""
    usual: float
    """A strength of which the first grid's columns are a third apart."""
    most: int
    """Channels that a row may keep."""
    level: int = 0
    regions: tuple[str, ...] = ()
    """Of the picture, that its pictures are held to."""

    @property
    def strengths(self) -> list[float]:
        """α of the columns, rising, within ±10."""
        apart = max(0.1, self.usual / 3 / 2**self.level)
        first = min(max(self.strength - 2 * apart, -STRONGEST), STRONGEST - (COLUMNS - 1) * apart)
        return [round(first + column * apart, 1) for column in range(COLUMNS)]

    @property
    def counts(self) -> list[int]:
        """The channels that the rows keep, rising, from 1 to `most`: the third row's are those it is drawn around."""
        ratio = 2 ** (1 / 2**self.level)
        counts = [round(self.channels * ratio ** (row - 2)) for row in range(ROWS)]
        for row in range(ROWS):
            counts[row] = max(counts[row], counts[row - 1] + 1 if row else 1)
        for row in reversed(range(ROWS)):
            counts[row] = min(counts[row], self.most - (ROWS - 1 - row))
        return counts

    @property
    def cells(self) -> list[tuple[float, int]]:
        """α and the channels kept of each picture, row by row."""
        return [(strength, channels) for channels in self.counts for strength in self.strengths]

    def finer(self, strength: float, channels: int) -> Grid:
        """A grid around another point, with half the span."""
        return replace(self, strength=strength, channels=channels, level=min(self.level + 1, FINEST))


def caption(strength: float, channels: int) -> str:
    """A picture's numbers, as in “α 2 · k 40”; where it is narrow, the line breaks after the dot only."""
    return f"α\N{NO-BREAK SPACE}{strength:g}\N{NO-BREAK SPACE}· k\N{NO-BREAK SPACE}{channels}".replace("-", "−")


def hint(grid: Grid, source: Latent) -> str:
    """What to do with a grid whose pictures are of `source`, or were of another face, as HTML."""
    sentence = HINT if grid.source == source.digest() else f"This grid shows another face. “{SHOW}” draws it anew."
    return status(sentence)


def pictures(studio: ModelHandle, source: Latent, grid: Grid) -> Iterator[list[tuple[str, str]]]:
    """Draw a grid: files and captions of its pictures, first empty ones, then with each row more of those that are.

    Raises UserError for texts without a direction between them.
    """
    check_pair(grid.target, grid.neutral)
    size = min(RESOLUTION, studio.family.generator.size)
    empty = Image.new("RGB", studio.image(source, size).size, "gray")

    def edit(model: StyleCLIP, strength: float, channels: int) -> Edit:
        numbers = {"strength": strength, "channels": channels}
        return model.direct(source, grid.target, grid.neutral, **numbers, keep=grid.keep, regions=grid.regions)

    def drawn(strength: float, channels: int) -> Image.Image:
        picture = studio.glance(lambda model: edit(model, strength, channels).latent)
        return (picture or edit(studio, strength, channels).image).resize(empty.size, Image.Resampling.BOX)

    due = on_screen(empty)
    cells = [(due, caption(*cell) + DUE) for cell in grid.cells]
    yield cells
    for row, channels in enumerate(grid.counts):
        for column, strength in enumerate(grid.strengths):
            cells[row * COLUMNS + column] = on_screen(drawn(strength, channels)), caption(strength, channels)
        yield cells


@dataclass(frozen=True)
class GridFields:
    """The grid's components."""

    state: gr.State
    box: gr.Column
    gallery: gr.Gallery
    note: gr.HTML
    finer: gr.Button
    close: gr.Button


def layout() -> GridFields:
    """Draw the place of the grid, which is hidden until it is asked for."""
    state = gr.State(None)
    with gr.Column(visible=False, elem_id="grid-box") as box:
        gallery = chooser(label="Strengths and channels", show_label=False, columns=COLUMNS, elem_id="grid")
        with gr.Column(elem_id="grid-side"):
            note = gr.HTML(label="progress of the grid", elem_id="grid-note")
            with gr.Row(elem_classes="actions"):
                finer = gr.Button("More like this", size="md", elem_id="more-like-this")
                close = gr.Button("Close the grid", size="md", elem_id="close-grid")
    return GridFields(state, box, gallery, note, finer, close)


def connect(
    fields: GridFields,
    show: gr.Button,
    around: list[gr.components.Component],
    most: int,
    notes: gr.HTML,
    context: Context,
) -> None:
    """Say what the grid's buttons do; choosing a picture is the panel's.

    `around` are the fields of the target, the neutral text, α, what is to stay, and the channels kept, which may be up
    to `most`. What is wrong with the texts goes into `notes`.
    """
    studio, state = context.studio, context.state

    def draw(wanted: Grid, session: Session) -> Iterator[Updates]:
        """Into the box as it is: it may have been closed since it was asked for, and stays so."""
        texts = {"target": wanted.target, "neutral": wanted.neutral}
        try:
            with session.lock:
                source, regions = session.base("direct", **texts), tuple(session.held_to("direct", **texts))
            wanted = replace(wanted, source=source.digest(), regions=regions)
            middle = (wanted.strength, wanted.channels)
            chosen = {"selected_index": wanted.cells.index(middle) if middle in wanted.cells else None}
            updates = {fields.state: wanted, fields.finer: gr.update(interactive=wanted.level < FINEST)}
            for cells in pictures(studio, source, wanted):
                due = sum(words.endswith(DUE) for _, words in cells)
                told = bar(f"{len(cells) - due} of {len(cells)} pictures", 1 - due / len(cells))
                yield updates | {fields.gallery: gr.update(value=cells, **chosen), fields.note: told}
                chosen = {}
        except UserError as error:
            hidden = {fields.state: None, fields.box: gr.update(visible=False)}
            yield hidden | {fields.note: "", notes: problem(str(error))}
            return
        now = session.base("direct", **texts)  # it may have changed meanwhile
        yield {fields.note: hint(wanted, now)}

    def open_(target: str, neutral: str) -> Updates:
        """Make room at once, unless the texts are of no use."""
        try:
            check_pair(target, neutral)
        except UserError as error:
            return {fields.box: gr.update(visible=False), notes: problem(str(error))}
        return {fields.box: gr.update(visible=True)}

    @guard
    def first(
        target: str, neutral: str, strength: float, keep: list[str], channels: int, session: Session
    ) -> Iterator[Updates]:
        usual = abs(strength) or studio.family.defaults.strength
        yield from draw(Grid(target, neutral, tuple(keep), "", strength, int(channels), usual, most), session)

    @guard
    def next_(strength: float, channels: int, now: Grid | None, session: Session) -> Iterator[Updates]:
        if now is not None:
            yield from draw(now.finer(strength, int(channels)), session)

    private: dict[str, Any] = {"api_visibility": "private"} | SERIES
    drawn = [fields.state, fields.box, fields.gallery, fields.note, fields.finer, notes]
    opened = show.click(open_, around[:2], [fields.box, notes], **SILENT)
    opened.then(None, None, None, js=SCROLL)
    begun = opened.then(first, [*around, state], drawn, trigger_mode="always_last", **private)
    refined = fields.finer.click(next_, [around[2], around[4], fields.state, state], drawn, **private)
    for event in (begun, refined):
        event.failure(None, None, fields.note, js=set_to(""), **SILENT)
    fields.close.click(lambda: gr.update(visible=False), None, fields.box, **SILENT)
