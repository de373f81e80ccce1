"""The strip: every face and edit as a thumbnail with its words, to return to, rename, compare, undo and redo."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from pipeline.errors import UserError
from webapp.error_messages import guard
from webapp.model_handle import LOST, ModelHandle
from webapp.panels.chooser import chooser, pressed
from webapp.panels.result import SILENT, Result, glanced, settle, shown
from webapp.session import Session
from webapp.shots import LONGEST_TITLE

STRONGEST = 200  # percent of an edit
STRENGTH, SHARE = "Strength of this edit, %", "Share of the other one, %"


@dataclass(frozen=True)
class History:
    """The panel's components."""

    strip: gr.Gallery
    undo: gr.Button
    redo: gr.Button
    name: gr.Textbox
    compared: gr.Dropdown
    share: gr.Slider
    key: gr.Textbox

    @property
    def all(self) -> list[gr.components.Component]:
        """What follows every edit; `drawn` makes the values."""
        return [self.strip, self.undo, self.redo, self.name, self.compared, self.share, self.key]


def numbered(session: Session) -> list[tuple[str, int]]:
    """The pictures of the strip by their number and words."""
    return [(f"{number}. {shot.title}", number) for number, shot in enumerate(session.shots, 1)]


def drawn(session: Session) -> tuple[Any, ...]:
    """The values of `History.all`."""
    session.touch()
    here = session.here
    before = session.shots.index(session.before) + 1 if session.before in session.shots else None
    return (
        gr.update(
            value=[(shot.thumb, shot.title) for shot in session.shots],
            selected_index=session.shots.index(here) if here in session.shots else None,
        ),
        gr.update(interactive=bool(session.back)),
        gr.update(interactive=bool(session.forth)),
        here.title,
        gr.update(choices=numbered(session), value=before),
        gr.update(
            value=round(100 * here.share),
            interactive=here.line is not None,
            maximum=100 if here.mixture else STRONGEST,
            label=SHARE if here.mixture else STRENGTH,
        ),
        here.key,
    )


def layout(session: Session) -> History:
    """Draw the fields of the current picture; the page puts the strip and its two buttons below, with `render`."""
    here = session.here
    share = gr.Slider(
        0,
        STRONGEST,
        100,
        step=1,
        label=STRENGTH,
        interactive=bool(here.recipes),
        buttons=[],
        min_width=180,
        elem_id="share",
    )
    with gr.Row(elem_id="this-edit"):
        name = gr.Textbox(here.title, label="Name", max_length=LONGEST_TITLE, min_width=140, elem_id="shot-name")
        compared = gr.Dropdown(numbered(session), value=1, label="Compare with", min_width=140, elem_id="compare")
    strip = chooser(
        value=[(shot.thumb, shot.title) for shot in session.shots],
        selected_index=len(session.shots) - 1,
        label="Your edits",
        show_label=False,
        columns=8,
        render=False,
        elem_id="strip",
        captioned=True,
    )
    undo = gr.Button("Undo", interactive=bool(session.back), size="sm", render=False, elem_id="undo")
    redo = gr.Button("Redo", interactive=False, size="sm", render=False, elem_id="redo")
    key = gr.Textbox(here.key, label="key", visible=False)
    return History(strip, undo, redo, name, compared, share, key)


def connect(panel: History, result: Result, studio: ModelHandle, state: gr.State, job: dict[str, Any]) -> None:
    """Say what the panel's fields do. `job` holds the queue settings of everything that computes."""

    @guard
    def choose(event: gr.SelectData, session: Session) -> tuple[Any, ...]:
        session.go(pressed(session.shots, event))
        return shown(session)

    @guard
    def undo(session: Session) -> tuple[Any, ...]:
        session.undo()
        return shown(session)

    @guard
    def redo(session: Session) -> tuple[Any, ...]:
        session.redo()
        return shown(session)

    @guard
    def rename(name: str, session: Session) -> tuple[Any, ...]:
        session.rename(name)
        return shown(session)

    @guard
    def compare(number: int | None, session: Session) -> tuple[Any, ...]:
        chosen = session.shots[number - 1] if number is not None and 0 < number <= len(session.shots) else None
        if chosen and chosen is not session.before:  # the event comes too when the field is left as it was
            session.compared = chosen
        return shown(session)

    @guard
    def adjust(percent: float, key: str, session: Session) -> Iterator[Sequence[Any]]:
        """An edit at another strength, on the line from what it was made from; or another share of a mixture."""
        shot = next((shot for shot in session.shots if shot.key == key), None)
        if shot is None or shot.line is None:
            raise UserError("This is a face as it was; its edits have a strength.")
        start, end = shot.line
        latent = start.towards(end, percent / 100)

        def whole() -> tuple[Any, ...]:
            session.redraw(shot, percent / 100, latent, studio.image(latent))
            lost = studio.lost(latent)
            told, notes = (
                [text for text in texts if text != LOST] for texts in (shot.details.splitlines(), shot.notes)
            )
            shot.details = "\n".join(filter(None, [*told, lost]))
            shot.notes = tuple(filter(None, [*notes, lost]))
            return shown(session)

        yield from glanced(session, studio, lambda model: latent, whole, len(result.picture))

    for trigger, handler in ((panel.strip.select, choose), (panel.undo.click, undo), (panel.redo.click, redo)):
        moved = trigger(handler, state, result.picture, trigger_mode="multiple", **SILENT)
        settle(result, moved, state, fills=True)
    for trigger, handler, inputs in (
        (panel.name.submit, rename, [panel.name, state]),
        (panel.name.blur, rename, [panel.name, state]),
        (panel.compared.input, compare, [panel.compared, state]),
    ):
        settle(result, trigger(handler, inputs, result.picture, **SILENT), state)
    settle(
        result,
        panel.share.input(
            adjust,
            [panel.share, panel.key, state],
            result.picture,
            api_visibility="private",
            trigger_mode="always_last",
            **job,
        ),
        state,
    )
