"""Global directions (paper, section 6): two texts and two sliders, redrawn as they move."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from typing import Any

import gradio as gr

from pipeline import StyleCLIP
from pipeline.errors import UserError
from webapp.guard import guard
from webapp.panels.result import Result, keep, settle, shown
from webapp.presets import Pair
from webapp.session import Session


@dataclass(frozen=True)
class Directions:
    """The panel's components."""

    neutral: gr.Textbox
    target: gr.Textbox
    pairs: gr.Dataset
    strength: gr.Slider
    threshold: gr.Slider
    run: gr.Button
    kept: gr.HTML


def kept_note(channels: int | None) -> str:
    """How many channels the threshold kept."""
    if channels is None:
        return ""
    return f'<p class="note" role="status"><b>{channels:,}</b> {"channel" if channels == 1 else "channels"} kept</p>'


def usual_threshold(studio: StyleCLIP, target: str, neutral: str) -> float:
    """The β that keeps the family's usual number of channels, to three places as the slider shows it, and no fewer."""
    return math.floor(1000 * studio.threshold(target, neutral)) / 1000


def layout(studio: StyleCLIP, pairs: tuple[Pair, ...], session: Session) -> Directions:
    """Draw the panel; the first of `pairs` stands in its fields, with the β that suits it."""
    note = studio.directions_note  # an estimate waits until it is asked for
    threshold = 0.1 if note else usual_threshold(studio, pairs[0].target, pairs[0].neutral)
    gr.HTML(f'<p class="note">{html.escape(note or "")}</p>', visible=bool(note), elem_id="directions-note")
    with gr.Row(elem_classes="two"):
        with gr.Column():
            with gr.Row(elem_classes="from-to"):
                neutral = gr.Textbox(pairs[0].neutral, label="From (neutral)", min_width=120, elem_id="neutral")
                target = gr.Textbox(pairs[0].target, label="To (target)", min_width=120, elem_id="target")
            chips = gr.Dataset(
                components=["textbox"],
                samples=[[pair.target] for pair in pairs],
                type="index",
                label="Good pairs",
                show_label=False,
                layout="gallery",
                elem_id="pairs",
                elem_classes="chips",
            )
        with gr.Column():
            strength = gr.Slider(
                -10, 10, studio.family.defaults.strength, step=0.1, label="Strength α", buttons=[], elem_id="alpha"
            )
            beta = gr.Slider(
                0.02,
                0.9,
                threshold,
                step=0.001,
                label="Only related channels, β",
                buttons=[],
                elem_id="beta",
            )
            with gr.Row(elem_classes="actions"):
                kept = gr.HTML(label="kept", elem_id="kept")
                run = gr.Button("Apply", variant="primary", elem_id="apply-direction")
    return Directions(neutral, target, chips, strength, beta, run, kept)


def connect(
    panel: Directions,
    result: Result,
    studio: StyleCLIP,
    pairs: tuple[Pair, ...],
    state: gr.State,
    job: dict[str, Any],
) -> None:
    """Say what the panel's fields do. `job` holds the queue settings of everything that computes."""

    @guard
    def direct(target: str, neutral: str, strength: float, threshold: float, session: Session) -> tuple[Any, ...]:
        """Move this visitor's face from the neutral to the target text, with strength α and threshold β.

        What a visitor can mend is said beside the sliders: one message for every slider position would pile up."""
        try:
            source = session.base("direct", target=target, neutral=neutral)
            edit = studio.direct(source, target, neutral, strength, threshold)
            keep(session, source, edit)
        except UserError as error:
            return *[gr.skip()] * len(
                result.picture
            ), f'<p class="note notice" role="alert">{html.escape(str(error))}</p>'
        return *shown(session), kept_note(edit.channels)

    @guard
    def direct_anew(target: str, neutral: str, strength: float, session: Session) -> tuple[Any, ...]:
        """The same for new texts: β moves to where it keeps the family's usual number of channels."""
        threshold = usual_threshold(studio, target, neutral)
        return threshold, *direct(target, neutral, strength, threshold, session)

    def suggest(index: int) -> tuple[str, str]:
        return pairs[index].target, pairs[index].neutral

    outputs = [*result.picture, panel.kept]
    texts = [panel.target, panel.neutral, panel.strength]
    moved = gr.on(
        [panel.strength.input, panel.threshold.input],
        direct,
        [*texts, panel.threshold, state],
        outputs,
        api_visibility="private",
        trigger_mode="always_last",
        **job,
    )
    clicked = panel.pairs.click(
        suggest, panel.pairs, [panel.target, panel.neutral], api_visibility="private", queue=False
    )
    for event in (clicked.then, panel.target.submit, panel.neutral.submit, panel.run.click):
        anew = event(direct_anew, [*texts, state], [panel.threshold, *outputs], api_visibility="private", **job)
        settle(result, anew, state)
    settle(result, moved, state)
