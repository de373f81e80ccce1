"""The pictures on a visitor's strip: faces, edits of them and mixtures of two, and what they came from."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline import Face, Latent
from pipeline.errors import UserError
from webapp.files import new_file, on_screen

THUMB = 160  # pixels of a picture on the strip
LONGEST_TITLE = 80


@dataclass(frozen=True, eq=False)
class Mixture:
    """Two faces, their names, and how much there is of the other one, 0 to 1."""

    one: Latent
    other: Latent
    names: tuple[str, str]
    share: float = 0.5

    @property
    def in_words(self) -> str:
        other = round(100 * self.share)
        return f"{100 - other}% “{self.names[0]}”, {other}% “{self.names[1]}”"


@dataclass(eq=False)
class Shot:
    """A picture on the visitor's strip: a face, an edit, or a mixture of two."""

    latent: Latent
    title: str
    picture: str
    """The path of its picture, as the browser gets it."""
    thumb: str
    details: str = ""
    """The method, its numbers, and notes, a line each."""
    said: str = ""
    """Of a face: what is said under it while edits of it are seen."""
    recipes: tuple[dict[str, Any], ...] = ()
    """The edits that led here from `root`, one after the other."""
    source: Latent | None = None
    """What the last of them was made from, the mean face for words alone; None for a face."""
    whole: Latent | None = None
    """What the last of them gave at its full strength; None for a face."""
    mixture: Mixture | None = None
    """Of a mixture: what it is made of. With it edits begin anew, as with a face."""
    root: Shot | None = None
    """The face that the edits began with; None for a face."""
    beside: Shot | None = None
    """What it is compared with at first, where that is not the face it began with."""
    found: Found | None = None
    """Of a face that came from a photo: where it is in it."""
    notes: tuple[str, ...] = ()
    """What the last edit says to the visitor, a sentence each."""
    channels: int | None = None
    """How many channels the last edit moved, where it is a global direction."""
    key: str = field(default_factory=lambda: secrets.token_hex(4))
    """By which the browser names it."""

    @property
    def origin(self) -> Shot:
        """The face that it began with; itself, if it is one."""
        return self.root or self

    @property
    def line(self) -> tuple[Latent, Latent] | None:
        """Where it is at share 0 and at share 1: what the last edit was made from, and what it gave; or the two faces
        of a mixture. None for a face."""
        if self.mixture:
            return self.mixture.one, self.mixture.other
        return (self.source, self.whole) if self.source and self.whole else None

    def made_of(self, face: Shot) -> bool:
        """Whether it is an edit of a face, or a mixture of it with another one."""
        return self.root is face or (self.mixture is not None and face.latent in (self.mixture.one, self.mixture.other))

    @property
    def share(self) -> float:
        """How far along this line it is."""
        if self.mixture:
            return self.mixture.share
        return self.recipes[-1].get("share", 1.0) if self.recipes else 1.0


@dataclass(frozen=True, eq=False)
class Frame:
    """A moment of an optimization, which the visitor may go on from."""

    latent: Latent
    recipe: dict[str, Any]
    picture: str


@dataclass(eq=False)
class Found:
    """A face in the visitor's photo; its crop is a file, because pictures are large."""

    photo: str
    """The path of the photo."""
    crop: str
    landmarks: NDArray[np.float64] | None
    quad: NDArray[np.float64]
    turn: int = 0
    """As `Face.turn`."""
    shown: str = ""
    """The path of what the page shows of the photo; of the photo itself where a browser shows it as it is."""
    example: bool = False
    """Whether it is one of the page's examples; what a visitor brings counts as a photograph."""
    key: str = field(default_factory=lambda: secrets.token_hex(4))
    """By which the browser names it."""

    @classmethod
    def of(cls, photo: str, face: Face, shown: str | None = None, example: bool = False) -> Found:
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


def one_line(name: str) -> str:
    """A name as the strip shows it; "" for one of spaces."""
    return " ".join(name.split())[:LONGEST_TITLE].rstrip()


def kind(recipe: dict[str, Any]) -> tuple[str, ...]:
    """What an edit is about, whatever its numbers: the method, and the words or the mapper."""
    words = ("neutral", "target", "prompt", "mapper")
    return recipe["method"], *(recipe["parameters"].get(name, "") for name in words)


def at_full_strength(source: Latent, latent: Latent, recipe: dict[str, Any]) -> Latent:
    """What an edit gives at its full strength."""
    share = recipe.get("share", 1.0)
    return latent if share in (0, 1) else source.towards(latent, 1 / share)


def thumbnail(picture: Image.Image) -> str:
    """The file of a picture, small, as the strip shows it."""
    small = picture.copy()
    small.thumbnail((THUMB, THUMB), Image.Resampling.BOX)
    return on_screen(small)
