"""What a visitor takes home: pictures, a loop, the latent code, the recipe, a link; and a recipe brought back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from pipeline import StyleCLIP
from pipeline.errors import UserError
from webapp import animation
from webapp.brought import read_latent
from webapp.files import file_name, new_file
from webapp.guard import guard
from webapp.panels.link import query_of
from webapp.panels.result import Result, keep, settle, shown
from webapp.session import Session

KINDS = {
    "png": "PNG",
    "jpg": "JPEG",
    "photo": "In the photo",
    "gif": "GIF",
    "mp4": "MP4",
    "safetensors": "Latent",
    "json": "Recipe",
}
MAX_RECIPE = 200_000  # bytes

# The browser saves what the hidden button offers, once that has got its file.
SAVE = "() => setTimeout(() => document.querySelector('#saved a, a#saved, #saved').click(), 150)"
# The address bar takes the link in any case; a clipboard is there on safe connections only.
LINK = """(query) => {
  history.replaceState(null, "", location.pathname + "?" + query);
  navigator.clipboard?.writeText(location.href).catch(() => null);
}"""


@dataclass(frozen=True)
class TakeHome:
    """The panel's components."""

    buttons: dict[str, gr.Button]
    saved: gr.DownloadButton
    link: gr.Button
    query: gr.Textbox
    recipe: gr.UploadButton
    note: gr.HTML

    @property
    def all(self) -> list[gr.components.Component]:
        """What follows every edit; `drawn` makes the values."""
        return [self.query, self.link, self.buttons["photo"]]


def layout() -> TakeHome:
    """Draw the panel."""
    with gr.Row(elem_id="downloads"):
        buttons = {
            kind: gr.Button(label, size="sm", min_width=60, visible=kind != "photo", elem_id=f"download-{kind}")
            for kind, label in KINDS.items()
        }
    with gr.Row(elem_id="more"):
        link = gr.Button("Copy link", size="sm", min_width=90, elem_id="copy-link")
        recipe = gr.UploadButton(
            "Bring a recipe or latent",
            file_types=[".json", ".safetensors"],
            size="sm",
            min_width=120,
            elem_id="load-recipe",
        )
    note = gr.HTML(
        '<p class="note">Drag the line to compare.</p>',
        elem_id="take-home-note",
    )
    saved = gr.DownloadButton("saved", elem_id="saved", elem_classes="away")
    query = gr.Textbox(label="link", visible=False)
    return TakeHome(buttons, saved, link, query, recipe, note)


def _note(sentence: str) -> str:
    return f'<p class="note" role="status">{sentence}</p>'


def recipe_of(session: Session, model: str) -> dict[str, Any]:
    """The edits that led to the current picture, one after the other, as JSON."""
    here = session.here
    if not here.recipes:
        raise UserError("There is no edit yet whose recipe could be saved.")
    return {"format": "StyleCLIP Studio recipe", "version": 1, "model": model, "edits": list(here.recipes)}


def edits_of(text: str) -> list[dict[str, Any]]:
    """The edits of a saved recipe. Raises UserError for any other text."""
    try:
        recipe = json.loads(text)
        edits = recipe.get("edits", [recipe])
        if edits and all(isinstance(edit, dict) and "method" in edit for edit in edits):
            return edits
    except (ValueError, TypeError, AttributeError, RecursionError):
        pass
    raise UserError("This is no recipe of this studio; please use one that was saved with an edit.")


def drawn(session: Session) -> tuple[Any, ...]:
    """The values of `TakeHome.all`."""
    query = query_of(session)
    return query, gr.update(visible=bool(query)), gr.update(visible=session.photo is not None)


def connect(panel: TakeHome, result: Result, studio: StyleCLIP, state: gr.State, job: dict[str, Any]) -> None:
    """Say what the panel's fields do. `job` holds the queue settings of everything that computes."""

    def write(kind: str, session: Session) -> Iterator[tuple[str, str | None]]:
        here = session.here
        path = new_file(f"{file_name(here.title)}.{'png' if kind == 'photo' else kind}")
        match kind:
            case "png":
                studio.image(here.latent).save(path)
            case "jpg":
                studio.image(here.latent).save(path, quality=95, subsampling=0)
            case "photo":
                if session.photo is None:
                    raise UserError("This face came from no photo.")
                yield _note("Putting the face back into the photo"), None
                face = session.faces[session.which].face()
                studio.paste(session.photo, face, studio.image(here.latent)).save(path, compress_level=3)
            case "safetensors":
                here.latent.save(path)
            case "json":
                recipe = recipe_of(session, studio.family.name)
                path.write_text(json.dumps(recipe, indent=2, ensure_ascii=False), encoding="utf-8")
            case _:
                pictures = []
                for share in animation.shares():
                    latent = session.before.latent.towards(here.latent, share)
                    pictures.append(animation.small(studio.image(latent)))
                    yield _note(f"Drawing picture {len(pictures)} of {animation.MOMENTS}"), None
                animation.write(pictures, path)
        yield _note(f"{path.name} is ready."), str(path)

    def saver(kind: str) -> Any:
        @guard
        def save(session: Session) -> Iterator[tuple[Any, ...]]:
            for note, path in write(kind, session):
                yield note, gr.skip() if path is None else path

        return save

    @guard
    def bring(file: str, session: Session) -> Iterator[tuple[Any, ...]]:
        """Go on from a saved latent; or apply a saved recipe's edits to this visitor's face, one after the other."""
        if Path(file).suffix == ".safetensors":
            latent = read_latent(Path(file), studio.family.generator)
            session.add(latent, studio.image(latent), Path(file).stem)
            yield shown(session)
            return
        if Path(file).stat().st_size > MAX_RECIPE:
            raise UserError("This file is too large for a recipe.")
        session.go(session.here.origin)
        for edit in edits_of(Path(file).read_text(encoding="utf-8", errors="replace")):
            source = session.here.latent
            keep(session, source, studio.repeat(edit, source, anywhere=True))
            yield shown(session)

    for kind, button in panel.buttons.items():
        saved = button.click(saver(kind), state, [panel.note, panel.saved], api_visibility="private", **job)
        saved.success(None, None, None, js=SAVE)
    panel.link.click(None, panel.query, None, js=LINK)
    repeated = panel.recipe.upload(bring, [panel.recipe, state], result.picture, api_visibility="private", **job)
    settle(result, repeated, state)
