"""The visits that the server holds: how one begins, goes on after the page was loaded again, and ends.

A browser's tab keeps a secret that the server gave it. A page that is loaded again sends it and gets its visit back; a
page that held this visit before, in a tab that was duplicated, is told so. A page whose visit is over is told too, and
never gets the example in place of what its visitor made.
"""

from __future__ import annotations

import math
import secrets
import time
from collections import Counter
from copy import copy
from typing import Any
from weakref import WeakValueDictionary

import gradio as gr
from fastapi import HTTPException
from gradio import routes
from gradio.state_holder import SessionState, StateHolder

from webapp.jobs import CHANGED
from webapp.session import Session

MOST_EMPTY = 1000  # pages that hold nothing of a visitor
MOST_OF_ONE_ADDRESS = 200  # visits with pictures of their own
OVER = (
    "This visit is over: the server was started anew, or had no sign of you for an hour. "
    "Please reload the page to begin anew."
)
ELSEWHERE = "This visit goes on in another tab, which was opened from this one. Please reload the page to take it back."
TOO_MANY = "Too many visits with pictures have come from your network within an hour; please try again later."

_visits: WeakValueDictionary[str, Session] = WeakValueDictionary()
_outdated: set[str] = set()  # pages that were opened before the model was changed


def begin(first: Session) -> Session:
    """A new visit that starts with what `first` shows. The items, which nobody changes, are shared."""
    session = Session(example=first.example, cursor=first.cursor, model=first.model)
    session.secret = secrets.token_urlsafe(32)
    session.items, session.order = dict(first.items), [*first.order]
    session.undo_keys, session.photos = [*first.undo_keys], [*first.photos]
    session.thresholds = dict(first.thresholds)
    _visits[session.secret] = session
    return session


def start_over(session: Session, first: Session) -> Session:
    """A new visit in place of `session`, of the same visitor in the same page. What still runs for the old one ends;
    a training that waits for its turn ends when it begins."""
    fresh = begin(first)
    del _visits[fresh.secret]
    fresh.secret, fresh.page, fresh.address = session.secret, session.page, session.address
    fresh.mixing = session.mixing  # the page goes on showing what the pictures can be mixed with
    _visits[fresh.secret] = fresh
    for visit in (session, fresh):
        visit.stop = visit.cancel = True
        visit.likeness_stopped, visit.paintings_stopped = visit.likeness_runs, visit.paintings
        for shelf in visit.shelves.values():
            shelf.trainings_cancelled = shelf.trainings
    session.ended = True
    return fresh


def find(secret: str, model: str) -> Session | None:
    """The visit with this secret, if the server still holds it and it was made with this model."""
    session = _visits.get(secret)
    return session if session and session.model == model else None


class Page(SessionState):
    """What the server holds for one page that is open: its visit, and the components that its events have changed.

    Gradio's own class copies the description of the whole page, a quarter of a megabyte, and keeps every input.
    """

    def __init__(self, blocks: gr.Blocks, page: str) -> None:
        self.page = page
        self.blocks_config = self._everybodys = blocks.default_config
        self.config_values: dict[int, dict] = {}
        self.state_data: dict[int, Any] = {}
        self._state_ttl: dict[int, Any] = {}
        self.is_closed = False

    @property
    def session(self) -> Session | None:
        """The visit that this page holds."""
        found = [value for value in self.state_data.values() if isinstance(value, Session)]
        return found[0] if found and found[0].page == self.page else None

    @property
    def empty(self) -> bool:
        """Whether nothing of a visitor is lost with it."""
        return self.session is None or self.session.example

    def __getitem__(self, key: int) -> Any:
        block = self.blocks_config.blocks[key]
        if isinstance(block, gr.State) and isinstance(block.value, Session):
            if self.session is None:
                raise gr.Error(ELSEWHERE if self.state_data.get(key) else OVER, duration=None, print_exception=False)
            if self.session.example and _with_pictures(self.session.address) >= MOST_OF_ONE_ADDRESS:
                raise gr.Error(TOO_MANY, print_exception=False)
        return super().__getitem__(key)

    def __setitem__(self, key: int, value: Any) -> None:
        if isinstance(self.blocks_config.blocks.get(key), gr.State):
            self.state_data[key] = value
            return
        if self.blocks_config is self._everybodys:
            self.blocks_config = copy(self._everybodys)
        self.blocks_config.blocks[key] = value

    def _update_config(self, key: int) -> None:
        """Nothing is kept for links to the page as it stands, which this page doesn't offer."""

    def _update_value_in_config(self, key: int, value: Any) -> None:
        """The same."""


def seconds() -> float:
    """Seconds by a clock that nobody sets, and that goes on while the machine sleeps, as the age of files does."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def _with_pictures(address: str) -> int:
    # `values()` fails while another thread begins a visit.
    sessions = [reference() for reference in _visits.valuerefs()]
    return sum(session.address == address and not session.example for session in sessions if session)


class Pages(StateHolder):
    """All pages that are open, by Gradio's session hash, with the time at which each was last used."""

    def __init__(self) -> None:
        super().__init__()
        self.used: dict[str, float] = {}
        """By `seconds`."""

    def __getitem__(self, page: str) -> Page:
        if page in _outdated:
            raise HTTPException(409, CHANGED)
        with self.lock:
            if page not in self.session_data:
                self._make_room()
                self.session_data[page] = Page(self.blocks, page)
            self.session_data.move_to_end(page)
            self.used[page] = seconds()
            return self.session_data[page]

    def outdate(self) -> None:
        """Let go of all pages, and refuse them from now on (HTTP 409): the model was changed."""
        with self.lock:
            _outdated.update(self.session_data)
            for page in list(self.session_data):
                self._drop(page)

    def _make_room(self) -> None:
        """Drop empty pages while there are `MOST_EMPTY`: those without a visit first, then those of the address that
        has the most, the one unused for longest first."""
        if len(self.session_data) < MOST_EMPTY:
            return
        empty = {page: state.session for page, state in self.session_data.items() if state.empty}
        count = Counter(session.address for session in empty.values() if session)
        first = sorted(empty, key=lambda page: -count[empty[page].address] if empty[page] else -math.inf)
        for page in first[: max(0, len(empty) - MOST_EMPTY + 1)]:
            self._drop(page)

    def _drop(self, page: str) -> None:
        del self.session_data[page]
        del self.used[page]

    def forget(self, age: float, age_of_empty: float) -> None:
        """Drop the pages that have been unused for `age` seconds, and those without a visit after `age_of_empty`."""
        with self.lock:
            now = seconds()
            for page, state in list(self.session_data.items()):
                if now - self.used[page] > (age if state.state_data else age_of_empty):
                    self._drop(page)

    def delete_all_expired_state(self) -> None:
        """Gradio drops the state of a closed page by the clock on the wall; `forget` does it by another one."""


def install() -> None:
    """Let every page that is launched in this process from now on hold its visits so."""
    routes.StateHolder = Pages
