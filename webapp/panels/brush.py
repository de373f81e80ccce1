"""Where an edit may change the picture: where its words say, everywhere, or where the visitor paints.

The canvas is a component of its own, made of HTML as Gradio offers it. `gr.ImageEditor` uploads three pictures whenever
an event reads it, needs WebGL, and has a route that stores what anybody sends, which `webapp.request_limits` closes.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
from PIL import Image

from pipeline.errors import UserError
from pipeline.methods.regions import MASK_SIZE, drawn_mask, mask_picture
from webapp.error_messages import guard
from webapp.panels.result import SILENT
from webapp.render import Updates
from webapp.session import EVERYWHERE, NOTHING_PAINTED, PAINTED, SAID, Session

FAINT = 32  # of 255; what is painted fainter, as at the edge of what was erased, does not count; so in brush.js
UNREADABLE = "What was painted can't be read; please clear it, and paint it again."
CANVAS = """
<div class="painting">
  <div class="easel">
    <img alt="">
    <canvas width="256" height="256" role="img" aria-label="The face, to paint on"></canvas>
  </div>
  <div class="tools">
    <p class="note">Paint over what may change, then say what should. It counts for every edit
    of this face until you clear it.</p>
    <label>Brush <input type="range" min="6" max="60" value="26"></label>
    <button type="button" aria-pressed="false">Erase</button>
    <button type="button" class="clear">Clear</button>
  </div>
</div>
"""


@dataclass(frozen=True)
class Brush:
    """The panel's components."""

    where: gr.Radio
    canvas: gr.HTML
    """Its value is the mask, see brush.js. style.css shows it where the visitor wants to paint."""


def layout(finds_parts: bool) -> Brush:
    """Draw the choice, and the canvas. A model that doesn't find the parts of a face knows no place that words are
    about."""
    said = [("As the words say", SAID)] if finds_parts else []
    where = gr.Radio(
        [*said, ("Everywhere", EVERYWHERE), ("Paint it yourself", PAINTED)],
        value=SAID if finds_parts else EVERYWHERE,
        label="Where may it change?",
        elem_id="where",
    )
    script = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
    canvas = gr.HTML(
        "", label="mask", html_template=CANVAS, js_on_load=script, apply_default_css=False, elem_id="paint"
    )
    return Brush(where, canvas)


def choose(where: str, painted: str | None, session: Session, rows: int) -> None:
    """Let the visit know what the page shows; `rows` as for `drawn_mask`. Raises UserError for what is no mask."""
    mask = mask_of(painted, rows) if painted else ""
    with session.lock:
        session.where, session.painted, session.page_painted = where, mask, mask


def regions(where: str, painted: str | None, session: Session, rows: int) -> Sequence[str] | None:
    """The regions that an edit by words is held to: None for those that its words are about, none for the whole
    picture, or what was painted, which the visit keeps; otherwise as `choose`. Raises UserError where nothing is
    painted."""
    choose(where, painted, session, rows)
    if where != PAINTED:
        return None if where == SAID else ()
    if not session.painted:
        raise UserError(NOTHING_PAINTED)
    return (session.painted,)


def mask_of(painted: str, rows: int) -> str:
    """A value of the canvas as `drawn_mask` writes it; "" where all of it is faint. Raises UserError for any other
    text."""
    try:
        picture = Image.frombytes("L", (MASK_SIZE, MASK_SIZE), base64.b64decode(painted, validate=True))
    except (TypeError, ValueError):
        raise UserError(UNREADABLE) from None
    picture = picture.point(lambda opacity: opacity if opacity >= FAINT else 0)
    return drawn_mask(picture, rows) if picture.getextrema()[1] else ""


def value_of(mask: str, rows: int) -> str:
    """The value of the canvas that shows a mask; "" for none."""
    if not mask:
        return ""
    picture = mask_picture(mask, rows).resize((MASK_SIZE, MASK_SIZE), Image.Resampling.BILINEAR)
    return base64.b64encode(picture.tobytes()).decode()


def draw(panel: Brush, rows: int, session: Session) -> Updates:
    """The canvas, where it is to show something else than it does: it is empty once another face is looked at."""
    if session.page_painted == session.painted:
        return {panel.canvas: gr.skip()}
    return {panel.canvas: shown(session, rows)}


def shown(session: Session, rows: int) -> str:
    """The value of the canvas, which the page shows from now on."""
    with session.lock:
        session.page_painted = session.painted
        return value_of(session.painted, rows)


def connect(panel: Brush, state: gr.State, rows: int) -> None:
    """Let the visit know of each stroke, for the methods that have fields of their own."""

    @guard
    def painted(where: str, canvas: str | None, session: Session) -> None:
        choose(where, canvas, session, rows)

    panel.canvas.input(painted, [panel.where, panel.canvas, state], None, trigger_mode="multiple", **SILENT)
