"""How large a request may be, how many requests an address may have open, how much it may send in files, and which
routes of Gradio the studio leaves out."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections import Counter
from ipaddress import IPv6Address, IPv6Network
from weakref import WeakValueDictionary

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from webapp import monitoring
from webapp.cleanup import AN_HOUR
from webapp.limits import MAPPER_BYTES
from webapp.visits import seconds

BODY = 2**20  # bytes of a request: words and numbers; Gradio keeps them until the event is over
UPLOAD = MAPPER_BYTES + 2**16  # a file, which Gradio writes to the disk as it comes, and its form
MCP = MAPPER_BYTES * 4 // 3 + 2**16  # a language model's client sends a file as base64 in JSON

OPEN = 1000  # requests of one address at a time; a visitor has two streams open, a school class sixty

RUN = 4  # requests of one address that run outside the queue at a time, of which each takes the page's process a moment
OUTSIDE = re.compile(r"/gradio_api/(?:run|api)/")

SENT = 4 * 2**30  # bytes in files that one address may send in an hour, for which they are kept: 600 large photos
EACH = 2**20  # bytes that each file counts more than its size, because small files fill a disk as well

# Routes that write what anybody sends to the disk, for functions that this page doesn't have.
UNUSED = "deep_link|process_recording|component_server|vibe-code|vibe-edit|vibe-starter-queries|undo-vibe-edit"
CLOSED = re.compile(rf"/(?:gradio_api/(?:{UNUSED})|monitoring)(?:/|$)")

TOO_LARGE = (
    f"This is too large: words and numbers may take 1 MB, and a file {MAPPER_BYTES // 2**20} MB, sent as an upload."
)
TOO_MANY = "Too many requests of your address are open; please wait until some are answered."
TOO_MANY_FILES = "Too many files have come from your network within an hour; please try again later."


def address_of(request: HTTPConnection) -> str:
    """The address that the limits count for: the client's; of IPv6 the network of 64 bits, all of which one client has.

    uvicorn takes it from X-Forwarded-For where it trusts the proxy: one on this machine, and those in
    FORWARDED_ALLOW_IPS. Behind any other proxy all visitors have the proxy's address."""
    host = request.client.host if request.client else ""
    try:
        address = IPv6Address(host)
    except ValueError:
        return host
    return str(address.ipv4_mapped or IPv6Network((int(address) & ~(2**64 - 1), 64)))


class RequestLimits:
    """Middleware that refuses a request before it is read: 413 where it is too large, 429 where its address has too
    many open already or has sent too many files, 404 for a route that is closed. Each comes with a sentence, as
    Gradio's own refusals do."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._open: Counter[str] = Counter()
        self._running: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        """By address: it has `RUN` turns outside the queue, for which its requests wait in their order."""
        self._sent: Counter[str] = Counter()
        """What each address has sent in files since `_since`."""
        self._since = seconds()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if CLOSED.search(scope["path"]):
            await _refused(404, "Not found.")(scope, receive, send)
            return
        address = address_of(HTTPConnection(scope))
        if self._open[address] >= OPEN:
            await _refused(429, TOO_MANY)(scope, receive, send)
            return
        self._open[address] += 1
        turn = contextlib.nullcontext()
        if OUTSIDE.search(scope["path"]):
            turn = self._running.setdefault(address, asyncio.Semaphore(RUN))
        try:
            async with turn:
                await self._bounded(address, scope, receive, send)
        finally:
            self._open[address] -= 1
            if not self._open[address]:
                del self._open[address]

    async def _bounded(self, address: str, scope: Scope, receive: Receive, send: Send) -> None:
        most, came = most_bytes(scope["path"]), 0
        with_files, is_upload = most > BODY, most == UPLOAD
        told = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not told.isdigit() or int(told) > most:
            await _refused(413, TOO_LARGE)(scope, receive, send)
            return
        if with_files and self._sent_too_much(address, int(told)):
            await _refused(429, TOO_MANY_FILES)(scope, receive, send)
            return

        async def counted() -> Message:
            """The next piece of the body; a body may also come without a word about its length."""
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > most:
                raise HTTPException(413, TOO_LARGE, {"connection": "close"})
            if with_files:
                self._sent[address] += len(message.get("body", b""))
                if self._sent_too_much(address):
                    raise HTTPException(429, TOO_MANY_FILES, {"connection": "close"})
            return message

        status = 0

        async def answered(message: Message) -> None:
            """Count the files of an upload, which its answer lists."""
            nonlocal status
            status = message.get("status", status)
            if is_upload and status == 200 and message.get("body"):
                self._sent[address] += EACH * len(json.loads(message["body"]))
            await send(message)

        await self._app(scope, counted, answered)

    def _sent_too_much(self, address: str, more: int = 0) -> bool:
        """Whether files of `more` bytes are too many from this address in this hour."""
        if seconds() - self._since > AN_HOUR:
            self._sent.clear()
            self._since = seconds()
        return self._sent[address] + more > SENT


def most_bytes(path: str) -> int:
    """How large the body of a request may be."""
    path = path.rstrip("/")
    if path.endswith("/gradio_api/upload"):
        return UPLOAD
    return MCP if "/gradio_api/mcp" in path else BODY


def _refused(status: int, sentence: str) -> JSONResponse:
    """An answer with a sentence; the connection ends with it, because its body is not read."""
    if status == 429:
        monitoring.ended("request", 0.0, "refused")
    return JSONResponse({"detail": sentence}, status, {"connection": "close"})
