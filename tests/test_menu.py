"""The parts of the model menu that need no browser."""

import threading
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest

from pipeline import StyleCLIP
from pipeline.errors import UserError
from pipeline.models.registry import Row
from pipeline.models.sources import Source
from tests.visits import Visit, event_of, free_port, launch, open_page
from webapp import download_progress, process
from webapp.download_progress import arriving, megabytes
from webapp.jobs import CHANGED
from webapp.page import build
from webapp.panels.models import choices, families, offered

SOURCES = [
    Source(url="http://x/a", file="a.pt", size=3_000_000),
    Source(url="http://x/b", file="b.pt", about=1_000_000),
]


def row(name="x", **options):
    return Row(name=name, title=name.title(), licence="MIT", clip_normalize=False, **{"files": {}} | options)


@pytest.mark.parametrize("event", ["download", "change"])
def test_from_elsewhere_nothing_is_loaded_or_changed(event, studio):
    changed = []
    with open_page(build(studio, changed.append)) as built:
        visit = Visit(built, "elsewhere")
        visit.client.headers["X-Real-IP"] = "10.0.0.1"
        menu = [n for n, fn in built.fns.items() if fn.fn and fn.fn.__module__ == "webapp.panels.models"]
        (number,) = (n for n in menu if built.fns[n].fn.__name__ == event)
        body = {"fn_index": number, "data": [studio.family.name, True, None][: len(built.fns[number].inputs)]}
        visit.client.post(f"{visit.url}/queue/join", json=body | {"session_hash": "elsewhere"}).raise_for_status()
        visit.listen()
        assert "Only a browser on the computer" in str(visit.hear("process_completed")["output"])
        visit.leave()
    assert not changed


def test_files_arrive_one_after_the_other(monkeypatch):
    told, heard = threading.Event(), threading.Event()

    def fetch(source, progress):
        progress(source.name, 500_000, None)
        told.set()
        assert heard.wait(10)

    monkeypatch.setattr(download_progress, "fetch", fetch)
    monkeypatch.setattr(download_progress, "REDRAW_EVERY", 0.001)
    bars = arriving(SOURCES, lambda: False)
    next(bars)
    assert told.wait(10)
    assert "File 1 of 2, a.pt: 0 of 3 MB · 12% of 4 MB" in next(bars)
    heard.set()
    assert "b.pt" in [*bars, "b.pt"][-1]


def test_a_download_whose_visitor_left_ends(monkeypatch):
    ended = threading.Event()

    def fetch(source, progress):
        try:
            while True:
                progress(source.name, 1, 2)
        finally:
            ended.set()

    monkeypatch.setattr(download_progress, "fetch", fetch)
    bars = arriving(SOURCES, lambda: False)
    next(bars)
    bars.close()
    assert ended.wait(10)


def test_what_goes_wrong_with_a_download_is_told(monkeypatch):
    def fetch(source, progress):
        raise UserError("Please mend this.")

    monkeypatch.setattr(download_progress, "fetch", fetch)
    with pytest.raises(UserError, match="mend this"):
        list(arriving(SOURCES, lambda: False))


@pytest.mark.parametrize(("size", "words"), [(1, "1 MB"), (12_386_432, "12 MB"), (1_930_000_000, "1.9 GB")])
def test_sizes_are_for_people(size, words):
    assert megabytes(size) == words


def test_the_list_says_what_a_family_takes(tmp_path, monkeypatch):
    here = tmp_path / "here.pt"
    here.touch()
    rows = {
        "in_use": row("in_use", files={"generator": Source(path=here)}),
        "here": row("here", files={"generator": Source(path=here)}),
        "lost": row("lost", files={"generator": Source(path=tmp_path / "lost.pt")}),
        "far": row("far", files=dict(zip(("generator", "clip"), SOURCES, strict=True)), terms="Be kind."),
        "custom": row("custom", files={"clip": SOURCES[1]}),
    }
    monkeypatch.setattr("webapp.panels.models.read_registry", lambda: rows)
    current = rows["in_use"]
    said = {name: words.split("\n")[1] for words, name in choices(current)}
    assert said == {
        "in_use": "in use · MIT",
        "here": "on this machine · MIT",
        "lost": "a file is missing · MIT",
        "far": "4 MB to download · MIT",
    }
    assert "custom" not in families(current)
    terms, agree, use, *_ = offered(rows["far"], current)
    assert "Be kind." in terms and agree["visible"] and not use["interactive"]
    terms, agree, use, *_ = offered(rows["here"], current)
    assert terms == "" and not agree["visible"] and use["interactive"]


def test_who_opened_the_page_before_the_model_was_changed_is_told_so(studio):
    """By events that wait in the queue and by those that don't; whoever comes now gets the new model."""
    page = build(studio)
    launch(page, free_port())
    before = Visit(page, "before")
    page.successor = build(StyleCLIP(replace(studio.family, encoder=None)))
    url, fresh = page.local_url, process.succeeded(page, launch)
    try:
        assert fresh.local_url == url and not page.is_running
        said = before.join(event_of(fresh, "move"), "old face", "face", 2.0, [], 20, 0.1)
        assert said.status_code == 409 and said.json()["detail"] == CHANGED
        body = {"fn_index": event_of(fresh, "choose"), "data": [0], "session_hash": "before"}
        assert before.client.post(f"{before.url}/run/predict", json=body).status_code == 409
        now = Visit(fresh, "now")
        assert now.join(event_of(fresh, "move"), "old face", "face", 2.0, [], 20, 0.1).is_success
        now.listen()
        assert now.hear("process_completed")["success"]
    finally:
        fresh.close(verbose=False)


def test_what_runs_when_the_model_is_changed_ends_with_a_sentence(studio):
    page = build(studio)
    launch(page, free_port())
    runs, waits = Visit(page, "runs"), Visit(page, "waits")
    for visit in (runs, waits):
        assert visit.join(event_of(page, "optimize"), "a face with glasses", "This face", 300, 0.01, 0.01).is_success
        visit.listen()
        visit.hear("process_generating", 2)
    page.successor = build(studio)
    fresh = process.succeeded(page, launch)
    fresh.close(verbose=False)
    for visit in (runs, waits):
        told = visit.hear("process_completed")
        assert not told["success"] and told["output"]["error"] == CHANGED


@pytest.mark.parametrize("failures", [3, 10**6])
def test_a_port_that_another_program_takes_while_the_model_is_changed(tmp_path, monkeypatch, failures):
    """The studio tries again; where the port stays taken it ends with a sentence, and clears its files."""
    (tmp_path / ("0" * 16)).mkdir()
    ended, tries, fresh = [], [], SimpleNamespace(is_running=False, successor=None)
    state = SimpleNamespace(state_holder=SimpleNamespace(outdate=lambda: None))
    page = SimpleNamespace(is_running=True, successor=fresh, server_port=7860, end=ended.append, app=state)

    def taken(page, server_port):
        tries.append(server_port)
        if len(tries) <= failures:
            raise OSError("Cannot find empty port in range: 7860-7860.")

    monkeypatch.setattr(process.time, "sleep", lambda _: None)
    failed = (
        pytest.raises(process.StartError, match="Another program took port 7860") if failures > 3 else nullcontext()
    )
    with failed:
        process.serve_until_stopped(page, taken, tmp_path, lambda: True)
    assert ended == [CHANGED] and tries == [7860] * min(failures + 1, process.TRIES) and not list(tmp_path.iterdir())
