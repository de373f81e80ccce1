"""Latent optimization (paper, section 4): any words, a few seconds to minutes."""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr
from gradio.blocks import Block

from pipeline import Edit
from pipeline.errors import UserError
from pipeline.vocabulary import unknown_note
from pipeline.wishes import Wish
from webapp.download_progress import bar, in_line
from webapp.files import on_screen
from webapp.history import HistoryItem
from webapp.lossplot import MINUTES, cut_note, plot, progress
from webapp.model_handle import ModelHandle
from webapp.panels.bounded import bounded
from webapp.panels.chooser import chooser, pressed
from webapp.panels.film import MOMENTS, beginning, film, finished, is_moment, note_kept, preview_of, shown
from webapp.panels.photo import thing
from webapp.panels.result import SILENT, forget, mean_face, set_to
from webapp.presets import Presets
from webapp.queues import EDIT, LONG, asked_now
from webapp.render import Context, Updates
from webapp.session import Session

OPTIMIZE, RUNNING = "Optimize", "Optimizing"
FAILED, IDLE = "The optimization has ended early.", bar("No optimization runs.", 0.0)
THIS_FACE, NO_FACE = "This face", "The words alone"
REDRAW_EVERY = 0.15  # seconds between two pictures sent to the browser
PREVIEW = 512  # pixels of these pictures, at most
HINT = "The way there: moments of the newest optimization. Choose one to go on from it."


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
    known: list[gr.Dataset]
    note: gr.HTML
    film: gr.Gallery
    thorough: gr.Button
    """Begins a run for the words of the page's one field; `halt` stands in its place while any run goes on."""
    halt: gr.Button


def draw(panel: Optimization, session: Session) -> Updates:
    """The filmstrip."""
    return {panel.film: gr.update(value=film(session), selected_index=shown(session))}


def as_html(*sentences: str) -> str:
    lines = "".join(f"<p class='note'>{html.escape(sentence)}</p>" for sentence in sentences if sentence)
    return f"<div role='status'>{lines}</div>"


EXTRA = {"lr": "learning rate", "space": "space", "noise": "noise", "neutral": "compared with"}
"""Parameters without a field, which a link may bring."""


def linked(session: Session, words: str) -> dict[str, Any]:
    """What a link has brought for a run of these words, beside what has a field."""
    known = session.linked if session.linked.get("prompt") == words else {}
    return {name: value for name, value in known.items() if name in EXTRA}


def linked_note(studio: ModelHandle, values: dict[str, Any]) -> str:
    """What of a link's parameters has no field and is not the model's own; "" for nothing."""
    own = studio.family.defaults.model_dump()
    own["neutral"] = own["prompt_neutral"]
    others = {name: values[name] for name in EXTRA if name in values and values[name] != own[name]}
    told = [f"{EXTRA[name]} {'nothing' if value == '' else value}" for name, value in others.items()]
    return f"With these words the link brought {', '.join(told)}." if told else ""


def layout(studio: ModelHandle, known: Presets, thorough: gr.Button, halt: gr.Button) -> Optimization:
    """Draw the panel; the first of the known prompts stands in its field. The two buttons stand elsewhere already."""
    usual, face, prompts = studio.family.defaults, thing(studio), known.prompts
    steps = usual.steps
    with gr.Row(elem_classes="two"):
        with gr.Column():
            words = gr.Textbox(
                value=prompts[0].words, label="What should be seen", elem_id="prompt", elem_classes="words"
            )
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
            with gr.Accordion("Words it knows", open=False, visible=bool(known.words), elem_id="known-words"):
                groups = [
                    gr.Dataset(
                        components=["textbox"],
                        samples=[[word] for word in words_],
                        label=group.capitalize(),
                        layout="gallery",
                        samples_per_page=len(words_),
                        elem_classes="chips",
                    )
                    for group, words_ in known.words.items()
                ]
        with gr.Column():
            slider = bounded(
                1,
                max(300, steps),
                steps,
                step=1,
                label="Steps",
                info=f"While others wait, a run computes for {MINUTES} at most.",
                elem_id="steps",
            )
            l2 = bounded(
                0,
                float(f"{2.5 * usual.l2:.3g}"),
                prompts[0].l2,
                step=usual.l2 / 16,
                label=f"Stay near the {face}, λ L2",
                elem_id="l2",
            )
            identity = bounded(
                0,
                4 * usual.identity,
                prompts[0].identity,
                step=usual.identity / 10,
                label="Stay the same person, λ ID",
                visible=studio.family.identity is not None,
                elem_id="identity",
            )
            note = gr.HTML(as_html(), label="notes", elem_id="optimization-note")
    with gr.Row(elem_classes="actions"):
        this = (f"This {face}", THIS_FACE)
        start = gr.Radio([this, NO_FACE], value=THIS_FACE, label="Start from", elem_id="start-from")
        run = gr.Button(OPTIMIZE, variant="primary", elem_id="optimize")
        stop = gr.Button("Stop", interactive=False, elem_id="stop")
        far = gr.HTML(IDLE, label="progress", elem_id="progress")
    with gr.Column(elem_id="way"):
        gr.HTML(f'<p class="note">{HINT}</p>')
        way = chooser(label="The way there", show_label=False, columns=MOMENTS, elem_id="film", captioned=True)
    fields = words, suggestions, start, slider, l2, identity, run, stop, far, groups, note, way
    return Optimization(*fields, thorough, halt)


def broken_off(session: Session) -> str:
    """What a visitor is told who loaded the page again while an optimization ran."""
    words = session.run["prompt"]
    begun = session.previews and session.previews[-1].recipe["parameters"]["prompt"] == words
    moments = "Choose one of its moments below to go on from it." if begun else ""
    return as_html("The page was loaded again, which ended this run.", moments)


def fewer_note(asked: int, steps: int) -> str:
    """What a visitor is told whose run takes fewer steps than asked for, so that it can settle; "" for others."""
    fit = f"Others wait, so this run takes {steps} steps instead of {asked}: so many fit into {MINUTES} here."
    return fit if steps < asked else ""


def connect(panel: Optimization, context: Context) -> tuple[Callable[..., Iterator[Updates]], Callable[..., None]]:
    """Say what the panel's fields do. Gives the handler of a run, and what lets another handler that runs it answer an
    event."""
    studio, state, result, prompts = context.studio, context.state, context.result, context.presets.prompts

    def optimize(
        words: str,
        start: str,
        steps: int,
        l2: float,
        identity: float,
        session: Session,
        wish: Wish | None = None,
        regions: Sequence[str] | None = None,
    ) -> Iterator[Updates]:
        """Change this visitor's face until it fits the words; "The words alone" starts from the average face instead.
        Sends the picture, the progress and the losses while it runs. Of a `wish` the words are the target, which is
        compared with its neutral text. What was reached is held to the `regions` in the end; to those of the visit
        when None."""
        method = "generate" if start == NO_FACE else "optimize"
        own = {"method": method, "prompt": words, "steps": int(steps), "l2": l2, "identity": identity}

        def ended() -> None:
            session.run = None if session.run is own else session.run  # a newer one may run in the page loaded again

        session.run = own
        try:
            yield from optimized(words, start, steps, l2, identity, session, wish, regions)
        except Exception:
            ended()
            raise
        ended()  # but not when the page was left, which closes this generator

    def optimized(
        words: str,
        start: str,
        steps: int,
        l2: float,
        identity: float,
        session: Session,
        wish: Wish | None,
        regions: Sequence[str] | None,
    ) -> Iterator[Updates]:
        asked, session.stop, begun, page = int(steps), False, session.current, session.page
        session.why_ended = ""
        steps = studio.fitting("generate" if start == NO_FACE else "optimize", asked)
        if start == NO_FACE:
            extra = {name: value for name, value in linked(session, words).items() if name != "neutral"}
            run = studio.generate(words, steps=steps, preview=PREVIEW, **extra)
            source, regions = mean_face(studio), ()
            before = on_screen(studio.image(source))
            weights = {"CLIP": ("clip", 1.0)}
        else:
            knows_people = studio.family.identity is not None
            identity = identity if knows_people else 0.0
            extra = {"neutral": studio.family.defaults.prompt_neutral} | linked(session, words)
            extra |= {"neutral": wish.neutral} if wish else {}
            with session.lock:
                texts = {"prompt": words, "neutral": extra["neutral"]}
                source = session.base("optimize", **texts)
                regions = session.held_to("optimize", **texts) if regions is None else regions
            run = studio.optimize(source, words, steps, l2, identity, preview=PREVIEW, **extra)
            before = begun.picture if begun.is_face else session.before_picture
            weights = {"CLIP": ("clip", 1.0), "λ L2": ("l2", l2)}
            if knows_people:
                weights["λ ID"] = ("identity", identity)
        curves: dict[str, list[float]] = {name: [] for name in weights}
        unknown, fewer = unknown_note(studio.texts.vocabulary, words), fewer_note(asked, steps)
        yield {
            result.words: f"{words}\n{RUNNING}",
            result.losses: plot(curves, steps),
            result.how: progress(0, steps),
            panel.progress: progress(0, steps),
            panel.stop: gr.Button(interactive=True),
            panel.run: gr.Button(RUNNING, interactive=False),
            panel.thorough: gr.Button(visible=False),
            panel.halt: gr.Button(visible=True),
            panel.note: as_html(unknown, fewer),
        }
        with closing(run):
            for place in run.places(lambda: session.stop):
                if session.stop:
                    raise UserError("Stopped; the picture is as it was.")
                yield dict.fromkeys((panel.progress, result.how), in_line(place))
            began = shown_at = time.monotonic()
            session.previews = []
            for step in run:
                for name, (term, weight) in weights.items():
                    curves[name].append(weight * step.losses.get(term, 0.0))
                now = time.monotonic()
                over = session.stop or run.is_over_time or begun not in session.strip or session.page != page
                if new := over or is_moment(step):
                    session.previews.append(preview_of(step, regions, wish))
                if over:
                    break
                if new or now - shown_at > REDRAW_EVERY:
                    shown_at = now
                    far = progress(step.index, steps, (now - began) / step.index * (steps - step.index))
                    updates = {panel.progress: far, result.losses: plot(curves, steps)}
                    if new:
                        updates[panel.film] = gr.update(value=film(session), selected_index=None)
                    if session.current == begun:
                        updates[result.slider] = before, on_screen(step.image)
                        updates[result.words] = f"{words}\n{RUNNING}: step {step.index} of {steps}"
                        updates[result.how] = far
                    yield updates
            edit, whole = finished(studio, source, step.edit, regions, wish)
        if session.page != page:  # it was loaded again, or goes on in another tab; there the visitor is told
            yield {panel.progress: IDLE, result.words: FAILED}
            return
        if begun not in session.strip:
            session.previews = []
            happened = "The picture was deleted" if begun.key in session.deleted else "Another face was chosen"
            session.why_ended = f"{happened} meanwhile, so this optimization ended."  # notes of that face may follow
            yield all_of(session, "", IDLE, as_html(session.why_ended))
            return
        if start == NO_FACE:
            mean = HistoryItem.of(studio.image(source), "The average face", source, "The average face.")
            begun = session.add(mean, show=session.current == begun)
        note_kept(session, step.latent, session.keep(source, edit, whole=whole, begun=begun, wish=wish))
        late = step.index < steps and not session.stop
        told = as_html(unknown, fewer, cut_note(step.index, steps) if late else "")
        yield all_of(session, plot(curves, steps), progress(step.index, steps), told)

    def all_of(session: Session, losses: str, far: str, note: str) -> Updates:
        """What the page shows after a run."""
        return context.render(session, losses) | draw(panel, session) | {panel.progress: far, panel.note: note}

    def take(event: gr.SelectData, session: Session) -> Updates:
        """Put a moment of the way on the strip, or return to it where it is there already."""
        preview = pressed(session.previews, event)
        there = next((item for item in session.strip if item.latent in (preview.latent, preview.kept)), None)
        with session.choices.making(asked_now()) as newest:
            if there is not None:
                if newest():
                    session.go(there)
            else:
                alone = preview.recipe["method"] == "generate"
                item, source = (session.current, mean_face(studio)) if alone else beginning(session, preview.recipe)
                step = Edit(partial(studio.image, preview.latent), preview.latent, preview.recipe)
                edit, whole = finished(studio, source, step, preview.regions, preview.wish)
                if newest():
                    session.go(item)
                    item = session.keep(source, edit, whole=whole, wish=preview.wish)
                    note_kept(session, preview.latent, item)
        # The losses are still those of this way.
        return context.render(session) | draw(panel, session) | {result.losses: gr.skip()}

    def stop(session: Session) -> None:
        session.stop = True

    def afterwards(session: Session) -> Updates:
        """What the end of a run may have drawn over: Gradio sends its last answer twice, and the second time what was
        chosen in between may be shown already."""
        why = as_html(session.why_ended) if session.why_ended else gr.skip()
        return context.render(session) | {result.losses: gr.skip(), panel.note: why}

    def suggest(index: int) -> tuple[str, float, float, str]:
        prompt = prompts[index]
        weights = f"λ L2 {prompt.l2:g}" + (f" and λ ID {prompt.identity:g}" if studio.family.identity else "")
        return prompt.words, prompt.l2, prompt.identity, as_html(f"These words come with {weights}.")

    def add(words: str, phrase: list[str]) -> str:
        """The words with one phrase more."""
        words, (phrase,) = words.strip().rstrip("."), phrase
        if phrase in words:
            return words
        return f"{words} {'and' if ' with ' in words else 'with'} {phrase}" if words else phrase

    buttons = [panel.stop, panel.run, panel.thorough, panel.halt]
    stop_off, run_on = gr.update(interactive=False), gr.update(value=OPTIMIZE, interactive=True)
    idle = set_to(stop_off, run_on, gr.update(visible=True), gr.update(visible=False))

    def let_run(trigger: Any, handler: Callable[..., Any], inputs: list[Block], outputs: list[Block] = ()) -> None:
        """Let a handler that runs an optimization answer an event."""
        outputs = [panel.progress, panel.film, panel.note, *buttons, *outputs]
        running = context.on(trigger, handler, inputs, outputs, **LONG)
        for ended in (running.success, running.failure):  # `then` is not called after a failure
            ended(None, None, buttons, js=idle, **SILENT)
        running.failure(None, None, [panel.progress, result.words], js=set_to(IDLE, FAILED), **SILENT)
        running.failure(context.render, state, context.picture, **SILENT)
        # The note once more: the fields of a face that was chosen meanwhile may be on their way, with an empty one.
        running.success(afterwards, state, [*context.picture, panel.note], **SILENT)

    numbers = [panel.steps, panel.l2, panel.identity]
    let_run([panel.run.click, panel.words.submit], optimize, [panel.words, panel.start, *numbers])
    forget(panel.note, panel.words)
    for button in (panel.stop, panel.halt):
        button.click(stop, state, None, **SILENT)
    panel.film.select(stop, state, None, **SILENT)  # who chooses a moment while it runs has seen enough
    context.on(panel.film.select, take, (), [panel.film], trigger_mode="multiple", **EDIT)
    suggested = [panel.words, panel.l2, panel.identity, panel.note]
    panel.suggestions.click(suggest, panel.suggestions, suggested, **SILENT)
    for group in panel.known:
        group.click(add, [panel.words, group], panel.words, **SILENT)
    return optimize, let_run
