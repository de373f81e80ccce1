"""What the page does in the browser so that a visit lasts: it keeps the secret, tells the server that somebody is still
there, warns before what is not kept is left, and says why it has started anew."""

from __future__ import annotations

import html
import secrets

import gradio as gr

SENTENCES = {
    "model": "The page has started anew with <b>{title}</b>: faces and latents belong to the model that made them.",
    "hour": "The page has started anew: pictures are kept for an hour after the last edit, which was over.",
    "restart": "The server was started anew, so your pictures are gone, and the page begins with its example.",
}

# A tab has a storage of its own, which outlives reloading and Back. A duplicated tab begins with a copy of it.
SECRET = """() => { try { return [sessionStorage.getItem("visit") ?? ""]; } catch { return [""]; } }"""
KEEP = """(secret, over) => {
  try { sessionStorage.setItem("visit", secret); } catch { window.unkept = true; }
  window.began(over);
}"""

# Any sign of the visitor is passed on to the server every five minutes: the photo and the strip are theirs for an hour
# after the last one, whatever they looked at or typed meanwhile.
WATCH = """() => {
  const note = (why) => {
    for (const p of document.querySelectorAll("#renewal [data-why]")) p.hidden = p.dataset.why !== why;
  };
  const nothing = {getItem() {}, setItem() {}, removeItem() {}};
  const stored = (() => { try { return sessionStorage; } catch { return nothing; } })();
  const model = String(window.gradio_config.app_id), [server, before] = (stored.getItem("seen") ?? "").split(" ");
  const why = server && server !== "SERVER" ? "restart" : before && before !== model ? "model" : "hour";
  stored.setItem("seen", `SERVER ${model}`);
  window.began = (over) => note(over ? why : "");
  window.renew = () => { window.renewing = true; location.reload(); };
  let told = Date.now();
  const used = () => {
    if (Date.now() - told < 5 * 60 * 1000) return;
    told = Date.now();
    document.querySelector("#still-here").click();
  };
  for (const kind of ["pointerdown", "keydown"]) document.addEventListener(kind, used, true);
  addEventListener("beforeunload", (event) => {
    const runs = document.querySelector("#stop:not(:disabled), .cancel-training, #stop-painting");
    const strip = document.querySelectorAll("#strip button").length > 2;
    if (!window.renewing && (runs || (window.unkept && strip))) event.preventDefault();
  });
}""".replace("SERVER", secrets.token_hex(8))  # by which a page knows the server that it was opened at


def layout(title: str) -> None:
    """Draw the notes, hidden."""
    notes = (
        f'<p class="note notice" role="status" data-why="{why}" hidden>{sentence.format(title=html.escape(title))}</p>'
        for why, sentence in SENTENCES.items()
    )
    gr.HTML("".join(notes), elem_id="renewal")
