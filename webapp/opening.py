"""What the page does while it opens: nobody sees or presses its parts until the visit is there and shown.

Until then the page shows what it was built with. What the visitor did or typed on it would be lost when the answer of
the server comes and sets the components.
"""

from __future__ import annotations

from collections.abc import Iterator

import gradio as gr
from gradio.blocks import Block, BlockContext
from gradio.components.base import FormComponent

# style.css hides the page's parts until the document has this mark.
OPEN = """() => {
  document.documentElement.dataset.open = "";
  dispatchEvent(new Event("opened"));
}"""
# Whatever reaches a part that is hidden, as a program that fills in a file does, waits with the values it had.
WAIT = """async (...values) => {
  if (!("open" in document.documentElement.dataset))
    await new Promise((go) => addEventListener("opened", go, {once: true}));
  return values;
}"""
# An edit waits too for the face that was chosen before it, which is still looked for; panels/photo.py counts those. Of
# several presses of one control the newest counts, which Gradio sees to only after this; where the face did not come,
# nothing is made of the one before.
WAIT_FOR_FACE = """async (...values) => {{
  await ({wait})();
  if (!window.choosing) return values;
  const presses = (window.presses ??= {{}}), mine = presses[{event}] = (presses[{event}] ?? 0) + 1;
  while (window.choosing) await new Promise((go) => addEventListener("chosen", go, {{once: true}}));
  if (mine !== presses[{event}] || !window.came) await new Promise(() => {{}});
  return values;
}}"""


def let_events_wait(page: gr.Blocks, state: gr.State) -> None:
    """Let the events that need the visit start only when the page is open, and those that compute, when the face is
    there. Call it last, inside the page's context."""
    for event in page.fns.values():
        if not event.fn or state not in event.inputs or event.js is not None:
            continue
        by_the_visitor = any(name != "load" for target, name in event.targets if target is not None)
        if event.queue:
            event.js = WAIT_FOR_FACE.format(wait=WAIT, event=event._id)
        elif by_the_visitor:
            event.js = WAIT


def drawn_late(block: Block, late: bool = False) -> Iterator[Block]:
    """The visible fields and folds that lie in a closed fold or in a tab that is not selected.

    Gradio draws them when they are opened for the first time. One frame later it sets each of them to the value that
    the page was built with, unless an event has set its visibility: else it would replace what a visitor has typed by
    then. So the page sets the visibility of all of them before it opens.
    """
    if late and isinstance(block, FormComponent | gr.Accordion) and block.visible is True:
        yield block
    for child in block.children if isinstance(block, BlockContext) else ():
        closed = isinstance(block, gr.Accordion) and not block.open
        behind = isinstance(block, gr.Tabs) and child.id != block.selected
        yield from drawn_late(child, late or closed or behind)
