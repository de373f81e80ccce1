"""The folder of results: `results.jsonl`, a row a face, and which names pictures have."""

import errno
import json
import os
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from pipeline.batch.inputs import Job
from pipeline.errors import UserError
from pipeline.files import written_whole

RESULTS = "results.jsonl"
LOCK = ".results.lock"
ROW_BEGINS = b'{"input": '
NAME_BYTES = 120  # of a picture's name, without what is added to it; file systems take 255
IN_NO_NAME = set('<>:"/\\|?*.')  # a dot parts the name from what is added

Row = dict[str, Any]


class Photo(NamedTuple):
    """The rows of a photo in the file: the job's key, the rows, and where they begin and end."""

    key: str
    rows: list[Row]
    start: int
    end: int


class Known(NamedTuple):
    """What an earlier run has left of a job: what its pictures are called, what they were made from, and whether all of
    them are there."""

    name: str
    fingerprint: str
    complete: bool


class Results:
    """The rows of a folder, for one process at a time. Rows are added as photos are done, and of a photo all at once;
    at the end the file has those that count, in the order of the jobs."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / RESULTS

    def __enter__(self) -> "Results":
        """Raises UserError where the folder can't be written to, has other files, or is in use."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if self.path.is_symlink() or not (self._has_rows() if self.path.exists() else self._is_empty()):
                raise UserError(f"The folder {self.folder} has other files; please name a new one for the results.")
            self.lock = FileLock(self.folder / LOCK, timeout=0)
            self.lock.acquire()
            self._drop_half_a_row()
            self.file = self.path.open("ab", buffering=0)
        except Timeout:
            raise UserError(f"Another run writes into {self.folder}; please wait until it has ended.") from None
        except OSError as error:
            raise not_written(self.folder, error) from None
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.lock.release()

    def _has_rows(self) -> bool:
        """Whether the file may be of an earlier run, which may have been stopped within its first row."""
        with self.path.open("rb") as file:
            begins = file.read(len(ROW_BEGINS))
        return ROW_BEGINS.startswith(begins)

    def _is_empty(self) -> bool:
        return all(path.name == LOCK for path in self.folder.iterdir())

    def _drop_half_a_row(self) -> None:
        """What a run that was killed, or a full disk, has left of a row."""
        with self.path.open("ab+") as file:
            end = file.seek(0, os.SEEK_END)
            while end:
                start = max(0, end - 2**16)
                file.seek(start)
                if place := file.read(end - start).rfind(b"\n") + 1:
                    end = start + place
                    break
                end = start
            file.truncate(end)

    def photos(self) -> Iterator[Photo]:
        """The rows, those that were written for a photo at a time together."""
        photo = None
        with self.path.open("rb") as file:
            for line in file:
                end = file.tell()
                try:
                    row = json.loads(line)
                    key, begins = Job(row["input"], row["texts"]).key, row["face"] in (None, 1)
                except (ValueError, KeyError, TypeError, RecursionError):  # somebody has changed it
                    key = None
                if photo and (key != photo.key or begins):
                    yield photo
                    photo = None
                if key is not None:
                    photo = photo._replace(end=end) if photo else Photo(key, [], end - len(line), end)
                    photo.rows.append(row)
        if photo:
            yield photo

    def known(self) -> dict[str, Known]:
        """Key -> what the last rows of a job say, where they name a picture."""
        known = {}
        for key, rows, _, _ in self.photos():
            outputs = [str(row["output"]) for row in rows if row.get("output")]
            name = outputs[0].split(".")[0] if outputs else ""
            known.pop(key, None)
            if name and not IN_NO_NAME.intersection(name):
                all_there = len(outputs) == rows[0].get("faces") and all((self.folder / o).is_file() for o in outputs)
                known[key] = Known(name, str(rows[0].get("fingerprint")), all_there)
        return known

    def add(self, rows: Sequence[Row]) -> None:
        """The rows of a photo, at once. Raises UserError where they can't be written."""
        try:
            lines = b"".join(map(_line, rows))
            if self.file.write(lines) < len(lines):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise not_written(self.path, error) from None

    def put_in_order(self, jobs: Sequence[Job]) -> None:
        """Leave the last rows of each job: those of other jobs first, then those of `jobs`."""
        places = {job.key: place for place, job in enumerate(jobs)}
        last = {photo.key: (photo.start, photo.end) for photo in self.photos()}
        try:
            with written_whole(self.path) as fresh, fresh.open("wb") as file, self.path.open("rb") as rows:
                for key in sorted(last, key=lambda key: places.get(key, -1)):
                    start, end = last[key]
                    rows.seek(start)
                    file.write(rows.read(end - start))
        except OSError as error:
            raise not_written(self.path, error) from None


def _line(row: Row) -> bytes:
    """A row in UTF-8; names of files that are not stay readable."""
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


def not_written(path: Path, error: OSError) -> UserError:
    return UserError(
        f"Nothing can be written to {path} ({error.strerror or error}); once that is mended, start the same command "
        "again to go on."
    )


def harmless(text: str) -> str:
    """A text as the name of a file, without an ending, on every system."""
    name = unicodedata.normalize("NFC", text)
    name = "".join(c if c.isprintable() and c not in IN_NO_NAME else "-" for c in name)
    return name.encode()[:NAME_BYTES].decode(errors="ignore").strip(" -~") or "photo"


def names_of(jobs: Sequence[Job], known: Mapping[str, Known]) -> dict[str, str]:
    """Key -> the name of a job's pictures, without what is added to it. A job keeps the name that it had; of several
    with the same one, the later ones get a number. Names that differ in case only count as the same."""
    taken = {one.name.casefold() for one in known.values()}
    names = {}
    for job in jobs:
        if job.key in known:
            names[job.key] = known[job.key].name
            continue
        plain = name = harmless(Path(job.photo).stem)
        number = 1
        while name.casefold() in taken:
            number += 1
            name = f"{plain}-{number}"
        taken.add(name.casefold())
        names[job.key] = name
    return names
