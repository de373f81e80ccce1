"""The studio behind the page, which another can take the place of while visitors are there."""

from __future__ import annotations

import gc
from typing import Any

import gradio as gr
import torch

from pipeline import StyleCLIP
from pipeline.errors import UserError


class Lent:
    """A studio, lent to the handlers of one page until it is taken back.

    Pages outlive their model: a browser still shows them, a job of theirs waits in the queue. Through this they keep
    nothing of the model in memory, and get a sentence instead of another model's answer.
    """

    def __init__(self, studio: StyleCLIP) -> None:
        self._studio: StyleCLIP | None = studio

    def __getattr__(self, name: str) -> Any:
        if self._studio is None:
            raise UserError("The model was changed meanwhile, so this face is no longer known; the page starts anew.")
        return getattr(self._studio, name)

    def take_back(self) -> None:
        """Let go of the studio, and of the memory of its models."""
        self._studio = None
        gc.collect()
        torch.cuda.empty_cache()


def replace(page: gr.Blocks, fresh: gr.Blocks) -> None:
    """Let a page that is being served become another one, which was built and never launched.

    Who opens it from now on finds the new one. A visit that has begun keeps the components and handlers it began with;
    it can see from the page's `app_id` that it is out of date. Queue, sessions, settings and uploads stay `page`'s.
    """
    fresh.default_config.root_block = page
    page.default_config, page.children, page._id = fresh.default_config, fresh.children, fresh._id
    page.temp_file_sets += fresh.temp_file_sets
    page.app_id = fresh.app_id
    page.config = page.get_config_file()
    page.app.api_info = page.app.all_app_info = None
    page.app.page_api_info.clear()
