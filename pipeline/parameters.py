"""What each method is given_values, defined once: for the library, for recipes, for programs and for links.

A required parameter has to be given; for any other one, the family has a default.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, PlainValidator, model_validator

from pipeline.checks import number, of_type, one_of, text
from pipeline.errors import UserError
from pipeline.models.registry import Defaults
from pipeline.networks.generator import LEVELS

SPACES = ("w", "w+", "s")
RENAMED = {"bridge": "csla_edit", "imagine": "csla_generate"}  # methods in older recipes and links


def _levels(value: Any) -> list[str]:
    """In their order. Raises UserError for none, and for what is no level."""
    for level in of_type("levels", value, (list, tuple), "a list of texts"):
        of_type("levels", level, str, "a list of texts")
    if not value or any(level not in LEVELS for level in value):
        raise UserError(f"Please choose at least one level of {', '.join(LEVELS)}.")
    return [level for level in LEVELS if level in value]


# The validators raise TypeError and UserError, which name the argument; pydantic lets both pass.
Text = Annotated[str, PlainValidator(lambda value, info: text(info.field_name, value))]
Number = Annotated[float, PlainValidator(lambda value, info: number(info.field_name, value))]
Whole = Annotated[int, PlainValidator(lambda value, info: number(info.field_name, value))]
Space = Annotated[str, PlainValidator(lambda value: one_of("space", value, SPACES))]
Levels = Annotated[list[str], PlainValidator(_levels)]


class Parameters(BaseModel):
    """Of one method. What is not required is None as long as nothing is given for it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    family_defaults: ClassVar[dict[str, str]] = {}
    """Parameter -> the family's default for it, where that has another name."""


class Generate(Parameters):
    """Optimization from the mean face, with CLIP's term only; `noise` is in deviations of W."""

    prompt: Text
    steps: Whole = None
    lr: Number = None
    space: Space = None
    noise: Number = None


class Optimize(Generate):
    """Latent optimization, with λ_L2 `l2` and λ_ID `identity`."""

    family_defaults = {"neutral": "prompt_neutral"}

    l2: Number = None
    identity: Number = None
    neutral: Annotated[Text, AfterValidator(str.strip)] = None


class Map(Parameters):
    """A mapper by its name."""

    family_defaults = {"strength": "mapper_strength"}

    mapper: Text
    strength: Number = None


class Direct(Parameters):
    """A global direction: α `strength`, and β `threshold` or the number of `channels` that it keeps."""

    target: Text
    neutral: Text
    strength: Number = None
    channels: Whole = None
    threshold: Number = None

    @model_validator(mode="after")
    def _one_of_two(self) -> "Direct":
        if {"channels", "threshold"} <= self.model_fields_set:
            raise UserError("Please give either `threshold` (β) or `channels`, not both.")
        return self


class CslaEdit(Parameters):
    """CSLA between two texts; `levels`, of "coarse", "medium" and "fine", are what may move."""

    family_defaults = {"strength": "csla_strength"}

    target: Text
    neutral: Text
    strength: Number = None
    levels: Levels = list(LEVELS)


class CslaGenerate(Parameters):
    """CSLA from the mean face, which the `neutral` text describes."""

    family_defaults = {"strength": "csla_strength"}

    prompt: Text
    neutral: Text = None
    strength: Number = None


METHODS: dict[str, type[Parameters]] = {
    "optimize": Optimize,
    "generate": Generate,
    "map": Map,
    "direct": Direct,
    "csla_edit": CslaEdit,
    "csla_generate": CslaGenerate,
}


def checked(method: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters given for a method; optional ones that are None count as not given.

    Raises TypeError for a wrong type and UserError for a wrong value; both name the argument.
    """
    model = METHODS[method]
    optional = {name for name, field in model.model_fields.items() if not field.is_required()}
    given = {name: value for name, value in given.items() if value is not None or name not in optional}
    return model(**given).model_dump(exclude_unset=True)


def completed(method: str, defaults: Defaults, given: Mapping[str, Any]) -> dict[str, Any]:
    """`checked`, with the family's defaults for what is not given: all that a recipe tells."""
    model, given_values = METHODS[method], checked(method, given)
    values = {
        name: given_values.get(name, getattr(defaults, model.family_defaults.get(name, name), field.get_default()))
        for name, field in model.model_fields.items()
    }
    if "threshold" in given_values:
        del values["channels"]
    return {name: value for name, value in values.items() if value is not None}
