"""Calls of several threads at once become one, and each gets its own answer."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pipeline.batching import MicroBatcher


def test_who_waits_is_taken_along():
    batches, begun, go = [], threading.Event(), threading.Event()

    def work(items):
        batches.append(list(items))
        begun.set()
        go.wait(10)
        return [10 * item for item in items]

    together = MicroBatcher(work, 3)
    with ThreadPoolExecutor(6) as threads:
        first = threads.submit(together, 0)
        begun.wait(10)
        others = [threads.submit(together, item) for item in range(1, 6)]
        while len(together._waiting) < 5:
            pass
        go.set()
        assert first.result(10) == 0 and [other.result(10) for other in others] == [10, 20, 30, 40, 50]
    assert [len(batch) for batch in batches] == [1, 3, 2]


def test_a_failure_ends_and_the_next_call_works():
    together = MicroBatcher(lambda items: [1 / item for item in items], 3)
    with pytest.raises(ZeroDivisionError):
        together(0)
    assert together(2) == 0.5


def test_who_fails_does_not_fail_the_others():
    begun, go = threading.Event(), threading.Event()

    def work(items):
        begun.set()
        go.wait(10)
        return [1 / item for item in items]

    together = MicroBatcher(work, 3)
    with ThreadPoolExecutor(4) as threads:
        first = threads.submit(together, 1)
        begun.wait(10)
        others = [threads.submit(together, item) for item in (2, 0, 4)]
        while len(together._waiting) < 3:
            pass
        go.set()
        assert first.result(10) == 1
        assert [type(other.exception(10)) for other in others] == [type(None), ZeroDivisionError, type(None)]
        assert [others[0].result(), others[2].result()] == [0.5, 0.25]


def test_pictures_of_several_threads_are_those_of_one(studio, monkeypatch):
    monkeypatch.setattr(studio._draw, "most", 4)  # as on a GPU
    latents = [studio.sample(seed) for seed in range(6)]
    alone = [np.asarray(studio.image(latent), dtype=int) for latent in latents]
    with ThreadPoolExecutor(6) as threads:
        together = [np.asarray(image, dtype=int) for image in threads.map(studio.image, latents)]
    assert all(np.abs(a - b).max() <= 1 for a, b in zip(alone, together, strict=True))
