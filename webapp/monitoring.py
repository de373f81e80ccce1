"""What who runs the studio can ask and read: whether it lives, whether it is ready, its metrics, and a line of the log
for each event. None of it says anything of a visitor: no words, no addresses, no files."""

from __future__ import annotations

import hmac
import json
import logging
import os
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Counter, Gauge, Histogram, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pipeline.errors import UserError
from webapp.access import is_here

TOKEN = "STYLECLIP_METRICS_TOKEN"
CLOSED = f"Metrics are for the machine that runs the studio, and for who brings the token of {TOKEN}."
NOT_READY = "No process with a model answers now; please try again in a moment."
BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)

EVENTS = Counter(
    "styleclip_events", "Events that ended, by handler and by how: done, failed, left, refused", ["what", "outcome"]
)
SECONDS = Histogram(
    "styleclip_seconds", "From being asked for to the answer, of what was done", ["what"], buckets=BUCKETS
)
FAULTS = Counter("styleclip_faults", "Errors of the studio itself, each with a number in the log")
WAITING = Gauge("styleclip_waiting", "Events that have not started", ["group"])
RUNNING = Gauge("styleclip_running", "Events that run, or wait for their turn to compute", ["group"])
VISITS = Gauge("styleclip_visits", "Visits with pictures of their own")
REPLICAS = Gauge("styleclip_replicas", "Processes with a model that answer")

log = logging.getLogger("webapp.events")


def replicas(studio: Any) -> int:
    """How many processes compute for the page now."""
    try:
        return studio.alive_replicas()
    except UserError:  # the page ends
        return 0


def ended(what: str, seconds: float, outcome: str) -> None:
    """Count and log an event; `seconds` count from when it was asked for. `what` is a name in the code."""
    EVENTS.labels(what, outcome).inc()
    if outcome == "done":
        SECONDS.labels(what).observe(seconds)
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    log.info(json.dumps({"time": now, "what": what, "seconds": round(seconds, 3), "outcome": outcome}))


def write_events() -> None:
    """From now on the line of each event goes to standard error, as it is."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.handlers, log.propagate = [handler], False
    log.setLevel(logging.INFO)


async def _health(request: Request) -> Response:
    return JSONResponse({"status": "ok"})


def _ready(request: Request) -> Response:
    """In a thread of its own: to ask replicas elsewhere takes a moment."""
    count = replicas(request.app.get_blocks().studio)
    return JSONResponse({"replicas": count} if count else {"detail": NOT_READY}, 200 if count else 503)


def _metrics(request: Request) -> Response:
    token, given = os.environ.get(TOKEN, ""), request.headers.get("authorization", "")
    if not is_here(request) and not (token and hmac.compare_digest(given.encode(), f"Bearer {token}".encode())):
        return JSONResponse({"detail": CLOSED}, 403)
    page = request.app.get_blocks()
    for name, (waiting, running) in page._queue.counts().items():
        WAITING.labels(name).set(waiting)
        RUNNING.labels(name).set(running)
    VISITS.set(sum(not state.empty for state in list(request.app.state_holder.session_data.values())))
    REPLICAS.set(replicas(page.studio))
    return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)


ROUTES = [Route("/health", _health), Route("/ready", _ready), Route("/metrics", _metrics)]
"""Which a login does not close: a container's health check has none."""
