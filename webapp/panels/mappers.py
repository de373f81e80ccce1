"""Latent mappers (paper, section 5): edits learned beforehand, there in one pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from pipeline import Latent, StyleCLIP
from pipeline.errors import UserError
from webapp.guard import guard
from webapp.panels.result import Result, on_screen, shown, take_home
from webapp.session import Session


@dataclass(frozen=True)
class Mappers:
    """The panel's components."""

    gallery: gr.Gallery
    name: gr.Textbox
    strength: gr.Slider


def layout(studio: StyleCLIP, latent: Latent) -> Mappers:
    """Draw the panel: what each mapper makes of one face, and the strength."""
    usual = studio.family.defaults.mapper_strength
    titles = studio.mappers()
    if not titles:
        gr.HTML('<p class="note">This model family comes without mappers.</p>')
    gallery = gr.Gallery(
        value=[(on_screen(studio.map(latent, name).image), title) for name, title in titles.items()],
        label="Mappers",
        show_label=False,
        allow_preview=False,
        buttons=[],
        container=False,
        visible=bool(titles),
        elem_id="mappers",
        elem_classes="thumbs captioned",
    )
    name = gr.Textbox("", label="mapper", visible=False)
    strength = gr.Slider(
        round(-2 * usual, 3),
        round(3 * usual, 3),
        usual,
        step=round(usual / 10, 3),
        label=f"Strength ({usual:g} as trained)",
        visible=bool(titles),
        buttons=[],
        elem_id="mapper-strength",
    )
    return Mappers(gallery, name, strength)


def connect(panel: Mappers, result: Result, studio: StyleCLIP, state: gr.State, job: dict[str, Any]) -> None:
    """Say what the panel's fields do. `job` holds the queue settings of everything that computes."""

    @guard
    def apply(name: str, strength: float, session: Session) -> tuple[Any, ...]:
        """Apply a mapper by its name to this visitor's face."""
        if session.latent is None:
            raise UserError("Choose a face first.")
        if not name:
            raise UserError("Choose a mapper first.")
        session.keep(studio.map(session.latent, name, strength))
        return shown(session)

    def choose(event: gr.SelectData) -> str:
        return list(studio.mappers())[event.index]

    fields = [panel.name, panel.strength, state]
    chosen = panel.gallery.select(choose, None, panel.name, api_visibility="private", queue=False)
    applied = chosen.then(apply, fields, result.picture, api_visibility="private", **job)
    moved = panel.strength.input(apply, fields, result.picture, api_name="map", trigger_mode="always_last", **job)
    take_home(result, applied, state)
    take_home(result, moved, state)
