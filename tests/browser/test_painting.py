"""Where an edit may change the picture, painted by the visitor."""

import re

from playwright.sync_api import expect

from tests.browser.test_page import SLOW, after, changes, open_tab, press, visit  # noqa: F401
from tests.browser.test_words import field, how, say

CANVAS = "#paint canvas"
# How much of the canvas is painted, from 0 to 1.
PAINTED = """canvas => {
  const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return data.filter((value, i) => i % 4 === 3 && value > 127).length * 4 / data.length;
}"""


def choose(page, name):
    page.locator("#where").get_by_label(name).check()


def paint(page):
    """A stroke from left to right, through the upper third of the face."""
    box = page.locator(CANVAS).bounding_box()
    for share, act in ((0.2, page.mouse.down), (0.5, None), (0.8, page.mouse.up)):
        page.mouse.move(box["x"] + share * box["width"], box["y"] + 0.2 * box["height"], steps=3)
        if act:
            act()


def painted(page):
    return page.locator(CANVAS).evaluate(PAINTED)


def test_an_edit_stays_where_a_visitor_painted(visit, chromium):  # noqa: F811
    expect(visit.locator(CANVAS)).to_be_hidden()
    choose(visit, "Paint it yourself")
    expect(visit.locator("#paint img")).to_have_attribute("src", after(visit).get_attribute("src"))
    say(visit, "purple hair")
    expect(visit.locator("#wish-note")).to_contain_text("Nothing is painted yet", timeout=SLOW)
    expect(visit.locator("#strip button")).to_have_count(2)

    visit.locator(CANVAS).scroll_into_view_if_needed()
    paint(visit)
    share = painted(visit)
    assert 0.05 < share < 0.3
    changes(visit, lambda: press(visit, "Change it"))
    expect(how(visit)).to_contain_text(re.compile("Purple hair, .*, only in the painted area"))
    expect(visit.locator("#wish-note")).to_be_hidden()
    press(visit, "Copy link")
    expect(visit).to_have_url(re.compile("within=painted[.]"))
    stranger = chromium.new_context().new_page()
    stranger.goto(visit.url, timeout=SLOW)
    expect(how(stranger)).to_contain_text("only in the painted area", timeout=SLOW)
    stranger.context.close()

    # It counts for the next edit, and is still there when the page is loaded again, until it is cleared.
    changes(visit, lambda: say(visit, "glasses"))
    expect(how(visit)).to_contain_text(re.compile("Glasses, .*, only in the painted area"))
    visit.reload(timeout=SLOW)
    expect(field(visit)).to_have_value("glasses", timeout=SLOW)
    choose(visit, "Paint it yourself")
    expect(visit.locator(CANVAS)).to_be_visible()
    assert abs(painted(visit) - share) < 0.02
    visit.locator("#paint").get_by_role("button", name="Erase").click()
    paint(visit)
    assert painted(visit) < share / 4
    visit.locator("#paint").get_by_role("button", name="Clear").click()
    assert painted(visit) == 0
    press(visit, "Change it")
    expect(visit.locator("#wish-note")).to_contain_text("Nothing is painted yet", timeout=SLOW)


def test_a_method_is_held_to_what_was_painted_and_the_next_face_has_nothing_painted(visit):  # noqa: F811
    choose(visit, "Paint it yourself")
    visit.locator(CANVAS).scroll_into_view_if_needed()
    paint(visit)
    open_tab(visit, "Global directions")
    changes(visit, lambda: visit.locator("#pairs button").nth(4).click())
    expect(how(visit)).to_contain_text("only in the painted area")
    changes(visit, lambda: visit.locator("#examples button").nth(1).click())
    visit.wait_for_function(f"({PAINTED})(document.querySelector('{CANVAS}')) == 0", timeout=SLOW)
    press(visit, "Apply")
    expect(visit.locator(".toast-body")).to_contain_text("Nothing is painted yet", timeout=SLOW)


def test_a_finger_paints_on_a_phone(chromium, url):
    page = chromium.new_page(viewport={"width": 390, "height": 844}, has_touch=True)
    page.set_default_timeout(SLOW)
    page.goto(url, timeout=SLOW)
    expect(after(page)).to_be_visible(timeout=SLOW)
    choose(page, "Paint it yourself")
    expect(page.locator(CANVAS)).to_be_in_viewport(ratio=1)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    box = page.locator(CANVAS).bounding_box()
    for share in (0.4, 0.5, 0.6):
        page.touchscreen.tap(box["x"] + share * box["width"], box["y"] + 0.2 * box["height"])
    assert painted(page) > 0.01
    changes(page, lambda: say(page, "purple hair"))
    expect(page.locator("#edit-words textarea")).to_have_value(re.compile("only in the painted area"))
    expect(page.locator("#before-after")).to_be_in_viewport(ratio=0.9)
    page.close()
