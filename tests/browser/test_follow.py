"""What stands beside the picture belongs to it: photo, fields, notes, name; and who waits is told so."""

import json
import re
import threading

from playwright.sync_api import expect

from tests.browser.test_history import bring, pair, taken_home, words  # noqa: F401
from tests.browser.test_page import SLOW, after, changes, open_tab, press, visit  # noqa: F401


def value(page, field):
    return page.locator(f"#{field} :is(textarea, input[type=number])").first


def on_the_left(page):
    return [page.locator(f"#{name} img").get_attribute("src") for name in ("photo", "crop", "inversion")]


def test_photo_and_fields_are_those_of_the_picture(visit, pair, shown_studio, monkeypatch):  # noqa: F811
    # Before a face is found, the page says that it looks for one.
    align, found = shown_studio.align, threading.Event()
    monkeypatch.setattr(shown_studio, "align", lambda photo: (found.wait(60), align(photo))[1])
    visit.locator("#photo input[type=file]").set_input_files(pair)
    expect(visit.locator("#working progress")).to_be_visible(timeout=SLOW)
    changes(visit, found.set)
    expect(visit.locator("#photo-note")).to_contain_text("2 faces found")
    expect(visit.locator("#working")).to_be_hidden()
    changes(visit, lambda: visit.locator("#faces button").nth(1).click())

    # Three edits by two methods; the fields follow back to the first, and a slider then moves that one.
    changes(visit, lambda: visit.locator("#pairs button").nth(3).click())
    changes(visit, lambda: visit.locator("#pairs button").nth(5).click())
    visit.locator("#target textarea").fill("face like a zeppelin")
    changes(visit, lambda: press(visit, "Apply"))
    expect(visit.locator("#kept")).to_contain_text("zeppelin")
    open_tab(visit, "Mappers")
    changes(visit, lambda: visit.locator("#mappers button").nth(2).click())
    expect(visit.locator("#strip button")).to_have_count(5)
    changes(visit, lambda: visit.locator("#strip button").nth(2).click())
    expect(visit.get_by_role("tab", name="Global directions", selected=True)).to_be_visible()
    expect(value(visit, "target")).to_have_value("face with curly hair")
    expect(visit.locator("#kept")).to_have_text("80 channels kept")  # the note on unknown words is gone
    changes(visit, lambda: press(visit, "Undo"))
    changes(visit, lambda: press(visit, "Redo"))
    changes(visit, lambda: visit.locator("#strip button").nth(1).click())
    expect(value(visit, "target")).to_have_value("face with glasses")
    changes(visit, lambda: visit.locator("#alpha input[type=range]").press("End"))
    expect(words(visit)).to_have_value(re.compile("^face with glasses\n.*α 10,"))
    changes(visit, lambda: visit.locator("#strip button").nth(4).click())
    expect(visit.get_by_role("tab", name="Mappers", selected=True)).to_be_visible()
    expect(visit.locator("#strip button")).to_have_count(5)

    # Another face, and back: the photo of the first is on the left again, with both its faces.
    before = on_the_left(visit)
    changes(visit, lambda: press(visit, "Random face"))
    expect(visit.locator("#faces")).to_be_hidden()
    expect(visit.locator("#photo img, #crop img")).to_have_count(0)
    changes(visit, lambda: visit.locator("#strip button").nth(1).click())
    expect(visit.locator("#faces")).to_be_visible()
    expect(visit.locator("#faces button").nth(1)).to_have_accessible_name("Face 2 of 2")
    expect(visit.locator("#faces button").nth(1)).to_have_attribute("aria-pressed", "true")
    assert on_the_left(visit) == before


def test_names_links_and_notes(visit, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)  # where the app was started makes no difference
    # A name is the edit's in every recipe that has it, and comes back with it.
    changes(visit, lambda: visit.locator("#examples button").nth(3).click())
    changes(visit, lambda: visit.locator("#pairs button").nth(3).click())
    changes(visit, lambda: visit.locator("#pairs button").nth(1).click())
    changes(visit, lambda: visit.locator("#strip button").nth(1).click())
    name = value(visit, "shot-name")
    expect(name).to_have_value("face with glasses")
    name.fill("  Reads \n a lot ")
    name.press("Enter")
    expect(visit.locator("#strip")).to_contain_text("Reads a lot")
    changes(visit, lambda: visit.locator("#alpha input[type=range]").press("ArrowRight"))
    changes(visit, lambda: visit.locator("#strip button").nth(2).click())
    recipe = taken_home(visit, "Recipe", tmp_path)
    assert [edit.get("name") for edit in json.loads(recipe.read_text())["edits"]] == ["Reads a lot", None]
    changes(visit, lambda: visit.locator("#examples button").nth(4).click())
    changes(visit, lambda: bring(visit, recipe))
    expect(visit.locator("#strip button").nth(4)).to_contain_text("Reads a lot")
    expect(value(visit, "target")).to_have_value("face with blonde hair")

    # A link that was copied is said to be, until there is another edit. Without a clipboard the sentence helps.
    visit.context.grant_permissions(["clipboard-read", "clipboard-write"])
    press(visit, "Copy link")
    expect(visit.locator("#take-home-note")).to_have_text("The link is copied.")
    assert visit.evaluate("navigator.clipboard.readText()") == visit.url
    changes(visit, lambda: visit.locator("#alpha input[type=range]").press("ArrowRight"))
    expect(visit.locator("#take-home-note")).to_contain_text("Drag the line")
    visit.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    press(visit, "Copy link")
    expect(visit.locator("#take-home-note")).to_contain_text("The address bar has the link")

    # What was said of words is gone when others are written, and with another face.
    target = visit.locator("#target textarea")
    target.fill("face like a zeppelin")
    changes(visit, lambda: press(visit, "Apply"))
    expect(visit.locator("#kept")).to_contain_text("zeppelin")
    target.fill("face")
    expect(visit.locator("#kept")).to_be_empty()
    open_tab(visit, "Optimization")
    visit.locator("#prompt textarea").fill("a zebra")
    visit.locator("#steps input[type=number]").fill("1")
    changes(visit, lambda: press(visit, "Optimize"))
    expect(visit.locator("#optimization-note")).to_contain_text("zebra")
    changes(visit, lambda: press(visit, "Random face"))
    expect(visit.locator("#optimization-note")).not_to_contain_text("zebra")
