"""What is learned for words of one's own, a mapper or a style: trained between the edits of others, kept for the
visitor."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from pipeline.errors import UserError
from webapp import uploads
from webapp.download_progress import bar
from webapp.error_messages import guard
from webapp.files import file_name, new_file, on_screen
from webapp.jobs import LOOK_EVERY, TELL_EVERY, seldom
from webapp.learners import Learner, MapperLearner, StyleLearner
from webapp.model_handle import ModelHandle
from webapp.panels import gallery as galleries
from webapp.panels.gallery import MAPPER, STYLE, Gallery
from webapp.panels.result import SILENT, set_to, status
from webapp.queues import EDIT, LONG, caller_now
from webapp.render import Context, Updates
from webapp.session import Session

IN_LINE = bar("In line: one training at a time")
REACHED = (
    "Trained in {seconds:.0f} s: CLIP sees the text in {reached} of {faces} other faces. The {kind} is in the gallery "
    "above; save it to use it another time."
)
NOT_REACHED = (
    "The training did not reach its text: after {seconds:.0f} s CLIP sees it in {reached} of {faces} other faces. "
    "Please try other words; what was learned is in the gallery above."
)
STOPPED = "The training was stopped; nothing of it is kept."
LEARNERS: dict[str, type[Learner]] = {"mapper": MapperLearner, "style": StyleLearner}


@dataclass(frozen=True)
class Training:
    """The panel's components."""

    words: gr.Textbox
    neutral: gr.Textbox
    """What the pictures are without a style."""
    run: gr.Button
    cancel: gr.Button
    progress: gr.HTML
    preview: gr.Image
    upload: gr.UploadButton
    download: gr.DownloadButton


def layout(studio: ModelHandle, kind: galleries.Kind, minutes: float) -> Training:
    """Draw the panel, closed. `minutes` is how long a training may compute; with 0 there is only loading."""
    learner, family, able = LEARNERS[kind.name], studio.family, minutes > 0
    with gr.Accordion("Your own words", open=False, elem_id=f"own-{kind.plural}"):
        words = gr.Textbox(
            family.defaults.target if kind is MAPPER else "pencil sketch",
            label=learner.label,
            info=f"It learns on random pictures of the model, for {minutes:g} minutes at most; edits go first.",
            visible=able,
            elem_id=f"{kind.name}-words",
        )
        neutral = gr.Textbox(
            family.row.medium,
            label="What the pictures are without it",
            visible=able and kind is STYLE,
            elem_id=f"{kind.name}-neutral",
        )
        preview = gr.Image(
            visible=False,
            interactive=False,
            buttons=[],
            show_label=False,
            container=False,
            elem_id=f"{kind.name}-preview",
            alt_text=learner.pictured,
        )
        progress = gr.HTML(label="progress", elem_id=f"{kind.name}-training")
        with gr.Row(elem_classes="actions"):
            run = gr.Button("Train", variant="primary", visible=able, elem_id=f"train-{kind.name}")
            cancel = gr.Button("Cancel", visible=False, elem_id=f"cancel-{kind.name}", elem_classes="cancel-training")
            endings = [".safetensors", ".pt", ".pth"]
            upload = gr.UploadButton(f"Load a {kind.name}", file_types=endings, elem_id=f"load-{kind.name}")
            download = gr.DownloadButton(f"Save this {kind.name}", interactive=False, elem_id=f"save-{kind.name}")
    return Training(words, neutral, run, cancel, progress, preview, upload, download)


def offer(studio: ModelHandle, gallery: Gallery, session: Session, name: str, file: Path, strength: float) -> Updates:
    """Put a visitor's new one into the gallery and apply it; where another face was chosen meanwhile, the gallery alone
    has it, and the visitor is told."""
    kind, words, regions = gallery.kind, {gallery.kind.name: name}, []
    source, shelf = session.base(kind.method, **words), kind.shelf(session)
    with suppress(UserError):  # where nothing is painted yet
        regions = session.held_to(kind.method, **words) if kind is MAPPER else []
    edit = galleries.made(studio, kind, source, file, strength, regions)
    shelf.thumbs[name] = on_screen(edit.image.resize((galleries.THUMB, galleries.THUMB)))
    shelf.files[name] = file
    try:
        session.keep(source, edit)
    except UserError:
        gr.Info(f"Another picture was chosen meanwhile. Your {kind.name} is in the gallery; choose it there to apply.")
    return {
        gallery.gallery: gr.update(value=galleries.pictures(studio, session, kind), visible=True),
        gallery.name: name,
        gallery.strength: gr.update(visible=True),
    }


def connect(panel: Training, gallery: Gallery, context: Context, minutes: float) -> None:
    """Say what the panel's fields do; what is trained goes into the `gallery`."""
    studio, kind = context.studio, gallery.kind

    @guard
    def begin(session: Session) -> tuple[Any, ...]:
        kind.shelf(session).trainings += 1
        return gr.Button(visible=True), IN_LINE, gr.Button(interactive=False)

    def run(words: str, neutral: str, strength: float, session: Session) -> Iterator[Updates]:
        """Train for these words, and apply what comes of it to this visitor's face. Sends the progress and a preview
        while it runs."""
        shelf = kind.shelf(session)
        number = shelf.trainings
        notes = LEARNERS[kind.name](studio).notes(words, neutral)  # here, since a page shows no error of `begin`
        said = status(*notes) if notes else ""

        def stopped() -> bool:
            return number <= shelf.trainings_cancelled

        with studio.jobs.training(*caller_now()) as waits:
            for _ in seldom(waits, stopped):
                if stopped():
                    raise UserError(STOPPED)
                yield {panel.progress: IN_LINE + said}
            for updates in learn(words, neutral, strength, session, stopped):
                yield updates | {panel.progress: updates[panel.progress] + said}  # while there is time to stop

    def learn(
        words: str, neutral: str, strength: float, session: Session, stopped: Callable[[], bool]
    ) -> Iterator[Updates]:
        yield {panel.progress: bar("Waiting for the edits that are running")}
        learner = LEARNERS[kind.name](studio)
        states = learner.states(words, neutral, session.current.latent)
        computed, now, far, share, told_at = 0.0, None, "Ready", 0.0, 0.0
        while computed < 60 * minutes and not stopped():
            with studio.jobs.background(LOOK_EVERY) as mine:
                if mine:
                    began = time.monotonic()
                    if (state := next(states, None)) is None:
                        break
                    now, updates = state, {}
                    if (picture := learner.preview(now, session.current.latent)) is not None:
                        updates[panel.preview] = gr.Image(value=on_screen(picture), visible=True)
                    computed += time.monotonic() - began
            if not mine:
                if time.monotonic() - told_at > TELL_EVERY:
                    told_at = time.monotonic()
                    yield {panel.progress: bar(f"{far} · waiting for others, who go first", share)}
                continue
            told_at, (step, steps) = 0.0, learner.step(now)
            left = computed / step * (steps - step)
            far, share = f"Step {step} of at most {steps}", step / steps
            yield updates | {panel.progress: bar(f"{far} · about {max(1, round(left))} s left", share)}
        states.close()
        seen: tuple[int, int] | None = None
        while now and not seen and not stopped():
            with studio.jobs.background(TELL_EVERY) as mine:
                seen = learner.reached(now) if mine else None
            if not mine:
                yield {panel.progress: bar("Trained · waiting for others, who go first", 1.0)}
        if seen is None:
            raise UserError(STOPPED)
        reached, faces = seen
        name = galleries.own_name(studio, session, kind, words)
        file = new_file(f"{file_name(name)}.safetensors")
        learner.save(now, file, name)
        ended = REACHED if 2 * reached > faces else NOT_REACHED
        ended = ended.format(seconds=computed, reached=reached, faces=faces, kind=kind.name)
        idle = {panel.cancel: gr.Button(visible=False), panel.run: gr.Button(interactive=True)}
        yield idle | {panel.progress: bar(ended, 1.0)} | offered(session, name, file, strength)

    def cancel(session: Session) -> gr.Button:
        shelf = kind.shelf(session)
        shelf.trainings_cancelled = shelf.trainings
        return gr.Button(visible=False)

    def load(file: str, strength: float, session: Session) -> Updates:
        upload = uploads.find(file)
        name = galleries.own_name(studio, session, kind, studio.title(kind.name, upload))
        kept = new_file(f"{file_name(name)}.safetensors")
        LEARNERS[kind.name](studio).retitle(upload, kept, name)
        return offered(session, name, kept, strength)

    def offered(session: Session, name: str, file: Path, strength: float) -> Updates:
        updates = offer(studio, gallery, session, name, file, strength)
        return context.render(session) | updates | {panel.download: gr.update(value=str(file), interactive=True)}

    state, restored = context.state, [panel.cancel, panel.progress, panel.run]
    outputs = [gallery.gallery, gallery.name, gallery.strength, panel.download]
    told = [panel.words, panel.neutral]
    asked = gr.on([panel.run.click, panel.words.submit], begin, state, restored, **SILENT)
    trained = context.on(asked.success, run, [*told, gallery.strength], [*restored, panel.preview, *outputs], **LONG)
    untrained = set_to(gr.update(visible=False), "", gr.update(interactive=True))
    trained.failure(None, None, restored, js=untrained, **SILENT)
    panel.cancel.click(cancel, state, panel.cancel, **SILENT)
    context.on(panel.upload.upload, load, [panel.upload, gallery.strength], outputs, **EDIT)
