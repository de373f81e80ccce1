"""Who computes when: long jobs in line, short edits between their steps and together, training last."""

import threading

import pytest

from webapp.turns import Run, Turns


def begin(work):
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_training_waits_until_nobody_computes_or_waits():
    turns, order = Turns(), []

    def edit(name):
        with turns.edit():
            order.append(name)

    def train():
        with turns.between():
            order.append("training")

    with turns.alone():
        threads = [begin(train), begin(lambda: edit("first")), begin(lambda: edit("second"))]
        while turns._waiting < 2:  # both behind this one
            pass
        assert order == []
    for thread in threads:
        thread.join(10)
    assert set(order[:2]) == {"first", "second"} and order[2] == "training"


def test_whoever_goes_last_can_tell_that_others_compute_or_stand_in_line():
    turns = Turns()
    assert turns.is_free(0)
    for taken in (turns.edit, turns.alone, turns.in_line):
        with taken():
            assert not turns.is_free(0)
        assert turns.is_free(0)


def test_edits_that_wait_compute_together():
    turns, meeting = Turns(), threading.Barrier(3)

    def edit():
        with turns.edit():
            meeting.wait(10)  # broken unless all three are in

    with turns.alone():
        threads = [begin(edit) for _ in range(3)]
        while turns._waiting < 3:
            pass
    for thread in threads:
        thread.join(10)
    assert not meeting.broken


def test_edits_go_between_the_steps_of_a_long_job_and_cannot_starve_it():
    turns, order, asked = Turns(), [], threading.Event()

    def steps():
        for index in range(3):
            order.append(index)
            if index == 0:
                asked.set()
                while not turns._waiting:
                    pass
            yield index

    def edit():
        asked.wait(10)
        with turns.edit():
            order.append("edit")

    thread = begin(edit)
    assert list(Run(turns, steps)) == [0, 1, 2]
    thread.join(10)
    assert order == [0, "edit", 1, 2]


def test_who_wants_to_be_alone_goes_as_they_came_and_once_a_round():
    """Not a round of edits for each of them; and a long job, which wants to again at once, goes behind them."""
    turns, order = Turns(), []

    def wait(turn, name, again=0):
        for _ in range(1 + again):
            with turn():
                order.append(name)

    with turns.alone():
        threads = []
        for number, name in enumerate(("job", "first", "second", "third"), 1):
            threads.append(begin(lambda name=name: wait(turns.alone, name, again=name == "job")))
            while len(turns._wanting) < number:
                pass
        threads.append(begin(lambda: wait(turns.edit, "edit", again=1)))
        while not turns._waiting:
            pass
    for thread in threads:
        thread.join(10)
    assert order[:5] == ["edit", "job", "first", "second", "third"] and sorted(order[5:]) == ["edit", "job"]


def test_long_jobs_stand_in_line_and_who_leaves_makes_room():
    turns = Turns()
    first, second, third = (Run(turns, lambda: (letter for letter in "ab")) for _ in range(3))
    running = iter(first)
    assert next(running) == "a"
    assert next(second.places()) == 1
    waiting = third.places()
    assert next(waiting) == 2
    second.close()
    assert next(waiting) == 1
    running.close()
    assert list(waiting) == [] and list(third) == ["a", "b"]


@pytest.mark.parametrize("turn", ["edit", "alone", "between"])
def test_a_turn_ends_with_its_failure(turn):
    turns = Turns()
    with pytest.raises(ValueError), getattr(turns, turn)():
        raise ValueError
    with turns.between():
        pass
