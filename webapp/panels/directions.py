"""Global directions (paper, section 6): two texts, a strength, and how many channels move, redrawn as they change."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

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

    β is what an edit is made with; k follows it, or sets it. What a visitor can mend is said beside the sliders, since
    one message for every slider position would pile up.
    """
    studio, most = context.studio, most_channels(context.studio)
    no_offer = gr.update(visible=False)

    def applied(
        source: Latent,
        target: str,
        neutral: str,
        strength: float,
        keep: Sequence[str],
        threshold: float,
        session: Session,
        newest: Callable[[], bool] = the_only_one,
    ) -> Updates:
        """Make the edit: the pictures, the notes, the offer of another β, and k. It is left out where it is not the
        `newest` any more."""
        regions = session.held_to("direct", target=target, neutral=neutral)
        try:
            edit = studio.direct(source, target, neutral, strength, threshold, keep=keep, regions=regions)
        except UserError as error:
            return {panel.kept: problem(str(error)), panel.offer: helpful(target, neutral, keep, threshold)}
        if newest():
            session.keep(source, edit)
        told = {panel.kept: notes(edit), panel.offer: no_offer, panel.channels: min(edit.channels, most)}
        return context.render(session) | told

    def notes(edit: Edit) -> str:
        said = [note for note in edit.notes if note != studio.directions_note]  # which stands above
        return kept_note(edit.channels, *said)

    def helpful(target: str, neutral: str, keep: Sequence[str], threshold: float) -> Any:
        """The button that sets a β which keeps channels; hidden where β isn't what is wrong."""
        try:
            beta = usual_threshold(studio, target, neutral, SUGGESTED_CHANNELS, keep)
        except UserError:
            return no_offer
        return gr.update(value=f"Use β {beta:.3g}", visible=beta < threshold)

    def edit_with(
        target: str,
        neutral: str,
        strength: float,
        keep: list[str],
        channels: int,
        threshold: float | None,
        session: Session,
    ) -> Updates:
        """α or β was changed: edit with them. An empty field for β takes the one that goes with k."""
        source = session.base("direct", target=target, neutral=neutral)
        if threshold is None:
            return keep_channels(source, target, neutral, strength, keep, channels, session)
        return applied(source, target, neutral, strength, keep, max(threshold, 0.0), session)

    def move(
        target: str,
        neutral: str,
        strength: float,
        keep: list[str],
        channels: int,
        threshold: float | None,
        session: Session,
    ) -> Iterator[Updates]:
        """`edit_with` by a slider, with a small picture first."""
        if threshold is None:
            yield edit_with(target, neutral, strength, keep, channels, threshold, session)
            return
        source, beta = session.base("direct", target=target, neutral=neutral), max(threshold, 0.0)
        regions = session.held_to("direct", target=target, neutral=neutral)

        def make(model: StyleCLIP) -> Latent:
            return model.direct(source, target, neutral, strength, beta, keep=keep, regions=regions).latent

        yield from context.small_first(
            session,
            make,
            lambda: applied(source, target, neutral, strength, keep, beta, session),
        )

    def count(
        target: str, neutral: str, strength: float, keep: list[str], channels: int, session: Session
    ) -> Iterator[Updates]:
        """`keep_channels` by the slider, with a small picture first."""
        source = session.base("direct", target=target, neutral=neutral)
        regions = session.held_to("direct", target=target, neutral=neutral)

        def make(model: StyleCLIP) -> Latent:
            beta = model.threshold(target, neutral, int(channels), keep)
            return model.direct(source, target, neutral, strength, beta, keep=keep, regions=regions).latent

        yield from context.small_first(
            session, make, lambda: keep_channels(source, target, neutral, strength, keep, channels, session)
        )

    def keep_channels(
        source: Latent,
        target: str,
        neutral: str,
        strength: float,
        keep: Sequence[str],
        channels: int,
        session: Session,
        newest: Callable[[], bool] = the_only_one,
    ) -> Updates:
        """k was changed, or the words: β goes where it keeps this many channels. The edit is of `source`, which was
        taken when it was asked for: another picture may be seen once β is known."""
        try:
            threshold = usual_threshold(studio, target, neutral, int(channels), keep)
        except UserError as error:
            return {panel.kept: problem(str(error)), panel.offer: no_offer}
        updates = applied(source, target, neutral, strength, keep, threshold, session, newest)
        updates.pop(panel.channels, None)  # the slider stands where the visitor put it
        return updates | {panel.threshold: threshold}

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
        same = session.base("direct", target=target, neutral=neutral) is session.current.source
        return edit_with(target, neutral, strength, keep, channels, threshold if same else None, session)

    def use_helpful(target: str, neutral: str, strength: float, keep: list[str], session: Session) -> Updates:
        source = session.base("direct", target=target, neutral=neutral)
        updates = keep_channels(source, target, neutral, strength, keep, SUGGESTED_CHANNELS, session)
        return updates | {panel.channels: SUGGESTED_CHANNELS}

    def choose(event: gr.SelectData, now: Grid | None, session: Session) -> Updates:
        """A picture of the grid was chosen: its words and numbers go into the fields, and the edit is made."""
        strength, channels = pressed(now.cells if now else [], event)
        source = session.base("direct", target=now.target, neutral=now.neutral)
        with session.choices.making(asked_now()) as newest:
            updates = keep_channels(source, now.target, now.neutral, strength, now.keep, channels, session, newest)
            if not newest():
                return gr.skip()
        words = {panel.texts.target: now.target, panel.texts.neutral: now.neutral, panel.keep: list(now.keep)}
        numbers = {panel.channels: channels, panel.strength: strength}
        return updates | words | numbers | {panel.grid.note: grid.hint(now, source)}

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
