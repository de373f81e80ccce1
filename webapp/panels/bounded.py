"""Sliders that take any number."""

from __future__ import annotations

from typing import Any

import gradio as gr


def bounded(least: float, most: float, usual: float, **options: Any) -> gr.Slider:
    """A slider for which a number beyond its ends, typed in or brought by a link, counts as that end, and an empty
    field as the usual number; `options` are those of `gr.Slider`."""
    slider = gr.Slider(least, most, usual, buttons=[], **options)

    def within(value: float | None) -> float:
        return usual if value is None else min(max(value, least), most)

    slider.preprocess = slider.postprocess = within
    return slider
