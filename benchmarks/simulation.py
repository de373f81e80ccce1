"""How many GPUs do so many visitors need? A simulation, from service times that were measured.

    python -m benchmarks.simulation [--speedup 20] [--price 2.5] [--picture docs/results/simulation.png]
    python -m benchmarks.simulation --check

Visitors do what those of `benchmarks.visitors` do: the same actions as often, the same time to think. A request takes
the page's process a moment and then waits for its turn on a replica, as `webapp.jobs` gives turns: the edits that wait
together, then a step of what is long; one long job at a time. Each replica has an equal share of the visitors.

`--check` simulates two minutes that were measured, 20 visitors on two cores in docs/results.md, and prints both.
The other command prints the seconds that 95 % wait at most (edits · optimizations), and how many GPUs keep these within
AIMS. Nothing of it was measured on a GPU: its service times are those of two cores, divided by `--speedup`, and the
price is yours to say.
"""

import argparse
import collections
import heapq
import itertools
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.visitors import MOVES, STEPS, THINKS, WEIGHTS, quantile

ACTIONS = {
    "photo": ("align", "invert"),
    "sample": ("edit",),
    "slider": ("edit",) * len(MOVES),
    "map": ("edit",),
    "optimize": ("optimize",),
}
GPUS, VISITORS = (1, 4, 16, 64), (100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)
AIMS = {"edit": 2.0, "optimize": 30.0}  # seconds that 95 % should wait at most
WORST = 600.0  # seconds; beyond it nobody waits, and no number says more
MOST = 4_000  # visitors of one replica; more are not simulated
SECONDS, WARM = 240.0, 120.0  # that are simulated, and of them those that don't count


@dataclass(frozen=True)
class Times:
    """What a replica takes, in seconds, and how it computes."""

    edit: float
    more: float
    """Each further edit that is made together with others."""
    together: int
    """How many edits are made together."""
    align: float
    invert: float
    step: float
    steps: int
    page: float
    """Of the page's process for each request."""


# docs/results.md, “Many visitors”: drawn faces, a lone visitor's p50. Two edits at once share two cores.
DRAWN = Times(edit=0.20, more=0.10, together=24, align=0.23, invert=0.28, step=1.03 / STEPS, steps=STEPS, page=0.0)
# docs/results.md, “Speed”: photographed faces on two cores. Of an upload a quarter is inversion. Runs of 60 steps.
PHOTO = Times(edit=0.138, more=0.138, together=1, align=0.79, invert=0.2, step=0.392, steps=60, page=0.07)
# docs/results.md, “Many visitors”: answers, p50 and p95 of 20 visitors in two minutes.
MEASURED = {"edit": (845, 1.65, 2.80), "invert": (66, 3.66, 6.29), "optimize": (20, 21.37, 34.14)}


def on_gpu(times: Times, speedup: float) -> Times:
    """Assumed: a GPU is `speedup` times as fast as two cores, and eight edits take it twice as long as one. Photos are
    still opened and aligned by two cores."""
    edit = times.edit / speedup
    faster = {"invert": times.invert / speedup, "step": times.step / speedup}
    return replace(times, edit=edit, more=edit / 7, together=8, **faster)


class Replica:
    """One replica and its visitors, with one page process that takes `page` seconds a request, or 0 for enough."""

    def __init__(self, times: Times, visitors: int, page: float, warm: float = WARM, end: float = SECONDS) -> None:
        self._times, self._page, self._chance = times, page, random.Random(0)
        self._warm, self._end = warm, end
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number, self._now = itertools.count(), 0.0
        self._page_free, self._places = 0.0, [0.0, 0.0]
        self._edits: collections.deque[Callable[[], None]] = collections.deque()
        self._turns: collections.deque[tuple[float, Callable[[], None]]] = collections.deque()
        self._line: collections.deque[Callable[[], None]] = collections.deque()
        self._busy = False
        self.waited: dict[str, list[float]] = collections.defaultdict(list)
        for _ in range(visitors):
            self._at(self._chance.uniform(0, warm / 2), self._visitor(self._actions()))

    def run(self) -> dict[str, list[float]]:
        """How long each request waited, by kind; of those that were asked for between `warm` and `end`."""
        while self._events:
            self._now, _, happens = heapq.heappop(self._events)
            happens()
        return self.waited

    def _at(self, time: float, happens: Callable[[], None]) -> None:
        heapq.heappush(self._events, (time, next(self._number), happens))

    def _actions(self) -> Iterator[str | None]:
        """The requests of a visitor, and None where they think."""
        while True:
            yield from ACTIONS[self._chance.choices([*WEIGHTS], [*WEIGHTS.values()])[0]]
            yield None

    def _visitor(self, requests: Iterator[str | None]) -> Callable[[], None]:
        def goes_on() -> None:
            if self._now > self._end:
                return None
            kind = next(requests)
            if kind is None:
                return self._at(self._now + self._chance.uniform(*THINKS), goes_on)
            asked = self._now

            def answered() -> None:
                if asked >= self._warm:
                    self.waited[kind].append(self._now - asked)
                goes_on()

            if not self._page:  # there are enough
                return self._at(self._now + self._times.page, lambda: self._arrives(kind, answered))
            self._page_free = max(self._now, self._page_free) + self._page
            self._at(self._page_free, lambda: self._arrives(kind, answered))

        return goes_on

    def _arrives(self, kind: str, answered: Callable[[], None]) -> None:
        if kind == "align":
            free = max(self._now, heapq.heappop(self._places)) + self._times.align
            heapq.heappush(self._places, free)
            return self._at(free, answered)
        if kind == "edit":
            self._edits.append(answered)
        elif kind == "invert":
            self._turns.append((self._times.invert, answered))
        else:
            self._line.append(answered)
            if len(self._line) == 1:
                self._step(self._times.steps)
        if not self._busy:
            self._go_on()

    def _step(self, left: int) -> None:
        """Let the first job of the line have its turns."""

        def done() -> None:
            if left > 1:
                return self._step(left - 1)
            answered = self._line.popleft()
            if self._line:
                self._step(self._times.steps)
            answered()

        self._turns.append((self._times.step, done))

    def _go_on(self) -> None:
        """The edits that wait, then a turn for each of the others that wait."""
        times, self._busy = self._times, True
        edits = [self._edits.popleft() for _ in range(len(self._edits))]
        turns, self._turns = self._turns, collections.deque()
        end = self._now
        for first in range(0, len(edits), times.together):
            made = edits[first : first + times.together]
            end += times.edit + times.more * (len(made) - 1)
            for answered in made:
                self._at(end, answered)
        for seconds, done in turns:
            end += seconds
            self._at(end, done)
        self._at(end, self._ends)

    def _ends(self) -> None:
        self._busy = False
        if self._edits or self._turns:
            self._go_on()


def p95(times: Times, visitors: int, page: float = 0.0) -> dict[str, float]:
    """Seconds that 95 % of each kind of request take at most, with so many visitors of one replica; infinite where it
    is more than WORST."""
    if visitors > MOST:
        return dict.fromkeys(AIMS, float("inf"))
    waited = Replica(times, visitors, page).run()
    found = {kind: quantile(waited[kind], 0.95) for kind in AIMS}
    return {kind: seconds if seconds <= WORST else float("inf") for kind, seconds in found.items()}


def capacity(times: Times, page: float = 0.0) -> int:
    """How many visitors one replica can have within the AIMS; with `page`, how many one page process can."""
    least, most = 1, MOST
    while most - least > max(1, least // 50):
        visitors = (least + most) // 2
        found = p95(times, visitors, page)
        least, most = (visitors, most) if all(found[kind] <= aim for kind, aim in AIMS.items()) else (least, visitors)
    return least


def check() -> None:
    """Print what was measured beside what is simulated."""
    waited = Replica(DRAWN, 20, DRAWN.page, 0.0, 120.0).run()
    print("| 20 visitors | measured p50, p95 | simulated p50, p95 | requests in 2 minutes |\n|---|---|---|---|")
    for kind, (count, half, most) in MEASURED.items():
        found = waited[kind]
        told = " | ".join(
            (f"{half:.2f} s, {most:.2f} s", f"{quantile(found, 0.5):.2f} s, {quantile(found, 0.95):.2f} s")
        )
        print(f"| {kind} | {told} | {count}, simulated {len(found)} |")


def table(times: Times, price: float) -> None:
    """Print what each number of GPUs gives, and how many GPUs and page processes so many visitors need."""
    here, page = capacity(times), capacity(replace(times, step=0, edit=0, more=0, invert=0, align=0), times.page)
    print(f"A GPU can have {here} visitors, a page process {page}.\n")
    columns = " | ".join(f"{count} GPU{'s' if count > 1 else ''}" for count in GPUS)
    print(f"| visitors | {columns} | GPUs needed | page processes | cost an hour |\n" + "|---" * (4 + len(GPUS)) + "|")
    for visitors in VISITORS:
        found = [p95(times, max(1, round(visitors / count))) for count in GPUS]
        told = " | ".join(" · ".join(_told(seconds) for seconds in waits.values()) for waits in found)
        gpus = math.ceil(visitors / here)
        print(
            f"| {visitors:,} | {told} | {gpus:,} | {math.ceil(visitors / page):,} | {price * gpus:,.0f} |", flush=True
        )


def _told(seconds: float) -> str:
    return "–" if seconds > WORST else f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.0f} s"


def draw(times: Times, picture: Path) -> None:
    """p95 against visitors, a line for each number of GPUs, and one for a single page process before enough of them."""
    import matplotlib.pyplot as plt

    shares = sorted({round(10 ** (step / 6)) for step in range(3, 21)})
    found = [p95(times, share) for share in shares]
    free = replace(times, step=0, edit=times.edit, more=0, invert=0, align=0)
    one_page = [p95(free, share, times.page) for share in shares]
    figure, both = plt.subplots(1, 2, figsize=(9, 3.6), dpi=100, layout="constrained")
    for axes, (kind, aim) in zip(both, AIMS.items(), strict=True):
        for number, gpus in enumerate(GPUS):
            label = f"{gpus} GPU{'s' if gpus > 1 else ''}"
            axes.plot([share * gpus for share in shares], [f[kind] for f in found], color=f"C{number}", label=label)
        axes.plot(shares, [f[kind] for f in one_page], "k:", label="one page process, GPUs enough")
        axes.axhline(aim, color="grey", linewidth=0.8)
        axes.set(xscale="log", yscale="log", xlabel="visitors at once", xlim=(50, 1e5), ylim=(0.01, WORST))
        axes.set(ylabel="p95, seconds", title=f"{kind} (grey: the aim, {aim:g} s)")
        axes.grid(alpha=0.3)
    both[0].legend(fontsize=7)
    figure.savefig(picture)


def main() -> None:
    """Print a table, and draw a picture where one is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="simulate a run that was measured, and print both")
    parser.add_argument("--speedup", type=float, default=20.0, help="of a GPU over two cores (assumed)")
    parser.add_argument("--price", type=float, default=2.5, help="of a GPU for an hour (assumed)")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw there")
    options = parser.parse_args()
    if options.check:
        return check()
    times = on_gpu(PHOTO, options.speedup)
    table(times, options.price)
    if options.picture:
        draw(times, options.picture)


if __name__ == "__main__":
    main()
