"""One call instead of several that come at once: small pictures are cheaper by the batch."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Item, Answer = TypeVar("Item"), TypeVar("Answer")


class _Call(Generic[Item, Answer]):
    def __init__(self, item: Item) -> None:
        self.item = item
        self.done = False
        self.answer: Answer | None = None
        self.error: BaseException | None = None


class MicroBatcher(Generic[Item, Answer]):
    """A function of one item, for any number of threads; `work` answers for up to `most` items at a time.

    Nobody waits for company: whoever finds `work` idle begins, and takes along those who are waiting by then.
    """

    def __init__(self, work: Callable[[Sequence[Item]], Sequence[Answer]], most: int) -> None:
        self.work, self.most = work, most
        self._waiting: deque[_Call[Item, Answer]] = deque()
        self._working = threading.Lock()

    def __call__(self, item: Item) -> Answer:
        """Raises what `work` raises for this item: where several fail together, each is tried alone."""
        call: _Call[Item, Answer] = _Call(item)
        self._waiting.append(call)
        with self._working:
            while not call.done:
                self._work()
        if call.error is not None:
            raise call.error
        return call.answer

    def _work(self) -> None:
        calls = [self._waiting.popleft() for _ in range(min(self.most, len(self._waiting)))]
        self._answer(calls)
        if len(calls) > 1 and calls[0].error is not None:  # all were too much for the memory, or one was at fault
            for call in calls:
                call.error = None  # with which goes what the failure still holds
            for call in calls:
                self._answer([call])
        for call in calls:
            call.done = True

    def _answer(self, calls: list[_Call[Item, Answer]]) -> None:
        try:
            for call, answer in zip(calls, self.work([call.item for call in calls]), strict=True):
                call.answer = answer
        except BaseException as error:
            for call in calls:
                call.error = error
