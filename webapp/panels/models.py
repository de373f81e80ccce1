"""The model menu: which families there are, what they cost to get and under which terms, and changing to another."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from pipeline.errors import UserError
from pipeline.models.registry import Row, read_registry
from webapp.access import ELSEWHERE, is_here, only_here
from webapp.download_progress import arriving, bar, bytes_of, megabytes
from webapp.error_messages import guard
from webapp.model_handle import ModelHandle
from webapp.panels.result import SILENT, set_to
from webapp.queues import LONG
from webapp.session import Session

# A page of another model is refused by the server, and starts anew.
WATCH = """() => {
  const ask = window.fetch;
  window.fetch = async (...request) => {
    const answer = await ask(...request);
    if (answer.status === 409) window.renew();
    return answer;
  };
}"""
# The page of the new model answers at the same address, with another id, in a few seconds.
RENEW = """async () => {
  const {root, api_prefix, app_id} = window.gradio_config;
  for (;;) {
    const answer = await fetch(`${root}${api_prefix}/app_id`).catch(() => null);
    if (answer?.ok && (await answer.json()).app_id !== app_id) break;
    await new Promise((go) => setTimeout(go, 300));
  }
  window.renew();
}"""


@dataclass(frozen=True)
class Models:
    """The menu's components."""

    menu: gr.Accordion
    choice: gr.Radio
    terms: gr.HTML
    agree: gr.Checkbox
    use: gr.Button
    cancel: gr.Button
    progress: gr.HTML

    @property
    def offer(self) -> list[gr.components.Component]:
        """What follows the choice; `offered` makes the values."""
        return [self.terms, self.agree, self.use, self.cancel, self.progress]


def families(current: Row) -> dict[str, Row]:
    """What can be chosen: every row that names a generator, and the one in use."""
    rows = {name: row for name, row in read_registry().items() if "generator" in row.files}
    return {current.name: current} | rows


def label(row: Row, current: Row) -> str:
    """A family in two lines: its title; what it takes to use it, and its licence."""
    return f"{row.title}\n{'in use' if row.name == current.name else status(row)} · {row.licence}"


def status(row: Row) -> str:
    """Whether a family is here, or how much of it must be downloaded."""
    missing = row.missing()
    if not missing:
        return "on this machine"
    if any(source.path for source in missing):
        return "a file is missing"
    return f"{megabytes(bytes_of(missing))} to download" if bytes_of(missing) else "to download"


def choices(current: Row) -> list[tuple[str, str]]:
    """The families for the list, by what is said of them."""
    return [(label(row, current), name) for name, row in families(current).items()]


def offered(row: Row, current: Row, agreed: bool = False) -> tuple[Any, ...]:
    """The values of `Models.offer` for a family: what to agree to, and what the button does."""
    away = [source for source in row.missing() if not source.path]
    used, asks = row.name == current.name, bool(away and row.terms)
    does = "In use" if used else "Download and use it" if away else "Use it"
    return (
        f'<p class="note">{html.escape(row.terms)}</p>' if asks else "",
        gr.update(value=agreed, visible=asks, interactive=True),
        gr.update(value=does, interactive=not used and (agreed or not asks)),
        gr.update(visible=False),
        "",
    )


def fixed(current: Row) -> None:
    """In place of the menu, where the model cannot be changed: what is in use."""
    title, licence = html.escape(current.title), html.escape(current.licence)
    gr.HTML(f'<p class="note"><b>{title}</b> · {licence}</p>', elem_id="model")


def layout(current: Row) -> Models:
    """Draw the menu, closed. Nothing can be chosen until it is open and its list has come, which would undo it."""
    with gr.Accordion(f"Model: {current.title}", open=False, elem_id="models") as menu:
        choice = gr.Radio(
            choices(current),
            value=current.name,
            label="Models",
            show_label=False,
            container=False,
            interactive=False,
            elem_id="families",
        )
        terms = gr.HTML(label="terms", elem_id="terms")
        gr.HTML(
            '<p class="note">A StyleGAN2 of your own: start the studio with '
            "<code>python app.py --generator FILE</code>.</p>",
            elem_id="own-generator",
        )
        with gr.Row(elem_classes="actions"):
            agree = gr.Checkbox(label="I agree to these terms", container=False, visible=False, elem_id="agree")
            use = gr.Button("In use", variant="primary", interactive=False, elem_id="use-model")
            cancel = gr.Button("Cancel", visible=False, elem_id="cancel-download")
            progress = gr.HTML(label="download", elem_id="download")
    return Models(menu, choice, terms, agree, use, cancel, progress)


def connect(panel: Models, studio: ModelHandle, change_to: Callable[[str], None], state: gr.State) -> None:
    """Say what the menu does. `change_to` puts a family whose files are here in place of the current one, once the
    long jobs before it are done."""
    current = studio.family.row

    def row(name: str) -> Row:
        rows = families(current)
        if name not in rows:
            raise UserError("This model is not in the models file any more; please choose another one.")
        return rows[name]

    @guard
    def opened(request: gr.Request) -> tuple[Any, ...]:
        """The list as it is now: files come and go."""
        if not is_here(request):
            told = f'<p class="note notice" role="status">{html.escape(ELSEWHERE)}</p>'
            hidden = gr.update(visible=False)
            return gr.update(value=current.name, interactive=False), told, hidden, hidden, hidden, ""
        return gr.update(choices=choices(current), value=current.name, interactive=True), *offered(current, current)

    @guard
    def again(name: str, agreed: bool) -> tuple[Any, ...]:
        """After a download or a change that came to nothing: what was chosen, ready for the next try."""
        wanted = families(current).get(name, current)
        kept = gr.update(choices=choices(current), value=wanted.name, interactive=True)
        return kept, *offered(wanted, current, agreed)

    @guard
    def choose(name: str) -> tuple[Any, ...]:
        return offered(row(name), current)

    @guard
    def download(name: str, agreed: bool, session: Session, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        only_here(request)
        wanted, session.cancel = row(name), False
        missing = wanted.missing()
        if any(source.path is None for source in missing) and wanted.terms and not agreed:
            raise UserError("Please agree to the terms first.")
        off = gr.update(interactive=False)
        yield off, off, off, gr.update(visible=bool(missing)), bar("Starting")

        def stopped() -> bool:
            studio.jobs.check()
            return session.cancel

        for drawn in arriving(missing, stopped):
            yield *[gr.skip()] * 4, drawn
        words = f"Loading {wanted.title}, once the edits that are running are finished"
        yield *[gr.skip()] * 3, gr.update(visible=False), bar(words)

    @guard
    def change(name: str, request: gr.Request) -> None:
        only_here(request)
        change_to(name)

    def cancel(session: Session) -> None:
        session.cancel = True

    shown = [panel.choice, *panel.offer]
    panel.menu.expand(opened, None, shown, **SILENT)
    panel.menu.collapse(None, None, panel.choice, js=set_to(gr.update(interactive=False)), **SILENT)
    panel.choice.input(choose, panel.choice, panel.offer, **SILENT)
    panel.agree.input(lambda agreed: gr.update(interactive=agreed), panel.agree, panel.use, **SILENT)
    arrived = panel.use.click(
        download,
        [panel.choice, panel.agree, state],
        [panel.choice, panel.agree, panel.use, panel.cancel, panel.progress],
        api_visibility="private",
        **LONG,
    )
    panel.cancel.click(cancel, state, None, **SILENT)
    changed = arrived.success(change, panel.choice, None, api_visibility="private", **LONG)
    changed.success(None, None, None, js=RENEW)
    for event in (arrived, changed):
        event.failure(None, None, panel.progress, js=set_to(""), **SILENT)
        event.failure(again, [panel.choice, panel.agree], shown, **SILENT)
