"""The page, served in this process on a free port, and Debian's Chromium."""

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import sync_playwright

from pipeline import StyleCLIP
from pipeline.zoo import REGISTRY
from tests.visits import open_page
from webapp.page import build


@pytest.fixture(scope="session")
def shown_studio(request):
    """The built-in models. Until their model card says that they are all there, random weights stand in for them."""
    if (REGISTRY.parent / "demo" / "README.md").exists():
        return StyleCLIP.from_pretrained("demo", device="cpu")
    return request.getfixturevalue("studio")


@pytest.fixture(scope="session")
def served_page(shown_studio):
    with open_page(build(shown_studio)) as page:
        yield page


@pytest.fixture(scope="session")
def url(served_page):
    return served_page.local_url


@pytest.fixture(scope="session")
def chromium():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        new_page = browser.new_page

        def listening(**options):
            """A page that hears of file choosers from the start: where a test begins to listen just before it presses a
            button, the chooser may open before Chromium knows that it is asked for."""
            page = new_page(**options)
            page.on("filechooser", lambda chooser: None)
            return page

        browser.new_page = listening
        yield browser
        browser.close()


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
