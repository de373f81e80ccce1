"""Two texts, what is there and what should be, with suggestions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from webapp.panels.result import SILENT
from webapp.presets import Pair


@dataclass(frozen=True)
class PairFields:
    """The two fields and the suggestions."""

    neutral: gr.Textbox
    target: gr.Textbox
    suggestions: gr.Dataset


def layout(pairs: tuple[Pair, ...], prefix: str = "") -> PairFields:
    """Draw the fields, in which the first of `pairs` stands; `prefix` begins their ids."""
    with gr.Row(elem_classes="from-to"):
        neutral = gr.Textbox(pairs[0].neutral, label="From (neutral)", min_width=120, elem_id=f"{prefix}neutral")
        target = gr.Textbox(
            pairs[0].target, label="To (target)", min_width=120, elem_id=f"{prefix}target", elem_classes="words"
        )
    suggestions = gr.Dataset(
        components=["textbox"],
        samples=[[pair.target] for pair in pairs],
        samples_per_page=len(pairs),
        type="index",
        label="Good pairs",
        show_label=False,
        layout="gallery",
        elem_id=f"{prefix}pairs",
        elem_classes="chips",
    )
    return PairFields(neutral, target, suggestions)


def connect(
    fields: PairFields,
    pairs: tuple[Pair, ...],
    strength: gr.Slider | None = None,
    alpha: Callable[[Pair], float] | None = None,
) -> gr.events.Dependency:
    """Let a suggestion go into the fields, and its `alpha` into `strength`; the event after which they are filled."""

    def suggest(index: int) -> dict[gr.components.Component, Any]:
        pair = pairs[index]
        values = {strength: round(alpha(pair), 1)} if strength else {}
        return {fields.target: pair.target, fields.neutral: pair.neutral} | values

    outputs = [fields.target, fields.neutral, *([strength] if strength else [])]
    return fields.suggestions.click(suggest, fields.suggestions, outputs, **SILENT)
