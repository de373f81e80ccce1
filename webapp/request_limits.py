"""How large a request may be, how many one address may have open, and which routes of Gradio the studio leaves out."""

from __future__ import annotations

import re
from collections import Counter
from ipaddress import IPv6Address, IPv6Network

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from webapp.limits import MAPPER_BYTES

BODY = 2**20  # bytes of a request: words and numbers; Gradio keeps them until the event is over
UPLOAD = MAPPER_BYTES + 2**16  # a file, which Gradio writes to the disk as it comes, and its form
MCP = MAPPER_BYTES * 4 // 3 + 2**16  # a language model's client sends a file as base64 in JSON

OPEN = 1000  # requests of one address at a time; a visitor has two streams open, a school class sixty

# Routes that write what anybody sends to the disk, for functions that this page doesn't have.
UNUSED = "deep_link|process_recording|component_server|vibe-code|vibe-edit|vibe-starter-queries|undo-vibe-edit"
CLOSED = re.compile(rf"/(?:gradio_api/(?:{UNUSED})|monitoring)(?:/|$)")

TOO_LARGE = (
    f"This is too large: words and numbers may take 1 MB, and a file {MAPPER_BYTES // 2**20} MB, sent as an upload."
)
TOO_MANY = "Too many requests of your address are open; please wait until some are answered."


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
    many open already, 404 for a route that is closed. Each comes with a sentence, as Gradio's own refusals do."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._open: Counter[str] = Counter()

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
        try:
            await self._bounded(scope, receive, send)
        finally:
            self._open[address] -= 1
            if not self._open[address]:
                del self._open[address]

    async def _bounded(self, scope: Scope, receive: Receive, send: Send) -> None:
        most, came = most_bytes(scope["path"]), 0
        told = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        refused = _refused(413, TOO_LARGE)
        if not told.isdigit() or int(told) > most:
            await refused(scope, receive, send)
            return

        async def counted() -> Message:
            """The next piece of the body; a body may also come without a word about its length."""
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > most:
                raise HTTPException(413, TOO_LARGE, {"connection": "close"})
            return message

        await self._app(scope, counted, send)


def most_bytes(path: str) -> int:
    """How large the body of a request may be."""
    path = path.rstrip("/")
    if path.endswith("/gradio_api/upload"):
        return UPLOAD
    return MCP if "/gradio_api/mcp" in path else BODY


def _refused(status: int, sentence: str) -> JSONResponse:
    """An answer with a sentence; the connection ends with it, because its body is not read."""
    return JSONResponse({"detail": sentence}, status, {"connection": "close"})
