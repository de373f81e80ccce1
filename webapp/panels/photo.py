"""The face: from a photo, an example or chance; the aligned crop and its inversion beside it."""

from __future__ import annotations

import html
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from itertools import chain, count
from pathlib import Path
from typing import Any

import gradio as gr

from pipeline import Latent, StyleCLIP
from pipeline.errors import UserError
from pipeline.faces.photos import browsers_show
from pipeline.models.registry import read_registry
from webapp import uploads
from webapp.choices import the_only_one
from webapp.download_progress import bar
from webapp.error_messages import guard
from webapp.example_faces import examples_of, number_of
from webapp.files import on_screen
from webapp.limits import MAX_BYTES
from webapp.opening import WAIT
from webapp.panels import likeness
from webapp.panels.chooser import chooser, pressed
from webapp.panels.result import SILENT, Result, settle, shown
from webapp.queues import PHOTO, asked_now
from webapp.session import Session
from webapp.shots import Found, Shot, one_line

TOO_LARGE = f"This file is too large; please choose one of at most {MAX_BYTES // 2**20} MB."
SHOWN = 1200  # pixels a side of the copy of a photo that a browser would not show as it is
PUT_AWAY = "The photo is put away; its face stays in use until you choose another."
# Said by the browser itself, at once, because finding a face in a large photo takes seconds; and until the last of
# several faces that were chosen is there.
BEGIN = "() => {{ window.choosing = (window.choosing ?? 0) + 1; return `{bar}`; }}"
END = """() => {{
  window.came = {came};
  if (--window.choosing) return;
  dispatchEvent(new Event("chosen"));
  return "";
}}"""
LONGEST_NAME = 40  # characters of a file's name, which faces from it are called by
TRUNCATION = 0.7  # a random face's psi: nearer to the mean face, and so to a plausible one


class UnopenedImage(gr.Image):
    """Gives the path of an upload as it is, or None: StyleCLIP.align looks at a file before any decoder of Pillow's.

    A class, because Gradio makes a component anew for a visitor to whom an event showed an update of it.
    """

    is_template = True  # for the browser it is an Image

    def preprocess(self, payload: Any) -> str | None:
        return payload.path if payload else None


@dataclass(frozen=True)
class Photo:
    """The panel's components."""

    photo: gr.Image
    working: gr.HTML
    examples: gr.Gallery
    random: gr.Button
    faces: gr.Gallery
    crop: gr.Image
    inversion: gr.Image
    note: gr.HTML
    likeness: likeness.Likeness

    @property
    def follows(self) -> list[gr.components.Component]:
        """What follows every edit; `drawn` makes the values."""
        return [self.photo, self.faces, self.note, self.crop, self.inversion, self.likeness.row]


def finds_faces(studio: StyleCLIP) -> bool:
    """Whether the model looks for a face in a photo, and can read it."""
    return studio.family.faces is not None and studio.family.encoder is not None


def knows_people(studio: StyleCLIP) -> bool:
    """Whether the model can come closer to a person in a photo, and tell how close it is."""
    return finds_faces(studio) and studio.family.identity is not None


def thing(studio: StyleCLIP) -> str:
    """What the page calls that which is edited."""
    return "face" if studio.family.faces is not None else "picture"


def note(session: Session) -> str:
    """The line under the face, as HTML."""
    origin = session.here.origin
    several = len(session.faces) > 1 and not origin.mixture
    choice = " Choose another face above." if several else ""
    away = "" if origin.found is None or origin.found.shown else f" {PUT_AWAY}"
    return f'<p class="note" role="status">{html.escape(origin.said)}{away}{choice}</p>'


def first_line(studio: StyleCLIP, found: Found | None = None) -> str:
    """What to know of the first face, and of what the model can do with photos."""
    if found:
        return "An example, edited already. Choose a face of your own, or say what should change."
    start = f"A random {thing(studio)}."
    if studio.family.encoder is None:
        return f"{start} This model can't read photos, so every edit starts from one like it."
    return f"{start} Of a photo, the middle is used: this model looks for no face in it."


def face_line(studio: StyleCLIP, faces: list[Found], found: Found, latent: Latent) -> str:
    """How many faces were found in a photo, and how close the inversion of one is."""
    if studio.family.faces is None:
        return "No face is looked for with this model: the middle of the photo is used."
    told = "One face found." if len(faces) == 1 else f"{len(faces)} faces found."
    drawing = "" if found.example else drawing_line(studio)
    return " ".join(filter(None, [told, drawing, likeness.line(studio, found, latent)]))


def drawing_line(studio: StyleCLIP) -> str:
    """What a visitor with a photo is told where the model knows drawn faces only; "" elsewhere."""
    if studio.family.row.pictures != "drawings":
        return ""
    told = "This model knows drawn faces only, so this is a drawing of its kind, not the person."
    rows = [row for row in read_registry().values() if row.pictures == "photographs"]
    able = [f"“{row.title}”" for row in rows if {"encoder", "landmarks"} <= row.files.keys()]
    return f"{told} For photographs there is the model {' or '.join(able)}." if able else told


def name_of(session: Session, faces: list[Found], number: int) -> str:
    """What a face from a photo is called: by the photo's file, or the number of the example; with a number behind it
    where a face from another photo on the strip is called so."""
    found = faces[number]
    name = one_line("".join(c if c.isprintable() else " " for c in Path(found.photo).stem))[:LONGEST_NAME].rstrip()
    if found.example:
        name = f"Example {number_of(found.photo)}"
    face = f", face {number + 1}" if len(faces) > 1 else ""
    taken = {shot.title for shot in session.shots if shot.found and shot.found.photo != found.photo}
    names = chain([name or "Photo"], (f"{name or 'Photo'} ({again})" for again in count(2)))
    return next(name + face for name in names if name + face not in taken)


def layout(studio: StyleCLIP, session: Session) -> Photo:
    """Draw the panel with the face that the session starts with."""
    reads, found = studio.family.encoder is not None, session.here.origin.found
    photo = UnopenedImage(
        visible=reads,
        value=found and found.shown,
        label="Photo",
        type="filepath",
        sources=["upload", "webcam", "clipboard"],
        height=232,
        buttons=[],
        elem_id="photo",
        alt_text="The photo you chose",
    )
    working = gr.HTML(label="progress", elem_id="working")
    faces = chooser(
        label="Faces in the photo",
        columns=4,
        object_fit="cover",
        visible=False,
        elem_id="faces",
    )
    examples = chooser(
        value=[(str(path), f"Example {number}: {name}") for number, (path, name) in enumerate(examples_of(studio), 1)],
        label="Examples",
        columns=4,
        object_fit="cover",
        visible=bool(examples_of(studio)),
        elem_id="examples",
    )
    random = gr.Button(f"Random {thing(studio)}", elem_id="random")
    with gr.Row(elem_id="face-pair"):
        crop = gr.Image(
            visible=reads,
            value=found and found.crop,
            label="Aligned" if finds_faces(studio) else "Cropped",
            interactive=False,
            buttons=[],
            min_width=120,
            elem_id="crop",
            alt_text="What is taken from the photo, upright and cropped",
        )
        inversion = gr.Image(
            value=session.here.origin.picture,
            label=label(session.here.origin),
            interactive=False,
            buttons=[],
            min_width=120,
            elem_id="inversion",
            alt_text=f"The {thing(studio)} as the model draws it: the starting point of every edit",
        )
    line = gr.HTML(note(session), label="note", elem_id="photo-note")
    closer = likeness.layout(knows_people(studio))
    gr.HTML(
        '<p class="note">Other visitors never see your pictures. The server forgets them an hour after you leave.</p>',
        elem_id="privacy",
    )
    return Photo(photo, working, examples, random, faces, crop, inversion, line, closer)


def start(
    studio: StyleCLIP,
    session: Session,
    faces: list[Found],
    number: int = 0,
    said: str | None = None,
    newest: Callable[[], bool] = the_only_one,
) -> None:
    """Make one of the faces in the visitor's photo the one that is edited; `said` under it is how near the inversion
    is, unless told otherwise. Not where this is not the `newest` choice any more."""
    found = faces[number]
    latent = studio.invert(found.face())
    line = face_line(studio, faces, found, latent) if said is None else said
    picture = studio.image(latent)
    if newest():
        session.start_from(latent, picture, name_of(session, faces, number), line, found, faces)


def label(origin: Shot) -> str:
    """What the picture is that edits begin with."""
    if origin.mixture:
        return "Mixture"
    return "Inversion" if origin.found else "Beginning"


def drawn(able: bool, session: Session) -> tuple[Any, ...]:
    """The values of `Photo.follows`: the face that the current picture began with. `able`: see `knows_people`."""
    origin = session.here.origin
    found, faces = origin.found, session.faces
    return (
        found and (found.shown or None),
        gr.update(
            value=[(face.crop, f"Face {number} of {len(faces)}") for number, face in enumerate(faces, 1)],
            selected_index=faces.index(found) if found in faces else None,
            visible=len(faces) > 1,
        ),
        note(session),
        gr.update(value=found and found.crop, visible=found is not None),
        gr.update(value=origin.picture, label=label(origin)),
        gr.update(visible=found is not None and able),
    )


def connect(panel: Photo, result: Result, studio: StyleCLIP, state: gr.State) -> None:
    """Say what the panel's fields do."""

    @guard
    def take(photo: str | None, session: Session) -> tuple[Any, ...]:
        """Find the faces in a photo; the largest becomes this visitor's face, and is inverted."""
        if photo is None:
            raise UserError("Choose a picture first.")
        with session.choices.making(asked_now()) as newest:
            faces = find(photo, BytesIO(uploads.read(photo, MAX_BYTES, TOO_LARGE)), session, newest)
            if newest():
                session.uploaded = faces[0]
        return shown(session)

    def find(
        path: str, photo: BytesIO, session: Session, newest: Callable[[], bool], example: bool = False
    ) -> list[Found]:
        found = studio.align(photo)
        turn = found[0].turn
        copied = turn or not browsers_show(photo.getvalue())
        seen = on_screen(studio.view(photo, SHOWN, turn)) if copied else path
        faces = [Found.of(path, face, seen, example) for face in found]
        start(studio, session, faces, newest=newest)
        return faces

    @guard
    def choose_example(event: gr.SelectData, session: Session) -> tuple[Any, ...]:
        path, _ = pressed(examples_of(studio), event)
        with session.choices.making(asked_now()) as newest:
            find(str(path), BytesIO(path.read_bytes()), session, newest, example=True)
        return shown(session)

    @guard
    def choose_face(event: gr.SelectData, session: Session) -> tuple[Any, ...]:
        faces = session.faces
        number = pressed(range(len(faces)), event)
        with session.choices.making(asked_now()) as newest:
            start(studio, session, faces, number, newest=newest)
        return shown(session)

    @guard
    def sample(session: Session) -> tuple[Any, ...]:
        """Make up a face that belongs to nobody."""
        seed = secrets.randbelow(10**6)
        with session.choices.making(asked_now()) as newest:
            latent = studio.sample(seed, TRUNCATION)
            title, picture = f"Random {thing(studio)} {seed}", studio.image(latent)
            if newest():
                session.start_from(latent, picture, title, f"{title}.")
        return shown(session)

    def put_away(session: Session) -> str:
        """The photo's × takes the photo off the page, and nothing else."""
        for face in session.faces:
            face.shown = ""
        return note(session)

    def as_before(session: Session) -> tuple[Any, ...]:
        """After a file that was no photo of a face, the one before stands in its place."""
        return drawn(knows_people(studio), session)

    events: dict[Callable[..., Any], gr.events.Dependency] = {}
    for trigger, handler, inputs in (
        (panel.photo.upload, take, [panel.photo, state]),
        (panel.examples.select, choose_example, state),
        (panel.faces.select, choose_face, state),
        (panel.random.click, sample, state),
    ):
        words = f"Making up a {thing(studio)}" if handler is sample else "Looking at the photo"
        every: dict[str, Any] = {"trigger_mode": "multiple"}  # the click that is left out would be the last
        trigger(None, None, panel.working, js=BEGIN.format(bar=bar(words)), **SILENT, **every)
        options = every | PHOTO  # a random face too, so that it does not overtake a photo that was chosen before it
        event = trigger(handler, inputs, result.picture, js=WAIT, api_visibility="private", **options)
        for ended, came in ((event.success, "true"), (event.failure, "false")):  # `then` is not called after a failure
            ended(None, None, panel.working, js=END.format(came=came), **SILENT, **every)
        event.failure(as_before, state, panel.follows, **SILENT)
        settle(result, event, state, fills=True)
        events[handler] = event
    uploaded = events[take] if studio.family.row.tunes and knows_people(studio) else None
    likeness.connect(panel.likeness, panel.inversion, uploaded, result, studio, state)
    panel.photo.clear(put_away, state, panel.note, **SILENT)
