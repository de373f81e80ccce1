"""Named sliders, a pair of texts each, that all act on one face at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import gradio as gr

from pipeline import Latent, StyleCLIP
from pipeline.errors import UserError
from webapp.panels.bounded import bounded
from webapp.panels.result import problem, status
from webapp.presets import Pair
from webapp.queues import EDIT
from webapp.render import Context, Updates
from webapp.session import Session

LEAST, MOST = -100, 150  # percent of the strength that suits a pair
MOST_OWN = 4  # sliders that a visitor can add
FULL = f"{MOST_OWN} pairs of your own are the most at once. Start over to begin with none."


@dataclass(frozen=True)
class Sliders:
    """The panel's components."""

    pairs: tuple[Pair, ...]
    """Of the family, one for each of the first sliders."""
    sliders: list[gr.Slider]
    """Those of the family, then the hidden ones for the visitor's own pairs."""
    reset: gr.Button
    neutral: gr.Textbox
    target: gr.Textbox
    add: gr.Button
    note: gr.HTML


def name_of(pair: Pair) -> str:
    """What a slider is called: the target without the words that stand in the neutral text too."""
    there = {word.strip(",.").casefold() for word in pair.neutral.split()} | {"a", "an", "the"}
    words = [word for word in pair.target.split() if word.strip(",.").casefold() not in there]
    if words and words[0] == "with":
        words = words[1:]
    name = " ".join(words) or pair.target
    return (name[:1].upper() + name[1:])[:40]


def layout(studio: StyleCLIP, pairs: tuple[Pair, ...]) -> Sliders:
    """Draw the panel, all sliders at 0."""
    if not studio.directions_note:  # else an estimate would keep everybody waiting
        pairs = tuple(replace(pair, strength=pair.alpha(studio)) for pair in pairs)
    slider = partial(bounded, LEAST, MOST, 0, step=5)
    with gr.Row(elem_id="sliders"):
        sliders = [slider(label=name_of(pair), min_width=180, elem_classes="named") for pair in pairs]
        sliders += [
            slider(label=f"Yours {number}", min_width=180, visible=False, elem_classes="named")
            for number in range(1, MOST_OWN + 1)
        ]
    with gr.Row(elem_classes="actions"):
        reset = gr.Button("All to 0", elem_id="reset-sliders")
        note = gr.HTML(label="notes", elem_id="sliders-note")
    with gr.Accordion("A slider of your own", open=False, elem_id="own-sliders"), gr.Row():
        neutral = gr.Textbox(pairs[0].neutral, label="From (neutral)", min_width=120, elem_id="slider-neutral")
        target = gr.Textbox("", label="To (target)", min_width=120, elem_id="slider-target")
        add = gr.Button("Add it", min_width=80, scale=0, elem_id="add-slider")
    return Sliders(pairs, sliders, reset, neutral, target, add, note)


def all_pairs(panel: Sliders, session: Session) -> list[Pair]:
    """The pairs of the sliders that are shown."""
    return [*panel.pairs, *session.own_pairs]


def positions(panel: Sliders, studio: StyleCLIP, session: Session) -> list[float]:
    """Where the sliders stand for the current picture, in percent: at 0 unless it was made with them, and at its end
    where the picture was made with more."""
    alphas = _made_with(session)
    given = [(pair, alphas.get((pair.target, pair.neutral), 0.0)) for pair in all_pairs(panel, session)]
    return [min(max(round(100 * alpha / full_strength(studio, pair)), LEAST), MOST) for pair, alpha in given]


def _made_with(session: Session) -> dict[tuple[str, str], float]:
    """The α of each pair, target and neutral text, that the current picture was made with by sliders."""
    recipes = session.current.recipes
    made = recipes[-1]["parameters"]["sliders"] if recipes and recipes[-1]["method"] == "combine" else []
    return {(slider["target"], slider["neutral"]): slider["strength"] for slider in made}


def full_strength(studio: StyleCLIP, pair: Pair) -> float:
    """The α of a slider at 100 %."""
    return studio.family.defaults.strength if pair.strength is None else pair.strength


def draw(panel: Sliders, studio: StyleCLIP, session: Session) -> Updates:
    """The sliders where another picture is shown than they stand for.

    A visitor may have moved one meanwhile: what the page shows by its own doing is left as it is.
    """
    recipes = session.current.recipes
    if recipes and recipes[-1]["method"] == "combine":
        adopt(panel, session, recipes[-1]["parameters"]["sliders"])
    wanted = positions(panel, studio, session)
    if wanted == session.page_sliders:
        return dict.fromkeys(panel.sliders, gr.skip())
    session.page_sliders = wanted
    return shown(panel, session, wanted)


def adopt(panel: Sliders, session: Session, sliders: Sequence[dict[str, Any]]) -> None:
    """Make pairs of a recipe, which came by a link or a file, the visitor's own where the panel lacks them; their α is
    100 % then."""
    known = {(pair.target, pair.neutral) for pair in all_pairs(panel, session)}
    unknown = [slider for slider in sliders if (slider["target"], slider["neutral"]) not in known]
    new = [Pair(slider["neutral"], slider["target"], slider["strength"] or None) for slider in unknown]
    session.own_pairs = [*session.own_pairs, *new][:MOST_OWN]


def shown(panel: Sliders, session: Session, values: Sequence[float]) -> Updates:
    """The sliders at these values; those of the visitor's own pairs with their names."""
    own = [gr.update(value=0, visible=False)] * MOST_OWN
    for place, pair in enumerate(session.own_pairs):
        own[place] = gr.update(value=values[len(panel.pairs) + place], label=name_of(pair), visible=True)
    return dict(zip(panel.sliders, [*values[: len(panel.pairs)], *own], strict=True))


def connect(panel: Sliders, context: Context) -> None:
    """Say what the sliders and buttons do."""
    studio = context.studio

    def moved(values: Sequence[float], session: Session) -> list[dict[str, Any]]:
        """The sliders that are not at 0, as `StyleCLIP.combine` takes them. What the current picture was made with is
        kept where a slider stands as it was drawn, also beyond its end, and where there is none for it."""
        pairs, made = all_pairs(panel, session), _made_with(session)
        drawn = positions(panel, studio, session)
        session.page_sliders = list(values[: len(pairs)])
        told = {}
        for pair, value, was in zip(pairs, values, drawn, strict=False):
            alpha, texts = round(value / 100 * full_strength(studio, pair), 3), (pair.target, pair.neutral)
            told[texts] = made.get(texts, 0.0) if value == was else alpha
        sliders = [(texts, alpha) for texts, alpha in (made | told).items() if alpha]
        return [{"target": target, "neutral": neutral, "strength": alpha} for (target, neutral), alpha in sliders]

    def make(source: Latent, sliders: list[dict[str, Any]], session: Session, regions: Sequence[str] = ()) -> Updates:
        try:
            edit = studio.combine(source, sliders, regions=regions)
        except UserError as error:
            return {panel.note: problem(str(error))}
        session.keep(source, edit)
        return context.render(session) | {panel.note: status(*edit.notes)}

    def slide(*args: Any) -> Iterator[Updates]:
        """A slider was moved: a small picture of all of them first."""
        *values, session = args
        with session.lock:
            sliders, source, regions = moved(values, session), session.base("combine"), session.held_to("combine")

        def small(model: StyleCLIP) -> Latent:
            return model.combine(source, sliders, regions=regions).latent

        yield from context.small_first(session, small, lambda: make(source, sliders, session, regions))

    def reset(session: Session) -> Updates:
        zeros = [0.0] * len(all_pairs(panel, session))
        recipes = session.current.recipes
        session.page_sliders = zeros
        updates = shown(panel, session, zeros) | {panel.note: ""}
        if recipes and recipes[-1]["method"] == "combine":
            updates |= make(session.current.source, [], session)
        return updates

    def add(neutral: str, target: str, session: Session) -> Updates:
        pair = Pair(neutral.strip(), target.strip())
        try:
            pair = replace(pair, strength=studio.strength(pair.target, pair.neutral))
        except UserError as error:
            return {panel.note: problem(str(error))}
        known = {(other.target, other.neutral) for other in all_pairs(panel, session)}
        if (pair.target, pair.neutral) in known:
            return {panel.note: problem("There is a slider for these two texts already.")}
        if len(session.own_pairs) == MOST_OWN:
            return {panel.note: problem(FULL)}
        session.own_pairs = [*session.own_pairs, pair]
        place = len(panel.pairs) + len(session.own_pairs) - 1
        slider = gr.update(label=name_of(pair), visible=True)  # at 0, as hidden ones are; sent, it could undo a move
        return {panel.sliders[place]: slider, panel.target: "", panel.note: ""}

    outputs = [panel.note]
    last = EDIT | {"trigger_mode": "always_last"}
    context.on([slider.input for slider in panel.sliders], slide, panel.sliders, outputs, **last)
    context.on(panel.reset.click, reset, (), [*panel.sliders, panel.note], **EDIT)
    own = [*panel.sliders, panel.target, panel.note]
    for event in (panel.add.click, panel.target.submit):
        context.on(event, add, [panel.neutral, panel.target], own, **EDIT)
