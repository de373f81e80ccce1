"""Files that a caller names by address instead of sending them: fetched within bounds, or found among the uploads.

Gradio by itself would fetch what is at any public address into memory, however large it is, and refuse its own
address, by which MCP clients pass the answer of one tool to the next.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from urllib.parse import unquote, urljoin

import gradio as gr
import httpx
import safehttpx
from gradio import processing_utils

from pipeline.errors import UserError
from webapp import uploads
from webapp.files import new_file
from webapp.panels.photo import MAX_BYTES

SECONDS = 10.0
REDIRECTS = 3
OURS = "/gradio_api/file="


def bound() -> None:
    """From now on Gradio fetches addresses by `fetched`, for every input of every page in this process."""
    processing_utils.async_ssrf_protected_download = fetched


async def fetched(address: str, cache_dir: str) -> str:
    """The path of a file in Gradio's cache with what is at a public address, or of the upload that it names.

    Raises Gradio's error with a sentence when nothing is there, it is too large, or the address is no public one.
    """
    if OURS in address:
        with suppress(UserError):
            return str(uploads.find(unquote(address.partition(OURS)[2])))
    try:
        content = await asyncio.wait_for(_content(address), SECONDS)
    except UserError as error:
        raise gr.Error(str(error), print_exception=False) from None
    except Exception:  # whatever keeps a server of somebody else from answering
        raise gr.Error(uploads.UNFETCHED, print_exception=False) from None
    path = new_file("fetched")
    path.write_bytes(content)
    return str(path)


async def _content(address: str) -> bytes:
    for _ in range(REDIRECTS + 1):
        to = safehttpx.AsyncSecureTransport(await safehttpx.async_validate_url(httpx.URL(address).host))
        async with httpx.AsyncClient(transport=to) as client, client.stream("GET", address) as response:
            if response.has_redirect_location:
                address = urljoin(address, response.headers["Location"])
                continue
            response.raise_for_status()
            content = bytearray()
            async for piece in response.aiter_bytes():
                content += piece
                if len(content) > MAX_BYTES:
                    raise UserError(f"This file is too large; please give one of at most {MAX_BYTES // 2**20} MB.")
            return bytes(content)
    raise ValueError("too many redirects")
