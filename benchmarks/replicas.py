"""The page on replicas of Ray Serve: what does it gain, and what do visitors notice where replicas die?

    python -m benchmarks.replicas [--replicas 2] [--visitors 20] [--minutes 3]

Serves the app in three ways, one after the other, and sends the crowd of `benchmarks.visitors` to each: by one process;
by a page with replicas; by the same with a replica killed every 30 seconds. A lone visitor comes first, whose pictures
and latents everybody after must get to the bit. One more visitor of the page has a strip, which must be there in the
end. Client, page and replicas share the machine. Processes are found in /proc, which Linux has.
"""

import argparse
import os
import secrets
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.server import serving
from benchmarks.sessions import Page
from benchmarks.visitors import Visitor, everything, print_times, visit
from webapp.backends.ray_serve import GONE

EVERY = 30.0  # seconds between two kills


def processes(root: int) -> dict[int, str]:
    """The processes below a process: pid -> command line."""
    known: dict[int, tuple[int, str]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                known[int(folder.name)] = parent, (folder / "cmdline").read_text().replace("\0", " ")
            except OSError:  # it has ended
                continue
    below, found = {root}, {}
    while below:
        found |= {pid: known[pid][1] for pid in below if pid != root}
        below = {pid for pid, (parent, _) in known.items() if parent in below}
    return found


def replicas_of(root: int) -> list[int]:
    """The processes of the replicas of an app that has a Ray of its own."""
    return [pid for pid, command in processes(root).items() if command.startswith("ray::ServeReplica")]


def kill(root: int, until: float, killed: list[int]) -> None:
    """Kill one replica after the other; not the last that is there."""
    while time.monotonic() + EVERY < until:
        time.sleep(EVERY)
        if len(there := replicas_of(root)) > 1:
            os.kill(there[len(killed) % len(there)], signal.SIGKILL)
            killed.append(there[0])


def strip_of(page: Page, visit: str) -> list[str]:
    """The pictures on a visitor's strip, by their files."""
    event = page.redrawn()
    answer = page.call(event, visit)
    shown = answer[event["outputs"].index(page.ids["strip"])]["value"] if answer else []
    return [picture["image"]["path"] for picture in shown]


def crowd(options: list[str], visitors: int, minutes: float, kills: bool) -> bool:
    """Send a crowd to an app with these options; prints what came of it, and gives whether all is well."""
    title = " ".join(options) or "one process"
    with serving("demo", options=options) as server, tempfile.TemporaryDirectory() as folder:
        lone = Visitor(server.url, Path(folder) / "lone")
        wanted = everything(lone)
        lone.seconds.clear()
        everything(lone)
        page, guest = Page(server.url), secrets.token_hex(5)
        page.call(page.loaded(), guest)
        page.call(page.event("random", "click"), guest)
        strip = strip_of(page, guest)
        all_ = [Visitor(server.url, Path(folder) / str(number)) for number in range(visitors)]
        until, killed = time.monotonic() + 60 * minutes, []
        threads = [threading.Thread(target=visit, args=(v, n, until)) for n, v in enumerate(all_)]
        if kills:
            threads.append(threading.Thread(target=kill, args=(server.process.pid, until, killed)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        same_strip, memory = strip_of(page, guest) == strip != [], server.megabytes()
    answers = [answer for visitor in all_ for answer in visitor.answers]
    errors = [error for visitor in all_ for error in visitor.errors]
    told = [error for error in errors if GONE in error]
    other = [key for key, files in answers if wanted.get(key) != files]
    print(f"| {title}{', replicas killed' * kills}, {visitors} visitors, {minutes:g} minutes | |\n|---|---|")
    print(f"| requests, answers | {sum(v.asked for v in all_)}, {len(answers)} |\n| replicas killed | {len(killed)} |")
    print(f"| runs whose visitor was told that their replica ended | {len(told)} |")
    print(f"| other errors | {len(errors) - len(told)} |")
    print(f"| answers that differ from the lone visitor's | {len(other)} |")
    print(f"| the strip is as it was | {'yes' if same_strip else 'no'} |")
    print(f"| memory of the page's process | {memory:.0f} MB |")
    print_times(lone, all_)
    print(flush=True)
    for line in [*[error for error in errors if error not in told][:10], *other[:10]]:
        print(line, file=sys.stderr)
    return len(errors) == len(told) and not other and same_strip and (kills or not told)


def main() -> None:
    """Serve and visit in each way, and print a table of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--visitors", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=3)
    options = parser.parse_args()
    on_ray = ["--ray", "--replicas", str(options.replicas)]
    ways = [([], False), (on_ray, False), (on_ray, True)]
    well = [crowd(way, options.visitors, options.minutes, kills) for way, kills in ways]
    sys.exit(not all(well))


if __name__ == "__main__":
    main()
