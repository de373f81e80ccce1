"""ZeroGPU Spaces: the studio's computing on a GPU that is lent for each call; everywhere else the studio as it is.

There the package `spaces` runs a decorated function in a forked process that has a GPU for as long as the call takes.
Arguments and results travel between the two processes, changes to anything else are lost, and of an exception only the
name of its class comes back.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from pipeline import StyleCLIP
from pipeline.errors import UserError
from pipeline.parameters import OTHER_NAMES
from webapp.backends import Backend
from webapp.backends.travelling import answered, packed, unpacked, unpacked_request
from webapp.process import on_zero_gpu

# Seconds of GPU to ask for. Visitors are charged for what was used, but turned away when they have less than this left.
START = 10  # enough for any single call; the first one also moves the models to the GPU
STEP = 0.2  # one step of an optimization
LONGEST = 120  # what a visitor without an account has in a day


def on_gpu(studio: StyleCLIP) -> StyleCLIP | Backend:
    """The studio itself; on a ZeroGPU Space a stand-in with the same surface, whose computing runs on a GPU.

    There `spaces` must be imported before torch, and the studio be made by the main thread: only that thread sees the
    GPU which `spaces` pretends to have until one is lent.
    """
    return _OnGPU(studio) if on_zero_gpu() else studio


class _OnGPU(Backend):
    """A studio that computes on a lent GPU when a visitor asks, which is never in the main thread.

    The main thread asks only while the page is built. Then there is nobody to charge for a GPU yet, but the models are
    still in this process, and `spaces` lets it compute with them on the CPU.
    """

    few_calls = True

    def __init__(self, studio: StyleCLIP) -> None:
        import spaces  # on ZeroGPU only, where it is installed

        def call(seconds: int, request: bytes) -> bytes:
            with unpacked_request(request, studio) as (_, make):
                return answered(make)

        def run(seconds: int, request: bytes) -> Iterator[bytes]:
            with unpacked_request(request, studio) as (_, begin):
                try:
                    for step in begin():
                        yield packed(step)  # with its picture: a visitor may have no GPU left to draw it later
                except UserError as error:
                    yield packed(error)

        super().__init__(studio)
        # Once each, because every decorated function keeps a process of its own.
        lend = spaces.GPU(duration=lambda seconds, request: seconds)
        self._on_gpu, self._run_on_gpu = lend(call), lend(run)

    def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        if threading.current_thread() is threading.main_thread():
            return super().call(name, *args, **kwargs)
        seconds = LONGEST if name == "repeat" else START
        return unpacked(self._on_gpu(seconds, packed((name, args, kwargs), pictures=False)))

    def run(self, name: str, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """Checks at once, as the studio does, and asks for a GPU with the first step."""
        begun = super().run(name, *args, **kwargs)  # raises what is wrong with the arguments
        if threading.current_thread() is threading.main_thread():
            return begun
        bound = inspect.signature(getattr(self._studio, name)).bind(*args, **kwargs)
        bound.apply_defaults()
        usual = OTHER_NAMES.get(name, {}).get("steps", "steps")
        steps = bound.arguments.get("steps") or getattr(self._studio.family.defaults, usual)
        request = packed((name, args, kwargs), pictures=False)
        return self._steps(min(LONGEST, round(START + STEP * steps)), request)

    def _steps(self, seconds: int, request: bytes) -> Iterator[Any]:
        with closing(self._run_on_gpu(seconds, request)) as steps:
            for step in steps:
                yield unpacked(step)
