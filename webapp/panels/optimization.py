"""Latent optimization (paper, section 4): any words, a few seconds to minutes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from pipeline import StyleCLIP
from webapp.files import on_screen
from webapp.guard import guard
from webapp.lossplot import plot, progress
from webapp.panels.photo import thing
from webapp.panels.result import SILENT, Result, describe, keep, settle, shown
from webapp.presets import Prompt
from webapp.session import Session

THIS_FACE, NO_FACE = "This face", "The words alone"
REDRAW_EVERY = 0.15  # seconds between two pictures sent to the browser
PREVIEW = 512  # pixels of these pictures, at most


@dataclass(frozen=True)
class Optimization:
    """The panel's components."""

    words: gr.Textbox
    suggestions: gr.Dataset
    start: gr.Radio
    steps: gr.Slider
    l2: gr.Slider
    identity: gr.Slider
    run: gr.Button
    stop: gr.Button
    progress: gr.HTML


def layout(studio: StyleCLIP, prompts: tuple[Prompt, ...]) -> Optimization:
    """Draw the panel; the first of `prompts` stands in its field."""
    usual, face = studio.family.defaults, thing(studio)
    steps = usual.steps
    with gr.Row(elem_classes="two"):
        with gr.Column():
            words = gr.Textbox(value=prompts[0].words, label="What should be seen", elem_id="prompt")
            suggestions = gr.Dataset(
                components=["textbox"],
                samples=[[prompt.words] for prompt in prompts],
                type="index",
                label="Suggestions",
                show_label=False,
                layout="gallery",
                elem_id="prompts",
                elem_classes="chips",
            )
        with gr.Column():
            slider = gr.Slider(1, max(300, steps), steps, step=1, label="Steps", buttons=[], elem_id="steps")
            l2 = gr.Slider(
                0,
                2.5 * usual.l2,
                prompts[0].l2,
                step=usual.l2 / 16,
                label=f"Stay near the {face}, λ L2",
                buttons=[],
                elem_id="l2",
            )
            identity = gr.Slider(
                0,
                4 * usual.identity,
                prompts[0].identity,
                step=usual.identity / 10,
                label="Stay the same person, λ ID",
                visible=studio.family.identity is not None,
                buttons=[],
                elem_id="identity",
            )
    with gr.Row(elem_classes="actions"):
        this = (f"This {face}", THIS_FACE)
        start = gr.Radio([this, NO_FACE], value=THIS_FACE, label="Start from", elem_id="start-from")
        run = gr.Button("Optimize", variant="primary", elem_id="optimize")
        stop = gr.Button("Stop", interactive=False, elem_id="stop")
        bar = gr.HTML(progress(0, steps), label="progress", elem_id="progress")
    return Optimization(words, suggestions, start, slider, l2, identity, run, stop, bar)


def connect(
    panel: Optimization,
    result: Result,
    studio: StyleCLIP,
    prompts: tuple[Prompt, ...],
    state: gr.State,
    job: dict[str, Any],
) -> None:
    """Say what the panel's fields do. `job` holds the queue settings of everything that computes."""

    @guard
    def optimize(
        words: str, start: str, steps: int, l2: float, identity: float, session: Session
    ) -> Iterator[tuple[Any, ...]]:
        """Change this visitor's face until it fits the words; "The words alone" starts from the average face instead.
        Sends the picture, the progress and the losses while it runs."""
        steps, session.stop = int(steps), False
        if start == NO_FACE:
            run = studio.generate(words, steps=steps, preview=PREVIEW)
            average = studio.sample(seed=0, truncation=0.0)
            before = on_screen(studio.image(average))
            weights = {"CLIP": ("clip", 1.0)}
        else:
            knows_people = studio.family.identity is not None
            identity = identity if knows_people else 0.0
            source = session.base("optimize", prompt=words)
            run = studio.optimize(source, words, steps, l2, identity, preview=PREVIEW)
            before = session.before.picture
            weights = {"CLIP": ("clip", 1.0), "λ L2": ("l2", l2)}
            if knows_people:
                weights["λ ID"] = ("identity", identity)
        curves: dict[str, list[float]] = {name: [] for name in weights}
        yield gr.skip(), gr.skip(), plot(curves, steps), progress(0, steps), gr.Button(interactive=True)
        began = drawn = time.monotonic()
        for step in run:
            for name, (term, weight) in weights.items():
                curves[name].append(weight * step.losses.get(term, 0.0))
            if session.stop:
                break
            now = time.monotonic()
            if now - drawn > REDRAW_EVERY:
                drawn = now
                bar = progress(step.index, steps, (now - began) / step.index * (steps - step.index))
                yield (before, on_screen(step.image)), gr.skip(), plot(curves, steps), bar, gr.skip()
        if start == NO_FACE:
            title, details = describe(step.edit.recipe)
            session.add(average, studio.image(average), "The average face")
            session.compared = session.at
            session.add(step.latent, step.edit.image, title, details)
        else:
            keep(session, source, step.edit)
        yield *shown(session, plot(curves, steps)), progress(step.index, steps), gr.skip()

    def stop(session: Session) -> None:
        session.stop = True

    def suggest(index: int) -> tuple[str, float, float]:
        return prompts[index].words, prompts[index].l2, prompts[index].identity

    running = gr.on(
        [panel.run.click, panel.words.submit],
        optimize,
        [panel.words, panel.start, panel.steps, panel.l2, panel.identity, state],
        [*result.picture, panel.progress, panel.stop],
        api_visibility="private",
        **job,
    )
    running.then(lambda: gr.Button(interactive=False), None, panel.stop, **SILENT)
    settle(result, running, state)
    panel.stop.click(stop, state, None, api_visibility="private", queue=False)
    panel.suggestions.click(
        suggest, panel.suggestions, [panel.words, panel.l2, panel.identity], api_visibility="private", queue=False
    )
