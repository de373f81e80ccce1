"""What a visitor takes home: pictures, a loop, the latent code, the recipe, a link; and a recipe brought back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from pipeline import Edit, Latent
from pipeline.errors import UserError
from pipeline.recipes import FROM_WORDS, MOST_BYTES, Recipe, edits_of
from webapp import animation, limits, links, uploads
from webapp.download_progress import arriving
from webapp.error_messages import guard
from webapp.files import file_name, new_file
from webapp.history import HistoryItem, one_line
from webapp.jobs import LONGEST_RUN
from webapp.latent_files import LATENT_BYTES, TOO_LARGE, read_latent
from webapp.opening import WAIT
from webapp.panels.gallery import away
from webapp.panels.result import HINT, SILENT, mean_face, set_to, status
from webapp.queues import EDIT, LONG, PHOTO, SERIES
from webapp.render import Context, Updates
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

# Each answer is saved by its own address: a later one may be on its way already.
SAVE = """(file) => {
  const link = document.createElement("a");
  [link.href, link.download] = [file.url, file.orig_name ?? ""];
  link.click();
}"""
# The address bar takes the link in any case; a clipboard is there on safe connections only.
LINK = """async (link) => {
  const [query, leftOut] = link.split("\\n");
  if (!query) return `<p class="note" role="status">No link can hold this picture.</p>`;
  history.replaceState(null, "", location.pathname + "?" + query);
  const copied = navigator.clipboard?.writeText(location.href).then(() => "The link is copied.") ?? Promise.reject();
  const told = await copied.catch(() => "The address bar has the link now; please copy it from there.");
  return `<p class="note" role="status">${told} ${leftOut}</p>`;
}"""


@dataclass(frozen=True)
class TakeHome:
    """The panel's components."""

    buttons: dict[str, gr.Button]
    saved: gr.DownloadButton
    link: gr.Button
    recipe: gr.UploadButton
    note: gr.HTML


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
    note = gr.HTML(HINT, elem_id="take-home-note")
    saved = gr.DownloadButton("saved", visible=False)
    return TakeHome(buttons, saved, link, recipe, note)


def recipe_of(session: Session, model: str) -> dict[str, Any]:
    """The edits that led to the current picture, one after the other, as JSON."""
    current = session.current
    if current.is_mixture:
        raise UserError("A mixture takes both faces, so it has no recipe; please save its latent instead.")
    if not current.recipes:
        raise UserError("There is no edit yet whose recipe could be saved.")
    return {"format": "StyleCLIP Studio recipe", "version": 1, "model": model, "edits": list(current.recipes)}


def name_of(recipe: dict[str, Any]) -> str:
    """What its maker called an edit; "" where that was nothing."""
    name = recipe.get("name")
    return one_line(name) if isinstance(name, str) else ""


def draw(panel: TakeHome, session: Session) -> Updates:
    """The buttons that the current picture has."""
    query, _ = links.query_of(session.current.recipes)
    return {
        panel.link: gr.update(visible=bool(query)),
        panel.buttons["photo"]: gr.update(visible=session.origin.detected is not None),
    }


def connect(panel: TakeHome, context: Context) -> None:
    """Say what the panel's fields do."""
    studio = context.studio

    def write(kind: str, session: Session) -> Iterator[Updates]:
        current = session.current
        latent = current.latent
        ending = "-in-the-photo.png" if kind == "photo" else f".{kind}"
        path = new_file(file_name(current.title) + ending)
        match kind:
            case "png":
                studio.image(latent).save(path)
            case "jpg":
                studio.image(latent).save(path, quality=95, subsampling=0)
            case "photo":
                face = session.origin.detected
                if face is None:
                    raise UserError("This face came from no photo.")
                yield {panel.note: status("Putting the face back into the photo")}
                # A face that is painted and nothing else is the photo's own, not the model's picture of it.
                only_painted = latent.paint and replace(latent, paint=None).digest() == session.origin.latent.digest()
                edited = latent.paint if only_painted else latent
                studio.paste(face.photo, face.face(), edited).save(path, compress_level=3)
            case "safetensors":
                latent.save(path)
            case "json":
                recipe = recipe_of(session, studio.family.name)
                path.write_text(json.dumps(recipe, indent=2, ensure_ascii=False), encoding="utf-8")
            case _:
                pictures, line = [], current.line
                first, last = (line.start, line.end) if current.is_mixture else (session.before.latent, latent)
                for share in animation.shares():
                    pictures.append(animation.small(studio.image(first.towards(last, share))))
                    yield {panel.note: status(f"Drawing picture {len(pictures)} of {animation.MOMENTS}")}
                animation.write(pictures, path)
        yield {panel.note: status(f"{path.name} is ready."), panel.saved: str(path)}

    def saver(kind: str) -> Any:
        @guard
        def save(session: Session) -> Iterator[Updates]:
            yield from write(kind, session)

        return save

    def bring(file: str, session: Session) -> Iterator[Updates]:
        """Go on from a saved latent; or apply a saved recipe's edits to this visitor's face, one after the other.
        Edits that begin with words alone begin a face of their own."""
        if Path(file).suffix == ".safetensors":
            latent = read_latent(uploads.read(file, LATENT_BYTES, TOO_LARGE), studio.family.generator)
            session.add(HistoryItem.of(studio.image(latent), Path(file).stem, latent, "From your file."))
            yield context.render(session)
            return
        content = uploads.read(file, MOST_BYTES, "This file is too large for a recipe.")
        recipes = edits_of(content.decode("utf-8", errors="replace"))
        origin, made = session.origin, []
        latent = origin.latent
        for number, recipe in enumerate(recipes, 1):
            which = f"Edit {number} of {len(recipes)}"
            yield {panel.note: status(which)}
            edit, known = None, Recipe.read(recipe)
            if source := away(studio, known.method, known.parameters):
                for progress in arriving([source], studio.jobs.check):  # before its turn, so that nobody waits for it
                    yield {panel.note: progress}
            source = mean_face(studio) if recipe["method"] in FROM_WORDS else latent
            for edit in repeated(recipe, source):
                if isinstance(edit, str):
                    yield {panel.note: status(f"{which}: {edit}")}
            whole = edit.latent
            edit = studio.adjust(source, edit, known.share)
            made.append((source, edit, name_of(recipe), whole))
            latent = edit.latent
        session.resume(origin)
        for edit in made:
            session.keep(*edit)
        yield context.render(session)

    def repeated(recipe: dict[str, Any], latent: Latent) -> Iterator[str | Edit]:
        """The edit of a recipe from another latent, at full strength; on the way how far it is, if it takes steps."""
        known = Recipe.read(recipe)
        limits.check(known.parameters)
        if known.method not in links.LONG:
            yield studio.repeat(recipe | {"share": 1.0}, latent, anywhere=True)
            return
        if known.model != studio.family.name:
            raise UserError(f"This recipe was made with the model “{known.model}”; start the studio with that model.")
        begin = getattr(studio, known.method)
        begin = begin if known.from_mean else partial(begin, latent)
        with closing(begin(**known.parameters)) as steps:
            for place in steps.places():
                yield f"{place} before yours"
            for step in steps:
                if step.index == known.taken:
                    edit = step.edit
                    break
                if steps.is_over_time:
                    raise UserError(
                        f"Others wait, and an edit of this recipe computes for more than {LONGEST_RUN / 60:g} minutes, "
                        "so it was left out; please try again later."
                    )
                yield f"step {step.index} of {known.taken}"
        yield known.held(studio, latent, edit)

    groups = {"photo": PHOTO, "gif": SERIES, "mp4": SERIES}
    for kind, button in panel.buttons.items():
        group = groups.get(kind, EDIT)
        # At once, without waiting for a face that is looked for: what is seen is what is saved.
        saved = button.click(
            saver(kind), context.state, [panel.note, panel.saved], js=WAIT, api_visibility="private", **group
        )
        saved.success(None, panel.saved, None, js=SAVE)
        saved.failure(None, None, panel.note, js=set_to(HINT), **SILENT)
    panel.link.click(None, context.result.link, panel.note, js=LINK)
    brought = context.on(panel.recipe.upload, bring, [panel.recipe], [panel.note], form=True, **LONG)
    brought.failure(None, None, panel.note, js=set_to(HINT), **SILENT)
