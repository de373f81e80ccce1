"""The face: from a photo, an example or chance; the aligned crop and its inversion beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from pipeline import StyleCLIP
from pipeline.errors import UserError
from webapp.guard import guard
from webapp.panels.result import Result, on_screen, shown, take_home
from webapp.session import Session

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.png"))
MAX_BYTES = 20 * 2**20  # of an upload; pixels are looked at by pipeline.faces, before it decodes them
TRUNCATION = 0.7  # a random face's psi: nearer to the mean face, and so to a plausible one


def _unopened(upload: Any) -> str | None:
    """The path of an upload, which Gradio has checked to lie in its upload folder; None where there is none."""
    return upload.path if upload else None


@dataclass(frozen=True)
class Photo:
    """The panel's components."""

    photo: gr.Image
    examples: gr.Gallery
    random: gr.Button
    crop: gr.Image
    inversion: gr.Image
    note: gr.HTML
    seed: gr.Number
    truncation: gr.Number


def finds_faces(studio: StyleCLIP) -> bool:
    """Whether the model looks for a face in a photo, and can read it."""
    return studio.family.faces is not None and studio.family.encoder is not None


def thing(studio: StyleCLIP) -> str:
    """What the page calls that which is edited."""
    return "face" if studio.family.faces is not None else "picture"


def note(sentence: str) -> str:
    """The line under the face."""
    return f'<p class="note" role="status">{sentence}</p>'


def faces_note(studio: StyleCLIP, count: int) -> str:
    """How many faces were found, and which is used."""
    if studio.family.faces is None:
        return note("No face is looked for with this model: the middle of the photo is used.")
    return note("One face found." if count == 1 else f"{count} faces found; the largest is used.")


def first_note(studio: StyleCLIP, session: Session) -> str:
    """What to know of the first face, and of what the model can do with photos."""
    if session.face:
        return faces_note(studio, 1)
    start = f"A random {thing(studio)}."
    if studio.family.encoder is None:
        return note(f"{start} This model can't read photos, so every edit starts from one like it.")
    return note(f"{start} Of a photo, the middle is used: this model looks for no face in it.")


def layout(studio: StyleCLIP, session: Session) -> Photo:
    """Draw the panel with the face that the session starts with."""
    reads = studio.family.encoder is not None
    photo = gr.Image(
        visible=reads,
        value=str(EXAMPLES[0]) if session.face else None,
        label="Photo",
        type="filepath",
        sources=["upload", "webcam", "clipboard"],
        height=232,
        buttons=[],
        elem_id="photo",
        alt_text="The photo you chose",
    )
    photo.preprocess = _unopened  # StyleCLIP.align looks at a file before any decoder of Pillow's does
    examples = gr.Gallery(
        value=[str(path) for path in EXAMPLES],
        label="Examples",
        columns=4,
        object_fit="cover",
        allow_preview=False,
        buttons=[],
        container=False,
        visible=bool(EXAMPLES) and finds_faces(studio),
        elem_id="examples",
        elem_classes="thumbs",
    )
    random = gr.Button(f"Random {thing(studio)}", elem_id="random")
    with gr.Row(elem_id="face-pair"):
        crop = gr.Image(
            visible=reads,
            value=on_screen(session.face.image) if session.face else None,
            label="Aligned" if finds_faces(studio) else "Cropped",
            interactive=False,
            buttons=[],
            min_width=120,
            elem_id="crop",
            alt_text="What is taken from the photo, upright and cropped",
        )
        inversion = gr.Image(
            value=on_screen(session.picture),
            label="Inversion" if reads else "Random",
            interactive=False,
            buttons=[],
            min_width=120,
            elem_id="inversion",
            alt_text=f"The {thing(studio)} as the model draws it: the starting point of every edit",
        )
    line = gr.HTML(first_note(studio, session), label="note", elem_id="photo-note")
    seed = gr.Number(0, label="seed", precision=0, visible=False)
    truncation = gr.Number(TRUNCATION, label="truncation", visible=False)
    return Photo(photo, examples, random, crop, inversion, line, seed, truncation)


def connect(panel: Photo, result: Result, studio: StyleCLIP, state: gr.State, job: dict[str, Any]) -> None:
    """Say what the panel's fields do. `job` holds the queue settings of everything that computes."""
    picture_outputs = [panel.inversion, *result.picture]

    @guard
    def align(photo: str | None, session: Session) -> tuple[str, str]:
        """Find the faces in a photo; the largest becomes this visitor's face. Follow with /invert."""
        if photo is None:
            raise UserError("Choose a picture first.")
        faces = studio.align(photo)
        session.face = faces[0]
        return on_screen(faces[0].image), faces_note(studio, len(faces))

    @guard
    def choose(event: gr.SelectData, session: Session) -> tuple[str, str, str]:
        path = str(EXAMPLES[event.index])
        return path, *align(path, session)

    @guard
    def invert(session: Session) -> tuple[Any, ...]:
        """Turn this visitor's aligned face into a code of the generator, and show the picture of that code."""
        if session.face is None:
            raise UserError("Choose a picture first.")
        latent = studio.invert(session.face)
        session.start_from(latent, studio.image(latent), session.face)
        return on_screen(session.picture), *shown(session)

    @guard
    def sample(seed: int, truncation: float, session: Session) -> tuple[Any, ...]:
        """Make up a face that belongs to nobody: `seed` says which, `truncation` (0 to 1) how far from the average."""
        latent = studio.sample(int(seed), truncation)
        session.start_from(latent, studio.image(latent))
        return None, None, note(f"Random {thing(studio)} {int(seed)}."), on_screen(session.picture), *shown(session)

    face_outputs = [panel.crop, panel.note]
    uploaded = panel.photo.upload(align, [panel.photo, state], face_outputs, api_name="align", **job)
    take_home(result, uploaded.success(invert, state, picture_outputs, api_name="invert", **job), state)
    # A file that was no photo of a face leaves the field free for the next one.
    uploaded.failure(lambda: None, None, panel.photo, api_visibility="private", queue=False)
    chosen = panel.examples.select(choose, state, [panel.photo, *face_outputs], api_visibility="private", **job)
    take_home(result, chosen.success(invert, state, picture_outputs, api_visibility="private", **job), state)
    sampled = panel.random.click(
        sample,
        [panel.seed, panel.truncation, state],
        [panel.photo, panel.crop, panel.note, *picture_outputs],
        js="(seed, truncation, state) => [Math.floor(Math.random() * 1e6), truncation, state]",
        api_name="sample",
        **job,
    )
    take_home(result, sampled, state)
