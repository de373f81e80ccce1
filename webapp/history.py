"""What a visitor's history is made of: pictures, which nobody changes, the faces in photos, and steps of a run."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline import Face, Latent
from pipeline.errors import UserError
from pipeline.methods.regions import REGIONS
from pipeline.networks.generator import LEVELS
from pipeline.recipes import FROM_WORDS
from pipeline.wishes import Wish
from webapp.files import new_file, on_screen

THUMBNAIL = 160  # pixels
LONGEST_TITLE = 80


@dataclass(frozen=True, eq=False)
class Line:
    """A line between two latents, and the share of the way at which a picture is: 0 is the start, 1 the end.

    For an edit it leads from what the edit was made from to its full strength, for a mixture from face to face.
    """

    start: Latent
    end: Latent
    share: float = 1.0
    names: tuple[str, str] | None = None
    """Of the two faces of a mixture."""


@dataclass(frozen=True, eq=False)
class HistoryItem:
    """A picture of the history: a face, an edit of one, or a mixture of two faces, with which edits begin anew.

    To change one, the session puts another item with the same key in its place. Two items with one key are equal.
    """

    title: str
    latent: Latent
    picture: str
    """The path of its picture, as the browser gets it."""
    thumbnail: str
    parent: str | None = None
    """The key of the item that it was made from; a face is compared with that one at first."""
    recipes: tuple[dict[str, Any], ...] = ()
    """The edits that led here, one after the other. A face from words alone has one, other faces have none."""
    line: Line | None = None
    """Of an edit or a mixture."""
    notes: tuple[str, ...] = ()
    """Sentences about the picture itself."""
    face_note: str = ""
    """Of a face: the sentences under it while edits of it are seen."""
    detected: DetectedFace | None = None
    """Of a face from a photo: where it is in it."""
    channels: int | None = None
    """How many channels the last edit moved, if it is a global direction."""
    wish: Wish | None = None
    """What the visitor said, if the last edit came of it."""
    key: str = field(default_factory=lambda: secrets.token_hex(4))
    """The browser names the item by it."""

    @classmethod
    def of(cls, picture: Image.Image, title: str, latent: Latent, face_note: str = "", **fields: Any) -> HistoryItem:
        """An item whose picture and thumbnail are written into files."""
        paths = on_screen(picture), small_on_screen(picture)
        return cls(title[:LONGEST_TITLE], latent, *paths, face_note=face_note, **fields)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HistoryItem) and other.key == self.key

    def __hash__(self) -> int:
        return hash(self.key)

    @property
    def is_face(self) -> bool:
        """Whether edits begin with it."""
        return not self.recipes or self.recipes[-1]["method"] in FROM_WORDS

    @property
    def is_mixture(self) -> bool:
        return self.line is not None and self.line.names is not None

    @property
    def is_inversion(self) -> bool:
        """Whether it is a face from a photo as the encoder gave it."""
        return self.is_face and self.detected is not None and self.line is None and not self.notes

    @property
    def caption(self) -> str:
        """What the picture is, in a word or by its title."""
        return "Inversion" if self.is_inversion else self.title

    @property
    def source(self) -> Latent | None:
        """What the last edit was made from, the mean face for words alone; None without an edit."""
        return self.line.start if self.recipes else None

    @property
    def share(self) -> float:
        return self.line.share if self.line else 1.0

    @property
    def places(self) -> str:
        """The regions that the last edit is held to, in words; "" for the whole picture."""
        regions = self.recipes[-1].get("within", {}).get("regions", []) if self.recipes else []
        names = [name if name in REGIONS else "painted area" for name in regions]
        return f"the {' and '.join(names)}" if names else ""

    @property
    def details(self) -> str:
        """The method and its numbers, or the shares of a mixture, and the notes, a line each."""
        words, told = describe(self.recipes[-1], self.channels) if self.recipes else ("", "")
        told += f", only in {self.places}" if self.places else ""
        if self.wish and words != self.title:
            told = f"“{words}”: {told}"
        if self.is_mixture:
            other = round(100 * self.share)
            told = f"{100 - other}% “{self.line.names[0]}”, {other}% “{self.line.names[1]}”"
        return "\n".join(filter(None, [told, *self.notes]))


@dataclass(frozen=True, eq=False)
class StepPreview:
    """A step of an optimization, from which the visitor can go on. On the strip it is held to the `regions`."""

    latent: Latent
    recipe: dict[str, Any]
    picture: str
    regions: tuple[str, ...] = ()
    wish: Wish | None = None
    """What the visitor said, if the run came of it."""
    kept: Latent | None = None
    """What it is on the strip, once it was put there."""


@dataclass(frozen=True, eq=False)
class DetectedFace:
    """A face in the visitor's photo; its crop is a file, because pictures are large."""

    photo: str
    """The path of the photo."""
    crop: str
    landmarks: NDArray[np.float64] | None
    quad: NDArray[np.float64]
    turn: int = 0
    """As `Face.turn`."""
    shown: str = ""
    """The path of the copy of the photo that the page shows; of the photo itself if a browser can show that."""
    example: bool = False
    """Whether it is one of the page's examples; what a visitor brings counts as a photograph."""
    key: str = field(default_factory=lambda: secrets.token_hex(4))
    """The browser names the face by it."""

    @classmethod
    def of(cls, photo: str, face: Face, shown: str | None = None, example: bool = False) -> DetectedFace:
        path = new_file("face.png")
        face.image.save(path, compress_level=1)
        return cls(photo, str(path), face.landmarks, face.quad, face.turn, shown or photo, example)

    def face(self) -> Face:
        """The face again. Raises UserError when the hour for which files are kept is over."""
        try:
            with Image.open(self.crop) as image:
                return Face(image.convert("RGB"), self.landmarks, self.quad, self.turn)
        except FileNotFoundError:
            raise UserError("Photos are kept for an hour, which is over; please choose yours again.") from None


def describe(recipe: dict[str, Any], channels: int | None = None) -> tuple[str, str]:
    """An edit in plain text: its words; the method and its numbers."""
    p = recipe["parameters"]
    match recipe["method"]:
        case "direct":
            beta = f", β {p['threshold']:.3g}" if "threshold" in p else ""
            kept = f", {channels:,} channels" if channels is not None else ""
            stays = f", keeping {', '.join(p['keep'])}" if "keep" in p else ""
            return p["target"], f"Global direction from “{p['neutral']}”, α {p['strength']:g}{beta}{kept}{stays}"
        case "combine":
            told = [f"{slider['target']} α {slider['strength']:.3g}" for slider in p["sliders"]]
            return "Sliders", "; ".join(told) or "All sliders at 0"
        case "exchange":
            return p["target"], f"Exchanged, from “{p['neutral']}”"
        case "map":
            return p["mapper"].replace("_", " "), f"Mapper, strength {p['strength']:.3g}"
        case "style":
            return p["style"].replace("_", " "), f"Style, strength {p['strength']:.3g}"
        case "paint":
            return p["target"], f"Painted from “{p['neutral']}”, {recipe['taken']} steps"
        case "optimize":
            neutral = f", from “{p['neutral']}”" if p["neutral"] else ""
            return p["prompt"], f"{recipe['taken']} steps, λ L2 {p['l2']:g}, λ ID {p['identity']:g}{neutral}"
        case "csla_edit":
            parts = "" if len(p["levels"]) == len(LEVELS) else f", {' and '.join(p['levels'])} only"
            return p["target"], f"Text to face from “{p['neutral']}”, strength {p['strength']:.3g}{parts}"
        case "csla_generate":
            return p["prompt"], f"From the words alone, in one pass, strength {p['strength']:.3g}"
        case _:
            return p["prompt"], f"From the words alone, {recipe['taken']} steps"


def one_line(name: str) -> str:
    """A name as the strip shows it, without halves of characters, which no page can be sent; "" for one of spaces."""
    return " ".join(name.encode(errors="ignore").decode().split())[:LONGEST_TITLE].rstrip()


def kind(recipe: dict[str, Any]) -> tuple[str, ...]:
    """What an edit is about, whatever its numbers: the method, and the words, mapper or style. An exchange is what the
    words give for a pair of texts, and a direction between them takes its place."""
    words = ("neutral", "target", "prompt", "mapper", "style")
    method = "direct" if recipe["method"] == "exchange" else recipe["method"]
    return method, *(recipe["parameters"].get(name, "") for name in words)


def bytes_of(items: Iterable[HistoryItem]) -> int:
    """What the latents of items take, each tensor once."""
    ends = [(item.latent, item.line.start, item.line.end) if item.line else (item.latent,) for item in items]
    tensors = [t for latents in ends for latent in latents for t in latent.tensors().values()]
    return sum({id(t): t.nbytes for t in tensors}.values())


def small_on_screen(picture: Image.Image) -> str:
    """The file of a thumbnail of a picture."""
    small = picture.copy()
    small.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    return on_screen(small)
