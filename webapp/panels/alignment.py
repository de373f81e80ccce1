"""Latent alignment (CSLA): texts and faces bridged in one pass, for any words and with nothing measured beforehand."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from pipeline import StyleCLIP
from pipeline.errors import UserError
from pipeline.networks.generator import LEVELS
from webapp.error_messages import guard
from webapp.model_handle import ModelHandle
from webapp.panels import pair
from webapp.panels.bounded import bounded
from webapp.panels.grid import problem
from webapp.panels.likeness import line
from webapp.panels.pair import PairFields
from webapp.panels.photo import thing
from webapp.panels.result import Result, forget, glanced, keep, mean, settle, shown
from webapp.presets import Pair
from webapp.session import Session

SEEN = "As CLIP sees it"


@dataclass(frozen=True)
class Alignment:
    """The panel's components."""

    texts: PairFields
    strength: gr.Slider
    levels: gr.CheckboxGroup
    note: gr.HTML
    run: gr.Button
    imagine: gr.Button
    seen: gr.Button

    @property
    def follows(self) -> list[gr.components.Component]:
        """What follows every edit; `drawn` makes the values."""
        return [self.seen]


def layout(studio: StyleCLIP, pairs: tuple[Pair, ...], session: Session) -> Alignment:
    """Draw the panel; the first of `pairs` stands in its fields. A model without alignment gets a sentence instead."""
    able, usual = studio.family.alignment is not None, studio.family.defaults.csla_strength
    name, most = html.escape(studio.family.name), round(2 * usual, 1)
    if not able:
        gr.HTML(
            '<p class="note">This model has no alignment of texts and pictures yet; '
            f"<code>python -m pipeline.training.csla --model {name}</code> makes it, without data.</p>",
            elem_id="no-alignment",
        )
    with gr.Row(visible=able, elem_classes="two"):
        with gr.Column():
            texts = pair.layout(pairs, "bridge-")
        with gr.Column():
            strength = bounded(-most, most, usual, step=0.01, label=f"Strength ({usual:g} is usual)", elem_id="bridge")
            levels = gr.CheckboxGroup(
                [(level.capitalize(), level) for level in LEVELS],
                value=list(LEVELS),
                label="What may change",
                info="Coarse: the shape. Medium: features. Fine: lines and colours.",
                elem_id="levels",
            )
    with gr.Row(visible=able, elem_classes="actions"):
        run = gr.Button("Apply", variant="primary", elem_id="apply-bridge")
        imagine = gr.Button(f"A {thing(studio)} from these words", elem_id="imagine")
        seen = gr.Button(SEEN, visible=session.here.origin.found is not None, elem_id="seen")
        note = gr.HTML(label="notes", elem_id="bridge-note")
    return Alignment(texts, strength, levels, note, run, imagine, seen)


def drawn(session: Session) -> tuple[Any, ...]:
    """The values of `Alignment.follows`: CLIP sees photos."""
    return (gr.update(visible=session.here.origin.found is not None),)


def connect(
    panel: Alignment,
    result: Result,
    studio: ModelHandle,
    pairs: tuple[Pair, ...],
    state: gr.State,
    job: dict[str, Any],
) -> None:
    """Say what the panel's fields do. `job` holds the queue settings of everything that computes.

    What a visitor can mend is said beside the sliders, since one message for every slider position would pile up.
    """
    unchanged = [gr.skip()] * len(result.picture)

    def noted(*sentences: str) -> str:
        said = " ".join(html.escape(sentence) for sentence in sentences if sentence)
        return f'<p class="note" role="status">{said}</p>'

    @guard
    def apply(target: str, neutral: str, strength: float, levels: list[str], session: Session) -> tuple[Any, ...]:
        source = session.base("csla_edit", target=target, neutral=neutral)
        try:
            edit = studio.csla_edit(source, target, neutral, strength, levels)
        except UserError as error:
            return *unchanged, problem(str(error))
        keep(session, source, edit)
        return *shown(session), noted(*edit.notes)

    @guard
    def slide(
        target: str, neutral: str, strength: float, levels: list[str], session: Session
    ) -> Iterator[Sequence[Any]]:
        """`apply` by a slider, with a small picture first."""
        source = session.base("csla_edit", target=target, neutral=neutral)
        yield from glanced(
            session,
            studio,
            lambda model: model.csla_edit(source, target, neutral, strength, levels).latent,
            lambda: apply(target, neutral, strength, levels, session),
            len(outputs),
        )

    @guard
    def imagine(target: str, strength: float, session: Session) -> tuple[Any, ...]:
        """A face from the words alone, to begin with."""
        try:
            edit = studio.csla_generate(target, strength)
        except UserError as error:
            return *unchanged, problem(str(error))
        keep(session, mean(studio), edit)
        return *shown(session), noted(*edit.notes)

    @guard
    def see(session: Session) -> tuple[Any, ...]:
        """What CLIP understood of the photo, to begin with."""
        origin = session.here.origin
        if origin.found is None:
            raise UserError("This picture came from no photo that CLIP could look at.")
        face = origin.found.face()
        latent = studio.invert(face, through="clip")
        details = "What CLIP understood of the photo"
        said = line(studio, origin.found, latent) or f"{details}."
        session.add(latent, studio.image(latent), SEEN, said, details, origin.found, beside=origin)
        return *shown(session), noted()

    outputs = [*result.picture, panel.note]
    texts = [panel.texts.target, panel.texts.neutral]
    fields = [*texts, panel.strength, panel.levels, state]
    private: dict[str, Any] = {"api_visibility": "private"} | job
    moved = gr.on(
        [panel.strength.input, panel.levels.input], slide, fields, outputs, trigger_mode="always_last", **private
    )
    suggested = pair.connect(panel.texts, pairs)
    asked = [
        event(apply, fields, outputs, trigger_mode="always_last", **private)
        for event in (suggested.then, *(text.submit for text in texts), panel.run.click)
    ]
    imagined = panel.imagine.click(imagine, [panel.texts.target, panel.strength, state], outputs, **private)
    looked = panel.seen.click(see, state, outputs, **private)
    forget(panel.note, *texts)
    for event in (moved, *asked, imagined, looked):
        settle(result, event, state)
