"""Visitors of a page in this process, without a browser: they join its private events and listen to their streams."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr
import httpx

from pipeline import StyleCLIP
from webapp import page
from webapp.model_handle import ModelHandle


def launch(built: gr.Blocks, server_port: int | None = None) -> None:
    """Serve a page, on a free port unless one is given."""
    built.queue().launch(server_port=server_port, prevent_thread_lock=True, quiet=True, **page.LAUNCH)


def free_port() -> int:
    """A port where no other program looks for one, as for a page that is closed for a moment."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return door.getsockname()[1]


@contextmanager
def open_page(built: gr.Blocks) -> Iterator[gr.Blocks]:
    """A page, served on a free port until the end of the block; its address is `local_url`."""
    launch(built)
    try:
        yield built
    finally:
        built.close(verbose=False)


@contextmanager
def visited(studio: StyleCLIP, monkeypatch, **options: Any) -> Iterator[tuple[gr.Blocks, ModelHandle]]:
    """The whole page of a studio, served, and what lends it the studio."""
    lent = []
    monkeypatch.setattr(page, "ModelHandle", lambda studio: lent.append(ModelHandle(studio)) or lent[-1])
    with open_page(page.build(studio, **options)) as built:
        yield built, lent[0]


def event_of(built: gr.Blocks, name: str) -> int:
    """The number of the page's own event whose handler has this name; the endpoints for programs are public."""
    private = {number: fn.fn for number, fn in built.fns.items() if fn.fn and fn.api_visibility == "private"}
    return next(number for number, handler in private.items() if handler.__name__ == name)


class Visit:
    """One visitor: a session, and the stream that it listens to."""

    def __init__(self, built: gr.Blocks, session: str, address: str = "127.0.0.1") -> None:
        self.url, self.session = f"{built.local_url}gradio_api", session
        self.client = httpx.Client(timeout=60, transport=httpx.HTTPTransport(local_address=address))
        self.messages: list[dict[str, Any]] = []
        self._told = threading.Condition()
        come = {"fn_index": event_of(built, "come"), "data": [None], "session_hash": session}
        self.client.post(f"{self.url}/run/predict", json=come).raise_for_status()

    def join(self, event: int, *data: Any) -> httpx.Response:
        """Ask for an event; the last of its inputs is the session, which the server fills in."""
        body = {"fn_index": event, "data": [*data, None], "session_hash": self.session}
        return self.client.post(f"{self.url}/queue/join", json=body)

    def listen(self) -> None:
        """Read the stream in a thread of its own, until it ends."""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            with self.client.stream("GET", f"{self.url}/queue/data", params={"session_hash": self.session}) as stream:
                for line in stream.iter_lines():
                    if line.startswith("data: "):
                        with self._told:
                            self.messages.append(json.loads(line.removeprefix("data: ")))
                            self._told.notify_all()
        except (httpx.HTTPError, RuntimeError):
            pass  # the visitor has left

    def hear(self, kind: str, count: int = 1) -> dict[str, Any]:
        """Wait for a message of a kind, as "process_completed"; gives the last of `count`."""

        def those() -> list[dict[str, Any]]:
            return [message for message in self.messages if message["msg"] == kind]

        with self._told:
            assert self._told.wait_for(lambda: len(those()) >= count, 60), [m["msg"] for m in self.messages]
            return those()[count - 1]

    def leave(self) -> None:
        self.client.close()
