"""How close the inversion is to the photo, and two ways to come closer: refining the code, tuning the generator."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import gradio as gr

from pipeline import Latent
from pipeline.errors import UserError
from pipeline.methods.inversion import REFINE_STEPS, TUNE_STEPS
from webapp.download_progress import bar, in_line
from webapp.error_messages import guard
from webapp.example_faces import kind_of
from webapp.files import on_screen
from webapp.lossplot import progress
from webapp.model_handle import ModelHandle
from webapp.panels.result import SILENT, Result, keep, set_to, settle, shown
from webapp.queues import LONG
from webapp.session import Session
from webapp.shots import Found, Shot

REDRAW_EVERY = 0.25  # seconds between two pictures sent to the browser
PREVIEW = 256  # pixels of these pictures
QUICK = ("direct", "map", "csla_edit")  # methods of one pass
WORDS = ((0.8, "very much like the photo"), (0.6, "like the photo"), (0.4, "somewhat like the photo"))


@dataclass(frozen=True)
class Likeness:
    """The panel's components."""

    row: gr.Row
    refine: gr.Button
    tune: gr.Button
    stop: gr.Button
    progress: gr.HTML


def line(studio: ModelHandle, found: Found, latent: Latent) -> str:
    """How close a latent is to the person in a photo; "" where the identity network doesn't know, which else would
    praise strangers: on pictures of a kind that it was not shown to tell people apart on."""
    if studio.family.row.likeness != (kind_of(found.photo) if found.example else "photographs"):
        return ""
    likeness = studio.likeness(latent, found.face())
    return "" if likeness is None else in_words(likeness)


def in_words(likeness: float) -> str:
    """An identity cosine in words, with its value."""
    words = next((words for least, words in WORDS if likeness >= least), "not much like the photo")
    return f"The inversion looks {words} (identity {likeness:.2f})."


def make_again(studio: ModelHandle, session: Session, edited: Shot) -> str:
    """Make the edits of a picture again on the face that is chosen now, and choose the last; what to say of that."""
    source, made = session.here.latent, []
    for recipe in edited.recipes:
        own = session.mappers.get(recipe["parameters"].get("mapper", ""))
        try:
            if recipe["method"] not in QUICK:
                raise UserError("A run of its own.")
            if own:
                edit = studio.map(source, own, recipe["parameters"]["strength"])
                edit = studio.adjust(source, edit, recipe["share"]) if "share" in recipe else edit
            else:
                edit = studio.repeat(recipe, source, anywhere=True)
        except UserError:
            return f"Your edit “{edited.title}” is on the strip as it was; please make it again here if you like."
        made.append((source, edit, recipe.get("name", "")))
        source = edit.latent
    for source, edit, name in made:
        keep(session, source, edit, name)
    return "Your edits were made again on it."


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
    uploaded: gr.events.Dependency | None,
    result: Result,
    studio: ModelHandle,
    state: gr.State,
) -> None:
    """Say what the panel's fields do. `inversion` is the photo panel's; after `uploaded`, which inverts a new photo,
    the generator is tuned to it, unless that is None."""

    def come_closer(
        method: str, title: str, session: Session, wanted: Callable[[Shot], bool]
    ) -> Iterator[tuple[Any, ...]]:
        """Refine or tune the face that is edited, for as long as it is `wanted`, and put the result on the strip."""
        session.likeness_runs += 1
        number, origin = session.likeness_runs, session.here.origin

        def stopped() -> bool:
            return number <= session.likeness_stopped

        if origin.found is None:
            raise UserError("There is no photo that this face could be more like; please choose one.")
        face, nothing, can_stop = origin.found.face(), [gr.skip()] * len(result.picture), gr.Button(visible=True)
        yield can_stop, bar("Starting"), gr.skip(), *nothing
        usual = {"refine": REFINE_STEPS, "tune": TUNE_STEPS}[method]
        begun = getattr(studio, method)(origin.latent, face, studio.jobs.fitting(method, usual), preview=PREVIEW)
        with closing(begun) as steps:
            for place in steps.places(stopped):
                if stopped():
                    raise UserError("Stopped; the face is as it was.")
                yield can_stop, in_line(place), gr.skip(), *nothing
            began = drawn = time.monotonic()
            for step in steps:
                now = time.monotonic()
                if stopped() or not wanted(origin) or steps.is_over_time:
                    break
                if now - drawn > REDRAW_EVERY:
                    drawn = now
                    left = (now - began) / step.index * (step.total - step.index)
                    picture = on_screen(step.image) if session.here.origin is origin else gr.skip()
                    yield can_stop, progress(step.index, step.total, left), picture, *nothing
            step.edit.draw()  # before it is looked what the visitor has chosen meanwhile
        said = line(studio, origin.found, step.latent) or f"{title}; please compare it with the photo."
        if not wanted(origin):
            raise UserError("Another face was chosen meanwhile, so this ended.")
        edited = session.here
        session.add(step.latent, step.edit.image, title, said, f"{step.index} steps", origin.found, beside=origin)
        made = session.here
        if edited.root is origin:
            made.said = f"{made.said} {make_again(studio, session, edited)}"
        yield gr.Button(visible=False), "", made.picture, *shown(session)

    @guard
    def refine(session: Session) -> Iterator[tuple[Any, ...]]:
        yield from come_closer("refine", "Refined face", session, session.holds)

    @guard
    def tune(session: Session) -> Iterator[tuple[Any, ...]]:
        yield from come_closer("tune", "Tuned face", session, session.holds)

    @guard
    def tune_to(session: Session) -> Iterator[tuple[Any, ...]]:
        """Tune to a photo that was uploaded, for as long as its face is looked at. Nothing is said where it is not, or
        another long job of the visitor's runs: nobody asked for this one."""
        found, session.uploaded = session.uploaded, None
        if found is None or session.here.origin.found is not found:
            yield [gr.skip()] * len(outputs)
            return
        try:
            yield from come_closer("tune", "Tuned face", session, lambda origin: session.here.origin is origin)
        except UserError:
            yield gr.Button(visible=False), "", *[gr.skip()] * (len(outputs) - 2)

    def stop(session: Session) -> None:
        session.likeness_stopped = session.likeness_runs

    outputs = [panel.stop, panel.progress, inversion, *result.picture]
    begun = [(panel.refine.click, refine, "once"), (panel.tune.click, tune, "once")]
    if uploaded is not None:
        begun.append((uploaded.success, tune_to, "multiple"))
    for trigger, handler, mode in begun:
        ran = trigger(handler, state, outputs, trigger_mode=mode, api_visibility="private", **LONG)
        ran.failure(None, None, [panel.stop, panel.progress], js=set_to(gr.update(visible=False), ""), **SILENT)
        ran.failure(lambda session: session.here.origin.picture, state, inversion, **SILENT)
        settle(result, ran, state, fills=handler is not tune_to)  # the visitor may be typing
    panel.stop.click(stop, state, None, **SILENT)
