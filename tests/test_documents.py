"""What the documents name exists: files, headings, pictures, modules."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "checkpoints").glob("*/README.md")]
SCREENSHOTS = ROOT / "docs" / "screenshots"  # which the README names as a folder


def links(document):
    """The targets of a document's links and pictures within the repository: path and heading, one may be empty."""
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if not target.startswith(("http:", "https:")):
            yield target.partition("#")[::2]


def anchors(document):
    """The headings of a document as links name them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document):
    for path, heading in links(document):
        target = document.parent / path if path else document
        assert target.exists(), path
        assert not heading or heading in anchors(target), heading


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_that_are_to_be_run_exist(document):
    for module in re.findall(r" -m ((?:benchmarks|families|pipeline)[\w.]*)", document.read_text()):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module


def test_every_picture_is_shown_somewhere():
    shown = {(document.parent / path).resolve() for document in DOCUMENTS for path, _ in links(document)}
    pictures = {path for path in (ROOT / "docs").rglob("*") if path.suffix in (".png", ".jpg")}
    assert {path for path in pictures if path.parent != SCREENSHOTS} <= shown
    assert SCREENSHOTS in shown
