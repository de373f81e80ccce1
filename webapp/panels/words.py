"""The page's one field: what should change, in a visitor's own words. The library reads them and chooses the method."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from pipeline.errors import UserError
from pipeline.methods.regions import MASK_SIZE
from pipeline.wishes import Reading, Wish
from webapp.history import HistoryItem
from webapp.model_handle import ModelHandle
from webapp.panels import brush, history
from webapp.panels.brush import Brush
from webapp.panels.directions import usual_threshold
from webapp.panels.form import Form
from webapp.panels.optimization import THIS_FACE, as_html
from webapp.panels.result import SILENT, how, problem
from webapp.presets import Presets
from webapp.queues import EDIT
from webapp.render import Context, Updates
from webapp.session import Session

# Whether somebody writes in the fields of a method. What comes then would replace it.
WRITING = """(_, session) => [
  !!document.activeElement?.matches?.("#methods :is(input, textarea)"), session
]"""
# An answer to other words goes once new ones are typed, and not when a suggestion fills them in.
FORGET = """() => {
  const typed = document.activeElement?.matches("#wish textarea");
  return typed ? ["", {__type__: "update", visible: false}] : [undefined, undefined];
}"""


@dataclass(frozen=True)
class Words:
    """The panel's components."""

    text: gr.Textbox
    run: gr.Button
    suggestions: gr.Dataset
    note: gr.HTML
    offers: gr.Dataset
    how: gr.HTML
    """It belongs to the picture, see `webapp.panels.result`."""
    pair: gr.Button
    thorough: gr.Button
    halt: gr.Button
    strength: gr.Slider
    """Of the picture's edit, see `webapp.panels.history`."""
    brush: Brush
    """Where an edit may change the picture."""
    writing: gr.Checkbox
    methods: gr.Accordion
    """What is behind the field; the page puts the tabs of the methods into it."""


def layout(studio: ModelHandle, known: Presets, session: Session) -> Words:
    """Draw the panel with the words and the line of the edit that the session starts with."""
    wish = session.current.wish
    with gr.Row(elem_id="ask"):
        text = gr.Textbox(
            wish.said if wish else "",
            label="What should change?",
            placeholder=f"For example: {' and '.join(known.wishes[:3:2])}",
            min_width=160,
            elem_id="wish",
            elem_classes="words",
        )
        run = gr.Button("Change it", variant="primary", elem_id="change")
    suggestions = gr.Dataset(
        components=["textbox"],
        samples=[[wish] for wish in known.wishes],
        samples_per_page=len(known.wishes),
        label="Suggestions",
        show_label=False,
        layout="gallery",
        elem_id="wishes",
        elem_classes="chips",
    )
    with gr.Row(elem_id="said"):
        note = gr.HTML(label="notes", elem_id="wish-note")
        offers = gr.Dataset(
            components=["textbox"],
            samples=[],
            label="What may be meant",
            show_label=False,
            layout="gallery",
            visible=False,
            elem_id="offers",
            elem_classes="chips",
        )
    with gr.Row(elem_id="done"):
        with gr.Column(elem_id="made"):
            line = gr.HTML(how(session), label="method", elem_id="how")
        thorough = gr.Button("More thorough", size="sm", min_width=110, elem_id="thorough")
        halt = gr.Button("Stop here", size="sm", min_width=110, visible=False, elem_id="halt")
        strength = history.strength(session)
    where = brush.layout(studio.family.parts is not None)
    pair = gr.Button("Edit the texts", elem_id="edit-texts")  # page.js presses it for those of the line
    writing = gr.Checkbox(label="writing", visible=False)
    methods = gr.Accordion("Methods", open=False, elem_id="methods")
    return Words(text, run, suggestions, note, offers, line, pair, thorough, halt, strength, where, writing, methods)


def read(studio: ModelHandle, text: str) -> Reading:
    """The wishes in a text, each with what its edit is called: by the text itself, where it says nothing else. Raises
    UserError for a text that is empty, too long or without words."""
    reading, noun = studio.wishes(text), studio.family.defaults.neutral
    if len(reading.wishes) == 1 and not reading.notes:
        names = [text.strip()]
    else:
        names = [
            wish.target.removeprefix(f"{noun} with ").removesuffix(f" {noun}")
            if wish.target != noun
            else f"without {wish.said}"
            for wish in reading.wishes
        ]
    wishes = (replace(wish, said=name) for wish, name in zip(reading.wishes, names, strict=True))
    return replace(reading, wishes=tuple(wishes))


def answer_to(panel: Words, reading: Reading) -> Updates:
    """What is said of the words before anything is done: what the model does not know, and the nearest words."""
    offers = [[offer] for offer in reading.offers]
    return {
        panel.note: problem(" ".join(reading.notes)) if reading.notes else "",
        panel.offers: gr.Dataset(samples=offers, samples_per_page=max(1, len(offers)), visible=bool(offers)),
    }


def not_read(panel: Words, error: UserError) -> Updates:
    """What is wrong with the words."""
    return {panel.note: problem(str(error)), panel.offers: gr.Dataset(visible=False)}


def under_way(number: int, wishes: tuple[Wish, ...], face: str) -> str:
    """The line while an edit of the face with this key is made, as HTML."""
    which = f"Edit {number} of {len(wishes)}: " if len(wishes) > 1 else ""
    wish = wishes[number - 1]
    texts = f"“{html.escape(wish.neutral)}” → “{html.escape(wish.target)}”"
    told = f'<span role="status">{which}<b>{html.escape(wish.said)}</b><span> …</span></span><span>{texts}</span>'
    return f'<p class="note" data-face="{face}">{told}</p>'


def change(
    studio: ModelHandle, session: Session, begun: HistoryItem, wish: Wish, regions: Sequence[str] | None = None
) -> HistoryItem:
    """Make the edit that a visitor wishes for, of a picture of the strip, held to `regions`, or to those that its words
    are about; it is shown if they still look at that picture. Raises UserError where it can't be made, or the picture
    has left the strip."""
    source = session.base_of(begun, wish)
    whole = studio.change(source, replace(wish, share=1.0), regions=regions)
    edit = studio.adjust(source, whole, wish.share)
    with suppress(UserError):  # which the visitor hears who uses these texts
        if not studio.directions_note:  # else an estimate would take long
            session.remember_threshold(wish, usual_threshold(studio, wish.target, wish.neutral))
    return session.keep(source, edit, whole=whole.latent, begun=begun, wish=wish)


def connect(
    panel: Words,
    form: Form,
    optimize: Callable[..., Iterator[Updates]],
    let_run: Callable[..., None],
    context: Context,
) -> None:
    """Say what the panel's fields do. `optimize` and `let_run` are those of `webapp.panels.optimization`."""
    studio, state, render, line = context.studio, context.state, context.render, context.result.how
    rows = studio.family.rows(MASK_SIZE)

    def understood(text: str) -> tuple[Reading, Updates]:
        """The wishes in the words, and what is said of them; none where they can't be read."""
        try:
            reading = read(studio, text)
        except UserError as error:
            return Reading(()), not_read(panel, error)
        return reading, answer_to(panel, reading)

    def apply(text: str, where: str, painted: str | None, session: Session) -> Iterator[Updates]:
        """Do what the visitor has asked for, one edit after the other."""
        reading, answer = understood(text)
        yield answer
        try:
            regions = brush.regions(where, painted, session, rows)
        except UserError as error:
            yield {panel.note: problem(str(error))}
            return
        item, said = session.current, list(reading.notes)
        for number, wish in enumerate(reading.wishes, 1):
            if session.current == item:
                yield {line: under_way(number, reading.wishes, session.origin.key)}
            try:
                item = change(studio, session, item, wish, regions)
            except UserError as error:
                yield render(session) | {panel.note: problem(str(error))}
                return
            said += [note for note in item.notes if note not in said and note != studio.directions_note]
            yield render(session) | ({panel.note: as_html(*said)} if said else {})

    def thorough(
        text: str,
        where: str,
        painted: str | None,
        steps: int,
        l2: float,
        identity: float,
        session: Session,
    ) -> Iterator[Updates]:
        """Do it by optimization, in place of the quick edits of these words."""
        reading, answer = understood(text)
        yield answer
        try:
            regions = brush.regions(where, painted, session, rows)
        except UserError as error:
            yield {panel.note: problem(str(error))}
            return
        item = session.current
        while item.wish and item.wish in reading.wishes and item.parent in session.order:
            item = session.items[item.parent]
        if reading.wishes and item != session.current:
            session.go(item)
        for wish in reading.wishes:
            yield {form.optimization.words: wish.target, form.tabs: gr.update(selected="optimization")}
            held_to = studio.about(wish) if regions is None else regions
            yield from optimize(wish.target, THIS_FACE, steps, l2, identity, session, wish, held_to)
            if session.stop or session.current.wish != wish:
                return

    def anew(where: str, painted: str | None, session: Session) -> Updates:
        """The edit that is seen, made again for the other choice, but for one that is to be painted first."""
        item = session.current
        brush.choose(where, painted, session, rows)
        if where == brush.PAINTED:
            return {panel.note: ""}
        regions = brush.regions(where, painted, session, rows)
        if not item.recipes:
            return {panel.note: ""}
        if not item.wish:
            return {panel.note: as_html("This picture was not made by words; the choice counts for the next edit.")}
        recipe, source = item.recipes[-1], item.source
        share = recipe.get("share", 1.0) * recipe.get("within", {}).get("share", 1.0)
        plain = {name: value for name, value in recipe.items() if name not in ("within", "share")}
        if recipe["method"] == "optimize":
            return {panel.note: as_html("What was optimized stays as it is; the choice counts for the next edit.")}
        whole = studio.repeat(plain, source, anywhere=True)
        whole = studio.within(source, whole, studio.about(item.wish) if regions is None else regions)
        edit = studio.adjust(source, whole, share)
        session.keep(source, edit, item.title, whole.latent, begun=item, wish=item.wish)
        return render(session) | {panel.note: ""}

    def fill(writing: bool, session: Session) -> Updates:
        """The fields of the methods, but not where the visitor writes."""
        return gr.skip() if writing else fields(session)

    def fields(session: Session) -> Updates:
        answers = (panel.text, panel.note, panel.offers)
        with session.lock:
            return {field: value for field, value in context.form(session).items() if field not in answers}

    def texts(session: Session) -> Updates:
        """The pair of texts, in the fields of the global directions."""
        return fields(session) | {form.methods: gr.update(open=True), form.tabs: gr.update(selected="directions")}

    brush.connect(panel.brush, state, rows)
    answers, place = [panel.note, panel.offers], [panel.brush.where, panel.brush.canvas]
    suggested, offered = (
        chips.click(lambda chosen: chosen[0], chips, panel.text, **SILENT)
        for chips in (panel.suggestions, panel.offers)
    )
    for event in (panel.text.submit, panel.run.click, suggested.then, offered.then):
        made = context.on(event, apply, [panel.text, *place], answers, trigger_mode="always_last", **EDIT)
        # The line says again what is seen, also where the edit failed.
        made.failure(lambda session: how(session), state, line, **SILENT)
        made.success(fill, [panel.writing, state], list(fields(context.first)), js=WRITING, **SILENT)
    context.on(panel.brush.where.input, anew, place, [panel.note], trigger_mode="always_last", **EDIT)
    numbers = [form.optimization.steps, form.optimization.l2, form.optimization.identity]
    more: list[Any] = [*answers, form.optimization.words, form.tabs]
    let_run(panel.thorough.click, thorough, [panel.text, *place, *numbers], more)
    panel.pair.click(texts, state, list(texts(context.first)), **SILENT)
    gr.on([panel.text.change], None, None, answers, js=FORGET, **SILENT)
