"""Before and after in one picture, and what a visitor takes home."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder
from PIL import Image

from webapp.session import Session


@dataclass(frozen=True)
class Result:
    """The panel's components."""

    slider: gr.ImageSlider
    words: gr.Textbox
    losses: gr.HTML
    png: gr.DownloadButton
    recipe: gr.DownloadButton
    latent: gr.DownloadButton

    @property
    def picture(self) -> list[gr.components.Component]:
        """What every edit gives anew; `shown` makes the values."""
        return [self.slider, self.words, self.losses]

    @property
    def files(self) -> list[gr.DownloadButton]:
        """The downloads; `files` makes them."""
        return [self.png, self.recipe, self.latent]


def on_screen(picture: Image.Image) -> str:
    """Write a picture into Gradio's cache for the browser, and give its path.

    A JPEG of this quality looks like the original and takes a hundredth of the time that Gradio's PNG takes; what is
    downloaded is a PNG all the same.
    """
    data = BytesIO()
    picture.save(data, "JPEG", quality=95, subsampling=0)
    folder = Path(get_upload_folder()) / hashlib.sha256(data.getvalue()).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "image.jpg"
    path.write_bytes(data.getvalue())
    return str(path)


def shown(session: Session, losses: str = "") -> tuple[tuple[str, str], str, str]:
    """The values of `Result.picture`: before and after, what was done in words, and a plot of the losses or ""."""
    after = session.edit.image if session.edit else session.before
    return (on_screen(session.before), on_screen(after)), describe(session), losses


def describe(session: Session) -> str:
    """The newest edit in plain text: its words on the first line, then the method and its numbers, then any notes."""
    edit = session.edit
    if edit is None:
        return "Nothing changed yet. Say what should."
    p = edit.recipe["parameters"]
    match edit.recipe["method"]:
        case "direct":
            beta = f", β {p['threshold']:.3g}" if "threshold" in p else ""
            lines = [f"{p['neutral']} → {p['target']}", f"Global direction, α {p['strength']:g}{beta}"]
            lines[1] += f", {edit.channels:,} channels"
        case "map":
            lines = [p["mapper"].replace("_", " "), f"Mapper, strength {p['strength']:.3g}"]
        case "optimize":
            lines = [p["prompt"], f"{edit.recipe['taken']} steps, λ L2 {p['l2']:g}, λ ID {p['identity']:g}"]
        case _:
            lines = [p["prompt"], f"From the words alone, {edit.recipe['taken']} steps"]
    return "\n".join([*lines, *edit.notes])


def layout(session: Session) -> Result:
    """Draw the panel with the edit that the session starts with."""
    pictures, words, _ = shown(session)
    with gr.Row(elem_id="result-card"):
        slider = gr.ImageSlider(
            value=pictures,
            type="filepath",
            label="Before and after",
            show_label=False,
            container=False,
            interactive=False,
            buttons=["fullscreen"],
            elem_id="before-after",
        )
        with gr.Column(elem_id="take-home"):
            gr.HTML("<h2>Before and after</h2>")
            line = gr.Textbox(
                value=words,
                show_label=False,
                label="The edit",
                container=False,
                interactive=False,
                lines=3,
                max_lines=6,
                elem_id="edit-words",
            )
            losses = gr.HTML(label="losses", elem_id="losses")
            gr.HTML(
                '<p class="note">Drag the line to compare. With the same photo, the recipe repeats the edit.</p>',
                elem_id="goodbye",
            )
            with gr.Row(elem_id="downloads"):
                png, recipe, latent = (
                    gr.DownloadButton(label, interactive=False, min_width=90, elem_id=f"download-{name}")
                    for label, name in (("Picture", "png"), ("Recipe", "recipe"), ("Latent", "latent"))
                )
    return Result(slider, line, losses, png, recipe, latent)


def take_home(result: Result, event: gr.events.Dependency, state: gr.State) -> None:
    """Make the downloads anew after `event`."""
    event.success(
        lambda session: files(result, session),
        state,
        result.files,
        api_visibility="private",
        show_progress="hidden",
        trigger_mode="always_last",
    )


def file_name(text: str) -> str:
    """The first line of a text as a harmless file name, without its ending."""
    return re.sub(r"[^a-z0-9]+", "-", text.partition("\n")[0].lower()).strip("-")[:48] or "edit"


def files(result: Result, session: Session) -> tuple[dict[str, Any], ...]:
    """Write the newest edit (or, before any edit, the face) for download: PNG, recipe, latent code.

    They go into Gradio's own cache, which clears itself of what is older than an hour.
    """
    if session.latent is None:
        return tuple(gr.update(value=None, interactive=False) for _ in result.files)
    folder = Path(get_upload_folder()) / secrets.token_hex(8)
    folder.mkdir(parents=True)
    edit = session.edit
    name = "face" if edit is None else file_name(describe(session))
    (edit.image if edit else session.picture).save(folder / f"{name}.png")
    (edit.latent if edit else session.latent).save(folder / f"{name}.safetensors")
    updates = [gr.update(value=str(folder / f"{name}.png"), interactive=True), gr.update(value=None, interactive=False)]
    if edit is not None:
        (folder / f"{name}.json").write_text(json.dumps(edit.recipe, indent=2, ensure_ascii=False), encoding="utf-8")
        updates[1] = gr.update(value=str(folder / f"{name}.json"), interactive=True)
    return *updates, gr.update(value=str(folder / f"{name}.safetensors"), interactive=True)
