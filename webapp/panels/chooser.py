"""Small pictures to choose from."""

from __future__ import annotations

from typing import Any

import gradio as gr


def chooser(value: list[Any] | None = None, captioned: bool = False, **options: Any) -> gr.Gallery:
    """A gallery in which a click chooses a picture and opens nothing; `options` are those of `gr.Gallery`."""
    classes = "thumbs captioned" if captioned else "thumbs"
    return gr.Gallery(value, allow_preview=False, buttons=[], container=False, elem_classes=classes, **options)
