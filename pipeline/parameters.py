"""The parameters of each method, defined once for the library, recipes, programs and links.

A required parameter has to be given; for any other one, the family has a default.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, PlainValidator, ValidationError, model_validator

from pipeline.attributes import BY_NAME
from pipeline.checks import number, of_type, one_of, text
from pipeline.errors import UserError
from pipeline.methods.directions import LIMIT
from pipeline.models.registry import Defaults
from pipeline.networks.generator import LEVELS

SPACES = ("w", "w+", "s")
MOST_SLIDERS = 32
# What recipes and links from before there was a choice don't tell.
OLDER: dict[str, dict[str, Any]] = {"optimize": {"neutral": ""}, "direct": {"limit": 0.0}}
RENAMED = {"bridge": "csla_edit", "imagine": "csla_generate"}  # methods in older recipes and links


def _levels(value: Any) -> list[str]:
    """In their order. Raises UserError for none, and for what is no level."""
    for level in of_type("levels", value, (list, tuple), "a list of texts"):
        of_type("levels", level, str, "a list of texts")
    if not value or any(level not in LEVELS for level in value):
        raise UserError(f"Please choose at least one level of {', '.join(LEVELS)}.")
    return [level for level in LEVELS if level in value]


def _sliders(value: Any) -> list[dict[str, Any]]:
    """Each as target, neutral and strength, in a mapping or in this order. Raises UserError for more than
    `MOST_SLIDERS`, and for a pair that stands there twice."""
    what = "a list of [target, neutral, strength]"
    sliders = []
    for slider in of_type("sliders", value, (list, tuple), what):
        if isinstance(slider, Mapping) and slider.keys() == {"target", "neutral", "strength"}:
            slider = [slider["target"], slider["neutral"], slider["strength"]]
        if not isinstance(slider, (list, tuple)) or len(slider) != 3:
            raise TypeError(f"`sliders` is {what}.")
        target, neutral, strength = slider
        pair = {"target": text("target", target), "neutral": text("neutral", neutral)}
        sliders.append(pair | {"strength": number("strength", strength)})
    if len(sliders) > MOST_SLIDERS:
        raise UserError(f"Please use at most {MOST_SLIDERS} sliders at once.")
    if len({(slider["target"], slider["neutral"]) for slider in sliders}) < len(sliders):
        raise UserError("The same pair of texts stands in two sliders; please leave one of them out.")
    return sliders


def _keep(value: Any) -> list[str]:
    """Names of attributes, each once. Raises UserError for what is none."""
    for name in of_type("keep", value, (list, tuple), "a list of names of attributes"):
        if of_type("keep", name, str, "a list of names of attributes") not in BY_NAME:
            raise UserError(f"There is no attribute “{name[:40]}” to keep; there are: {', '.join(BY_NAME)}.")
    return list(dict.fromkeys(value))


# The validators raise TypeError and UserError, which name the argument; pydantic lets both pass.
Text = Annotated[str, PlainValidator(lambda value, info: text(info.field_name, value))]
Number = Annotated[float, PlainValidator(lambda value, info: number(info.field_name, value))]
Whole = Annotated[int, PlainValidator(lambda value, info: number(info.field_name, value))]
Space = Annotated[str, PlainValidator(lambda value: one_of("space", value, SPACES))]
Sliders = Annotated[list[dict[str, Any]], PlainValidator(_sliders)]
Keep = Annotated[list[str], PlainValidator(_keep)]
Levels = Annotated[list[str], PlainValidator(_levels)]


class Parameters(BaseModel, extra="forbid", frozen=True):
    """Of one method; what is not required is None until the family's default is put in."""


class Generate(Parameters):
    prompt: Text
    steps: Whole = None
    lr: Number = None
    space: Space = None
    noise: Number = None


class Optimize(Generate):
    l2: Number = None
    identity: Number = None
    neutral: Annotated[Text, AfterValidator(str.strip)] = None


class Map(Parameters):
    mapper: Text
    strength: Number = None


class Direct(Parameters):
    target: Text
    neutral: Text
    strength: Number = None
    channels: Whole = None
    threshold: Number = None
    limit: Number = LIMIT
    keep: Keep = None

    @model_validator(mode="after")
    def _one_of_two(self) -> "Direct":
        if {"channels", "threshold"} <= self.model_fields_set:
            raise UserError("Please give either `threshold` (β) or `channels`, not both.")
        return self


class Combine(Parameters):
    sliders: Sliders
    channels: Whole = None
    limit: Number = LIMIT


class Exchange(Parameters):
    target: Text
    neutral: Text


class Style(Parameters):
    style: Text
    strength: Number = None


class Paint(Parameters):
    target: Text
    neutral: Text
    steps: Whole = None


class CslaEdit(Parameters):
    target: Text
    neutral: Text
    strength: Number = None
    levels: Levels = list(LEVELS)


class CslaGenerate(Parameters):
    prompt: Text
    neutral: Text = None
    strength: Number = None


METHODS: dict[str, type[Parameters]] = {
    "optimize": Optimize,
    "generate": Generate,
    "map": Map,
    "direct": Direct,
    "combine": Combine,
    "exchange": Exchange,
    "style": Style,
    "paint": Paint,
    "csla_edit": CslaEdit,
    "csla_generate": CslaGenerate,
}
# Method -> parameter -> the family's default for it, where that has another name.
OTHER_NAMES: dict[str, dict[str, str]] = {
    "optimize": {"neutral": "prompt_neutral"},
    "map": {"strength": "mapper_strength"},
    "style": {"strength": "style_strength"},
    "paint": {"steps": "paint_steps"},
    "csla_edit": {"strength": "csla_strength"},
    "csla_generate": {"strength": "csla_strength"},
}


def checked(method: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters given for a method; optional ones that are None count as not given.

    Raises TypeError for a wrong type, for one that is missing and for one that there is not, and UserError for a wrong
    value; both name the argument.
    """
    model = METHODS[method]
    optional = {name for name, field in model.model_fields.items() if not field.is_required()}
    given = {name: value for name, value in given.items() if value is not None or name not in optional}
    try:
        return model(**given).model_dump(exclude_unset=True)
    except ValidationError as error:  # only of names: the validators' own errors pass
        wrong = error.errors()[0]
        why = "needs" if wrong["type"] == "missing" else "has no"
        raise TypeError(f"`{method}` {why} `{wrong['loc'][0]}`.") from None


def completed(method: str, defaults: Defaults, given: Mapping[str, Any]) -> dict[str, Any]:
    """`checked`, with the family's defaults for what is not given: all that a recipe tells."""
    told, names = checked(method, given), OTHER_NAMES.get(method, {})
    values = {
        name: told.get(name, getattr(defaults, names.get(name, name), field.get_default()))
        for name, field in METHODS[method].model_fields.items()
        if not (name == "channels" and "threshold" in told)
    }
    return {name: value for name, value in values.items() if value is not None}
