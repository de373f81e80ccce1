"""The face: from a photo, an example or chance; the aligned crop and its inversion beside it."""

from __future__ import annotations

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
from webapp.example_faces import examples_of, number_of
from webapp.files import on_screen
from webapp.history import DetectedFace, HistoryItem, one_line
from webapp.limits import MAX_BYTES
from webapp.opening import WAIT
from webapp.panels import likeness
from webapp.panels.chooser import chooser, chosen, keys_of, pressed
from webapp.panels.result import SILENT, status
from webapp.queues import PHOTO, asked_now
from webapp.render import Context, Updates
from webapp.session import Session

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
    keys: gr.Textbox
    """Of the faces in that gallery, as the browser has it."""
    crop: gr.Image
    inversion: gr.Image
    note: gr.HTML
    likeness: likeness.Likeness


def finds_faces(studio: StyleCLIP) -> bool:
    """Whether the model looks for a face in a photo, and can read it."""
    return studio.family.faces is not None and studio.family.encoder is not None


def knows_people(studio: StyleCLIP) -> bool:
    """Whether the model can come closer to a person in a photo, and tell how close it is."""
    return finds_faces(studio) and studio.family.identity is not None


def thing(studio: StyleCLIP) -> str:
    """What the page calls that which is edited."""
    return "face" if studio.family.faces is not None else "picture"


def shown_photo(session: Session) -> str | None:
    """The photo that the current picture began with; None where there is none, or the visitor has put it away."""
    face = session.origin.detected
    return face.shown if face and face.photo not in session.put_away else None


def changed_photo(session: Session) -> Any:
    """What the photo's field is to show; nothing where it shows that already: an answer to an earlier event would take
    away a photo that has just been chosen."""
    photo = shown_photo(session)
    if session.page_photo == (photo or ""):
        return gr.skip()
    session.page_photo = photo or ""
    return photo


def note(session: Session) -> str:
    """The line under the face, as HTML."""
    origin = session.origin
    several = len(session.faces) > 1 and not origin.is_mixture
    away = PUT_AWAY if origin.detected and not shown_photo(session) else ""
    return status(origin.face_note, away, "Choose another face above." if several else "")


def first_line(studio: StyleCLIP, face: DetectedFace | None = None) -> str:
    """What to know of the first face, and of what the model can do with photos."""
    if face:
        return "An example, edited already. Choose a face of your own, or say what should change."
    start = f"A random {thing(studio)}."
    if studio.family.encoder is None:
        return f"{start} This model can't read photos, so every edit starts from one like it."
    return f"{start} Of a photo, the middle is used: this model looks for no face in it."


def face_line(studio: StyleCLIP, faces: list[DetectedFace], face: DetectedFace, latent: Latent) -> str:
    """How many faces were found in a photo, and how close the inversion of one is."""
    if studio.family.faces is None:
        return "No face is looked for with this model: the middle of the photo is used."
    told = "One face found." if len(faces) == 1 else f"{len(faces)} faces found."
    drawing = "" if face.example else drawing_line(studio)
    return " ".join(filter(None, [told, drawing, likeness.line(studio, face, latent)]))


def drawing_line(studio: StyleCLIP) -> str:
    """What a visitor with a photo is told where the model knows drawn faces only; "" elsewhere."""
    if studio.family.row.pictures != "drawings":
        return ""
    told = "This model knows drawn faces only, so this is a drawing of its kind, not the person."
    rows = [row for row in read_registry().values() if row.pictures == "photographs"]
    able = [f"“{row.title}”" for row in rows if {"encoder", "landmarks"} <= row.files.keys()]
    return f"{told} For photographs there is the model {' or '.join(able)}." if able else told


def name_of(session: Session, faces: list[DetectedFace], number: int) -> str:
    """What a face from a photo is called: by the photo's file, or the number of the example; with a number behind it
    where a face from another photo on the strip is called so."""
    photo, which = faces[number].photo, f", face {number + 1}" if len(faces) > 1 else ""
    name = one_line("".join(c if c.isprintable() else " " for c in Path(photo).stem))[:LONGEST_NAME].rstrip()
    if faces[number].example:
        name = f"Example {number_of(photo)}"
    taken = {item.title for item in session.strip if item.detected and item.detected.photo != photo}
    names = chain([name or "Photo"], (f"{name or 'Photo'} ({again})" for again in count(2)))
    return next(name + which for name in names if name + which not in taken)


def layout(studio: StyleCLIP, session: Session) -> Photo:
    """Draw the panel with the face that the session starts with."""
    reads, origin = studio.family.encoder is not None, session.origin
    face = origin.detected
    with gr.Column(elem_id="photo-card"):
        gr.HTML(f"<h2>The {thing(studio)}</h2>")
        photo = UnopenedImage(
            visible=reads,
            value=shown_photo(session),
            label="Photo",
            type="filepath",
            sources=["upload", "webcam", "clipboard"],
            height=232,
            buttons=[],
            elem_id="photo",
            alt_text="The photo you chose",
        )
        working = gr.HTML(label="progress", elem_id="working")
        faces = chooser(label="Faces in the photo", columns=4, object_fit="cover", visible=False, elem_id="faces")
    with gr.Column(elem_id="choose"):
        # On a phone, where this is above the words and the photo below; page.js lets it ask for a file.
        gr.HTML('<button type="button">Your photo</button>', visible=reads, elem_id="own-photo")
        examples = chooser(
            value=[
                (str(path), f"Example {number}: {name}") for number, (path, name) in enumerate(examples_of(studio), 1)
            ],
            label="Examples",
            columns=4,
            object_fit="cover",
            visible=bool(examples_of(studio)),
            elem_id="examples",
        )
        random = gr.Button(f"Random {thing(studio)}", elem_id="random")
    with gr.Column(elem_id="chosen"):
        with gr.Row(elem_id="face-pair"):
            crop = gr.Image(
                visible=reads,
                value=face and face.crop,
                label="Aligned" if finds_faces(studio) else "Cropped",
                interactive=False,
                buttons=[],
                min_width=120,
                elem_id="crop",
                alt_text="What is taken from the photo, upright and cropped",
            )
            inversion = gr.Image(
                value=origin.picture,
                label=label(origin),
                interactive=False,
                buttons=[],
                min_width=120,
                elem_id="inversion",
                alt_text=f"The {thing(studio)} as the model draws it: the starting point of every edit",
            )
        line = gr.HTML(note(session), label="note", elem_id="photo-note")
        closer = likeness.layout(knows_people(studio))
        gr.HTML(
            '<p class="note">Other visitors never see your pictures. '
            "The server forgets them an hour after you leave.</p>",
            elem_id="privacy",
        )
    keys = gr.Textbox(keys_of(session.faces), label="keys", visible=False)
    return Photo(photo, working, examples, random, faces, keys, crop, inversion, line, closer)


def start(
    studio: StyleCLIP,
    session: Session,
    faces: list[DetectedFace],
    number: int = 0,
    face_note: str | None = None,
    newest: Callable[[], bool] = the_only_one,
) -> None:
    """Make one of the faces in the visitor's photo the one that is edited; the note under it says how near the
    inversion is, unless another is given. Does nothing if a newer choice was made."""
    face = faces[number]
    latent = studio.invert(face.face())
    told = face_line(studio, faces, face, latent) if face_note is None else face_note
    picture = studio.image(latent)
    if newest():
        title = name_of(session, faces, number)
        session.start_from(HistoryItem.of(picture, title, latent, told, detected=face), faces)


def label(origin: HistoryItem) -> str:
    """What the picture is that edits begin with."""
    if origin.is_mixture:
        return "Mixture"
    return "Inversion" if origin.detected else "Beginning"


def draw(panel: Photo, studio: StyleCLIP, session: Session) -> Updates:
    """The face that the current picture began with, and the photo that it came from."""
    origin, faces = session.origin, session.faces
    face = origin.detected
    return {
        panel.photo: changed_photo(session),
        panel.faces: gr.update(
            value=[(other.crop, f"Face {number} of {len(faces)}") for number, other in enumerate(faces, 1)],
            selected_index=faces.index(face) if face in faces else None,
            visible=len(faces) > 1,
        ),
        panel.keys: keys_of(faces),
        panel.note: note(session),
        panel.crop: gr.update(value=face and face.crop, visible=face is not None),
        panel.inversion: gr.update(value=origin.picture, label=label(origin)),
        panel.likeness.row: gr.update(visible=face is not None and knows_people(studio)),
    }


def connect(panel: Photo, context: Context) -> None:
    """Say what the panel's fields do."""
    studio, state, render = context.studio, context.state, context.render

    def take(photo: str | None, session: Session) -> Updates:
        """Find the faces in a photo; the largest becomes this visitor's face, and is inverted."""
        if photo is None:
            raise UserError("Choose a picture first.")
        session.page_photo = photo
        session.put_away.discard(photo)
        with session.choices.making(asked_now()) as newest:
            faces = find(photo, BytesIO(uploads.read(photo, MAX_BYTES, TOO_LARGE)), session, newest)
            if newest():
                session.uploaded = faces[0]
                session.page_photo = None  # the answer to an earlier event may have replaced this photo on the page
        return render(session)

    def find(
        path: str, photo: BytesIO, session: Session, newest: Callable[[], bool], example: bool = False
    ) -> list[DetectedFace]:
        found = studio.align(photo)
        turn = found[0].turn
        copied = turn or not browsers_show(photo.getvalue())
        seen = on_screen(studio.view(photo, SHOWN, turn)) if copied else path
        faces = [DetectedFace.of(path, face, seen, example) for face in found]
        start(studio, session, faces, newest=newest)
        return faces

    def choose_example(event: gr.SelectData, session: Session) -> Updates:
        path, _ = pressed(examples_of(studio), event)
        session.put_away.discard(str(path))
        with session.choices.making(asked_now()) as newest:
            find(str(path), BytesIO(path.read_bytes()), session, newest, example=True)
        return render(session)

    def choose_face(event: gr.SelectData, keys: str, session: Session) -> Updates:
        faces = session.faces
        number = faces.index(chosen(faces, keys, event))
        with session.choices.making(asked_now()) as newest:
            start(studio, session, faces, number, newest=newest)
        return render(session)

    def sample(session: Session) -> Updates:
        """Make up a face that belongs to nobody."""
        seed = secrets.randbelow(10**6)
        with session.choices.making(asked_now()) as newest:
            latent = studio.sample(seed, TRUNCATION)
            title, picture = f"Random {thing(studio)} {seed}", studio.image(latent)
            if newest():
                session.start_from(HistoryItem.of(picture, title, latent, f"{title}."))
        return render(session)

    def put_away(session: Session) -> str:
        """The photo's × takes the photo off the page, and nothing else."""
        face, page = session.origin.detected, session.page_photo
        if page and page != shown_photo(session):  # it is still being read
            session.put_away.add(page)
        elif face:
            session.put_away.add(face.photo)
        session.page_photo = ""
        return note(session)

    def as_before(session: Session) -> Updates:
        """After a file that was no photo of a face, the one before stands in its place."""
        session.page_photo = None
        return gr.skip() if session.ended else draw(panel, studio, session)

    events: dict[Callable[..., Any], gr.events.Dependency] = {}
    for trigger, handler, inputs in (
        (panel.photo.upload, take, [panel.photo]),
        (panel.examples.select, choose_example, []),
        (panel.faces.select, choose_face, [panel.keys]),
        (panel.random.click, sample, []),
    ):
        words = f"Making up a {thing(studio)}" if handler is sample else "Looking at the photo"
        every: dict[str, Any] = {"trigger_mode": "multiple"}  # the click that is left out would be the last
        trigger(None, None, panel.working, js=BEGIN.format(bar=bar(words)), **SILENT, **every)
        # In the group of photos, a random face too does not overtake a photo that was chosen before it.
        event = context.on(trigger, handler, inputs, form=True, js=WAIT, **every, **PHOTO)
        for ended, came in ((event.success, "true"), (event.failure, "false")):  # `then` is not called after a failure
            ended(None, None, panel.working, js=END.format(came=came), **SILENT, **every)
        event.failure(as_before, state, list(draw(panel, studio, context.first)), **SILENT)
        events[handler] = event
    uploaded = events[take] if studio.family.row.tunes and knows_people(studio) else None
    likeness.connect(panel.likeness, panel.inversion, uploaded, context)
    panel.photo.clear(put_away, state, panel.note, **SILENT)
