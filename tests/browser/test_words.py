"""The field for words: what should change is typed, read and done, and it is said how."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.test_choice import hold  # noqa: F401
from tests.browser.test_page import SLOW, after, changes, open_tab, press
from tests.pictures import EXAMPLES


@pytest.fixture
def page(chromium, url):
    """The page as it opens, on a laptop."""
    page = chromium.new_page(viewport={"width": 1366, "height": 900})
    page.set_default_timeout(SLOW)
    page.goto(url, timeout=SLOW)
    expect(after(page)).to_be_visible(timeout=SLOW)
    yield page
    page.close()


def field(page):
    return page.locator("#wish textarea")


def how(page):
    return page.locator("#how")


def strip(page):
    return page.locator("#strip button")


def say(page, words):
    field(page).fill(words)
    field(page).press("Enter")


def test_words_are_applied_by_enter_and_it_is_said_how(page):
    # The page opens with an edit, the words that it came of, and no method in sight.
    expect(field(page)).to_have_value("smile")
    expect(how(page)).to_have_text("Smile, by a mapper, only in the face“face” → “smiling face”")
    expect(page.get_by_role("tab")).to_have_count(0)

    # Two wishes are two edits, one after the other; the picture says what it is, and so does its link.
    say(page, "add glasses and blue eyes")
    expect(strip(page)).to_have_count(4, timeout=SLOW)
    expect(strip(page).nth(2)).to_have_accessible_name("glasses")
    expect(strip(page).nth(3)).to_have_accessible_name("blue eyes")
    expect(how(page)).to_contain_text("Blue eyes, by an exchange")
    assert page.locator("#before-after").evaluate("e => getComputedStyle(e, '::after').content") == '"blue eyes"'
    press(page, "Copy link")
    expect(page).to_have_url(re.compile("method=map.*&2.method=map.*&3.method=exchange"))

    # The one slider is the strength of this edit; the same words once more are that edit as it was.
    whole = after(page).get_attribute("src")
    changes(page, lambda: page.locator("#share input[type=number]").fill("50"))
    say(page, "blue eyes")
    expect(after(page)).to_have_attribute("src", whole, timeout=SLOW)
    expect(page.locator("#share input[type=number]")).to_have_value("100")
    expect(strip(page)).to_have_count(4)

    # A suggestion needs no Enter; the field follows to the edit that is chosen.
    changes(page, page.locator("#wishes button", has_text="a beard").click)
    expect(strip(page)).to_have_count(5)
    expect(field(page)).to_have_value("a beard")
    changes(page, strip(page).nth(2).click)
    expect(field(page)).to_have_value("glasses")


def test_what_is_not_known_is_said_before_the_edit_and_a_near_miss_is_one_click_away(page):
    note, offers, shown = page.locator("#wish-note"), page.locator("#offers button"), after(page).get_attribute("src")
    say(page, "a zebra")
    expect(note).to_contain_text("“zebra”", timeout=SLOW)
    say(page, "blonde hiar")
    expect(note).to_contain_text("Did you mean “blonde hair”?", timeout=SLOW)
    assert after(page).get_attribute("src") == shown
    expect(strip(page)).to_have_count(2)
    changes(page, offers.first.click)
    expect(field(page)).to_have_value("blonde hair")
    expect(how(page)).to_contain_text("Blonde hair, by an exchange")
    expect(note).to_be_hidden()
    expect(offers).to_have_count(0)

    # What was said goes when other words are typed.
    say(page, " ")
    expect(note).to_be_visible(timeout=SLOW)
    field(page).press("a")
    expect(note).to_be_hidden()
    expect(strip(page)).to_have_count(3)


def test_more_thorough_shows_its_steps_and_can_be_stopped(page):
    changes(page, lambda: press(page, "More thorough"))  # of the face: what was made of it quickly is left where it is
    expect(how(page)).to_contain_text(re.compile(r"Step \d+ of"))
    press(page, "Stop here")
    expect(how(page)).to_contain_text("Smile, by optimization", timeout=SLOW)
    expect(page.locator("#halt")).to_be_hidden()
    expect(page.locator("#thorough")).to_be_visible()
    expect(strip(page)).to_have_count(3)
    press(page, "Copy link")
    expect(page).to_have_url(re.compile(r"\?method=optimize&prompt=smiling\+face"))


def test_the_methods_are_one_click_away_and_filled_in(page):
    say(page, "add glasses")
    expect(strip(page)).to_have_count(3, timeout=SLOW)
    page.locator("#how .pair").click()
    target, neutral = page.locator("#target textarea"), page.locator("#neutral textarea")
    expect(target).to_have_value("face with glasses")
    expect(neutral).to_have_value("face")
    target.fill("face with sunglasses")
    changes(page, lambda: press(page, "Apply"))
    expect(how(page)).to_have_text("Face with sunglasses, by a global direction“face” → “face with sunglasses”")

    # The gallery is drawn for the visitor's own face, when it is looked at.
    pictures = page.locator("#mappers img")

    def drawn():
        expect(pictures.first).to_be_visible()
        page.wait_for_function("new Set([...document.querySelectorAll('#mappers img')].map(i => i.src)).size == 11")
        return [picture.get_attribute("src") for picture in pictures.all()]

    open_tab(page, "Mappers")
    before = drawn()
    changes(page, page.locator("#examples button").nth(2).click)
    page.wait_for_function("old => !old.includes(document.querySelector('#mappers img').src)", arg=before)
    assert not set(drawn()) & set(before)


def test_the_photo_is_in_the_comparison(page):
    changes(page, lambda: page.locator("#photo input[type=file]").set_input_files(EXAMPLES[2]))
    before, photo = page.locator("#before-after img").first, page.locator("#crop img")
    expect(page.locator("#compare input")).to_have_value("The photo")
    expect(page.locator("#inversion img")).to_have_attribute("src", after(page).get_attribute("src"))
    assert before.get_attribute("src") == photo.get_attribute("src")
    changes(page, lambda: say(page, "add glasses"))
    expect(page.locator("#compare input")).to_have_value(re.compile("^1.*, inversion$"))
    page.locator("#compare input").click()
    page.get_by_role("option", name="The photo").click()
    expect(before).to_have_attribute("src", photo.get_attribute("src"), timeout=SLOW)
    changes(page, lambda: say(page, "smile"))
    expect(before).to_have_attribute("src", photo.get_attribute("src"))


def test_an_edit_that_comes_late_replaces_no_words_and_no_other_picture(page, hold):  # noqa: F811
    go = hold("change")
    say(page, "add glasses")
    expect(how(page)).to_contain_text("add glasses …", timeout=SLOW)
    field(page).fill("my words")
    changes(page, strip(page).first.click)
    shown = after(page).get_attribute("src")
    go.set()
    expect(strip(page)).to_have_count(3, timeout=SLOW)
    expect(field(page)).to_have_value("my words")
    expect(how(page)).to_contain_text("Example 1, before any edit")
    assert after(page).get_attribute("src") == shown


def test_on_a_phone_words_suggestions_and_face_are_on_the_first_screen(chromium, url):
    page = chromium.new_page(viewport={"width": 360, "height": 740}, has_touch=True)
    page.set_default_timeout(SLOW)
    page.goto(url, timeout=SLOW)
    expect(after(page)).to_be_visible(timeout=SLOW)
    for part in (
        "#own-photo",
        "#examples",
        "#random",
        "#wish",
        "#wishes",
        "#change",
        "#how",
        "#share",
        "#before-after",
    ):
        expect(page.locator(part)).to_be_in_viewport(ratio=0.95)
    changes(page, lambda: say(page, "add glasses"))
    expect(page.locator("#before-after")).to_be_in_viewport(ratio=0.95)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    with page.expect_file_chooser():
        page.get_by_role("button", name="Your photo").click()
    page.get_by_role("link", name="Pick a face").click()
    expect(page.locator("#photo")).to_be_in_viewport(ratio=0.9)
    page.close()


def test_an_edit_stays_where_its_words_are_about_unless_the_visitor_chooses(page):
    say(page, "red lipstick")
    expect(how(page)).to_contain_text("Red lipstick, by a mapper, only in the mouth", timeout=SLOW)
    press(page, "Copy link")
    expect(page).to_have_url(re.compile("within=mouth"))
    changes(page, lambda: page.get_by_label("Everywhere").check())
    expect(how(page)).to_contain_text("Red lipstick, by a mapper“")
    count = strip(page).count()
    changes(page, lambda: page.get_by_label("As the words say").check())
    expect(how(page)).to_contain_text("only in the mouth")
    expect(strip(page)).to_have_count(count)  # it is the same edit

    # The numbers behind it leave it there, and so does its link.
    open_tab(page, "Mappers")
    changes(page, lambda: page.locator("#mapper-strength input[type=number]").fill("0.08"))
    expect(page.locator("#edit-words textarea")).to_have_value(re.compile("strength 0.08, only in the mouth"))
    page.goto(page.url, timeout=SLOW)
    expect(page.locator("#edit-words textarea")).to_have_value(re.compile("only in the mouth"), timeout=SLOW)
