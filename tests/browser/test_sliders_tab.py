"""The tab Sliders: all of them act on one face at once, as one picture of the strip."""

import re

import numpy as np
from PIL import Image
from playwright.sync_api import expect

from tests.browser.test_history import bring, taken_home, words
from tests.browser.test_page import SLOW, after, changes, open_tab, press, visit  # noqa: F401


def open_it(page):
    changes(page, lambda: page.locator("#examples button").nth(3).click())
    open_tab(page, "Sliders")


def number(page, name):
    return page.locator(".named", has_text=name).locator("input[type=number]")


def drawn(page, folder):
    with Image.open(taken_home(page, "PNG", folder)) as picture:
        return np.asarray(picture.convert("RGB"), int)


def test_sliders_live_together(visit, chromium, tmp_path):  # noqa: F811
    open_it(visit)
    face = drawn(visit, tmp_path)
    changes(visit, lambda: number(visit, "Smiling").fill("100"))
    changes(visit, lambda: number(visit, "Glasses").fill("80"))
    expect(words(visit)).to_have_value(re.compile("^Sliders\nsmiling face α .*; face with glasses α "))
    expect(visit.locator("#strip button")).to_have_count(2)
    both = drawn(visit, tmp_path)
    recipe = taken_home(visit, "Recipe", tmp_path)

    # The link has them all, and so has the recipe; the sliders stand where they were.
    press(visit, "Copy link")
    expect(visit).to_have_url(re.compile("method=combine&sliders="))
    visit.goto(visit.url, timeout=SLOW)
    expect(words(visit)).to_have_value(re.compile("^Sliders\nsmiling face"), timeout=SLOW)
    open_tab(visit, "Sliders")
    expect(number(visit, "Glasses")).to_have_value("80", timeout=SLOW)
    stranger = chromium.new_context().new_page()
    stranger.goto(visit.url, timeout=SLOW)
    expect(words(stranger)).to_have_value(re.compile("^Sliders\nsmiling face"), timeout=SLOW)
    stranger.context.close()
    changes(visit, lambda: visit.locator("#examples button").nth(3).click())
    expect(number(visit, "Glasses")).to_have_value("0")
    changes(visit, lambda: bring(visit, recipe))
    assert np.abs(drawn(visit, tmp_path) - both).max() <= 1
    expect(number(visit, "Smiling")).to_have_value("100")

    changes(visit, lambda: press(visit, "All to 0"))
    assert np.abs(drawn(visit, tmp_path) - face).max() <= 1
    expect(number(visit, "Smiling")).to_have_value("0")


def test_they_begin_at_0_after_another_edit(visit, tmp_path):  # noqa: F811
    open_it(visit)
    changes(visit, lambda: number(visit, "Smiling").fill("100"))
    open_tab(visit, "Global directions")
    changes(visit, lambda: visit.locator("#pairs button").nth(3).click())
    expect(visit.locator("#strip button")).to_have_count(3)
    open_tab(visit, "Sliders")
    expect(number(visit, "Smiling")).to_have_value("0")
    changes(visit, lambda: number(visit, "Purple hair").fill("100"))
    expect(words(visit)).to_have_value(re.compile("^Sliders\nface with purple hair α [^;]*$"))
    expect(visit.locator("#strip button")).to_have_count(4)
    changes(visit, lambda: visit.locator("#strip button").nth(1).click())
    expect(number(visit, "Smiling")).to_have_value("100")
    expect(number(visit, "Purple hair")).to_have_value("0")


def test_a_slider_of_ones_own(visit):  # noqa: F811
    open_it(visit)
    visit.locator("#own-sliders button").first.click()
    target = visit.locator("#slider-target textarea")
    target.fill("face")
    press(visit, "Add it")
    expect(visit.locator("#sliders-note")).to_contain_text("are the same", timeout=SLOW)
    target.fill("face with green hair")
    press(visit, "Add it")
    expect(target).to_have_value("", timeout=SLOW)
    old = after(visit).get_attribute("src")
    number(visit, "Green hair").fill("120")
    expect(after(visit)).not_to_have_attribute("src", old, timeout=SLOW)
    expect(words(visit)).to_have_value(re.compile("^Sliders\nface with green hair α "))
    # It is there after the page is loaded again.
    visit.reload(timeout=SLOW)
    open_tab(visit, "Sliders")
    expect(number(visit, "Green hair")).to_have_value("120", timeout=SLOW)
