"""Which files of the server a caller may name: those in the upload folder, each in a folder with a secret name.

Gradio checks a path only where the caller says that it is a file, and follows links first: /proc/self/fd/8 then counts
as an upload while the server reads another visitor's. Here the path itself must be FOLDER/SECRET/NAME, no part of it a
link, and the file a regular one. Everything that comes with a path uses this: inputs of events, addresses, downloads.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gradio import utils
from gradio.utils import get_upload_folder
from gradio_client.utils import is_http_url_like

from pipeline.errors import UserError

SECRET = re.compile(r"[0-9a-f]{16,}")  # the folders of Gradio's uploads and of `webapp.files`
AS_FILE = {"_type": "gradio.FileData"}  # how a caller says that something is a file
GONE = "This file is not on the server, or no longer; please send it again."
UNFETCHED = "Nothing could be fetched from this address; please send the file itself."
LONGEST_ADDRESS = 2000  # characters
NO_FILE = "This is no file; please send a file."
# No link is followed, and opening a pipe does not wait for a writer. Windows has neither.
SAFELY = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)

_GRADIOS = utils.is_allowed_file


def find(path: str | Path) -> Path:
    """The path of an upload, as the server itself writes it. Raises UserError for any other path."""
    parts = Path(path).parts if "\0" not in str(path) else ()
    for folder in (Path(get_upload_folder()).absolute(), Path(get_upload_folder()).resolve()):
        if parts[:-2] == folder.parts and SECRET.fullmatch(parts[-2]) and parts[-1] != "..":
            found = folder.resolve() / parts[-2] / parts[-1]
            if _is(stat.S_ISDIR, found.parent) and _is(stat.S_ISREG, found):
                return found
    raise UserError(GONE)


def _is(kind: Callable[[int], bool], path: Path) -> bool:
    try:
        return kind(path.lstat().st_mode)
    except (OSError, ValueError):
        return False


def read(path: str | Path, most: int, too_large: str) -> bytes:
    """What is in an upload. Raises UserError for any other path, and with `too_large` for more than `most` bytes."""
    try:
        with os.fdopen(os.open(find(path), SAFELY), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise UserError(GONE)
            if status.st_size > most:
                raise UserError(too_large)
            return file.read(most)
    except OSError:
        raise UserError(GONE) from None


def check(inputs: list[Any]) -> None:
    """Raises UserError where a file among the inputs of an event, as they came, is neither an upload nor an address."""
    rest = list(inputs)
    while rest:
        value = rest.pop()
        if isinstance(value, list):
            rest += value
        elif isinstance(value, dict):
            rest += value.values()
            if value.get("path") is not None or "meta" in value:
                _check_file(value)


def _check_file(value: dict[str, Any]) -> None:
    path, meta = value.get("path"), value.get("meta", AS_FILE)
    if not isinstance(path, str) or meta != AS_FILE:
        raise UserError(NO_FILE)
    if "meta" in value and is_http_url_like(path):  # which `webapp.addresses` fetches
        if len(path) > LONGEST_ADDRESS:
            raise UserError(UNFETCHED)
        return
    find(path)


def bound() -> None:
    """From now on Gradio's own checks, of every page in this process, follow no links into the upload folder."""
    utils.is_allowed_file = _is_allowed_file


def _is_allowed_file(path: Path, *args: Any, **kwargs: Any) -> tuple[bool, str]:
    allowed, reason = _GRADIOS(path, *args, **kwargs)
    if allowed and reason == "created":
        try:
            find(path)
        except UserError:
            return False, "not_created_or_allowed"
    return allowed, reason
