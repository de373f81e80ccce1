"""Before and after in one picture, with the words of the edit."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from pipeline import Edit, Latent, StyleCLIP
from pipeline.errors import UserError
from pipeline.networks.generator import LEVELS
from pipeline.recipes import FROM_WORDS
from webapp import links
from webapp.files import on_screen
from webapp.model_handle import ModelHandle
from webapp.session import CHOSEN, Session

SILENT: dict[str, Any] = {"api_visibility": "private", "queue": False, "show_progress": "hidden"}
"""Settings of an event that computes next to nothing."""

# The strip scrolls to the picture that is shown, once the browser has drawn it. On a phone, where the picture is far
# below the buttons that change it, the page scrolls to it after one was pressed there; page.js sets `touched`.
REVEAL = """() => setTimeout(() => {
  const strip = document.querySelector("#strip .grid-container"), shown = strip?.querySelector(".selected");
  if (shown) strip.scrollLeft += shown.getBoundingClientRect().left - strip.getBoundingClientRect().left - 120;
  const slides = ["range", "number"].includes(document.activeElement?.type);
  if (innerWidth < 760 && !slides && window.touched?.closest?.("#edit-card, #mix"))
    document.querySelector("#before-after")?.scrollIntoView({block: "center", behavior: "smooth"});
}, 80)"""


@dataclass(frozen=True)
class Result:
    """The panel's components, and what follows every edit."""

    slider: gr.ImageSlider
    words: gr.Textbox
    link: gr.Textbox
    """The end of an address that holds the edits of this picture, or nothing; in the next line what it leaves out."""
    losses: gr.HTML
    followers: list[tuple[Callable[[Session], Any], list[gr.components.Component]]] = field(default_factory=list)
    """Functions that draw anew what else shows the strip, and the components that they give values to."""
    form: list[tuple[Callable[[Session], Any], list[gr.components.Component]]] = field(default_factory=list)
    """The same of what the visitor fills in, which follows where another picture is chosen."""

    @property
    def picture(self) -> list[gr.components.Component]:
        """What every edit gives anew; `shown` makes the values."""
        return [self.slider, self.words, self.link, self.losses]

    def follows(self, fills: bool = False) -> list[gr.components.Component]:
        """What else shows the strip, and with `fills` the form; `redrawn` makes the values."""
        return [component for _, drawn in self._parts(fills) for component in drawn]

    def redrawn(self, session: Session, fills: bool = False) -> list[Any]:
        """The values of `follows`."""
        return [value for draw, _ in self._parts(fills) for value in draw(session)]

    def _parts(self, fills: bool) -> list[tuple[Callable[[Session], Any], list[gr.components.Component]]]:
        return [*self.followers, *(self.form if fills else [])]


def shown(session: Session, losses: str = "") -> tuple[tuple[str, str], str, str, str]:
    """The values of `Result.picture`: before and after, what was done in words, its link, and a plot of the losses or
    "". The link comes with the picture, so that "Copy link" never copies the one of the picture before."""
    here = session.here
    words = "\n".join(filter(None, [here.title, here.details]))
    link = "\n".join(links.query_of(here.recipes))
    return (session.before.picture, here.picture), words, link, losses


def glanced(
    session: Session,
    studio: ModelHandle,
    make: Callable[[StyleCLIP], Latent],
    whole: Callable[[], Sequence[Any]],
    outputs: int,
) -> Iterator[Sequence[Any]]:
    """The answers of a slider with so many `outputs`, of which those of `Result.picture` come first: a small picture of
    the latent that `make` makes, where the model has such ones; then what `whole` gives.

    Raises UserError where another picture was chosen meanwhile, and what `whole` raises. The page then shows the
    picture that it showed.
    """
    here, small = session.here, studio.glance(make)
    if session.here is not here:
        raise UserError(CHOSEN)
    if small:
        pictures = (session.before.picture, on_screen(small))
        yield [pictures, *[gr.skip()] * (outputs - 1)]
    try:
        answer = whole()
    except Exception:
        if small:
            now = shown(session)
            yield [*now, *[gr.skip()] * (outputs - len(now))]
        raise
    yield answer


def mean(studio: StyleCLIP) -> Latent:
    """The mean face, which faces from words alone are made from."""
    return studio.sample(seed=0, truncation=0.0)


def keep(session: Session, source: Latent, edit: Edit, name: str = "") -> None:
    """Put an edit of `source` on the strip, under its `name` or the words that it was made with; a face from words
    alone, whose source is the mean face, as one to begin with."""
    title, details = describe(edit.recipe, edit.channels)
    recipe = edit.recipe | ({"name": name} if name else {})
    put = session.begin if recipe["method"] in FROM_WORDS else session.keep
    put(source, edit.latent, recipe, edit.image, name or title, "\n".join([details, *edit.notes]))
    session.here.notes, session.here.channels = edit.notes, edit.channels


def describe(recipe: dict[str, Any], channels: int | None = None) -> tuple[str, str]:
    """An edit in plain text: its words; the method and its numbers."""
    p = recipe["parameters"]
    match recipe["method"]:
        case "direct":
            beta = f", β {p['threshold']:.3g}" if "threshold" in p else ""
            kept = f", {channels:,} channels" if channels is not None else ""
            return p["target"], f"Global direction from “{p['neutral']}”, α {p['strength']:g}{beta}{kept}"
        case "map":
            return p["mapper"].replace("_", " "), f"Mapper, strength {p['strength']:.3g}"
        case "optimize":
            neutral = f", from “{p['neutral']}”" if p["neutral"] else ""
            return p["prompt"], f"{recipe['taken']} steps, λ L2 {p['l2']:g}, λ ID {p['identity']:g}{neutral}"
        case "csla_edit":
            parts = "" if len(p["levels"]) == len(LEVELS) else f", {' and '.join(p['levels'])} only"
            return p["target"], f"Text to face from “{p['neutral']}”, strength {p['strength']:.3g}{parts}"
        case "csla_generate":
            return p["prompt"], f"From the words alone, in one pass, strength {p['strength']:.3g}"
        case _:
            return p["prompt"], f"From the words alone, {recipe['taken']} steps"


def slider(session: Session) -> gr.ImageSlider:
    """Draw before and after, with the edit that the session starts with."""
    return gr.ImageSlider(
        value=shown(session)[0],
        type="filepath",
        label="Before and after",
        show_label=False,
        container=False,
        interactive=False,
        buttons=["fullscreen"],
        elem_id="before-after",
    )


def layout(session: Session, pictures: gr.ImageSlider) -> Result:
    """Draw the panel beside `pictures`, which `slider` drew."""
    line = gr.Textbox(
        value=shown(session)[1],
        show_label=False,
        label="The edit",
        container=False,
        interactive=False,
        lines=3,
        max_lines=9,
        elem_id="edit-words",
    )
    link = gr.Textbox(shown(session)[2], label="link", visible=False)
    losses = gr.HTML(label="losses", render=False, elem_id="losses")  # the page puts it beside the strip
    return Result(pictures, line, link, losses)


def set_to(*values: Any) -> str:
    """A function for the browser that gives components these values, also where the server doesn't answer any more."""
    return f"() => {json.dumps(values)}"


def forget(note: gr.HTML, *texts: gr.Textbox) -> None:
    """Let a note on an edit go once somebody writes other words."""
    written = "() => document.activeElement?.matches('textarea') ? '' : undefined"  # and not filled in by a suggestion
    gr.on([text.change for text in texts], None, None, note, js=written, **SILENT)


def settle(result: Result, event: gr.events.Dependency, state: gr.State, fills: bool = False) -> None:
    """Draw the strip and what belongs to it anew after `event`; the newest of several counts. With `fills` the fields
    and notes of the methods follow too: after events that choose another picture."""
    outputs = result.follows(fills)

    def drawn(session: Session) -> list[Any]:
        return result.redrawn(session, fills)

    event.success(drawn, state, outputs, trigger_mode="always_last", **SILENT).then(None, None, None, js=REVEAL)
