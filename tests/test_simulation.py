"""The simulation of many GPUs: a lone visitor waits for nobody, and what is added up is right."""

from dataclasses import replace

import pytest

from benchmarks import simulation
from benchmarks.simulation import DRAWN, PHOTO, Replica, capacity, on_gpu, p95

GPU = on_gpu(PHOTO, 20.0)


def test_a_lone_visitor_waits_for_the_work_alone():
    waited = Replica(GPU, 1, 0.0).run()
    for kind, seconds in {"edit": GPU.edit, "invert": GPU.invert, "optimize": GPU.steps * GPU.step}.items():
        assert waited[kind] == pytest.approx([seconds + GPU.page] * len(waited[kind])) and waited[kind]
    assert waited["align"] == pytest.approx([PHOTO.align + GPU.page] * len(waited["align"]))  # which no GPU does


def test_edits_that_wait_together_are_made_together():
    assert GPU.edit + 7 * GPU.more == pytest.approx(2 * GPU.edit) and GPU.together == 8
    quick = replace(GPU, page=0.0, step=0.0, invert=0.0, align=0.0)
    slow = replace(quick, more=quick.edit, together=1)
    assert p95(quick, 150)["edit"] < p95(slow, 150)["edit"]


def test_more_visitors_wait_for_longer_and_too_many_for_ever():
    waits = [p95(GPU, visitors)["optimize"] for visitors in (1, 20, 100)]
    assert waits == sorted(waits) and waits[0] < waits[2]
    assert p95(GPU, simulation.MOST + 1) == {"edit": float("inf"), "optimize": float("inf")}


def test_a_page_process_answers_no_more_than_it_has_time_for():
    waited = Replica(replace(GPU, step=0.0, edit=0.0, more=0.0, invert=0.0, align=0.0), 100, 0.1).run()
    answered = sum(map(len, waited.values())) / (simulation.SECONDS - simulation.WARM)
    assert answered == pytest.approx(10, rel=0.05)


def test_as_many_as_fit_are_within_the_aims_and_a_few_more_are_not():
    fits = capacity(GPU)
    assert all(p95(GPU, fits)[kind] <= aim for kind, aim in simulation.AIMS.items())
    assert any(p95(GPU, 2 * fits)[kind] > aim for kind, aim in simulation.AIMS.items())


def test_the_check_stands_beside_what_was_measured(capsys):
    simulation.check()
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split(" | ")[1] for row in rows] == ["1.65 s, 2.80 s", "3.66 s, 6.29 s", "21.37 s, 34.14 s"]
    assert DRAWN.page == 0.0
