"""Before and after in one picture, with the words of the edit."""

from __future__ import annotations

import html
import json
from dataclasses import dataclass
from typing import Any

import gradio as gr

from pipeline import Latent, StyleCLIP
from webapp import links
from webapp.history import HistoryItem
from webapp.session import Session

HINT = '<p class="note">Drag the line to compare. The next edit builds on this picture.</p>'
DELETED = '<p class="note" role="status">The picture is deleted; “Undo” brings it back.</p>'
BY = {
    "direct": "by a global direction",
    "combine": "by global directions",
    "exchange": "by an exchange",
    "map": "by a mapper",
    "style": "by a style of the generator",
    "paint": "by painting",
    "optimize": "by optimization",
    "generate": "by optimization from the words alone",
    "csla_edit": "by text to face",
    "csla_generate": "by text to face from the words alone",
}
SILENT: dict[str, Any] = {"api_visibility": "private", "queue": False, "show_progress": "hidden"}
"""Settings of an event that computes next to nothing."""


@dataclass(frozen=True)
class Result:
    """The panel's components."""

    slider: gr.ImageSlider
    words: gr.Textbox
    link: gr.Textbox
    """The end of an address that holds the edits of this picture, or nothing; in the next line what it leaves out."""
    losses: gr.HTML
    how: gr.HTML
    """By which method the edit was made, and between which texts."""


def values(session: Session, losses: str = "") -> tuple[tuple[str, str], str, str, str, str]:
    """Before and after, what was done in words, its link, a plot of the losses or "", and how it was done.

    The link comes with the picture, so that "Copy link" never copies the one of the picture before."""
    current = session.current
    words, link = filter(None, [current.title, current.details]), links.query_of(current.recipes)
    pictures = session.before_picture, current.picture
    return pictures, "\n".join(words), "\n".join(link), losses, how(session)


def how(session: Session) -> str:
    """By which method the current picture was made and between which texts, and what its two pictures are, as HTML."""
    current, before = session.current, "Photo" if session.beside_photo else session.before.caption
    method = current.recipes[-1]["method"] if current.recipes else ""
    by = BY[method] if method else "a mixture" if current.is_mixture else "before any edit"
    by += f", only in {current.places}" if current.places else ""
    title = html.escape(current.title[:1].upper() + current.title[1:])
    captions = f"--before: {in_css(before)}; --after: {in_css(current.caption)}"
    return (
        f'<style>#before-after {{ {captions} }}</style><p class="note" data-face="{session.origin.key}">'
        f'<span role="status"><b>{title}</b><span>, {by}</span></span>{texts_of(current)}</p>'
    )


def texts_of(item: HistoryItem) -> str:
    """The pair of texts that an edit was made with, or that a mapper stands for, as a button that leads to their
    fields, in HTML; "" for none. page.js lets it press what does that."""
    known = item.recipes[-1]["parameters"] if item.recipes else {}
    wish = item.wish
    pair = (wish.neutral, wish.target) if wish else (known.get("neutral"), known.get("target"))
    if not all(pair):
        return ""
    told = "“{}” → “{}”".format(*map(html.escape, pair))
    return f'<button type="button" class="pair" title="Edit these texts"><span>{told}</span></button>'


def in_css(text: str) -> str:
    """A text as a string of CSS, whatever is in it."""
    return '"' + "".join(c if c.isascii() and c.isalnum() else f"\\{ord(c):x} " for c in text) + '"'


def draw(panel: Result, session: Session, losses: str = "") -> dict[gr.blocks.Block, Any]:
    """What every edit gives anew."""
    return dict(zip(vars(panel).values(), values(session, losses), strict=True))


def hint(session: Session) -> str:
    """The line under the picture, as HTML: what "Undo" does after "Delete", else how to compare."""
    return DELETED if any(key in session.deleted for key in session.undo_keys[-1:]) else HINT


def mean_face(studio: StyleCLIP) -> Latent:
    """The mean face, which faces from words alone are made from."""
    return studio.family.mean


def slider(session: Session) -> gr.ImageSlider:
    """Draw before and after, with the edit that the session starts with."""
    return gr.ImageSlider(
        values(session)[0],
        type="filepath",
        label="Before and after",
        show_label=False,
        container=False,
        interactive=False,
        buttons=["fullscreen"],
        elem_id="before-after",
    )


def layout(pictures: gr.ImageSlider, how: gr.HTML, session: Session) -> Result:
    """Draw the panel beside `pictures`, which `slider` drew; `how` stands elsewhere already."""
    _, told, query, *_ = values(session)
    line = gr.Textbox(
        told,
        show_label=False,
        label="The edit",
        container=False,
        interactive=False,
        lines=3,
        max_lines=9,
        elem_id="edit-words",
    )
    link = gr.Textbox(query, label="link", visible=False)
    losses = gr.HTML(label="losses", render=False, elem_id="losses")  # the page puts it beside the strip
    return Result(pictures, line, link, losses, how)


def set_to(*values: Any) -> str:
    """A function for the browser that gives components these values, also where the server doesn't answer any more."""
    return f"() => {json.dumps(values)}"


def status(*sentences: str) -> str:
    """Sentences for the visitor as HTML; empty ones are left out."""
    said = " ".join(html.escape(sentence) for sentence in sentences if sentence)
    return f'<p class="note" role="status">{said}</p>'


def problem(sentence: str) -> str:
    """What is wrong with what the visitor typed, as HTML."""
    return f'<p class="note notice" role="alert">{html.escape(sentence)}</p>'


def forget(note: gr.HTML, *texts: gr.Textbox) -> None:
    """Let a note on an edit go once somebody writes other words."""
    written = "() => document.activeElement?.matches('textarea') ? '' : undefined"  # and not filled in by a suggestion
    gr.on([text.change for text in texts], None, None, note, js=written, **SILENT)
