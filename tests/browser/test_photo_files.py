"""Photos that a browser does not show as they are, in the page."""

import io

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.pictures import EXAMPLES

SLOW = 60_000  # milliseconds


def example() -> Image.Image:
    return Image.open(EXAMPLES[1]).convert("RGB")


def content(image: Image.Image, file_format: str) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "photo"),
    [
        ("photo.tiff", lambda: content(example(), "TIFF")),
        ("inks.jpg", lambda: content(example().convert("CMYK"), "JPEG")),
        ("head_down.png", lambda: content(example().rotate(180), "PNG")),
        ("lying.png", lambda: content(example().crop((0, 0, 384, 300)).rotate(90, expand=True), "PNG")),
    ],
)
def test_a_photo_is_shown_upright_whatever_its_file(chromium, url, name, photo):
    page = chromium.new_page()
    page.goto(url, timeout=SLOW)
    field = page.locator("#photo input[type=file]")
    before = page.locator("#crop img").get_attribute("src", timeout=SLOW)
    if page.locator("#photo button[aria-label='Clear']").count():
        page.locator("#photo button[aria-label='Clear']").click()
    field.first.set_input_files({"name": name, "mimeType": "image/png", "buffer": photo()}, timeout=SLOW)
    expect(page.locator("#photo-note")).to_contain_text("face found", timeout=SLOW)
    expect(page.locator("#crop img")).not_to_have_attribute("src", before, timeout=SLOW)
    shown = page.locator("#photo img")
    page.wait_for_function(
        "() => { const i = document.querySelector('#photo img'); return i && i.complete && i.naturalWidth > 0 }",
        timeout=SLOW,
    )
    size = shown.evaluate("image => [image.naturalWidth, image.naturalHeight]")
    assert size == ([384, 300] if name == "lying.png" else [384, 384])
    page.close()
