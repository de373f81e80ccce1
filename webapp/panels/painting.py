"""The picture painted in the style of a text (CLIPstyler)."""

from __future__ import annotations

import html
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import gradio as gr

from pipeline.errors import UserError
from pipeline.vocabulary import enumerated
from webapp.download_progress import bar, in_line
from webapp.error_messages import guard
from webapp.files import on_screen
from webapp.lossplot import cut_note, progress
from webapp.model_handle import ModelHandle
from webapp.panels.result import SILENT, set_to, status
from webapp.queues import LONG
from webapp.render import Context, Updates
from webapp.session import Session

REDRAW_EVERY = 0.5  # seconds between two pictures sent to the browser
PREVIEW = 256  # pixels of these pictures
DOING = "Painting"


@dataclass(frozen=True)
class Painting:
    """The panel's components."""

    words: gr.Textbox
    neutral: gr.Textbox
    run: gr.Button
    stop: gr.Button
    progress: gr.HTML


def layout(studio: ModelHandle, able: bool) -> Painting:
    """Draw the panel; hidden unless `able`, see `style_words` of a row."""
    with gr.Column(visible=able, elem_id="painting"):
        told = (
            "Draws this one picture anew in the style of your words, in half a minute or so; a ready style from above "
            "changes what the model draws. Later edits are painted too, and of a photo you can take home all of it, "
            "painted, by “In the photo”."
        )
        if known := studio.family.row.known_styles:
            told += f" This model knows {enumerated(known)}."
        gr.HTML(f'<h3>Paint this picture</h3><p class="note">{html.escape(told)}</p>')
        with gr.Row():
            words = gr.Textbox("oil painting", label="Style", elem_id="paint-words")
            neutral = gr.Textbox(studio.family.row.medium, label="What it is now", elem_id="paint-neutral")
        with gr.Row(elem_classes="actions"):
            run = gr.Button("Paint", variant="primary", elem_id="paint-picture")
            stop = gr.Button("Stop", visible=False, elem_id="stop-painting")
        far = gr.HTML(label="progress", elem_id="painting-progress")
    return Painting(words, neutral, run, stop, far)


def connect(panel: Painting, context: Context) -> None:
    """Say what the panel's fields do."""
    studio, state, result = context.studio, context.state, context.result

    @guard
    def begin(session: Session) -> tuple[Any, ...]:
        session.paintings += 1
        return gr.Button(interactive=False), gr.Button(visible=True), bar(DOING)

    def run(words: str, neutral: str, session: Session) -> Iterator[Updates]:
        """Paint the picture that is shown. Sends the progress and the picture while it runs; what was painted until
        Stop is kept."""
        number, begun = session.paintings, session.current
        notes = studio.style_notes(words, neutral)
        said = status(*notes) if notes else ""  # while there is time to stop
        yield {panel.progress: bar(DOING) + said}
        with session.lock:
            source = session.base("paint", target=words, neutral=neutral)
            before = begun.picture if begun.is_face else session.before_picture

        def stopped() -> bool:
            return number <= session.paintings_stopped or begun not in session.strip

        linked = session.linked  # a link brings its number of steps, as long as its words stand
        as_linked = (linked.get("target"), linked.get("neutral")) == (words, neutral)
        usual = studio.family.defaults.paint_steps
        count = studio.fitting("paint", linked.get("steps", usual) if as_linked else usual)
        with closing(studio.paint(source, words, neutral, count, preview=PREVIEW)) as steps:
            for place in steps.places(stopped):
                if stopped():
                    raise UserError("Stopped; the picture is as it was.")
                yield {panel.progress: in_line(place)}
            drawn = began = time.monotonic()
            for step in steps:
                now = time.monotonic()
                began = now if step.index == 1 else began  # the first step takes longer: it looks for the style
                if stopped() or steps.is_over_time:
                    break
                if now - drawn > REDRAW_EVERY:
                    drawn, left = now, (now - began) / max(1, step.index - 1) * (step.total - step.index)
                    shown = {result.slider: (before, on_screen(step.image))} if session.current == begun else {}
                    yield {panel.progress: progress(step.index, step.total, left, DOING) + said} | shown
            step.edit.draw()  # before it is looked what the visitor has chosen meanwhile
        session.keep(source, step.edit, begun=begun)
        late = step.index < step.total and not stopped()
        told = status(*step.edit.notes, cut_note(step.index, step.total) if late else "")
        yield context.render(session) | {panel.progress: told}

    def stop(session: Session) -> str:
        session.paintings_stopped = session.paintings
        return bar("Stopping after this step")

    fields, buttons = [panel.words, panel.neutral], [panel.run, panel.stop]
    asked = panel.run.click(begin, state, [*buttons, panel.progress], **SILENT)
    painted = context.on(asked.success, run, fields, [panel.progress], **LONG)
    idle = set_to(gr.update(interactive=True), gr.update(visible=False))
    for ended in (painted.success, painted.failure):  # `then` is not called after a failure
        ended(None, None, buttons, js=idle, **SILENT)
    painted.failure(None, None, panel.progress, js=set_to(""), **SILENT)
    painted.failure(context.render, state, context.picture, **SILENT)
    panel.stop.click(stop, state, panel.progress, **SILENT)
