"""Links that open the page with an edit's words and numbers, in the address as anybody can read and change them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from pipeline import Edit, Latent
from pipeline.errors import UserError
from pipeline.parameters import OLDER
from pipeline.recipes import FROM_WORDS
from webapp.download_progress import bytes_of, megabytes
from webapp.links import LONG, Asked, edits_of
from webapp.model_handle import ModelHandle
from webapp.panels.directions import kept_note, most_channels
from webapp.panels.form import TABS, Form
from webapp.panels.gallery import CHOOSE, away
from webapp.panels.optimization import NO_FACE, THIS_FACE, as_html, linked_note
from webapp.panels.result import mean_face
from webapp.queues import EDIT
from webapp.render import Context, Updates
from webapp.session import Session

# A page without a link asks for nothing more when it opens, and what the visitor does by then is not drawn over.
PRESS = """() => {
  if (new URLSearchParams(location.search).has("method")) document.querySelector("#follow-link").click();
}"""


SUBJECTS = ("target", "prompt", "mapper", "style")  # what says what an edit is about


def on_strip(session: Session, asked: list[Asked]) -> bool:
    """Whether a picture of the strip ends with these edits."""

    def made(recipe: dict[str, Any], method: str, values: dict[str, Any]) -> bool:
        known = recipe["parameters"] | {"share": recipe.get("share", 1.0)}
        known |= {"within": recipe["within"]["regions"]} if "within" in recipe else {}
        return recipe["method"] == method and all(known.get(name) == value for name, value in values.items())

    ends = [item.recipes[-len(asked) :] for item in session.strip if len(item.recipes) >= len(asked)]
    return any(all(made(recipe, *edit) for recipe, edit in zip(end, asked, strict=True)) for end in ends)


def fields(form: Form) -> dict[str, dict[str, gr.components.Component]]:
    """For each method the fields that a link fills in, by their names in it."""
    known = form.fields
    known["direct"]["channels"] = form.directions.channels
    return known


def fills(form: Form) -> list[gr.blocks.Block]:
    """What `filled` gives values to."""
    named = [field for values in fields(form).values() for field in values.values()]
    return list(
        dict.fromkeys([form.text, form.methods, form.tabs, form.optimization.start, form.optimization.note, *named])
    )


def filled(form: Form, studio: ModelHandle, session: Session, query: Mapping[str, str]) -> Updates:
    """The fields of the last edit that the page's address names, but for one that is on the strip already. One that
    takes long waits there for the visitor to start it."""
    try:
        asked = edits_of(query)
    except UserError:  # which `connect` tells the visitor
        return {}
    if not asked or on_strip(session, asked):
        return {}
    method, values = asked[-1]
    known = fields(form)[method]
    drawn = {known[name]: value for name, value in values.items() if name in known}
    drawn[form.tabs] = gr.update(selected=TABS[method])
    if said := next((values[name] for name in SUBJECTS if name in values), ""):  # sliders have no words
        drawn[form.text] = said.replace("_", " ")
    else:
        drawn[form.methods] = gr.update(open=True)
    if method in LONG:
        session.linked = values
        drawn[form.methods] = gr.update(open=True)
    if method in ("optimize", "generate"):
        drawn[form.optimization.start] = NO_FACE if method == "generate" else THIS_FACE
        drawn[form.optimization.note] = as_html(linked_note(studio, values))
    return drawn


def layout() -> gr.Button:
    """Draw the button that `PRESS` presses; style.css hides it."""
    return gr.Button("Follow the link", elem_id="follow-link")


def connect(follow: gr.Button, came: gr.events.Dependency, form: Form, context: Context) -> None:
    """Once the visit has come, do the edits that the page's address names. A page that is loaded again has the address
    that it had, so edits that are on the strip are not done again."""
    studio, directions = context.studio, form.directions
    outputs = [directions.channels, directions.kept, directions.threshold]

    def done(latent: Latent, method: str, values: dict[str, Any]) -> tuple[Edit, Latent]:
        """An edit, and its latent at full strength."""
        share, regions = values.get("share", 1.0), values.get("within", ())
        values = OLDER.get(method, {}) | {n: value for n, value in values.items() if n not in ("share", "within")}
        edit = getattr(studio, method)(*([] if method in FROM_WORDS else [latent]), **values)
        edit = studio.within(latent, edit, regions)
        return studio.adjust(latent, edit, share), edit.latent

    def arrive(session: Session, request: gr.Request) -> Updates:
        asked = edits_of(request.query_params)
        if not asked:
            return gr.skip()
        origin, made, kept = session.origin, [], {}
        latent = origin.latent
        missing = [source for method, values in asked if (source := away(studio, method, values))]
        if missing:
            gr.Info(f"This link needs a file that must be downloaded first ({megabytes(bytes_of(missing))}): {CHOOSE}")
        for method, values in [] if missing or on_strip(session, asked) else asked:
            if method not in LONG:
                source = mean_face(studio) if method in FROM_WORDS else latent
                edit, whole = done(source, method, values)
                made.append((source, edit, whole))
                latent = edit.latent
        if made:
            session.resume(origin)
        for source, edit, whole in made:
            session.keep(source, edit, whole=whole)
        method, values = asked[-1]
        if method == "direct":
            if made:
                kept[directions.channels] = min(edit.channels, most_channels(studio))
                kept[directions.kept] = kept_note(edit.channels)
            if "threshold" not in values:
                names = ("target", "neutral", "channels", "keep")
                beta = studio.threshold(**{name: values[name] for name in names if name in values})
                kept[directions.threshold] = beta
        return context.render(session) | kept

    came.success(None, None, None, js=PRESS)
    context.on(follow.click, arrive, (), outputs, **EDIT)
