"""A mapper for words of one's own (paper, section 5): trained between the edits of others, kept for the visitor."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import torch
from PIL import Image

from pipeline.errors import UserError
from pipeline.images import to_pil
from pipeline.methods.mapper import apply_mapper
from pipeline.text import check_prompt
from pipeline.training.frozen import FrozenModels
from pipeline.training.mapper import retitle, save_mapper
from pipeline.training.mapper_recipe import family_recipe
from pipeline.training.mapper_training import TrainingState, train
from webapp import uploads
from webapp.download_progress import bar
from webapp.error_messages import guard
from webapp.files import file_name, new_file, on_screen
from webapp.jobs import LOOK_EVERY, TELL_EVERY, seldom
from webapp.model_handle import ModelHandle
from webapp.panels import mappers
from webapp.panels.mappers import Mappers
from webapp.panels.result import SILENT, set_to
from webapp.queues import EDIT, LONG, caller_now
from webapp.render import Context, Updates
from webapp.session import Session

TILE = 128  # pixels of a picture in the preview
IN_LINE = bar("In line: one training at a time")
REACHED = (
    "Trained in {seconds:.0f} s: CLIP sees the text in {reached} of {faces} other faces. The mapper is in the gallery "
    "above; save it to use it another time."
)
NOT_REACHED = (
    "The training did not reach its text: after {seconds:.0f} s CLIP sees it in {reached} of {faces} other faces. "
    "Please try other words; what was learned is in the gallery above."
)
STOPPED = "The training was stopped; nothing of it is kept."


@dataclass(frozen=True)
class Training:
    """The panel's components."""

    words: gr.Textbox
    run: gr.Button
    cancel: gr.Button
    progress: gr.HTML
    preview: gr.Image
    upload: gr.UploadButton
    download: gr.DownloadButton


def layout(studio: ModelHandle, minutes: float) -> Training:
    """Draw the panel, closed. `minutes` is how long a training may compute; with 0 mappers can only be loaded."""
    with gr.Accordion("Your own words", open=False, elem_id="own-mappers"):
        words = gr.Textbox(
            studio.family.defaults.target,
            label="Train a mapper for this text",
            info=f"It learns on random pictures of the model, for {minutes:g} minutes at most; edits go first.",
            visible=minutes > 0,
            elem_id="train-words",
        )
        preview = gr.Image(
            visible=False,
            interactive=False,
            buttons=[],
            show_label=False,
            container=False,
            elem_id="training-preview",
            alt_text="Above, faces as they were; below, what the mapper in training makes of them",
        )
        progress = gr.HTML(label="progress", elem_id="training-progress")
        with gr.Row(elem_classes="actions"):
            run = gr.Button("Train", variant="primary", visible=minutes > 0, elem_id="train")
            cancel = gr.Button("Cancel", visible=False, elem_id="cancel-training")
            upload = gr.UploadButton("Load a mapper", file_types=[".safetensors", ".pt", ".pth"], elem_id="load-mapper")
            download = gr.DownloadButton("Save this mapper", interactive=False, elem_id="save-mapper")
    return Training(words, run, cancel, progress, preview, upload, download)


def offer(studio: ModelHandle, gallery: Mappers, session: Session, name: str, file: Path, strength: float) -> Updates:
    """Put a visitor's new mapper into the gallery and apply it; where another face was chosen meanwhile, the gallery
    alone has it, and the visitor is told."""
    source, regions = session.base("map", mapper=name), []
    with suppress(UserError):  # where nothing is painted yet
        regions = session.held_to("map", mapper=name)
    edit = studio.map(source, file, strength, regions)
    session.thumbs[name] = on_screen(edit.image.resize((mappers.THUMB, mappers.THUMB)))
    session.mappers[name] = file
    try:
        session.keep(source, edit)
    except UserError:
        gr.Info("Another picture was chosen meanwhile. Your mapper is in the gallery; choose it there to apply it.")
    return {
        gallery.gallery: gr.update(value=mappers.gallery(studio, session), visible=True),
        gallery.name: name,
        gallery.strength: gr.update(visible=True),
    }


@torch.no_grad()
def preview(studio: ModelHandle, session: Session, state: TrainingState) -> str:
    """The visitor's face and some of those held out, before and after the mapper so far."""
    columns = [tuple(to_pil(image[None]) for image in pair) for pair in state.pictures.unbind(1)]
    generator, strength = studio.family.generator, studio.family.defaults.mapper_strength
    face, size = session.current.latent, state.pictures.shape[-1]
    edited = apply_mapper(state.mapper, generator, face, strength)
    columns[0] = to_pil(face.draw(generator, size)), to_pil(edited.draw(generator, size))
    sheet = Image.new("RGB", (TILE * len(columns), 2 * TILE))
    for x, column in enumerate(columns):
        for y, picture in enumerate(column):
            sheet.paste(picture.resize((TILE, TILE), Image.Resampling.LANCZOS), (TILE * x, TILE * y))
    return on_screen(sheet)


def connect(panel: Training, gallery: Mappers, context: Context, minutes: float) -> None:
    """Say what the panel's fields do; trained mappers go into the `gallery`."""
    studio = context.studio

    @guard
    def begin(words: str, session: Session) -> tuple[Any, ...]:
        check_prompt(words)
        session.trainings += 1
        return gr.Button(visible=True), IN_LINE, gr.Button(interactive=False)

    def run(words: str, strength: float, session: Session) -> Iterator[Updates]:
        """Train a mapper for these words, and apply it to this visitor's face. Sends the progress and a preview while
        it runs."""
        number = session.trainings

        def stopped() -> bool:
            return number <= session.trainings_cancelled

        with studio.jobs.training(*caller_now()) as waits:
            for _ in seldom(waits, stopped):
                if stopped():
                    raise UserError(STOPPED)
                yield {panel.progress: IN_LINE}
            yield from learn(words, strength, session, stopped)

    def learn(words: str, strength: float, session: Session, stopped: Callable[[], bool]) -> Iterator[Updates]:
        yield {panel.progress: bar("Waiting for the edits that are running")}
        recipe = family_recipe(studio.family.row, words)
        steps = train(FrozenModels.of(studio.family), studio.texts, recipe)
        computed, now, far, share, told_at = 0.0, None, "Ready", 0.0, 0.0
        while computed < 60 * minutes and not stopped():
            with studio.jobs.background(LOOK_EVERY) as mine:
                if mine:
                    began = time.monotonic()
                    if (step := next(steps, None)) is None:
                        break
                    now, updates = step, {}
                    if now.pictures is not None:
                        updates[panel.preview] = gr.Image(value=preview(studio, session, now), visible=True)
                    computed += time.monotonic() - began
            if not mine:
                if time.monotonic() - told_at > TELL_EVERY:
                    told_at = time.monotonic()
                    yield {panel.progress: bar(f"{far} · waiting for others, who go first", share)}
                continue
            told_at = 0.0
            left = computed / now.step * (now.steps - now.step)
            far, share = f"Step {now.step} of at most {now.steps}", now.step / now.steps
            yield updates | {panel.progress: bar(f"{far} · about {max(1, round(left))} s left", share)}
        steps.close()
        seen: tuple[int, int] | None = None
        while now and not seen and not stopped():
            with studio.jobs.background(TELL_EVERY) as mine:
                seen = now.training.reached() if mine else None
            if not mine:
                yield {panel.progress: bar("Trained · waiting for others, who go first", 1.0)}
        if seen is None:
            raise UserError(STOPPED)
        reached, faces = seen
        name, losses = mappers.own_name(studio, session, words), now.training.lowest or now.losses
        file = new_file(f"{file_name(name)}.safetensors")
        save_mapper(now.mapper, file, now.training.recipe, losses, title=name, dtype=studio.family.dtype)
        ended = REACHED if 2 * reached > faces else NOT_REACHED
        ended = ended.format(seconds=computed, reached=reached, faces=faces)
        idle = {panel.cancel: gr.Button(visible=False), panel.run: gr.Button(interactive=True)}
        yield idle | {panel.progress: bar(ended, 1.0)} | offered(session, name, file, strength)

    def cancel(session: Session) -> gr.Button:
        session.trainings_cancelled = session.trainings
        return gr.Button(visible=False)

    def load(file: str, strength: float, session: Session) -> Updates:
        upload = uploads.find(file)
        name = mappers.own_name(studio, session, studio.mapper_title(upload))
        kept = new_file(f"{file_name(name)}.safetensors")
        retitle(upload, kept, name)
        return offered(session, name, kept, strength)

    def offered(session: Session, name: str, file: Path, strength: float) -> Updates:
        updates = offer(studio, gallery, session, name, file, strength)
        return context.render(session) | updates | {panel.download: gr.update(value=str(file), interactive=True)}

    state, restored = context.state, [panel.cancel, panel.progress, panel.run]
    outputs = [gallery.gallery, gallery.name, gallery.strength, panel.download]
    asked = gr.on([panel.run.click, panel.words.submit], begin, [panel.words, state], restored, **SILENT)
    fields = [panel.words, gallery.strength]
    trained = context.on(asked.success, run, fields, [*restored, panel.preview, *outputs], **LONG)
    untrained = set_to(gr.update(visible=False), "", gr.update(interactive=True))
    trained.failure(None, None, restored, js=untrained, **SILENT)
    panel.cancel.click(cancel, state, panel.cancel, **SILENT)
    context.on(panel.upload.upload, load, [panel.upload, gallery.strength], outputs, **EDIT)
