"""Visits, over HTTP as a browser asks: they last, belong to one page and one browser, and their end is told."""

import datetime
import json
import os
import secrets
import sys
import threading
import time
from functools import partial

import gradio as gr
import pytest
from gradio import state_holder
from PIL import Image

from benchmarks.sessions import Page
from pipeline import StyleCLIP
from pipeline.wishes import Wish
from tests.pictures import EXAMPLES
from tests.programs import uploaded
from tests.visits import Visit, event_of, open_page
from webapp import cleanup, model_handle, visits
from webapp.error_messages import STARTED_OVER
from webapp.history import HistoryItem
from webapp.model_handle import ModelHandle
from webapp.page import build
from webapp.panels import training
from webapp.panels.gallery import MAPPER, Gallery
from webapp.panels.optimization import NO_FACE
from webapp.pictures import MOST_ITEMS
from webapp.session import Session


@pytest.fixture(scope="module")
def app(studio):
    with open_page(build(studio)) as page:
        yield page


@pytest.fixture
def page(app):
    return Page(app.local_url)


def come(page, secret=""):
    """Open the page; its session hash, the visit's secret, and whether a visit was over."""
    visit, event = secrets.token_hex(6), page.loaded()
    answer = page.call(event, visit, [secret])
    return visit, *answer[1:3]


def working(page, secret=""):
    visit, secret, _ = come(page, secret)
    page.call(page.event("random", "click"), visit)
    return visit, secret


def refusal(page, elem_id, visit):
    """What a visitor is told by a button that can't do anything for them."""
    event = page.event(elem_id, "click")
    body = {"fn_index": event["id"], "session_hash": visit, "data": [None] * len(event["inputs"])}
    answer = page.client.post("/gradio_api/run/predict", json=body)
    assert answer.status_code == 500
    return answer.json()["error"]


def test_a_visit_goes_on_in_the_page_that_knows_its_secret_and_nowhere_else(page):
    visit, secret = working(page)
    page.call(page.event("random", "click"), visit)
    assert len(secret) > 40
    for wrong in ("", "0" * 43, secret[:-1], visit):
        other, new, over = come(page, wrong)
        assert new != secret and over == bool(wrong) and page.pictures(other) == 2  # the example and its edit
    again, same, over = come(page, secret)
    assert (same, over, page.pictures(again)) == (secret, False, 1)
    assert "another tab" in refusal(page, "undo", visit)
    back, _, _ = come(page, secret)
    assert page.pictures(back) == 1 and "another tab" in refusal(page, "undo", again)


def test_a_page_whose_visit_is_over_is_told_and_gets_no_example(app, page):
    visit, secret = working(page)
    app.app.state_holder.used[visit] -= 4000
    cleanup.tidy(app.app, cleanup.AN_HOUR)
    for button in ("undo", "delete-shot", "still-here"):
        assert "visit is over" in refusal(page, button, visit)
    assert page.call(page.event("random", "click"), visit) is None
    assert come(page, secret)[2] is True


def test_the_hour_is_counted_by_no_clock_that_anybody_sets(app, page, monkeypatch):
    class Tomorrow(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return super().now(tz) + datetime.timedelta(days=1)

    visit, _ = working(page)
    monkeypatch.setattr(state_holder.datetime, "datetime", Tomorrow)
    app.app.state_holder[visit].is_closed = True
    app.app.state_holder.delete_all_expired_state()
    cleanup.forget(app.app.state_holder, cleanup.AN_HOUR)
    assert page.pictures(visit) == 1


def test_empty_sessions_cost_nothing_and_push_out_no_work(app, page, monkeypatch):
    monkeypatch.setattr(visits, "MOST_EMPTY", 20)
    visit, _ = working(page)
    for number in range(60):
        if number % 3:
            assert "visit is over" in refusal(page, "undo", f"nobody{number}")
        else:
            come(page)
    holder = app.app.state_holder
    assert page.pictures(visit) == 1
    assert sum(state.empty for state in holder.session_data.values()) <= 20
    nobodys = holder["nobody59"]
    assert nobodys.blocks_config is app.default_config and not nobodys.state_data and not nobodys.config_values


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="this system has no such clock")
def test_the_hour_goes_on_while_the_machine_sleeps_as_that_of_files_does(monkeypatch):
    """Else a visit would go on whose pictures were cleared away."""
    clock, pages = time.clock_gettime, visits.Pages()
    with gr.Blocks() as blocks:
        pages.set_blocks(blocks)
    pages["page"].state_data[0] = "anything"
    pages.forget(cleanup.AN_HOUR, cleanup.EVERY)
    assert "page" in pages
    monkeypatch.setattr(time, "clock_gettime", lambda kind: clock(kind) + 4000 * (kind == time.CLOCK_BOOTTIME))
    pages.forget(cleanup.AN_HOUR, cleanup.EVERY)
    assert "page" not in pages


def test_who_opens_many_pages_pushes_out_none_but_their_own(monkeypatch):
    monkeypatch.setattr(visits, "MOST_EMPTY", 20)
    with gr.Blocks() as blocks:
        state = gr.State(Session(example=True))
    pages = visits.Pages()
    pages.set_blocks(blocks)

    def opened(page, address, example=True):
        session = visits.begin(Session(example=example))
        session.page, session.address = page, address
        pages[page].state_data[state._id] = session

    opened("first", "10.0.0.1")
    for number in range(5):
        opened(f"work{number}", "10.0.0.1", example=False)
    for number in range(200):
        opened(f"greedy{number}", "10.0.0.2")
        pages[f"program{number}"]
        empty = [page for page, held in pages.session_data.items() if held.empty]
        assert len(empty) == min(20, 2 * number + 3)
    assert {"first", *(f"work{number}" for number in range(5))} <= pages.session_data.keys()
    assert sum(page.startswith("greedy") for page in empty) == 18  # and the newest program


def test_visits_are_counted_while_others_begin():
    """Each time an event of a visitor who has the example only asks how many visits the address has."""
    stop, kept = threading.Event(), []

    def crowd():
        while not stop.is_set():
            kept.append(visits.begin(Session(example=True)))
            if len(kept) > 500:
                kept.clear()

    beginning, interval = threading.Thread(target=crowd), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    beginning.start()
    try:
        for _ in range(2000):
            assert visits._with_pictures("10.0.0.9") == 0
    finally:
        stop.set()
        beginning.join()
        sys.setswitchinterval(interval)


def test_what_is_sent_is_not_kept(app, page):
    visit, _ = working(page)
    event = page.event("apply-direction", "click")
    sent = "face " * 1000
    page.call(event, visit, [sent, "face", 1, 1, None, None])
    assert sent not in json.dumps(app.app.state_holder[visit].config_values)
    assert sent not in json.dumps([repr(value) for value in vars(app.app.state_holder[visit]).values()])


def test_one_address_begins_no_more_visits_with_pictures_than_its_share(page, monkeypatch):
    first, secret = working(page)
    monkeypatch.setattr(visits, "MOST_OF_ONE_ADDRESS", 1)
    second, _, _ = come(page)
    assert "from your network" in refusal(page, "undo", second)
    page.call(page.event("random", "click"), first)
    assert page.pictures(come(page, secret)[0]) == 1


def test_starting_over_and_deleting(app, page):
    visit, secret = working(page)
    state = next(iter(app.app.state_holder[visit].state_data.values()))
    assert "only picture" in refusal(page, "delete-shot", visit)
    state.add(HistoryItem.of(Image.new("RGB", (8, 8)), "Another", state.current.latent))
    page.call(page.event("delete-shot", "click"), visit)
    assert page.pictures(visit) == 1
    page.call(page.event("undo", "click"), visit)
    assert page.pictures(visit) == 2
    page.call(page.event("delete-shot", "click"), visit)
    over = page.event("start-over", "click")
    page.call(over, visit, [False, None])
    assert page.pictures(visit) == 1
    page.call(over, visit, [True, None])
    assert page.pictures(visit) == 2 and app.app.state_holder[visit].session.example  # the example and its edit
    assert page.pictures(come(page, secret)[0]) == 2


def test_starting_over_ends_what_runs_and_nothing_of_it_comes_back(studio, app, page, monkeypatch):
    """An optimization of the example, an edit of it, a photo: each is being made while the visitor starts over."""

    def held(name):
        """Let this method of the studio wait, each time before it ends."""
        method, begun, go_on = getattr(StyleCLIP, name), threading.Event(), threading.Event()

        def waiting(*args, **kwargs):
            answer = method(*args, **kwargs)
            begun.set()
            assert go_on.wait(60)
            return answer

        monkeypatch.setattr(StyleCLIP, name, waiting)
        return begun, go_on

    start = partial(page.call, page.event("start-over", "click"))
    for name, handler, data in (
        ("optimize", "optimize", lambda: ["a face with a hat", "This face", 300, 0.01, 0.01]),
        ("optimize", "optimize", lambda: ["a face with a hat", NO_FACE, 300, 0.01, 0.01]),
        ("direct", "move", lambda: ["old face", "face", 2.0, [], 20, 0.1]),
        ("align", "take", lambda: [uploaded(page.client, app.local_url, EXAMPLES[0].read_bytes())]),
    ):
        visitor = Visit(app, f"over-{secrets.token_hex(4)}")
        first = app.app.state_holder[visitor.session].session
        if handler == "optimize":
            assert visitor.join(event_of(app, handler), *data()).is_success
            visitor.listen()
            visitor.hear("process_generating", 4)
            start(visitor.session, [True, None])
        else:
            begun, go_on = held(name)
            assert visitor.join(event_of(app, handler), *data()).is_success
            visitor.listen()
            assert begun.wait(60)
            start(visitor.session, [True, None])
            go_on.set()
            monkeypatch.undo()
        told = visitor.hear("process_completed")
        assert not told["success"] and told["output"]["error"] == STARTED_OVER, (handler, told)
        fresh = app.app.state_holder[visitor.session].session
        assert fresh is not first and fresh.example and fresh.order == everybodys(app).order
        assert fresh.current == everybodys(app).current and not fresh.previews and fresh.secret == first.secret
        assert page.call(page.event("random", "click"), visitor.session) and page.pictures(visitor.session) == 1
        visitor.leave()


def everybodys(app):
    """The visit that all visits begin with."""
    return next(b.value for b in app.blocks.values() if isinstance(b, gr.State) and isinstance(b.value, Session))


def test_a_mapper_whose_visitor_chose_another_face_at_its_end_is_in_the_gallery(studio, tmp_path):
    session = Session()
    session.start_from(HistoryItem.of(studio.image(studio.sample(0)), "A face", studio.sample(0)))

    class Late:
        """A studio whose visitor chooses another face while it maps."""

        def __getattr__(self, name):
            return getattr(studio, name)

        def map(self, *args):
            edit = studio.map(args[0], "levels")
            session.start_from(HistoryItem.of(studio.image(studio.sample(1)), "Another", studio.sample(1)))
            return edit

    titles = len(studio.mappers())
    panel = Gallery(MAPPER, "gallery", "name", "progress", "strength", [str(tmp_path / "any.jpg")] * titles)
    updates = training.offer(Late(), panel, session, "hat", tmp_path / "hat.safetensors", 0.1)
    pictures = updates["gallery"]["value"]
    assert updates["name"] == "hat" and pictures[-1][1] == "hat · yours" and len(pictures) == titles + 1
    assert [item.title for item in session.strip] == ["Another"]


def test_a_mapper_is_downloaded_before_the_turn_of_the_edit(studio, monkeypatch):
    lent, seen = ModelHandle(studio), []

    class Away:
        def here(self):
            return bool(seen)

    def fetched(source):
        with lent.jobs.batch():  # which would wait for ever inside a turn
            seen.append(source)

    monkeypatch.setitem(studio.family.row.mappers, "levels", ("Levels", away := Away()))
    monkeypatch.setattr(model_handle, "fetch", fetched)
    monkeypatch.setattr(StyleCLIP, "map", lambda self, *args: args)
    latent = studio.sample(0)
    assert lent.map(latent, "levels", 0.1) == (latent, "levels", 0.1) and seen == [away]


def test_after_a_hurried_hour_no_file_of_a_visitor_is_left(studio, monkeypatch, tmp_path):
    """Neither of a visit, nor of an upload that was broken off; what the page shows to everybody stays."""
    folder = tmp_path / "styleclip-studio-test"
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(folder))
    monkeypatch.setattr(cleanup, "_idle", lambda path: time.time() - path.lstat().st_mtime)

    def files():
        return {path for path in folder.rglob("*") if path.is_file()}

    with open_page(build(studio)) as served:
        everybodys, page = files(), Page(served.local_url)
        working(page)
        uploaded(page.client, served.local_url, b"a photo")
        (folder / "tmp1a2b3c4d").write_bytes(b"half a photo")
        assert len(files() - everybodys) >= 3
        pages = served.app.state_holder
        for name in list(pages.used):
            pages.used[name] -= 4000
        for path in folder.rglob("*"):
            os.utime(path, (time.time() - 4000,) * 2)
        cleanup.tidy(served.app, cleanup.AN_HOUR)
        assert files() == everybodys and not pages.session_data


def test_why_a_run_ended_is_told_though_notes_follow_the_new_face_after_it(app, page):
    visitor = Visit(app, f"ended-{secrets.token_hex(4)}")
    run, other = event_of(app, "optimize"), event_of(app, "sample")
    assert visitor.join(run, "a face with a hat", "This face", 300, 0.01, 0.01).is_success
    visitor.listen()
    visitor.hear("process_generating", 4)
    assert visitor.join(other).is_success
    visitor.hear("process_completed", 2)
    note = page.ids["optimization-note"]
    follows = next(e for e in page.events if note in e["outputs"] and page.ids["strip"] in e["outputs"])

    def noted():
        return page.call(follows, visitor.session)[follows["outputs"].index(note)]

    assert all("Another face was chosen" in noted() for _ in range(2))
    assert visitor.join(other).is_success
    visitor.listen()  # the stream had ended
    visitor.hear("process_completed", 3)
    assert noted() == ""


def test_a_visit_holds_the_thresholds_of_its_newest_wishes_only():
    session = Session()
    for number in [*range(100), 80]:
        session.remember_threshold(Wish("a face", f"face {number}", "face"), number / 100)
    assert len(session.thresholds) == MOST_ITEMS and list(session.thresholds)[-1] == ("face 80", "face")
    assert session.thresholds["face 99", "face"] == 0.99
