"""Places for photos: few are read at a time, because each may take a quarter of a gigabyte and eight seconds."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from pipeline.errors import UserError
from webapp.turns import STOPPING, is_stopping

Caller = tuple[Hashable, Hashable]
"""The address of a request, and its visitor."""


class Places:
    """Places that callers take for a moment and wait for.

    Of those who wait, the one whose address has the fewest places is next, then the visitor with the fewest, then the
    one who has waited longest. So nobody waits for all pictures that one address has sent.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._changed = threading.Condition()
        self._waiting: list[tuple[Caller, object]] = []
        self._taken: list[Caller] = []

    @property
    def taken(self) -> int:
        """How many places are taken."""
        return len(self._taken)

    @contextmanager
    def place(self, caller: Caller) -> Iterator[None]:
        """Hold a place. Raises UserError when the studio is being stopped before there is one."""
        ticket = (caller, object())
        with self._changed:
            self._waiting.append(ticket)
            try:
                self._changed.wait_for(lambda: is_stopping() or self._next() is ticket)
                if is_stopping():
                    raise UserError(STOPPING)
                self._taken.append(caller)
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._taken.remove(caller)
                self._changed.notify_all()

    def _next(self) -> tuple[Caller, object] | None:
        """The ticket that takes the next free place; None while there is none."""
        if len(self._taken) >= self._count:
            return None

        def has(ticket: tuple[Caller, object]) -> tuple[int, int]:
            (address, _), _ = ticket
            return sum(taken[0] == address for taken in self._taken), self._taken.count(ticket[0])

        return min(self._waiting, key=has)
