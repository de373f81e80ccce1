"""Small pictures to choose from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import gradio as gr

from pipeline.errors import UserError

T = TypeVar("T")


def chooser(value: list[Any] | None = None, captioned: bool = False, **options: Any) -> gr.Gallery:
    """A gallery in which a click chooses a picture and opens nothing; `options` are those of `gr.Gallery`."""
    classes = "thumbs captioned" if captioned else "thumbs"
    return gr.Gallery(value, allow_preview=False, buttons=[], container=False, elem_classes=classes, **options)


def pressed(pictures: Sequence[T], event: gr.SelectData) -> T:
    """Which of the pictures was pressed. Raises UserError where there is none of this number, or any more."""
    if not isinstance(event.index, int) or not 0 <= event.index < len(pictures):
        raise UserError("This picture can't be chosen any more; please choose another one.")
    return pictures[event.index]
