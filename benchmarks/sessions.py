"""Ten thousand empty sessions: what do they cost the server, and does a visitor who is there lose anything?

    python -m benchmarks.sessions [--requests 10100]

Starts the app as a process of its own. A visitor makes a face; then a client presses Undo once with each of so many
session hashes that nobody has used before; then the visitor looks at their strip. Prints a table. Needs /proc (Linux).
"""

import argparse
import json
import secrets
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from benchmarks.server import Server, serving

AT_ONCE = 8  # requests that the client keeps open
SETTLE = 70.0  # seconds, after which the server has cleared up once


class Page:
    """What a browser would send, without one."""

    def __init__(self, url: str) -> None:
        self.client = httpx.Client(base_url=url, timeout=60)
        config = self.client.get("/config").json()
        self.ids = {c["props"].get("elem_id"): c["id"] for c in config["components"]}
        self.events = config["dependencies"]

    def event(self, elem_id: str, kind: str) -> dict[str, Any]:
        """The event of a component."""
        return next(e for e in self.events if [self.ids[elem_id], kind] in e["targets"] and e["backend_fn"])

    def loaded(self) -> dict[str, Any]:
        """The first event of a page that opens."""
        return next(e for e in self.events if any(kind == "load" for _, kind in e["targets"]) and e["backend_fn"])

    def redrawn(self) -> dict[str, Any]:
        """The event that draws the strip anew."""
        return next(e for e in self.events if self.ids["strip"] in e["outputs"])

    def call(self, event: dict[str, Any], visit: str, data: list[Any] | None = None) -> list[Any] | None:
        """The answer of an event; None where it fails. Without `data` the browser has nothing to say."""
        data = [None] * len(event["inputs"]) if data is None else data
        body = {"fn_index": event["id"], "session_hash": visit, "data": data}
        if event["queue"] is False:
            answer = self.client.post("/gradio_api/run/predict", json=body)
            return answer.json()["data"] if answer.status_code == 200 else None
        self.client.post("/gradio_api/queue/join", json=body).raise_for_status()
        with self.client.stream("GET", "/gradio_api/queue/data", params={"session_hash": visit}) as lines:
            for line in lines.iter_lines():
                message = json.loads(line.removeprefix("data:")) if line else {}
                if message.get("msg") == "process_completed":
                    return message["output"]["data"] if message["success"] else None
        return None

    def pictures(self, visit: str) -> int:
        """How many pictures are on a visitor's strip."""
        event = self.redrawn()
        answer = self.call(event, visit)
        return len(answer[event["outputs"].index(self.ids["strip"])]["value"]) if answer else 0


def attack(page: Page, requests: int) -> list[float]:
    """Press Undo in so many sessions that nobody has used before; the seconds that each took."""
    undo = page.event("undo", "click")

    def once(_: int) -> float:
        began = time.perf_counter()
        page.call(undo, secrets.token_hex(6))
        return time.perf_counter() - began

    with ThreadPoolExecutor(AT_ONCE) as clients:
        return list(clients.map(once, range(requests)))


def measure(server: Server, requests: int) -> None:
    """Print the table."""
    page = Page(server.url)
    page.call(page.loaded(), "the-visitor")
    page.call(page.event("random", "click"), "the-visitor")
    attack(page, 100)  # so that what is made once is there
    before, strip = server.megabytes(), page.pictures("the-visitor")
    began = time.monotonic()
    seconds = attack(page, requests)
    took, high = time.monotonic() - began, server.megabytes()
    time.sleep(SETTLE)
    after = server.megabytes()
    print(f"| {requests} requests with new session hashes | |\n|---|---|")
    print(f"| seconds, milliseconds of one (median) | {took:.0f}, {1000 * statistics.median(seconds):.0f} |")
    print(f"| memory before, at the end | {before:.0f} MB, {high:.0f} MB |")
    print(f"| memory {SETTLE:.0f} s later | {after:.0f} MB ({after / before - 1:+.1%}) |")
    print(f"| pictures on the visitor's strip before, after | {strip}, {page.pictures('the-visitor')} |")


def main() -> None:
    """Attack a server of one's own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--requests", type=int, default=10_100)
    options = parser.parse_args()
    with serving(options.model) as server:
        measure(server, options.requests)


if __name__ == "__main__":
    main()
