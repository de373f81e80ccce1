"""One call instead of several that come at once: small pictures are cheaper by the batch."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

Item, Answer = TypeVar("Item"), TypeVar("Answer")


class MicroBatcher(Generic[Item, Answer]):
    """A function of one item, for any number of threads; `work` answers for up to `most` items at a time.

    No call waits for others to come: a thread that finds `work` idle begins, together with the calls waiting by then.
    """

    def __init__(self, work: Callable[[Sequence[Item]], Sequence[Answer]], most: int) -> None:
        self.work, self.most = work, most
        self._waiting: deque[tuple[Item, Future[Answer]]] = deque()
        self._working = threading.Lock()

    def __call__(self, item: Item) -> Answer:
        """Raises what `work` raises for this item: where several fail together, each is tried alone."""
        call: tuple[Item, Future[Answer]] = item, Future()
        self._waiting.append(call)
        with self._working:
            while not call[1].done():
                self._work([self._waiting.popleft() for _ in range(min(self.most, len(self._waiting)))])
        return call[1].result()

    def _work(self, calls: list[tuple[Item, Future[Answer]]]) -> None:
        try:
            answered = list(zip(calls, self.work([item for item, _ in calls]), strict=True))
        except BaseException as error:
            if len(calls) == 1:
                return calls[0][1].set_exception(error)
        else:
            for (_, future), answer in answered:
                future.set_result(answer)
            return
        for call in calls:  # all were too much for the memory, or one was at fault
            self._work([call])
