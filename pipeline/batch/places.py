"""Photos and results by path, and by address, as fsspec knows them: s3://bucket/photos, gs://…, hdfs://…"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from pipeline.errors import UserError
from pipeline.files import written_whole

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

MOST_BYTES = 300_000_000  # of a photo that is fetched into memory


def is_address(place: Any) -> bool:
    """Whether a place is no path on this machine, as s3://bucket/photos isn't."""
    return isinstance(place, str) and "://" in place


def local(place: str | Path) -> str:
    """A place, which is a path where it begins with file:// or ~."""
    place = str(place)
    if place.startswith("file://"):
        return unquote(place.removeprefix("file://").removeprefix("localhost"))
    return place if is_address(place) else os.path.expanduser(place)  # noqa: PTH111


def absolute(place: str) -> str:
    """A place that means the same to processes which run elsewhere."""
    return place if is_address(place) else os.path.abspath(place)  # noqa: PTH100


def joined(folder: str | Path, name: str) -> str:
    """A name in a folder; itself, where it is an address or begins at the root."""
    if is_address(name):
        return name
    if is_address(folder):
        return f"{str(folder).rstrip('/')}/{name}"
    return os.path.join(folder, name)  # noqa: PTH118  # of a hundred thousand


def folder_of(place: str) -> str:
    """The folder of a file."""
    return place.rpartition("/")[0] if is_address(place) else os.path.dirname(place)  # noqa: PTH120


def file_system(address: str) -> tuple[AbstractFileSystem, str]:
    """What reads and writes at an address, and the path for it. Raises UserError where there is none for it."""
    from fsspec.core import url_to_fs

    kind = address.partition("://")[0]
    try:
        return url_to_fs(address)
    except ImportError as error:
        raise UserError(f"Addresses with {kind}:// need a package more: {error}.") from None
    except Exception as error:  # of a kind that fsspec doesn't know, and of those who look for a key at once
        raise UserError(f"The address {address} can't be used ({error}); please check it.") from None


def address_of(files: AbstractFileSystem, path: str, known: tuple[str, str]) -> str:
    """The address of a path. `known` is an address of the same file system, and its path: from it come the host and the
    archive, which are no part of a path."""
    if not {"host", "fo"} & files.storage_options.keys():
        return files.unstrip_protocol(path)
    within, chained, archive = known[0].rstrip("/").partition("::")
    return within.removesuffix(known[1].rstrip("/")) + path + chained + archive


def read(address: str) -> bytes:
    """The content of what an address names. Raises UserError where there is none."""
    name = address.rpartition("/")[2]
    files, path = file_system(address)
    try:
        with files.open(path, "rb") as file:
            content = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise UserError(f"“{name}” is no file; please give the address of a picture.") from None
    except Exception as error:  # each kind of store has its own
        raise UserError(f"“{name}” can't be fetched ({reason(error)}); please check the address.") from None
    if len(content) > MOST_BYTES:
        raise UserError(f"“{name}” is too large; please give a file of at most {MOST_BYTES // 10**6} MB.")
    return content


def write(place: str, content: bytes) -> None:
    """Write a file whole. Raises OSError where that can't be done."""
    if not is_address(place):
        with written_whole(Path(place)) as fresh:
            fresh.write_bytes(content)
        return
    files, path = file_system(place)
    try:
        files.pipe_file(path, content)
    except OSError:
        raise
    except Exception as error:  # each kind of store has its own
        raise OSError(reason(error)) from None


def remove(address: str) -> None:
    """Remove a file. Raises OSError where that can't be done."""
    files, path = file_system(address)
    try:
        files.rm_file(path)
    except FileNotFoundError:
        pass
    except OSError:
        raise
    except Exception as error:
        raise OSError(reason(error)) from None


def names(folder: str) -> set[str]:
    """The names of the files in the folder at an address; none where there is no such folder. Raises OSError where it
    can't be looked into."""
    files, path = file_system(folder)
    files.invalidate_cache()
    try:
        found = files.ls(path, detail=True)
    except FileNotFoundError:
        return set()
    except OSError:
        raise
    except Exception as error:
        raise OSError(reason(error)) from None
    return {entry["name"].rpartition("/")[2] for entry in found if entry["type"] == "file"}


def reason(error: Exception) -> str:
    """What an error says, on one line."""
    return getattr(error, "strerror", None) or " ".join(str(error).split())[:200] or type(error).__name__
