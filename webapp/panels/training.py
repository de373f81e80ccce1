"""A mapper for words of one's own (paper, section 5): trained between the edits of others, kept for the visitor."""

from __future__ import annotations

import time
from collections.abc import Iterator
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
from pipeline.training.mapper_training import TrainingState, family_recipe, train
from webapp import uploads
from webapp.download_progress import bar
from webapp.error_messages import guard
from webapp.files import file_name, new_file, on_screen
from webapp.jobs import LOOK_EVERY
from webapp.model_handle import ModelHandle
from webapp.panels import mappers
from webapp.panels.result import SILENT, Result, keep, set_to, settle, shown
from webapp.queues import EDIT, LONG, caller_now
from webapp.session import Session

TILE = 128  # pixels of a picture in the preview


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


def offer(
    studio: ModelHandle, chosen: mappers.Mappers, session: Session, name: str, file: Path, strength: float
) -> tuple[Any, ...]:
    """Put a visitor's new mapper into the gallery and apply it; where another face was chosen meanwhile, the gallery
    alone has it, and the visitor is told."""
    source = session.base("map", mapper=name)
    edit = studio.map(source, file, strength)
    session.thumbs[name] = on_screen(edit.image.resize((mappers.THUMB, mappers.THUMB)))
    session.mappers[name] = file
    try:
        keep(session, source, edit)
    except UserError:
        gr.Info("Another picture was chosen meanwhile. Your mapper is in the gallery; choose it there to apply it.")
    gallery = gr.update(value=mappers.gallery(studio, chosen, session), visible=True)
    return gallery, name, gr.update(visible=True), gr.update(value=str(file), interactive=True), *shown(session)


@torch.no_grad()
def preview(studio: ModelHandle, session: Session, state: TrainingState) -> str:
    """The visitor's face and some of those held out, before and after the mapper so far."""
    columns = [tuple(to_pil(image[None]) for image in pair) for pair in state.pictures.unbind(1)]
    if session.at is not None:
        generator, strength = studio.family.generator, studio.family.defaults.mapper_strength
        latent = apply_mapper(state.mapper, generator, session.at.latent, strength)
        size = state.pictures.shape[-1]
        columns = [
            (to_pil(session.at.latent.draw(generator, size)), to_pil(latent.draw(generator, size))),
            *columns[1:],
        ]
    sheet = Image.new("RGB", (TILE * len(columns), 2 * TILE))
    for x, column in enumerate(columns):
        for y, picture in enumerate(column):
            sheet.paste(picture.resize((TILE, TILE), Image.Resampling.LANCZOS), (TILE * x, TILE * y))
    return on_screen(sheet)


def connect(
    panel: Training, chosen: mappers.Mappers, result: Result, studio: ModelHandle, minutes: float, state: gr.State
) -> None:
    """Say what the panel's fields do."""

    @guard
    def begin(words: str, session: Session) -> tuple[Any, ...]:
        check_prompt(words)
        session.cancel_training = False
        return gr.Button(visible=True), bar("In line: one training at a time"), gr.Button(interactive=False)

    @guard
    def run(words: str, strength: float, session: Session) -> Iterator[tuple[Any, ...]]:
        """Train a mapper for these words, and apply it to this visitor's face. Sends the progress and a preview while
        it runs."""
        with studio.jobs.training(*caller_now()):
            yield from learn(words, strength, session)

    def learn(words: str, strength: float, session: Session) -> Iterator[tuple[Any, ...]]:
        nothing = [gr.skip()] * len(offered)
        yield gr.skip(), bar("Waiting for the edits that are running"), gr.skip(), gr.skip(), *nothing
        recipe = family_recipe(studio.family.row, words)
        steps = train(FrozenModels.of(studio.family), studio.texts, recipe)
        computed, now, far, share, waits = 0.0, None, "Ready", 0.0, False
        while computed < 60 * minutes and not session.cancel_training:
            with studio.jobs.background(LOOK_EVERY) as mine:
                if mine:
                    began = time.monotonic()
                    if (step := next(steps, None)) is None:
                        break
                    now = step
                    picture = gr.skip()
                    if now.pictures is not None:
                        picture = gr.Image(value=preview(studio, session, now), visible=True)
                    computed += time.monotonic() - began
            if not mine:
                if not waits:
                    yield gr.skip(), bar(f"{far} · waiting for others, who go first", share), *[gr.skip()] * 2, *nothing
                waits = True
                continue
            waits = False
            left = computed / now.step * (now.steps - now.step)
            far, share = f"Step {now.step} of at most {now.steps}", now.step / now.steps
            yield gr.skip(), bar(f"{far} · about {max(1, round(left))} s left", share), picture, gr.skip(), *nothing
        steps.close()
        if session.cancel_training or now is None:
            raise UserError("The training was stopped; nothing of it is kept.")
        name, losses = mappers.own_name(studio, session, words), now.training.lowest or now.losses
        file = new_file(f"{file_name(name)}.safetensors")
        save_mapper(now.mapper, file, now.training.recipe, losses, title=name)
        ended = f"Trained in {computed:.0f} s. It is in the gallery above; save it to use it another time."
        yield (
            gr.Button(visible=False),
            bar(ended, 1.0),
            gr.skip(),
            gr.Button(interactive=True),
            *offer(studio, chosen, session, name, file, strength),
        )

    def cancel(session: Session) -> gr.Button:
        session.cancel_training = True
        return gr.Button(visible=False)

    @guard
    def load(file: str, strength: float, session: Session) -> tuple[Any, ...]:
        upload = uploads.find(file)
        title, _ = studio.family.own_mapper(upload)
        name = mappers.own_name(studio, session, title)
        kept = new_file(f"{file_name(name)}.safetensors")
        retitle(upload, kept, name)
        return offer(studio, chosen, session, name, kept, strength)

    offered = [chosen.gallery, chosen.name, chosen.strength, panel.download, *result.picture]
    restored = [panel.cancel, panel.progress, panel.run]
    asked = gr.on([panel.run.click, panel.words.submit], begin, [panel.words, state], restored, **SILENT)
    trained = asked.success(
        run,
        [panel.words, chosen.strength, state],
        [panel.cancel, panel.progress, panel.preview, panel.run, *offered],
        api_visibility="private",
        **LONG,
    )
    untrained = set_to(gr.update(visible=False), "", gr.update(interactive=True))
    trained.failure(None, None, restored, js=untrained, **SILENT)
    panel.cancel.click(cancel, state, panel.cancel, **SILENT)
    loaded = panel.upload.upload(
        load, [panel.upload, chosen.strength, state], offered, api_visibility="private", **EDIT
    )
    for event in (trained, loaded):
        settle(result, event, state)
