"""Mixing the picture that is seen with another one: of the strip, of the photo, or an example."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from pipeline import Latent, StyleCLIP
from pipeline.errors import UserError
from webapp.error_messages import guard
from webapp.example_faces import examples_of
from webapp.panels.chooser import chooser, pressed
from webapp.panels.photo import thing
from webapp.panels.result import SILENT, Result, settle, shown
from webapp.queues import PHOTO, asked_now
from webapp.session import Session
from webapp.shots import Mixture


@dataclass(frozen=True)
class Mix:
    """The panel's components."""

    fold: gr.Accordion
    others: gr.Gallery
    keys: gr.Textbox
    """What stands in the gallery, as the browser has it: the keys, with a space between them."""

    @property
    def all(self) -> list[gr.components.Component]:
        """What follows every edit; `drawn` makes the values."""
        return [self.fold, self.others, self.keys]


@dataclass(frozen=True)
class Other:
    """What the current picture can be mixed with."""

    key: str
    """By which the browser names it."""
    name: str
    picture: str
    latent: Callable[[], Latent]


def others(studio: StyleCLIP, session: Session) -> list[Other]:
    """The other pictures of the strip, the newest first, but for those with another tuning; the other faces of the
    photo; and the examples."""
    strip = [
        Other(shot.key, shot.title, shot.thumb, lambda shot=shot: shot.latent)
        for shot in reversed(session.shots)
        if shot is not session.at and shot.latent.tuned_like(session.here.latent)
    ]
    begun = [shot.found for shot in session.shots if shot.found and not shot.recipes]
    photo = [
        Other(found.key, f"Face {number}", found.crop, lambda found=found: studio.invert(found.face()))
        for number, found in enumerate(session.faces, 1)
        if found not in begun
    ]
    examples = [
        Other(
            f"example{number}", f"Example {number}", str(path), lambda path=path: studio.invert(studio.align(path)[0])
        )
        for number, (path, _) in enumerate(examples_of(studio), 1)
        if str(path) not in [found.photo for found in begun]
    ]
    return [*strip, *photo, *examples]


def layout(studio: StyleCLIP, session: Session) -> Mix:
    """Draw the panel: the pictures to choose from, in a fold."""
    some = bool(others(studio, session))
    with gr.Accordion(f"Mix with another {thing(studio)}", open=False, visible=some, elem_id="mix") as fold:
        gr.HTML(
            '<p class="note">Choose the other one; the slider beside the picture says how much of it there is. '
            "GIF and MP4 then show the whole way from one to the other.</p>"
        )
        pictures = chooser(captioned=True, label="Mix with", show_label=False, elem_id="others")
        keys = gr.Textbox(label="keys", visible=False)
    return Mix(fold, pictures, keys)


def drawn(studio: StyleCLIP, session: Session) -> tuple[Any, ...]:
    """The values of `Mix.all`; the pictures, which are many, only where they are looked at."""
    known = others(studio, session)
    fold = gr.update(visible=bool(known))
    if not session.mixing:
        return fold, gr.skip(), gr.skip()
    pictures = [(other.picture, other.name) for other in known]
    return fold, gr.update(value=pictures, selected_index=None), " ".join(other.key for other in known)


def connect(
    panel: Mix,
    result: Result,
    studio: StyleCLIP,
    state: gr.State,
) -> None:
    """Say what a choice does."""

    @guard
    def choose(event: gr.SelectData, keys: str, session: Session) -> tuple[Any, ...]:
        here, key = session.here, pressed(keys.split(), event)
        other = next((other for other in others(studio, session) if other.key == key), None)
        if other is None:
            raise UserError("This picture can't be mixed any more; please choose another one.")
        with session.choices.making(asked_now()) as newest:
            mixture = Mixture(here.latent, other.latent(), (here.title, other.name))
            latent = mixture.one.towards(mixture.other, mixture.share)
            picture = studio.image(latent)
            if newest():
                if session.here is not here:
                    raise UserError("Another picture was chosen meanwhile, so the mixture was left out.")
                session.mix(mixture, latent, picture)
        return shown(session)

    def look(session: Session) -> tuple[Any, ...]:
        session.mixing = True
        return drawn(studio, session)

    def leave(session: Session) -> None:
        session.mixing = False

    panel.fold.expand(look, state, panel.all, **SILENT)
    panel.fold.collapse(leave, state, None, **SILENT)
    chosen = panel.others.select(
        choose, [panel.keys, state], result.picture, trigger_mode="multiple", api_visibility="private", **PHOTO
    )
    settle(result, chosen, state)
