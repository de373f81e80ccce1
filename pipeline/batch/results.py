"""The folder of results: `results.jsonl`, a row a face, and which names pictures have."""

import errno
import json
import os
import tempfile
import time
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from pipeline.batch import places
from pipeline.batch.inputs import Job
from pipeline.batch.stages import FORMATS
from pipeline.errors import UserError
from pipeline.files import written_whole

RESULTS = "results.jsonl"
LOCK = ".results.lock"
NAMES = ".results.names"  # which a run that was stopped has given to pictures; of some there is no row yet
ROW_BEGINS = b'{"input": '
NAME_BYTES = 120  # of a picture's name, without what is added to it; file systems take 255
SEND_EVERY = 20  # seconds between two times that rows are sent to an address
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
        self.out, self.folder, self.path, self.names = folder, folder, folder / RESULTS, folder / NAMES
        self.files: set[str] = set()  # the names of those that were in the folder

    def __enter__(self) -> "Results":
        """Raises UserError where the folder can't be written to, has other files, or is in use."""
        try:
            self._look()
            if self.path.is_symlink() or not (self._has_rows() if self.path.exists() else self.files <= {LOCK, NAMES}):
                raise UserError(f"The folder {self.out} has other files; please name a new one for the results.")
            self.lock = FileLock(self.folder / LOCK, timeout=0)
            self.lock.acquire()
            try:
                self._drop_half_a_row()
                self.file = self.path.open("ab", buffering=0)
            except OSError:
                self.lock.release()
                raise
        except Timeout:
            raise UserError(f"Another run writes into {self.folder}; please wait until it has ended.") from None
        except (OSError, ValueError) as error:  # the second for a path that none can be
            raise not_written(self.out, error) from None
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.lock.release()

    def _look(self) -> None:
        """Note which files are there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.files = {path.name for path in self.folder.iterdir()}

    def _has_rows(self) -> bool:
        """Whether the file may be of an earlier run, which may have been stopped within its first row."""
        with self.path.open("rb") as file:
            begins = file.read(len(ROW_BEGINS))
        return ROW_BEGINS.startswith(begins)

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
                all_there = len(outputs) == rows[0].get("faces") and self.files.issuperset(outputs)
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

    def give_names(self, jobs: Sequence[Job], known: Mapping[str, Known]) -> dict[str, str]:
        """Key -> the name of a job's pictures, see `names_of`: none that a file of somebody else has."""
        given = _names_in(self.names)
        rows = {str(row.get("output")) for photo in self.photos() for row in photo.rows}
        ours = {name.split(".")[0].casefold() for name in rows} | {name.casefold() for name in given.values()}
        others = {name.split(".")[0].casefold() for name in self.files} - ours
        names = names_of(jobs, given | {key: one.name for key, one in known.items()}, others)
        try:
            places.write(str(self.names), json.dumps(given | names).encode("utf-8", "backslashreplace"))
        except OSError as error:
            raise not_written(self.names, error) from None
        return names

    def put_in_order(self, jobs: Sequence[Job]) -> None:
        """Leave the last rows of each job: those of other jobs first, then those of `jobs`. Pictures that only the rows
        before them name are removed."""
        order = {job.key: place for place, job in enumerate(jobs)}
        last, named = {}, {}
        for photo in self.photos():
            last[photo.key] = photo.start, photo.end
            named[photo.key] = named.get(photo.key, []) + [[str(row.get("output")) for row in photo.rows]]
        kept = {output for outputs in named.values() for output in outputs[-1]}
        try:
            with written_whole(self.path) as fresh, fresh.open("wb") as file, self.path.open("rb") as rows:
                for key in sorted(last, key=lambda key: order.get(key, -1)):
                    start, end = last[key]
                    rows.seek(start)
                    file.write(rows.read(end - start))
            for output in {output for all_of in named.values() for outputs in all_of for output in outputs} - kept:
                if _is_picture(output):
                    self._remove(output)
            self.names.unlink(missing_ok=True)
        except OSError as error:
            raise not_written(self.path, error) from None

    def _remove(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)


class ResultsAtAddress(Results):
    """The same where pictures are written to an address. The rows are written on this machine, and sent there every
    `SEND_EVERY` seconds and at the end; nothing keeps a second run away."""

    def __init__(self, address: str) -> None:
        self.place = tempfile.TemporaryDirectory(prefix="studio-batch-")
        super().__init__(Path(self.place.name))
        self.out, self.sent = address, time.monotonic()

    def __exit__(self, *about: object) -> None:
        super().__exit__(*about)
        try:
            self._send(RESULTS, NAMES)
        finally:
            self.place.cleanup()

    def add(self, rows: Sequence[Row]) -> None:
        super().add(rows)
        if time.monotonic() - self.sent > SEND_EVERY:
            self._send(RESULTS)
            self.sent = time.monotonic()

    def give_names(self, jobs: Sequence[Job], known: Mapping[str, Known]) -> dict[str, str]:
        names = super().give_names(jobs, known)
        self._send(NAMES)
        return names

    def _look(self) -> None:
        self.files = places.names(self.out)
        for name in self.files & {RESULTS, NAMES}:
            (self.folder / name).write_bytes(places.read(places.joined(self.out, name)))

    def _send(self, *names: str) -> None:
        try:
            for name in names:
                if (self.folder / name).exists():
                    places.write(places.joined(self.out, name), (self.folder / name).read_bytes())
                elif name in places.names(self.out):
                    self._remove(name)
        except OSError as error:
            raise not_written(self.out, error) from None

    def _remove(self, name: str) -> None:
        places.remove(places.joined(self.out, name))


def results_of(out: str) -> Results:
    """The results in a folder, or at an address."""
    return ResultsAtAddress(out) if places.is_address(out) else Results(Path(out))


def _is_picture(output: str) -> bool:
    """Whether what a row names as its picture is the name of one, and nothing that leads elsewhere."""
    *parts, ending = output.split(".")
    return ending in FORMATS and all(parts) and bool(parts) and not IN_NO_NAME.intersection("".join(parts))


def _names_in(path: Path) -> dict[str, str]:
    """Key -> name, of a run that was stopped."""
    try:
        names = json.loads(path.read_bytes())
        return {key: name for key, name in names.items() if harmless(name) == name}
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):  # there is none; somebody has changed it
        return {}


def _line(row: Row) -> bytes:
    """A row in UTF-8; names of files that are not stay readable."""
    return json.dumps(row, ensure_ascii=False, default=str).encode("utf-8", "backslashreplace") + b"\n"


def not_written(path: str | Path, error: OSError | ValueError) -> UserError:
    why = getattr(error, "strerror", None) or error
    return UserError(
        f"Nothing can be written to {path} ({why}); once that is mended, start the same command again to go on."
    )


def harmless(text: str) -> str:
    """A text as the name of a file, without an ending, on every system."""
    name = unicodedata.normalize("NFC", text)
    name = "".join(c if c.isprintable() and c not in IN_NO_NAME else "-" for c in name)
    return name.encode()[:NAME_BYTES].decode(errors="ignore").strip(" -~") or "photo"


def names_of(jobs: Sequence[Job], given: Mapping[str, str], others: Collection[str] = ()) -> dict[str, str]:
    """Key -> the name of a job's pictures, without what is added to it. A job keeps the name that it was `given`; of
    several with the same one, the later ones get a number, and so do those with one of `others`. Names that differ in
    case only count as the same; `others` are in small letters."""
    taken = {*others, *(name.casefold() for name in given.values())}
    names = {}
    for job in jobs:
        if job.key in given:
            names[job.key] = given[job.key]
            continue
        plain = name = harmless(Path(job.photo).stem)
        number = 1
        while name.casefold() in taken:
            number += 1
            name = f"{plain}-{number}"
        taken.add(name.casefold())
        names[job.key] = name
    return names
