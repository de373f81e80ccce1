"""The example faces of the page: drawings, or for families of photographed faces pictures of nobody that look so."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pipeline import StyleCLIP

FOLDER = Path(__file__).with_name("examples")


class Example(NamedTuple):
    """An example: its picture, and who is seen in it."""

    path: Path
    words: str


DRAWINGS = tuple(
    Example(FOLDER / "drawings" / f"{number}.png", words)
    for number, words in enumerate(
        (
            "a woman with black hair and earrings",
            "a man with curly brown hair",
            "an angry woman with long red hair",
            "a sad woman with straight red hair",
            "a man with a beard",
            "a sad woman with red curls",
            "an old woman with glasses",
            "a smiling man with blond curls",
        )
    )
)
PHOTOGRAPHS = tuple(
    Example(FOLDER / "photographs" / f"{number}.jpg", words)
    for number, words in enumerate(
        (
            "a woman with long brown hair",
            "a man with short grey hair",
            "a smiling man with black hair and a short beard",
            "a woman with long black hair",
            "a smiling woman with curly hair",
            "a man with glasses",
            "a woman with red hair",
            "a man with a fair beard",
        )
    )
)
EVERY = (*DRAWINGS, *PHOTOGRAPHS)


def kind_of(path: str) -> str:
    """What the example with this path is one of: "drawings" or "photographs"."""
    return "photographs" if path in {str(example.path) for example in PHOTOGRAPHS} else "drawings"


def number_of(path: str) -> int:
    """The number by which the page calls the example with this path, from 1 on."""
    of_its_kind = PHOTOGRAPHS if kind_of(path) == "photographs" else DRAWINGS
    return [str(example.path) for example in of_its_kind].index(path) + 1


def examples_of(studio: StyleCLIP) -> tuple[Example, ...]:
    """The examples for a family: none where it looks for no faces, or can't read them."""
    if studio.family.faces is None or studio.family.encoder is None:
        return ()
    return PHOTOGRAPHS if studio.family.row.pictures == "photographs" else DRAWINGS
