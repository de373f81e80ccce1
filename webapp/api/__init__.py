"""The studio for programs: endpoints that keep nothing of their caller, over HTTP and as MCP tools; see docs/api.md.

Files come as uploads and go as downloads. Gradio does not look at what a caller sends in place of a number, a text or
a file: whatever JSON can say arrives here, so everything is checked before it is used.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import gradio as gr
from gradio.context import Context

from pipeline.errors import UserError
from webapp import addresses, uploads
from webapp.api.edits import Edits
from webapp.api.faces import Faces
from webapp.api.values import Fields, Picture, Result
from webapp.error_messages import guard
from webapp.model_handle import ModelHandle
from webapp.queues import EDIT, LONG, PHOTO


class Programs(Faces, Edits):
    """The endpoints of one studio."""


# What each endpoint answers, as programs read it.
ANSWERS: dict[str, Any] = {
    "align": Picture,
    "invert": Result,
    "refine": Result,
    "sample": Result,
    "optimize": Result,
    "generate": Result,
    "change": Result,
    "map": Result,
    "style": Result,
    "paint": Result,
    "direct": Result,
    "combine": Result,
    "bridge": Result,
    "imagine": Result,
    "interpolate": Result,
    "paste": Picture,
    "mappers": Fields,
    "styles": Fields,
}


# In which group an endpoint waits, where that is not the one of short edits.
GROUPS = dict.fromkeys(("align", "invert", "paste"), PHOTO) | dict.fromkeys(
    ("optimize", "generate", "refine", "paint"), LONG
)


def connect(studio: ModelHandle) -> None:
    """Add the endpoints to the page being built."""
    programs = Programs(studio)
    addresses.bound()
    uploads.bound()
    Context.root_block.validate_inputs = _validate
    for name, answer in ANSWERS.items():
        group = GROUPS.get(name, EDIT)
        queue = {setting: group[setting] for setting in ("concurrency_limit", "concurrency_id")}
        gr.api(_endpoint(getattr(programs, name), answer), api_name=name, **queue)


def _validate(event: Any, inputs: list[Any]) -> None:
    """Called for every event of the page, with its inputs as they came; files are checked before Gradio touches them.

    Replaces Gradio's own check, which writes what was sent into the log.
    """
    if len(inputs) < len(event.inputs):
        raise gr.Error(f"This takes {len(event.inputs)} values, of which {len(inputs)} came.", print_exception=False)
    try:
        uploads.check(inputs)
    except UserError as error:
        raise gr.Error(str(error), print_exception=False) from None


def _endpoint(method: Callable[..., Any], answer: Any) -> Callable[..., Any]:
    """Guarded, and with the type of one answer where Gradio looks for it: what is streamed are answers too."""
    endpoint = guard(method)
    endpoint.__signature__ = inspect.signature(method, eval_str=True).replace(return_annotation=answer)
    return endpoint
