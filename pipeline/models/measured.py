"""What is measured or trained once for a family: the settings it depends on, and where it is kept on this machine."""

import hashlib
import json
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.methods.directions import TRUNCATION
from pipeline.models.downloads import digest, fetch
from pipeline.models.registry import Row
from pipeline.models.sources import Source, asset
from pipeline.models.weights import kind_of_file, metadata

log = logging.getLogger(__name__)


def relevance_settings(row: Row) -> dict[str, Any]:
    """What relevance and deviations depend on: the metadata of their file."""
    return {"truncation": TRUNCATION} | alignment_settings(row)


def alignment_settings(row: Row) -> dict[str, Any]:
    """What an alignment depends on: the metadata of its file."""
    return {"clip_normalize": row.clip_normalize_directions} | _networks(row)


def _networks(row: Row) -> dict[str, str]:
    """The start of the SHA-256 of the files of generator, preview and CLIP, which are fetched where the row does not
    tell it."""
    files = {kind: row.files[kind] for kind in ("generator", "preview", "clip") if kind in row.files}
    return {kind: (file.sha256 or digest(file, fetch(file))).lower()[:16] for kind, file in files.items()}


def relevance_path(row: Row) -> Path:
    """Where a relevance matrix that was measured on this machine is kept, for a family that comes without.

    The name tells the `relevance_settings`, so that a matrix of other networks or settings is not taken for this one.
    """
    return _own_path("relevance", row, f"-psi{TRUNCATION}")


def alignment_path(row: Row) -> Path:
    """Where an alignment that was trained on this machine is kept, for a family that comes without. The name tells
    the `alignment_settings`."""
    return _own_path("alignment", row, "")


def _own_path(folder: str, row: Row, settings: str) -> Path:
    networks = hashlib.sha256("".join(_networks(row).values()).encode()).hexdigest()[:16]
    shown = "-clip-normalized" if row.clip_normalize_directions else ""
    return asset(folder) / f"{row.name}-{networks}{settings}{shown}.safetensors"


def warn_of_other_settings(row: Row, source: Source, settings: dict[str, Any], command: str) -> None:
    """Log in which of its settings, as its metadata tells them, a file differs from those of today.

    Files from before metadata were written have the settings of that time. What a file does not tell is not compared.
    """
    path = fetch(source)
    if kind_of_file(path) != "safetensors":
        return
    theirs = {"truncation": 1.0, "clip_normalize": False}
    with suppress(ValueError, TypeError, RecursionError):
        theirs |= json.loads(metadata(path).get("settings", "{}"))
    others = [
        f"{name} {theirs[name]} instead of {value}"
        for name, value in settings.items()
        if theirs.get(name, value) != value
    ]
    if others:
        log.warning(
            "%s was made otherwise than the model “%s” does it now (%s), so edits come out weaker or stronger; "
            "make it again with python -m pipeline.training.%s --model %s --output FILE",
            *(source.name, row.name, ", ".join(others), command, row.name),
        )
