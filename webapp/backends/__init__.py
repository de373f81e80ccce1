"""Where the studio computes: in this process, on a GPU that a Space lends for each call (`zero_gpu`), or on replicas of
Ray Serve (`ray_serve`). The page has a `Backend` and doesn't know which.

What computes are CALLS, which give one answer, and RUNS, which give steps. Their arguments and answers are values, so
that they can be made in another process; the page's handlers, which change a visitor's session, can't.
`travelling` says how values go there and back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from pipeline import Edit, Latent, StyleCLIP
from pipeline.errors import UserError

CALLS = frozenset("invert likeness sample image change map style direct combine exchange csla_edit".split())
CALLS |= {"csla_generate", "adjust", "repeat", "strength", "threshold", "within", "thumbnails", "title"}
RUNS = frozenset({"optimize", "generate", "refine", "tune", "paint"})
# Short ones, whose pictures are drawn as one batch.
TOGETHER = frozenset("change direct combine exchange map style csla_edit csla_generate image threshold".split())
TOGETHER |= {"within", "title"}
DIRECTED = frozenset({"change", "combine", "direct", "threshold"})  # by global directions
PHOTOS = frozenset({"align", "view"})  # which take no turn to compute, but a place to read a photo


def thumbnails(
    studio: StyleCLIP, kind: str, latent: Latent, wanted: Mapping[str, str | Path]
) -> dict[str, Image.Image | UserError]:
    """Small pictures of what each "mapper", or "style", makes of a face, by name; of one that can't be applied what is
    wrong."""
    made: dict[str, Image.Image | UserError] = {}
    for name, one in wanted.items():
        try:
            edited = (studio.map if kind == "mapper" else studio.style)(latent, one).latent
            made[name] = studio.image(edited, edited.working_size(studio.family.generator))
        except UserError as error:
            made[name] = error
    return made


def title(studio: StyleCLIP, kind: str, file: Path) -> str:
    """The title of a "mapper", or "style", that somebody brings. Raises UserError for what is none of this model."""
    return studio.family.named[kind].load_own(file)[0]


OWN: dict[str, Callable[..., Any]] = {"thumbnails": thumbnails, "title": title}
"""Calls that the page has beside those of `StyleCLIP`."""


def method_of(studio: StyleCLIP, name: str) -> Callable[..., Any]:
    """What makes a call, or a run."""
    return partial(OWN[name], studio) if name in OWN else getattr(studio, name)


def turn_of(name: str, studio: Any) -> str:
    """Which turn of `webapp.jobs.Scheduler` a call takes: "photo", "interactive" or "batch"."""
    if name in PHOTOS:
        return "photo"
    estimates = studio.family.directions is None and name in DIRECTED  # which takes long, the first time
    return "interactive" if name in TOGETHER and not estimates else "batch"


class Backend:
    """A studio as the page uses it: calls, runs, and what else is read of a `StyleCLIP`. This one computes in this
    process; the others have a process elsewhere make calls and runs."""

    calls = CALLS
    """The names of the calls that it makes."""
    replicas = 0
    """How many processes compute, each of which says itself whose turn it is; 0 where the page's `Scheduler` does."""
    few_calls = False
    """Whether few calls, with much in each, are better than many."""

    def __init__(self, studio: StyleCLIP) -> None:
        self._studio = studio

    def __getattr__(self, name: str) -> Any:
        if name in self.calls:
            return partial(self.call, name)
        return partial(self.run, name) if name in RUNS else getattr(self._studio, name)

    def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Make a call; gives its answer."""
        return method_of(self._studio, name)(*args, **kwargs)

    def run(self, name: str, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """The steps of a run. Checks the arguments at once, and computes when iterated."""
        return method_of(self._studio, name)(*args, **kwargs)

    def alive_replicas(self) -> int:
        """How many processes compute now."""
        return 1

    @property
    def sketching(self) -> Any:
        """The studio, for callers that want latents and draw no picture of them."""
        return self

    def close(self) -> None:
        """Let go of what computes."""


def backend_of(studio: StyleCLIP | Backend) -> Backend:
    """A studio of this process as a backend; a backend as it is."""
    return studio if isinstance(studio, Backend) else Backend(studio)


def drawn_later(edit: Edit, draw: Callable[[Latent], Image.Image]) -> Edit:
    """An edit whose picture is drawn by `draw`, once it is asked for."""
    return Edit(partial(draw, edit.latent), edit.latent, edit.recipe, edit.notes, edit.channels)
