"""What a crowd may ask for at once: groups of events with slots of their own, and the order in which events start."""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import logging
import os
import time
from collections import Counter
from typing import Any, NamedTuple

import gradio as gr
from fastapi import HTTPException, Request
from gradio.block_function import BlockFunction
from gradio.context import LocalContext
from gradio.data_classes import PredictBodyInternal
from gradio.queueing import Event, Queue
from gradio.server_messages import EventMessage, ProcessCompletedMessage
from starlette.middleware import Middleware

from webapp import monitoring
from webapp.request_limits import RequestLimits, address_of


def _group(name: str, slots: int) -> dict[str, Any]:
    return {"concurrency_limit": slots, "concurrency_id": name, "show_progress": "hidden"}


EDIT = _group("edit", min(32, max(8, 4 * (os.cpu_count() or 1))))
PHOTO = _group("photo", 16)
SERIES = _group("series", 4)
LONG = _group("long", 120)
IDLE = _group("idle", 40)
"""The queue settings of an event say in which group it runs. A group has so many slots, each with a thread; an event of
one group never takes a slot of another. `webapp.jobs` then says whose turn it is to compute. Why there are five:

- `EDIT`: one picture in one pass. Nothing in it waits for anything but its turn, so it is never locked. What runs at
  once shares the cores, so the slots are few: whoever comes shares them with what has a slot, not with all that waits.
  A visitor's edits are made one after the other, in the order in which they were asked for: each builds on the picture
  before.
- `PHOTO`: an upload, an example, a random face, putting a face back. Pictures that take long to read lock no edits, and
  jobs that wait lock no uploads.
- `SERIES`: the grid, GIF and MP4. Each draws many pictures, so that more at a time would slow everybody's edits.
- `LONG`: what waits for minutes: jobs in the line, trainings, downloads, a change of the model. Everybody's job has a
  slot here, because a job that waits says how many are before it.
- `IDLE`: what nobody asked for and nobody waits for, the gallery of mappers. It computes when nothing else does, so it
  may hold its slot for as long as others compute."""

THREADS = 256  # for all slots together, and for the short events that do not queue

SLOTS_OF_SESSION = {"edit": 1, "idle": 1}  # in a group; in the others:
OTHER_SLOTS_OF_SESSION = 4
SHARE_OF_ADDRESS = 0.25  # of a group's slots: as many edits as there are cores, the long jobs of a school class
WAITING_OF_SESSION = 20  # events
WAITING = 200  # events; beyond them the address that has the most gives way
LOOK_EVERY = 0.01  # seconds, where Gradio looks a thousand times a second for what may start
PATIENCE = 3.0  # seconds that running jobs have to end with a sentence before the page ends
UNHEARD_SECONDS = 60.0  # a program may join by one request and listen by the next

BUSY = "Too much is waiting here already; please try again in a moment."
TOO_MANY = "You have asked for too much at once; please wait for the answers."


def _visitor(request: Request, session: str) -> str | None:
    """Whose request it is: the session's. None for one that came through Gradio's MCP server, where all users share a
    session."""
    return None if request.headers.get("x-gradio-user") == "mcp" else session


_asked = itertools.count()


def asked_now() -> int:
    """When the event that is being handled by this thread was asked for: a number, higher than those of all before it.
    Events that are asked for one after the other may begin in another order."""
    request = LocalContext.request.get(None)
    number = getattr(request.state, "asked", None) if request else None
    return next(_asked) if number is None else number


def caller_now() -> tuple[str, str | None]:
    """The address and the visitor of the event that is being handled by this thread; the latter None where it is
    nobody's."""
    request = LocalContext.request.get(None)
    if not request:
        return "", None
    return address_of(request), _visitor(request, request.session_hash) if request.session_hash else None


class _Messages(asyncio.Queue):
    """What is told to one session. Tells `listened` each time that somebody waits for a message."""

    def __init__(self, listened: Any) -> None:
        super().__init__()
        self._listened = listened
        self.open = False
        """Whether a stream reads these messages."""

    async def get(self) -> Any:
        self.open = True
        self._listened()
        return await super().get()


def _name(fn: BlockFunction | None) -> str:
    """What an event is called in the code; an endpoint by its address."""
    if fn is None:
        return "unknown"
    return fn.api_name if fn.api_visibility == "public" else getattr(fn.fn, "__name__", "unknown")


class _Caller(NamedTuple):
    visitor: str
    address: str


def _caller(event: Event) -> _Caller:
    """Who asked for an event; noted with it, because it is looked at each time that an event may start."""
    if not hasattr(event, "caller"):
        visitor = _visitor(event.request, event.session_hash) or event._id
        event.caller = _Caller(visitor, address_of(event.request))
    return event.caller


class FairQueue(Queue):
    """Gradio's queue, with bounds for each session and each address.

    An event starts only once its session's stream is open; what nobody has listened to for a minute is dropped. Of
    those that wait, the event of the session with the fewest that run goes first, then of the address with the fewest,
    then the oldest. Where too many wait, the address that has the most of them gives way to others.
    """

    def __init__(self, blocks: gr.Blocks) -> None:
        super().__init__(live_updates=True, concurrency_count=THREADS, update_intervals=1, max_size=None, blocks=blocks)
        self.sleep_when_free = LOOK_EVERY
        self._unheard: dict[str, Event] = {}
        self._closed = ""
        """Why no event may join any more."""
        self._loop: asyncio.AbstractEventLoop | None = None

    async def push(self, body: PredictBodyInternal, request: Request, username: str | None) -> tuple[Any, Any, Any]:
        """Let an event wait. Raises HTTPException with a sentence: 429 where too many wait already, 410 after
        `close_with`."""
        try:
            return await self._push(body, request, username)
        except HTTPException:
            monitoring.ended(_name(self.blocks.fns.get(body.fn_index)), 0.0, "refused")
            raise

    async def _push(self, body: PredictBodyInternal, request: Request, username: str | None) -> tuple[Any, Any, Any]:
        if self._closed:
            raise HTTPException(410, self._closed)
        request.state.asked = next(_asked)
        self._loop = asyncio.get_running_loop()
        session, address = body.session_hash, address_of(request)
        waiting = self.waiting()
        own = [event for event in waiting if session and _caller(event).visitor == _visitor(request, session)]
        if len(own) >= WAITING_OF_SESSION:
            raise HTTPException(429, TOO_MANY)
        if len(waiting) >= WAITING:
            await self._make_room(waiting, address)
        if session and session not in self.pending_messages_per_session:
            self.pending_messages_per_session[session] = _Messages(lambda: self._heard(session))
        if session:
            self.pending_messages_per_session.move_to_end(session)  # Gradio drops the first of 2,000
            if not self.pending_event_ids_session.get(session):
                self.pending_messages_per_session[session].open = False  # the stream closed with the last event
        answer = await super().push(body, request, username)
        if answer[0] is True:
            self._await_listener(self.event_ids_to_events[answer[1]])
        return answer

    def waiting(self) -> list[Event]:
        """What has not started: what nobody listens to yet, and then the rest, each the oldest first."""
        groups = self.event_queue_per_concurrency_id.values()
        return [*self._unheard.values(), *(event for group in groups for event in group.queue)]

    async def _make_room(self, waiting: list[Event], address: str) -> None:
        """Drop an event of the address that has the most, among which one more of `address` counts: one that nobody
        listens to, which may have been sent to fill the queue, or else its newest. Raises HTTPException where that is
        the one more."""
        count = Counter(_caller(event).address for event in waiting)
        count[address] += 1
        fullest = address if count[address] == max(count.values()) else count.most_common(1)[0][0]
        crowd = [event for event in waiting if _caller(event).address == fullest]
        silent = [event for event in crowd if event._id in self._unheard]
        if not silent and fullest == address:
            raise HTTPException(429, BUSY)
        event = silent[0] if silent else max(crowd, key=lambda event: event.enqueue_time)
        self._tell([event], BUSY)  # also who opens the stream only now is told
        monitoring.ended(_name(event.fn), time.monotonic() - event.enqueue_time, "refused")
        if self._unheard.pop(event._id, None):
            asyncio.get_running_loop().call_later(UNHEARD_SECONDS, self._forget, event)
        else:
            await super().remove_from_queue(event._id)

    def _await_listener(self, event: Event) -> None:
        """Put an event aside until its session's stream is open."""
        session = event.session_hash
        messages = self.pending_messages_per_session[session]
        if not isinstance(messages, _Messages):  # the event brought no session, so that Gradio made one up
            messages = _Messages(lambda: self._heard(session))
            self.pending_messages_per_session[session] = messages
        queue = self.event_queue_per_concurrency_id[event.concurrency_id].queue
        if not messages.open and event in queue:
            queue.remove(event)
            self._unheard[event._id] = event
            asyncio.get_running_loop().call_later(UNHEARD_SECONDS, self._drop, event._id)

    def _heard(self, session: str) -> None:
        for event in [event for event in self._unheard.values() if event.session_hash == session]:
            del self._unheard[event._id]
            self.event_queue_per_concurrency_id[event.concurrency_id].queue.append(event)

    def _drop(self, event_id: str) -> None:
        if event := self._unheard.pop(event_id, None):
            self._forget(event)

    def _forget(self, event: Event) -> None:
        """Keep nothing of an event that did not start."""
        self.event_ids_to_events.pop(event._id, None)
        ids = self.pending_event_ids_session.get(event.session_hash, set())
        ids.discard(event._id)
        if not ids:
            self.pending_event_ids_session.pop(event.session_hash, None)
            self.pending_messages_per_session.pop(event.session_hash, None)

    async def remove_from_queue(self, event_id: str) -> None:
        """Take out an event that was cancelled before it started."""
        self._drop(event_id)
        await super().remove_from_queue(event_id)

    async def clean_events(self, *, session_hash: str | None = None, event_id: str | None = None) -> None:
        """End the events of a stream that was closed."""
        await super().clean_events(session_hash=session_hash, event_id=event_id)
        messages = self.pending_messages_per_session.get(session_hash)
        if isinstance(messages, _Messages):
            messages.open = False

    def get_events(self) -> tuple[list[Event], bool, str] | None:
        """The next event that may start, its `batch`, which no event here has, and its group."""
        running = [event for job in self.active_jobs if job for event in job]
        for name, group in self.event_queue_per_concurrency_id.items():
            if not group.queue or group.current_concurrency >= (limit := group.concurrency_limit or THREADS):
                continue
            here = [event for event in running if event.concurrency_id == name]
            visitors = Counter(_caller(event).visitor for event in here)
            addresses = Counter(_caller(event).address for event in here)
            most = max(1, int(SHARE_OF_ADDRESS * limit))
            own = SLOTS_OF_SESSION.get(name, OTHER_SLOTS_OF_SESSION)
            able = [
                (visitors[_caller(event).visitor], addresses[_caller(event).address], number)
                for number, event in enumerate(group.queue)
            ]
            able = [order for order in able if order[0] < own and order[1] < most]
            if able:
                event = group.queue.pop(min(able)[2])
                return [event], False, name
        return None

    async def process_events(self, events: list[Event], *args: Any) -> None:
        """Run an event, and count it."""
        await super().process_events(events, *args)
        for event in events:
            outcome = getattr(event, "outcome", "left")
            monitoring.ended(_name(event.fn), time.monotonic() - event.enqueue_time, outcome)

    def send_message(self, event: Event, event_message: EventMessage) -> None:
        """Tell a session something of an event, and note how the event ended."""
        if isinstance(event_message, ProcessCompletedMessage) and event.alive:
            event.outcome = "done" if event_message.success else "failed"
        super().send_message(event, event_message)

    def counts(self) -> dict[str, tuple[int, int]]:
        """Of each group, how many events wait and how many run."""
        waiting = Counter(event.concurrency_id for event in self.waiting())
        groups = self.event_queue_per_concurrency_id.items()
        return {name: (waiting[name], group.current_concurrency) for name, group in groups}

    def close_with(self, why: str) -> None:
        """Let no event join or start any more, and tell those that wait why."""
        self._closed = why
        groups = self.event_queue_per_concurrency_id.values()
        waiting = self.waiting()
        for group in groups:
            group.queue.clear()
        self._unheard.clear()
        self._tell(waiting, why)

    def tell_everybody(self) -> None:
        """Tell all events that still run the same, after `close_with`."""
        self._tell([event for job in self.active_jobs if job for event in job], self._closed)

    def _tell(self, events: list[Event], why: str) -> None:
        for event in events:
            said = {"error": why, "title": "Error", "visible": True, "duration": 10}
            message = ProcessCompletedMessage(output=said, success=False)
            self._loop.call_soon_threadsafe(self.send_message, event, message)

    def broadcast_estimations(self, concurrency_id: str, after: int | None = None) -> None:
        """Tell an event that has just joined, and not all that wait each time that one starts: the page shows none of
        it."""
        if after is not None:
            super().broadcast_estimations(concurrency_id, after)

    def compute_analytics_summary(self, records: Any) -> dict[str, Any]:
        """Nothing: Gradio would go through its last 10,000 events after each one, for a page that is switched off."""
        return self.cached_event_analytics_summary


class Page(gr.Blocks):
    """A page whose events wait in a `FairQueue`, cannot be called around it, and come in requests of bounded size."""

    def __init__(self, studio: Any = None, **options: Any) -> None:
        super().__init__(**options)
        self.studio = studio
        """The `ModelHandle` that its events use."""
        self.successor: Page | None = None
        """The page that shall be served in place of this one."""

    def queue(self, *args: Any, **options: Any) -> Page:
        super().queue(*args, **options | {"api_open": False})
        self._queue = FairQueue(self)
        return self

    def launch(self, *args: Any, app_kwargs: dict[str, Any] | None = None, **options: Any) -> Any:
        """Serve it, as `gr.Blocks.launch` does."""
        limits = {"middleware": [Middleware(RequestLimits)], "routes": [*monitoring.ROUTES]}
        # Not `_frontend`: Gradio would ask its own page and give up where a loaded machine takes seconds to answer.
        options |= {"app_kwargs": limits | (app_kwargs or {}), "max_threads": THREADS, "_frontend": False}
        return super().launch(*args, **options)

    def end(self, why: str) -> None:
        """Serve it no more. Jobs stop at their next step, for which they have a few seconds; visitors are told why."""
        self.studio.jobs.stop(why)
        self._queue.close_with(why)
        end = time.monotonic() + PATIENCE
        while self._queue.get_active_worker_count() and time.monotonic() < end:
            time.sleep(0.05)
        self._queue.tell_everybody()
        time.sleep(0.3)  # for the sentences to be sent
        self.server.config.timeout_graceful_shutdown = 1
        before = logging.root.manager.disable
        logging.disable(logging.CRITICAL)  # what is cut off now is not worth a traceback
        with contextlib.redirect_stderr(io.StringIO()):
            self.close(verbose=False)
        logging.disable(before)
        self.studio.release()
