"""The model menu in a real browser: another model for everybody, what it costs to get it, and what can go wrong."""

import re
import threading
import time
import weakref

import httpx
import pytest
from gradio_client import Client
from huggingface_hub import constants
from playwright.sync_api import expect

from pipeline import StyleCLIP
from pipeline.models.registry import OVERLAY
from tests.browser.test_page import SLOW, after, changes, open_tab, press
from tests.hub import Hub
from tests.visits import free_port, launch
from webapp import api, download_progress, process
from webapp.jobs import CHANGED
from webapp.page import build

FAMILIES = """
[families.pictures]
title = "Pictures"
crop_rows = 48
files = { generator = { path = "generator.safetensors" }, clip = { path = "clip.safetensors" } }
defaults = { steps = 4, neutral = "a car", target = "a sports car" }

[families.lost]
title = "Lost"
files = { generator = { path = "lost.safetensors" }, clip = { path = "clip.safetensors" } }

[families.far]
title = "Far"
terms = "For research only."
clip_normalize = false

[families.far.files]
generator = { url = "HUB/files/generator.safetensors", file = "generator.safetensors", about = 100_000 }
clip = { path = "clip.safetensors" }
"""


@pytest.fixture(scope="module")
def setting(seeded_registry, tmp_path_factory):
    """The registry with these families over it, an empty cache, and a server of files for it."""
    hub = Hub(seeded_registry.parent)
    overlay = seeded_registry.with_name("overlay.toml")
    overlay.write_text(seeded_registry.read_text() + FAMILIES.replace("HUB", hub.url))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(OVERLAY, str(overlay))
        cache = tmp_path_factory.mktemp("cache")
        for name in ("HF_HOME", "HF_HUB_CACHE", "HF_ASSETS_CACHE"):
            patch.setattr(constants, name, str(cache / name))
        yield
    hub.close()


@pytest.fixture(scope="module")
def served(setting):
    """The page on a free port, and its generators in the order in which they were loaded, as weak references."""
    generators = []

    def load(name):
        studio = StyleCLIP.from_pretrained(name, device="cpu")
        generators.append(weakref.ref(studio.family.generator))
        return studio

    page, done = build(load("seeded"), load), threading.Event()
    launch(page, free_port())
    url = page.local_url

    def serve():
        nonlocal page
        while not done.is_set():
            if page.successor:
                page = process.succeeded(page, launch)
            done.wait(0.05)

    server = threading.Thread(target=serve)
    server.start()
    yield url, generators
    done.set()
    server.join()
    page.close(verbose=False)


@pytest.fixture
def arrive(chromium, served):
    """Opens the page as one more visitor; what any console complains about fails the test in the end.

    Not that a connection was cut, that nobody answers for a moment, or that a page of another model is refused.
    """
    visits, complaints = [], []

    def arrive(**options):
        visit = chromium.new_page(**({"viewport": {"width": 1280, "height": 900}} | options))
        visits.append(visit)
        visit.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        visit.on("pageerror", lambda error: complaints.append(str(error)))
        visit.set_default_timeout(SLOW)
        visit.goto(served[0], timeout=SLOW)
        expect(after(visit)).to_be_visible(timeout=SLOW)
        return visit

    yield arrive
    for visit in visits:
        visit.close()
    usual = "AbortError|.*errored out|.*ERR_CONNECTION|.*ERR_INCOMPLETE|.*ERR_EMPTY_RESPONSE|.*409"
    assert [text for text in complaints if not re.match(usual, text)] == []


def endless(source, progress):
    """A download that never ends by itself."""
    while True:
        progress(source.name, 3_000_000, 4_000_000)
        time.sleep(0.01)


def choose(visit, title):
    if not visit.locator("#families").is_visible():
        visit.get_by_role("button", name=re.compile("^Model:")).click()
    visit.get_by_role("radio", name=re.compile(f"^{title}")).check()


def shows(visit, title):
    expect(visit.get_by_role("button", name=re.compile(f"^Model: {title}"))).to_be_visible(timeout=SLOW)
    expect(after(visit)).to_be_visible(timeout=SLOW)


def test_another_model_for_everybody_and_back(arrive, served, monkeypatch):
    url, generators = served
    order, optimize = [], StyleCLIP.optimize

    def told(*args, **kwargs):
        try:
            yield from optimize(*args, **kwargs)
        finally:
            order.append(f"edit with {len(generators)} loaded")

    monkeypatch.setattr(StyleCLIP, "optimize", told)
    one, other, idle, program = arrive(), arrive(), arrive(), Client(url, verbose=False)
    program.predict(1, 0.7, api_name="/sample")

    # While the other visitor optimizes, the new model waits.
    choose(one, "Pictures")
    expect(one.locator("#agree")).to_be_hidden()
    open_tab(other, "Optimization")
    other.locator("#steps input[type=number]").fill("300")
    changes(other, lambda: press(other, "Optimize"))
    press(one, "Use it")
    expect(one.locator("#download")).to_contain_text("Loading")
    press(other, "Stop")
    shows(one, "Pictures")

    # Other pages start anew when their visitors do something: by an event that computes, and by one that doesn't.
    press(other, "Random face")
    press(idle, "Undo")
    for visit in (one, other, idle):
        shows(visit, "Pictures")
        expect(visit.locator("#renewal")).to_contain_text("started anew with Pictures")
    assert order == ["edit with 1 loaded"]
    old, new = generators[-2:]
    assert old() is None and new() is not None

    # It reads no photos, has no mappers and no relevance yet, and its pictures are no squares.
    expect(one.locator("#photo, #examples, #mappers, #identity")).to_have_count(0)
    expect(one.locator("#photo-note")).to_contain_text("can't read photos")
    changes(one, lambda: one.locator("#random").click())
    shape = "image => image.decode().then(() => image.naturalWidth / image.naturalHeight)"
    assert after(one).evaluate(shape) == pytest.approx(64 / 48)
    open_tab(one, "Optimization")
    changes(one, lambda: press(one, "Optimize"))
    expect(one.locator("#edit-words textarea")).to_have_value(re.compile("^a sports car\n4 steps"), timeout=SLOW)
    open_tab(one, "Mappers")
    expect(one.locator("#no-mappers")).to_be_visible()
    open_tab(one, "Global directions")
    expect(one.locator("#directions-note")).to_contain_text("--model pictures")

    # A program that knew the old model is told; one that comes anew finds the same endpoints.
    with pytest.raises(httpx.HTTPStatusError) as told:
        program.predict(1, 0.7, api_name="/sample")
    assert told.value.response.json()["detail"] == CHANGED
    fresh = Client(url, verbose=False)
    named = fresh.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(named) == {f"/{name}" for name in api.ANSWERS}
    fresh.predict(1, 0.7, api_name="/sample")

    other.close()
    idle.close()
    choose(one, "Random weights")
    press(one, "Use it")
    shows(one, "Random weights")
    expect(one.locator("#photo-note")).to_contain_text("An example, edited already")


def test_a_file_that_is_missing_gets_a_sentence_and_the_page_goes_on(arrive):
    visit = arrive()
    choose(visit, "Lost")
    press(visit, "Use it")
    expect(visit.locator(".toast-body")).to_contain_text("lost.safetensors is missing", timeout=SLOW)
    press(visit, "Close")
    expect(visit.get_by_role("radio", name=re.compile("^Lost"))).to_be_checked()
    expect(visit.locator("#use-model")).to_be_enabled()
    changes(visit, lambda: press(visit, "Random face"))


def test_a_download_asks_first_and_can_be_stopped_on_a_phone(arrive, monkeypatch):
    visit = arrive(viewport={"width": 360, "height": 740})
    choose(visit, "Far")
    expect(visit.locator("#terms")).to_contain_text("For research only.")
    expect(visit.locator("#use-model")).to_be_disabled()
    assert visit.evaluate("document.documentElement.scrollWidth") == 360
    visit.get_by_label("I agree").check()

    with monkeypatch.context() as patch:
        patch.setattr(download_progress, "fetch", endless)
        press(visit, "Download and use it")
        expect(visit.locator("#download")).to_contain_text("generator.safetensors: 3 of 4 MB", timeout=SLOW)
        press(visit, "Cancel")
        expect(visit.locator(".toast-body")).to_contain_text("The download was stopped", timeout=SLOW)
    press(visit, "Close")

    # What was chosen and agreed to still stands.
    expect(visit.get_by_label("I agree")).to_be_checked()
    press(visit, "Download and use it")
    shows(visit, "Far")
