"""What is measured or trained once for a family: the settings it depends on, and where it is kept on this machine."""

import hashlib
import json
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

from .directions import TRUNCATION
from .downloads import fetch
from .registry import Row
from .sources import Source, asset
from .weights import kind_of_file, metadata

log = logging.getLogger(__name__)
_SHOWN = {False: "", True: "-clip-normalized"}  # how CLIP sees pictures -> part of a file's name


def relevance_settings(row: Row) -> dict[str, Any]:
    """What relevance and deviations depend on besides the family's networks: the metadata of their file."""
    return {"truncation": TRUNCATION} | alignment_settings(row)


def alignment_settings(row: Row) -> dict[str, Any]:
    """What an alignment depends on besides the family's networks: the metadata of its file."""
    return {"clip_normalize": row.clip_normalize_directions}


def relevance_path(row: Row) -> Path:
    """Where a relevance matrix that was measured on this machine is kept, for a family that comes without.

    The name holds the `relevance_settings`, so that a matrix with other settings is not taken for this one."""
    return _own_path("relevance", row, f"-psi{TRUNCATION}{_SHOWN[row.clip_normalize_directions]}")


def alignment_path(row: Row) -> Path:
    """Where an alignment that was trained on this machine is kept, for a family that comes without."""
    return _own_path("alignment", row, _SHOWN[row.clip_normalize_directions])


def _own_path(folder: str, row: Row, settings: str) -> Path:
    name, generator = row.name, row.files.get("generator")
    if generator and generator.path and generator.path.is_file():  # a user's own: the next one has the same name
        with generator.path.open("rb") as file:
            name += f"-{hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"
    return asset(folder) / f"{name}{settings}.safetensors"


def warn_of_other_settings(row: Row, source: Source, settings: dict[str, Any], command: str) -> None:
    """Log in which of its settings, as its metadata tells them, a file differs from those of today.

    Files from before metadata were written have the settings of that time.
    """
    path = fetch(source)
    if kind_of_file(path) != "safetensors":
        return
    theirs = {"truncation": 1.0, "clip_normalize": False}
    with suppress(ValueError, TypeError, RecursionError):
        theirs |= json.loads(metadata(path).get("settings", "{}"))
    others = [f"{name} {theirs[name]} instead of {value}" for name, value in settings.items() if theirs[name] != value]
    if others:
        log.warning(
            "%s was made otherwise than the model “%s” does it now (%s), so edits come out weaker or stronger; "
            "make it again with python -m pipeline.training.%s --model %s --output FILE",
            *(source.name, row.name, ", ".join(others), command, row.name),
        )
