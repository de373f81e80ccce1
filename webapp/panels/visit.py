"""The visit: it goes on when the page is loaded again, ends with "Start over", and says so when it is over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from webapp import opening, session_expiry, visits
from webapp.error_messages import guard, told_plainly
from webapp.model_handle import ModelHandle
from webapp.panels import link, mappers
from webapp.panels.form import Form, left_behind
from webapp.panels.mappers import Mappers
from webapp.panels.result import SILENT, Result, settle, shown
from webapp.panels.training import Training
from webapp.queues import asked_now
from webapp.request_limits import address_of
from webapp.session import Session

ASK = """(_, session) => [
  confirm("Start over? Your photo, all pictures on the strip and your own mappers are removed."), session
]"""


@dataclass(frozen=True)
class Visit:
    """The panel's components."""

    secret: gr.Textbox
    over: gr.Checkbox
    """Whether the browser had a visit that the server holds no more."""
    sure: gr.Checkbox
    still_here: gr.Button
    delete: gr.Button
    start_over: gr.Button


def layout() -> Visit:
    """Draw the buttons, and the fields that nobody sees."""
    with gr.Row(elem_classes="actions"):
        delete = gr.Button("Delete this picture", size="sm", elem_id="delete-shot")
        start_over = gr.Button("Start over", size="sm", elem_id="start-over")
        still_here = gr.Button(
            "Still here", elem_id="still-here"
        )  # style.css hides it; session_expiry.WATCH presses it
    secret = gr.Textbox(label="secret", visible=False)
    over = gr.Checkbox(label="over", visible=False)
    sure = gr.Checkbox(label="sure", visible=False)
    return Visit(secret, over, sure, still_here, delete, start_over)


def connect(
    panel: Visit,
    page: gr.Blocks,
    form: Form,
    chosen: Mappers,
    training: Training,
    result: Result,
    studio: ModelHandle,
    first: Session,
    state: gr.State,
) -> gr.events.Dependency:
    """Say what the buttons do. `first` is what a new visit shows. Gives the event that begins a visit or goes on with
    one; whatever else a page does when it opens comes after it.

    The one answer of this event holds all that a visit shows, and only then the page opens: what came later would
    replace what the visitor has done by then."""
    model = studio.family.name
    outputs = [chosen.gallery, training.download, *result.picture]

    def opened(session: Session) -> tuple[Any, ...]:
        """The values of `outputs`: what only a visitor's own actions draw."""
        own = list(session.mappers.values())
        return (
            gr.update(value=mappers.gallery(studio, chosen, session), visible=bool(studio.mappers() or own)),
            gr.update(value=str(own[-1]) if own else None, interactive=bool(own)),
            *shown(session),
        )

    @guard
    def come(secret: str | None, request: gr.Request) -> dict[gr.blocks.Block, Any]:
        """Go on with the visit that the browser has the secret of, or begin one."""
        kept = visits.find(secret, model) if isinstance(secret, str) else None
        session = kept or visits.begin(first)
        session.page, session.address = request.session_hash, address_of(request)
        over = bool(secret) and kept is None
        values = {state: session, panel.secret: session.secret, panel.over: over}
        if kept:
            values |= zip(outputs, opened(session), strict=True)
            pictures = values[chosen.gallery]
            values |= zip(result.follows(fills=True), result.redrawn(session, fills=True), strict=True)
            values[chosen.gallery] = pictures | values[chosen.gallery]  # which says only what is chosen of them
        return values | link.filled(form, studio, session, request.query_params) | left_behind(form, session)

    def start_over(sure: bool, session: Session) -> Any:
        if not sure:
            return [gr.skip()] * (1 + len(outputs))
        with told_plainly():
            fresh = visits.start_over(session, first)
            fresh.choices.made = asked_now()  # a photo that waits in line since before is not of this visit
            return fresh, *opened(fresh)

    @guard
    def delete(session: Session) -> tuple[Any, ...]:
        session.delete()
        return shown(session)

    def still_here(session: Session) -> None:
        session.touch()

    everything = [state, panel.secret, panel.over, *outputs, *result.follows(fills=True), *link.fills(form)]
    came = page.load(come, panel.secret, list(dict.fromkeys(everything)), js=session_expiry.SECRET, **SILENT)
    came.success(None, [panel.secret, panel.over], None, js=session_expiry.KEEP)
    late = list(opening.drawn_late(page))
    drawn = came.success(None, None, late, js=f"() => Array({len(late)}).fill({{__type__: 'update', visible: true}})")
    drawn.then(None, None, None, js=opening.OPEN)
    came.failure(None, None, None, js=opening.OPEN)  # every part then tells the visitor to load the page again
    started = panel.start_over.click(start_over, [panel.sure, state], [state, *outputs], js=ASK, **SILENT)
    deleted = panel.delete.click(delete, state, result.picture, **SILENT)
    for event in (started, deleted):
        settle(result, event, state, fills=True)
    panel.still_here.click(still_here, state, None, **SILENT)
    return came
