"""What a visitor types into a tab or a fold that has just opened is kept.

Gradio draws a closed fold, or a tab that is not selected, when it is opened for the first time. One frame later it sets
every component in it to the value that the page was built with. On a busy machine a visitor had typed by then, and the
text was replaced without a word. Gradio leaves out a component whose visibility an event has set.
"""

from __future__ import annotations

from collections.abc import Iterator

import gradio as gr
from gradio.blocks import Block, BlockContext
from gradio.components.base import FormComponent


def keep_what_is_typed(page: gr.Blocks) -> None:
    """Protect the fields in closed tabs and folds. Call it last, inside the page's context."""
    fields = [block for block in _drawn_late(page) if block.visible is True]
    page.load(None, None, fields, js=f"() => Array({len(fields)}).fill({{__type__: 'update', visible: true}})")


def _drawn_late(block: Block, late: bool = False) -> Iterator[Block]:
    """The fields and folds that lie in a closed fold or in a tab that is not selected."""
    if late and isinstance(block, FormComponent | gr.Accordion):
        yield block
    for child in block.children if isinstance(block, BlockContext) else ():
        closed = isinstance(block, gr.Accordion) and not block.open
        behind = isinstance(block, gr.Tabs) and child.id != block.selected
        yield from _drawn_late(child, late or closed or behind)
