"""Which model families there are and which files they are made of: models.toml, and what a user puts over it."""

import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    WrapValidator,
    model_validator,
)

from pipeline.errors import UserError
from pipeline.models.sources import Source, is_name

REGISTRY = Path(__file__).parents[2] / "checkpoints" / "models.toml"
OVERLAY = "STYLECLIP_MODELS"  # names a file of the same form, laid over the registry
DEFAULT = "photo"  # the family where none is named
BUILT_IN = "demo"  # the family all of whose files come with the repository
GENERATOR = "STYLECLIP_GENERATOR"  # names the generator of the family "custom"

Kind = Literal[
    "generator",
    "preview",
    "encoder",
    "identity",
    "clip",
    "directions",
    "alignment",
    "looks",
    "landmarks",
    "parts",
    "painter",
]

NAMED = ("mappers", "styles")  # tables of what is chosen by name


def _words(text: str) -> str:
    if not text.strip() or len(text) > 1000:
        raise ValueError("it should be a text of 1 to 1000 characters")
    return text


def _name(text: str) -> str:  # files are named after it
    if not text.strip() or len(text) > 100 or any(c in "/\\" or not c.isprintable() for c in text):
        raise ValueError("it should be a name of 1 to 100 characters without slashes")
    return text


Words = Annotated[str, AfterValidator(_words)]
Name = Annotated[str, AfterValidator(_name)]


class _Strict(BaseModel, strict=True, extra="forbid", frozen=True, allow_inf_nan=False):
    """Numbers are finite numbers, texts are texts, and unknown keys are errors."""


class Defaults(_Strict):
    """The settings that suit a family: the paper's unless its row in the registry says otherwise."""

    steps: int = Field(300, ge=1, le=500)
    space: Literal["w", "w+", "s"] = "w+"
    lr: float = Field(0.1, gt=0, le=1)
    l2: float = Field(0.008, gt=0, le=1)
    identity: float = Field(0.005, gt=0, le=1)
    noise: float = Field(0.0, ge=0, le=3)
    prompt_neutral: str = Field("", max_length=1000)
    """What the optimization compares a prompt with; "" for the prompt alone."""
    style_strength: float = Field(1.0, ge=0.05, le=5)
    paint_steps: int = Field(150, ge=1, le=500)
    """Of `StyleCLIP.paint`."""
    mapper_strength: float = Field(0.1, ge=0.01, le=10)
    mapper_clip: float = Field(1.0, gt=0, le=1000)
    mapper_l2: float = Field(0.8, ge=0, le=1000)
    mapper_steps: int = Field(220, ge=1)
    mapper_start: float = Field(0.0, ge=0, le=1000)
    mapper_neutral: str = ""
    strength: float = Field(3.0, gt=0, le=20)
    channels: int = Field(20, ge=1, le=20_000)
    csla_strength: float = Field(
        1.0,
        ge=0.05,
        le=20,
        validation_alias=AliasChoices("csla_strength", "bridge_strength"),  # the older name
    )
    neutral: Words = "face"
    target: Words = "smiling face"


class _Family(_Strict):
    """What a family's row and its table in a file have in common."""

    licence: Words = "unknown"
    clip_normalize: bool = False
    clip_normalize_directions: bool = True
    mapper_truncation: float = Field(0.7, ge=0, le=1)
    terms: Words | None = None
    crop_rows: int | None = Field(None, ge=1)
    likeness: Literal["photographs", "drawings"] | None = None
    """The kind of pictures on which the identity network was shown to tell people apart; None where nobody looked."""
    pictures: Literal["photographs", "drawings"] | None = None
    """What the faces are that the generator makes; None where there are none, or nobody said."""
    tunes: bool = False
    """Whether the page tunes the generator to a face as soon as its photo is inverted."""
    bfloat16: bool = False
    """Whether it computes in bfloat16 where the processor does so natively and nobody asks for another type."""
    vocabulary: str = ""
    """All words that the family's CLIP was taught for faces, in lower case; "" where nobody could list them."""
    style_words: str = ""
    """The same of those for styles, as "oil painting"."""
    known_styles: list[Words] = []
    """The styles that it was taught, as a visitor may call them."""
    seldom: str = ""
    """Words for what the family's pictures seldom show after an edit."""
    defaults: Defaults = Defaults()


class Row(_Family):
    """A family as the registry has it; models.toml says what the fields mean."""

    name: Name
    title: Words
    files: dict[Kind, Source] = {}
    mappers: dict[Name, tuple[Words, Source]] = {}
    """name -> title and source"""
    styles: dict[Name, tuple[Words, Source]] = {}
    """The same of the styles"""

    @property
    def styles_in_words(self) -> bool:
        """Whether its CLIP knows words for styles."""
        return bool(self.style_words) or not self.vocabulary

    @property
    def medium(self) -> str:
        """What its pictures are, as a text that styles begin from."""
        return "drawing" if self.pictures == "drawings" else "photo"

    def sources(self) -> list[Source]:
        """The files that the family needs, each once; mappers and styles are fetched when they are first used."""
        return list(dict.fromkeys(self.files.values()))

    def missing(self) -> list[Source]:
        """Those that are not on this machine. Asks no network."""
        return [source for source in self.sources() if source.here() is None]


def _resolved(row: Any, info: ValidationInfo) -> Any:
    """A source's table, whose path counts from the folder of its file."""
    if not isinstance(row, dict) or not isinstance(row.get("path"), str):
        return row
    if not is_name(row["path"]):
        raise ValueError("the “path” of a source is too long, or not on one line")
    try:
        return row | {"path": info.context / Path(row["path"]).expanduser()}
    except RuntimeError as error:  # of ~ for nobody
        raise ValueError(error) from None


def _unless_named(row: Any, validate: Callable[[Any], Source], info: ValidationInfo) -> str | Source:
    return row if isinstance(row, str) else validate(_resolved(row, info))


class _Titled(Source):
    title: Words | None = None


class _Table(_Family):
    """A family as one file has it, where anything may be missing; files may be names of sources."""

    title: Words | None = None
    files: dict[Kind, Annotated[Source, WrapValidator(_unless_named)]] = {}
    mappers: dict[Name, Annotated[_Titled, BeforeValidator(_resolved)]] = {}
    styles: dict[Name, Annotated[_Titled, BeforeValidator(_resolved)]] = {}

    @model_validator(mode="before")
    @classmethod
    def _without_resolution(cls, table: Any) -> Any:
        """Older files tell the size of the pictures, which the generator's own file tells too."""
        return {k: v for k, v in table.items() if k != "resolution"} if isinstance(table, dict) else table


class _File(_Strict):
    """A models file. Its validation takes the file's folder as context, from which paths count."""

    sources: dict[str, Annotated[Source, BeforeValidator(_resolved)]] = {}
    families: dict[Name, _Table] = {}


def read_registry(registry: str | Path = REGISTRY, own: Mapping[str, str | Path] | None = None) -> dict[str, Row]:
    """The rows of a registry by name, with the user's file (STYLECLIP_MODELS) laid over it.

    `own` are a user's own files, kind -> path, which replace those of the family "custom"; STYLECLIP_GENERATOR names
    its generator too. Raises UserError for a registry that cannot be read, which names the file, and what in it.
    """
    if not isinstance(registry, (str, os.PathLike)):
        raise TypeError(f"`registry` is the path of a models file, not {type(registry).__name__}.")
    paths = [Path(registry)]
    if overlay := os.environ.get(OVERLAY):
        paths.append(Path(overlay))
    files = {path: _read(path) for path in paths}
    sources = {name: source for file in files.values() for name, source in file.sources.items()}
    families: dict[str, dict[str, Any]] = {}
    for path, file in files.items():
        for name, table in file.families.items():
            families[name] = _merged(families.get(name, {}), _given(path, name, table, sources))
    if own is None and (generator := os.environ.get(GENERATOR)):
        own = {"generator": generator}
    if own:
        given = {"files": {kind: Source(path=Path(path).expanduser()) for kind, path in own.items()}}
        families["custom"] = _merged(families.get("custom", {}), given)
    try:
        return {name: Row(**{"name": name, "title": name} | row) for name, row in families.items()}
    except ValidationError as error:  # only a kind of file that there is not
        raise UserError(f"These files of your own can't be used ({_first(error)}); please name others.") from None


def family_row(name: str, registry: Path | str = REGISTRY, own: Mapping[str, str | Path] | None = None) -> Row:
    """The row of a family. Raises UserError for an unknown name."""
    if own and name != "custom":
        raise UserError(f"Files of your own go with the model “custom”, not with “{name}”.")
    rows = read_registry(registry, own)
    if name not in rows:
        raise UserError(f"There is no model “{name}”; there are: {', '.join(rows)}.")
    return rows[name]


def _read(path: Path) -> _File:
    try:
        tables = tomllib.loads(path.expanduser().read_text(encoding="utf-8-sig"))
        return _File.model_validate(tables, context=path.expanduser().parent)
    except OSError:
        raise UserError(f"The models file {path} can't be opened; please check its place.") from None
    except ValidationError as error:
        raise _wrong(path, _first(error)) from None
    except (ValueError, RuntimeError) as error:  # the second: of ~ for nobody
        raise _wrong(path, str(error)) from None


def _wrong(path: Path, what: str) -> UserError:
    return UserError(f"The models file {path} can't be understood ({what}); please mend it.")


def _first(error: ValidationError) -> str:
    """Where the first mistake is, and what."""
    wrong = error.errors()[0]
    place = ".".join(str(part) for part in wrong["loc"] if part != "[key]")
    if wrong["type"] == "extra_forbidden":
        return f"{place}: there is no such key"
    if wrong["type"] in ("dict_type", "model_type"):
        return f"{place}: it should be a table"
    return f"{place}: {wrong['msg'].removeprefix('Value error, ').replace('Input', 'it')}"


def _given(path: Path, family: str, table: _Table, sources: Mapping[str, Source]) -> dict[str, Any]:
    """What a table of a file says, and nothing that it leaves out; names of sources become the sources."""
    given = {name: getattr(table, name) for name in table.model_fields_set}
    for kind, source in table.files.items():
        if isinstance(source, str) and source not in sources:
            raise _wrong(path, f"families.{family}.files.{kind}: there is no source “{source}”")
    files = {kind: sources[s] if isinstance(s, str) else s for kind, s in table.files.items()}
    named = {
        kind: {n: (t.title or n, Source(**t.model_dump(exclude={"title"}))) for n, t in getattr(table, kind).items()}
        for kind in NAMED
    }
    return given | {"files": files} | named


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """One row over another: files, mappers, styles and defaults one by one, the rest whole."""
    both = {**below, **above}
    for name in ("files", *NAMED):
        both[name] = {**below.get(name, {}), **above.get(name, {})}
    given = [row["defaults"] for row in (below, above) if "defaults" in row]
    both["defaults"] = Defaults(**{name: getattr(d, name) for d in given for name in d.model_fields_set})
    return both
