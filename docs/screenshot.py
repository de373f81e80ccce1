"""Photograph the page for the README: `python docs/screenshot.py` writes docs/screenshot.png (needs Chromium)."""

import os
import sys
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
sys.path.insert(0, str(Path(__file__).parents[1]))

from playwright.sync_api import sync_playwright  # noqa: E402

from pipeline import StyleCLIP  # noqa: E402
from webapp.page import LAUNCH, build  # noqa: E402


def main(model: str = "demo") -> None:
    """Serve the page of a model family and photograph what a first visitor sees."""
    page = build(StyleCLIP.from_pretrained(model), load=StyleCLIP.from_pretrained).queue()
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, **LAUNCH)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        visit = browser.new_page(viewport={"width": 1366, "height": 850})
        visit.goto(url)
        visit.locator("#before-after img").nth(1).wait_for()
        visit.wait_for_function("[...document.images].every(image => image.complete)")
        visit.screenshot(path=Path(__file__).with_name("screenshot.png"))
        browser.close()
    page.close(verbose=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
