"""What one visitor has on the server: the history of pictures with its cursor, and what belongs to the visit."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import wraps
from pathlib import Path
from typing import Any

from PIL import Image

from pipeline import Edit, Latent
from pipeline.errors import UserError
from pipeline.recipes import FROM_WORDS
from webapp.choices import Choices
from webapp.history import DetectedFace, HistoryItem, Line, StepPreview, bytes_of, describe, kind, one_line

MOST_ITEMS = 30  # in the history; the oldest edits leave it first
MOST_BYTES = 4 * 2**20  # of latents: those of 30 items at 1024 px and a tuning; what else is held is small
CHOSEN = "Another picture was chosen meanwhile, so this edit was left out."


def atomic(method: Callable[..., Any]) -> Callable[..., Any]:
    """Let no other thread change the session while a method runs."""

    @wraps(method)
    def locked(self: Session, *args: Any, **kwargs: Any) -> Any:
        with self.lock:
            return method(self, *args, **kwargs)

    return locked


@dataclass
class Session:
    """One visitor's photos and pictures: small, on the CPU, and deleted an hour after they leave.

    `webapp.visits` begins one for each visitor, which shares the items of the session made at start. Several
    handlers may change a session at a time, each in a thread of its own, so its methods are atomic.
    """

    model: str = ""
    """The model that made its latents."""
    secret: str = ""
    """Only the visitor's browser knows it: with it the visit goes on when the page is loaded again."""
    page: str = ""
    """The page that shows it, by Gradio's session hash."""
    address: str = ""
    """Where the visitor came from."""
    example: bool = False
    """Whether the visitor has added nothing yet."""
    items: dict[str, HistoryItem] = field(default_factory=dict)
    """The history by key: the strip, deleted items, and faces that have left the strip while edits of them are here."""
    order: list[str] = field(default_factory=list)
    """The keys of the strip."""
    deleted: dict[str, int] = field(default_factory=dict)
    """Deleted items, which Undo brings back, and their places on the strip."""
    cursor: str | None = None
    """The item that is shown as "after"; the next edit starts from it."""
    undo_keys: list[str] = field(default_factory=list)
    redo_keys: list[str] = field(default_factory=list)
    """Where Undo and Redo lead, the nearest last."""
    compared: str | None = None
    """What the visitor chose to compare with."""
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
    mappers: dict[str, Path] = field(default_factory=dict)
    """Files of the mappers that this visitor trained or brought, by name."""
    thumbs: dict[str, str] = field(default_factory=dict)
    """Files of their pictures in the gallery."""
    linked: dict[str, Any] = field(default_factory=dict)
    """The parameters of a run that a link has filled in; those without a field count as long as its words stand."""
    run: dict[str, Any] | None = None
    """The method and the fields of an optimization that runs, or ran when its page was left."""
    optimized: tuple[Latent, HistoryItem, str] | None = None
    """What the newest optimization began with: the latent, the item as it was then, and the key of its face."""
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
    cancel: bool = False
    """The Cancel button of a download sets it."""
    trainings: int = 0
    """How many trainings were asked for; the number of the newest."""
    trainings_cancelled: int = 0
    """The number of the newest training when Cancel was pressed: it and those before it are to end."""
    ended: bool = False
    """Whether the visitor has started over: what a handler still makes of this session is dropped."""

    def __post_init__(self) -> None:
        self.lock = threading.RLock()  # no field, because Gradio copies the fields

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, lock=threading.RLock())

    @property
    @atomic
    def current(self) -> HistoryItem:
        """The item that is shown. Raises UserError while there is none."""
        if self.cursor is None:
            raise UserError("Choose a face first.")
        return self.items[self.cursor]

    @property
    @atomic
    def strip(self) -> list[HistoryItem]:
        """The items that the visitor sees as thumbnails."""
        return [self.items[key] for key in self.order]

    @property
    @atomic
    def origin(self) -> HistoryItem:
        """The face that the current picture began with; itself, if it is one."""
        return self.origin_of(self.current)

    @property
    @atomic
    def before(self) -> HistoryItem:
        """What the current picture is compared with."""
        current = self.current
        key = self.compared or (current.parent if current.is_face else None)
        return self.items.get(key) or self.origin_of(current)

    @property
    @atomic
    def faces(self) -> list[DetectedFace]:
        """The faces in the photo that the current picture began with, the largest first."""
        detected = self.origin.detected if self.cursor else None
        return next((faces for faces in self.photos if detected in faces), [])

    @atomic
    def origin_of(self, item: HistoryItem) -> HistoryItem:
        """The face that an item of the history began with."""
        while not item.is_face:
            item = self.items[item.parent]
        return item

    @atomic
    def holds(self, face: HistoryItem) -> bool:
        """Whether a face is on the strip, or the visitor looks at an edit of it."""
        return face.key in (self.origin.key, *self.order)

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

    def _is_worked_on(self, face: HistoryItem) -> bool:
        """Whether an item is an edit, refined or tuned, or anything on the strip was made of it."""
        made = any(
            face.key == (other.parent if other.is_face else self.origin_of(other).key)
            or (other.is_mixture and face.latent in (other.line.start, other.line.end))
            for other in self.strip
        )
        return bool(face.line or face.parent or face.latent.tuning or made)

    @atomic
    def add(self, item: HistoryItem, compare_with: HistoryItem | None = None) -> None:
        """Put an item on the strip and show it; a face is compared with what it was made from, until the visitor
        chooses something else."""
        if compare_with and compare_with.key in self.items:
            item, self.compared = replace(item, parent=compare_with.key), None
        self.example = False
        self.items[item.key] = item
        self.order.append(item.key)
        self.go(item)
        self._make_room()

    def mix(self, line: Line, picture: Image.Image) -> None:
        """Put a mixture of the current picture with another one on the strip."""
        current, detected = self.current, self.origin.detected
        again = any(item.is_mixture and item.latent in (line.start, line.end) for item in self.strip)
        title = "Mixture" if again else " + ".join(line.names)
        note, latent = "A mixture of “{}” and “{}”.".format(*line.names), line.start.towards(line.end, line.share)
        item = HistoryItem.of(picture, title, latent, line=line, face_note=note, detected=detected)
        self.add(item, compare_with=current)

    @atomic
    def base(self, method: str, **words: str) -> Latent:
        """What an edit starts from: the current picture; where that is of the same kind, what it was made from."""
        current = self.current
        same = current.recipes and kind(current.recipes[-1]) == kind({"method": method, "parameters": words})
        source = current.source if same else current.latent
        if method == "optimize":
            self.optimized = source, current, self.origin.key
        return source

    def keep(self, source: Latent, edit: Edit, name: str = "") -> None:
        """Put an edit of `source` on the strip, under its `name` or its words, and show it. `base` gave the source; for
        a face from words alone it is the mean face.

        Another try of the current edit takes its place, so that a slider leaves one picture and not a hundred; but each
        optimization is kept. Raises UserError where the visitor has another face by now.
        """
        recipe = edit.recipe | ({"name": name} if name else {})
        title, line = name or describe(recipe)[0], Line.of(source, edit.latent, recipe)
        item = HistoryItem.of(edit.image, title, edit.latent, line=line, notes=edit.notes, channels=edit.channels)
        with self.lock:
            if recipe["method"] in FROM_WORDS:
                item = replace(item, recipes=(recipe,), face_note="From words alone.")
                mean = (item for item in reversed(self.strip) if item.latent.digest() == source.digest())
                self.add(item, compare_with=next(mean, None))
                return
            parent, recipes = self._made_from(source)
            current = self.current
            if source is current.source and recipe["method"] != "optimize":
                named = {name: value for name, value in current.recipes[-1].items() if name == "name"}
                again = replace(item, key=current.key, title=current.title, parent=parent)
                self.items[current.key] = replace(again, recipes=(*recipes, recipe | named))
                self._make_room()
            else:
                self.add(replace(item, parent=parent, recipes=(*recipes, recipe)))

    def keep_behind(self, begun: HistoryItem, source: Latent, edit: Edit) -> None:
        """Put an edit of `source` behind the item with which it was `begun`. The visitor who looks at another picture
        by now goes on there."""
        edit.draw()
        with self.lock:
            looking = self.current
            self.go(begun)
            self.keep(source, edit)
            if looking != begun and looking.key in self.order:
                self.go(looking)

    def _made_from(self, source: Latent) -> tuple[str, tuple[dict[str, Any], ...]]:
        """The key of the item that an edit of this latent has as its parent, and the edits that led to the latent."""
        current = self.current
        if source is current.source:  # another try, or another optimization
            return current.parent, current.recipes[:-1]
        for item in (current, *self.strip):
            if item.latent is source:
                return item.key, item.recipes
        if self.optimized and self.optimized[0] is source:
            _, item, origin = self.optimized  # a slider changed it while the optimization waited or ran
            if item.key in self.order or origin in self.order:
                recipes = item.recipes[:-1] if source is item.source else item.recipes
                return item.key if item.key in self.items else origin, recipes
        raise UserError(CHOSEN)

    @atomic
    def rename(self, name: str) -> None:
        """Call the current picture something else; in its recipe, and those of edits made of it, the edit too."""
        current, name = self.current, one_line(name)
        if not name or name == current.title:
            return
        self.items[current.key] = replace(current, title=name)
        if current.recipes:
            old, new = current.recipes[-1], current.recipes[-1] | {"name": name}
            for item in list(self.items.values()):
                recipes = tuple(new if recipe is old else recipe for recipe in item.recipes)
                self.items[item.key] = replace(item, recipes=recipes)

    def redraw(self, item: HistoryItem, share: float, latent: Latent, picture: Image.Image, *notes: str) -> None:
        """An edit at another strength, or a mixture with another share, with its `notes`. Does nothing where the item
        was changed meanwhile, or is not there any more."""
        line = replace(item.line, share=share)
        drawn = HistoryItem.of(picture, item.title, latent, line=line, notes=notes, key=item.key)
        with self.lock:
            now = self.items.get(item.key)
            if now is None or (now.line.start, now.line.end) != (line.start, line.end):
                return
            recipes = (*now.recipes[:-1], now.recipes[-1] | {"share": share}) if now.recipes else ()
            same = {name: getattr(now, name) for name in ("title", "parent", "face_note", "detected", "channels")}
            self.items[item.key] = replace(drawn, recipes=recipes, **same)
            self._make_room()

    @atomic
    def go(self, item: HistoryItem) -> None:
        """Show an item. Raises UserError where it has left the strip."""
        if item.key not in self.order:
            raise UserError(CHOSEN)
        if self.cursor and self.cursor != item.key:
            self.undo_keys = [*self.undo_keys, self.cursor][-MOST_ITEMS:]
        self.redo_keys = []
        self._show(item.key)

    def _show(self, key: str) -> None:
        if self.cursor != key:
            self.cursor, self.why_ended = key, ""

    @atomic
    def resume(self, face: HistoryItem) -> None:
        """Show the face again that edits were made of meanwhile. Raises UserError where the visitor let it go."""
        if not self.holds(face):
            raise UserError(CHOSEN)
        if face.key not in self.order:  # it was deleted, and an edit of it was not
            self.deleted.pop(face.key, None)
            self.order.insert(0, face.key)
        self.go(face)

    @atomic
    def undo(self) -> None:
        """Back to what was shown before; a picture that was deleted since is on the strip again."""
        if not self.undo_keys:
            return
        key = self.undo_keys.pop()
        if key in self.deleted:
            self.order.insert(self.deleted.pop(key), key)
        else:
            self.redo_keys.append(self.cursor)
        self._show(key)

    @atomic
    def redo(self) -> None:
        """Forward again."""
        if self.redo_keys:
            self.undo_keys.append(self.cursor)
            self._show(self.redo_keys.pop())

    @atomic
    def delete(self) -> None:
        """Take the current picture off the strip and show its neighbour; Undo brings it back. Raises UserError where it
        is the only one."""
        item = self.current
        others = [key for key in self.order if key != item.key]
        if not others:
            raise UserError("This is the only picture; choose another face, or start over.")
        place = self.order.index(item.key) if item.key in self.order else 0
        self._take_out(item.key)
        self.deleted[item.key] = place
        self.example, self.redo_keys = False, []
        self._show(others[max(0, place - 1)])
        self.undo_keys = [*(key for key in self.undo_keys if key != self.cursor), item.key]

    def _take_out(self, key: str) -> None:
        """Take an item off the strip, and out of what points to it; edits of a face keep the face."""
        gone = self.items[key]
        self.order, self.undo_keys, self.redo_keys = (
            [other for other in keys if other != key] for keys in (self.order, self.undo_keys, self.redo_keys)
        )
        if self.compared == key:
            self.compared = None
        for other in list(self.items.values()):
            if other.parent == key and (other.is_face or not gone.is_face):
                self.items[other.key] = replace(other, parent=None if other.is_face else gone.parent)

    def _drop(self, key: str) -> None:
        """Let an item go for good."""
        self._take_out(key)
        self.deleted.pop(key, None)
        held = {*self.order, *self.deleted}
        held |= {self.origin_of(self.items[key]).key for key in held}
        self.items = {key: item for key, item in self.items.items() if key in held}

    def _make_room(self) -> None:
        """Let the oldest items go while there are too many, but never the current one and its face: deleted ones first,
        then edits. Where it is their size, those of another tuning go before: a tuning is as large as forty edits."""
        while (large := bytes_of(self.items.values()) > MOST_BYTES) or len(self.order) + len(self.deleted) > MOST_ITEMS:
            if self.deleted:
                self._drop(next(iter(self.deleted)))
                continue
            current = self.current
            others = [item for item in self.strip if item not in (current, self.origin)]
            if not others:
                break
            tunings = (None, current.latent.tuning)
            elsewhere = [item for item in others if large and item.latent.tuning not in tunings]
            self._drop((elsewhere or [item for item in others if item.recipes] or others)[0].key)

    def touch(self) -> None:
        """Renew the times of the visit's files, because `webapp.cleanup` deletes old ones."""
        with self.lock:
            paths = [path for item in self.items.values() for path in (item.picture, item.thumbnail)]
            faces = [face for photo in self.photos for face in photo]
            paths += [path for face in faces for path in (face.crop, face.photo, face.shown)]
            paths += [preview.picture for preview in self.previews]
            paths += [*self.mappers.values(), *self.thumbs.values()]
        for path in paths:
            with contextlib.suppress(OSError):
                os.utime(path)
