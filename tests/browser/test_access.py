"""Everybody can use the page: axe-core's rules, names for a screen reader, the keyboard alone, and a narrow window."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser.test_page import SLOW, after, changes, open_tab
from tests.pictures import EXAMPLES

TABS = ("Global directions", "Optimization", "Mappers", "Text to face")


def ready(page):
    """Wait until the page is drawn, and names are given."""
    expect(after(page)).to_be_visible(timeout=SLOW)
    expect(page.get_by_role("button", name="Example 7: an old woman with glasses")).to_be_attached(timeout=SLOW)


@pytest.fixture
def opened(chromium, url):
    """Opens the page as a visitor with these options does."""
    pages = []

    def opens(**options):
        pages.append(chromium.new_page(**{"viewport": {"width": 1366, "height": 900}} | options))
        pages[-1].set_default_timeout(SLOW)
        pages[-1].goto(url, timeout=SLOW)
        ready(pages[-1])
        return pages[-1]

    yield opens
    for page in pages:
        page.close()


@pytest.mark.parametrize(
    "options",
    [{}, {"color_scheme": "dark"}, {"viewport": {"width": 360, "height": 740}}],
    ids=["light", "dark", "phone"],
)
def test_no_fault(opened, options):
    page = opened(**options)
    width = page.viewport_size["width"]
    faults = []
    for tab in TABS:
        open_tab(page, tab)
        for fold in page.locator(":is(.tabitem:visible, #mix) button.label-wrap:not(.open)").all():
            fold.click()
        found = Axe().run(page).response["violations"]
        faults += [f"{tab}: {v['impact']} {v['id']} {v['nodes'][0]['html'][:200]}" for v in found]
        assert page.evaluate("document.documentElement.scrollWidth") == width
    assert faults == []


def test_a_visit_with_the_keyboard_alone(opened):
    page = opened()
    focused = page.locator(":focus")

    def to(selector, key="Tab", most=40):
        """Press a key until something has the focus, which can be seen there."""
        for _ in range(most):
            page.keyboard.press(key)
            if page.locator(f":focus:is({selector}), {selector} :focus").count():
                assert focused.first.evaluate("""e => {
                  const styles = [e, e.closest(".wrap") ?? e].map(part => getComputedStyle(part));
                  return styles.some(style => style.outlineStyle != "none" || style.boxShadow != "none");
                }""")
                return
        raise AssertionError(f"{selector} is not reached")

    # The words are two keys away; examples have names, and what is no button is no stop.
    to("#skip", most=1)
    page.keyboard.press("Enter")
    expect(page.locator("#wish textarea")).to_be_focused()
    page.locator("#masthead h1").click()  # the keys begin at the top again
    to("#photo .source-selection")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    changes(page, lambda: chooser.value.set_files(EXAMPLES[2]))
    to("#examples")
    expect(focused).to_have_accessible_name(re.compile("^Example 1: a woman with"))
    for picture, name in (("#crop", "Aligned: What is taken"), ("#inversion", "Inversion: The face as")):
        expect(page.locator(f"{picture} button").last).to_have_accessible_name(re.compile(f"^{name}"))
        expect(page.locator(f"{picture} button").last).to_have_attribute("tabindex", "-1")

    # The words are applied by Enter, and the methods are one key away.
    to("#wish textarea")
    page.keyboard.type("glasses")  # in place of the words that stand there
    changes(page, lambda: page.keyboard.press("Enter"))
    to("#methods > button")
    page.keyboard.press("Enter")

    # Arrow keys go round the tabs, of which one is a stop.
    expect(page.locator("[role=tab]").first).to_be_visible()
    to("[role=tab]")
    page.keyboard.press("Home")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    for key, name in (
        ("ArrowRight", "Styles"),
        ("ArrowRight", "Text to face"),
        ("ArrowRight", "Optimization"),
        ("End", "Text to face"),
        ("ArrowLeft", "Styles"),
        ("ArrowLeft", "Sliders"),
        ("ArrowLeft", "Global directions"),
    ):
        page.keyboard.press(key)
        expect(page.get_by_role("tab", name=name)).to_be_focused()
        expect(page.get_by_role("tab", name=name, selected=True)).to_be_visible()
    to("#pairs button", most=3)
    changes(page, lambda: page.keyboard.press("Enter"))
    to("#alpha input[type=range]")
    changes(page, lambda: page.keyboard.press("ArrowRight"))

    # The line between before and after moves by the keys of a slider.
    to("[data-testid=slider]")
    expect(focused).to_have_role("slider")
    for key, share in (("ArrowRight", 52), ("PageDown", 42), ("Home", 0), ("ArrowLeft", 0), ("End", 100)):
        page.keyboard.press(key)
        expect(focused).to_have_attribute("aria-valuenow", str(share))
    assert "inset(0px 0px 0px 100%)" in after(page).get_attribute("style")

    # The list of what to compare with closes behind whoever passes through, and nothing is chosen.
    to("#compare input")
    expect(page.locator("#compare [role=option]").first).to_be_visible()
    to("#shot-name textarea", key="Shift+Tab", most=1)
    expect(page.locator("#compare [role=option]")).to_have_count(0)
    to("#compare input", most=1)
    to("#download-png", most=1)
    expect(page.locator("#compare [role=option]")).to_have_count(0)
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename.endswith(".png")
    to("#undo")
    changes(page, lambda: page.keyboard.press("Enter"))
    to("#strip")
    expect(focused).to_have_accessible_name("2")
    for _ in range(2):
        to("#strip", most=1)
    changes(page, lambda: page.keyboard.press("Enter"))


def test_the_page_scrolls_only_to_what_was_asked_for(opened):
    page = opened(viewport={"width": 390, "height": 844})
    page.wait_for_function("document.querySelector('#strip .selected')")
    page.wait_for_function("new Promise(done => setTimeout(() => done(true), 500))")  # as late as it would begin
    assert page.evaluate("scrollY") == 0

    # The words and the face are seen at once, so nothing moves when they are applied.
    changes(page, lambda: page.locator("#wishes button").nth(1).click())
    page.wait_for_function("new Promise(done => setTimeout(() => done(true), 500))")
    assert page.evaluate("scrollY") == 0

    # From a face that is chosen further down, and from a method, the page goes to the picture.
    page.locator("#examples button").nth(3).scroll_into_view_if_needed()
    changes(page, lambda: page.locator("#examples button").nth(3).click())
    expect(page.locator("#before-after")).to_be_in_viewport(ratio=0.9, timeout=SLOW)
    open_tab(page, "Global directions")
    changes(page, lambda: page.locator("#pairs button").nth(1).click())
    expect(page.locator("#before-after")).to_be_in_viewport(ratio=0.9, timeout=SLOW)
