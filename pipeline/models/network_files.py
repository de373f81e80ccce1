"""Files that the registry names, verified and read, and networks built from what is in them."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pipeline.errors import UserError
from pipeline.models.downloads import digest, fetch, verify
from pipeline.models.generator_formats import StateDict
from pipeline.models.sources import Source
from pipeline.models.weights import read_slim

T = TypeVar("T")


def read_network(kind: str, source: Source) -> StateDict:
    """The tensors of a file, which is fetched if it is not here; kinds and errors as in `read_weights`."""
    path = fetch(source)
    expected = f"{source.sha256} {source.git_blob}"
    return read_slim(kind, path, expected, lambda: check(source, path), source.name)


def check(source: Source, path: Path) -> None:
    """Verify what has a checksum of its own, each time before it is read. Raises UserError for another file."""
    if source.sha256 or source.git_blob or not source.path:
        verify(source, path)


def short_digest(source: Source) -> str:
    """The start of the SHA-256 of a file, which is fetched if it is not here."""
    return digest(source, fetch(source))[:16]


def built(build: Callable[[StateDict], T], state: StateDict, source: Source) -> T:
    """The network that `build` makes of tensors. Raises UserError where they are those of another one."""
    try:
        return build(state)
    except Exception as error:  # tensors of another network may be missing, or of any size
        keys = re.search(r'(Missing|Unexpected) key[^"]*"([^"]+)"|(size mismatch) for ([\w.]+)', str(error))
        detail = f" ({' '.join(filter(None, keys.groups())).lower()})" if keys else ""
        raise UserError(f"The file {source.name} is not of the kind that this model needs there{detail}.") from error
