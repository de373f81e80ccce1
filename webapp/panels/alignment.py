"""Latent alignment (CSLA): texts and faces bridged in one pass, for any words and with nothing measured beforehand."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from pipeline import StyleCLIP
from pipeline.errors import UserError
from pipeline.networks.generator import LEVELS
from webapp.history import HistoryItem
from webapp.panels import pair
from webapp.panels.bounded import bounded
from webapp.panels.likeness import line
from webapp.panels.pair import PairFields
from webapp.panels.photo import thing
from webapp.panels.result import forget, mean_face, problem, status
from webapp.presets import Pair
from webapp.queues import EDIT
from webapp.render import Context, Updates
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
        seen = gr.Button(SEEN, visible=session.origin.detected is not None, elem_id="seen")
        note = gr.HTML(label="notes", elem_id="bridge-note")
    return Alignment(texts, strength, levels, note, run, imagine, seen)


def draw(panel: Alignment, session: Session) -> Updates:
    """The button of what CLIP sees, which is for photos."""
    return {panel.seen: gr.update(visible=session.origin.detected is not None)}


def connect(panel: Alignment, context: Context) -> None:
    """Say what the panel's fields do.

    What is wrong with their values is said beside the sliders, since one message for every slider position would pile
    up.
    """
    studio, render = context.studio, context.render

    def asked(target: str, neutral: str, strength: float, levels: list[str], session: Session) -> dict[str, Any]:
        """The arguments of `StyleCLIP.csla_edit`, all as they are now."""
        told = {"target": target, "neutral": neutral}
        with session.lock:
            place = {"latent": session.base("csla_edit", **told), "regions": session.held_to("csla_edit", **told)}
        return told | {"strength": strength, "levels": levels} | place

    def make(wanted: dict[str, Any], session: Session) -> Updates:
        try:
            edit = studio.csla_edit(**wanted)
        except UserError as error:
            return {panel.note: problem(str(error))}
        session.keep(wanted["latent"], edit)
        return render(session) | {panel.note: status(*edit.notes)}

    def apply(*args: Any) -> Updates:
        return make(asked(*args), args[-1])

    def slide(*args: Any) -> Iterator[Updates]:
        """`apply` by a slider, with a small picture first."""
        wanted, session = asked(*args), args[-1]
        yield from context.small_first(
            session, lambda model: model.csla_edit(**wanted).latent, lambda: make(wanted, session)
        )

    def imagine(target: str, strength: float, session: Session) -> Updates:
        """A face from the words alone, to begin with."""
        try:
            edit = studio.csla_generate(target, strength)
        except UserError as error:
            return {panel.note: problem(str(error))}
        session.keep(mean_face(studio), edit)
        return render(session) | {panel.note: status(*edit.notes)}

    def see(session: Session) -> Updates:
        """What CLIP understood of the photo, to begin with."""
        origin = session.origin
        if origin.detected is None:
            raise UserError("This picture came from no photo that CLIP could look at.")
        latent = studio.invert(origin.detected.face(), through="clip")
        details = "What CLIP understood of the photo"
        note = line(studio, origin.detected, latent) or f"{details}."
        picture, more = studio.image(latent), {"notes": (details,), "detected": origin.detected}
        session.add(HistoryItem.of(picture, SEEN, latent, note, **more), compare_with=origin)
        return render(session) | {panel.note: status()}

    texts, outputs = [panel.texts.target, panel.texts.neutral], [panel.note]
    fields = [*texts, panel.strength, panel.levels]
    last = EDIT | {"trigger_mode": "always_last"}
    context.on([panel.strength.input, panel.levels.input], slide, fields, outputs, **last)
    suggested = pair.connect(panel.texts, context.presets.pairs)
    for event in (suggested.then, *(text.submit for text in texts), panel.run.click):
        context.on(event, apply, fields, outputs, **last)
    context.on(panel.imagine.click, imagine, [panel.texts.target, panel.strength], outputs, **EDIT)
    context.on(panel.seen.click, see, (), outputs, **EDIT)
    forget(panel.note, *texts)
