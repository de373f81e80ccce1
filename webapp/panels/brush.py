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
from webapp.session import Session

SAID, EVERYWHERE, PAINTED = "said", "everywhere", "painted"
NOTHING = "Nothing is painted yet. Please paint over what may change, or choose “Everywhere”."
UNREADABLE = "What was painted can't be read; please clear it, and paint it again."
CANVAS = """
<div class="painting">
  <div class="easel">
    <img alt="">
    <canvas width="256" height="256" role="img" aria-label="The face, to paint on"></canvas>
  </div>
  <div class="tools">
    <p class="note">Paint over what may change, then say what should. It counts for every edit until you clear it.</p>
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


def regions(where: str, painted: str | None, session: Session, rows: int) -> Sequence[str] | None:
    """The regions that an edit is held to: None for those that its words are about, none for the whole picture, or what
    was painted, which the visit keeps; `rows` as for `drawn_mask`. Raises UserError where nothing is painted."""
    session.painted = mask_of(painted, rows) if painted else ""
    if where != PAINTED:
        return None if where == SAID else ()
    if not session.painted:
        raise UserError(NOTHING)
    return (session.painted,)


def mask_of(painted: str, rows: int) -> str:
    """A value of the canvas as `drawn_mask` writes it. Raises UserError for any other text."""
    try:
        picture = Image.frombytes("L", (MASK_SIZE, MASK_SIZE), base64.b64decode(painted, validate=True))
    except (TypeError, ValueError):
        raise UserError(UNREADABLE) from None
    return drawn_mask(picture, rows)


def value_of(mask: str, rows: int) -> str:
    """The value of the canvas that shows a mask; "" for none."""
    if not mask:
        return ""
    picture = mask_picture(mask, rows).resize((MASK_SIZE, MASK_SIZE), Image.Resampling.BILINEAR)
    return base64.b64encode(picture.tobytes()).decode()
