"""What a visitor does while the page opens: nothing is lost, and nothing that comes later replaces it."""

import re
import threading

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.browser.test_page import SLOW, after, changes, open_tab, press, visit  # noqa: F401
from tests.pictures import EXAMPLES
from webapp import visits
from webapp.session import Session

LINK = "?method=direct&target=old+face&neutral=face&strength=3&threshold=0.1"


@pytest.fixture
def held(monkeypatch):
    """Lets a function of the server wait until the event that it gives is set; the event's `reached` is set when it
    waits."""
    events = []

    def hold(owner, name):
        go, real = threading.Event(), getattr(owner, name)
        events.append(go)
        go.reached = threading.Event()

        def waits(*args, **options):
            go.reached.set()
            assert go.wait(SLOW / 1000)
            return real(*args, **options)

        monkeypatch.setattr(owner, name, waits)
        return go

    yield hold
    for go in events:
        go.set()


@pytest.fixture
def two_faces(tmp_path):
    photo = Image.new("RGB", (1024, 512))
    for number in range(2):
        photo.paste(Image.open(EXAMPLES[number + 1]).convert("RGB").resize((512, 512)), (512 * number, 0))
    photo.save(tmp_path / "two.png")
    return tmp_path / "two.png"


@pytest.fixture
def guest(chromium):
    page = chromium.new_page()
    page.set_default_timeout(SLOW)
    yield page
    page.close()


def choose(page, photo):
    page.locator("#photo input[type=file]").set_input_files(photo)


def send(page, photo):
    """Choose a photo, which the server can't look at yet."""
    choose(page, photo)
    expect(page.locator("#working")).to_contain_text("Looking at the photo", timeout=SLOW)


def test_a_photo_that_comes_before_the_visit_waits_for_it(guest, url, held, two_faces):
    go = held(visits, "begin")
    guest.goto(url)
    send(guest, two_faces)
    expect(guest.locator("#studio")).to_be_hidden()
    go.set()
    expect(guest.locator("#photo-note")).to_contain_text("2 faces found", timeout=SLOW)
    expect(guest.locator("#strip button.thumbnail-item")).to_have_count(1)


def test_a_photo_that_comes_before_the_visit_goes_on_is_added_to_it(visit, held, two_faces):  # noqa: F811
    changes(visit, lambda: visit.locator("#pairs button").nth(3).click())
    expect(visit.locator("#strip button.thumbnail-item")).to_have_count(3)
    go = held(visits, "find")
    visit.reload()
    send(visit, two_faces)
    expect(visit.locator("#studio")).to_be_hidden()
    go.set()
    expect(visit.locator("#photo-note")).to_contain_text("2 faces found", timeout=SLOW)
    expect(visit.locator("#strip button.thumbnail-item")).to_have_count(4)


def test_one_answer_draws_the_whole_visit_before_the_page_opens(visit):  # noqa: F811
    """A second one would replace what the visitor has chosen or typed by then. It once came between the upload of a
    photo and the question how many faces are in it, so that the question was asked about the example."""
    changes(visit, lambda: press(visit, "Random face"))
    visit.wait_for_function("document.querySelectorAll('#strip button.thumbnail-item').length == 1")
    asked = []
    visit.on("request", lambda request: request.url.endswith("/run/predict") and asked.append(request.post_data_json))
    visit.reload()
    expect(after(visit)).to_be_visible(timeout=SLOW)
    expect(visit.locator("#photo-note")).to_contain_text("Random face")
    expect(visit.locator("#strip button.thumbnail-item")).to_have_count(1)
    visit.locator("#shot-name textarea").fill("Mine")  # as soon as it can be seen
    visit.locator("#shot-name textarea").press("Tab")
    expect(visit.locator("#strip button.thumbnail-item")).to_contain_text("Mine")
    assert len({event["fn_index"] for event in asked}) == 3  # the visit, the name, and the strip drawn anew for it


def test_a_link_replaces_no_words_that_were_typed_while_its_edit_is_made(guest, url, held):
    go = held(Session, "keep")
    guest.goto(url + LINK)
    open_tab(guest, "Global directions")
    words = guest.locator("#target textarea")
    expect(words).to_have_value("old face", timeout=SLOW)
    words.fill("my words")
    changes(guest, go.set)
    expect(words).to_have_value("my words")
    expect(guest.locator("#edit-words textarea")).to_have_value(re.compile("^old face"))


def test_a_photo_that_comes_while_the_edit_of_a_link_is_made_is_kept(guest, url, held, two_faces):
    go = held(Session, "resume")
    guest.goto(url + LINK)
    assert go.reached.wait(SLOW / 1000)  # of a photo that comes before, the link's edit is made
    choose(guest, two_faces)
    expect(guest.locator("#photo-note")).to_contain_text("2 faces found", timeout=SLOW)
    shown = after(guest).get_attribute("src")
    go.set()
    expect(guest.locator(".toast-body")).to_contain_text("Another picture was chosen meanwhile", timeout=SLOW)
    expect(guest.locator("#photo-note")).to_contain_text("2 faces found")
    expect(guest.locator("#strip button.thumbnail-item")).to_have_count(1)
    assert after(guest).get_attribute("src") == shown


def test_the_link_is_that_of_the_picture_that_is_seen(visit, held):  # noqa: F811
    changes(visit, lambda: visit.locator("#pairs button").nth(3).click())
    held(Session, "touch")  # which is called when the strip is drawn anew
    visit.locator("#target textarea").fill("surprised face")
    changes(visit, lambda: press(visit, "Apply"))
    press(visit, "Copy link")
    expect(visit).to_have_url(re.compile("target=surprised\\+face"))
