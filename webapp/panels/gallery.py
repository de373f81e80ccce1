"""What was learned beforehand, there in one pass: mappers (paper, section 5), and styles (StyleGAN-NADA)."""

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
from pipeline.models.named_networks import title_of
from pipeline.models.sources import Source
from pipeline.recipes import BY_NAME
from webapp.download_progress import arriving, bytes_of, megabytes
from webapp.error_messages import guard
from webapp.files import on_screen
from webapp.panels.bounded import bounded
from webapp.panels.chooser import chooser, pressed
from webapp.panels.result import SILENT, set_to
from webapp.queues import EDIT, IDLE, LONG
from webapp.render import Context, Updates
from webapp.session import Session
from webapp.shelf import Shelf

THUMB = 256  # pixels
CHOOSE = "choose it in its gallery, which fetches it while others go on."


@dataclass(frozen=True)
class Kind:
    """What the galleries differ in."""

    name: str
    """What one is called, the parameter that names it, and its kind in the pipeline."""
    method: str
    lowest: float
    """The least strength, as a multiple of the default."""
    highest: float
    none: str
    """What is said where the family has none."""

    @property
    def plural(self) -> str:
        return f"{self.name}s"

    def default_strength(self, studio: StyleCLIP) -> float:
        """The strength at which the page begins."""
        return getattr(studio.family.defaults, f"{self.name}_strength")

    def titles(self, studio: StyleCLIP) -> dict[str, str]:
        """The family's: name -> title."""
        return {name: title for name, (title, _) in studio.family.named[self.name].table.items()}

    def shelf(self, session: Session) -> Shelf:
        """The visitor's."""
        return session.shelves[self.name]


MAPPER = Kind("mapper", "map", -2, 3, "This model family comes without mappers; those of yours will stand here.")
STYLE = Kind("style", "style", 0, 2, "This model family comes without styles; those of yours will stand here.")
KINDS = {kind.name: kind for kind in (MAPPER, STYLE)}


@dataclass(frozen=True)
class Gallery:
    """The panel's components."""

    kind: Kind
    gallery: gr.Gallery
    name: gr.Textbox
    progress: gr.HTML
    strength: gr.Slider
    draw: gr.Button
    """page.js presses it where the gallery is looked at and may show another face."""


def not_here(studio: StyleCLIP, kind: Kind, name: str) -> Source | None:
    """The file of one of the family's, where it is still to be downloaded."""
    _, source = studio.family.named[kind.name].table.get(name, ("", None))
    return source if source and not source.here() else None


def away(studio: StyleCLIP, method: str, parameters: dict[str, Any]) -> Source | None:
    """The file that an edit needs, where it is still to be downloaded."""
    kind = KINDS.get(BY_NAME.get(method, ""))
    return kind and not_here(studio, kind, parameters[kind.name])


def _grey(picture: Image.Image) -> Image.Image:
    grey = picture.convert("L").convert("RGB")
    return Image.blend(grey, Image.new("RGB", grey.size, (128, 128, 128)), 0.5)


def captions(studio: StyleCLIP, kind: Kind) -> list[str]:
    """The titles, with the size of what is still to be downloaded."""
    rows = studio.family.named[kind.name].table.values()
    return [title if source.here() else f"{title} · {megabytes(bytes_of([source]))}" for title, source in rows]


def pictures(studio: StyleCLIP, session: Session, kind: Kind) -> list[tuple[str, str]]:
    """Pictures and titles: the family's, then the visitor's own. What is not drawn yet, or of one that is still to be
    downloaded or can't be applied, is the face itself in grey."""
    shelf = kind.shelf(session)
    names = [*kind.titles(studio), *shelf.files]
    titles = [*captions(studio, kind), *(f"{name} · yours" for name in shelf.files)]
    titles = [f"{t} · unusable" if shelf.thumbs.get(n) == "" else t for n, t in zip(names, titles, strict=True)]
    if not all(shelf.thumbs.get(name) for name in names):
        with Image.open(session.origin.thumbnail) as face:
            blank = on_screen(_grey(face))
    return [(shelf.thumbs.get(name) or blank, title) for name, title in zip(names, titles, strict=True)]


def own_name(studio: StyleCLIP, session: Session, kind: Kind, title: str) -> str:
    """What a visitor's new one is called: its title, and more where one of the family or of theirs is called so."""
    title = (title_of(title) or kind.name.capitalize())[:48].strip()
    family = {name.casefold() for pair in kind.titles(studio).items() for name in pair}
    taken = family | {name.casefold() for name in kind.shelf(session).files}
    yours = [f"{title} (yours)"] if title.casefold() in family else []
    names = chain([title], yours, (f"{title} ({number})" for number in count(2)))
    return next(name for name in names if name.casefold() not in taken)


def layout(studio: StyleCLIP, session: Session, kind: Kind) -> Gallery:
    """Draw the panel: a gallery, whose pictures are drawn when somebody looks at it, and the strength."""
    default, titles = kind.default_strength(studio), kind.titles(studio)
    trained = default if kind is MAPPER else 1.0
    if not titles:
        gr.HTML(f'<p class="note">{kind.none}</p>', elem_id=f"no-{kind.plural}")
    last = session.current.recipes[-1] if session.current.recipes else {"method": ""}
    chosen = last["parameters"][kind.name] if last["method"] == kind.method else ""
    gallery = chooser(
        value=pictures(studio, session, kind),
        selected_index=list(titles).index(chosen) if chosen else None,
        label=kind.plural.capitalize(),
        show_label=False,
        visible=bool(titles),
        elem_id=kind.plural,
        captioned=True,
    )
    name = gr.Textbox(chosen, label=kind.name, visible=False)
    progress = gr.HTML(label="download", elem_id=f"{kind.name}-download")
    strength = bounded(
        round(kind.lowest * default, 3),
        round(kind.highest * default, 3),
        default,
        step=round(default / 10, 3),
        label=f"Strength ({trained:g} as trained)",
        visible=bool(titles),
        elem_id=f"{kind.name}-strength",
    )
    # style.css hides it.
    draw = gr.Button("Draw the gallery", elem_id=f"draw-{kind.plural}", elem_classes="draw-gallery")
    return Gallery(kind, gallery, name, progress, strength, draw)


def made(studio: Any, kind: Kind, source: Latent, wanted: str | Path, strength: float, regions: list[str]) -> Any:
    """The edit of a face."""
    if kind is STYLE:  # which changes the whole picture
        return studio.style(source, wanted, strength)
    return studio.map(source, wanted, strength, regions)


def connect(panel: Gallery, context: Context) -> None:
    """Say what the panel's fields do."""
    studio, state, kind = context.studio, context.state, panel.kind

    def asked(name: str, strength: float, session: Session) -> tuple[Latent, str | Path, float, list[str]]:
        """What `made` takes, all as it is now."""
        if not name:
            raise UserError(f"Choose a {kind.name} first.")
        words = {kind.name: name}
        with session.lock:
            source = session.base(kind.method, **words)
            regions = session.held_to(kind.method, **words) if kind is MAPPER else []
        return source, kind.shelf(session).files.get(name, name), strength, regions

    def make(wanted: tuple[Latent, str | Path, float, list[str]], session: Session) -> Updates:
        session.keep(wanted[0], made(studio, kind, *wanted))
        return context.render(session)

    def apply(name: str, strength: float, session: Session) -> Updates:
        """Apply one by its name to this visitor's face."""
        return make(asked(name, strength, session), session)

    def slide(name: str, strength: float, session: Session) -> Iterator[Updates]:
        """`apply` by the slider, with a small picture first."""
        wanted = asked(name, strength, session)
        if wanted[1] == name and not_here(studio, kind, name):  # which takes no turn while it is fetched
            yield make(wanted, session)
            return
        yield from context.small_first(
            session, lambda model: made(model, kind, *wanted).latent, lambda: make(wanted, session)
        )

    @guard
    def choose(event: gr.SelectData, session: Session) -> str:
        return pressed([*kind.titles(studio), *kind.shelf(session).files], event)

    @guard
    def download(name: str, session: Session) -> Iterator[Updates]:
        """Before its first use, and beside what computes: other visitors need not wait for it."""
        source = None if name in kind.shelf(session).files else not_here(studio, kind, name)
        if source is None:
            yield gr.skip()
            return
        for bar in arriving([source], studio.jobs.check):
            yield {panel.progress: bar}
        yield {panel.progress: "", panel.gallery: pictures(studio, session, kind)}

    @guard
    def draw(session: Session) -> Iterator[Any]:
        """What each makes of this visitor's face, in small pictures, while nobody waits. What can't be drawn stays
        grey, and what is wrong is said to who chooses it."""
        face, shelf = session.origin, kind.shelf(session)
        known = {name: name for name in kind.titles(studio) if not not_here(studio, kind, name)}
        if shelf.thumbs_of != face.key:
            shelf.thumbs_of, shelf.thumbs = face.key, {}
        yield pictures(studio, session, kind)
        due = {name: wanted for name, wanted in (known | shelf.files).items() if name not in shelf.thumbs}
        with suppress(UserError, gr.Error):  # the latter where no GPU is lent to the visitor any more
            for drawn in studio.thumbnails(kind.name, face.latent, due) if due else ():
                if shelf.thumbs_of != face.key or session.origin != face:
                    return
                for name, picture in drawn.items():
                    usable = not isinstance(picture, UserError)
                    shelf.thumbs[name] = on_screen(ImageOps.contain(picture, (THUMB, THUMB))) if usable else ""
                yield pictures(studio, session, kind) if drawn else gr.skip()  # by which a visitor's leaving is noticed

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
