"""The page: the panels put together, and what is computed for it once, at start."""

from __future__ import annotations

import contextlib
from typing import Any

import gradio as gr

from pipeline import StyleCLIP
from pipeline.errors import UserError
from webapp.panels import directions, mappers, optimization, photo, result
from webapp.presets import Presets, presets
from webapp.session import Session
from webapp.theme import CSS, theme

TITLE = "StyleCLIP Studio"
AN_HOUR = 3600
JOB: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "studio", "show_progress": "hidden"}
"""Queue settings of everything that computes: one at a time, whoever asks."""

LAUNCH: dict[str, Any] = {
    "theme": theme(),
    "css_paths": CSS,
    "max_file_size": photo.MAX_BYTES,
    "footer_links": ["api"],
    "run_history": False,
    "show_error": False,
    "ssr_mode": False,
}
"""Arguments for `launch()` that belong to the page; host, port and share are the caller's."""


def first_session(studio: StyleCLIP, known: Presets) -> Session:
    """What a first visitor finds: an example face, already edited with the first known good pair."""
    session = Session()
    if photo.EXAMPLES:
        face = studio.align(photo.EXAMPLES[0])[0]
        latent = studio.invert(face)
    else:
        face, latent = None, studio.sample(seed=1, truncation=photo.TRUNCATION)
    session.start_from(latent, studio.image(latent), face)
    with contextlib.suppress(UserError):  # where this family keeps no channel for it, the unedited face will do
        target, neutral = known.pairs[0].target, known.pairs[0].neutral
        threshold = directions.usual_threshold(studio, target, neutral)
        session.keep(studio.direct(latent, target, neutral, threshold=threshold))
    return session


def build(studio: StyleCLIP) -> gr.Blocks:
    """The page for one studio; serve it with `.queue().launch(**LAUNCH)`."""
    known = presets(studio.family.name)
    session = first_session(studio, known)
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(AN_HOUR // 4, AN_HOUR)) as page:
        state = gr.State(session, time_to_live=AN_HOUR)
        gr.HTML(
            '<header id="masthead"><h1>StyleCLIP <span>Studio</span></h1>'
            "<p>Pick a face, say what should change, and watch it change.</p></header>"
        )
        with gr.Row(elem_id="studio"):
            with gr.Column(elem_id="face"):
                gr.HTML("<h2>The face</h2>")
                photo_panel = photo.layout(session)
            with gr.Column(elem_id="work"):
                with gr.Column(elem_id="edit-card"), gr.Tabs(selected="directions"):
                    with gr.Tab("Optimization", id="optimization"):
                        optimization_panel = optimization.layout(known.prompts, studio.family.defaults.steps)
                    with gr.Tab("Mappers", id="mappers"):
                        mappers_panel = mappers.layout(studio, session.latent)
                    with gr.Tab("Global directions", id="directions"):
                        directions_panel = directions.layout(studio, known.pairs, session)
                result_panel = result.layout(session)
        page.load(
            lambda session: result.files(result_panel, session),
            state,
            result_panel.files,
            api_visibility="private",
            show_progress="hidden",
        )
        photo.connect(photo_panel, result_panel, studio, state, JOB)
        optimization.connect(optimization_panel, result_panel, studio, known.prompts, state, JOB)
        mappers.connect(mappers_panel, result_panel, studio, state, JOB)
        directions.connect(directions_panel, result_panel, studio, known.pairs, state, JOB)
    return page
