"""A photo becomes its rows: its faces are found, edited, and written. The plain run and the one on Ray do it by these
functions, and differ in where each is called."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from pipeline.batch import places
from pipeline.batch.edits import Edited, Editor
from pipeline.batch.results import Row
from pipeline.batch.stages import Found, Task, unexpected, write_pasted, write_picture
from pipeline.errors import UserError
from pipeline.faces.detection import Face
from pipeline.styleclip import BATCH, StyleCLIP

ON_CPU = 2  # faces that a CPU edits at once: while one is drawn, another is inverted or compared


@dataclass(frozen=True)
class Pictures:
    """What pictures a run writes: into the folder or address `out`, of `every` face or of the largest, the photo with
    the edit in it (`paste`) or the face; their format, and their size in pixels at most."""

    out: str
    every: bool
    paste: bool
    format: str
    size: int | None


@dataclass(frozen=True)
class Drawer:
    """Edits the faces of photos and writes the pictures. Edits are computed by the threads of `editing`; `call` does
    what needs no model, such as writing: in another process, or in this one."""

    editor: Editor
    editing: Executor
    call: Callable[..., Any]
    pictures: Pictures

    def __call__(self, task: Task, found: Found | Exception) -> list[Row]:
        """The rows of a photo. Raises OSError where a picture can't be written."""
        row = task.row()
        if isinstance(found, Exception):
            return [row | {"error": str(found)}]
        whole = self.pictures.paste and _only_paints(task)  # the photo is painted, once
        faces = found.faces[:1] if whole else found.faces
        count, rows, edited = len(faces), [], []
        for place, face in enumerate(faces, 1):
            row |= {"face": place, "faces": count}
            edit = self._edited(face, task)
            if isinstance(edit, Edited):
                edited.append((place, face, edit))
                ids = {"identity_before": _rounded(edit.before), "identity_after": _rounded(edit.after)}
                rows.append(row | ids | {"seconds": found.seconds / count + edit.seconds, "notes": edit.notes})
            else:
                rows.append(row | {"error": str(edit)})
        if edited:
            self._write(task, edited, rows)
        return rows

    def _edited(self, face: Face, task: Task) -> Edited | Exception:
        try:
            return self.editing.submit(self.editor, face, task.asked, self.pictures.paste).result()
        except (UserError, TypeError) as error:
            return error
        except Exception as error:  # too little memory on a GPU is one
            return unexpected(error)

    def _write(self, task: Task, edited: Sequence[tuple[int, Face, Edited]], rows: Sequence[Row]) -> None:
        """Write the pictures of edited faces, or the photo with all of them, and say in their rows where."""
        wanted = self.pictures
        for group in [edited] if wanted.paste else [[one] for one in edited]:
            part = f".face{group[0][0]}" if wanted.every and not wanted.paste else ""
            name = f"{task.name}{part}.{wanted.format}"
            path = places.joined(wanted.out, name)
            try:
                if wanted.paste:
                    images = [(face, None if _only_paints(task) else edit.image) for _, face, edit in group]
                    paint = group[0][2].paint  # of a recipe: that of the largest face
                    seconds = self.call(write_pasted, task.job.photo, images, path, wanted.size, paint)
                else:
                    seconds = self.call(write_picture, group[0][2].image, path, wanted.size)
                told = {"output": name}
            except UserError as error:
                seconds, told = 0.0, {"error": str(error)}
            for place, *_ in group:
                row = rows[place - 1]
                row |= told | {"seconds": round(row["seconds"] + seconds / len(group), 2)}


def _only_paints(task: Task) -> bool:
    """Whether the edit leaves the face as it is, but for the paint."""
    return "paint" in task.asked


def _rounded(likeness: float | None) -> float | None:
    return None if likeness is None else round(likeness, 4)


def at_once(gpu: bool) -> int:
    """How many faces are edited at a time."""
    return BATCH if gpu else ON_CPU


@contextmanager
def editing_threads(studio: StyleCLIP, cores: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that edit. On a CPU each takes so many cores: operations on all of them would wait for those on which
    faces are found, and take many times as long."""
    before, gpu = torch.get_num_threads(), studio.family.device.type == "cuda"
    try:
        with ThreadPoolExecutor(at_once(gpu), "editing", torch.set_num_threads, (before if gpu else cores,)) as editing:
            yield editing
    finally:
        torch.set_num_threads(before)


def available_cores() -> int:
    """Of the machine, those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
