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

COMMANDS = {"directions": "relevance", "alignment": "csla", "looks": "looks"}  # of pipeline.training
log = logging.getLogger(__name__)


def settings_of(kind: str, row: Row) -> dict[str, Any]:
    """What "directions" (relevance and deviations), an "alignment" or "looks" depend on: the metadata of their file.
    Networks are told by the start of their SHA-256; they are fetched where the row does not have it."""
    files = {name: row.files[name] for name in ("generator", "preview", "clip") if name in row.files}
    networks = {name: (file.sha256 or digest(file, fetch(file))).lower()[:16] for name, file in files.items()}
    truncation = {"truncation": TRUNCATION} if kind == "directions" else {}
    return truncation | {"clip_normalize": row.clip_normalize_directions} | networks


def own_path(kind: str, row: Row) -> Path:
    """Where "directions", an "alignment" or "looks" made on this machine are kept, for a family that comes without.

    The name tells the `settings_of`, so that what other networks or settings made is not taken for this family's.
    """
    settings = settings_of(kind, row)
    shown = "-clip-normalized" if settings.pop("clip_normalize") else ""
    psi = f"-psi{settings.pop('truncation')}" if kind == "directions" else ""
    networks = hashlib.sha256("".join(settings.values()).encode()).hexdigest()[:16]
    folder = "relevance" if kind == "directions" else kind
    return asset(folder) / f"{row.name}-{networks}{psi}{shown}.safetensors"


def measured_source(kind: str, row: Row) -> Source | None:
    """The file of a family's "directions", "alignment" or "looks": that of its row, or one made on this machine."""
    if kind in row.files:
        return row.files[kind]
    return Source(path=path) if (path := own_path(kind, row)).is_file() else None


def warn_of_other_settings(kind: str, row: Row, source: Source) -> None:
    """Log in which settings, as its metadata tells them, a file differs from `settings_of`.

    Files from before metadata were written have the settings of that time. What a file does not tell is not compared.
    """
    path = fetch(source)
    if kind_of_file(path) != "safetensors":
        return
    saved = {"truncation": 1.0, "clip_normalize": False}
    with suppress(ValueError, TypeError, RecursionError):
        saved |= json.loads(metadata(path).get("settings", "{}"))
    differences = [
        f"{name} {saved[name]} instead of {value}"
        for name, value in settings_of(kind, row).items()
        if saved.get(name, value) != value
    ]
    if differences:
        log.warning(
            "%s was made otherwise than the model “%s” does it now (%s), so edits come out weaker or stronger; "
            "make it again with python -m pipeline.training.%s --model %s --output FILE",
            *(source.name, row.name, ", ".join(differences), COMMANDS[kind], row.name),
        )
