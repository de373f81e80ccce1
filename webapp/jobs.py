"""Whose turn it is to compute: short edits, long jobs and trainings share one machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from pipeline.errors import UserError

LOOK_EVERY = 0.5  # how often a waiting job checks that it is still wanted, in seconds
PATIENCE = 2.0  # seconds that a visitor's job waits for the one before it to end: who presses Stop may go on at once
TELL_EVERY = 5.0  # seconds after which a job tells again how many are before it, also where that is the same
LONGEST_RUN = 300.0  # seconds that a long job may compute while others wait; what it has reached by then is kept
# How many of a kind go on at a time: to read a photo takes up to a quarter of a gigabyte and eight seconds, to paint
# all of one up to a gigabyte and a half.
PLACES = {"photo": 2, "training": 1}

STOPPING = "The studio is being stopped, so this could not be finished; please come back in a moment."
CHANGED = "The model was changed meanwhile, so this face is no longer known; the page starts anew."
TWICE = "You have a long job in line or running already; please wait for it, or stop it, and then try again."


@dataclass(eq=False)
class _Ticket:
    """Somebody who waits, and then has a turn, a place, or a long job."""

    kind: str
    address: Hashable = None
    visitor: Hashable = None
    round: int = 0
    """Long jobs only: a round holds at most one job of each address."""
    called: threading.Event = field(default_factory=threading.Event)
    """Set when the wait is over."""
    over: threading.Event = field(default_factory=threading.Event)


class Scheduler:
    """Decides whose turn it is to compute; a page has one.

    Who goes first:

    - `interactive()`, short edits: all that wait start together. On a GPU, `pipeline.batching` draws them together too.
    - `batch()`, what needs the machine for itself: a step of a long job, an inversion. When the running edits are done,
      each waiting step gets one turn, oldest first; then the edits that have come meanwhile.
    - `background()`, a piece of a training: when nobody else computes, waits or stands in line.

    Long jobs stand in a `line()`. The first one runs, and takes a turn of `batch()` for each step, so that edits go
    between its steps.

    What is fair:

    - In the line, addresses alternate: behind the jobs of the current round, an address without one comes next. A
      visitor has one job in the line.
    - `photo()` and `training()` are places, of which there are few (`PLACES`). The next one is for the address that has
      the fewest, then for the visitor who has the fewest, then for who has waited longest.

    Where `replicas` compute, each process of them has a scheduler of its own, which decides about the turns there. Then
    all turns begin here at once, and as many long jobs run as there are replicas.

    What a long job may take: `LONGEST_RUN` seconds of its own computing while others stand in line behind it, and as
    long as it likes while nobody does.

    What stops everybody: after `stop(why)`, who waits or asks for a turn gets `why` as a UserError. Who computes
    finishes the turn.
    """

    def __init__(self, replicas: int = 0) -> None:
        self._lock = threading.Lock()
        self._replicas, self._width = replicas, max(1, replicas)
        self._waiting: list[_Ticket] = []
        self._running: list[_Ticket] = []
        self._batch_turns: list[_Ticket] = []  # they come before the next edits
        self._edits_next = True  # whether edits go before those of `batch` who wait
        self._line: list[_Ticket] = []  # those that run, and behind them those that wait
        self._seconds: dict[str, float] = {}  # how long a step of each kind of long job took, the last time
        self._why = ""

    def interactive(self) -> AbstractContextManager[Any]:
        """A turn for a short edit, together with others."""
        return self._turn(_Ticket("interactive"))

    def batch(self) -> AbstractContextManager[Any]:
        """A turn for a step of a long job, or for what must not be disturbed."""
        return self._turn(_Ticket("batch"))

    def background(self, patience: float | None = None) -> AbstractContextManager[bool]:
        """A turn for a piece of a training; False where it does not come within `patience` seconds."""
        return self._turn(_Ticket("background"), patience)

    def photo(self, address: Hashable = None, visitor: Hashable = None) -> AbstractContextManager[Any]:
        """A place to read a photo."""
        return self._turn(_Ticket("photo", address, visitor))

    @contextmanager
    def training(self, address: Hashable = None, visitor: Hashable = None) -> Iterator[Callable[[], bool]]:
        """A place to train in; gives a function that waits a moment and says whether it still waits."""
        ticket = _Ticket("training", address, visitor)
        with self._waits(ticket):
            yield lambda: not self._comes(ticket, LOOK_EVERY)

    @contextmanager
    def _turn(self, ticket: _Ticket, patience: float | None = None) -> Iterator[bool]:
        with self._waits(ticket):
            yield self._comes(ticket, patience)

    def _comes(self, ticket: _Ticket, patience: float | None) -> bool:
        """Wait until it is a ticket's turn; False where that takes longer than `patience` seconds."""
        ticket.called.wait(patience)
        self.check()
        with self._lock:
            return ticket in self._running

    @contextmanager
    def _waits(self, ticket: _Ticket) -> Iterator[None]:
        """Let a ticket wait, and then have its turn, until the end of the block."""
        with self._lock:
            self._waiting.append(ticket)
            self._start()
        try:
            yield
        finally:
            with self._lock:
                for tickets in (self._waiting, self._batch_turns, self._running):
                    if ticket in tickets:
                        tickets.remove(ticket)
                self._start()

    def _start(self) -> None:
        """Start those whose turn it is now. The lock is held, and somebody has come or gone."""
        if self._why:
            for ticket in self._waiting + self._line:
                ticket.called.set()
            return
        runs = len(self._line) - len(self._in_line())
        for ticket in self._in_line()[: max(0, self._width - runs)]:
            ticket.called.set()
        while ticket := self._next():
            self._waiting.remove(ticket)
            self._running.append(ticket)
            ticket.called.set()

    def _next(self) -> _Ticket | None:
        """The ticket that starts next; None while all must wait."""
        for kind, most in PLACES.items():
            taken, waiting = self._of(kind, self._running), self._of(kind, self._waiting)
            if waiting and len(taken) < most:
                return min(waiting, key=lambda ticket, taken=taken: _count(ticket, taken))
        if self._replicas:
            return next((ticket for ticket in self._waiting if ticket.kind not in PLACES), None)
        if self._of("batch", self._running) or self._of("background", self._running):
            return None
        edits, batch = self._of("interactive", self._waiting), self._of("batch", self._waiting)
        if edits and (self._edits_next or not batch):
            return edits[0]
        self._edits_next = not batch  # edits that come now wait until these batch turns are over
        if self._of("interactive", self._running):
            return None
        if batch:
            self._batch_turns = self._batch_turns or batch
            ticket = self._batch_turns.pop(0)
            self._edits_next = not self._batch_turns
            return ticket
        trainings = self._of("background", self._waiting)
        return trainings[0] if trainings and not self._line else None

    @staticmethod
    def _of(kind: str, tickets: list[_Ticket]) -> list[_Ticket]:
        return [ticket for ticket in tickets if ticket.kind == kind]

    @contextmanager
    def line(self, visitor: Hashable = None, address: Hashable = None) -> Iterator[Callable[[], int]]:
        """A place in the line of long jobs; gives a function that waits a moment and says how many are before.

        Raises UserError where `visitor` has a job there already that does not end within two seconds; None has as many
        as it likes.
        """
        with self._lock:
            earlier = self._jobs_of(visitor)
        if earlier:
            earlier[0].over.wait(PATIENCE)
        with self._lock:
            if self._jobs_of(visitor):
                raise UserError(TWICE)
            now = self._line[0].round if self._line else 0
            after = [other.round + 1 for other in self._line if other.address == address]
            ticket = _Ticket("long", address, visitor, max([now, *after]))
            self._line.insert(sum(other.round <= ticket.round for other in self._line), ticket)
            self._start()

        def before() -> int:
            ticket.called.wait(LOOK_EVERY)
            self.check()
            with self._lock:
                return 0 if ticket.called.is_set() else 1 + self._in_line().index(ticket)

        try:
            yield before
        finally:
            with self._lock:
                self._line.remove(ticket)
                ticket.over.set()
                self._start()

    def _in_line(self) -> list[_Ticket]:
        """The long jobs that don't run yet."""
        return [ticket for ticket in self._line if not ticket.called.is_set()]

    def _jobs_of(self, visitor: Hashable) -> list[_Ticket]:
        return [other for other in self._line if visitor is not None and other.visitor == visitor]

    def others_wait(self) -> bool:
        """Whether a long job waits behind those that run."""
        return len(self._line) > self._width

    def took(self, kind: str, seconds: float) -> None:
        """Note how long a step of this kind of long job takes."""
        self._seconds[kind] = seconds

    def fitting(self, kind: str, steps: int, visitor: Hashable = None) -> int:
        """How many of `steps` to take. Alone, or while no step of this kind was timed: all. While others wait: as many
        as fit into LONGEST_RUN, because a run that is cut has not settled. The `visitor`'s own job, which may just be
        ending, is none of the others'."""
        seconds = self._seconds.get(kind)
        with self._lock:
            alone = len(self._line) - len(self._jobs_of(visitor)) < self._width
        if not seconds or alone:  # where the clock is coarse, a step takes 0 s
            return steps
        return max(1, min(steps, int(LONGEST_RUN / seconds)))

    def check(self) -> None:
        """Raises UserError where everybody was stopped."""
        if self._why:
            raise UserError(self._why)

    def stop(self, why: str = STOPPING) -> None:
        """Let nobody compute any more: who waits for a turn, or asks for one, gets `why` as a UserError."""
        with self._lock:
            self._why = why
            self._start()


def _count(ticket: _Ticket, taken: list[_Ticket]) -> tuple[int, int]:
    """How many of the places that are taken its address has, and how many its visitor."""
    near = [other for other in taken if other.address == ticket.address]
    return len(near), sum(other.visitor == ticket.visitor for other in near)


def seldom(look: Callable[[], Any], stopped: Callable[[], bool]) -> Iterator[Any]:
    """What `look` gives, whenever that has changed, until it is false.

    Tells it again after five seconds, because only then Gradio notices that a visitor has left, and as soon as
    `stopped()` is true.
    """
    told, told_at = None, 0.0
    while found := look():
        now = time.monotonic()
        if found != told or now - told_at > TELL_EVERY or stopped():
            told, told_at = found, now
            yield found


class LongJob:
    """A job that yields its steps, each in a turn of its own, once the jobs before it in line are done.

    `kind` says what it is. Iterate over `places` first to hear how many are before it; iterating over the job itself
    waits in silence. It leaves the line when that iteration ends, or with `close()`. `visitor` has one place in the
    line, and `address` is where they come from.
    """

    def __init__(
        self,
        jobs: Scheduler,
        steps: Iterator[Any],
        kind: str = "",
        visitor: Hashable = None,
        address: Hashable = None,
    ) -> None:
        self._jobs, self._steps, self._kind, self._visitor, self._address = jobs, steps, kind, visitor, address
        self._iteration = self._run()
        self._begun = False
        self.computed = 0.0
        """Seconds that its own steps took; the turns of others don't count."""

    @property
    def is_over_time(self) -> bool:
        """Whether it has computed for as long as it may while others wait. Who is alone goes on."""
        return self.computed > LONGEST_RUN and self._jobs.others_wait()

    def places(self, stopped: Callable[[], bool] = lambda: False) -> Iterator[int]:
        """How many long jobs are before this one, until there is none; told as `seldom` does."""
        if not self._begun:
            yield from seldom(lambda: next(self._iteration), stopped)
        self._begun = True

    def __iter__(self) -> Iterator[Any]:
        for _ in self.places():
            pass
        yield from self._iteration

    def close(self) -> None:
        """End the job where it is."""
        self._iteration.close()

    def _run(self) -> Iterator[Any]:
        with self._jobs.line(self._visitor, self._address) as before:
            while place := before():
                yield place
            yield 0
            count, first = 0, 0.0
            try:
                while True:
                    with self._jobs.batch():
                        began = time.monotonic()
                        step = next(self._steps, None)
                        self.computed += time.monotonic() - began
                    if step is None:
                        return
                    count += 1
                    if count == 1:
                        first = self.computed  # it prepares the others, so it says nothing about them
                    else:
                        self._jobs.took(self._kind, (self.computed - first) / (count - 1))
                    yield step
            finally:
                self._steps.close()
