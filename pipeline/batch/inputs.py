"""Which photos are to be edited: those of folders, patterns and lists, which may have texts of their own."""

import glob
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from pipeline.batch import places
from pipeline.errors import UserError

# What counts as a photo in a folder; a file that is named itself may be called as it likes.
ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif"}
LISTS = {".txt", ".jsonl", ".parquet"}
FILES = ("mapper", "style")  # what is named by one of the model's, or by the path of a file
# Texts that a row of a list may have beside its photo.
TEXTS = ("words", "target", "neutral", *FILES, "prompt", "paint", "steps")
PHOTO = "photo"  # the column of a list with the paths


@dataclass(frozen=True)
class Job:
    """A photo to edit: its absolute path or its address, and its own texts where a list has some. `error` says what is
    wrong with the row of the list, whose place is then the path."""

    photo: str
    texts: dict[str, Any] = field(default_factory=dict)
    error: str = ""

    @property
    def key(self) -> str:
        """What tells it from other jobs, also in a later run."""
        return json.dumps([self.photo, self.texts], sort_keys=True, default=str)


def jobs_of(photos: Iterable[str | Path], out: str | Path) -> list[Job]:
    """The jobs of folders (with the folders in them), patterns (`*`), lists and single files; each job once.

    A list is a text file with a path a line, or rows as JSON Lines or Parquet with the column “photo” and any of
    `TEXTS`; other columns are left alone, and paths count from the list's folder. Raises UserError for what is not
    there, for a list that can't be read, where there is no photo, and for photos in the folder `out`.
    """
    out, jobs = _resolved(out), {}
    for item in map(places.local, photos):
        for job in _at_address(item, out) if places.is_address(item) else _jobs_of(item, out):
            jobs.setdefault(job.key, job)
    if not jobs:
        raise UserError("There are no photos in what was named; please name a folder, a pattern or a list of photos.")
    if out in map(_resolved, {places.folder_of(job.photo) for job in jobs.values()}):
        raise UserError(f"There are photos in {out} itself; please choose another folder for the results.")
    return list(jobs.values())


def is_file(wanted: Any) -> bool:
    """Whether a mapper or a style is a file and not a name."""
    return isinstance(wanted, (str, Path)) and Path(wanted).suffix in (".safetensors", ".pt", ".pth")


def _resolved(place: str | Path) -> str:
    """A place by the one name that it has."""
    try:
        if places.is_address(place):
            files, path = places.file_system(place)
            return places.address_of(files, path, (place, path)).rstrip("/")
        return os.path.realpath(place)
    except (UserError, ValueError):  # of an address that nobody knows; with a character that no path has
        return str(place)


def _jobs_of(item: str, out: str) -> Iterable[Job]:
    path = Path(item)
    if path.is_dir():
        return _in_folder(path, out)
    if path.suffix.lower() in LISTS and path.exists():
        return _in_list(item)
    if os.path.lexists(path):
        return [_job(item)]
    if glob.has_magic(item) and (found := sorted(glob.glob(item, recursive=True))):  # noqa: PTH207  # an absolute one
        return [_job(name) for name in found if not os.path.isdir(name)]  # noqa: PTH112
    raise UserError(f"There is no file or folder {item}; please check the path.")


def _at_address(address: str, out: str) -> Iterable[Job]:
    """As `_jobs_of`, for an address."""
    files, path = places.file_system(address)
    try:
        if glob.has_magic(path):
            found = sorted(name for name, about in files.glob(path, detail=True).items() if about["type"] == "file")
        elif files.isdir(path):
            found = sorted(name for name in files.find(path) if _is_photo(name.rpartition("/")[2]))
        elif files.exists(path):
            found = [path]
        else:
            raise UserError(f"There is no file or folder {address}; please check the address.")
    except UserError:
        raise
    except Exception as error:  # each kind of store has its own
        raise UserError(f"{address} can't be reached ({places.reason(error)}); please check the address.") from None
    if found == [path] and Path(path).suffix.lower() in LISTS:
        return _in_list(address)
    names = [places.address_of(files, name, (address, path)) for name in found]
    return [Job(name) for name in names if not name.startswith(f"{out}/")]


def _job(path: str, texts: dict[str, Any] | None = None) -> Job:
    return Job(places.absolute(path), texts or {})  # links stay what they are called


def _is_photo(name: str) -> bool:
    return Path(name).suffix.lower() in ENDINGS and not name.startswith(".")


def _in_folder(folder: Path, out: str) -> Iterator[Job]:
    """By their names; what can't be looked into becomes a job with an error."""
    if _resolved(folder) == out:
        raise UserError(f"The photos are in {folder} itself; please choose another folder for the results.")
    refused: list[OSError] = []
    for place, folders, names in os.walk(folder, onerror=refused.append):
        folders[:] = sorted(name for name in folders if _resolved(Path(place) / name) != out)
        for name in sorted(names):
            if _is_photo(name):
                yield _job(os.path.join(place, name))  # noqa: PTH118
    for error in refused:
        yield Job(os.path.abspath(error.filename), error=f"This folder can't be opened ({error.strerror}).")  # noqa: PTH100


def _in_list(path: str) -> Iterator[Job]:
    """The rows of a list; one that is wrong becomes a job with an error."""
    ending, folder = Path(path).suffix.lower(), places.folder_of(path)
    try:
        content = places.read(path) if places.is_address(path) else Path(path).read_bytes()
        rows = _parquet(content, path) if ending == ".parquet" else content.decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise UserError(f"The list {path} can't be read ({why}); please check it.") from None
    for number, row in enumerate(rows, 1):
        if isinstance(row, str) and not row.strip():
            continue
        try:
            if ending == ".txt":
                row = {PHOTO: row.strip()}
            elif isinstance(row, str):
                row = json.loads(row)
            texts = {name: row[name] for name in TEXTS if row.get(name) is not None}
            for kind in FILES:
                if is_file(texts.get(kind)):
                    texts[kind] = places.absolute(places.joined(folder, _path(texts[kind])))
            yield _job(places.joined(folder, _path(row[PHOTO])), texts)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            place = f"{places.absolute(path)}, line {number}"
            yield Job(place, error=f"This row names no photo; please write it as {{“{PHOTO}”: “path”}}.")


def _path(place: Any) -> str:
    """A place of a row, which is a path where it begins with file://. Raises TypeError for what is no text."""
    if not isinstance(place, str):
        raise TypeError("no text")
    return places.local(place)


def _parquet(content: bytes, path: str) -> list[dict[str, Any]]:
    try:
        import pandas  # only here: it takes long to import, and reads Parquet by another package, which may be missing

        table = pandas.read_parquet(BytesIO(content))
    except ImportError:
        raise UserError(
            "Lists in Parquet need two packages more (pip install pandas pyarrow); or save the list as JSON Lines."
        ) from None
    except Exception as error:  # its reader raises nearly anything for a broken file
        raise UserError(f"The list {path} can't be read as Parquet ({error}); please check it.") from None
    table = table[[name for name in (PHOTO, *TEXTS) if name in table.columns]].astype(object)
    rows = table.where(table.notna(), None).to_dict("records")
    for row in rows:
        if isinstance(steps := row.get("steps"), float) and steps.is_integer():  # as a column with gaps holds numbers
            row["steps"] = int(steps)
    return rows
