"""Which model families there are and which files they are made of: models.toml, and what a user puts over it."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .downloads import Source
from .errors import UserError

REGISTRY = Path(__file__).parent.parent / "checkpoints" / "models.toml"
OVERLAY = "STYLECLIP_MODELS"  # names a file of the same form, laid over the registry
GENERATOR = "STYLECLIP_GENERATOR"  # names the generator of the family "custom"


@dataclass(frozen=True)
class Defaults:
    """The settings that suit a family: the paper's unless its row in the registry says otherwise."""

    steps: int = 300
    space: str = "w+"
    lr: float = 0.1
    l2: float = 0.008
    identity: float = 0.005
    noise: float = 0.0
    prompt_neutral: str = ""
    """What the optimization compares a prompt with; "" for the prompt alone."""
    mapper_strength: float = 0.1
    mapper_clip: float = 1.0
    strength: float = 3.0
    channels: int = 20
    bridge_strength: float = 1.0
    neutral: str = "face"
    target: str = "smiling face"


@dataclass(frozen=True)
class Row:
    """A family as the registry has it; models.toml says what the fields mean."""

    name: str
    title: str
    licence: str
    clip_normalize: bool
    files: dict[str, Source]
    mappers: dict[str, tuple[str, Source]] = field(default_factory=dict)
    """name -> title and source"""
    resolution: int | None = None
    terms: str | None = None
    crop_rows: int | None = None
    defaults: Defaults = Defaults()

    def sources(self) -> list[Source]:
        """The files that the family needs, each once; mappers are fetched when they are first used."""
        return list(dict.fromkeys(self.files.values()))

    def missing(self) -> list[Source]:
        """Those that are not on this machine. Asks no network."""
        return [source for source in self.sources() if source.here() is None]

    def ready(self) -> bool:
        """Whether it can be loaded now."""
        return "generator" in self.files and not self.missing()


def read_registry(registry: str | Path = REGISTRY, own: Mapping[str, str | Path] | None = None) -> dict[str, Row]:
    """The rows of a registry by name, with the user's file (STYLECLIP_MODELS) laid over it.

    `own` are a user's own files, kind -> path, which replace those of the family "custom"; STYLECLIP_GENERATOR names
    its generator too. Raises UserError for a registry that cannot be read.
    """
    tables = _read(Path(registry))
    if overlay := os.environ.get(OVERLAY):
        theirs = _read(Path(overlay).expanduser())
        tables["sources"] |= theirs["sources"]
        for name, row in theirs["families"].items():
            try:
                tables["families"][name] = _merged(tables["families"].get(name, {}), row)
            except TypeError as error:
                raise _odd(Path(overlay), error) from None
    if own is None and (generator := os.environ.get(GENERATOR)):
        own = {"generator": generator}
    if own:
        files = {kind: Source(path=Path(path).expanduser()) for kind, path in own.items()}
        tables["families"]["custom"] = _merged(tables["families"].get("custom", {}), {"files": files})
    return {name: _row(name, row, tables["sources"]) for name, row in tables["families"].items()}


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """The tables of a file, its sources made into `Source`s, whose paths count from its folder."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        sources = {name: Source.from_row(row, path.parent) for name, row in tables.get("sources", {}).items()}
        families = tables.get("families", {})
        for row in families.values():
            row["files"] = {k: _source(v, path.parent) for k, v in row.get("files", {}).items()}
            mappers = row.get("mappers", {}).items()
            row["mappers"] = {name: (m.get("title", name), _source(m, path.parent)) for name, m in mappers}
    except OSError:
        raise UserError(f"The models file {path} can't be opened; please check STYLECLIP_MODELS.") from None
    except (ValueError, TypeError, AttributeError, RuntimeError) as error:  # the last: of ~ for nobody
        raise _odd(path, error) from None
    return {"sources": sources, "families": families}


def _odd(path: Path, error: Exception) -> UserError:
    return UserError(f"The models file {path} can't be understood ({error}); please mend it.")


def _source(row: str | Mapping[str, Any], folder: Path) -> str | Source:
    return row if isinstance(row, str) else Source.from_row(row, folder)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    both = {**below, **above}
    for name in ("files", "mappers", "defaults"):
        both[name] = {**below.get(name, {}), **above.get(name, {})}
    return both


def _row(name: str, row: Mapping[str, Any], sources: Mapping[str, Source]) -> Row:
    try:
        files = {k: sources[v] if isinstance(v, str) else v for k, v in row["files"].items()}
        options = {k: row[k] for k in ("resolution", "terms", "crop_rows", "mappers") if k in row}
        return Row(
            name=name,
            title=row.get("title", name),
            licence=row.get("licence", "unknown"),
            clip_normalize=row.get("clip_normalize", False),
            files=files,
            defaults=Defaults(**row.get("defaults", {})),
            **options,
        )
    except (KeyError, TypeError) as error:
        raise UserError(f"The model “{name}” in the models file can't be understood: {error}.") from None
