"""Do edits work? All methods on many targets, judged by a reader that no method uses: tables, a figure and a sheet.

    python -m benchmarks.edits [--faces 100] [--methods ...] [--targets ...] [--folder docs/results] [--kept DIR]

Prints the tables of docs/results.md, which says what is measured and how, and one by target; writes edits.png,
edits-realism.png and edits.jpg into the folder. Every finished cell, a method on a target, is kept at once, so a run
that was cut, by Ctrl-C too, goes on where it stopped; cells of other models, texts or rules are not mixed in. Two
processes of one thread each.
"""

import argparse
import json
import multiprocessing
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import figure
from benchmarks.cells import SHARE, Plan, Work, key
from benchmarks.methods import METHODS
from benchmarks.tables import Cells, Report
from benchmarks.targets import PAIRS, Target
from pipeline.models.sources import asset

SHOWN = {"blonde hair", "bald", "beard", "glasses", "smiling", "surprised", "old", "red lipstick"}  # in the sheet
Task = tuple[str, tuple[Any, ...]]

_work: Work


def begin_worker(folder: Path, plan: Plan, pairs: Sequence[Target]) -> None:
    """A worker's models. Ctrl-C is the main process's business."""
    global _work
    if multiprocessing.parent_process():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    _work = Work(folder, plan, pairs)


def perform(task: Task) -> tuple[Task, Any, float]:
    """A method of `Work` with its arguments: what it gives, and the seconds it took."""
    begin = time.monotonic()
    result = getattr(_work, task[0])(*task[1])
    return task, result if task[0] == "cell" else None, time.monotonic() - begin


@contextmanager
def workers(count: int, *arguments: Any) -> Iterator[Callable[[Sequence[Task]], Iterator[tuple[Task, Any, float]]]]:
    """What does tasks in `count` processes, in this one where it is 1; gives the results as they come."""
    if count == 1:
        begin_worker(*arguments)
        yield lambda tasks: map(perform, tasks)
        return
    with multiprocessing.get_context("spawn").Pool(count, begin_worker, arguments) as pool:
        yield lambda tasks: pool.imap_unordered(perform, tasks)


def read_kept(path: Path) -> dict[str, dict[str, Any]]:
    """key -> cell; a line that was cut is none."""
    cells = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                cell = json.loads(line)
                cells[cell["key"]] = cell
            except (ValueError, KeyError):
                continue
    return cells


def measure(
    wanted: dict[str, tuple[str, Target]], folder: Path, plan: Plan, pairs: Sequence[Target], count: int
) -> None:
    """Measure what is not kept yet of the cells `wanted`, by key, and keep it."""
    path = folder / "cells.jsonl"
    kept = read_kept(path)
    missing = {known: cell for known, cell in wanted.items() if known not in kept}
    print(f"{len(wanted)} cells, {len(wanted) - len(missing)} of them kept in {path}", flush=True)
    if not missing:
        return
    shared: list[Task] = [("pool", ("held",)), ("pool", ("calibration",)), ("drawings", ())]
    if any(METHODS[name].needs_pairs for name, _ in missing.values()):
        shared += [("half", (0,)), ("half", (1,))]
    # The slowest first, so that the processes end together.
    order = sorted(missing, key=lambda known: (-METHODS[missing[known][0]].guess, missing[known][0]))
    begin, spent = time.monotonic(), defaultdict[str, list[float]](list)
    with workers(count, folder, plan, pairs) as run, path.open("a", encoding="utf-8") as file:
        if path.stat().st_size and not path.read_text(encoding="utf-8").endswith("\n"):
            file.write("\n")
        for task, _, seconds in run(shared):
            print(f"{task[0]} {' '.join(map(str, task[1]))}: {seconds:.0f} s", flush=True)
        left = defaultdict[str, int](int)
        for name, _ in missing.values():
            left[name] += 1
        tasks = [("cell", (*missing[known], known)) for known in order]
        for done, ((_, (name, pair, _)), cell, seconds) in enumerate(run(tasks), 1):
            file.write(json.dumps(cell) + "\n")
            file.flush()
            left[name] -= 1
            spent[name].append(seconds)
            remaining = sum(
                n * (sum(spent[m]) / len(spent[m]) if spent[m] else METHODS[m].guess) for m, n in left.items()
            )
            passed, ahead = (time.monotonic() - begin) / 60, remaining / count / 60
            words = f"{METHODS[name].title}, {pair.title}: {seconds:.0f} s"
            print(f"{done}/{len(order)}  {passed:.1f} min, about {ahead:.0f} to go  {words}", flush=True)


def written(report: Report, plan: Plan) -> str:
    """All tables, under their headings."""
    return f"""{len(report.cells)} cells. Strength: the target's log-odds rise by {SHARE:.0%} of what parts faces
without from faces with it. Intervals: 95 %, by bootstrap over faces. At its default: success · identity · others
changed, on the {plan.calibration} faces a target that found the strengths; for optimization on the few that are judged.

### At equal strength

{report.main()}

### On the same faces

{report.compared()}

### What it costs

CPU seconds of one thread.

{report.costs()}

### By target

Target appeared · identity cosine · other attributes changed. \\* Strength not met.

{report.targets()}

### The reader's own accuracy

{report.reader()}
"""


def show(cells: Cells, folder: Path, work: Work) -> None:
    """Print the tables; write figure and sheet."""
    report = Report(cells, work.pairs, work.pool("held"), work.drawings())
    print("\n" + written(report, work.plan))
    folder.mkdir(parents=True, exist_ok=True)
    figure.chart(cells, folder / "edits.png")
    if points := report.realism():
        figure.realism(points, folder / "edits-realism.png")
    shown = [pair for pair in report.pairs if pair.title in SHOWN] or report.pairs
    before = {pair.target: work.tile(pair.target) for pair in shown}
    after = {known: work.tile(cell["key"]) for known, cell in cells.items()}
    figure.save_sheet(figure.sheet(cells, shown, before, after), folder / "edits.jpg")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=int, default=Plan().faces, help="held-out faces a target (%(default)s)")
    parser.add_argument("--pairs", type=int, default=Plan().pairs, help="sampled faces that baselines learn from")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), metavar="METHOD")
    parser.add_argument("--targets", nargs="+", help="only targets with one of these words")
    parser.add_argument("--folder", type=Path, default=Path("docs/results"), help="where pictures go (%(default)s)")
    parser.add_argument("--kept", type=Path, default=asset("benchmark"), help="where finished cells are kept")
    parser.add_argument("--workers", type=int, default=2, help="processes (%(default)s)")
    options = parser.parse_args(arguments)
    pairs = [p for p in PAIRS if not options.targets or any(w in p.target.split() for w in options.targets)]
    plan = Plan(options.faces, min(Plan().calibration, options.faces), options.pairs)
    wanted = {
        key(name, pair, plan, PAIRS): (name, pair)
        for name in options.methods
        for pair in pairs
        if METHODS[name].offers(pair)
    }
    options.kept.mkdir(parents=True, exist_ok=True)
    try:
        measure(wanted, options.kept, plan, PAIRS, options.workers)
    except KeyboardInterrupt:
        sys.exit(f"\nStopped. What is finished is kept in {options.kept}; the same command goes on from there.")
    known = read_kept(options.kept / "cells.jsonl")
    cells = {(name, pair.target): known[k] for k, (name, pair) in wanted.items()}
    show(cells, options.folder, Work(options.kept, plan, PAIRS))


if __name__ == "__main__":
    main()
