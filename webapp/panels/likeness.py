"""How close the inversion is to the photo, and two ways to come closer: refining the code, tuning the generator."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import gradio as gr

from pipeline.errors import UserError
from pipeline.inversion import REFINE_STEPS, TUNE_STEPS
from webapp.arrival import bar, in_line
from webapp.files import on_screen
from webapp.guard import guard
from webapp.lossplot import progress
from webapp.panels.result import SILENT, Result, settle, shown
from webapp.queues import LONG
from webapp.session import Session
from webapp.stage import Lent

REDRAW_EVERY = 0.25  # seconds between two pictures sent to the browser
PREVIEW = 256  # pixels of these pictures
WORDS = ((0.8, "very much like the photo"), (0.6, "like the photo"), (0.4, "somewhat like the photo"))


@dataclass(frozen=True)
class Likeness:
    """The panel's components."""

    row: gr.Row
    refine: gr.Button
    tune: gr.Button
    stop: gr.Button
    progress: gr.HTML


def in_words(likeness: float) -> str:
    """An identity cosine in words, with its value."""
    words = next((words for least, words in WORDS if likeness >= least), "not much like the photo")
    return f"The inversion looks {words} (identity {likeness:.2f})."


def layout(able: bool) -> Likeness:
    """Draw the panel; not `able` where there are no photos of faces to come closer to."""
    with gr.Row(visible=able, elem_id="likeness", elem_classes="actions") as row:
        refine = gr.Button("Refine likeness", size="sm", min_width=100, elem_id="refine")
        tune = gr.Button("Tune to this face", size="sm", min_width=100, elem_id="tune")
        stop = gr.Button("Stop", size="sm", min_width=60, visible=False, elem_id="stop-likeness")
    bar = gr.HTML(label="progress", elem_id="likeness-progress")
    return Likeness(row, refine, tune, stop, bar)


def connect(
    panel: Likeness,
    inversion: gr.Image,
    result: Result,
    studio: Lent,
    state: gr.State,
) -> None:
    """Say what the panel's fields do. `inversion` is the photo panel's."""

    def closer(method: str, title: str) -> Callable[..., Iterator[tuple[Any, ...]]]:
        @guard
        def run(session: Session) -> Iterator[tuple[Any, ...]]:
            session.stop_likeness, origin = False, session.here.origin
            if origin.found is None:
                raise UserError("There is no photo that this face could be more like; please choose one.")
            face, nothing = origin.found.face(), [gr.skip()] * len(result.picture)
            yield gr.Button(visible=True), bar("Starting"), gr.skip(), *nothing
            usual = {"refine": REFINE_STEPS, "tune": TUNE_STEPS}[method]
            begun = getattr(studio, method)(origin.latent, face, studio.fitting(method, usual), preview=PREVIEW)
            with closing(begun) as steps:
                for place in steps.places(lambda: session.stop_likeness):
                    if session.stop_likeness:
                        raise UserError("Stopped; the face is as it was.")
                    yield gr.skip(), in_line(place), gr.skip(), *nothing
                began = drawn = time.monotonic()
                for step in steps:
                    now = time.monotonic()
                    if session.stop_likeness or origin not in session.shots or steps.is_over_time:
                        break
                    if now - drawn > REDRAW_EVERY:
                        drawn = now
                        left = (now - began) / step.index * (step.total - step.index)
                        picture = on_screen(step.image) if session.here.origin is origin else gr.skip()
                        yield gr.skip(), progress(step.index, step.total, left), picture, *nothing
            if origin not in session.shots:
                raise UserError("Another face was chosen meanwhile, so this ended.")
            said = in_words(studio.likeness(step.latent, face))
            session.add(step.latent, step.edit.image, title, said, f"{step.index} steps", origin.found, beside=origin)
            yield gr.Button(visible=False), "", session.here.picture, *shown(session)

        return run

    def stop(session: Session) -> None:
        session.stop_likeness = True

    for button, method, title in ((panel.refine, "refine", "Refined face"), (panel.tune, "tune", "Tuned face")):
        outputs = [panel.stop, panel.progress, inversion, *result.picture]
        ran = button.click(closer(method, title), state, outputs, api_visibility="private", **LONG)
        ran.failure(
            lambda session: (gr.Button(visible=False), "", session.here.origin.picture),
            state,
            [panel.stop, panel.progress, inversion],
            **SILENT,
        )
        settle(result, ran, state)
    panel.stop.click(stop, state, None, **SILENT)
