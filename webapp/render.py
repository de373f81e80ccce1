"""One way from a visit to the page: each panel has a function that draws its part, and `Context` puts them together.

A handler changes the session and returns `context.render(session)`, the picture with its words, with what else it tells
beside it. The other parts follow in an event of their own, so that the picture doesn't wait for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr
from gradio.blocks import Block

from pipeline import Latent, StyleCLIP
from pipeline.errors import UserError
from webapp.error_messages import guard
from webapp.files import on_screen
from webapp.jobs import CHANGED
from webapp.model_handle import ModelHandle
from webapp.panels import result
from webapp.panels.result import SILENT, Result
from webapp.pictures import CHOSEN
from webapp.presets import Presets
from webapp.session import Session

Updates = dict[Block, Any]
"""New values of components."""
Part = Callable[[Session], Updates]
"""Draws a part of the page. It gives an update to each of its components each time."""

# The strip scrolls to the picture that is shown, once the browser has drawn it. On a phone, where the picture is far
# below the buttons that change it, the page scrolls to it after one was pressed there; page.js sets `touched`.
REVEAL = """() => setTimeout(() => {
  const strip = document.querySelector("#strip .grid-container"), shown = strip?.querySelector(".selected");
  if (shown) strip.scrollLeft += shown.getBoundingClientRect().left - strip.getBoundingClientRect().left - 120;
  const slides = ["range", "number"].includes(document.activeElement?.type);
  const paints = window.touched?.closest?.("#where, #paint") && document.querySelector("#paint")?.checkVisibility();
  if (innerWidth < 760 && !slides && !paints && window.touched?.closest?.("#edit-card, #mix, #face"))
    document.querySelector("#before-after")?.scrollIntoView({block: "nearest", behavior: "smooth"});
}, 80)"""


@dataclass(frozen=True)
class Context:
    """What the handlers of all panels share."""

    studio: ModelHandle
    presets: Presets
    state: gr.State
    """Holds the visitor's session."""
    result: Result
    note: gr.HTML
    """The line under the picture. It comes with the picture: later, it would replace what a button has said there."""
    parts: tuple[Part, ...]
    """They draw what follows every edit."""
    form: Part
    """Draws the fields and notes of the methods, which follow when another picture is chosen."""
    first: Session
    """The session that the page is built with."""

    def render(self, session: Session, losses: str = "") -> Updates:
        """Before and after with its words, and a plot of the losses or ""."""
        with session.lock:
            return result.draw(self.result, session, losses) | {self.note: result.hint(session)}

    def render_rest(self, session: Session, form: bool = False) -> Updates:
        """What else shows the visit, with or without the form."""
        session.touch()
        with session.lock:
            parts = [part(session) for part in (*self.parts, *([self.form] if form else []))]
        return {component: value for part in parts for component, value in part.items()}

    @property
    def picture(self) -> list[Block]:
        """The components of `render`."""
        return list(self.render(self.first))

    def rest(self, form: bool = False) -> list[Block]:
        """The components of `render_rest`."""
        return list(self.render_rest(self.first, form))

    def on(
        self,
        trigger: Callable[..., Any] | Sequence[Callable[..., Any]],
        handler: Callable[..., Any],
        inputs: Sequence[Block] = (),
        outputs: Sequence[Block] = (),
        form: bool = False,
        **options: Any,
    ) -> gr.events.Dependency:
        """Let a handler that changes the visit answer an event, and draw the rest after it, the newest of several; with
        the `form` where the event chooses another picture.

        The handler gets the values of `inputs` and the session, and gives updates of the picture and of `outputs`.
        `options` are the event's, as the group of `webapp.queues` in which it runs.
        """
        listen = partial(gr.on, list(trigger)) if isinstance(trigger, Sequence) else trigger
        outputs, options = [*self.picture, *outputs], {"api_visibility": "private"} | options
        event = listen(guard(handler), [*inputs, self.state], outputs, **options)
        self.follow(event, form)
        return event

    def follow(self, event: gr.events.Dependency, form: bool = False) -> None:
        """Draw the rest after an event."""

        def drawn(session: Session) -> Any:
            try:
                rest = self.render_rest(session, form)
            except UserError as error:
                if str(error) == CHANGED:  # after the event: the page is about to load anew
                    return gr.skip()
                raise
            return gr.skip() if session.ended else rest  # the page shows the new visit by now

        following = event.success(drawn, self.state, self.rest(form), trigger_mode="always_last", **SILENT)
        following.then(None, None, None, js=REVEAL)

    def small_first(
        self, session: Session, make: Callable[[StyleCLIP], Latent], finish: Callable[[], Updates]
    ) -> Iterator[Updates]:
        """The answers of a slider: a small picture of the latent that `make` makes, where the model has small ones;
        then what `finish` gives.

        Raises UserError where another picture was chosen meanwhile, and what `finish` raises. The page then shows the
        picture that it showed.
        """
        current, small = session.current, self.studio.glance(make)
        if session.current != current:
            raise UserError(CHOSEN)
        if small:
            yield {self.result.slider: (session.before_picture, on_screen(small))}
        try:
            answer = finish()
        except Exception:
            if small:
                yield self.render(session)
            raise
        yield answer
