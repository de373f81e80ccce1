"""A page that starts anew says why: the model was changed, an hour is over, or the studio was started again."""

from __future__ import annotations

import html

import gradio as gr

SENTENCES = {
    "model": "The page has started anew with <b>{title}</b>: faces and latents belong to the model that made them.",
    "hour": "The page has started anew: pictures are kept for an hour after the last edit, which was over.",
    "restart": "The studio was started again meanwhile, so the page has started anew.",
}

# The server forgets a visit after an hour, so the page does not wait until the next edit would be one of another face.
WATCH = """() => {
  const note = (why) => {
    for (const p of document.querySelectorAll("#renewal [data-why]")) p.hidden = p.dataset.why !== why;
  };
  const id = window.gradio_config.app_id, before = sessionStorage.getItem("app");
  note(sessionStorage.getItem("renewed") ?? (before && before !== String(id) ? "restart" : ""));
  sessionStorage.removeItem("renewed");
  sessionStorage.setItem("app", id);
  window.renew = (why) => { sessionStorage.setItem("renewed", why); location.reload(); };
  let last = Date.now();
  const used = () => {
    if (Date.now() - last > 58 * 60 * 1000) window.renew("hour");
    last = Date.now();
  };
  for (const kind of ["pointerdown", "keydown"]) document.addEventListener(kind, used, true);
}"""


def layout(title: str) -> None:
    """Draw the notes, hidden."""
    notes = (
        f'<p class="note notice" role="status" data-why="{why}" hidden>{sentence.format(title=html.escape(title))}</p>'
        for why, sentence in SENTENCES.items()
    )
    gr.HTML("".join(notes), elem_id="renewal")
