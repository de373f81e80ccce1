"""Whose turn it is to compute: edits one after the other, and what takes minutes only while no edit waits."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """Lets one compute at a time; those who edit go before those who train."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._taken = False
        self._edits = 0  # that compute, or wait for it

    @contextmanager
    def edit(self) -> Iterator[None]:
        """A turn for an edit, after the one that is being computed."""
        with self._changed:
            self._edits += 1
            self._changed.wait_for(lambda: not self._taken)
            self._taken = True
        try:
            yield
        finally:
            self._end(edits=1)

    @contextmanager
    def between(self) -> Iterator[None]:
        """A turn for a short piece of a long work, once no edit computes or waits."""
        with self._changed:
            self._changed.wait_for(lambda: not self._taken and not self._edits)
            self._taken = True
        try:
            yield
        finally:
            self._end(edits=0)

    def _end(self, edits: int) -> None:
        with self._changed:
            self._taken = False
            self._edits -= edits
            self._changed.notify_all()
