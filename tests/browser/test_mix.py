"""Mixing two faces: of the strip, of one photo, or an example; the share, the way between them, and going on."""

import re

import numpy as np
from PIL import Image
from playwright.sync_api import expect

from tests.browser.test_history import bring, pair, taken_home, words  # noqa: F401
from tests.browser.test_page import SLOW, after, changes, press, visit  # noqa: F401
from tests.pictures import EXAMPLES


def others(page):
    return page.locator("#others button.thumbnail-item")


def open_mix(page):
    page.get_by_role("button", name=re.compile("^Mix with another face")).click()
    expect(others(page).first).to_be_visible()


def pixels(image):
    return np.asarray(image.convert("RGB"), float)


def test_two_faces_of_a_photo(visit, pair, tmp_path, shown_studio):  # noqa: F811
    changes(visit, lambda: visit.locator("#photo input[type=file]").set_input_files(pair))
    expect(visit.locator("#strip button")).to_have_count(1)
    open_mix(visit)
    expect(others(visit)).to_have_count(1 + len(EXAMPLES))  # its other face
    changes(visit, others(visit).first.click)
    expect(words(visit)).to_have_value("pair, face 1 + Face 2\n50% “pair, face 1”, 50% “Face 2”")
    expect(visit.locator("#strip button")).to_have_count(2)
    expect(visit.locator("#inversion")).to_contain_text("Mixture")
    expect(visit.locator("#photo-note")).to_have_text("A mixture of “pair, face 1” and “Face 2”.")

    # Of the other one all, and none; the loop shows the whole way all the same.
    one, other = (shown_studio.image(shown_studio.invert(face)) for face in shown_studio.align(pair))
    share = visit.locator("#share input[type=range]")
    for key, face in (("End", other), ("Home", one)):
        changes(visit, lambda key=key: share.press(key))
        with Image.open(taken_home(visit, "PNG", tmp_path)) as drawn:
            assert np.abs(pixels(drawn) - pixels(face)).max() <= 1  # of 255
    expect(words(visit)).to_have_value(re.compile("100% “pair, face 1”, 0% “Face 2”$"))
    expect(visit.locator("#strip button")).to_have_count(2)
    with Image.open(taken_home(visit, "GIF", tmp_path)) as loop:
        first, middle = pixels(loop), loop.seek(loop.n_frames // 2) or pixels(loop)
        for frame, near, far in ((first, one, other), (middle, other, one)):
            assert np.abs(frame - pixels(near)).mean() < np.abs(frame - pixels(far)).mean() / 3

    # What is said under the face is of the one that is seen, also on the way back.
    press(visit, "Undo")
    expect(visit.locator("#photo-note")).to_have_text(re.compile("2 faces found.*another face above"), timeout=SLOW)
    press(visit, "Redo")
    expect(visit.locator("#photo-note")).to_contain_text("A mixture of", timeout=SLOW)


def test_on_a_phone_the_mixture_is_seen_at_once(chromium, url):
    page = chromium.new_page(viewport={"width": 390, "height": 844})
    page.set_default_timeout(SLOW)
    page.goto(url, timeout=SLOW)
    expect(after(page)).to_be_visible(timeout=SLOW)
    open_mix(page)
    others(page).last.scroll_into_view_if_needed()
    expect(page.locator("#before-after")).not_to_be_in_viewport(ratio=0.5)
    changes(page, others(page).last.click)
    expect(page.locator("#before-after")).to_be_in_viewport(ratio=0.9, timeout=SLOW)
    page.close()


def test_edits_go_on_from_a_mixture(visit, tmp_path):  # noqa: F811
    open_mix(visit)
    expect(others(visit)).to_have_count(1 + len(EXAMPLES) - 1)  # the face as it was, and examples but for this one
    changes(visit, others(visit).nth(3).click)
    expect(words(visit)).to_have_value(re.compile("^smile [+] Example 4"))
    expect(visit.locator("#copy-link")).to_be_hidden()
    press(visit, "Recipe")
    expect(visit.locator(".toast-body")).to_contain_text("takes both faces", timeout=SLOW)
    press(visit, "Close")
    mixture = after(visit).get_attribute("src")
    changes(visit, lambda: visit.locator("#pairs button").nth(3).click())
    recipe = taken_home(visit, "Recipe", tmp_path)
    glasses = taken_home(visit, "PNG", tmp_path).read_bytes()
    changes(visit, lambda: press(visit, "Undo"))
    assert after(visit).get_attribute("src") == mixture
    changes(visit, lambda: bring(visit, recipe))
    assert taken_home(visit, "PNG", tmp_path).read_bytes() == glasses

    # A visitor who starts over leaves nothing behind, also where the pictures to mix with are in view.
    visit.once("dialog", lambda dialog: dialog.accept())
    changes(visit, lambda: press(visit, "Start over"))
    expect(others(visit)).to_have_count(1 + len(EXAMPLES) - 1)
