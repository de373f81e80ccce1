"""Files that a caller names by address instead of sending them: fetched within bounds, or found among the uploads.

Gradio by itself would fetch what is at any public address into memory, however large it is, and refuse its own
address, by which MCP clients pass the answer of one tool to the next.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import unquote, urljoin

import gradio as gr
import httpx
import safehttpx
from gradio import processing_utils

from pipeline.errors import UserError
from webapp import uploads
from webapp.files import new_file
from webapp.limits import MAX_BYTES

SECONDS = 10.0
REDIRECTS = 3
OURS = "/gradio_api/file="
TRANSLATED = IPv6Network("64:ff9b::/96")  # the last four bytes are an IPv4 address (NAT64)


def bound() -> None:
    """From now on Gradio fetches addresses by `fetched`, for every input of every page in this process."""
    processing_utils.async_ssrf_protected_download = fetched
    safehttpx.async_validate_url = public_address


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


async def public_address(host: str) -> str:
    """An address of a host on the public internet. Raises ValueError where one of its addresses is any other."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    addresses = [entry[4][0] for entry in found]
    if not addresses or not all(_is_public(ip_address(address.partition("%")[0])) for address in addresses):
        raise ValueError("not a public address")
    return addresses[0]


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    """Also of the IPv4 address that an IPv6 address stands for: mapped, or reached through a translator or tunnel."""
    inner = None
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo and address.teredo[1])
        if address in TRANSLATED:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if address.ipv4_mapped:
            return _is_public(inner)
    return address.is_global and not address.is_multicast and (inner is None or _is_public(inner))


async def _content(address: str) -> bytes:
    for _ in range(REDIRECTS + 1):
        to = safehttpx.AsyncSecureTransport(await safehttpx.async_validate_url(httpx.URL(address).host))
        async with (
            httpx.AsyncClient(transport=to, trust_env=False) as client,
            client.stream("GET", address) as response,
        ):
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
