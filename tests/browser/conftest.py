"""The page, served in this process on a free port, and Debian's Chromium."""

import re
import time
from collections import deque
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Error, sync_playwright

from pipeline import StyleCLIP
from pipeline.models.family import REGISTRY
from tests.visits import open_page
from webapp.page import build

OPEN = {}
"""The pages that are open, and what each has asked the server for last."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Say of a test that failed what its pages show, and what they asked the server for."""
    report = yield
    if report.when == "call" and report.failed:
        for page, asked in OPEN.items():
            now = time.monotonic()
            try:
                lines = [page.locator("#edit-words textarea").input_value(timeout=1000)]
            except Error as error:  # of a page that has crashed or is another one
                lines = [str(error)]
            lines += [f"{when - now:.2f} s {event} {url[-60:]}" for when, event, url in asked]
            report.sections.append(("page", "\n".join(lines)))
    return report


@pytest.fixture(scope="session")
def shown_studio(request):
    """The built-in models. Until their model card says that they are all there, random weights stand in for them."""
    if (REGISTRY.parent / "demo" / "README.md").exists():
        return StyleCLIP.from_pretrained("demo", device="cpu")
    return request.getfixturevalue("studio")


@pytest.fixture(scope="package")
def served_page(shown_studio):
    with open_page(build(shown_studio)) as page:
        yield page


@pytest.fixture(scope="package")
def url(served_page):
    return served_page.local_url


@contextmanager
def opened_browser():
    """Debian's Chromium, until the end of the block. Playwright's loop runs in this thread as long."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        new_page = browser.new_page

        def listening(**options):
            """A page that hears of file choosers from the start: where a test begins to listen just before it presses a
            button, the chooser may open before Chromium knows that it is asked for."""
            page = new_page(**options)
            page.on("filechooser", lambda chooser: None)
            asked = OPEN.setdefault(page, deque(maxlen=40))

            def note(event, what):
                if not re.search("/static/|/assets/|file=", what.url):
                    asked.append((time.monotonic(), event, what.url))

            page.on("request", partial(note, "request"))
            page.on("response", partial(note, "response"))
            page.on("close", lambda page: OPEN.pop(page, None))
            return page

        browser.new_page = listening
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def chromium():
    with opened_browser() as browser:
        yield browser


@pytest.fixture(scope="session")
def bad_photos(tmp_path_factory):
    """Files that are no photo of a face, by what is wrong with them."""
    folder = tmp_path_factory.mktemp("bad")
    noise = np.random.default_rng(0).integers(0, 255, (200, 300, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "no_face.png")
    (folder / "text.jpg").write_text("A face, in words only.")
    Image.new("RGB", (1, 1)).save(folder / "one_pixel.png")
    Image.new("L", (20_000, 300)).save(folder / "wide.png")
    return {path.stem: path for path in folder.iterdir()}
