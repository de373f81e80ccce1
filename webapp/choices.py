"""A visitor may choose again while a choice is computed. The newest choice that succeeds is shown."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache

_changed = threading.Condition()  # of all visitors: it is held for moments


def the_only_one() -> bool:
    """In place of the function that `Choices.making` gives, where nothing else can be chosen."""
    return True


@dataclass
class Choices:
    """The choices of one visitor: a face, a mixture, a picture of a grid, a moment of an optimization."""

    made: int = -1
    """The number of the newest that succeeded."""
    pending: list[int] = field(default_factory=list)
    """The numbers of those that are computed now."""

    @contextlib.contextmanager
    def making(self, number: int) -> Iterator[Callable[[], bool]]:
        """Compute a choice inside the block. Its `number` is higher than those of the choices before it, see
        `webapp.queues.asked_now`.

        Gives a function that tells whether to show the choice; the answer is no if a newer one succeeded. Call it
        inside the block, after the computation: it waits for newer choices that are still computed, and may fail.
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
