"""What comes from programs and goes to them: checked values and uploads; pictures, latents, and runs step by step."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from pipeline import Edit, Face, Latent, checks
from pipeline.edits import Step
from pipeline.errors import UserError
from pipeline.parameters import checked
from webapp import limits, uploads
from webapp.files import new_file
from webapp.jobs import LONGEST_RUN, LongJob
from webapp.latent_files import read_latent
from webapp.limits import MAX_BYTES
from webapp.model_handle import ModelHandle

PREVIEW, PREVIEW_EVERY = 256, 0.5  # pixels, and seconds from one to the next

Fields = dict[str, Any]
"""What is no file, as JSON."""
Picture = tuple[gr.FileData, Fields]
Result = tuple[gr.FileData, gr.FileData, Fields]


class Endpoints:
    """What endpoints of one studio share."""

    def __init__(self, studio: ModelHandle) -> None:
        self.studio = studio

    def _face(self, photo: Any, which: Any, aligned: Any) -> tuple[Face | Image.Image, int]:
        """The face that is meant, and how many there are."""
        file = uploaded(photo)
        if flag("aligned", aligned):
            return self.studio.open(file), 1
        faces = self.studio.align(file)
        return chosen(faces, which), len(faces)

    def _source(self, photo: Any, latent: Any) -> Latent:
        """The latent to edit: the one given, or that of the largest face in the photo given."""
        if (photo is None) == (latent is None):
            raise UserError("Please give either a photo or a latent file, not both.")
        if photo is None:
            return read_latent(uploaded(latent).getvalue(), self.studio.family.generator)
        return self.studio.invert(self.studio.align(uploaded(photo))[0])

    def _drawn(self, latent: Latent, fields: Fields) -> Result:
        return png(self.studio.image(latent)), safetensors(latent), fields


# What comes in


def uploaded(file: Any) -> BytesIO:
    """What is in an upload. Raises UserError for whatever else a caller sends."""
    path = file.get("path") if isinstance(file, dict) and file.get("meta") == uploads.AS_FILE else None
    if not isinstance(path, str):
        raise UserError("Please send a file; with gradio_client, as handle_file(path).")
    too_large = f"This file is too large; please send one of at most {MAX_BYTES // 2**20} MB."
    return BytesIO(uploads.read(path, MAX_BYTES, too_large))


def chosen(faces: list[Face], which: Any) -> Face:
    return faces[number("which", which, 0, len(faces) - 1)]


def flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise UserError(f"`{name}` is true or false.")
    return value


def number(name: str, value: Any, low: float, high: float) -> float:
    """A number in its range; a whole one where the name says so, as in `pipeline.checks`."""
    try:
        return checks.number(name, _whole(name, value), limits=(low, high))
    except TypeError as error:
        raise UserError(str(error)) from None


def parameters(method: str, **given: Any) -> Fields:
    """The parameters that a program gave for a method; those that are None are left to the family."""
    try:
        values = checked(method, {name: _whole(name, value) for name, value in given.items()})
    except TypeError as error:
        raise UserError(str(error)) from None
    limits.check(values)
    return values


def _whole(name: str, value: Any) -> Any:
    """JSON knows no whole numbers: 3.0 is one."""
    return int(value) if name in checks.WHOLE and isinstance(value, float) and value.is_integer() else value


# What goes out


def streamed(run: LongJob) -> Iterator[Result]:
    """The place in line, then the steps of a run, the last one as its result; when its time is over while others
    wait, what it has."""
    with closing(run):
        for place in run.places():
            yield None, None, {"waiting": place}
        shown = time.monotonic()
        for step in run:
            now = time.monotonic()
            if run.is_over_time:
                break
            if step.index < step.total and now - shown > PREVIEW_EVERY:
                shown = now
                yield _preview(step.image), None, _progress(step)
    minutes = f"{LONGEST_RUN / 60:g} minutes"
    note = f"Others wait, so this run ended after {minutes} of computing, at step {step.index} of {step.total}."
    notes = [] if step.index == step.total else [note]
    picture, latent, fields = finished(step.edit)
    yield picture, latent, _progress(step) | fields | {"notes": fields["notes"] + notes}


def _progress(step: Step) -> Fields:
    return {"step": step.index, "steps": step.total, "losses": step.losses}


def finished(edit: Edit) -> Result:
    fields = {"recipe": edit.recipe, "notes": list(edit.notes)}
    if edit.channels is not None:
        fields["channels"] = edit.channels
    return png(edit.image), safetensors(edit.latent), fields


def png(image: Image.Image) -> gr.FileData:
    path = new_file("picture.png")
    image.save(path, compress_level=1)
    return _file(path, "image/png")


def _preview(image: Image.Image) -> gr.FileData:
    path = new_file("preview.jpg")
    image.save(path, quality=90)
    return _file(path, "image/jpeg")


def safetensors(latent: Latent) -> gr.FileData:
    path = new_file("latent.safetensors")
    latent.save(path)
    return _file(path, "application/octet-stream")


def _file(path: Path, mime_type: str) -> gr.FileData:
    return gr.FileData(path=str(path), orig_name=path.name, mime_type=mime_type)
