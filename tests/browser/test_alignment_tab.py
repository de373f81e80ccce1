"""The tab Text to face: an edit that follows its slider and layers, a face from words, and what CLIP sees."""

import re

import numpy as np
from PIL import Image
from playwright.sync_api import expect

from tests.browser.test_history import bring, taken_home, words
from tests.browser.test_page import SLOW, after, changes, open_tab, press, visit  # noqa: F401
from tests.pictures import EXAMPLES
from tests.visits import open_page
from webapp.page import build


def open_it(page):
    changes(page, lambda: page.locator("#examples button").nth(3).click())
    open_tab(page, "Text to face")


def note(page):
    return page.locator("#bridge-note")


def drawn(page, folder):
    with Image.open(taken_home(page, "PNG", folder)) as picture:
        return np.asarray(picture.convert("RGB"), int)


def test_an_edit_follows_its_slider_and_layers(visit, tmp_path, shown_studio):  # noqa: F811
    open_it(visit)
    source = shown_studio.invert(shown_studio.align(EXAMPLES[3])[0])
    changes(visit, lambda: visit.locator("#bridge-pairs button").nth(1).click())
    expect(visit.locator("#bridge-target textarea")).to_have_value("face with blonde hair")
    expect(words(visit)).to_have_value(re.compile("^face with blonde hair\nText to face from “face”"))
    expect(visit.locator("#strip button")).to_have_count(2)
    whole = drawn(visit, tmp_path)

    # Without a level another picture; with no strength, the source. All of it is one picture of the strip.
    changes(visit, lambda: visit.get_by_label("Medium").uncheck())
    expect(words(visit)).to_have_value(re.compile("coarse and fine only$"))
    assert np.abs(drawn(visit, tmp_path) - whole).max() > 20
    changes(visit, lambda: visit.locator("#bridge input[type=number]").fill("0"))
    assert np.abs(drawn(visit, tmp_path) - np.asarray(shown_studio.image(source), int)).max() <= 1
    expect(visit.locator("#strip button")).to_have_count(2)

    # The link brings words, strength and levels back, and the other methods build on it.
    changes(visit, lambda: visit.locator("#bridge input[type=number]").fill("0.2"))
    press(visit, "Copy link")
    link = re.compile(r"method=csla_edit&target=face\+with\+blonde\+hair&neutral=face&strength=0.2&levels=coarse,fine$")
    expect(visit).to_have_url(link)
    visit.goto(visit.url, timeout=SLOW)
    expect(words(visit)).to_have_value(re.compile("strength 0.2, coarse and fine only$"), timeout=SLOW)
    open_tab(visit, "Text to face")
    expect(visit.get_by_label("Medium")).not_to_be_checked()
    expect(visit.locator("#bridge input[type=number]")).to_have_value("0.2")
    open_tab(visit, "Global directions")
    changes(visit, lambda: visit.locator("#pairs button").nth(3).click())
    expect(visit.locator("#strip button")).to_have_count(3)  # the link's edit was there already


def test_numbers_beyond_the_slider_count_as_its_end(visit, url):  # noqa: F811
    visit.goto(f"{url}?method=csla_edit&target=old+face&neutral=face&strength=5", timeout=SLOW)
    expect(words(visit)).to_have_value(re.compile("^old face\n.*strength 5\n"), timeout=SLOW)
    open_tab(visit, "Text to face")
    strength = visit.locator("#bridge input[type=number]")
    expect(strength).to_have_value("0.6")
    changes(visit, lambda: visit.locator("#bridge-pairs button").nth(1).click())
    expect(words(visit)).to_have_value(re.compile("^face with blonde hair\n.*strength 0.6(\n|$)"))
    changes(visit, lambda: strength.fill(""))
    expect(words(visit)).to_have_value(re.compile("strength 0.3(\n|$)"))  # the usual one
    changes(visit, lambda: strength.fill("-7"))
    expect(words(visit)).to_have_value(re.compile("strength -0.6(\n|$)"))
    expect(visit.locator(".toast-body")).to_have_count(0)


def test_a_face_from_words_and_what_clip_sees(visit, tmp_path, shown_studio):  # noqa: F811
    open_it(visit)
    likeness = visit.locator("#photo-note").text_content()
    changes(visit, lambda: press(visit, "As CLIP sees it"))
    expect(words(visit)).to_have_value(re.compile("^As CLIP sees it"))
    expect(visit.locator("#photo-note")).to_contain_text("identity 0.")
    expect(visit.locator("#photo-note")).not_to_have_text(likeness)
    expect(visit.locator("#inversion")).to_contain_text("Inversion")
    expect(visit.locator("#compare input")).to_have_value(re.compile("Example 4"))
    changes(visit, lambda: visit.locator("#bridge input[type=number]").fill("0.4"))
    visit.locator("#bridge-target textarea").fill("an old woman with grey hair")
    changes(visit, lambda: press(visit, "A face from these words"))
    expect(words(visit)).to_have_value(
        re.compile("^an old woman with grey hair\nFrom the words alone, in one pass, strength 0.4")
    )
    expect(visit.locator("#photo-note")).to_have_text("From words alone.")
    expect(visit.locator("#seen")).to_be_hidden()  # it came from no photo
    expect(visit.locator("#inversion")).to_contain_text("Beginning")
    expect(visit.locator("#strip button")).to_have_count(4)

    # Its recipe brings it back at its strength, and with no strength it is the mean face, from whatever face.
    share = visit.locator("#share input[type=number]")
    changes(visit, lambda: share.fill("50"))
    recipe, half = taken_home(visit, "Recipe", tmp_path), drawn(visit, tmp_path)
    changes(visit, lambda: visit.locator("#examples button").nth(1).click())
    changes(visit, lambda: bring(visit, recipe))
    expect(share).to_have_value("50")
    assert np.abs(drawn(visit, tmp_path) - half).max() <= 1  # of 255
    changes(visit, lambda: share.fill("0"))
    average = shown_studio.image(shown_studio.sample(0, truncation=0.0))
    assert np.abs(drawn(visit, tmp_path) - np.asarray(average, int)).max() <= 1


def test_what_is_wrong_is_said_beside_the_buttons(visit):  # noqa: F811
    open_it(visit)
    shown = after(visit).get_attribute("src")
    target = visit.locator("#bridge-target textarea")
    for text, button, said in (
        (" ", "Apply", "a few words"),
        ("face", "Apply", "are the same"),
        ("", "A face from these words", "describe"),
    ):
        target.fill(text)
        press(visit, button)
        expect(note(visit)).to_contain_text(said, timeout=SLOW)
    target.fill("old face")
    for level in ("Coarse", "Medium", "Fine"):
        visit.get_by_label(level).uncheck()
    expect(note(visit)).to_contain_text("at least one", timeout=SLOW)
    visit.get_by_label("Fine").check()
    expect(words(visit)).to_have_value(re.compile("^old face\n.*fine only$"), timeout=SLOW)
    assert after(visit).get_attribute("src") != shown
    target.fill("face like a zeppelin")
    changes(visit, lambda: press(visit, "Apply"))
    expect(note(visit)).to_contain_text("never taught “zeppelin”")
    expect(visit.locator(".toast-body")).to_have_count(0)


def test_a_model_without_alignment_says_how_to_get_one(chromium, studio):
    with open_page(build(studio, training_minutes=0)) as page:
        guest = chromium.new_page()
        guest.goto(page.local_url, timeout=SLOW)
        open_tab(guest, "Text to face")
        expect(guest.locator("#no-alignment code")).to_have_text("python -m pipeline.training.csla --model seeded")
        expect(guest.locator("#apply-bridge")).to_be_hidden()
        guest.close()
