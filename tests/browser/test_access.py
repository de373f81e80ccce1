"""Everybody can use the page: axe-core's rules, the keyboard alone, and a narrow window."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser.test_page import SLOW, after, changes, open_tab

SERIOUS = ("serious", "critical")
TABS = ("Global directions", "Optimization", "Mappers", "Text to face")


@pytest.mark.parametrize(
    "options",
    [
        {"viewport": {"width": 1366, "height": 900}},
        {"viewport": {"width": 1366, "height": 900}, "color_scheme": "dark"},
        {"viewport": {"width": 360, "height": 740}},
    ],
    ids=["light", "dark", "phone"],
)
def test_no_serious_fault(chromium, url, options):
    page = chromium.new_page(**options)
    page.goto(url, timeout=SLOW)
    expect(after(page)).to_be_visible(timeout=SLOW)
    faults = []
    for tab in TABS:
        open_tab(page, tab)
        for fold in page.locator(":is(.tabitem:visible, #mix) button.label-wrap:not(.open)").all():
            fold.click()
        found = Axe().run(page).response["violations"]
        faults += [f"{tab}: {v['id']} {v['nodes'][0]['html'][:200]}" for v in found if v["impact"] in SERIOUS]
        assert page.evaluate("document.documentElement.scrollWidth") == options["viewport"]["width"]
    page.close()
    assert faults == []


def test_an_edit_with_the_keyboard_alone(chromium, url):
    page = chromium.new_page(viewport={"width": 1366, "height": 900})
    page.set_default_timeout(SLOW)
    page.goto(url, timeout=SLOW)
    expect(after(page)).to_be_visible(timeout=SLOW)

    def to(selector):
        """Press Tab until something is reached; the focus can be seen there."""
        for _ in range(150):
            page.keyboard.press("Tab")
            reached = page.locator(f":focus:is({selector}), {selector} :focus")
            if reached.count():
                assert reached.first.evaluate(
                    "e => { const s = getComputedStyle(e); return s.outlineStyle != 'none' || s.boxShadow != 'none' }"
                )
                return
        raise AssertionError(f"{selector} is not reached")

    to("#random")
    changes(page, lambda: page.keyboard.press("Enter"))
    to("#pairs button")
    changes(page, lambda: page.keyboard.press("Enter"))
    to("#alpha input[type=range]")
    changes(page, lambda: page.keyboard.press("ArrowRight"))
    to("#undo")
    changes(page, lambda: page.keyboard.press("Enter"))
    to("#strip button")
    page.keyboard.press("Tab")
    changes(page, lambda: page.keyboard.press("Enter"))
    page.close()
