"""Styles in the page: learned for words of one's own, chosen in the gallery, kept with later edits; and painting."""

import re
from dataclasses import replace

import pytest
from playwright.sync_api import expect

from pipeline import StyleCLIP
from tests.browser.test_page import SLOW, after, changes, open_tab, press
from tests.visits import open_page
from webapp import learners
from webapp.page import build


@pytest.fixture
def tab(shown_studio, chromium, request):
    """A visit to a model whose CLIP counts as one that knows words for styles; with a number, of so many steps."""
    row = shown_studio.family.row
    defaults = row.defaults.model_copy(update={"paint_steps": getattr(request, "param", 3)})
    known = {"style_words": "oil painting", "known_styles": ["mosaic", "oil painting"]}
    row = row.model_copy(update=known | {"defaults": defaults})
    with open_page(build(StyleCLIP(replace(shown_studio.family, row=row)))) as page:
        visit = chromium.new_page(viewport={"width": 1366, "height": 900})
        visit.set_default_timeout(SLOW)
        visit.goto(page.local_url, timeout=SLOW)
        expect(after(visit)).to_be_visible(timeout=SLOW)
        open_tab(visit, "Styles")
        yield visit
        visit.close()


def words_of(visit):
    return visit.locator("#edit-words textarea")


def test_a_style_is_learned_applied_saved_and_loaded_again(tab, monkeypatch, tmp_path):
    monkeypatch.setattr(learners, "usual_steps", lambda generator: 4)
    some = tab.locator("#styles button.thumbnail-item").count()
    tab.get_by_role("button", name=re.compile("^Your own words")).click()
    tab.locator("#style-words textarea").fill("a zeppelin with black hair")
    tab.locator("#style-neutral textarea").fill("a zeppelin with black hair")
    press(tab, "Train")
    expect(tab.locator(".toast-body")).to_contain_text("is what there is already", timeout=SLOW)
    tab.locator("#style-neutral textarea").fill("a face")
    changes(tab, lambda: press(tab, "Train"))
    expect(tab.locator("#style-training")).to_contain_text("of 8 other faces", timeout=SLOW)
    expect(tab.locator("#style-training")).to_contain_text("never taught “zeppelin”")
    expect(tab.locator("#style-preview img")).to_be_visible()
    expect(tab.locator("#styles button.thumbnail-item")).to_have_count(some + 1)
    expect(words_of(tab)).to_have_value(re.compile("^a zeppelin with black hair\nStyle, strength 1"))
    changes(tab, lambda: tab.locator("#style-strength input[type=range]").press("Home"))
    expect(words_of(tab)).to_have_value(re.compile("Style, strength 0"))
    changes(tab, lambda: tab.locator("#style-strength input[type=range]").press("End"))

    with tab.expect_download() as download:
        press(tab, "Save this style")
    kept = tmp_path / download.value.suggested_filename
    download.value.save_as(kept)
    tab.reload()
    expect(after(tab)).to_be_visible(timeout=SLOW)
    open_tab(tab, "Styles")
    expect(tab.locator("#styles button.thumbnail-item")).to_have_count(some + 1)  # the visit goes on
    tab.get_by_role("button", name=re.compile("^Your own words")).click()
    with tab.expect_file_chooser() as chooser:
        press(tab, "Load a style")
    chooser.value.set_files(kept)
    expect(tab.locator("#styles button.thumbnail-item")).to_have_count(some + 2, timeout=SLOW)
    open_tab(tab, "Mappers")
    changes(tab, lambda: tab.locator("#mappers button.thumbnail-item").first.click())
    expect(tab.locator("#strip button.thumbnail-item")).to_have_count(5)


def test_a_picture_is_painted(tab):
    expect(tab.locator("#painting")).to_contain_text("This model knows mosaic and oil painting.")
    tab.locator("#paint-words textarea").fill("a face with black hair")
    changes(tab, lambda: press(tab, "Paint"))
    expect(words_of(tab)).to_have_value(re.compile("^a face with black hair\nPainted from .*, 3 steps"), timeout=SLOW)
    expect(tab.locator("#paint-picture")).to_be_enabled()


@pytest.mark.parametrize("tab", [400], indirect=True)
def test_what_was_painted_until_stop_is_kept(tab):
    tab.locator("#paint-words textarea").fill("a zeppelin with grey hair")
    press(tab, "Paint")
    expect(tab.locator("#painting-progress")).to_contain_text("of 400", timeout=SLOW)
    expect(tab.locator("#painting-progress")).to_contain_text("never taught “zeppelin”")
    expect(tab.locator("#paint-picture")).to_be_disabled()
    changes(tab, lambda: press(tab, "Stop"))
    expect(words_of(tab)).to_have_value(re.compile("^a zeppelin with grey hair\nPainted"), timeout=SLOW)
    expect(tab.locator("#paint-picture")).to_be_enabled()
    expect(tab.locator("#stop-painting")).to_be_hidden()


def test_where_clip_knows_no_styles_there_are_the_ready_ones(shown_studio, chromium):
    row = shown_studio.family.row.model_copy(update={"style_words": ""})
    with open_page(build(StyleCLIP(replace(shown_studio.family, row=row)))) as page:
        visit = chromium.new_page(viewport={"width": 1366, "height": 900})
        visit.goto(page.local_url, timeout=SLOW)
        expect(after(visit)).to_be_visible(timeout=SLOW)
        open_tab(visit, "Styles")
        gallery = visit.locator("#styles button.thumbnail-item")
        expect(gallery).to_have_count(len(shown_studio.styles()))
        expect(visit.locator("#train-style, #paint-picture")).to_have_count(0)
        name, title = next(iter(shown_studio.styles().items()))
        changes(visit, gallery.first.click)
        expect(words_of(visit)).to_have_value(re.compile(f"^{name.replace('_', ' ')}\nStyle, strength 1"))
        expect(gallery.first).to_contain_text(title)
        visit.close()
