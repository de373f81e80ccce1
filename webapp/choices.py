"""Which of the choices that a visitor makes one after the other is shown: the newest that came to something."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache

_changed = threading.Condition()  # of all visitors: it is held for moments


def the_only_one() -> bool:
    """Whether a choice is the newest, where there is no other: see `Choices.making`."""
    return True


@dataclass
class Choices:
    """The choices of one visitor: a face, a mixture, a picture of a grid, a moment of an optimization."""

    made: int = -1
    """The newest that was made."""
    pending: list[int] = field(default_factory=list)
    """Those that are being made."""

    @contextlib.contextmanager
    def making(self, number: int) -> Iterator[Callable[[], bool]]:
        """A choice that takes a while. Its `number` is higher than those of the choices that the visitor made before,
        see `webapp.queues.asked_now`.

        Gives a function that tells whether it is to be shown: not where a newer one was made. It is to be called inside
        the block, when all else is done, and waits for the newer ones that are being made: one of them may fail.
        """

        @cache
        def newest() -> bool:
            with _changed:
                _changed.wait_for(lambda: self.made > number or number == max(self.pending))
                self.made = max(self.made, number)
                return self.made == number

        with _changed:
            self.pending.append(number)
        try:
            yield newest
        finally:
            with _changed:
                self.pending.remove(number)
                _changed.notify_all()
