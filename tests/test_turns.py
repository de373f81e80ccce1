"""Who computes when: one at a time, and edits before what takes minutes."""

import threading

from webapp.turns import Turns


def test_long_work_waits_until_no_edit_computes_or_waits():
    turns, order, begun = Turns(), [], threading.Event()

    def edit(name):
        with turns.edit():
            order.append(name)

    def train():
        begun.set()
        with turns.between():
            order.append("training")

    with turns.edit():
        long = threading.Thread(target=train)
        long.start()
        begun.wait()
        edits = [threading.Thread(target=edit, args=(name,)) for name in ("first", "second")]
        for thread in edits:
            thread.start()
        while turns._edits < 3:  # both wait behind this one
            pass
        assert order == []
    for thread in (long, *edits):
        thread.join()
    assert set(order[:2]) == {"first", "second"} and order[2] == "training"


def test_a_turn_ends_with_its_failure():
    turns = Turns()
    for turn in (turns.edit, turns.between, turns.edit):
        try:
            with turn():
                raise ValueError
        except ValueError:
            pass
    with turns.between():
        pass
