"""Pictures of the page in each of its states, for people to judge: docs/screenshots/, and the README's two beside it.

    python -m benchmarks.screenshots [--folder docs/screenshots]

Starts the page on the default model and visits it with Debian's Chromium. Needs requirements-dev.txt.
"""

import argparse
import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from pipeline import StyleCLIP
from webapp.example_faces import PHOTOGRAPHS
from webapp.page import LAUNCH, build

SLOW = 300_000  # milliseconds; tuning takes a minute or more
expect.set_options(timeout=SLOW)
WORDS = ("smile", "blonde hair", "glasses", "older", "curly hair")
ON_SHEET = (3, 1, 2)  # examples, a row each
TILE = 220  # pixels
LAPTOP, PHONE = {"width": 1366, "height": 900}, {"width": 360, "height": 740}


def settled(page: Page) -> None:
    """Wait until every picture is there, and what follows an edit is drawn."""
    page.wait_for_timeout(1000)
    # Those below the window are not asked for until they are wanted.
    page.evaluate("for (const image of document.images) image.loading = 'eager'")
    page.wait_for_function("[...document.images].every(image => image.complete)")


def changed(page: Page, act: Callable[[], object]) -> None:
    """Do something, and wait for another picture and for what follows it."""
    after = page.locator("#before-after img").nth(1)
    old = after.get_attribute("src")
    act()
    expect(after).not_to_have_attribute("src", old, timeout=SLOW)
    settled(page)


def tab(page: Page, name: str) -> None:
    """Open one of the methods, which lie behind the field for words."""
    if closed := page.locator("#methods > button:not(.open)").all():
        closed[0].click()
    page.get_by_role("tab", name=name, exact=True).click()


def say(page: Page, words: str) -> None:
    """Type what should change."""
    page.locator("#wish textarea").fill(words)
    page.locator("#wish textarea").press("Enter")


def paint(page: Page) -> None:
    """Paint over the hair on one side of the face."""
    page.locator("#paint canvas").scroll_into_view_if_needed()
    box = page.locator("#paint canvas").bounding_box()
    for index, (x, y) in enumerate(((0.5, 0.1), (0.68, 0.14), (0.79, 0.26), (0.84, 0.42), (0.84, 0.6), (0.84, 0.8))):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=4)
        if index == 0:
            page.mouse.down()
    page.mouse.up()


def pair_of_faces(folder: Path) -> Path:
    """A photo with two people in it."""
    photo = Image.new("RGB", (700, 400), (120, 130, 140))
    for x, path in ((20, PHOTOGRAPHS[1].path), (370, PHOTOGRAPHS[4].path)):
        photo.paste(Image.open(path).convert("RGB").resize((310, 310)), (x, 60))
    photo.save(folder / "pair.png")
    return folder / "pair.png"


def sheet(studio: StyleCLIP, path: Path) -> None:
    """Some examples, and what the page makes of each by words."""
    out = Image.new("RGB", (TILE * (1 + len(WORDS)), TILE * len(ON_SHEET)))
    for y, number in enumerate(ON_SHEET):
        face = studio.invert(studio.align(PHOTOGRAPHS[number].path)[0])
        edits = [studio.change(face, wish).image for words in WORDS for wish in studio.wishes(words).wishes]
        for x, picture in enumerate([studio.image(face), *edits]):
            out.paste(picture.resize((TILE, TILE), Image.Resampling.LANCZOS), (TILE * x, TILE * y))
    out.save(path, quality=90)


def visit(browser: Browser, url: str, kept: Callable[[Page, str], None], folder: Path) -> None:
    """One visit, and what it sees on the way."""
    page = browser.new_page(viewport=LAPTOP)
    page.set_default_timeout(SLOW)

    def press(name: str) -> None:
        page.get_by_role("button", name=name, exact=True).click()

    page.goto(url)
    expect(page.locator("#before-after img").nth(1)).to_be_visible()
    settled(page)
    kept(page, "first-visit")
    say(page, "make her older and add glasses")
    expect(page.locator("#strip button")).to_have_count(4)
    say(page, "blak hair")
    expect(page.locator("#offers button")).to_be_visible()
    settled(page)
    kept(page, "words")
    page.locator("#where").get_by_label("Paint it yourself").check()
    changed(page, lambda: page.locator("#strip button").first.click())
    paint(page)
    changed(page, lambda: say(page, "blonde hair"))
    kept(page, "painted")
    page.locator("#where").get_by_label("As the words say").check()
    page.get_by_role("button", name="Model: Photographed faces").click()
    kept(page, "models")
    page.get_by_role("button", name="Model: Photographed faces").click()
    changed(page, lambda: page.locator("#photo input[type=file]").set_input_files(pair_of_faces(folder)))
    expect(page.locator("#likeness-progress progress")).to_be_visible()
    kept(page, "two-faces-tuning")
    page.locator("#stop-likeness").click()
    expect(page.locator("#stop-likeness")).to_be_hidden()
    changed(page, lambda: page.locator("#faces button").nth(1).click())
    tab(page, "Global directions")
    changed(page, lambda: page.locator("#pairs button").nth(0).click())
    changed(page, lambda: page.locator("#pairs button").nth(4).click())
    press("Show the grid")
    expect(page.locator("#grid img").last).to_be_visible()
    settled(page)
    kept(page, "grid")
    tab(page, "Mappers")
    page.wait_for_function("new Set([...document.querySelectorAll('#mappers img')].map(i => i.src)).size > 11")
    changed(page, lambda: page.locator("#mappers button.thumbnail-item").nth(1).click())
    kept(page, "mappers")
    tab(page, "Optimization")
    changed(page, lambda: press("Optimize"))
    expect(page.locator("#film img").nth(4)).to_be_visible()
    kept(page, "optimization-running")
    press("Stop")
    expect(page.locator("#edit-words textarea")).to_have_value(re.compile("steps"))
    expect(page.locator("#stop")).to_be_disabled()
    page.locator("#prompt textarea").fill(" ")
    press("Optimize")
    expect(page.locator(".toast-body")).to_be_visible()
    settled(page)
    kept(page, "a-mistake")
    page.get_by_role("button", name="Close", exact=True).click()
    changed(page, lambda: press("Tune to this face"))
    kept(page, "tuned")
    page.close()


def in_one_pass(browser: Browser, url: str, kept: Callable[[Page, str], None]) -> None:
    """Text to face, on a laptop and on a phone, and two faces mixed."""
    for name, viewport in (("text-to-face-phone", PHONE), ("text-to-face", LAPTOP)):
        page = browser.new_page(viewport=viewport)
        page.set_default_timeout(SLOW)
        page.goto(url)
        changed(page, lambda page=page: page.locator("#examples button").nth(3).click())
        tab(page, "Text to face")
        changed(page, lambda page=page: page.locator("#seen").click())
        changed(page, lambda page=page: page.locator("#bridge-pairs button").nth(3).click())
        kept(page, name)
    page.get_by_role("button", name=re.compile("^Mix with another face")).click()
    changed(page, lambda: page.locator("#others button", has_text="Example 8").click())
    kept(page, "mixed")


def main() -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("docs/screenshots"))
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    studio = StyleCLIP.from_pretrained()
    sheet(studio, folder.parent / "words.jpg")
    page = build(studio, StyleCLIP.from_pretrained).queue()
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, **LAUNCH)

    def kept(visited: Page, name: str) -> None:
        shot = Image.open(BytesIO(visited.screenshot(full_page=True))).convert("RGB")
        shot.save(folder / f"{name}.jpg", quality=85)
        if name == "first-visit":
            visited.screenshot(path=folder.parent / "screenshot.png")

    with sync_playwright() as playwright, TemporaryDirectory() as scratch:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        visit(browser, url, kept, Path(scratch))
        in_one_pass(browser, url, kept)
        for name, options in (("dark", {"viewport": LAPTOP, "color_scheme": "dark"}), ("phone", {"viewport": PHONE})):
            other = browser.new_page(**options)
            other.goto(url)
            changed(other, lambda other=other: other.locator("#examples button").nth(3).click())
            changed(other, lambda other=other: say(other, "blonde hair"))
            kept(other, name)
        browser.close()
    page.close(verbose=False)


if __name__ == "__main__":
    main()
