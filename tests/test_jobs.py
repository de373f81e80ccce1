"""Who computes when: long jobs in line, short edits between their steps and together, training last."""

import contextlib
import threading

import pytest

from pipeline.errors import UserError
from webapp import jobs
from webapp.jobs import LongJob, Scheduler


def begin(work):
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def until(scheduler, count, kind):
    """Wait until so many tickets of a kind wait."""
    for _ in range(100_000):
        if sum(ticket.kind == kind for ticket in scheduler._waiting) >= count:
            return
        threading.Event().wait(0.0001)
    pytest.fail("never")


def test_training_waits_until_nobody_computes_or_waits():
    scheduler, order = Scheduler(), []

    def edit(name):
        with scheduler.interactive():
            order.append(name)

    def train():
        with scheduler.background():
            order.append("training")

    with scheduler.batch():
        threads = [begin(train), begin(lambda: edit("first")), begin(lambda: edit("second"))]
        until(scheduler, 2, "interactive")
        assert order == []
    for thread in threads:
        thread.join(10)
    assert set(order[:2]) == {"first", "second"} and order[2] == "training"


def test_a_training_can_tell_that_others_compute_or_stand_in_line():
    scheduler = Scheduler()

    def is_free():
        with scheduler.background(0) as mine:
            return mine

    assert is_free()
    for taken in (scheduler.interactive, scheduler.batch, scheduler.background, scheduler.line):
        with taken():
            assert not is_free()
        assert is_free()


def test_edits_that_wait_compute_together():
    scheduler, meeting = Scheduler(), threading.Barrier(3)

    def edit():
        with scheduler.interactive():
            meeting.wait(10)  # broken unless all three are in

    with scheduler.batch():
        threads = [begin(edit) for _ in range(3)]
        until(scheduler, 3, "interactive")
    for thread in threads:
        thread.join(10)
    assert not meeting.broken


def test_edits_go_between_the_steps_of_a_long_job_and_cannot_starve_it():
    scheduler, order, asked = Scheduler(), [], threading.Event()

    def steps():
        for index in range(3):
            order.append(index)
            if index == 0:
                asked.set()
                until(scheduler, 1, "interactive")
            yield index

    def edit():
        asked.wait(10)
        with scheduler.interactive():
            order.append("edit")

    thread = begin(edit)
    assert list(LongJob(scheduler, steps())) == [0, 1, 2]
    thread.join(10)
    assert order == [0, "edit", 1, 2]


def test_an_edit_that_comes_while_a_step_waits_for_others_goes_after_it():
    scheduler, order = Scheduler(), []

    def wait(turn, name):
        with turn():
            order.append(name)

    with scheduler.interactive():
        threads = [begin(lambda: wait(scheduler.batch, "step"))]
        until(scheduler, 1, "batch")
        threads.append(begin(lambda: wait(scheduler.interactive, "late edit")))
        until(scheduler, 1, "interactive")
        assert order == []
    for thread in threads:
        thread.join(10)
    assert order == ["step", "late edit"]


def test_steps_go_as_they_came_and_once_a_round():
    """Not a round of edits for each of them; and a long job, which wants to go again at once, goes behind them."""
    scheduler, order = Scheduler(), []

    def wait(turn, name, again=0):
        for _ in range(1 + again):
            with turn():
                order.append(name)

    with scheduler.batch():
        threads = []
        for number, name in enumerate(("job", "first", "second", "third"), 1):
            threads.append(begin(lambda name=name: wait(scheduler.batch, name, again=name == "job")))
            until(scheduler, number, "batch")
        threads.append(begin(lambda: wait(scheduler.interactive, "edit", again=1)))
        until(scheduler, 1, "interactive")
    for thread in threads:
        thread.join(10)
    assert order[:5] == ["edit", "job", "first", "second", "third"] and sorted(order[5:]) == ["edit", "job"]


def test_long_jobs_stand_in_line_and_who_leaves_makes_room():
    scheduler = Scheduler()
    first, second, third = (LongJob(scheduler, (letter for letter in "ab")) for _ in range(3))
    running = iter(first)
    assert next(running) == "a"
    assert next(second.places()) == 1
    waiting = third.places()
    assert next(waiting) == 2
    second.close()
    assert next(waiting) == 1
    running.close()
    assert list(waiting) == [] and list(third) == ["a", "b"]


def test_one_address_with_many_visitors_leaves_the_line_open_for_others():
    scheduler, told = Scheduler(), {}
    with contextlib.ExitStack() as running, contextlib.ExitStack() as others:
        running.enter_context(scheduler.line("crowd 0", "10.0.0.1"))
        for number in range(1, 6):
            told[f"crowd {number}"] = others.enter_context(scheduler.line(f"crowd {number}", "10.0.0.1"))
        for name, address in (("second", "10.0.0.2"), ("again", "10.0.0.2"), ("third", "10.0.0.3")):
            told[name] = others.enter_context(scheduler.line(name, address))
        order = ["second", "third", "crowd 1", "again", "crowd 2", "crowd 3", "crowd 4", "crowd 5"]
        assert [job.visitor for job in scheduler._line[1:]] == order
        assert told["second"]() == 1 and told["third"]() == 2
        running.close()
        assert told["second"]() == 0
        others.enter_context(scheduler.line("late", "10.0.0.4"))  # behind the round that began before
        assert [job.visitor for job in scheduler._line[:4]] == ["second", "third", "late", "crowd 1"]


def test_a_visitor_who_stops_a_job_may_begin_the_next_at_once(monkeypatch):
    scheduler, held, go = Scheduler(), threading.Event(), threading.Event()

    def first():
        with scheduler.line("visitor"):
            held.set()
            go.wait(10)

    thread = begin(first)
    assert held.wait(10)
    monkeypatch.setattr(jobs, "PATIENCE", 0.0)
    with pytest.raises(UserError, match="a long job in line"), scheduler.line("visitor"):
        pass
    monkeypatch.setattr(jobs, "PATIENCE", 10.0)
    go.set()
    with scheduler.line("visitor") as before:
        assert before() == 0
    thread.join(10)


def test_the_next_place_is_for_who_has_fewest_however_many_pictures_one_address_sends():
    scheduler, served, room, changed = Scheduler(), [], threading.Semaphore(0), threading.Semaphore(0)

    def reads(*caller):
        with scheduler.photo(*caller):
            served.append(caller)
            changed.release()
            room.acquire()

    threads = [begin(lambda number=number: reads("10.0.0.1", number)) for number in range(2)]
    for _ in threads:
        assert changed.acquire(timeout=10)
    for number in range(2, 8):
        threads.append(begin(lambda number=number: reads(f"10.0.0.{1 + number // 6}", number)))
        until(scheduler, number - 1, "photo")
    for _ in range(6):
        room.release()
        assert changed.acquire(timeout=10)
    room.release(2)
    for thread in threads:
        thread.join(10)
    assert served[2] == ("10.0.0.2", 6) and not scheduler._running and len(set(served)) == 8


def test_who_leaves_the_line_of_trainings_makes_room(monkeypatch):
    monkeypatch.setattr(jobs, "LOOK_EVERY", 0.0)
    scheduler = Scheduler()
    with scheduler.training() as first, scheduler.training() as third:
        with scheduler.training() as second:
            assert not first() and second() and third()
        assert not scheduler._of("training", scheduler._running + scheduler._waiting)[2:]
    with scheduler.training() as waits:
        assert not waits()


@pytest.mark.parametrize("turn", ["interactive", "batch", "background", "photo", "training", "line"])
def test_a_turn_ends_with_its_failure(turn):
    scheduler = Scheduler()
    with pytest.raises(ValueError), getattr(scheduler, turn)():
        raise ValueError
    with scheduler.background():
        pass


def test_nobody_waits_for_ever_whatever_comes_and_fails():
    """Many threads take turns of every kind, some of which fail; all of them end, and nothing is left."""
    scheduler, ended = Scheduler(), []

    def visitor(number):
        for turn in range(60):
            kind = (number + turn) % 5
            with contextlib.suppress(ValueError, UserError):
                if kind == 0:
                    list(LongJob(scheduler, iter_steps(2), visitor=number, address=number % 3))
                    continue
                names = ("interactive", "batch", "photo", "training")
                with getattr(scheduler, names[kind - 1])():
                    if turn % 7 == 0:
                        raise ValueError
            with scheduler.background(0.0):
                pass
        ended.append(number)

    threads = [begin(lambda number=number: visitor(number)) for number in range(12)]
    for thread in threads:
        thread.join(60)
    assert sorted(ended) == list(range(12))
    assert not (scheduler._waiting or scheduler._running or scheduler._batch_turns or scheduler._line)


def iter_steps(count):
    yield from range(count)


def test_the_cap_counts_what_the_job_itself_computes_and_only_while_others_wait(monkeypatch):
    clock = iter(range(10**6))
    monkeypatch.setattr(jobs.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(jobs, "LONGEST_RUN", 3.5)
    scheduler = Scheduler()
    job = LongJob(scheduler, iter_steps(10))
    steps = iter(job)
    for _ in range(3):
        next(steps)
        for _ in range(1000):  # the turns of others
            jobs.time.monotonic()
    assert job.computed == 3 and not job.is_over_time
    next(steps)
    assert job.computed == 4 and not job.is_over_time  # nobody waits
    with scheduler.line():
        assert job.is_over_time
    assert not job.is_over_time
    job.close()


def test_a_job_takes_as_many_steps_as_fit_while_others_wait(monkeypatch):
    clock = iter(range(0, 10**6, 6))
    monkeypatch.setattr(jobs.time, "monotonic", lambda: next(clock))
    scheduler = Scheduler()
    with scheduler.line():
        assert scheduler.fitting("optimize", 300) == 300  # nothing is known yet
    list(LongJob(scheduler, iter_steps(3), "optimize"))
    assert scheduler.fitting("optimize", 300) == 300  # nobody waits
    with scheduler.line():
        assert scheduler.fitting("optimize", 300) == 50 and scheduler.fitting("optimize", 20) == 20
        assert scheduler.fitting("generate", 300) == 300
    with scheduler.line("visitor"):  # the visitor's own job, which is about to end
        assert scheduler.fitting("optimize", 300, "visitor") == 300
        with scheduler.line("another"):
            assert scheduler.fitting("optimize", 300, "visitor") == 50
        scheduler.took("optimize", 0.0)  # where the clock is coarse
        assert scheduler.fitting("optimize", 300) == 300


def test_everything_that_waits_ends_with_a_sentence_when_the_studio_stops():
    scheduler, told = Scheduler(), []

    def wait(turn):
        try:
            with turn() as before:
                while before():
                    pass
        except UserError as error:
            told.append(str(error))

    turns = (scheduler.interactive, scheduler.batch, scheduler.background, scheduler.photo, scheduler.line)
    with scheduler.line(), scheduler.batch(), scheduler.photo(), scheduler.photo():
        waiting = [begin(lambda turn=turn: wait(turn)) for turn in turns]
        for kind in ("interactive", "batch", "background", "photo"):
            until(scheduler, 1, kind)
        scheduler.stop("Stopped.")
        for thread in waiting:
            thread.join(10)
    assert told == ["Stopped."] * 5
    with pytest.raises(UserError), scheduler.interactive():
        pass


def test_as_many_long_jobs_run_as_there_are_replicas_and_turns_are_left_to_these():
    scheduler, jobs = Scheduler(replicas=2), contextlib.ExitStack()
    # The second job of one address is in a later round than the first of another, and yet goes on once it has begun.
    for _ in range(2):
        assert jobs.enter_context(scheduler.line(address="one"))() == 0
    with scheduler.line(address="other") as third, scheduler.line(address="other") as fourth:
        assert third() == 1 and fourth() == 2 and scheduler.others_wait()
        jobs.close()
        assert third() == 0 and fourth() == 0 and not scheduler.others_wait()
        with scheduler.batch(), scheduler.batch(), scheduler.interactive(), scheduler.background(0) as mine:
            assert mine
