"""Choices that a visitor makes one after the other: the newest is shown, and what can't be chosen any more is told."""

import html
import secrets
import threading

import pytest

from benchmarks.sessions import Page
from pipeline import StyleCLIP
from tests.pictures import EXAMPLES
from tests.programs import uploaded
from tests.visits import Visit, event_of, open_page
from webapp.page import build
from webapp.panels.photo import UnopenedImage


@pytest.fixture(scope="module")
def app(studio):
    with open_page(build(studio)) as page:
        yield page


@pytest.fixture
def page(app):
    return Page(app.local_url)


@pytest.mark.parametrize(
    ("gallery", "keys"),
    [
        ("examples", []),
        ("mappers", []),
        ("styles", []),
        ("others", ["abc"]),
        ("strip", ["abc"]),
        ("faces", ["abc"]),
        ("grid", [None]),
        ("film", []),
    ],
)
def test_a_picture_that_cannot_be_chosen_any_more_is_told(app, page, gallery, keys):
    visitor = Visit(app, f"choose-{secrets.token_hex(4)}")
    of_gallery = [e for e in page.events if [page.ids[gallery], "select"] in e["targets"] and e["backend_fn"]]
    event = of_gallery[-1] if gallery == "film" else of_gallery[0]  # a moment that is chosen ends the run first
    for index in (1000, -1, "1", None):
        body = {"fn_index": event["id"], "data": [*keys, None], "session_hash": visitor.session}
        body["event_data"] = {"index": index, "value": "a picture"}
        if event["queue"] is False:
            told = visitor.client.post(f"{visitor.url}/run/predict", json=body).json()["error"]
        else:
            visitor.client.post(f"{visitor.url}/queue/join", json=body).raise_for_status()
            visitor.messages.clear()
            visitor.listen()
            told = visitor.hear("process_completed")["output"]["error"]
        assert html.unescape(told) == "This picture can't be chosen any more; please choose another one."
    visitor.leave()


def test_a_random_face_does_not_overtake_the_photos_before_it(app, page, monkeypatch):
    """A visitor's fifth photo waits until one of the four before it is done, and takes long to be read; a random face
    that was asked for after it is the one that is shown."""
    align, go_on = StyleCLIP.align, threading.Event()
    monkeypatch.setattr(StyleCLIP, "align", lambda *args: go_on.wait(60) and align(*args))
    preprocess, seen, random_came = UnopenedImage.preprocess, [], threading.Event()

    def slow(component, payload):
        seen.append(payload)
        return len(seen) == 5 and not random_came.wait(60) or preprocess(component, payload)

    monkeypatch.setattr(UnopenedImage, "preprocess", slow)
    sample = StyleCLIP.sample
    monkeypatch.setattr(StyleCLIP, "sample", lambda *args: random_came.set() or sample(*args))
    visitor = Visit(app, f"photos-{secrets.token_hex(4)}")
    photo = uploaded(page.client, app.local_url, EXAMPLES[0].read_bytes())
    for _ in range(5):
        visitor.join(event_of(app, "take"), photo).raise_for_status()
    visitor.listen()
    visitor.hear("process_starts", 4)
    visitor.join(event_of(app, "sample")).raise_for_status()
    go_on.set()
    assert visitor.hear("process_completed", 6)["success"]
    assert app.app.state_holder[visitor.session].session.current.title.startswith("Random face")
    visitor.leave()


def test_a_photo_that_waits_while_the_visitor_starts_over_is_not_in_the_new_visit(app, page, monkeypatch):
    align, go_on = StyleCLIP.align, threading.Event()
    monkeypatch.setattr(StyleCLIP, "align", lambda *args: go_on.wait(60) and align(*args))
    visitor = Visit(app, f"over-{secrets.token_hex(4)}")
    photo = uploaded(page.client, app.local_url, EXAMPLES[0].read_bytes())
    for _ in range(5):  # four are looked at at a time
        visitor.join(event_of(app, "take"), photo).raise_for_status()
    visitor.listen()
    visitor.hear("process_starts", 4)
    page.call(page.event("start-over", "click"), visitor.session, [True, None])
    go_on.set()
    visitor.hear("process_completed", 5)
    state = app.app.state_holder[visitor.session].session
    assert state.example and state.current.title != "photo"
    assert page.pictures(visitor.session) == 2  # the example and its edit
    page.call(page.event("random", "click"), visitor.session)
    assert page.pictures(visitor.session) == 1
    visitor.leave()
