"""A crowd and a greedy client, against an app of their own: how long does somebody else wait, what does the app hold?

    python -m benchmarks.crowd [--checkout FOLDER]

Starts the app as a process of its own and asks it over loopback as the page does. Each row is an attack; during it one
visitor more moves a slider again and again. Memory is what the app's process holds itself, of /proc, which Linux has;
"a minute later" is after the app has cleared away what nobody listens to. `--checkout` takes the app from another
checkout of this repository, to compare with.
"""

import argparse
import contextlib
import json
import multiprocessing
import random
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from benchmarks.server import HERE, serving

VISITORS, JOINS, BODIES, BODY = 60, 500, 60, 20 * 2**20
SESSIONS = 200  # of one address, that ask again as soon as they are answered
ATTACKER, OTHER, VICTIM = "127.0.0.1", "127.0.0.3", "127.0.0.2"  # all of them this machine
MOVES = [-4.0, -2.0, 1.0, 3.0, 5.0, 7.0]
PATIENCE = 30.0  # seconds after which a move counts as never answered


class App:
    """The page at an address."""

    def __init__(self, address: str) -> None:
        self.address, self.url = address, f"{address}/gradio_api"
        self.config = httpx.get(f"{address}/config", timeout=PATIENCE).json()

    def event(self, element: str, kind: str) -> int:
        """The number of the event of an element of the page."""
        component = next(c["id"] for c in self.config["components"] if c["props"].get("elem_id") == element)
        return next(d["id"] for d in self.config["dependencies"] if [component, kind] in map(list, d["targets"]))

    def openings(self) -> list[int]:
        """The numbers of the events that the page sends, without the queue, as it opens, with one value."""
        those = [d for d in self.config["dependencies"] if d["queue"] is False and len(d["inputs"]) == 1]
        return [d["id"] for d in those if any(kind == "load" for _, kind in d["targets"]) and d["backend_fn"]]


class Visitor:
    """A session of the page."""

    def __init__(self, app: App, address: str = ATTACKER) -> None:
        self.app, self.session = app, secrets.token_hex(6)
        transport = httpx.HTTPTransport(local_address=address, limits=httpx.Limits(max_connections=4))
        self.client = httpx.Client(timeout=PATIENCE, transport=transport)
        for event in app.openings():  # which begin a visit
            body = {"fn_index": event, "data": [None], "session_hash": self.session}
            self.client.post(f"{app.url}/run/predict", json=body)

    def join(self, event: int, *data: Any) -> httpx.Response:
        """Ask for an event, whose last input is the session."""
        body = {"fn_index": event, "data": [*data, None], "session_hash": self.session}
        return self.client.post(f"{self.app.url}/queue/join", json=body)

    def answers(self) -> Iterator[dict[str, Any]]:
        """What the page would hear."""
        where = f"{self.app.url}/queue/data"
        with self.client.stream("GET", where, params={"session_hash": self.session}) as stream:
            for line in stream.iter_lines():
                if line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))

    def move(self, strength: float) -> float:
        """Seconds until a move of a slider is answered; infinite where it is refused or takes too long."""
        began = time.perf_counter()
        with contextlib.suppress(httpx.HTTPError):
            event = self.app.event("alpha", "input")
            if self.join(event, "old face", "face", strength, [], 40, 0.1).is_success:
                for message in self.answers():
                    if message["msg"] == "process_completed" and message["success"]:
                        return time.perf_counter() - began
                    if time.perf_counter() - began > PATIENCE:
                        break
        return float("inf")

    def optimize(self) -> bool:
        """Press Optimize; whether it was let in."""
        return self.join(
            self.app.event("optimize", "click"), "a person with glasses", "This face", 300, 0.00015, 0.001
        ).is_success


def moved(app: App, seconds: float) -> list[float]:
    """How long one visitor's moves of a slider take, one after the other."""
    visitor, times, end = Visitor(app, VICTIM), [], time.monotonic() + seconds
    while len(times) < 3 or time.monotonic() < end:
        times.append(visitor.move(MOVES[len(times) % len(MOVES)]))
        if times[-1] == float("inf"):
            break
        time.sleep(0.2)
    return times


def press_optimize(app: App) -> str:
    """Sixty visitors press Optimize and watch."""
    crowd = [Visitor(app) for _ in range(VISITORS)]
    let_in = sum(visitor.optimize() for visitor in crowd)

    def watch(visitor: Visitor) -> None:
        with contextlib.suppress(httpx.HTTPError, RuntimeError):
            for _ in visitor.answers():
                pass

    for visitor in crowd:
        threading.Thread(target=watch, args=(visitor,), daemon=True).start()
    time.sleep(3)
    return f"{let_in} let in"


def join_and_leave(app: App, sessions: int) -> str:
    """One client joins five hundred times and listens to nothing."""
    visitors, answers = [Visitor(app) for _ in range(sessions)], []
    client = httpx.Client(timeout=PATIENCE)
    for number in range(JOINS):
        visitor = visitors[number % sessions]
        visitor.client = client
        with contextlib.suppress(httpx.HTTPError):
            answers.append(visitor.optimize())
    return f"{sum(answers)} let in"


def ask_again(app: App, addresses: tuple[str, ...], ask: Callable[[Visitor], object]) -> str:
    """Many sessions of each address ask for something, and again as soon as they are answered. In a process of their
    own, which leaves this one to the visitor who waits."""
    crowd = multiprocessing.get_context("spawn").Process(target=_ask, args=(app.address, addresses, ask), daemon=True)
    crowd.start()
    crowd.join(25)
    crowd.kill()
    return f"{SESSIONS * len(addresses)} ask"


def _ask(address: str, addresses: tuple[str, ...], ask: Callable[[Visitor], object]) -> None:
    app = App(address)

    def go_on(number: int) -> None:
        visitor = Visitor(app, addresses[number % len(addresses)])
        while True:
            with contextlib.suppress(httpx.HTTPError, RuntimeError):
                ask(visitor)

    with ThreadPoolExecutor(SESSIONS * len(addresses)) as threads:
        list(threads.map(go_on, range(SESSIONS * len(addresses))))


def any_move(visitor: Visitor) -> None:
    visitor.move(random.choice(MOVES))


def whole_run(visitor: Visitor) -> None:
    """Press Optimize and watch to the end; wait a moment where it is refused."""
    if not visitor.optimize():
        time.sleep(0.5)
        return
    for message in visitor.answers():
        if message["msg"] == "process_completed":
            return


def send_bodies(app: App) -> str:
    """Sixty sessions send twenty megabytes of text each."""
    text, refused = "x" * BODY, 0
    for _ in range(BODIES):
        visitor = Visitor(app)
        try:
            refused += not visitor.join(app.event("alpha", "input"), text, "face", 1.0, [], 40, 0.1).is_success
        except httpx.HTTPError:  # the connection ended while the text was sent
            refused += 1
    return f"{BODIES - refused} let in"


def attacked(checkout: Path, name: str, attack: Callable[[App], str]) -> None:
    """Print the row of one attack, against an app that has just started."""
    with serving(checkout=checkout) as server:
        app = App(server.url)
        alone = moved(app, 3)
        before = server.megabytes()
        told: list[str] = []
        attacker = threading.Thread(target=lambda: told.append(attack(app)), daemon=True)
        attacker.start()
        times = moved(app, 20)
        attacker.join(120)
        peak = server.megabytes()
        time.sleep(70)
        after = server.megabytes()
        waited = f"{sorted(times)[len(times) // 2]:.2f} | {max(times):.2f}"
        held = f"{before:.0f} | {peak:.0f} | {after:.0f} ({after / before - 1:+.0%})"
        print(f"| {name} | {''.join(told)} | {min(alone):.2f} | {waited} | {len(times)} | {held} |", flush=True)


def stopped(checkout: Path, number: signal.Signals) -> None:
    """Print how an app ends in the middle of a run that a visitor watches."""
    with serving(checkout=checkout) as server:
        app = App(server.url)
        visitor = Visitor(app)
        visitor.optimize()
        heard: list[dict[str, Any]] = []

        def watch() -> None:
            with contextlib.suppress(httpx.HTTPError):
                heard.extend(visitor.answers())

        watching = threading.Thread(target=watch, daemon=True)
        watching.start()
        time.sleep(5)
        began = time.perf_counter()
        server.process.send_signal(number)
        code = server.process.wait(60)
        took = time.perf_counter() - began
        watching.join(5)
        said = next((m["output"].get("error") for m in heard if m.get("output") and not m.get("success", True)), None)
        left = server.files()
        print(f"| {number.name} | {took:.1f} s | {code} | {said or 'nothing'} | {left} |", flush=True)


def main() -> None:
    """Attack, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkout", type=Path, default=HERE)
    parser.add_argument("--only", choices=["optimize", "joins", "sessions", "sliders", "fill", "bodies", "stop"])
    options = parser.parse_args()
    attacks: dict[str, tuple[str, Callable[[App], str]]] = {
        "optimize": (f"{VISITORS} visitors press Optimize", press_optimize),
        "joins": (f"{JOINS} joins of one session that never listens", lambda app: join_and_leave(app, 1)),
        "sessions": (f"{JOINS} joins of {JOINS} sessions that never listen", lambda app: join_and_leave(app, JOINS)),
        "sliders": (
            f"{SESSIONS} sessions of one address move sliders",
            lambda app: ask_again(app, (ATTACKER,), any_move),
        ),
        "fill": (
            f"{SESSIONS} sessions of each of two addresses press Optimize",
            lambda app: ask_again(app, (ATTACKER, OTHER), whole_run),
        ),
        "bodies": (f"{BODIES} bodies of {BODY // 2**20} MB", send_bodies),
    }
    print("| attack | | move alone, s | p50 | worst | moves | MB before | after the attack | a minute later |")
    print("|---" * 9 + "|")
    for key, (name, attack) in attacks.items():
        if options.only in (None, key):
            attacked(options.checkout, name, attack)
    if options.only in (None, "stop"):
        print("\n| signal | gone after | status | the visitor is told | files left |\n|---|---|---|---|---|")
        for number in (signal.SIGTERM, signal.SIGINT):
            stopped(options.checkout, number)


if __name__ == "__main__":
    main()
