"""The endpoints for programs, served in this process, and calls that no well-behaved client would make."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from pipeline import StyleCLIP
from webapp import api
from webapp.model_handle import ModelHandle
from webapp.page import LAUNCH
from webapp.queues import Page

MAKER = ("maker", "secret")  # a name and a password


@contextmanager
def served(studio: StyleCLIP, **launch) -> Iterator[str]:
    """The address of a page that has nothing but the endpoints."""
    with Page(analytics_enabled=False) as page:
        api.connect(ModelHandle(studio))
    _, url, _ = page.queue().launch(prevent_thread_lock=True, quiet=True, **LAUNCH | launch)
    yield url
    page.close(verbose=False)


def posted(client: httpx.Client, url: str, name: str, /, **fields) -> tuple[str, str]:
    """Call an endpoint without a client's manners: (event, what it said); the event is a status when it is refused."""
    body, header = json.dumps(fields), {"content-type": "application/json"}  # which writes NaN, and half characters
    asked = client.post(f"{url}gradio_api/call/v2/{name}", content=body, headers=header)
    if asked.is_error:
        return f"{asked.status_code}", asked.text
    told = client.get(f"{url}gradio_api/call/{name}/{asked.json()['event_id']}").text
    event, _, data = told.strip().rpartition("\n\n")[2].partition("\ndata: ")
    return event.removeprefix("event: "), data


def uploaded(client: httpx.Client, url: str, content: bytes, name: str = "photo.png") -> dict:
    """Send a file; what an endpoint takes in its place."""
    sent = client.post(f"{url}gradio_api/upload", files={"files": (name, content)})
    sent.raise_for_status()
    return as_file(sent.json()[0])


def as_file(path: str) -> dict:
    """A path of the server, said to be an upload."""
    return {"path": path, "meta": {"_type": "gradio.FileData"}}
