"""The studio as the handlers of a page use it: what computes waits for its turn first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, suppress
from dataclasses import replace as with_values
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from pipeline import Edit, Latent, StyleCLIP
from pipeline.errors import UserError
from pipeline.faces.detection import Face
from pipeline.faces.photos import Photo, open_photo
from pipeline.models.downloads import fetch
from pipeline.paint import Paint
from pipeline.photo_methods import put_back
from webapp.backends import PHOTOS, RUNS, Backend, backend_of, turn_of
from webapp.jobs import CHANGED, TELL_EVERY, LongJob, Scheduler
from webapp.queues import caller_now

LOST = "The face is lost: the edits together went too far. Please use less strength, or undo the last one."
# Deviations of S, as a root mean square over all channels, that steps in S may add up to. On the built-in model five
# edits at the usual α reach 1.6; from 2 on features dissolve, as with two or three nonsense words at the largest α.
FARTHEST = 2.0


class ModelHandle:
    """A studio whose calls wait for their turn, as `jobs` decides. Its long jobs are a `LongJob` each."""

    def __init__(self, studio: StyleCLIP | Backend) -> None:
        self._backend: Backend | None = backend_of(studio)
        self.jobs = Scheduler(self._backend.replicas)
        self._deviations = self.family.directions and self.family.directions.style_std.cpu()

    def __getattr__(self, name: str) -> Any:
        return self._bound(name)

    def _bound(self, name: str) -> Any:
        """A method of the studio that waits for its turn, or what else the studio has by this name."""
        if (studio := self._backend) is None:
            self.jobs.check()  # says why
            raise UserError(CHANGED)
        attribute = getattr(studio, name)
        if name in studio.calls:
            turn = turn_of(name, studio)
            return partial(self._call, attribute, self._place if turn == "photo" else getattr(self.jobs, turn))
        if name in PHOTOS:
            return partial(self._call, attribute, self._place)
        return partial(self._run, name, attribute) if name in RUNS else attribute

    def map(self, latent: Latent, mapper: str | Path, *args: Any, **kwargs: Any) -> Edit:
        """As the studio's. A mapper that must be downloaded is fetched before the turn, so that nobody waits for it."""
        self._fetch("mapper", mapper)
        return self._bound("map")(latent, mapper, *args, **kwargs)

    def style(self, latent: Latent, style: str | Path, *args: Any, **kwargs: Any) -> Edit:
        """As the studio's, and otherwise as `map`."""
        self._fetch("style", style)
        return self._bound("style")(latent, style, *args, **kwargs)

    def _fetch(self, kind: str, wanted: str | Path) -> None:
        _, source = self.family.named[kind].table.get(wanted, ("", None))
        if source is not None and not source.here():
            fetch(source)

    def within(self, latent: Latent, edit: Edit, regions: Sequence[str]) -> Edit:
        """As the studio's; without regions no turn is waited for."""
        return self._bound("within")(latent, edit, regions) if regions else edit

    def adjust(self, latent: Latent, edit: Edit, share: float) -> Edit:
        """As the studio's; at share 1 no turn is waited for."""
        return edit if share == 1 else self._bound("adjust")(latent, edit, share)

    def open(self, photo: Photo) -> Image.Image:
        """The picture of a photo, as `pipeline.faces.photos.open_photo` gives it."""
        with self._place():
            return open_photo(photo)

    def paste(self, photo: Photo, face: Face, edited: Image.Image | Latent | Paint) -> Image.Image:
        """As the studio's. The picture of a latent is drawn in its turn, before there is a place for the photo."""
        picture, paint = edited, None
        if isinstance(edited, Latent):
            picture, paint = self.image(with_values(edited, paint=None)), edited.paint
        elif isinstance(edited, Paint):
            picture, paint = None, edited
        with self._place():
            return put_back(photo, face, picture, paint)

    def _place(self) -> AbstractContextManager[None]:
        return self.jobs.photo(*caller_now())

    def _call(self, method: Any, turn: Any, *args: Any, **kwargs: Any) -> Any:
        with turn():
            answer = method(*args, **kwargs)
            if isinstance(answer, Edit):
                answer.draw()  # in this turn
        if isinstance(answer, Edit) and (told := self.lost(answer.latent)):
            return with_values(answer, notes=(*answer.notes, told))
        return answer

    def glance(self, make: Callable[[StyleCLIP], Latent]) -> Image.Image | None:
        """A small picture of the latent that `make` makes, for a fraction of the time of the whole picture.

        None where the generator is no quicker with small ones, where the latent can't be made, on a GPU that is lent
        for each call, and where small pictures don't show what was tuned.
        """
        studio, generator = self._backend, self.family.generator
        if generator.working_size == generator.size or studio.few_calls:
            return None
        with suppress(UserError), self.jobs.interactive():
            latent = make(studio.sketching)
            if (size := latent.working_size(generator)) < generator.size:
                return studio.image(latent, size)
        return None

    def thumbnails(
        self, kind: str, latent: Latent, wanted: Mapping[str, str | Path]
    ) -> Iterator[dict[str, Image.Image | UserError]]:
        """Small pictures of what each "mapper", or "style", makes of a face, by name: one after the other, each when
        nobody else computes or waits; nothing meanwhile, every few seconds. On a GPU that is lent for each call all of
        them at once. Of one that can't be applied it gives what is wrong."""
        studio = self._backend
        for piece in [wanted] if studio.few_calls else [{name: one} for name, one in wanted.items()]:
            made: dict[str, Image.Image | UserError] = {}
            while not made:
                with self.jobs.background(TELL_EVERY) as mine:
                    made = studio.thumbnails(kind, latent, piece) if mine else {}
                yield made

    def lost(self, latent: Latent) -> str:
        """What a visitor is told of a face that its edits in S have pulled apart; "" for any other."""
        if self._deviations is None or latent.space == "w+":
            return ""
        whole = torch.cat(latent.style_step, dim=1)[0] if latent.style_step else torch.zeros_like(self._deviations)
        steps = torch.stack([whole, *(whole + torch.cat(region.step, dim=1)[0] for region in latent.regions)])
        steps = (steps / self._deviations)[:, self._deviations > 0]
        return LOST if steps.square().mean(1).sqrt().max() > FARTHEST else ""

    def fitting(self, kind: str, steps: int) -> int:
        """How many of `steps` a long job should take that is asked for now, see `Scheduler.fitting`."""
        return self.jobs.fitting(kind, steps, caller_now()[1])

    def _run(self, name: str, method: Any, *args: Any, **kwargs: Any) -> LongJob:
        """Checks the arguments at once, as the studio does."""
        steps = self._drawn_in_turn(method(*args, **kwargs))
        address, visitor = caller_now()
        return LongJob(self.jobs, steps, name, visitor, address)

    def _drawn_in_turn(self, steps: Iterator[Any]) -> Iterator[Any]:
        """The steps of a long job; each picture is drawn in a turn of its own, if anybody wants it."""
        with closing(steps):
            for step in steps:
                draw = partial(self._call, step.edit.draw, self.jobs.batch)
                yield with_values(step, edit=with_values(step.edit, draw=draw))

    def release(self) -> None:
        """Let go of the studio: what serves a page, FastAPI's caches among it, stays in memory after the page ends."""
        if self._backend:
            self._backend.close()
        self._backend = None
