"""Many photos edited with one call: processes find their faces and write their pictures, the model edits between."""

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import torch

from pipeline.batch.edits import Edited, Editor
from pipeline.batch.inputs import Job, jobs_of
from pipeline.batch.results import Known, Results, Row, names_of, not_written
from pipeline.batch.stages import FORMATS, Search, find_faces, unexpected, write_pasted, write_picture
from pipeline.batch.workers import Workers
from pipeline.checks import number, of_type, one_of
from pipeline.errors import UserError
from pipeline.faces.detection import Face
from pipeline.models.downloads import fetch
from pipeline.photo_methods import ENCODER_SIZE
from pipeline.styleclip import BATCH, StyleCLIP

FACES = ("largest", "all")
ON_CPU = 2  # faces that a CPU edits at once: while one is drawn, another is inverted or compared
Todo = tuple[Job, str, str]
"""A job, the name of its pictures, and its fingerprint."""


@dataclass(frozen=True)
class Summary:
    """How many photos a run has edited, how many of them not, and how many were done before; and the file of rows."""

    edited: int
    failed: int
    done_before: int
    results: Path


@dataclass(frozen=True)
class Progress:
    """The rows of a photo that is finished, of the `total` that there were to do; none when the work begins."""

    rows: list[Row]
    total: int


@dataclass(frozen=True)
class Run:
    """What all photos of a run have in common."""

    editor: Editor
    workers: Workers
    editing: ThreadPoolExecutor
    search: Search
    out: Path
    common: Mapping[str, Any]
    paste: bool
    format: str
    size: int | None

    def rows(self, job: Job, name: str, fingerprint: str) -> list[Row]:
        """Find the faces of a photo, edit them, and write their pictures: the photo's rows. Raises OSError where a
        picture can't be written."""
        row = {"input": job.photo, "texts": job.texts, "edit": None, "face": None, "faces": None, "output": None}
        row |= {"identity_before": None, "identity_after": None, "seconds": None, "notes": [], "error": None}
        row["fingerprint"] = fingerprint
        try:
            if job.error:
                raise UserError(job.error)
            asked = self.editor.checked(job.texts) if job.texts else self.common
            row["edit"] = asked
            found = self.workers(find_faces, job.photo, self.search)
        except (UserError, TypeError) as error:
            return [row | {"error": str(error)}]
        count = len(found.faces)
        rows, edited = [], []
        for place, face in enumerate(found.faces, 1):
            row |= {"face": place, "faces": count}
            edit = self._edited(face, asked)
            if isinstance(edit, Edited):
                edited.append((place, face, edit))
                ids = {"identity_before": rounded(edit.before), "identity_after": rounded(edit.after)}
                rows.append(row | ids | {"seconds": found.seconds / count + edit.seconds, "notes": edit.notes})
            else:
                rows.append(row | {"error": str(edit)})
        if edited:
            self._write(job, name, edited, rows)
        return rows

    def _edited(self, face: Face, asked: Mapping[str, Any]) -> Edited | Exception:
        try:
            return self.editing.submit(self.editor, face, asked).result()
        except (UserError, TypeError) as error:
            return error
        except Exception as error:  # too little memory on a GPU is one
            return unexpected(error)

    def _write(self, job: Job, name: str, edited: Sequence[tuple[int, Face, Edited]], rows: Sequence[Row]) -> None:
        """Write the pictures of edited faces, or the photo with all of them, and say in their rows where."""
        for group in [edited] if self.paste else [[one] for one in edited]:
            part = f".face{group[0][0]}" if self.search.every and not self.paste else ""
            path = self.out / f"{name}{part}.{self.format}"
            try:
                if self.paste:
                    pictures = [(face, edit.image) for _, face, edit in group]
                    seconds = self.workers(write_pasted, job.photo, pictures, path, self.size)
                else:
                    seconds = self.workers(write_picture, group[0][2].image, path, self.size)
                told = {"output": path.name}
            except UserError as error:
                seconds, told = 0.0, {"error": str(error)}
            for place, *_ in group:
                row = rows[place - 1]
                row |= told | {"seconds": round(row["seconds"] + seconds / len(group), 2)}


def edit_photos(
    studio: StyleCLIP,
    photos: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    words: str | None = None,
    target: str | None = None,
    neutral: str | None = None,
    mapper: str | Path | None = None,
    recipe: str | Path | None = None,
    prompt: str | None = None,
    steps: int | None = None,
    faces: str = "largest",
    paste: bool = False,
    tune: bool = False,
    format: str = "png",
    size: int | None = None,
    workers: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Summary:
    """Edit the faces of many photos, and write the pictures and a row for each face into the folder `out`.

    `photos` are folders, patterns, lists and files, see `inputs.jobs_of`. What to do is one of `words` (as
    `StyleCLIP.change` does, each wish held to its regions), `target` with `neutral` (a direction), `mapper`, `recipe`
    (a file that the page has saved) and `prompt` with `steps`; rows of a list may have texts of their own.

    `faces`: the "largest" of a photo, or "all". A picture shows the aligned face, or with `paste` the whole photo with
    the edits in it; as `format` "png", "jpg" or "webp", at most `size` pixels a side. With `tune` the generator is
    tuned to each face. `workers` processes find faces and write pictures: one a core unless told otherwise. `progress`
    is called when the work begins, and when a photo is finished.

    Photos that can't be edited become rows with a sentence. A later call with the same folder leaves out what is done
    and unchanged, and tries the others again. Raises UserError for an edit that no photo can get, where there are no
    photos, and where nothing can be written.
    """
    one_of("faces", faces, FACES)
    one_of("format", format, tuple(FORMATS))
    size, workers = number("size", size, None), number("workers", workers, available_cores())
    stop, out = threading.Event(), Path(of_type("out", out, (str, Path), "the path of a folder")).expanduser()
    editor = Editor(studio, tune, stop.is_set)
    given = {"words": words, "target": target, "neutral": neutral, "mapper": mapper, "recipe": recipe}
    given |= {"prompt": prompt, "steps": steps}
    jobs, common = jobs_of([photos] if isinstance(photos, (str, Path)) else photos, out), {}
    settings = [studio.family.name, studio.family.digests, studio.family.dtype, faces, paste, tune, format, size]
    at_once = BATCH if studio.family.device.type == "cuda" else ON_CPU
    with _editing_threads(studio, at_once) as editing:
        if any(value is not None for value in given.values()) or not all(job.texts for job in jobs):
            common = editor.checked(given)
            editing.submit(editor.check, common).result()
        with Results(out) as results:
            todo = _todo(
                jobs, results.known(), lambda job: _fingerprint(job, settings, editor.stamp(job.texts or common))
            )
            failed = 0
            with Workers(min(workers, len(todo))) as pool:
                run = Run(editor, pool, editing, search_of(studio, faces == "all"), out, common, paste, format, size)
                with closing(_finished(run, todo, 2 * (workers + at_once), stop)) as finished:
                    if progress and todo:
                        progress(Progress([], len(todo)))
                    for rows in finished:
                        results.add(rows)
                        failed += any(row["error"] for row in rows)
                        if progress:
                            progress(Progress(rows, len(todo)))
            results.put_in_order(jobs)
    return Summary(len(todo) - failed, failed, len(jobs) - len(todo), results.path)


def _todo(jobs: Sequence[Job], known: Mapping[str, Known], fingerprint: Callable[[Job], str]) -> list[Todo]:
    """The jobs that are not done, or whose files or settings have changed since."""
    names = names_of(jobs, known)
    marked = [(job, names[job.key], fingerprint(job)) for job in jobs]
    return [(job, name, mark) for job, name, mark in marked if known.get(job.key) != (name, mark, True)]


def _finished(run: Run, todo: Sequence[Todo], at_once: int, stop: threading.Event) -> Iterator[list[Row]]:
    """The rows of photos, in the order in which they are finished, with `at_once` of them under way. Closing it stops
    the work."""
    coming, done, lock = iter(todo), SimpleQueue(), threading.Lock()

    def work() -> None:
        while not stop.is_set():
            with lock:
                job = next(coming, None)
            if job is None:
                return
            try:
                done.put(run.rows(*job))
            except BaseException as error:  # raised where it is waited for
                done.put(error)
                return

    threads = [threading.Thread(target=work) for _ in range(at_once)]
    try:
        for thread in threads:
            thread.start()
        for _ in todo:
            rows = done.get()
            if isinstance(rows, OSError):
                raise not_written(run.out, rows)
            if isinstance(rows, BaseException):
                raise rows
            yield rows
    finally:
        stop.set()
        run.workers.end()
        for thread in threads:
            thread.join()


@contextmanager
def _editing_threads(studio: StyleCLIP, count: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that edit. On a CPU each takes half of it: operations on all cores would wait for those on which workers
    find faces, and take many times as long."""
    before = torch.get_num_threads()
    cores = max(1, available_cores() // 2) if studio.family.device.type == "cpu" else before
    try:
        with ThreadPoolExecutor(count, "editing", torch.set_num_threads, (cores,)) as editing:
            yield editing
    finally:
        torch.set_num_threads(before)


def search_of(studio: StyleCLIP, every: bool) -> Search:
    """What processes need to find faces as `StyleCLIP.align` does: in each photo the largest, or `every` one."""
    size = max(ENCODER_SIZE, studio.family.generator.size)
    landmarks = None if studio.family.faces is None else fetch(studio.family.row.files["landmarks"])
    return Search(size, studio.family.rows(size), landmarks, every)


def _fingerprint(job: Job, settings: Sequence[Any], edit: str) -> str:
    """Of a file as it is and all that is done to it: another one once anything has changed."""
    try:
        about = os.stat(job.photo)  # noqa: PTH116
        file = [about.st_size, about.st_mtime_ns]
    except (OSError, ValueError):  # a broken link; no path at all
        file = None
    return hashlib.sha256(json.dumps([file, *settings, edit]).encode()).hexdigest()[:16]


def available_cores() -> int:
    """Of the machine, those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def rounded(likeness: float | None) -> float | None:
    return None if likeness is None else round(likeness, 4)
