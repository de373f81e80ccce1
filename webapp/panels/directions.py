"""Global directions (paper, section 6): two texts, a strength, and how many channels move, redrawn as they change."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import gradio as gr

from pipeline import Edit, Latent, StyleCLIP
from pipeline.errors import UserError
from pipeline.methods.directions import SUGGESTED_CHANNELS
from webapp.choices import the_only_one
from webapp.panels import grid, pair
from webapp.panels.bounded import bounded
from webapp.panels.chooser import pressed
from webapp.panels.grid import Grid, GridFields
from webapp.panels.pair import PairFields
from webapp.panels.result import forget, problem
from webapp.presets import Pair
from webapp.queues import EDIT, asked_now
from webapp.render import Context, Updates
from webapp.session import Session

FEWEST_CHOICE = 200  # channels that the slider reaches at least: large shapes want as many


class Asked(NamedTuple):
    """What a visitor asks for, all of it as it was when they did: the face and the regions may be others by the time
    that the edit is made."""

    source: Latent
    regions: tuple[str, ...]
    target: str
    neutral: str
    strength: float
    keep: tuple[str, ...]
    channels: int
    threshold: float | None
    """None where β goes with `channels`."""

    @classmethod
    def now(
        cls,
        session: Session,
        target: str,
        neutral: str,
        strength: float,
        keep: Sequence[str],
        channels: int,
        threshold: float | None = None,
    ) -> Asked:
        """The fields as they stand, for the picture that the visitor looks at."""
        with session.lock:
            source = session.base("direct", target=target, neutral=neutral)
            regions = tuple(session.held_to("direct", target=target, neutral=neutral))
        beta = None if threshold is None else max(threshold, 0.0)
        return cls(source, regions, target, neutral, strength, tuple(keep), int(channels), beta)

    def edit(self, studio: StyleCLIP) -> Edit:
        """The edit with its β. Raises UserError as `StyleCLIP.direct` does."""
        numbers = self.strength, self.threshold
        return studio.direct(self.source, self.target, self.neutral, *numbers, keep=self.keep, regions=self.regions)

    def usual_threshold(self, studio: StyleCLIP) -> float:
        """The β that goes with `channels`. Raises UserError as `StyleCLIP.threshold` does."""
        return usual_threshold(studio, self.target, self.neutral, self.channels, self.keep)


@dataclass(frozen=True)
class Directions:
    """The panel's components."""

    texts: PairFields
    strength: gr.Slider
    keep: gr.Dropdown
    channels: gr.Slider
    threshold: gr.Number
    kept: gr.HTML
    offer: gr.Button
    run: gr.Button
    show: gr.Button
    grid: GridFields


def most_channels(studio: StyleCLIP) -> int:
    """Where the slider of the channels kept ends: four times what is usual in the family."""
    return max(FEWEST_CHOICE, 4 * studio.family.defaults.channels)


def usual_threshold(
    studio: StyleCLIP, target: str, neutral: str, channels: int | None = None, keep: Sequence[str] = ()
) -> float:
    """The β that keeps `channels`, or the family's usual number, to four places, and no fewer."""
    return math.floor(10_000 * studio.threshold(target, neutral, channels, keep)) / 10_000


def kept_note(channels: int, *notes: str) -> str:
    """How many channels were kept, and sentences about the edit, as HTML."""
    kept = f"<b>{channels:,}</b> {'channel' if channels == 1 else 'channels'} kept"
    said = " ".join([f"{kept}.", *(html.escape(note) for note in notes if note)]) if any(notes) else kept
    return f'<p class="note" role="status">{said}</p>'


def layout(studio: StyleCLIP, pairs: tuple[Pair, ...]) -> Directions:
    """Draw the panel; the first of `pairs` stands in its fields."""
    usual = studio.family.defaults
    note = studio.directions_note
    # An estimate takes long.
    alpha = usual.strength if note else pairs[0].alpha(studio)
    beta = None if note else usual_threshold(studio, pairs[0].target, pairs[0].neutral)
    gr.HTML(f'<p class="note">{html.escape(note or "")}</p>', visible=bool(note), elem_id="directions-note")
    with gr.Row(elem_classes="two"):
        with gr.Column():
            texts = pair.layout(pairs)
        with gr.Column():
            strength = bounded(-grid.STRONGEST, grid.STRONGEST, alpha, step=0.1, label="Strength α", elem_id="alpha")
            with gr.Row(elem_id="k-and-beta"):
                channels = bounded(
                    1,
                    most_channels(studio),
                    usual.channels,
                    step=1,
                    label="Channels kept, k",
                    info="Few for a colour, many for a shape",
                    min_width=180,
                    elem_id="channels",
                )
                threshold = gr.Number(beta, label="Exactly, β", step=0.001, min_width=90, elem_id="beta")
            keep = gr.Dropdown(
                list(studio.attributes()),
                value=[],
                multiselect=True,
                label="Keep",
                info="What should not change with it",
                visible=bool(studio.attributes()),
                elem_id="keep",
            )
            kept = gr.HTML(label="notes", elem_id="kept")
            with gr.Row(elem_classes="actions"):
                run = gr.Button("Apply", variant="primary", elem_id="apply-direction")
                show = gr.Button(grid.SHOW, elem_id="show-grid")
                offer = gr.Button(visible=False, elem_id="helpful-beta")
    return Directions(texts, strength, keep, channels, threshold, kept, offer, run, show, grid.layout())


def connect(panel: Directions, context: Context) -> None:
    """Say what the panel's fields do.

    β is what an edit is made with; k follows it, or sets it. What is wrong with their values is said beside the
    sliders, since one message for every slider position would pile up.
    """
    studio, most = context.studio, most_channels(context.studio)
    no_offer = gr.update(visible=False)

    def applied(asked: Asked, session: Session, newest: Callable[[], bool] = the_only_one) -> Updates:
        """Make the edit: the pictures, the notes, the offer of another β, and k. It is left out where it is not the
        `newest` any more."""
        try:
            edit = asked.edit(studio)
        except UserError as error:
            return {panel.kept: problem(str(error)), panel.offer: helpful(asked)}
        if newest():
            session.keep(asked.source, edit)
        told = {panel.kept: notes(edit), panel.offer: no_offer, panel.channels: min(edit.channels, most)}
        return context.render(session) | told

    def notes(edit: Edit) -> str:
        said = [note for note in edit.notes if note != studio.directions_note]  # which stands above
        return kept_note(edit.channels, *said)

    def helpful(asked: Asked) -> Any:
        """The button that sets a β which keeps channels; hidden where β isn't what is wrong."""
        try:
            beta = asked._replace(channels=SUGGESTED_CHANNELS).usual_threshold(studio)
        except UserError:
            return no_offer
        return gr.update(value=f"Use β {beta:.3g}", visible=beta < asked.threshold)

    def by_count(asked: Asked, session: Session, newest: Callable[[], bool] = the_only_one) -> Updates:
        """k was changed, or the words: β goes where it keeps this many channels."""
        try:
            asked = asked._replace(threshold=asked.usual_threshold(studio))
        except UserError as error:
            return {panel.kept: problem(str(error)), panel.offer: no_offer}
        updates = applied(asked, session, newest)
        updates.pop(panel.channels, None)  # the slider stands where the visitor put it
        return updates | {panel.threshold: asked.threshold}

    def small_first(asked: Asked, session: Session, finish: Callable[[Asked, Session], Updates]) -> Iterator[Updates]:
        """What `finish` makes of what a slider asks for, with a small picture first."""

        def make(model: StyleCLIP) -> Latent:
            beta = asked.usual_threshold(model) if asked.threshold is None else asked.threshold
            return asked._replace(threshold=beta).edit(model).latent

        yield from context.small_first(session, make, lambda: finish(asked, session))

    def move(
        target: str,
        neutral: str,
        strength: float,
        keep: list[str],
        channels: int,
        threshold: float | None,
        session: Session,
    ) -> Iterator[Updates]:
        """α or β was changed. An empty field for β takes the one that goes with k."""
        asked = Asked.now(session, target, neutral, strength, keep, channels, threshold)
        yield from small_first(asked, session, by_count if threshold is None else applied)

    def count(
        target: str, neutral: str, strength: float, keep: list[str], channels: int, session: Session
    ) -> Iterator[Updates]:
        """k was changed, or what is to stay."""
        yield from small_first(Asked.now(session, target, neutral, strength, keep, channels), session, by_count)

    def apply(
        target: str,
        neutral: str,
        strength: float,
        keep: list[str],
        channels: int,
        threshold: float | None,
        session: Session,
    ) -> Updates:
        """The numbers as they stand for the words of the current edit; for others β follows k."""
        with session.lock:
            asked = Asked.now(session, target, neutral, strength, keep, channels, threshold)
            same = asked.source is session.current.source
        return applied(asked, session) if same and threshold is not None else by_count(asked, session)

    def use_helpful(target: str, neutral: str, strength: float, keep: list[str], session: Session) -> Updates:
        asked = Asked.now(session, target, neutral, strength, keep, SUGGESTED_CHANNELS)
        return by_count(asked, session) | {panel.channels: SUGGESTED_CHANNELS}

    def choose(event: gr.SelectData, now: Grid | None, session: Session) -> Updates:
        """A picture of the grid was chosen: its words and numbers go into the fields, and the edit is made."""
        strength, channels = pressed(now.cells if now else [], event)
        asked = Asked.now(session, now.target, now.neutral, strength, now.keep, channels)
        with session.choices.making(asked_now()) as newest:
            updates = by_count(asked, session, newest)
            if not newest():
                return gr.skip()
        words = {panel.texts.target: now.target, panel.texts.neutral: now.neutral, panel.keep: list(now.keep)}
        numbers = {panel.channels: channels, panel.strength: strength}
        return updates | words | numbers | {panel.grid.note: grid.hint(now, asked.source)}

    texts = [panel.texts.target, panel.texts.neutral, panel.strength, panel.keep]
    numbers = [panel.channels, panel.threshold]
    edited = [panel.kept, panel.offer, *numbers]
    last = EDIT | {"trigger_mode": "always_last"}
    context.on([panel.strength.input, panel.threshold.input], move, [*texts, *numbers], edited, **last)
    counted = [panel.kept, panel.offer, panel.threshold]
    context.on([panel.channels.input, panel.keep.input], count, [*texts, panel.channels], counted, **last)
    suggested = pair.connect(panel.texts, context.presets.pairs, panel.strength, lambda pair: pair.alpha(studio))
    for event in (suggested.then, panel.texts.target.submit, panel.texts.neutral.submit, panel.run.click):
        context.on(event, apply, [*texts, *numbers], edited, **last)
    context.on(panel.offer.click, use_helpful, texts, edited, **EDIT)
    # Not the newest alone: for the second of two clicks, Gradio would send the first again.
    outputs = [*edited, *texts, panel.grid.note]
    context.on(panel.grid.gallery.select, choose, [panel.grid.state], outputs, trigger_mode="multiple", **EDIT)
    forget(panel.kept, panel.texts.target, panel.texts.neutral)
    grid.connect(panel.grid, panel.show, [*texts, panel.channels], most, panel.kept, context)
