"""A slider of a family that draws small pictures apart: one is there at once, and the whole one follows."""

import threading

import pytest
from playwright.sync_api import expect

from pipeline import StyleCLIP
from pipeline.networks.stylegan2 import Generator
from tests.browser.test_page import SLOW, changes, open_tab, visit  # noqa: F401
from tests.visits import open_page
from webapp.page import build

SMALL = 16


@pytest.fixture(scope="module")
def url(studio):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Generator, "working_size", property(lambda self: SMALL))
        with open_page(build(studio)) as page:
            yield page.local_url


@pytest.fixture
def held(monkeypatch):
    """From the call of the first on, nothing is drawn whole until the second is called."""
    released, draw = threading.Event(), StyleCLIP.image

    def image(self, latent, resolution=None):
        if resolution != SMALL:
            assert released.wait(SLOW / 1000)
        return draw(self, latent, resolution)

    yield lambda: monkeypatch.setattr(StyleCLIP, "image", image), released.set
    released.set()


@pytest.mark.parametrize(
    ("tab", "slider"), [("Global directions", "alpha"), ("Mappers", "mapper-strength"), ("Global directions", "share")]
)
def test_a_small_picture_comes_at_once_and_the_whole_one_follows(visit, held, tab, slider, studio):  # noqa: F811
    hold, release = held
    open_tab(visit, tab)
    if tab == "Mappers":
        changes(visit, visit.locator("#mappers button").first.click)
    hold()
    visit.locator(f"#{slider} input[type=range]").press("ArrowLeft")

    def width_is(pixels):
        image = "document.querySelectorAll('#before-after img')[1]"
        visit.wait_for_function(f"{image}.complete && {image}.naturalWidth == {pixels}", timeout=SLOW)

    width_is(SMALL)
    release()
    width_is(studio.family.generator.size)
    expect(visit.locator(".toast-body")).to_have_count(0)
