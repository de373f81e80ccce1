"""Links that open the page with an edit's words and numbers, in the address as anybody can read and change them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import gradio as gr

from pipeline import StyleCLIP
from pipeline.errors import UserError
from webapp import limits
from webapp.guard import guard
from webapp.panels.alignment import Alignment
from webapp.panels.directions import Directions, kept_note, most_channels
from webapp.panels.mappers import Mappers
from webapp.panels.optimization import Optimization
from webapp.panels.result import Result, keep, settle, shown
from webapp.session import Session

WORDS = {
    "direct": ("target", "neutral"),
    "map": ("mapper",),
    "optimize": ("prompt",),
    "bridge": ("target", "neutral"),
}
NUMBERS = {
    "direct": ("strength", "threshold"),
    "map": ("strength",),
    "optimize": ("steps", "l2", "identity"),
    "bridge": ("strength",),
}
LISTS = {"bridge": ("levels",)}  # of words, which commas part
TABS = {"direct": "directions", "map": "mappers", "optimize": "optimization", "bridge": "alignment"}


def query_of(session: Session) -> str:
    """The newest edit's words and numbers as the end of an address; "" where there is nothing to link to."""
    recipe = session.here.recipes[-1] if session.here.recipes else {"method": "none", "parameters": {}}
    method, parameters = recipe["method"], recipe["parameters"]
    if method not in WORDS or "file" in parameters:
        return ""
    names = (*WORDS[method], *NUMBERS[method])
    values = {name: parameters[name] for name in names if name in parameters}
    values |= {name: ",".join(parameters[name]) for name in LISTS.get(method, ())}
    return urlencode({"method": method} | values, safe=",")


def edit_of(query: Mapping[str, str]) -> tuple[str, dict[str, Any]] | None:
    """The method and its words and numbers, of an address; None where it asks for no edit.

    Raises UserError when something is missing or odd.
    """
    method = query.get("method")
    if method is None:
        return None
    try:
        words: dict[str, Any] = {name: query[name] for name in WORDS[method]}
        words |= {name: query[name].split(",") for name in LISTS.get(method, ()) if name in query}
        numbers = {name: float(query[name]) for name in NUMBERS[method] if name in query}
    except (KeyError, ValueError):
        raise UserError("This link is not whole, so the page starts with its example.") from None
    limits.check(numbers)  # nan is out of any range
    return method, words | numbers


def connect(
    page: gr.Blocks,
    tabs: gr.Tabs,
    directions: Directions,
    mappers: Mappers,
    optimization: Optimization,
    alignment: Alignment,
    result: Result,
    studio: StyleCLIP,
    state: gr.State,
    job: dict[str, Any],
) -> None:
    """Fill in the fields that the page's address names, and do the edit, where it takes one pass."""
    fields = {
        "direct": {
            "target": directions.texts.target,
            "neutral": directions.texts.neutral,
            "strength": directions.strength,
            "threshold": directions.threshold,
        },
        "map": {"mapper": mappers.name, "strength": mappers.strength},
        "optimize": {
            "prompt": optimization.words,
            "steps": optimization.steps,
            "l2": optimization.l2,
            "identity": optimization.identity,
        },
        "bridge": {
            "target": alignment.texts.target,
            "neutral": alignment.texts.neutral,
            "strength": alignment.strength,
            "levels": alignment.levels,
        },
    }
    named = [field for values in fields.values() for field in values.values()]
    outputs = [tabs, directions.channels, directions.kept, *named, *result.picture]

    @guard
    def arrive(session: Session, request: gr.Request) -> Any:
        asked = edit_of(request.query_params)
        if asked is None:
            return [gr.skip()] * len(outputs)
        method, values = asked
        origin, edit, kept = session.here.origin, None, {}
        if method == "direct":
            edit = studio.direct(origin.latent, **values)
            kept = {
                directions.channels: min(edit.channels, most_channels(studio)),
                directions.kept: kept_note(edit.channels),
            }
        elif method == "map":
            edit = studio.map(origin.latent, **values)
        elif method == "bridge":
            edit = studio.bridge(origin.latent, **values)
        if edit is not None:
            session.go(origin)
            keep(session, origin.latent, edit)
        filled = {fields[method][name]: value for name, value in values.items()}
        pictures = dict(zip(result.picture, shown(session), strict=True))
        return {tabs: gr.Tabs(selected=TABS[method])} | filled | kept | pictures

    settle(result, page.load(arrive, state, outputs, api_visibility="private", **job), state)
