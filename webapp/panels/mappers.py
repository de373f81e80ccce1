"""Latent mappers (paper, section 5): edits learned beforehand, there in one pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image, ImageOps

from pipeline import Latent, StyleCLIP
from pipeline.errors import UserError
from pipeline.models.mappers import mapper_title
from pipeline.models.sources import Source
from webapp.download_progress import arriving, bytes_of, megabytes
from webapp.error_messages import guard
from webapp.files import on_screen
from webapp.panels.bounded import bounded
from webapp.panels.chooser import chooser, pressed
from webapp.panels.result import SILENT, set_to
from webapp.queues import EDIT, IDLE, LONG
from webapp.render import Context, Updates
from webapp.session import Session

THUMB = 256  # pixels
CHOOSE = "choose it in the gallery of the tab Mappers, which fetches it while others go on."


@dataclass(frozen=True)
class Mappers:
    """The panel's components."""

    gallery: gr.Gallery
    name: gr.Textbox
    progress: gr.HTML
    strength: gr.Slider
    draw: gr.Button
    """page.js presses it where the gallery is looked at and may show another face."""


def not_here(studio: StyleCLIP, name: str) -> Source | None:
    """The file of one of the family's mappers, where it is still to be downloaded."""
    _, source = studio.family.row.mappers.get(name, ("", None))
    return source if source and not source.here() else None


def _grey(picture: Image.Image) -> Image.Image:
    grey = picture.convert("L").convert("RGB")
    return Image.blend(grey, Image.new("RGB", grey.size, (128, 128, 128)), 0.5)


def captions(studio: StyleCLIP) -> list[str]:
    """The mappers' titles, with the size of what is still to be downloaded."""
    rows = studio.family.row.mappers.values()
    return [title if source.here() else f"{title} · {megabytes(bytes_of([source]))}" for title, source in rows]


def gallery(studio: StyleCLIP, session: Session) -> list[tuple[str, str]]:
    """Pictures and titles: the family's mappers, then the visitor's own. What is not drawn yet, or of a mapper that is
    still to be downloaded or can't be applied, is the face itself in grey."""
    names = [*studio.mappers(), *session.mappers]
    titles = [*captions(studio), *(f"{name} · yours" for name in session.mappers)]
    titles = [f"{t} · unusable" if session.thumbs.get(n) == "" else t for n, t in zip(names, titles, strict=True)]
    if not all(session.thumbs.get(name) for name in names):
        with Image.open(session.origin.thumbnail) as face:
            blank = on_screen(_grey(face))
    return [(session.thumbs.get(name) or blank, title) for name, title in zip(names, titles, strict=True)]


def own_name(studio: StyleCLIP, session: Session, title: str) -> str:
    """What a visitor's new mapper is called: its title, and more where one of the family or of theirs is called so."""
    title = mapper_title(title)[:48].strip()
    family = {name.casefold() for pair in studio.mappers().items() for name in pair}
    taken = family | {name.casefold() for name in session.mappers}
    yours = [f"{title} (yours)"] if title.casefold() in family else []
    names = chain([title], yours, (f"{title} ({number})" for number in count(2)))
    return next(name for name in names if name.casefold() not in taken)


def layout(studio: StyleCLIP, session: Session) -> Mappers:
    """Draw the panel: a gallery, whose pictures are drawn when somebody looks at it, and the strength."""
    usual = studio.family.defaults.mapper_strength
    some = bool(studio.mappers())
    if not some:
        words = "This model family comes without mappers; those of yours will stand here."
        gr.HTML(f'<p class="note">{words}</p>', elem_id="no-mappers")
    last = session.current.recipes[-1] if session.current.recipes else {"method": ""}
    chosen = last["parameters"]["mapper"] if last["method"] == "map" else ""
    pictures = chooser(
        value=gallery(studio, session),
        selected_index=list(studio.mappers()).index(chosen) if chosen else None,
        label="Mappers",
        show_label=False,
        visible=some,
        elem_id="mappers",
        captioned=True,
    )
    name = gr.Textbox(chosen, label="mapper", visible=False)
    progress = gr.HTML(label="download", elem_id="mapper-download")
    strength = bounded(
        round(-2 * usual, 3),
        round(3 * usual, 3),
        usual,
        step=round(usual / 10, 3),
        label=f"Strength ({usual:g} as trained)",
        visible=some,
        elem_id="mapper-strength",
    )
    draw = gr.Button("Draw the gallery", elem_id="draw-mappers")  # style.css hides it
    return Mappers(pictures, name, progress, strength, draw)


def connect(panel: Mappers, context: Context) -> None:
    """Say what the panel's fields do."""
    studio, state = context.studio, context.state

    def asked(name: str, strength: float, session: Session) -> tuple[Latent, str | Path, float, list[str]]:
        """The arguments of `StyleCLIP.map`, all as they are now."""
        if not name:
            raise UserError("Choose a mapper first.")
        with session.lock:
            source, regions = session.base("map", mapper=name), session.held_to("map", mapper=name)
        return source, session.mappers.get(name, name), strength, regions

    def make(wanted: tuple[Latent, str | Path, float, list[str]], session: Session) -> Updates:
        session.keep(wanted[0], studio.map(*wanted))
        return context.render(session)

    def apply(name: str, strength: float, session: Session) -> Updates:
        """Apply a mapper by its name to this visitor's face."""
        return make(asked(name, strength, session), session)

    def slide(name: str, strength: float, session: Session) -> Iterator[Updates]:
        """`apply` by the slider, with a small picture first."""
        wanted = asked(name, strength, session)
        if wanted[1] == name and not_here(studio, name):  # which takes no turn while it is fetched
            yield make(wanted, session)
            return
        yield from context.small_first(session, lambda model: model.map(*wanted).latent, lambda: make(wanted, session))

    @guard
    def choose(event: gr.SelectData, session: Session) -> str:
        return pressed([*studio.mappers(), *session.mappers], event)

    @guard
    def download(name: str, session: Session) -> Iterator[Updates]:
        """Before its first use, and beside what computes: other visitors need not wait for it."""
        source = None if name in session.mappers else not_here(studio, name)
        if source is None:
            yield gr.skip()
            return
        for bar in arriving([source], studio.jobs.check):
            yield {panel.progress: bar}
        yield {panel.progress: "", panel.gallery: gallery(studio, session)}

    @guard
    def draw(session: Session) -> Iterator[Any]:
        """What each mapper makes of this visitor's face, in small pictures, while nobody waits. What can't be drawn
        stays grey, and what is wrong is said to who chooses it."""
        face, known = session.origin, {name: name for name in studio.mappers() if not not_here(studio, name)}
        if session.thumbs_of != face.key:
            session.thumbs_of, session.thumbs = face.key, {}
        yield gallery(studio, session)
        due = {name: mapper for name, mapper in (known | session.mappers).items() if name not in session.thumbs}
        with suppress(UserError, gr.Error):  # the latter where no GPU is lent to the visitor any more
            for pictures in studio.mapped(face.latent, due) if due else ():
                if session.thumbs_of != face.key or session.origin != face:
                    return
                for name, picture in pictures.items():
                    drawn = not isinstance(picture, UserError)
                    session.thumbs[name] = on_screen(ImageOps.contain(picture, (THUMB, THUMB))) if drawn else ""
                yield gallery(studio, session) if pictures else gr.skip()  # by which a visitor's leaving is noticed

    fields, last = [panel.name, panel.strength], EDIT | {"trigger_mode": "always_last"}
    chosen = panel.gallery.select(choose, state, panel.name, trigger_mode="multiple", **SILENT)
    arrived = chosen.success(
        download,
        [panel.name, state],
        [panel.progress, panel.gallery],
        api_visibility="private",
        trigger_mode="always_last",
        **LONG,
    )
    arrived.failure(None, None, panel.progress, js=set_to(""), **SILENT)
    context.on(arrived.success, apply, fields, **last)
    context.on(panel.strength.input, slide, fields, **last)
    panel.draw.click(draw, state, panel.gallery, api_visibility="private", trigger_mode="always_last", **IDLE)
