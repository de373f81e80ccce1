"""The page: the panels put together, and what is computed for it once, before it is shown."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from pipeline import StyleCLIP
from pipeline.errors import UserError
from pipeline.methods.regions import MASK_SIZE
from webapp import api, opening, queues, session_expiry, visits
from webapp.example_faces import EVERY, examples_of
from webapp.history import DetectedFace, HistoryItem
from webapp.limits import MAPPER_BYTES
from webapp.model_handle import ModelHandle
from webapp.panels import (
    alignment,
    brush,
    directions,
    form,
    gallery,
    history,
    link,
    mix,
    models,
    optimization,
    painting,
    photo,
    result,
    sliders,
    takehome,
    training,
    visit,
    words,
)
from webapp.presets import Presets, presets
from webapp.render import Context
from webapp.session import Session
from webapp.theme import CSS, theme

TITLE = "StyleCLIP Studio"
TRAINING_MINUTES = 10.0

LAUNCH: dict[str, Any] = {
    "theme": theme(),
    "css_paths": CSS,
    "js": Path(__file__).with_name("page.js").read_text(encoding="utf-8"),
    "max_file_size": MAPPER_BYTES,  # photos are bounded where they are read
    # Else the examples are shown only where the app was started in its folder.
    "allowed_paths": [str(example.path) for example in EVERY],
    "footer_links": ["api"],
    "run_history": False,
    "show_error": False,
    "ssr_mode": False,
}
"""Arguments for `launch()` that belong to the page; host, port and share are the caller's."""


def first_session(studio: StyleCLIP, known: Presets) -> Session:
    """What a first visitor finds: an example face, or a random picture, already edited by the first suggestion."""
    session = Session(model=studio.family.name)
    if examples := examples_of(studio):
        example = str(examples[0].path)
        face = DetectedFace.of(example, studio.align(example)[0], example=True)
        photo.start(studio, session, [face], face_note=photo.first_line(studio, face))
    else:
        latent, title = studio.sample(seed=1, truncation=photo.TRUNCATION), f"Random {photo.thing(studio)}"
        session.start_from(HistoryItem.of(studio.image(latent), title, latent, photo.first_line(studio)))
    if studio.directions_note is None:  # an estimate would keep everybody waiting
        first_edit(studio, known, session)
    session.example = True
    return session


def first_edit(studio: StyleCLIP, known: Presets, session: Session) -> None:
    """The first suggestion, as if a visitor had said it."""
    with contextlib.suppress(UserError):  # where this family can't do it, the unedited face will do
        for wish in words.read(studio, known.wishes[0]).wishes:
            words.change(studio, session, session.current, wish)


def build(
    studio: StyleCLIP, load: Callable[[str], StyleCLIP] | None = None, training_minutes: float = TRAINING_MINUTES
) -> queues.Page:
    """The page for one studio; serve it with `.queue().launch(**LAUNCH)`.

    With `load`, which makes a studio of a family's name, the page has a menu to change the model, for all visitors at
    once: give it where they are one person, or know each other. Once the long jobs before it in line are done, the new
    model is loaded and its page built, so that one that fails costs nobody anything. That page is then `successor`, for
    who serves this one (`webapp.process`). Both models are in memory meanwhile, which is less than it seems: the
    weights are files mapped into memory, whose pages the system drops when it needs the room.

    `training_minutes` is how long a visitor's training of a mapper or a style may compute; 0 switches it off.
    """
    handle = ModelHandle(studio)

    def change(name: str) -> None:
        with handle.jobs.line() as before:
            while before():
                pass
            if page.successor:  # somebody else's choice came first
                return
            with ThreadPoolExecutor(1) as elsewhere:  # in a handler's thread, Gradio makes updates of components
                page.successor = elsewhere.submit(lambda: build(load(name), load, training_minutes)).result()

    page = _page(handle, change if load else None, training_minutes)
    return page


def _page(handle: ModelHandle, change: Callable[[str], None] | None, training_minutes: float) -> queues.Page:
    visits.install()
    known = presets(handle.family.name, handle.family.defaults)
    session = first_session(handle, known)
    first_tab = form.TABS[session.current.recipes[-1]["method"]] if session.current.recipes else "optimization"
    width, height = handle.image(session.current.latent).size
    with queues.Page(handle, title=TITLE, analytics_enabled=False) as page:
        api.connect(handle)  # first, so that the endpoints get the names that private events have as well
        state = gr.State(session)  # `webapp.visits` begins another one for each visitor, and forgets it after an hour
        with gr.Row(elem_id="top"):
            thing = photo.thing(handle)
            gr.HTML(
                '<a id="skip" href="#edit-card">Go to the words</a>'
                '<header id="masthead"><h1>StyleCLIP <span>Studio</span></h1>'
                f'<p><a href="#photo-card">Pick a {thing}</a>'
                "<span>, say what should change, and watch it change.</span></p>"
                "</header>"
                f"<style>:root {{ --aspect: {width} / {height}; }}</style>"
            )
            if change:
                models_panel = models.layout(handle.family.row)
            else:
                models.fixed(handle.family.row)
            session_expiry.layout(handle.family.row.title)
        with gr.Row(elem_id="studio"):
            with gr.Column(elem_id="face"):
                photo_panel = photo.layout(handle, session)
            with gr.Column(elem_id="work"):
                with gr.Column(elem_id="edit-card"):
                    words_panel = words.layout(handle, known, session)
                    buttons = words_panel.thorough, words_panel.halt
                    with words_panel.methods, gr.Tabs(selected=first_tab) as tabs:
                        with gr.Tab("Optimization", id="optimization", elem_id="optimization-tab"):
                            optimization_panel = optimization.layout(handle, known, *buttons)
                        with gr.Tab("Mappers", id="mappers", elem_id="mappers-tab"):
                            mappers_panel = gallery.layout(handle, session, gallery.MAPPER)
                            mapper_training = training.layout(handle, gallery.MAPPER, training_minutes)
                        with gr.Tab("Global directions", id="directions", elem_id="directions-tab"):
                            directions_panel = directions.layout(handle, known.pairs)
                        with gr.Tab("Sliders", id="sliders", elem_id="sliders-tab"):
                            sliders_panel = sliders.layout(handle, known.pairs)
                        with gr.Tab("Styles", id="styles", elem_id="styles-tab"):
                            styles_panel = gallery.layout(handle, session, gallery.STYLE)
                            words_for_styles = handle.family.row.styles_in_words
                            minutes = training_minutes if words_for_styles else 0
                            style_training = training.layout(handle, gallery.STYLE, minutes)
                            painting_panel = painting.layout(handle, words_for_styles)
                        with gr.Tab("Text to face", id="alignment", elem_id="alignment-tab"):
                            alignment_panel = alignment.layout(handle, known.pairs, session)
                with gr.Column(elem_id="result-card"):
                    with gr.Row(elem_id="result"):
                        pictures = result.slider(session)
                        with gr.Column(elem_id="take-home"):
                            gr.HTML("<h2>Before and after</h2>")
                            result_panel = result.layout(pictures, words_panel.how, session)
                            history_panel = history.layout(words_panel.strength, session)
                            takehome_panel = takehome.layout()
                            visit_panel = visit.layout()
                            follow = link.layout()
                    with gr.Row(elem_id="history"):
                        with gr.Column(scale=0, min_width=64):
                            history_panel.undo.render()
                            history_panel.redo.render()
                        history_panel.strip.render()
                        result_panel.losses.render()
                    mix_panel = mix.layout(handle, session)
        said = words_panel.text, words_panel.note, words_panel.offers, words_panel.methods
        panels = directions_panel, mappers_panel, styles_panel, painting_panel, optimization_panel, alignment_panel
        filled_in = form.Form(*said, tabs, *panels)
        parts = (
            partial(history.draw, history_panel),
            partial(mix.draw, mix_panel, handle),
            partial(takehome.draw, takehome_panel),
            partial(photo.draw, photo_panel, handle),
            partial(sliders.draw, sliders_panel, handle),
            partial(alignment.draw, alignment_panel),
            partial(optimization.draw, optimization_panel),
            partial(brush.draw, words_panel.brush, handle.family.rows(MASK_SIZE)),
        )
        context = Context(
            handle,
            known,
            state,
            result_panel,
            takehome_panel.note,
            parts,
            partial(form.draw, filled_in, handle, known.pairs),
            session,
        )
        history.connect(history_panel, context)
        mix.connect(mix_panel, context)
        takehome.connect(takehome_panel, context)
        photo.connect(photo_panel, context)
        run = optimization.connect(optimization_panel, context)
        trainings = mapper_training, style_training
        for shown, trained in zip(filled_in.galleries, trainings, strict=True):
            gallery.connect(shown, context)
            training.connect(trained, shown, context, training_minutes)
        painting.connect(painting_panel, context)
        directions.connect(directions_panel, context)
        sliders.connect(sliders_panel, context)
        alignment.connect(alignment_panel, context)
        words.connect(words_panel, filled_in, *run, context)
        came = visit.connect(visit_panel, page, filled_in, trainings, words_panel.brush, context)
        link.connect(follow, came, filled_in, context)
        if change:
            models.connect(models_panel, handle, change, state)
            page.load(None, None, None, js=models.WATCH)
        page.load(None, None, None, js=session_expiry.WATCH)
        opening.let_events_wait(page, state)
    return page
