"""Downloads as the page shows them: how far they are, until they are here or the visitor has had enough."""

from __future__ import annotations

import html
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pipeline.errors import UserError
from pipeline.models.downloads import fetch
from pipeline.models.sources import Source

REDRAW_EVERY = 0.25  # seconds


class _Stopped(Exception):
    """Ends a download from within."""


def megabytes(size: int) -> str:
    """A size in bytes for people: 340 MB, 1.9 GB."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(1, round(size / 1e6))} MB"


def bytes_of(sources: Sequence[Source]) -> int:
    """How large files are together, as far as the registry knows."""
    return sum(source.size or source.about or 0 for source in sources)


def bar(words: str, share: float | None = None) -> str:
    """A bar, moving to and fro where no `share` (0 to 1) is known, and a line under it, as HTML."""
    value = "" if share is None else f' value="{min(share, 1):.4f}"'
    return (
        f'<div class="progress"><progress max="1"{value} aria-label="Progress"></progress>'
        f'<p class="note" role="status">{html.escape(words)}</p></div>'
    )


def in_line(place: int) -> str:
    """A bar for a job that waits for `place` others."""
    return bar(f"In line: {place} {'job is' if place == 1 else 'jobs are'} before yours")


def arriving(sources: Sequence[Source], stopped: Callable[[], Any]) -> Iterator[str]:
    """Fetch files one after the other and yield bars while they come.

    Raises the UserError of a file that can't be had, one when `stopped()` is true, and what `stopped()` raises. When it
    ends early, however it does, files that have arrived whole are kept, and the next try goes on with the others.
    """
    whole, names = bytes_of(sources), [source.name for source in sources]
    now: tuple[str, int, int | None] = (names[0] if names else "", 0, None)
    left = False
    failure: list[BaseException] = []

    def hear(name: str, done: int, total: int | None) -> None:
        nonlocal now
        if left:
            raise _Stopped
        now = name, done, total

    def work() -> None:
        try:
            for source in sources:
                fetch(source, hear)
        except BaseException as error:
            failure.append(error)

    def drawn() -> str:
        name, done, total = now
        number = names.index(name)
        before = bytes_of(sources[:number])
        size = total or bytes_of([sources[number]])
        words = f"File {number + 1} of {len(names)}, {name}: {done / 1e6:,.0f}"
        words += f" of {size / 1e6:,.0f} MB" if size else " MB"
        share = min(1, (before + done) / max(whole, before + size)) if whole and size and done else None
        if not done:
            words = f"File {number + 1} of {len(names)}, {name}: connecting"
        elif size and done >= size:
            words = f"File {number + 1} of {len(names)}, {name}: checking"
        elif share is not None:
            words += f" · {share:.0%} of {megabytes(whole)}"
        return bar(words, share)

    worker = threading.Thread(target=work, daemon=True)  # a stalled connection shall not keep the app from ending
    worker.start()
    try:
        while worker.is_alive():
            yield drawn()
            worker.join(REDRAW_EVERY)
            if stopped():
                raise UserError("The download was stopped. Files that have arrived whole are kept.")
        if failure:
            raise failure[0]
    finally:
        left = True
