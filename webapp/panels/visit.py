"""The visit: it goes on when the page is loaded again, ends with "Start over", and says so when it is over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import gradio as gr

from pipeline.methods.regions import MASK_SIZE
from webapp import opening, session_expiry, visits
from webapp.error_messages import guard, told_plainly
from webapp.panels import link
from webapp.panels.brush import Brush, shown
from webapp.panels.form import Form, left_behind
from webapp.panels.gallery import pictures
from webapp.panels.result import SILENT
from webapp.panels.training import Training
from webapp.queues import asked_now
from webapp.render import Context, Updates
from webapp.request_limits import address_of
from webapp.session import Session

ASK = """(_, session) => [
  confirm("Start over? Your photo, all pictures on the strip and your own mappers and styles are removed."), session
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
        # style.css hides it; session_expiry.WATCH presses it.
        still_here = gr.Button("Still here", elem_id="still-here")
    secret = gr.Textbox(label="secret", visible=False)
    over = gr.Checkbox(label="over", visible=False)
    sure = gr.Checkbox(label="sure", visible=False)
    return Visit(secret, over, sure, still_here, delete, start_over)


def connect(
    panel: Visit, page: gr.Blocks, form: Form, trainings: Sequence[Training], brush: Brush, context: Context
) -> gr.events.Dependency:
    """Say what the buttons do. Gives the event that begins a visit or goes on with one; whatever else a page does when
    it opens comes after it.

    The one answer of this event holds all that a visit shows, and only then the page opens: what came later would
    replace what the visitor has done by then."""
    studio, state, first = context.studio, context.state, context.first
    model = studio.family.name

    def opened(session: Session) -> Updates:
        """The picture, and what else only a visitor's own actions draw."""
        updates = context.render(session) | {
            brush.where: session.where or brush.where.value,
            brush.canvas: shown(session, studio.family.rows(MASK_SIZE)),
        }
        for panel, training in zip(form.galleries, trainings, strict=True):
            value = pictures(studio, session, panel.kind)
            own = list(panel.kind.shelf(session).files.values())
            updates[panel.gallery] = gr.update(value=value, visible=bool(value))
            updates[panel.strength] = gr.update(visible=bool(value))
            updates[training.download] = gr.update(value=str(own[-1]) if own else None, interactive=bool(own))
        return updates

    @guard
    def come(secret: str | None, request: gr.Request) -> Updates:
        """Go on with the visit that the browser has the secret of, or begin one."""
        kept = visits.find(secret, model) if isinstance(secret, str) else None
        session = kept or visits.begin(first)
        session.page, session.address = request.session_hash, address_of(request)
        updates = {state: session, panel.secret: session.secret, panel.over: bool(secret) and kept is None}
        if kept:
            session.page_photo = session.page_sliders = None
            begun, rest = opened(session), context.render_rest(session, form=True)
            # The form says only which of a gallery is chosen.
            chosen = {panel.gallery: begun[panel.gallery] | rest[panel.gallery] for panel in form.galleries}
            updates |= rest | begun | chosen
        return updates | link.filled(form, studio, session, request.query_params) | left_behind(form, session)

    def start_over(sure: bool, session: Session) -> Updates:
        if not sure:
            return gr.skip()
        with told_plainly():
            fresh = visits.start_over(session, first)
            fresh.page_photo = None
            fresh.choices.made = asked_now()  # a photo that waits in line since before is not of this visit
            return {state: fresh} | opened(fresh)

    def delete(session: Session) -> Updates:
        session.delete()
        return context.render(session)

    def still_here(session: Session) -> None:
        session.touch()

    restored = list(opened(first))
    everything = [state, panel.secret, panel.over, *restored, *context.rest(form=True), *link.fills(form)]
    came = page.load(come, panel.secret, list(dict.fromkeys(everything)), js=session_expiry.SECRET, **SILENT)
    came.success(None, [panel.secret, panel.over], None, js=session_expiry.KEEP)
    late = list(opening.drawn_late(page))
    drawn = came.success(None, None, late, js=f"() => Array({len(late)}).fill({{__type__: 'update', visible: true}})")
    drawn.then(None, None, None, js=opening.OPEN)
    came.failure(None, None, None, js=opening.OPEN)  # every part then tells the visitor to load the page again
    started = panel.start_over.click(start_over, [panel.sure, state], [state, *restored], js=ASK, **SILENT)
    context.follow(started, form=True)
    context.on(panel.delete.click, delete, form=True, **SILENT)
    panel.still_here.click(still_here, state, None, **SILENT)
    return came
