"""The studio for programs: endpoints that keep nothing of their caller, over HTTP and as MCP tools; see docs/api.md.

Files come as uploads and go as downloads. Gradio does not look at what a caller sends in place of a number, a text or
a file: whatever JSON can say arrives here, so everything is checked before it is used.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import gradio as gr
from gradio.context import Context
from gradio.utils import get_upload_folder, is_in_or_equal
from PIL import Image

from pipeline import Edit, Face, Latent
from pipeline.downloads import fetch
from pipeline.edits import Step
from pipeline.errors import UserError
from pipeline.faces import open_photo
from webapp import addresses
from webapp.brought import read_latent
from webapp.files import new_file
from webapp.guard import guard
from webapp.limits import LONGEST_RUN, MOST_STEPS
from webapp.panels.photo import MAX_BYTES, TRUNCATION
from webapp.stage import Lent
from webapp.turns import Run

PREVIEW, PREVIEW_EVERY = 256, 0.5  # pixels, and seconds from one to the next

AS_FILE = {"_type": "gradio.FileData"}  # how a caller says that something is a file

Fields = dict[str, Any]
"""What is no file, as JSON."""
Picture = tuple[gr.FileData, Fields]
Result = tuple[gr.FileData, gr.FileData, Fields]


class Programs:
    """The endpoints of one studio. Their docstrings and type hints are what programs and MCP clients read of them."""

    def __init__(self, studio: Lent) -> None:
        self.studio = studio

    def align(self, photo: gr.FileData, which: int = 0) -> Picture:
        """Find the faces in a photo and crop one of them, upright. Gives the crop (PNG), and `faces`, how many there
        are.

        Args:
            photo: A picture file (JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF), at most 20 MB and 80 megapixels.
            which: Which of the faces, 0 for the largest.
        """
        faces = self.studio.align(_uploaded(photo))
        return _png(_chosen(faces, which).image), {"faces": len(faces)}

    def invert(self, photo: gr.FileData, which: int = 0, aligned: bool = False) -> Result:
        """Turn a face into a latent code of the model. Gives the model's picture of it (PNG), the latent
        (safetensors), `faces`, how many the photo has, and `likeness`, the cosine of the identities of photo and
        picture.

        Args:
            photo: A photo with a face, or the crop that align gave.
            which: Which of the faces, 0 for the largest.
            aligned: True when the photo is a crop of align already.
        """
        face, count = self._face(photo, which, aligned)
        latent = self.studio.invert(face)
        return self._drawn(latent, {"faces": count, "likeness": self.studio.likeness(latent, face)})

    def refine(
        self,
        photo: gr.FileData,
        latent: gr.FileData = None,
        which: int = 0,
        aligned: bool = False,
        tune: bool = False,
        steps: int | None = None,
    ) -> Iterator[Result]:
        """Bring the picture of a latent closer to its photo. Streams as optimize does; the last answer has the
        `likeness` too.

        Args:
            photo: A photo with the face, or the crop that align gave.
            latent: The latent to begin with; that of invert if left out.
            which: Which of the faces, 0 for the largest.
            aligned: True when the photo is a crop of align already.
            tune: False to move the latent; True to tune the generator to this one face, which the latent file carries.
            steps: How many, 1 to 500; the usual number if left out.
        """
        given = {} if steps is None else {"steps": _whole("steps", steps, 1, MOST_STEPS)}
        face, _ = self._face(photo, which, aligned)
        start = self.studio.invert(face) if latent is None else self._source(None, latent)
        closer = self.studio.tune if _flag("tune", tune) else self.studio.refine
        for picture, code, fields in _streamed(closer(start, face, preview=PREVIEW, **given)):
            if code is not None:
                fields["likeness"] = self.studio.likeness(Latent.load(code.path), face)
            yield picture, code, fields

    def sample(self, seed: int, truncation: float = TRUNCATION) -> Result:
        """Make up a face that belongs to nobody. Gives its picture (PNG) and its latent (safetensors).

        Args:
            seed: Which one, 0 to 4294967295.
            truncation: How far from the average face, 0 to 1.
        """
        seed = _whole("seed", seed, 0, 2**32 - 1, needed=True)
        truncation = _number("truncation", truncation, 0, 1, needed=True)
        return self._drawn(self.studio.sample(seed, truncation), {"seed": seed})

    def optimize(
        self,
        prompt: str,
        photo: gr.FileData = None,
        latent: gr.FileData = None,
        steps: int | None = None,
        l2: float | None = None,
        identity: float | None = None,
        lr: float | None = None,
        space: Literal["w", "w+", "s"] | None = None,
        noise: float | None = None,
    ) -> Iterator[Result]:
        """Change a face until it fits the words (latent optimization). Streams previews (JPEG) with step and losses;
        the last answer is the picture (PNG), the latent (safetensors), and the recipe.

        Args:
            prompt: What the picture should show, for example "a person with purple hair".
            photo: A photo of the face; or give a latent.
            latent: The latent to start from; or give a photo.
            steps: How many, 1 to 500; the model's default if left out.
            l2: λ L2, how strongly the face stays where it is, 0 to 1; the model's default if left out.
            identity: λ ID, how strongly it stays the same person, 0 to 1; the model's default if left out.
            lr: The learning rate, 0 to 1; the model's default if left out.
            space: In which space the latent moves; the model's default if left out.
            noise: How far around the latent the words are asked for, in deviations of W, 0 to 3.
        """
        if space not in (None, "w", "w+", "s"):
            raise UserError("`space` is w, w+ or s.")
        run = self.studio.optimize(
            self._source(photo, latent),
            _words("prompt", prompt),
            _whole("steps", steps, 1, MOST_STEPS),
            _number("l2", l2, 0, 1),
            _number("identity", identity, 0, 1),
            _number("lr", lr, 0, 1),
            space,
            _number("noise", noise, 0, 3),
            PREVIEW,
        )
        yield from _streamed(run)

    def generate(self, prompt: str, steps: int | None = None, lr: float | None = None) -> Iterator[Result]:
        """Draw a face from the words alone, beginning with the average face. Streams as optimize does.

        Args:
            prompt: What the picture should show.
            steps: How many, 1 to 500; the model's default if left out.
            lr: The learning rate, 0 to 1; the model's default if left out.
        """
        steps, lr = _whole("steps", steps, 1, MOST_STEPS), _number("lr", lr, 0, 1)
        yield from _streamed(self.studio.generate(_words("prompt", prompt), steps, lr, PREVIEW))

    def map(
        self, mapper: str, photo: gr.FileData = None, latent: gr.FileData = None, strength: float | None = None
    ) -> Result:
        """Apply an edit that was learned beforehand (latent mapper). Gives the picture (PNG), the latent
        (safetensors), and the recipe.

        Args:
            mapper: A name from mappers.
            photo: A photo of the face; or give a latent.
            latent: The latent to edit; or give a photo.
            strength: How strongly, -10 to 10, 0.1 as it was trained by the paper; the model's default if left out.
        """
        known = self.studio.family.row.mappers
        if not isinstance(mapper, str) or mapper not in known:
            raise UserError("There is no mapper of this name; /mappers lists those of this model.")
        strength = _number("strength", strength, -10, 10)
        source = self._source(photo, latent)
        fetch(known[mapper][1])  # before the turn to compute, which others wait for
        return _finished(self.studio.map(source, mapper, strength))

    def direct(
        self,
        target: str,
        neutral: str | None = None,
        photo: gr.FileData = None,
        latent: gr.FileData = None,
        strength: float | None = None,
        threshold: float | None = None,
        channels: int | None = None,
    ) -> Result:
        """Move a face from a neutral to a target text (global direction). Gives the picture (PNG), the latent
        (safetensors), the recipe, and `channels`, how many were kept.

        Args:
            target: What the face should be, for example "face with blonde hair".
            neutral: What it is, for example "face"; the model's default if left out.
            photo: A photo of the face; or give a latent.
            latent: The latent to edit; or give a photo.
            strength: α, how far, -20 to 20; the model's default if left out.
            threshold: β, how relevant a channel must be to move, 0 to 1; or give channels.
            channels: How many channels move, 1 to 10000; the model's default if left out, or give threshold.
        """
        if threshold is not None and channels is not None:
            raise UserError("Please give either the threshold β or the number of channels, not both.")
        neutral = self.studio.family.defaults.neutral if neutral is None else _words("neutral", neutral)
        target, strength = _words("target", target), _number("strength", strength, -20, 20)
        threshold, channels = _number("threshold", threshold, 0, 1), _whole("channels", channels, 1, 10_000)
        source = self._source(photo, latent)
        return _finished(self.studio.direct(source, target, neutral, strength, threshold, channels))

    def paste(self, photo: gr.FileData, edited: gr.FileData, which: int = 0) -> Picture:
        """Put the edited picture of a face back into its photo, at the photo's size. Gives the photo (PNG).

        Args:
            photo: The photo that the face came from.
            edited: The edited picture, as the other functions give it.
            which: Which of the photo's faces, 0 for the largest.
        """
        photo_path, edited_path = _uploaded(photo), _uploaded(edited)
        faces = self.studio.align(photo_path)
        face, picture = _chosen(faces, which), open_photo(edited_path)
        if abs(picture.width * face.image.height - picture.height * face.image.width) > picture.width:
            raise UserError(
                "The edited picture has another shape than the face in the photo; please give an edit of it."
            )
        return _png(self.studio.paste(photo_path, face, picture)), {"faces": len(faces)}

    def mappers(self) -> Fields:
        """The edits that map can apply to this model: name and title of each."""
        return self.studio.mappers()

    def _face(self, photo: Any, which: Any, aligned: Any) -> tuple[Face | Image.Image, int]:
        """The face that is meant, and how many there are."""
        path = _uploaded(photo)
        if _flag("aligned", aligned):
            return open_photo(path), 1
        faces = self.studio.align(path)
        return _chosen(faces, which), len(faces)

    def _source(self, photo: Any, latent: Any) -> Latent:
        """The latent to edit: the one given, or that of the largest face in the photo given."""
        if (photo is None) == (latent is None):
            raise UserError("Please give either a photo or a latent file, not both.")
        if photo is None:
            return read_latent(_uploaded(latent), self.studio.family.generator)
        return self.studio.invert(self.studio.align(_uploaded(photo))[0])

    def _drawn(self, latent: Latent, fields: Fields) -> Result:
        return _png(self.studio.image(latent)), _safetensors(latent), fields


# What each endpoint answers, as programs read it.
ANSWERS: dict[str, Any] = {
    "align": Picture,
    "invert": Result,
    "refine": Result,
    "sample": Result,
    "optimize": Result,
    "generate": Result,
    "map": Result,
    "direct": Result,
    "paste": Picture,
    "mappers": Fields,
}


def connect(studio: Lent, job: dict[str, Any]) -> None:
    """Add the endpoints to the page being built. `job` holds the queue settings of everything that computes."""
    queue = {name: value for name, value in job.items() if name in ("concurrency_limit", "concurrency_id")}
    programs = Programs(studio)
    addresses.bound()
    Context.root_block.validate_inputs = _complete
    for name, answer in ANSWERS.items():
        gr.api(_endpoint(getattr(programs, name), answer), api_name=name, **queue)


def _complete(event: Any, inputs: list[Any]) -> None:
    """In the place of Gradio's own check, which writes what was sent into the log."""
    if len(inputs) < len(event.inputs):
        raise gr.Error(f"This takes {len(event.inputs)} values, of which {len(inputs)} came.", print_exception=False)


def _endpoint(method: Callable[..., Any], answer: Any) -> Callable[..., Any]:
    """Guarded, and with the type of one answer where Gradio looks for it: what is streamed are answers too."""
    endpoint = guard(method)
    endpoint.__signature__ = inspect.signature(method, eval_str=True).replace(return_annotation=answer)
    return endpoint


# What comes in


def _uploaded(file: Any) -> Path:
    """The path of an upload. Gradio has refused other paths of the server where a caller says that it is a file; here
    those are refused that came without saying so."""
    path = file.get("path") if isinstance(file, dict) and file.get("meta") == AS_FILE else None
    if not isinstance(path, str):
        raise UserError("Please send a file; with gradio_client, as handle_file(path).")
    path = Path(path.replace("\0", ""))
    if not is_in_or_equal(path, get_upload_folder()) or not path.is_file():
        raise UserError("This file is not on the server, or no longer; please send it again.")
    if path.stat().st_size > MAX_BYTES:
        raise UserError(f"This file is too large; please send one of at most {MAX_BYTES // 2**20} MB.")
    return path


def _chosen(faces: list[Face], which: Any) -> Face:
    return faces[_whole("which", which, 0, len(faces) - 1, needed=True)]


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise UserError(f"`{name}` is true or false.")
    return value


def _words(name: str, text: Any) -> str:
    """A text, as far as it can be written down: half of a surrogate pair can't."""
    if not isinstance(text, str):
        raise UserError(f"`{name}` is a text.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UserError(f"`{name}` holds half of a character; please write it anew.") from None
    return text


def _number(name: str, value: Any, low: float, high: float, needed: bool = False) -> float | None:
    """A number in its range; None, for the model's default, stays None unless a number is needed."""
    if value is None and not needed:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise UserError(f"`{name}` is a number from {low:,g} to {high:,g}.")
    return float(value)


def _whole(name: str, value: Any, low: int, high: int, needed: bool = False) -> int | None:
    if value is None and not needed:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high or value != int(value):
        raise UserError(f"`{name}` is a whole number from {low} to {high}.")
    return int(value)


# What goes out


def _streamed(run: Run) -> Iterator[Result]:
    """The place in line, then the steps of a run, the last one as its result; when its time is over, what it has."""
    with closing(run):
        for place in run.places():
            yield None, None, {"waiting": place}
        began = shown = time.monotonic()
        for step in run:
            now = time.monotonic()
            if now - began > LONGEST_RUN:
                break
            if step.index < step.total and now - shown > PREVIEW_EVERY:
                shown = now
                yield _preview(step.image), None, _progress(step)
    note = f"The time of {LONGEST_RUN / 60:g} minutes was over after step {step.index} of {step.total}."
    notes = [] if step.index == step.total else [note]
    picture, latent, fields = _finished(step.edit)
    yield picture, latent, _progress(step) | fields | {"notes": fields["notes"] + notes}


def _progress(step: Step) -> Fields:
    return {"step": step.index, "steps": step.total, "losses": step.losses}


def _finished(edit: Edit) -> Result:
    fields = {"recipe": edit.recipe, "notes": list(edit.notes)}
    if edit.channels is not None:
        fields["channels"] = edit.channels
    return _png(edit.image), _safetensors(edit.latent), fields


def _png(image: Image.Image) -> gr.FileData:
    path = new_file("picture.png")
    image.save(path, compress_level=1)
    return _file(path, "image/png")


def _preview(image: Image.Image) -> gr.FileData:
    path = new_file("preview.jpg")
    image.save(path, quality=90)
    return _file(path, "image/jpeg")


def _safetensors(latent: Latent) -> gr.FileData:
    path = new_file("latent.safetensors")
    latent.save(path)
    return _file(path, "application/octet-stream")


def _file(path: Path, mime_type: str) -> gr.FileData:
    return gr.FileData(path=str(path), orig_name=path.name, mime_type=mime_type)
