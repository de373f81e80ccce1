"""ZeroGPU Spaces: the studio's computing on a GPU that is lent for each call; everywhere else the studio as it is.

There the package `spaces` runs a decorated function in a forked process that has a GPU for as long as the call takes.
Arguments and results travel between the two processes, changes to anything else are lost, and of an exception only the
name of its class comes back. So the library's calls are decorated, whose arguments and results are values, and not the
page's handlers, which change a visitor's session.
"""

from __future__ import annotations

import inspect
import pickle
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from pipeline import Latent, StyleCLIP
from pipeline.errors import UserError
from webapp.process import on_zero_gpu

CALLS = frozenset("invert likeness sample image change map direct combine exchange csla_edit csla_generate".split())
CALLS |= {"adjust", "repeat", "strength", "threshold", "within"}
RUNS = frozenset({"optimize", "generate", "refine", "tune"})

# Seconds of GPU to ask for. Visitors are charged for what was used, but turned away when they have less than this left.
START = 10  # enough for any single call; the first one also moves the models to the GPU
STEP = 0.2  # one step of an optimization
LONGEST = 120  # what a visitor without an account has in a day


def mapped(studio: StyleCLIP, latent: Latent, mappers: Mapping[str, str | Path]) -> dict[str, Image.Image | UserError]:
    """Small pictures of what mappers make of a face, by name; of one that can't be applied what is wrong."""
    made: dict[str, Image.Image | UserError] = {}
    for name, mapper in mappers.items():
        try:
            edited = studio.map(latent, mapper).latent
            made[name] = studio.image(edited, edited.working_size(studio.family.generator))
        except UserError as error:
            made[name] = error
    return made


def on_gpu(studio: StyleCLIP) -> StyleCLIP:
    """The studio itself; on a ZeroGPU Space a stand-in with the same surface, whose computing runs on a GPU.

    There `spaces` must be imported before torch, and the studio be made by the main thread: only that thread sees the
    GPU which `spaces` pretends to have until one is lent.
    """
    return _OnGPU(studio) if on_zero_gpu() else studio


class _OnGPU:
    """A studio that computes on a lent GPU when a visitor asks, which is never in the main thread.

    The main thread asks only while the page is built. Then there is nobody to charge for a GPU yet, but the models are
    still in this process, and `spaces` lets it compute with them on the CPU.
    """

    def __init__(self, studio: StyleCLIP) -> None:
        import spaces  # on ZeroGPU only, where it is installed

        def call(seconds: int, request: bytes) -> bytes:
            name, args, kwargs = pickle.loads(request)
            method = partial(mapped, studio) if name == "mapped" else getattr(studio, name)
            try:
                return pickle.dumps(method(*args, **kwargs))
            except UserError as error:
                return pickle.dumps(error)

        def run(seconds: int, request: bytes) -> Iterator[bytes]:
            name, args, kwargs = pickle.loads(request)
            try:
                for step in getattr(studio, name)(*args, **kwargs):
                    yield pickle.dumps(step)
            except UserError as error:
                yield pickle.dumps(error)

        self._studio = studio
        # Once each, because every decorated function keeps a process of its own. They take and return bytes, because
        # the queue in between would make of each tensor an open file that both processes hold.
        lend = spaces.GPU(duration=lambda seconds, request: seconds)
        self._on_gpu, self._run_on_gpu = lend(call), lend(run)

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._studio, name)
        if threading.current_thread() is threading.main_thread():
            return attribute
        if name in CALLS:
            return partial(self._call, name)
        return partial(self._run, name) if name in RUNS else attribute

    def mapped(self, *args: Any) -> dict[str, Image.Image | UserError]:
        """All of them in one call."""
        return self._call("mapped", *args)

    def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        seconds = LONGEST if name == "repeat" else START
        return _opened(self._on_gpu(seconds, pickle.dumps((name, args, kwargs))))

    def _run(self, name: str, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """Checks at once, as the studio does, and asks for a GPU with the first step."""
        method = getattr(self._studio, name)
        method(*args, **kwargs)  # raises what is wrong with the arguments; computes only when iterated
        bound = inspect.signature(method).bind(*args, **kwargs)
        bound.apply_defaults()
        steps = bound.arguments.get("steps") or self._studio.family.defaults.steps
        return self._steps(min(LONGEST, round(START + STEP * steps)), pickle.dumps((name, args, kwargs)))

    def _steps(self, seconds: int, request: bytes) -> Iterator[Any]:
        with closing(self._run_on_gpu(seconds, request)) as steps:
            for step in steps:
                yield _opened(step)


def _opened(answer: bytes) -> Any:
    result = pickle.loads(answer)
    if isinstance(result, UserError):
        raise result
    return result
