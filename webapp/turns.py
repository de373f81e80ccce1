"""Whose turn it is to compute: long jobs in line, one at a time; short edits between their steps; training last."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pipeline.errors import UserError

LOOK_EVERY = 0.5  # seconds after which one who waits in line looks whether the job is still wanted
PATIENCE = 2.0  # seconds that a visitor's job waits for the one before it to end: who presses Stop may go on at once
TELL_EVERY = 5.0  # seconds after which it is told again how many are before, also where that is the same
LONGEST_RUN = 300.0  # seconds that a run may compute while other long jobs wait; what it has reached by then is kept

STOPPING = "The studio is being stopped, so this could not be finished; please come back in a moment."
TWICE = "You have a long job in line or running already; please wait for it, or stop it, and then try again."

_stopping = threading.Event()
_all: weakref.WeakSet[Turns] = weakref.WeakSet()


def stop_all() -> None:
    """Let nobody compute any more in this process: who waits for a turn, or asks for one, gets a UserError."""
    _stopping.set()
    for turns in list(_all):
        with turns._changed:
            turns._changed.notify_all()
            turns._moved.notify_all()


def is_stopping() -> bool:
    """Whether `stop_all` was called."""
    return _stopping.is_set()


@dataclass(eq=False)
class _Job:
    """A long job in the line."""

    owner: Hashable
    """The visitor; None where that is nobody's."""
    address: Hashable
    round: int
    """In each round, every address has one job."""


class Turns:
    """Lets one compute at a time. Short edits that wait at the same time then compute together.

    First come the short edits that wait, then all others that wait, one after the other as they came, with one turn
    each; then the short edits again. A long job takes a turn for each of its steps.
    """

    def __init__(self) -> None:
        lock = threading.RLock()
        self._changed = threading.Condition(lock)
        self._moved = threading.Condition(lock)  # the line did; a step of a job doesn't wake those who stand in it
        self._alone = False  # someone computes who wants to be alone
        self._together = 0  # short edits that compute
        self._waiting = 0  # short edits that wait
        self._due = 0  # those of them that go before the next who wants to be alone
        self._wanting: list[object] = []  # who wait to be alone, as they came
        self._left = 0  # how many of them go before the next short edits
        self._round = 0
        self._line: list[_Job] = []  # the one that runs first
        _all.add(self)

    def _wait_until(self, due: Callable[[], bool]) -> None:
        self._changed.wait_for(lambda: _stopping.is_set() or due())
        if _stopping.is_set():
            raise UserError(STOPPING)

    @contextmanager
    def edit(self) -> Iterator[None]:
        """A turn for a short edit, together with others."""
        with self._changed:
            self._waiting += 1
            came = self._round
            try:
                self._wait_until(lambda: not self._alone and (self._round > came or not self._wanting))
            finally:
                self._due -= self._round > came
                self._waiting -= 1
            self._together += 1
        try:
            yield
        finally:
            with self._changed:
                self._together -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """A turn for a step of a long job, or for what must not be disturbed."""
        ticket = object()
        with self._changed:
            self._wanting.append(ticket)
            try:
                self._wait_until(
                    lambda: self._wanting[0] is ticket and not (self._alone or self._together or self._due)
                )
                self._left = self._left or len(self._wanting)
            finally:
                self._wanting.remove(ticket)
            self._alone = True
        try:
            yield
        finally:
            self._end()

    @contextmanager
    def between(self) -> Iterator[None]:
        """A turn for a piece of a training, once nobody else computes, waits or stands in line."""
        with self._changed:
            self._wait_until(self._nobody_else)
            self._left, self._alone = 1, True
        try:
            yield
        finally:
            self._end()

    def is_free(self, patience: float = LOOK_EVERY) -> bool:
        """Waits until nobody else computes, waits or stands in line; False where that takes more than `patience`
        seconds."""
        with self._changed:
            return self._changed.wait_for(self._nobody_else, patience)

    def _nobody_else(self) -> bool:
        return not (self._alone or self._together or self._waiting or self._wanting or self._line)

    def _end(self) -> None:
        with self._changed:
            self._alone = False
            self._left -= 1
            if not self._left:
                self._round += 1
                self._due = self._waiting
            self._changed.notify_all()

    @contextmanager
    def in_line(self, owner: Hashable = None, address: Hashable = None) -> Iterator[Callable[[], int]]:
        """A place in the line of long jobs; gives a function that waits a moment and says how many are before.

        Addresses alternate: behind those of the current round, one that has no job in line yet comes next.
        Raises UserError where `owner`, a visitor, has a place already and does not leave it within two seconds; None
        has as many as it likes.
        """
        with self._changed:
            if owner is not None and not self._moved.wait_for(lambda: self._has_none(owner), PATIENCE):
                raise UserError(TWICE)
            now = self._line[0].round if self._line else 0
            ticket = _Job(owner, address, max([now, *(o.round + 1 for o in self._line if o.address == address)]))
            self._line.insert(sum(other.round <= ticket.round for other in self._line), ticket)

        def before() -> int:
            with self._moved:
                self._moved.wait_for(lambda: _stopping.is_set() or self._line[0] is ticket, LOOK_EVERY)
                if _stopping.is_set():
                    raise UserError(STOPPING)
                return self._line.index(ticket)

        try:
            yield before
        finally:
            with self._changed:
                self._line.remove(ticket)
                self._changed.notify_all()
                self._moved.notify_all()

    def _has_none(self, owner: Hashable) -> bool:
        return _stopping.is_set() or all(other.owner != owner for other in self._line)

    def busy(self) -> bool:
        """Whether a long job runs or waits."""
        return bool(self._line)

    def others_wait(self) -> bool:
        """Whether a long job waits behind the one that runs."""
        return len(self._line) > 1


class Run:
    """A long job that yields its steps, each in a turn of its own, once those before it in line are done.

    `start` begins it. Iterate over `places` first to hear how many are before it; iterating over the job itself waits
    in silence. Leaving either iteration leaves the line. `owner` is the visitor, who has one place in the line, and
    `address` where they come from.
    """

    def __init__(
        self, turns: Turns, start: Callable[[], Iterator[Any]], owner: Hashable = None, address: Hashable = None
    ) -> None:
        self._turns, self._start, self._owner, self._address = turns, start, owner, address
        self._iteration = self._steps()
        self._begun = False
        self.computed = 0.0
        """Seconds that its own steps took; the turns of others don't count."""

    @property
    def is_over_time(self) -> bool:
        """Whether it has computed for as long as it may while others wait. Who is alone goes on."""
        return self.computed > LONGEST_RUN and self._turns.others_wait()

    def places(self, stopped: Callable[[], bool] = lambda: False) -> Iterator[int]:
        """How many long jobs are before this one, whenever that has changed, until there is none.

        Tells it again after five seconds, because only then Gradio notices that a visitor has left, and as soon as
        `stopped()` is true.
        """
        told, told_at = 0, 0.0
        while not self._begun:
            place = next(self._iteration)
            self._begun = place == 0
            now = time.monotonic()
            if place and (place != told or now - told_at > TELL_EVERY or stopped()):
                told, told_at = place, now
                yield place

    def __iter__(self) -> Iterator[Any]:
        for _ in self.places():
            pass
        yield from self._iteration

    def close(self) -> None:
        """End the job where it is."""
        self._iteration.close()

    def _steps(self) -> Iterator[Any]:
        with self._turns.in_line(self._owner, self._address) as before:
            while place := before():
                yield place
            yield 0
            steps = self._start()
            try:
                while True:
                    with self._turns.alone():
                        began = time.monotonic()
                        step = next(steps, None)
                        self.computed += time.monotonic() - began
                    if step is None:
                        return
                    yield step
            finally:
                steps.close()
