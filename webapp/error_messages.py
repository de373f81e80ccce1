"""The one place where an exception becomes something that a visitor reads."""

from __future__ import annotations

import errno
import functools
import gc
import html
import inspect
import logging
import re
import secrets
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import gradio as gr
import torch

from pipeline.errors import UserError
from webapp.monitoring import FAULTS
from webapp.session import Session

STARTED_OVER = "You started over, so this has ended."
NO_SPACE = re.compile(r"\(os error (28|122)\)")  # how safetensors tells ENOSPC and EDQUOT
NO_MEMORY = re.compile("out of memory|can't allocate memory|cannot allocate memory|ALLOC_FAILED", re.IGNORECASE)

log = logging.getLogger(__name__)


@contextmanager
def told_plainly() -> Iterator[None]:
    """What `guard` does with exceptions, for a handler that ends the visit itself."""
    try:
        yield
    except UserError as error:
        said = str(error).encode(errors="replace").decode()  # halves of characters can't be sent
        raise gr.Error(html.escape(said), print_exception=False) from None
    except gr.Error:
        raise
    except Exception as error:
        number = secrets.token_hex(4)
        log.exception("error %s", number)
        FAULTS.inc()
        if out_of_memory(error):
            _free(error)
        sentence = f"{_what_happened(error)} Your face and your edit are still here. (Number {number} in the log)"
        raise gr.Error(sentence, print_exception=False) from None


def out_of_memory(error: Exception) -> bool:
    """Whether the GPU's or the machine's memory did not suffice: PyTorch has no class of its own for the latter."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and bool(NO_MEMORY.search(str(error)))


def _what_happened(error: Exception) -> str:
    if out_of_memory(error):
        return "The model ran out of memory with this; please try again in a moment, or with a smaller photo."
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or NO_SPACE.search(str(error)):
        return "The server's disk is full, so this could not be kept; please try again later."
    return "Something went wrong on our side."


def _free(error: BaseException | None) -> None:
    """Let go of what the calls that failed had computed, which the exception and those behind it still hold."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__
    gc.collect()
    torch.cuda.empty_cache()


def guard(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap an event handler: a `UserError` becomes its sentence, anything else a numbered line in the log.

    The page keeps everything it shows, because Gradio leaves the outputs of a failed event alone. What was made of a
    visit that its visitor has ended meanwhile is not shown either. Works for plain handlers and for generators.
    """
    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def guarded(*args: Any, **kwargs: Any) -> Iterator[Any]:
            with told_plainly(), closing(handler(*args, **kwargs)) as values:
                for value in values:
                    _check_ended(args)
                    yield value
    else:

        @functools.wraps(handler)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            with told_plainly():
                value = handler(*args, **kwargs)
                _check_ended(args)
                return value

    return guarded


def _check_ended(args: tuple[Any, ...]) -> None:
    """Raises UserError where a visitor has started over meanwhile: the page shows the new visit, and goes on so."""
    if any(isinstance(value, Session) and value.ended for value in args):
        raise UserError(STARTED_OVER)
