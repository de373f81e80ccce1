"""The strip: every face and edit as a thumbnail with its words, to return to, rename, compare, undo and redo."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from pipeline.errors import UserError
from webapp.history import LONGEST_TITLE
from webapp.model_handle import LOST
from webapp.panels.chooser import chooser, chosen, keys_of
from webapp.panels.result import SILENT
from webapp.pictures import PHOTO
from webapp.queues import EDIT
from webapp.render import Context, Updates
from webapp.session import Session

STRONGEST = 200  # percent of an edit
STRENGTH, SHARE = "Strength of this edit, %", "Share of the other one, %"


@dataclass(frozen=True)
class History:
    """The panel's components."""

    strip: gr.Gallery
    keys: gr.Textbox
    """Of the pictures on the strip, as the browser has it."""
    undo: gr.Button
    redo: gr.Button
    name: gr.Textbox
    compared: gr.Dropdown
    share: gr.Slider
    key: gr.Textbox


def comparable(session: Session) -> dict[str, Any]:
    """What the current picture can be compared with, the photo and the pictures of the strip by number and words, and
    their keys; and which of them it is compared with."""
    photo = [("The photo", PHOTO)] if session.origin.detected else []
    kinds = {item: ", inversion" if item.is_inversion else "" for item in session.strip}
    strip = [(f"{number}. {item.title}{kinds[item]}", item.key) for number, item in enumerate(session.strip, 1)]
    before = PHOTO if session.beside_photo else session.before.key
    return {"choices": photo + strip, "value": before if before in (PHOTO, *session.order) else None}


def draw(panel: History, session: Session) -> dict[gr.blocks.Block, Any]:
    """The strip, and the fields of the current picture."""
    current, strip = session.current, session.strip
    return {
        panel.strip: gr.update(
            value=[(item.thumbnail, item.title) for item in strip],
            selected_index=strip.index(current) if current in strip else None,
        ),
        panel.keys: keys_of(strip),
        panel.undo: gr.update(interactive=bool(session.undo_keys)),
        panel.redo: gr.update(interactive=bool(session.redo_keys)),
        panel.name: current.title,
        panel.compared: gr.update(**comparable(session)),
        panel.share: gr.update(
            value=round(100 * current.share),
            interactive=current.line is not None,
            maximum=100 if current.is_mixture else STRONGEST,
            label=SHARE if current.is_mixture else STRENGTH,
        ),
        panel.key: current.key,
    }


def strength(session: Session) -> gr.Slider:
    """Draw the slider of the current edit, or mixture. The page has this one only, for edits of all methods."""
    current = session.current
    return gr.Slider(
        0,
        STRONGEST,
        round(100 * current.share),
        step=1,
        label=STRENGTH,
        interactive=bool(current.recipes),
        buttons=[],
        min_width=180,
        elem_id="share",
    )


def layout(share: gr.Slider, session: Session) -> History:
    """Draw the fields of the current picture; `share` stands elsewhere already, and the page puts the strip and its two
    buttons below, with `render`."""
    current = session.current
    with gr.Row(elem_id="this-edit"):
        name = gr.Textbox(current.title, label="Name", max_length=LONGEST_TITLE, min_width=140, elem_id="shot-name")
        compared = gr.Dropdown(**comparable(session), label="Compare with", min_width=140, elem_id="compare")
    strip = chooser(
        value=[(item.thumbnail, item.title) for item in session.strip],
        selected_index=len(session.strip) - 1,
        label="Your edits",
        show_label=False,
        columns=8,
        render=False,
        elem_id="strip",
        captioned=True,
    )
    undo = gr.Button("Undo", interactive=bool(session.undo_keys), size="sm", render=False, elem_id="undo")
    redo = gr.Button("Redo", interactive=False, size="sm", render=False, elem_id="redo")
    key = gr.Textbox(current.key, label="key", visible=False)
    keys = gr.Textbox(keys_of(session.strip), label="keys", visible=False)
    return History(strip, keys, undo, redo, name, compared, share, key)


def connect(panel: History, context: Context) -> None:
    """Say what the panel's fields do."""
    studio, render = context.studio, context.render

    def choose(event: gr.SelectData, keys: str, session: Session) -> Updates:
        session.go(chosen(session.strip, keys, event))
        return render(session)

    def undo(session: Session) -> Updates:
        session.undo()
        return render(session)

    def redo(session: Session) -> Updates:
        session.redo()
        return render(session)

    def rename(name: str, key: str, session: Session) -> Updates:
        session.rename(key, name)
        return render(session)

    def compare(key: str | None, session: Session) -> Updates:
        known = comparable(session)
        if key != known["value"] and key in [key for _, key in known["choices"]]:  # else the field is left as it was
            session.compared = key
        return render(session)

    def adjust(percent: float, key: str, session: Session) -> Iterator[Updates]:
        """An edit at another strength, on the line from what it was made from; or another share of a mixture."""
        item = next((item for item in session.strip if item.key == key), None)
        if item is None or item.line is None:
            raise UserError("This is a face as it was; its edits have a strength.")
        latent = item.line.start.towards(item.line.end, percent / 100)

        def finish() -> Updates:
            notes = [*(note for note in item.notes if note != LOST), studio.lost(latent)]
            session.redraw(item, percent / 100, latent, studio.image(latent), *filter(None, notes))
            return render(session)

        yield from context.small_first(session, lambda model: latent, finish)

    every: dict[str, Any] = {"trigger_mode": "multiple", "form": True}
    context.on(panel.strip.select, choose, [panel.keys], **every, **SILENT)
    for button, handler in ((panel.undo, undo), (panel.redo, redo)):
        context.on(button.click, handler, **every, **SILENT)
    for trigger in (panel.name.submit, panel.name.blur):
        context.on(trigger, rename, [panel.name, panel.key], **SILENT)
    context.on(panel.compared.input, compare, [panel.compared], **SILENT)
    context.on(panel.share.input, adjust, [panel.share, panel.key], trigger_mode="always_last", **EDIT)
