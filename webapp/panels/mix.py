"""Mixing the picture that is seen with another one: of the strip, of the photo, or an example."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import gradio as gr

from pipeline import Latent, StyleCLIP
from pipeline.errors import UserError
from webapp.example_faces import examples_of
from webapp.history import Line
from webapp.panels.chooser import chooser, chosen, keys_of
from webapp.panels.photo import thing
from webapp.panels.result import SILENT
from webapp.queues import PHOTO, asked_now
from webapp.render import Context, Updates
from webapp.session import Session


@dataclass(frozen=True)
class Mix:
    """The panel's components."""

    fold: gr.Accordion
    others: gr.Gallery
    keys: gr.Textbox
    """What stands in the gallery, as the browser has it: the keys, with a space between them."""


@dataclass(frozen=True)
class Other:
    """What the current picture can be mixed with."""

    key: str
    """The browser names it by this."""
    name: str
    picture: str
    latent: Callable[[], Latent]


def others(studio: StyleCLIP, session: Session) -> list[Other]:
    """The other pictures of the strip, the newest first, but for those with another tuning; the other faces of the
    photo; and the examples."""
    strip = [
        Other(item.key, item.title, item.thumbnail, lambda item=item: item.latent)
        for item in reversed(session.strip)
        if item != session.current and item.latent.tuned_like(session.current.latent)
    ]
    begun = [item.detected for item in session.strip if item.detected]
    photo = [
        Other(face.key, f"Face {number}", face.crop, lambda face=face: studio.invert(face.face()))
        for number, face in enumerate(session.faces, 1)
        if face not in begun
    ]
    examples = [
        Other(
            f"example{number}", f"Example {number}", str(path), lambda path=path: studio.invert(studio.align(path)[0])
        )
        for number, (path, _) in enumerate(examples_of(studio), 1)
        if str(path) not in [face.photo for face in begun]
    ]
    return [*strip, *photo, *examples]


def layout(studio: StyleCLIP, session: Session) -> Mix:
    """Draw the panel: the pictures to choose from, in a fold."""
    some = bool(others(studio, session))
    with gr.Accordion(f"Mix with another {thing(studio)}", open=False, visible=some, elem_id="mix") as fold:
        gr.HTML(
            '<p class="note">Choose the other one; the slider above the picture says how much of it there is. '
            "GIF and MP4 then show the whole way from one to the other.</p>"
        )
        pictures = chooser(captioned=True, label="Mix with", show_label=False, elem_id="others")
        keys = gr.Textbox(label="keys", visible=False)
    return Mix(fold, pictures, keys)


def draw(panel: Mix, studio: StyleCLIP, session: Session) -> Updates:
    """The fold, and the pictures, which are many, only where they are looked at."""
    known = others(studio, session)
    updates = {panel.fold: gr.update(visible=bool(known)), panel.others: gr.skip(), panel.keys: gr.skip()}
    if session.mixing:
        pictures = [(other.picture, other.name) for other in known]
        updates[panel.others] = gr.update(value=pictures, selected_index=None)
        updates[panel.keys] = keys_of(known)
    return updates


def connect(panel: Mix, context: Context) -> None:
    """Say what a choice does."""
    studio = context.studio

    def choose(event: gr.SelectData, keys: str, session: Session) -> Updates:
        current, other = session.current, chosen(others(studio, session), keys, event)
        with session.choices.making(asked_now()) as newest:
            line = Line(current.latent, other.latent(), 0.5, (current.title, other.name))
            picture = studio.image(line.start.towards(line.end, line.share))
            if newest():
                if session.current != current:
                    raise UserError("Another picture was chosen meanwhile, so the mixture was left out.")
                session.mix(line, picture)
        return context.render(session)

    def look(session: Session) -> Updates:
        session.mixing = True
        return draw(panel, studio, session)

    def leave(session: Session) -> None:
        session.mixing = False

    panel.fold.expand(look, context.state, [panel.fold, panel.others, panel.keys], **SILENT)
    panel.fold.collapse(leave, context.state, None, **SILENT)
    context.on(panel.others.select, choose, [panel.keys], trigger_mode="multiple", **PHOTO)
