"""A face is chosen while another one, or an edit, is on its way; and the photo is put away."""

import re
import threading

import pytest
from playwright.sync_api import expect

from tests.browser.test_history import bring, taken_home, words
from tests.browser.test_page import SLOW, after, changes, open_tab, press, visit  # noqa: F401
from tests.pictures import EXAMPLES


@pytest.fixture
def hold(shown_studio, monkeypatch):
    """Lets the next call of one of the studio's methods wait until the event that it gives is set."""
    events = []

    def next_call(name):
        method, go = getattr(shown_studio, name), threading.Event()
        waiting = [go]
        events.append(go)

        def slow(*args, **kwargs):
            if waiting:
                assert waiting.pop().wait(SLOW / 1000)
            return method(*args, **kwargs)

        monkeypatch.setattr(shown_studio, name, slow)
        return go

    yield next_call
    for go in events:
        go.set()


def example(page, number):
    return page.locator("#examples button").nth(number - 1)


def test_the_last_of_several_choices_counts_and_edits_wait_for_it(visit, hold):  # noqa: F811
    go = hold("align")
    example(visit, 2).click()
    expect(visit.locator("#working")).to_contain_text("Looking at the photo")
    example(visit, 6).click()
    visit.locator("#pairs button").nth(3).click()
    expect(words(visit)).to_have_value("Example 6", timeout=SLOW)
    expect(visit.locator("#working")).to_contain_text("Looking at the photo")
    go.set()
    expect(words(visit)).to_have_value(re.compile("^face with glasses"), timeout=SLOW)
    expect(visit.locator("#working")).not_to_contain_text("Looking")
    expect(visit.locator("#strip button").first).to_have_accessible_name("Example 6")
    expect(visit.locator("#strip button")).to_have_count(2)


def test_of_several_presses_while_a_face_is_looked_for_the_newest_counts(visit, hold, tmp_path):  # noqa: F811
    seen = words(visit).input_value().splitlines()[0]
    go = hold("align")
    example(visit, 2).click()
    expect(visit.locator("#working")).to_contain_text("Looking at the photo")
    assert seen.replace(" ", "-") in taken_home(visit, "Recipe", tmp_path).name  # what is seen is saved at once
    open_tab(visit, "Optimization")
    visit.locator("#steps input[type=number]").fill("3")
    for _ in range(3):
        press(visit, "Optimize")
    go.set()
    expect(words(visit)).to_have_value(re.compile("3 steps"), timeout=SLOW)
    expect(visit.locator("#strip button")).to_have_count(2)
    expect(visit.locator(".toast-body")).to_have_count(0)


def test_nothing_is_made_of_the_old_face_where_the_new_one_did_not_come(visit, hold, bad_photos):  # noqa: F811
    before, go = words(visit).input_value(), hold("align")
    visit.locator("#photo input[type=file]").set_input_files(bad_photos["no_face"])
    expect(visit.locator("#working")).to_contain_text("Looking at the photo")
    visit.locator("#pairs button").nth(3).click()
    go.set()
    expect(visit.locator(".toast-body")).to_contain_text("No face was found", timeout=SLOW)
    expect(visit.locator("#working")).not_to_contain_text("Looking")
    press(visit, "Close")
    changes(visit, lambda: visit.locator("#pairs button").nth(1).click())  # edits go on as before
    expect(words(visit)).to_have_value(re.compile("^face with blonde hair"))
    expect(visit.locator("#strip button")).to_have_count(3)
    assert before != words(visit).input_value()


def test_of_two_mappers_the_last_is_applied(visit, hold):  # noqa: F811
    go = hold("map")
    open_tab(visit, "Mappers")
    for number in (0, 3):
        visit.locator("#mappers button").nth(number).click()
    go.set()
    expect(words(visit)).to_have_value(re.compile("^bald"), timeout=SLOW)


def test_a_recipe_that_is_brought_while_an_example_loads_is_for_that_face(visit, tmp_path, hold):  # noqa: F811
    recipe = taken_home(visit, "Recipe", tmp_path)
    changes(visit, lambda: press(visit, "Random face"))
    go = hold("align")
    example(visit, 4).click()
    expect(visit.locator("#working")).to_contain_text("Looking at the photo")
    bring(visit, recipe)
    go.set()
    expect(words(visit)).to_have_value(re.compile("^smile"), timeout=SLOW)
    expect(visit.locator("#strip button").first).to_have_accessible_name("Example 4")
    expect(visit.locator("#strip button")).to_have_count(2)
    expect(visit.locator(".toast-body")).to_have_count(0)


def test_a_photo_that_is_put_away_stays_away_and_its_face_in_use(visit):  # noqa: F811
    shown = after(visit).get_attribute("src")
    press(visit, "Remove Image")
    expect(visit.locator("#photo-note")).to_contain_text("The photo is put away; its face stays in use")
    expect(visit.locator("#strip button")).to_have_count(2)
    assert after(visit).get_attribute("src") == shown
    changes(visit, lambda: visit.locator("#pairs button").nth(3).click())
    expect(visit.locator("#strip button")).to_have_count(3)
    expect(visit.locator("#photo img")).to_have_count(0)
    expect(visit.locator("#crop img")).to_have_count(1)
    changes(visit, lambda: visit.locator("#photo input[type=file]").set_input_files(EXAMPLES[2]))
    expect(visit.locator("#photo img")).to_have_count(1)
    expect(visit.locator("#photo-note")).not_to_contain_text("put away")
