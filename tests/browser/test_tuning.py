"""A family that tunes the generator to each new photo by itself."""

import re
from dataclasses import replace

import pytest
from playwright.sync_api import expect

from pipeline import StyleCLIP
from tests.browser.test_history import words
from tests.browser.test_page import SLOW, press, visit  # noqa: F401
from tests.visits import open_page
from webapp.page import build
from webapp.panels import likeness


@pytest.fixture(scope="module")
def url(studio):
    row = studio.family.row.model_copy(update={"tunes": True})
    with open_page(build(StyleCLIP(replace(studio.family, row=row)))) as page:
        yield page.local_url


@pytest.fixture
def photos(photo, tmp_path):
    """Two files of the same photo."""
    paths = [tmp_path / "One.png", tmp_path / "Two.png"]
    for path in paths:
        photo.save(path)
    return paths


def upload(page, path):
    page.locator("#photo input[type=file]").set_input_files(path)


def tuning_of(page, name, steps):
    """Wait until the generator is being tuned to a photo, in so many steps."""
    expect(page.locator("#strip button").last).to_have_accessible_name(name, timeout=SLOW)
    expect(page.locator("#likeness-progress")).to_contain_text(re.compile(rf"\d+ of {steps}"), timeout=SLOW)


def test_a_new_photo_is_tuned_to_and_an_example_is_not(visit, photos, monkeypatch):  # noqa: F811
    monkeypatch.setattr(likeness, "TUNE_STEPS", 3)
    upload(visit, photos[0])
    expect(words(visit)).to_have_value(re.compile("^Tuned face"), timeout=SLOW)
    names = [visit.locator("#strip button").nth(number) for number in range(2)]
    for name, button in zip(("One", "Tuned face"), names, strict=True):
        expect(button).to_have_accessible_name(name)
    visit.locator("#examples button").nth(1).click()
    expect(words(visit)).to_have_value(re.compile("^Example 2"), timeout=SLOW)
    visit.locator("#examples button").nth(2).click()  # nothing of it is on the strip: nothing was made of it
    expect(words(visit)).to_have_value(re.compile("^Example 3"), timeout=SLOW)
    expect(visit.locator("#strip button")).to_have_count(3, timeout=SLOW)


def test_it_can_be_ended_and_another_photo_begins_anew(visit, photos, monkeypatch):  # noqa: F811
    for name, path, steps in zip(("One", "Two"), photos, (2000, 1999), strict=True):
        monkeypatch.setattr(likeness, "TUNE_STEPS", steps)
        upload(visit, path)
        tuning_of(visit, name, steps)
    press(visit, "Stop")
    expect(words(visit)).to_have_value(re.compile("^Tuned face"), timeout=SLOW)
    expect(visit.locator("#likeness-progress progress")).to_have_count(0)
    expect(visit.locator("#stop-likeness")).to_be_hidden()
    expect(visit.locator(".toast-body")).to_have_count(0)
