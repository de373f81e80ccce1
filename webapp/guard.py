"""The one place where an exception becomes something that a visitor reads."""

from __future__ import annotations

import functools
import html
import inspect
import logging
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr

from pipeline.errors import UserError

log = logging.getLogger(__name__)


@contextmanager
def _told_plainly() -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise gr.Error(html.escape(str(error)), print_exception=False) from None
    except gr.Error:
        raise
    except Exception as error:
        number = secrets.token_hex(4)
        log.exception("error %s", number)
        sentence = (
            f"Something went wrong on our side. Your face and your edit are still here. (Number {number} in the log)"
        )
        raise gr.Error(sentence, print_exception=False) from error


def guard(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap an event handler: a `UserError` becomes its sentence, anything else a numbered line in the log.

    The page keeps everything it shows, because Gradio leaves the outputs of a failed event alone. Works for plain
    handlers and for generators.
    """
    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def guarded(*args: Any, **kwargs: Any) -> Iterator[Any]:
            with _told_plainly():
                yield from handler(*args, **kwargs)
    else:

        @functools.wraps(handler)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            with _told_plainly():
                return handler(*args, **kwargs)

    return guarded
