"""What needs the model: an aligned face becomes its edited picture. `stages` has what comes before and after."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image

from pipeline.batch.inputs import FILES, is_file
from pipeline.edits import Edit, Step
from pipeline.errors import UserError
from pipeline.faces.detection import Face
from pipeline.latents import Latent
from pipeline.methods.inversion import LIKE_THE_PHOTO
from pipeline.paint import Paint
from pipeline.recipes import BY_NAME, MOST_BYTES, Recipe, edits_of
from pipeline.styleclip import StyleCLIP

UNLIKE = "The model's face is not much like the photo; with --tune the generator learns it before the edit."
SMALL = 8  # px, of the previews of steps, at which nobody looks
WHAT = "Please say what should change by one of words, target, mapper, style, recipe, prompt and paint"


@dataclass(frozen=True)
class Edited:
    """The picture of an edited face, and the paint that is to go over all of the photo; how much the face before and
    after the edit is the person of the photo (the cosine of their identity embeddings, None where the model has no
    identity network), and what there is to say of the edit."""

    image: Image.Image
    paint: Paint | None
    before: float | None
    after: float | None
    notes: list[str]
    seconds: float


class Editor:
    """Edits faces with a model. May be shared by threads; on a GPU the generator draws for several at once.

    An edit is asked for by a dictionary that has one of `words` (as in the page's field), `target` (with `neutral`),
    `mapper` and `style` (a name, or the path of a file), `recipe` (the path of a file), `prompt` (with `steps`) and
    `paint` (with `neutral` and `steps`).
    With `tune` the generator is tuned to each face first. When `stopped` answers true, work ends with a CancelledError.
    """

    def __init__(self, studio: StyleCLIP, tune: bool = False, stopped: Callable[[], bool] = lambda: False) -> None:
        self.studio, self.tune, self.stopped = studio, tune, stopped
        self._recipe, self._files = cache(_recipe), cache(self._digests)

    def checked(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """What of `given` is not None. Raises UserError unless it asks for one edit."""
        asked = {name: str(v) if isinstance(v, Path) else v for name, v in given.items() if v is not None}
        kinds = asked.keys() & {"words", "target", *FILES, "recipe", "prompt", "paint"}
        if len(kinds) != 1:
            raise UserError(f"{WHAT}{', not by several at once' if kinds else ''}.")
        for extra, kind in (("neutral", "target"), ("steps", "prompt")):
            if extra in asked and not asked.keys() & {kind, "paint"}:
                raise UserError(
                    f"“{extra}” goes with “{kind}” or “paint”; please ask for one of them, or leave it out."
                )
        if "target" in asked:
            asked.setdefault("neutral", self.studio.family.defaults.neutral)
        if "paint" in asked:
            asked.setdefault("neutral", self.studio.family.row.medium)
        return asked

    def check(self, asked: Mapping[str, Any]) -> None:
        """Raises UserError, or TypeError, for an edit that no photo can get: it is tried on the mean face. A recipe is
        read only."""
        studio = self.studio
        mean = studio.family.mean
        if "recipe" in asked:
            for edit in self._recipe(asked["recipe"]):
                recipe = Recipe.read(edit)
                if recipe.from_mean:
                    raise UserError("This recipe begins with a face from words, so it can't be applied to photos.")
                recipe.check(studio.family, mean, anywhere=True)
                if kind := BY_NAME.get(recipe.method):
                    studio.family.named[kind].find(recipe.parameters[kind])
        elif asked.keys() & {"prompt", "paint"}:
            next(self._run(mean, asked))
        else:
            list(self._edits(mean, asked))
        size = studio.family.generator.size
        studio.invert(Image.new("RGB", (size, studio.family.rows(size))))  # which a model without an encoder can't

    def stamp(self, asked: Mapping[str, Any]) -> str:
        """Another one for each edit, also where a file that it needs has changed since: its recipe, mappers, styles."""
        edit = json.dumps(sorted(asked.items()), default=str)
        return json.dumps([edit, self._files(edit)])

    def _digests(self, edit: str) -> list[str]:
        """Of the files that an edit needs beside the family's networks."""
        asked, family = dict(json.loads(edit)), self.studio.family
        files = [asked["recipe"]] if "recipe" in asked else []
        files += [asked[kind] for kind in FILES if is_file(asked.get(kind))]
        try:
            edits = [asked]
            if "recipe" in asked:
                edits = [edit.get("parameters", {}) for edit in self._recipe(asked["recipe"])]
            elif "words" in asked:
                wishes = self.studio.wishes(asked["words"]).wishes
                edits = [{"mapper": family.mappers.adding(wish.target, wish.neutral)} for wish in wishes]
            named = [(family.named[kind], edit.get(kind)) for edit in edits for kind in FILES]
            known = [(networks, name) for networks, name in named if isinstance(name, str) and name in networks.table]
            return [*map(_digest, files), *(networks.digest(name) for networks, name in known)]
        except (UserError, TypeError, AttributeError):  # which every photo with that edit tells
            return [*map(_digest, files)]

    def __call__(self, face: Face, asked: Mapping[str, Any], apart: bool = False) -> Edited:
        """The edit of a face; with `apart` its paint is not in the picture, but beside it. Raises UserError and
        TypeError as the methods of `StyleCLIP` do."""
        self._go_on()
        begin, studio = time.perf_counter(), self.studio
        latent, notes = studio.invert(face), []
        if self.tune:
            latent = self._last(studio.tune(latent, face, preview=SMALL)).latent
        before = studio.likeness(latent, face)
        tells_persons = studio.family.row.likeness == "photographs"
        if tells_persons and before is not None and before < LIKE_THE_PHOTO and not self.tune:
            notes.append(UNLIKE)
        for edit in self._edits(latent, asked):
            notes += [note for note in edit.notes if note not in notes]
        paint, after = edit.latent.paint if apart else None, studio.likeness(edit.latent, face)
        image = studio.image(replace(edit.latent, paint=None)) if paint else edit.image
        return Edited(image, paint, before, after, notes, time.perf_counter() - begin)

    def _edits(self, latent: Latent, asked: Mapping[str, Any]) -> Iterator[Edit]:
        """One after the other, each of what the one before has made."""
        studio = self.studio
        if "target" in asked:
            yield studio.direct(latent, asked["target"], asked["neutral"])
        elif "mapper" in asked:
            yield studio.map(latent, _name_or_file(asked["mapper"]))
        elif "style" in asked:
            yield studio.style(latent, _name_or_file(asked["style"]))
        elif asked.keys() & {"prompt", "paint"}:
            yield self._last(self._run(latent, asked)).edit
        elif "words" in asked:
            reading = studio.wishes(asked["words"])
            if not reading.wishes:
                offers = " or ".join(f"“{offer}”" for offer in reading.offers)
                raise UserError(" ".join(reading.notes) or f"Please say {offers}.")
            notes = reading.notes
            for wish in reading.wishes:
                edit = studio.change(latent, wish)
                yield replace(edit, notes=(*notes, *edit.notes))
                latent, notes = edit.latent, ()
        else:
            for recipe in self._recipe(asked["recipe"]):
                self._go_on()
                yield (edit := studio.repeat(recipe, latent, anywhere=True))
                latent = edit.latent

    def _run(self, latent: Latent, asked: Mapping[str, Any]) -> Iterator[Step]:
        """The steps of what takes a minute or two."""
        if "prompt" in asked:
            return self.studio.optimize(latent, asked["prompt"], asked.get("steps"), preview=SMALL)
        return self.studio.paint(latent, asked["paint"], asked["neutral"], asked.get("steps"), preview=SMALL)

    def _last(self, steps: Iterator[Step]) -> Step:
        for step in steps:
            self._go_on()
            last = step
        return last

    def _go_on(self) -> None:
        if self.stopped():
            raise CancelledError


def _name_or_file(wanted: str) -> str | Path:
    return Path(wanted) if is_file(wanted) else wanted


def _digest(path: str | Path) -> str:
    """The SHA-256 of a file, "" where there is none."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except (OSError, ValueError):  # the second for a path that none can be
        return ""


def _recipe(path: str | Path) -> list[dict[str, Any]]:
    """The edits of a file that the page has saved. Raises UserError for any other file."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:  # the second for a path that none can be
        why = getattr(error, "strerror", None) or error
        raise UserError(f"The recipe {path} can't be read ({why}); please check the path.") from None
    if len(content) > MOST_BYTES:
        raise UserError(f"The file {path} is too large for a recipe.")
    return edits_of(content.decode("utf-8", errors="replace"))
