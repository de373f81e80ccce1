"""Whose turn it is to compute: long jobs in line, one at a time; short edits between their steps; training last."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

LOOK_EVERY = 0.5  # seconds after which one who waits is told again how many are before


class Turns:
    """Lets one compute at a time. Short edits that wait at the same time then compute together.

    It goes round: first the short edits that wait, then whoever else waits, one after the other as they came, each one
    turn; a long job has one for each of its steps.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._alone = False  # someone computes who wants to be alone
        self._together = 0  # short edits that compute
        self._waiting = 0  # short edits that wait
        self._due = 0  # those of them that go before the next who wants to be alone
        self._wanting: list[object] = []  # who wait to be alone, as they came
        self._left = 0  # how many of them go before the next short edits
        self._round = 0
        self._line: list[object] = []  # long jobs, the one that runs first

    @contextmanager
    def edit(self) -> Iterator[None]:
        """A turn for a short edit, together with others."""
        with self._changed:
            self._waiting += 1
            came = self._round
            self._changed.wait_for(lambda: not self._alone and (self._round > came or not self._wanting))
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
            self._changed.wait_for(
                lambda: self._wanting[0] is ticket and not (self._alone or self._together or self._due)
            )
            self._left = self._left or len(self._wanting)
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
            self._changed.wait_for(
                lambda: not (self._alone or self._together or self._waiting or self._wanting or self._line)
            )
            self._left, self._alone = 1, True
        try:
            yield
        finally:
            self._end()

    def _end(self) -> None:
        with self._changed:
            self._alone = False
            self._left -= 1
            if not self._left:
                self._round += 1
                self._due = self._waiting
            self._changed.notify_all()

    @contextmanager
    def in_line(self) -> Iterator[Callable[[], int]]:
        """A place in the line of long jobs; gives a function that waits a moment and says how many are before."""
        ticket = object()
        with self._changed:
            self._line.append(ticket)

        def before() -> int:
            with self._changed:
                self._changed.wait_for(lambda: self._line[0] is ticket, LOOK_EVERY)
                return self._line.index(ticket)

        try:
            yield before
        finally:
            with self._changed:
                self._line.remove(ticket)
                self._changed.notify_all()


class Run:
    """A long job that yields its steps, each in a turn of its own, once those before it in line are done.

    `start` begins it. Iterate over `places` first to hear how many are before it; iterating over the job itself waits
    in silence. Leaving either iteration leaves the line.
    """

    def __init__(self, turns: Turns, start: Callable[[], Iterator[Any]]) -> None:
        self._turns, self._start = turns, start
        self._iteration = self._steps()
        self._begun = False

    def places(self) -> Iterator[int]:
        """How many long jobs are before this one, again and again, until there is none."""
        while not self._begun:
            place = next(self._iteration)
            self._begun = place == 0
            if place:
                yield place

    def __iter__(self) -> Iterator[Any]:
        for _ in self.places():
            pass
        yield from self._iteration

    def close(self) -> None:
        """End the job where it is."""
        self._iteration.close()

    def _steps(self) -> Iterator[Any]:
        with self._turns.in_line() as before:
            while place := before():
                yield place
            yield 0
            steps = self._start()
            try:
                while True:
                    with self._turns.alone():
                        step = next(steps, None)
                    if step is None:
                        return
                    yield step
            finally:
                steps.close()
