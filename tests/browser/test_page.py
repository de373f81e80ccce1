"""One visit in a real browser: every way to a face, every method, what goes wrong, and leaving."""

import re

import pytest
from gradio_client import Client
from playwright.sync_api import expect

from tests.pictures import EXAMPLES

SLOW = 60_000  # milliseconds that a busy machine may take for a picture


@pytest.fixture
def visit(chromium, url):
    """A fresh page, with the methods open; whatever its console complains about fails the test in the end, but for a
    connection that is cut by going to another page."""
    page = chromium.new_page(viewport={"width": 1366, "height": 900})
    complaints = []
    page.on("console", lambda message: message.type in ("error", "warning") and complaints.append(message.text))
    page.set_default_timeout(SLOW)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(url, timeout=SLOW)
    expect(after(page)).to_be_visible(timeout=SLOW)
    open_tab(page, "Global directions")
    yield page
    page.close()
    assert [text for text in complaints if not re.match("AbortError|.*errored out", text)] == []


def after(page):
    return page.locator("#before-after img").nth(1)


def changes(page, act):
    """Do something, and wait until the edited picture is another one."""
    old = after(page).get_attribute("src")
    act()
    expect(after(page)).not_to_have_attribute("src", old, timeout=SLOW)


def open_tab(page, name):
    """Open one of the methods, which lie behind the field for words."""
    fold = page.locator("#methods > button")
    fold.wait_for()
    if "open" not in fold.get_attribute("class").split():
        fold.click()
    page.get_by_role("tab", name=name, exact=True).click()


def press(page, name):
    page.get_by_role("button", name=name, exact=True).click()


def test_a_visit(visit):
    # A face is there already, edited; then an example, a photo of one's own, and a random face.
    expect(visit.locator("#photo-note")).to_contain_text("An example, edited already")
    expect(visit.locator("#strip button")).to_have_count(2)
    changes(visit, lambda: visit.locator("#examples button").nth(1).click())
    expect(visit.locator("#edit-words textarea")).to_have_value("Example 2")
    changes(visit, lambda: visit.locator("#photo input[type=file]").set_input_files(EXAMPLES[-1]))
    expect(visit.locator("#edit-words textarea")).to_have_value(EXAMPLES[-1].stem)
    expect(visit.locator("#photo-note")).to_contain_text("drawn faces only")
    changes(visit, lambda: press(visit, "Random face"))
    expect(visit.locator("#photo-note")).to_contain_text("Random face")

    # Global directions: a known good pair, words of one's own, and both sliders.
    changes(visit, lambda: visit.locator("#pairs button").nth(2).click())
    visit.locator("#target textarea").fill("surprised face")
    changes(visit, lambda: press(visit, "Apply"))
    expect(visit.locator("#kept")).to_contain_text("channels kept")
    changes(visit, lambda: visit.locator("#alpha input[type=range]").press("End"))
    changes(visit, lambda: visit.locator("#channels input[type=range]").press("Home"))
    beta = visit.locator("#beta input")
    shown = after(visit).get_attribute("src")
    beta.fill("0.9")
    expect(visit.locator("#kept")).to_contain_text("No channel", timeout=SLOW)
    assert after(visit).get_attribute("src") == shown

    # A mapper and its strength.
    open_tab(visit, "Mappers")
    changes(visit, lambda: visit.locator("#mappers button").first.click())
    changes(visit, lambda: visit.locator("#mapper-strength input[type=range]").press("ArrowLeft"))

    # Optimization, live, then stopped: what was reached stays.
    open_tab(visit, "Optimization")
    visit.locator("#steps input[type=number]").fill("300")
    changes(visit, lambda: press(visit, "Optimize"))
    expect(visit.locator("#losses polyline").first).to_be_visible()
    press(visit, "Stop")
    expect(visit.locator("#edit-words textarea")).to_have_value(re.compile(r"[0-9]+ steps"), timeout=SLOW)
    assert "300 steps" not in visit.locator("#edit-words textarea").input_value()


def test_mistakes_are_answered_and_lose_nothing(visit, bad_photos):
    old = after(visit).get_attribute("src")
    press(visit, "Remove Image")
    visit.locator("#photo input[type=file]").set_input_files(bad_photos["text"])
    expect(visit.locator(".toast-body")).to_contain_text("could not be read", timeout=SLOW)
    expect(visit.locator("#working")).not_to_contain_text("Looking at the photo")
    press(visit, "Close")
    open_tab(visit, "Optimization")
    visit.locator("#prompt textarea").fill("   ")
    press(visit, "Optimize")
    expect(visit.locator(".toast-body")).to_contain_text("describe", timeout=SLOW)
    expect(visit.locator("#stop")).to_be_disabled()
    assert after(visit).get_attribute("src") == old

    # Markup in a text stays text, and the next photo works.
    open_tab(visit, "Global directions")
    visit.locator("#target textarea").fill("<img src=x onerror=document.title='broken'> face")
    changes(visit, lambda: press(visit, "Apply"))
    expect(visit.locator("#edit-words textarea")).to_have_value(re.compile("<img src=x"))
    assert visit.title() == "StyleCLIP Studio"
    changes(visit, lambda: visit.locator("#photo input[type=file]").set_input_files(EXAMPLES[0]))


def test_leaving_ends_the_optimization(visit, url, shown_studio, monkeypatch):
    taken = []
    optimize = shown_studio.optimize

    def counted(*args, **kwargs):
        for step in optimize(*args, **kwargs):
            taken.append(step.index)
            yield step

    monkeypatch.setattr(shown_studio, "optimize", counted)
    open_tab(visit, "Optimization")
    visit.locator("#steps input[type=number]").fill("300")
    changes(visit, lambda: press(visit, "Optimize"))
    visit.close()
    # One long job at a time: an answer to the next visitor's means that the first one's is over.
    Client(url, verbose=False, httpx_kwargs={"timeout": 60}).predict("an old face", 1, api_name="/generate")
    assert 0 < len(taken) < 300


# Types into a field in the very moment in which it is drawn, before the browser shows it.
TYPE_AT_ONCE = """(button, found) => new Promise((done, failed) => {
  button.click();
  setTimeout(() => failed(found.field + " is never drawn"), found.wait);
  const look = () => {
    const field = document.querySelector(found.field);
    if (!field) return setTimeout(look, 0);
    field.value = found.text;
    field.dispatchEvent(new Event("input", {bubbles: true}));
    requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 0)));
  };
  look();
})"""


def test_what_is_typed_as_soon_as_a_field_is_drawn_is_kept(visit):
    tabs = visit.locator("#work").get_by_role("tab", include_hidden=True)
    for opened, field, typed in (
        (tabs.filter(has_text="Optimization"), "#prompt textarea", "a red hat"),
        (tabs.filter(has_text="Mappers"), "#mapper-strength input", "0.07"),
        (visit.locator("#own-mappers button"), "#mapper-words textarea", "a red hat"),
        (tabs.filter(has_text="Text to face"), "#bridge-target textarea", "a red hat"),
    ):
        opened.first.evaluate(TYPE_AT_ONCE, {"field": field, "text": typed, "wait": SLOW})
        expect(visit.locator(field).first).to_have_value(typed)


def test_nothing_is_wider_than_a_phone(chromium, url):
    page = chromium.new_page(viewport={"width": 360, "height": 740})
    page.set_default_timeout(SLOW)
    page.goto(url, timeout=SLOW)
    expect(after(page)).to_be_visible(timeout=SLOW)
    for name in ("Optimization", "Mappers", "Global directions", "Text to face"):
        open_tab(page, name)
        assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.close()
