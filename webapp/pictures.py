"""A visitor's pictures: what is on the strip, which of them is shown, and the way back and forward."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any

from PIL import Image

from pipeline import Edit, Latent
from pipeline.errors import UserError
from pipeline.recipes import FROM_WORDS
from pipeline.wishes import Wish
from webapp.history import HistoryItem, Line, bytes_of, describe, kind, one_line

MOST_ITEMS = 30  # in the history; the oldest edits leave it first
MOST_BYTES = 4 * 2**20  # of latents: those of 30 items at 1024 px and a tuning; what else is held is small
PHOTO = "photo"  # in place of a key, where a picture is compared with the photo that it came from
CHOSEN = "Another picture was chosen meanwhile, so this edit was left out."


def atomic(method: Callable[..., Any]) -> Callable[..., Any]:
    """Let no other thread change the visit while a method runs."""

    @wraps(method)
    def locked(self: Pictures, *args: Any, **kwargs: Any) -> Any:
        with self.lock:
            return method(self, *args, **kwargs)

    return locked


@dataclass
class Pictures:
    """The history of pictures with its cursor: edits go behind the picture that they were made from.

    Several handlers may change a visit at a time, each in a thread of its own, so the methods are atomic.
    """

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
    optimized: tuple[Latent, HistoryItem, str] | None = None
    """What the newest optimization began with: the latent, the item as it was then, and the key of its face."""

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
    def beside_photo(self) -> bool:
        """Whether the current picture is compared with the aligned photo. A face from a photo is, at first."""
        current = self.current
        if self.origin.detected is None:
            return False
        return self.compared == PHOTO or (self.compared is None and self.before == current and current.is_face)

    @property
    @atomic
    def before_picture(self) -> str:
        """The path of the picture that the current one is compared with."""
        return self.origin.detected.crop if self.beside_photo else self.before.picture

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

    def _is_worked_on(self, face: HistoryItem) -> bool:
        """Whether an item is an edit, refined or tuned, or anything on the strip was made of it."""
        made = any(
            face.key == (other.parent if other.is_face else self.origin_of(other).key)
            or (other.is_mixture and face.latent in (other.line.start, other.line.end))
            for other in self.strip
        )
        return bool(face.line or face.parent or face.latent.tuning or made)

    @atomic
    def add(self, item: HistoryItem, compare_with: HistoryItem | None = None, show: bool = True) -> HistoryItem:
        """Put an item on the strip, and `show` it; a face is compared with what it was made from, until the visitor
        chooses something else."""
        if compare_with and compare_with.key in self.items:
            item = replace(item, parent=compare_with.key)
            self.compared = None if show else self.compared
        self.example = False
        self.items[item.key] = item
        self.order.append(item.key)
        if show:
            self.go(item)
        self._make_room(item)
        return item

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

    @atomic
    def held_to(self, method: str, **words: str) -> list[str]:
        """The regions to which the current picture is held, where it is of this kind; none for the whole picture."""
        recipe = self.current.recipes[-1] if self.current.recipes else {"method": "", "parameters": {}}
        same = kind(recipe) == kind({"method": method, "parameters": words})
        return recipe.get("within", {}).get("regions", []) if same else []

    @atomic
    def base_of(self, item: HistoryItem, wish: Wish) -> Latent:
        """What an edit that a visitor wishes for starts from: a picture; where that was made for the same wish, or by
        the global direction between its texts, what it was made from."""
        direct = {"method": "direct", "parameters": {"target": wish.target, "neutral": wish.neutral}}
        again = item.wish and (item.wish.target, item.wish.neutral) == (wish.target, wish.neutral)
        return item.source if again or (item.recipes and kind(item.recipes[-1]) == kind(direct)) else item.latent

    def keep(
        self,
        source: Latent,
        edit: Edit,
        name: str = "",
        whole: Latent | None = None,
        begun: HistoryItem | None = None,
        wish: Wish | None = None,
    ) -> HistoryItem:
        """Put an edit of `source` on the strip, under its `name`, the `wish` that it came of or its words, and show it.
        `base` gave the source; for a face from words alone it is the mean face. `whole` is the edit at its full
        strength, where it has another.

        Another try of the current edit takes its place, so that a slider leaves one picture and not a hundred; but each
        optimization is kept. An edit that took long goes behind the item with which it was `begun`, and a visitor who
        looks at another picture by now goes on there. Raises UserError where that item, or the face, has left the
        strip.
        """
        name = name or (one_line(wish.said) if wish else "")
        recipe = edit.recipe | ({"name": name} if name else {})
        line = Line(source, edit.latent if whole is None else whole, recipe.get("share", 1.0))
        more = {"line": line, "notes": edit.notes, "channels": edit.channels, "wish": wish}
        item = HistoryItem.of(edit.image, name or describe(recipe)[0], edit.latent, **more)
        with self.lock:
            if begun and begun.key not in self.order:
                raise UserError(CHOSEN)
            begun = self.items[begun.key] if begun else self.current
            if recipe["method"] in FROM_WORDS:
                item = replace(item, recipes=(recipe,), face_note="From words alone.")
                mean = (item for item in reversed(self.strip) if item.latent.digest() == source.digest())
                return self.add(item, next(mean, None), show=begun == self.current)
            parent, recipes = self._made_from(source, begun)
            same = source is begun.source and kind(recipe) == kind(begun.recipes[-1])
            if same and recipe["method"] != "optimize":
                if not wish:  # it is called as before
                    named = {name: value for name, value in begun.recipes[-1].items() if name == "name"}
                    item, recipe = replace(item, title=begun.title, wish=begun.wish), recipe | named
                again = replace(item, key=begun.key, parent=parent, recipes=(*recipes, recipe))
                self.items[begun.key] = again
                self._make_room(again)
                return again
            return self.add(replace(item, parent=parent, recipes=(*recipes, recipe)), show=begun == self.current)

    def _made_from(self, source: Latent, begun: HistoryItem) -> tuple[str, tuple[dict[str, Any], ...]]:
        """The key of the item that an edit of this latent has as its parent, and the edits that led to the latent."""
        if source is begun.source:  # another try, or another optimization
            return begun.parent, begun.recipes[:-1]
        for item in (begun, *self.strip):
            if item.latent is source:
                return item.key, item.recipes
        if self.optimized and self.optimized[0] is source:
            _, item, origin = self.optimized  # a slider changed it while the optimization waited or ran
            if item.key in self.order or origin in self.order:
                recipes = item.recipes[:-1] if source is item.source else item.recipes
                return item.key if item.key in self.items else origin, recipes
        raise UserError(CHOSEN)

    @atomic
    def rename(self, key: str, name: str) -> None:
        """Call a picture something else; in its recipe, and those of edits made of it, the edit too."""
        item, name = self.items.get(key), one_line(name)
        if item is None or not name or name == item.title:
            return
        self.items[key] = replace(item, title=name)
        if item.recipes:
            old, new = item.recipes[-1], item.recipes[-1] | {"name": name}
            for other in list(self.items.values()):
                recipes = tuple(new if recipe is old else recipe for recipe in other.recipes)
                self.items[other.key] = replace(other, recipes=recipes)

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
            kept = ("title", "parent", "face_note", "detected", "channels", "wish")
            same = {name: getattr(now, name) for name in kept}
            self.items[item.key] = replace(drawn, recipes=recipes, **same)
            self._make_room(item)

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
        """Move the cursor; `Session` adds what ends when it moves."""
        self.cursor = key

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

    def _make_room(self, new: HistoryItem) -> None:
        """Let the oldest items go while there are too many, but never the current one and its face, and the `new` one:
        deleted ones first, then edits. Where it is their size, those of another tuning go before: a tuning is as large
        as forty edits."""
        while (large := bytes_of(self.items.values()) > MOST_BYTES) or len(self.order) + len(self.deleted) > MOST_ITEMS:
            if self.deleted:
                self._drop(next(iter(self.deleted)))
                continue
            current = self.current
            others = [item for item in self.strip if item not in (current, self.origin, new)]
            if not others:
                break
            tunings = (None, current.latent.tuning)
            elsewhere = [item for item in others if large and item.latent.tuning not in tunings]
            self._drop((elsewhere or [item for item in others if item.recipes] or others)[0].key)
