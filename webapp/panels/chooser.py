"""Small pictures to choose from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeVar

import gradio as gr

from pipeline.errors import UserError

T = TypeVar("T")
GONE = "This picture can't be chosen any more; please choose another one."


class HasKey(Protocol):
    """What the browser names by a key."""

    @property
    def key(self) -> str: ...


Keyed = TypeVar("Keyed", bound=HasKey)


def chooser(value: list[Any] | None = None, captioned: bool = False, **options: Any) -> gr.Gallery:
    """A gallery in which a click chooses a picture and opens nothing; `options` are those of `gr.Gallery`."""
    classes = "thumbs captioned" if captioned else "thumbs"
    return gr.Gallery(value, allow_preview=False, buttons=[], container=False, elem_classes=classes, **options)


def keys_of(pictures: Iterable[Keyed]) -> str:
    """The keys of the pictures of a gallery, which the page holds in a hidden field beside it."""
    return " ".join(picture.key for picture in pictures)


def chosen(pictures: Iterable[Keyed], keys: str, event: gr.SelectData) -> Keyed:
    """Which of the pictures was pressed in a gallery that the browser may not have drawn anew yet: `keys` are of those
    that it shows. Raises UserError where the picture is not there any more."""
    key = pressed(keys.split(), event)
    found = next((picture for picture in pictures if picture.key == key), None)
    if found is None:
        raise UserError(GONE)
    return found


def pressed(pictures: Sequence[T], event: gr.SelectData) -> T:
    """Which of the pictures was pressed. Raises UserError where there is none of this number, or any more."""
    if not isinstance(event.index, int) or not 0 <= event.index < len(pictures):
        raise UserError(GONE)
    return pictures[event.index]
