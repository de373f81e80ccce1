"""How close the inversion is to the photo, and two ways to come closer: refining the code, tuning the generator."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

import gradio as gr

from pipeline import Edit, Latent
from pipeline.errors import UserError
from pipeline.methods.inversion import LIKE_THE_PHOTO, REFINE_STEPS, TUNE_STEPS
from pipeline.recipes import BY_NAME
from webapp.download_progress import bar, in_line
from webapp.example_faces import kind_of
from webapp.files import on_screen
from webapp.history import DetectedFace, HistoryItem
from webapp.lossplot import cut_note, progress
from webapp.model_handle import ModelHandle
from webapp.panels.gallery import KINDS, made
from webapp.panels.result import SILENT, set_to
from webapp.queues import LONG
from webapp.render import Context, Updates
from webapp.session import Session

REDRAW_EVERY = 0.25  # seconds between two pictures sent to the browser
PREVIEW = 256  # pixels of these pictures
QUICK = ("direct", "combine", "exchange", "map", "style", "csla_edit")  # methods of one pass
DOING = {"refine": "Refining the likeness", "tune": "Tuning to this face"}
LIKENESSES = ((0.8, "very much like the photo"), (LIKE_THE_PHOTO, "like the photo"), (0.4, "somewhat like the photo"))


@dataclass(frozen=True)
class Likeness:
    """The panel's components."""

    row: gr.Row
    refine: gr.Button
    tune: gr.Button
    stop: gr.Button
    progress: gr.HTML


def line(studio: ModelHandle, face: DetectedFace, latent: Latent) -> str:
    """How close a latent is to the person in a photo; "" where the identity network doesn't know, which else would
    praise strangers: on pictures of a kind that it was not shown to tell people apart on."""
    if studio.family.row.likeness != (kind_of(face.photo) if face.example else "photographs"):
        return ""
    likeness = studio.likeness(latent, face.face())
    return "" if likeness is None else in_words(likeness)


def in_words(likeness: float) -> str:
    """An identity cosine in words, with its value."""
    words = next((words for least, words in LIKENESSES if likeness >= least), "not much like the photo")
    return f"The inversion looks {words} (identity {likeness:.2f})."


def made_again(
    studio: ModelHandle, session: Session, edited: HistoryItem, latent: Latent
) -> tuple[list[tuple[Latent, Edit, str, Latent]], str]:
    """The edits of a picture, made again on another face: the source, the edit, the name and the edit at full strength
    of each; and what to say of them."""
    again = []
    for recipe in edited.recipes:
        kind, parameters = KINDS.get(BY_NAME.get(recipe["method"], "")), recipe["parameters"]
        own = kind and kind.shelf(session).files.get(parameters[kind.name])
        try:
            if recipe["method"] not in QUICK:
                raise UserError("A run of its own.")
            if own:
                regions = recipe.get("within", {}).get("regions", ())
                whole = made(studio, kind, latent, own, parameters["strength"], regions)
            else:
                whole = studio.repeat(recipe | {"share": 1.0}, latent, anywhere=True)
            edit = studio.adjust(latent, whole, recipe.get("share", 1.0))
        except UserError:
            return [], f"Your edit “{edited.title}” is on the strip as it was; please make it again here if you like."
        again.append((latent, edit, recipe.get("name", ""), whole.latent))
        latent = edit.latent
    return again, "Your edits were made again on it."


def layout(able: bool) -> Likeness:
    """Draw the panel; not `able` where there are no photos of faces to come closer to."""
    with gr.Row(visible=able, elem_id="likeness", elem_classes="actions") as row:
        refine = gr.Button("Refine likeness", size="sm", min_width=100, elem_id="refine")
        tune = gr.Button("Tune to this face", size="sm", min_width=100, elem_id="tune")
        stop = gr.Button("Stop", size="sm", min_width=60, visible=False, elem_id="stop-likeness")
    bar = gr.HTML(label="progress", elem_id="likeness-progress")
    return Likeness(row, refine, tune, stop, bar)


def connect(panel: Likeness, inversion: gr.Image, uploaded: gr.events.Dependency | None, context: Context) -> None:
    """Say what the panel's fields do. `inversion` is the photo panel's; after `uploaded`, which inverts a new photo,
    the generator is tuned to it, unless that is None."""
    studio, state = context.studio, context.state
    running = {panel.stop: gr.update(visible=True)}
    idle = {panel.stop: gr.update(visible=False), panel.progress: ""}

    def come_closer(
        method: str, title: str, session: Session, wanted: Callable[[HistoryItem], bool]
    ) -> Iterator[Updates]:
        """Refine or tune the face that is edited, for as long as it is `wanted`, and put the result on the strip."""
        session.likeness_runs += 1
        number, origin = session.likeness_runs, session.origin

        def stopped() -> bool:
            return number <= session.likeness_stopped

        if origin.detected is None:
            raise UserError("There is no photo that this face could be more like; please choose one.")
        face = origin.detected.face()
        yield running | {panel.progress: bar(DOING[method])}
        usual = {"refine": REFINE_STEPS, "tune": TUNE_STEPS}[method]
        begun = getattr(studio, method)(origin.latent, face, studio.fitting(method, usual), preview=PREVIEW)
        with closing(begun) as steps:
            for place in steps.places(stopped):
                if stopped():
                    raise UserError("Stopped; the face is as it was.")
                yield running | {panel.progress: in_line(place)}
            began = drawn = time.monotonic()
            for step in steps:
                now = time.monotonic()
                if stopped() or not wanted(origin) or steps.is_over_time:
                    break
                if now - drawn > REDRAW_EVERY:
                    drawn = now
                    left = (now - began) / step.index * (step.total - step.index)
                    picture = {inversion: on_screen(step.image)} if session.origin == origin else {}
                    yield running | {panel.progress: progress(step.index, step.total, left, DOING[method])} | picture
            step.edit.draw()  # before it is looked what the visitor has chosen meanwhile
        note = line(studio, origin.detected, step.latent) or f"{title}; please compare it with the photo."
        if step.index < step.total and not stopped():
            note = f"{note} {cut_note(step.index, step.total)}"
        again, edited = [], session.current
        if wanted(origin) and edited != origin and session.origin == origin:
            again, told = made_again(studio, session, edited, step.latent)
            note = f"{note} {told}"
        if not wanted(origin):
            raise UserError("Another face was chosen meanwhile, so this ended.")
        more = {"notes": (f"{step.index} steps",), "detected": origin.detected}
        made = HistoryItem.of(step.edit.image, title, step.latent, note, **more)
        behind = session.add(made, compare_with=origin, show=session.origin == origin)
        for number, edit in enumerate(again, 1):
            behind = session.keep(*edit, begun=behind, wish=edited.wish if number == len(again) else None)
        yield context.render(session) | idle | {inversion: session.origin.picture}

    def refine(session: Session) -> Iterator[Updates]:
        yield from come_closer("refine", "Refined face", session, session.holds)

    def tune(session: Session) -> Iterator[Updates]:
        yield from come_closer("tune", "Tuned face", session, session.holds)

    def tune_to(session: Session) -> Iterator[Updates]:
        """Tune to a photo that was uploaded, for as long as its face is looked at. Nothing is said where it is not, or
        another long job of the visitor's runs: nobody asked for this one."""
        face, session.uploaded = session.uploaded, None
        if face is None or session.origin.detected is not face:
            yield gr.skip()
            return
        try:
            yield from come_closer("tune", "Tuned face", session, lambda origin: session.origin == origin)
        except UserError:
            yield idle

    def stop(session: Session) -> None:
        session.likeness_stopped = session.likeness_runs

    outputs = [panel.stop, panel.progress, inversion]
    begun = [(panel.refine.click, refine, "once"), (panel.tune.click, tune, "once")]
    if uploaded is not None:
        begun.append((uploaded.success, tune_to, "multiple"))
    for trigger, handler, mode in begun:
        form = handler is not tune_to  # then the visitor may be typing
        ran = context.on(trigger, handler, (), outputs, form, trigger_mode=mode, **LONG)
        ran.failure(None, None, [panel.stop, panel.progress], js=set_to(gr.update(visible=False), ""), **SILENT)
        ran.failure(lambda session: session.origin.picture, state, inversion, **SILENT)
    panel.stop.click(stop, state, None, **SILENT)
