"""Who may do what: only this machine changes the model, and nobody sees the endpoints before the login."""

from __future__ import annotations

import ipaddress
from typing import Any

import gradio as gr
import httpx
from gradio import routes

from pipeline.errors import UserError

ELSEWHERE = (
    "Only a browser on the computer that runs the studio can change the model, because it changes for everybody; "
    "there, open the page at http://localhost."
)
# Each says that somebody else sent the request on, whatever address it comes from.
FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via")


def is_here(request: gr.Request) -> bool:
    """Whether a request comes from a browser on this machine, and not through a proxy or a tunnel on it.

    The name in the address must be this machine's too: a page elsewhere whose name was made to lead here has another
    one. So must the page's own origin, which a browser tells: nginx, unless told otherwise, passes it on, adds no
    header and asks for 127.0.0.1.
    """
    headers, host = request.headers, request.client.host if request.client else ""
    asked = headers.get("host", "").rsplit("@")[-1]
    name = asked[1:].partition("]")[0] if asked.startswith("[") else asked.partition(":")[0]
    names = [host, name]
    if "origin" in headers:
        try:
            names.append(httpx.URL(headers["origin"]).host)
        except httpx.InvalidURL:
            return False
    return not any(header in headers for header in FORWARDED) and all(map(_is_loopback, names))


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def only_here(request: gr.Request) -> None:
    """Raises UserError for a request from elsewhere."""
    if not is_here(request):
        raise UserError(ELSEWHERE)


def hide_endpoints_before_login() -> None:
    """Leave the endpoints' signatures out of the page: Gradio writes them into the login page too. The page that comes
    after the login asks for them by a request of its own."""
    processors = routes.templates.context_processors
    if _nothing not in processors:
        processors.append(_nothing)


def _nothing(request: Any) -> dict[str, Any]:
    return {"gradio_api_info": None} if request.app.auth else {}
