"""Many visitors at once, and a long quiet time: is anybody's request lost, or anybody's picture another's; what grows?

    python -m benchmarks.visitors [--visitors 20] [--minutes 3]
    python -m benchmarks.visitors --leaks 30

Starts the app as a process of its own and visits it through gradio_client from this one; both share the machine. A
lone visitor comes first, whose pictures and latents everybody after must get to the bit, as they do on a CPU. Each of
the others goes on until the time is over, thinking for a moment between two actions; a move of a slider is sent when
the one before has been answered. Memory is what the app's process holds, open files and threads are its own too; all
of this is read from /proc, which Linux has.
"""

import argparse
import collections
import contextlib
import hashlib
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gradio_client import Client, handle_file

from benchmarks.server import serving

FACES = sorted((Path(__file__).parents[1] / "webapp" / "examples" / "drawings").glob("*.png"))[:2]
SEEDS = (1, 2)
SLIDER = ("face with blonde hair", "smiling face")
MOVES = [-4.0, -2.0, 1.0, 3.0, 5.0, 7.0]
STEPS = 5
WARM = 1 / 3  # of the time is warm-up
PATIENCE = 120.0  # seconds, after which a request counts as lost
THINKS = (0.2, 1.5)  # seconds between two actions
WEIGHTS = {"photo": 2, "sample": 2, "slider": 4, "map": 2, "optimize": 1}  # how often which action
EVERY = 3.0  # seconds between two actions at low load
STAYS = 10  # actions, after which the next visitor comes at low load


class Visitor:
    """One client, and what it has been answered. Actions are made from small sets, so that answers can be compared."""

    def __init__(self, url: str, folder: Path) -> None:
        self.client = Client(url, verbose=False, download_files=folder, httpx_kwargs={"timeout": PATIENCE})
        self.asked = 0
        self.seconds: dict[str, list[float]] = collections.defaultdict(list)
        self.answers: list[tuple[str, str]] = []
        """What was asked for, and a hash of the files that came."""
        self.errors: list[str] = []

    def call(self, endpoint: str, **fields: Any) -> tuple[Any, ...]:
        """An answer; its files are hashed."""
        key = f"{endpoint} " + " ".join(f"{k}={_short(v)}" for k, v in fields.items())
        self.asked += 1
        start = time.perf_counter()
        try:
            answer = self.client.submit(api_name=f"/{endpoint}", **fields).result(timeout=PATIENCE)
        except Exception as error:
            self.errors.append(f"{key}: {type(error).__name__} {error}")
            raise
        self.seconds[endpoint].append(time.perf_counter() - start)
        files = [Path(part) for part in answer if isinstance(part, str)]
        self.answers.append((key, " ".join(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)))
        return answer

    def photo(self, face: Path) -> str:
        """Align and invert; gives the latent."""
        crop, _ = self.call("align", photo=handle_file(face))
        return self.call("invert", photo=handle_file(crop), aligned=True)[1]

    def sample(self, seed: int) -> str:
        return self.call("sample", seed=seed)[1]

    def slider(self, latent: str, target: str, moves: list[float]) -> None:
        for strength in moves:
            self.call("direct", target=target, latent=handle_file(latent), strength=strength, threshold=0.1)

    def map(self, latent: str) -> None:
        self.call("map", mapper="smiling", latent=handle_file(latent))

    def optimize(self, latent: str) -> None:
        self.call("optimize", prompt="a person with glasses", latent=handle_file(latent), steps=STEPS)


def _short(value: Any) -> str:
    """A field as it counts for the answer: of a file its content."""
    if isinstance(value, dict):
        return hashlib.sha256(Path(value["path"]).read_bytes()).hexdigest()[:16]
    return str(value)


def everything(visitor: Visitor) -> dict[str, str]:
    """Every action there is, once; what the answers are."""
    for latent in [visitor.photo(face) for face in FACES] + [visitor.sample(seed) for seed in SEEDS]:
        for target in SLIDER:
            visitor.slider(latent, target, MOVES)
        visitor.map(latent)
        visitor.optimize(latent)
    return dict(visitor.answers)


def anything(visitor: Visitor, chance: random.Random, latents: list[str]) -> None:
    """One action; `latents`, which begins empty, grows by what it finds."""
    (action,) = chance.choices([*WEIGHTS], [*WEIGHTS.values()]) if latents else ("photo",)
    if action in ("photo", "sample"):
        latents.append(
            visitor.photo(chance.choice(FACES)) if action == "photo" else visitor.sample(chance.choice(SEEDS))
        )
    elif action == "slider":
        visitor.slider(chance.choice(latents), chance.choice(SLIDER), chance.sample(MOVES, len(MOVES)))
    else:
        getattr(visitor, action)(chance.choice(latents))


def visit(visitor: Visitor, number: int, until: float) -> None:
    """Act and think until the time is over."""
    chance, latents = random.Random(number), []
    while time.monotonic() < until:
        with contextlib.suppress(Exception):  # which the visitor has noted
            anything(visitor, chance, latents)
        time.sleep(chance.uniform(*THINKS))


def quantile(times: list[float], share: float) -> float:
    return (
        statistics.quantiles(times, n=100, method="inclusive")[round(100 * share) - 1] if len(times) > 1 else times[0]
    )


def print_times(lone: Visitor, visitors: Sequence[Visitor]) -> None:
    """The table of how long each action of visitors took, beside that of a lone one."""
    print("\n| action | answers | lone p50 | p50 | p95 |\n|---|---|---|---|---|")
    for name in sorted(lone.seconds):
        times, alone = [s for visitor in visitors for s in visitor.seconds[name]], quantile(lone.seconds[name], 0.5)
        if times:
            p50, p95 = quantile(times, 0.5), quantile(times, 0.95)
            ratios = f"{p50:.2f} s ({p50 / alone:.1f} ×) | {p95:.2f} s ({p95 / alone:.1f} ×)"
            print(f"| `/{name}` | {len(times)} | {alone:.2f} s | {ratios} |")


def crowd(model: str, visitors: int, minutes: float) -> bool:
    """Many at once; prints what came of it, and gives whether all is well."""
    with serving(model) as server, tempfile.TemporaryDirectory() as folder:
        lone = Visitor(server.url, Path(folder) / "lone")
        wanted = everything(lone)
        lone.seconds.clear()
        for _ in range(2):
            everything(lone)
        all_ = [Visitor(server.url, Path(folder) / str(number)) for number in range(visitors)]
        until = time.monotonic() + 60 * minutes
        threads = [threading.Thread(target=visit, args=(v, n, until)) for n, v in enumerate(all_)]
        for thread in threads:
            thread.start()
        time.sleep(60 * minutes * WARM)
        warm = server.megabytes()
        for thread in threads:
            thread.join()
        end = server.megabytes()
        opened, running, files = server.counts()
    answers = [answer for visitor in all_ for answer in visitor.answers]
    errors = [error for visitor in all_ for error in visitor.errors]
    asked = sum(visitor.asked for visitor in all_)
    other = [key for key, files in answers if wanted.get(key) != files]
    print(f"| {visitors} visitors, {minutes:g} minutes | |\n|---|---|")
    print(f"| requests | {asked} |\n| answers | {len(answers)} |\n| errors | {len(errors)} |")
    print(f"| answers that differ from the lone visitor's | {len(other)} |")
    print(f"| memory after warm-up, at the end | {warm:.0f} MB, {end:.0f} MB ({end / warm - 1:+.1%}) |")
    print(f"| open files, threads, files in the cache | {opened}, {running}, {files} |")
    print_times(lone, all_)
    for line in [*errors[:10], *other[:10]]:
        print(line, file=sys.stderr)
    return not errors and not other and asked == len(answers) and end < 1.05 * warm


def quiet(model: str, minutes: float) -> None:
    """One visitor after the other, an action every few seconds; prints what the app holds as time goes on."""
    with serving(model) as server, tempfile.TemporaryDirectory() as folder:
        chance, began, actions, shown = random.Random(0), time.monotonic(), 0, -1.0
        print(
            "| minute | actions | visitors | memory | open files | threads | files in the cache |\n" + "|---" * 7 + "|"
        )
        while (passed := (time.monotonic() - began) / 60) < minutes:
            if actions % STAYS == 0:
                visitor, latents = Visitor(server.url, Path(folder)), []
            anything(visitor, chance, latents)
            actions += 1
            if passed >= shown + 2.5 or passed + EVERY / 60 > minutes:
                shown, (opened, threads, files) = passed, server.counts()
                held = f"{server.megabytes():.0f} MB | {opened} | {threads} | {files}"
                print(f"| {passed:.1f} | {actions} | {-(-actions // STAYS)} | {held} |", flush=True)
            time.sleep(EVERY)


def main() -> None:
    """Visit, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--visitors", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--leaks", type=float, metavar="MINUTES", help="one visitor at a time for so long, instead")
    options = parser.parse_args()
    if options.leaks:
        quiet(options.model, options.leaks)
    else:
        sys.exit(not crowd(options.model, options.visitors, options.minutes))


if __name__ == "__main__":
    main()
