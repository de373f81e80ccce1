"""Sliders that take any number."""

from __future__ import annotations

from typing import Any

import gradio as gr


def bounded(least: float, most: float, usual: float, **options: Any) -> gr.Slider:
    """A slider for which a number beyond its ends, typed in or brought by a link, counts as that end, and an empty
    field as the usual number; one that goes both ways has a mark at 0. `options` are those of `gr.Slider`."""
    if least < 0:
        zero = f"zero-{round(100 * -least / (most - least))}"
        options["elem_classes"] = f"two-way {zero} {options.get('elem_classes', '')}".split()
    slider = gr.Slider(least, most, usual, buttons=[], **options)

    def within(value: float | None) -> float:
        return usual if value is None else min(max(value, least), most)

    slider.preprocess = slider.postprocess = within
    return slider
