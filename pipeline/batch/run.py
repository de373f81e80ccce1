"""Many photos edited with one call: processes find their faces and write their pictures, the model edits between."""

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from pipeline.batch import places
from pipeline.batch.edits import Editor
from pipeline.batch.inputs import Job, is_file, jobs_of
from pipeline.batch.on_ray import connected, finished_on_ray
from pipeline.batch.results import RESULTS, Row, not_written, results_of
from pipeline.batch.rows import Drawer, Pictures, at_once, available_cores, editing_threads
from pipeline.batch.stages import FORMATS, Search, Task, faces_for
from pipeline.batch.workers import Workers
from pipeline.checks import number, of_type, one_of
from pipeline.errors import UserError
from pipeline.models.downloads import fetch
from pipeline.photo_methods import ENCODER_SIZE
from pipeline.styleclip import StyleCLIP

FACES = ("largest", "all")


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


def edit_photos(
    studio: StyleCLIP,
    photos: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    words: str | None = None,
    target: str | None = None,
    neutral: str | None = None,
    mapper: str | Path | None = None,
    style: str | Path | None = None,
    recipe: str | Path | None = None,
    prompt: str | None = None,
    paint: str | None = None,
    steps: int | None = None,
    faces: str = "largest",
    paste: bool = False,
    tune: bool = False,
    format: str = "png",
    size: int | None = None,
    workers: int | None = None,
    ray: str | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Summary:
    """Edit the faces of many photos, and write the pictures and a row for each face into the folder `out`.

    `photos` are folders, patterns, lists and files, see `inputs.jobs_of`. What to do is one of `words` (as
    `StyleCLIP.change` does, each wish held to its regions), `target` with `neutral` (a direction), `mapper`, `style`,
    `recipe` (a file that the page has saved), `prompt` with `steps`, and `paint` with `neutral` and `steps`; rows of a
    list may have texts of their own.

    `faces`: the "largest" of a photo, or "all". A picture shows the aligned face, or with `paste` the whole photo with
    the edits in it; as `format` "png", "jpg" or "webp", at most `size` pixels a side. With `tune` the generator is
    tuned to each face. `workers` processes find faces and write pictures: one a core unless told otherwise. `progress`
    is called when the work begins, and when a photo is finished.

    With `ray`, the address of a cluster or "local", Ray does the work, and `workers` are its actors that hold a model:
    one a GPU, or one for two CPUs where there is no GPU.

    Photos that can't be edited become rows with a sentence. A later call with the same folder leaves out what is done
    and unchanged, and tries the others again. Raises UserError for an edit that no photo can get, where there are no
    photos, and where nothing can be written.
    """
    one_of("faces", faces, FACES)
    one_of("format", format, tuple(FORMATS))
    size, workers = number("size", size, None), number("workers", workers, None)
    out = places.local(of_type("out", out, (str, Path), "the path of a folder"))
    stop = threading.Event()
    editor = Editor(studio, tune, stop.is_set)
    recipe = None if recipe is None else os.path.abspath(recipe)  # noqa: PTH100
    mapper, style = (os.path.abspath(wanted) if is_file(wanted) else wanted for wanted in (mapper, style))  # noqa: PTH100
    given = {"words": words, "target": target, "neutral": neutral, "mapper": mapper, "recipe": recipe}
    given |= {"style": style, "prompt": prompt, "paint": paint, "steps": steps}
    jobs, common = jobs_of([photos] if isinstance(photos, (str, Path)) else photos, out), None
    pictures = Pictures(places.absolute(out), faces == "all", paste, format, size)
    settings = [studio.family.name, studio.family.digests, studio.family.dtype, faces, paste, tune, format, size]
    with ExitStack() as stack:
        editing = stack.enter_context(editing_threads(studio, max(1, available_cores() // 2)))
        if any(value is not None for value in given.values()) or not all(job.texts for job in jobs):
            common = editor.checked(given)
            editing.submit(editor.check, common).result()
        if ray is not None:  # before anything is written
            stack.enter_context(connected(of_type("ray", ray, str, "the address of a cluster")))
        results = stack.enter_context(results_of(out))
        known = results.known()
        names = results.give_names(jobs, known)
        tasks = [_task(job, names[job.key], common, settings, editor) for job in jobs]
        todo = [task for task in tasks if known.get(task.job.key) != (task.name, task.fingerprint, True)]
        if ray is None:
            finished = _finished(todo, editor, editing, pictures, workers or available_cores(), stop)
        else:
            finished = finished_on_ray(todo, studio, tune, pictures, search_of(studio, faces == "all"), workers)
        failed = 0
        with closing(finished):
            if progress and todo:
                progress(Progress([], len(todo)))
            for rows in finished:
                results.add(rows)
                failed += any(row["error"] for row in rows)
                if progress:
                    progress(Progress(rows, len(todo)))
        results.put_in_order(jobs)
    place = places.joined(out, RESULTS)
    return Summary(len(todo) - failed, failed, len(jobs) - len(todo), place if places.is_address(out) else Path(place))


def _task(job: Job, name: str, common: dict[str, Any] | None, settings: Sequence[Any], editor: Editor) -> Task:
    """What is to be done for a job."""
    asked, error = None, job.error
    try:
        asked = asked if error else editor.checked(job.texts) if job.texts else common
    except UserError as wrong:
        error = str(wrong)
    mark = [_file_stamp(job.photo), *settings, editor.stamp(job.texts or common or {})]
    fingerprint = hashlib.sha256(json.dumps(mark, default=str).encode()).hexdigest()[:16]
    return Task(job, name, fingerprint, asked, error)


def _finished(
    todo: Sequence[Task],
    editor: Editor,
    editing: ThreadPoolExecutor,
    pictures: Pictures,
    workers: int,
    stop: threading.Event,
) -> Iterator[list[Row]]:
    """The rows of photos, in the order in which they are finished. Closing it stops the work."""
    search = search_of(editor.studio, pictures.every)
    coming, done, lock = iter(todo), SimpleQueue(), threading.Lock()
    with Workers(min(workers, len(todo))) as pool:
        draw = Drawer(editor, editing, pool, pictures)

        def work() -> None:
            while not stop.is_set():
                with lock:
                    task = next(coming, None)
                if task is None:
                    return
                try:
                    done.put(draw(task, faces_for(task, search, pool)))
                except BaseException as error:  # raised where it is waited for
                    done.put(error)
                    return

        threads = [
            threading.Thread(target=work)
            for _ in range(2 * (workers + at_once(editor.studio.family.device.type == "cuda")))
        ]
        try:
            for thread in threads:
                thread.start()
            for _ in todo:
                rows = done.get()
                if isinstance(rows, OSError):
                    raise not_written(pictures.out, rows)
                if isinstance(rows, BaseException):
                    raise rows
                yield rows
        finally:
            stop.set()
            pool.end()
            for thread in threads:
                thread.join()


def search_of(studio: StyleCLIP, every: bool) -> Search:
    """What processes need to find faces as `StyleCLIP.align` does: in each photo the largest, or `every` one."""
    size = max(ENCODER_SIZE, studio.family.generator.size)
    landmarks = None if studio.family.faces is None else fetch(studio.family.row.files["landmarks"])
    return Search(size, studio.family.rows(size), landmarks, every)


# What stores say of a file, each under names of its own, that is different once the file has changed.
CHANGING = (
    *("size", "ETag", "etag", "Content-MD5", "md5Hash"),
    *("Last-Modified", "LastModified", "last_modified", "mtime", "modified", "updated", "created"),
)


def _file_stamp(photo: str) -> Any:
    """Of a file as it is: another one once it has changed."""
    try:
        if places.is_address(photo):
            files, path = places.file_system(photo)
            about = files.info(path)
            return [str(about[name]) for name in CHANGING if name in about]
        about = os.stat(photo)  # noqa: PTH116
        return [about.st_size, about.st_mtime_ns]
    except Exception:  # a broken link, no path at all, no such file in a store
        return None
