"""Addresses that hold edits, as anybody can read and change them: `method=direct&target=old+face&neutral=face&…`.

The first edit of a picture stands as it is, each further one behind its number: `2.method=map&2.mapper=glasses`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from pipeline.checks import LIMITS, WHOLE
from pipeline.errors import UserError
from pipeline.methods.regions import DRAWN, checked_regions
from pipeline.parameters import METHODS, RENAMED, checked
from pipeline.recipes import FROM_WORDS
from webapp import limits

LONGEST = 2000  # characters of a query that every browser and messenger takes
MOST = 20  # edits
LONG = {"optimize", "generate", "paint"}  # methods that a link fills in, and a visitor starts
PAINTED = "painted."  # how a drawn mask begins among the regions that an edit is held to

Asked = tuple[str, dict[str, Any]]
"""A method, and its parameters as far as a link has them; among them "share", where the edit was adjusted, and
"within", the regions that it is held to."""


def query_of(recipes: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """The end of an address that holds a picture's edits, and a sentence on what it leaves out, or "".

    The first is "" where the newest edit can't be told by words and numbers.
    """
    if not recipes or not _tellable(recipes[-1]):
        return "", ""
    query, count, why = _query(recipes), len(recipes), ""
    if not all(map(_tellable, recipes)):
        why = "an earlier one needs a file of yours or a photo"
    elif any(recipe["method"] in LONG for recipe in recipes[:-1]):
        why = "an earlier one takes long, and no link starts it"
    elif count > 1 and (len(query) > LONGEST or count > MOST):
        why = "all of them are too long for an address"
    left_out = []
    if why:
        query = _query(recipes[-1:])
        left_out.append(f"The link holds the newest of {count} edits only: {why}.")
    if len(query) > LONGEST and (named := _without_painted(recipes[-1])) != recipes[-1]:
        query = _query([named])
        left_out.append("The link leaves out what you painted, which is too long for an address.")
    return query, " ".join([*left_out, "The recipe holds it all."]) if left_out else ""


def _text(name: str, value: Any) -> Any:
    if name == "sliders":
        lists = [[slider["target"], slider["neutral"], slider["strength"]] for slider in value]
        return json.dumps(lists, ensure_ascii=False, separators=(",", ":"))
    if name == "within":
        value = [PAINTED + _in_address(region) if region.startswith(DRAWN) else region for region in value]
    return ",".join(value) if isinstance(value, list) else value


def _in_address(mask: str) -> str:
    """A drawn mask in letters that an address takes as they are."""
    return mask.removeprefix(DRAWN).replace("+", "-").replace("/", "_").rstrip("=")


def _from_address(text: str) -> str:
    return DRAWN + text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4)


def _without_painted(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """An edit without the drawn masks that it is held to; with no other region it is one of the whole picture."""
    named = [region for region in recipe.get("within", {}).get("regions", ()) if not region.startswith(DRAWN)]
    rest = {name: value for name, value in recipe.items() if name != "within"}
    return rest | ({"within": recipe["within"] | {"regions": named}} if named else {})


def _tellable(recipe: Mapping[str, Any]) -> bool:
    plain = "share" not in recipe.get("within", {})
    return recipe["method"] in METHODS and "file" not in recipe["parameters"] and plain


def _query(recipes: Sequence[Mapping[str, Any]]) -> str:
    values = {}
    for number, recipe in enumerate(recipes, 1):
        told = {"method": recipe["method"]} | recipe["parameters"]
        told |= {"share": recipe["share"]} if recipe.get("share", 1.0) != 1.0 else {}
        told |= {"within": recipe["within"]["regions"]} if "within" in recipe else {}
        before = "" if number == 1 else f"{number}."
        values |= {before + name: _text(name, value) for name, value in told.items()}
    return urlencode(values, safe=",")


def edits_of(query: Mapping[str, str]) -> list[Asked]:
    """What an address asks for, in its order; nothing where it names no method. Raises UserError when something is
    missing or odd."""
    edits: list[Asked] = []
    for number in range(1, MOST + 1):
        before = "" if number == 1 else f"{number}."
        if f"{before}method" not in query:
            break
        edits.append(_edit(query, before))
    if f"{MOST + 1}.method" in query:
        raise _broken()
    if any(method in LONG for method, _ in edits[:-1]) or any(method in FROM_WORDS for method, _ in edits[1:]):
        raise _broken()
    return edits


def _edit(query: Mapping[str, str], before: str) -> Asked:
    method = query[f"{before}method"]
    method = RENAMED.get(method, method)
    try:
        names = [*METHODS[method].model_fields, "share", "within"]
        values = {name: _value(name, query[before + name]) for name in names if before + name in query}
    except (KeyError, ValueError, RecursionError):  # the last of brackets in brackets
        raise _broken() from None
    limits.check({name: value for name, value in values.items() if name in limits.LIMITS})  # nan is out of any range
    beside = {name: values.pop(name) for name in ("share", "within") if name in values}
    try:
        told = checked(method, values)
        if "within" in beside:
            checked_regions(beside["within"])
    except (UserError, TypeError, ValueError):
        raise _broken() from None
    limits.check(told)
    return method, told | beside


def _value(name: str, text: str) -> Any:
    if name == "within":
        parts = text.split(",")
        return [_from_address(part.removeprefix(PAINTED)) if part.startswith(PAINTED) else part for part in parts]
    if name in ("levels", "keep"):
        return text.split(",")
    if name == "sliders":
        return json.loads(text)
    return int(text) if name in WHOLE else float(text) if name in LIMITS else text


def _broken() -> UserError:
    return UserError("This link is not whole, so the page starts with its example.")
