"""What one visitor has on the server: the pictures, and what else belongs to the visit."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from typing import Any

from pipeline.errors import UserError
from pipeline.wishes import Wish
from webapp.choices import Choices
from webapp.history import DetectedFace, HistoryItem, StepPreview
from webapp.pictures import MOST_ITEMS, Pictures, atomic
from webapp.presets import Pair
from webapp.shelf import Shelf

SAID, EVERYWHERE, PAINTED = "said", "everywhere", "painted"
NOTHING_PAINTED = "Nothing is painted yet. Please paint over what may change, or choose “Everywhere”."


@dataclass
class Session(Pictures):
    """One visitor's photos and pictures: small, on the CPU, and deleted an hour after they leave.

    `webapp.visits` begins one for each visitor, which shares the items of the session made at start.
    """

    model: str = ""
    """The model that made its latents."""
    secret: str = ""
    """Only the visitor's browser knows it: with it the visit goes on when the page is loaded again."""
    page: str = ""
    """The page that shows it, by Gradio's session hash."""
    address: str = ""
    """Where the visitor came from."""
    photos: list[list[DetectedFace]] = field(default_factory=list)
    """The faces in each photo that an item began with, and in the newest photo; the largest first."""
    put_away: set[str] = field(default_factory=set)
    """The paths of the photos that the visitor has put away."""
    page_photo: str | None = None
    """The path of the photo that the page shows, "" for no photo; None where the server doesn't know."""
    uploaded: DetectedFace | None = None
    """The face of a new photo, until the generator is tuned to it, in families that do so."""
    choices: Choices = field(default_factory=Choices)
    """The faces, mixtures and other pictures that the visitor asked for; the newest is shown."""
    mixing: bool = False
    """Whether the visitor looks at what the picture can be mixed with."""
    shelves: dict[str, Shelf] = field(default_factory=lambda: {"mapper": Shelf(), "style": Shelf()})
    """What this visitor has of each kind that is chosen by a name."""
    own_pairs: list[Pair] = field(default_factory=list)
    """The pairs of texts for which the visitor has sliders of their own."""
    page_sliders: list[float] | None = None
    """Where the sliders of the panel stand in the page, in percent; None where the server doesn't know."""
    linked: dict[str, Any] = field(default_factory=dict)
    """The parameters of a run that a link has filled in; those without a field count as long as its words stand."""
    thresholds: dict[tuple[str, str], float] = field(default_factory=dict)
    """The β that keeps the usual number of channels where nothing is to stay, for the target and the neutral text of
    each wish."""
    where: str = ""
    """Where the visitor wants edits to change the picture: where their words say, everywhere, or where they painted;
    "" until they choose."""
    painted: str = ""
    """Where they have painted on this face, as `drawn_mask` writes it; "" for nothing."""
    page_painted: str = ""
    """What of that the page shows."""
    run: dict[str, Any] | None = None
    """The method and the fields of an optimization that runs, or ran when its page was left."""
    previews: list[StepPreview] = field(default_factory=list)
    """Steps of the newest optimization."""
    why_ended: str = ""
    """Why the newest optimization has ended, until the visitor goes to another picture."""
    stop: bool = False
    """The Stop button sets it; an optimization reads it between two steps."""
    likeness_runs: int = 0
    """How many runs of refining and tuning have begun; the number of the newest."""
    likeness_stopped: int = 0
    """The number of the newest run when Stop was pressed: it and those before it are to end."""
    paintings: int = 0
    """How many pictures were asked to be painted; the number of the newest."""
    paintings_stopped: int = 0
    """The number of the newest when Stop was pressed: it and those before it are to end."""
    cancel: bool = False
    """The Cancel button of a download sets it."""
    ended: bool = False
    """Whether the visitor has started over: what a handler still makes of this session is dropped."""

    @property
    @atomic
    def faces(self) -> list[DetectedFace]:
        """The faces in the photo that the current picture began with, the largest first."""
        detected = self.origin.detected if self.cursor else None
        return next((faces for faces in self.photos if detected in faces), [])

    @atomic
    def start_from(self, face: HistoryItem, faces: list[DetectedFace] | None = None) -> None:
        """Take another face. Those before stay on the strip if anything was made of them, or they were refined or
        tuned. `faces` are all in the photo that it came from; the visitor can start with each of them."""
        if self.example:
            self.items, self.order, self.undo_keys, self.redo_keys, self.cursor = {}, [], [], [], None
        elif self.cursor and not self._is_worked_on(self.current):
            self._drop(self.cursor)
            self.cursor = None
        self.compared, self.previews = None, []
        self.add(face)
        begun = [item.detected for item in self.items.values()]
        others = [known for known in self.photos if known is not faces and any(face in begun for face in known)]
        self.photos = [*others, faces] if faces else others
        self.put_away &= {face.photo for known in self.photos for face in known}

    def _show(self, key: str) -> None:
        if self.cursor != key:
            self.why_ended = ""
            if self.cursor is None or self._person(self.cursor) != self._person(key):
                self.painted = ""
        super()._show(key)

    def _person(self, key: str) -> object:
        """Whose face an item is of; a refined or tuned one is of the same photo."""
        face = self.origin_of(self.items[key])
        return face.detected or face

    @atomic
    def held_to(self, method: str, **words: str) -> list[str]:
        """The regions that an edit by a method of its own is held to, none for the whole picture: what is painted,
        where the visitor wants that; else, unless it may change everything, those of the current picture, where that is
        of this kind. Raises UserError where nothing is painted."""
        if self.where == PAINTED and not self.painted:
            raise UserError(NOTHING_PAINTED)
        if self.where == PAINTED:
            return [self.painted]
        return [] if self.where == EVERYWHERE else super().held_to(method, **words)

    @atomic
    def remember_threshold(self, wish: Wish, threshold: float) -> None:
        """Note the β for a wish's texts; those of the newest wishes are kept, as many as the strip has pictures."""
        others = {texts: beta for texts, beta in self.thresholds.items() if texts != (wish.target, wish.neutral)}
        self.thresholds = dict([*others.items(), ((wish.target, wish.neutral), threshold)][-MOST_ITEMS:])

    def touch(self) -> None:
        """Renew the times of the visit's files, because `webapp.cleanup` deletes old ones."""
        with self.lock:
            paths = [path for item in self.items.values() for path in (item.picture, item.thumbnail)]
            faces = [face for photo in self.photos for face in photo]
            paths += [path for face in faces for path in (face.crop, face.photo, face.shown)]
            paths += [preview.picture for preview in self.previews]
            paths += [path for shelf in self.shelves.values() for path in shelf.paths()]
        for path in paths:
            with contextlib.suppress(OSError):
                os.utime(path)
