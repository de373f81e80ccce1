"""The tab Global directions: k and β that follow each other, the grid, and the notes beside the sliders."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.test_page import SLOW, after, changes, press, visit  # noqa: F401
from webapp.panels import grid


def field(page, name):
    return page.locator(f"#{name} input[type=number]")


def words(page):
    return page.locator("#edit-words textarea")


def cells(page):
    return page.locator("#grid button")


def drawn(page):
    """Wait for a grid that is whole."""
    expect(cells(page)).to_have_count(grid.ROWS * grid.COLUMNS)
    expect(cells(page).filter(has_text=grid.DUE.strip())).to_have_count(0, timeout=SLOW)
    expect(page.locator("#grid-note")).to_contain_text("Choose a picture")


@pytest.fixture
def place(visit):  # noqa: F811
    """Where the result stands, which must not move while somebody turns the numbers."""
    expect(visit.locator("#apply-direction")).to_be_visible()
    where = visit.locator("#result-card").bounding_box()["y"]
    yield
    assert visit.locator("#result-card").bounding_box()["y"] == where


def test_k_and_beta_follow_each_other(visit, shown_studio, place):  # noqa: F811
    pair = "smiling face", "face"
    beta = field(visit, "beta")
    expect(field(visit, "channels")).to_have_value(str(shown_studio.family.defaults.channels))
    expect(beta).not_to_have_value("")
    changes(visit, lambda: field(visit, "channels").fill("12"))
    expect(words(visit)).to_have_value(re.compile("12 channels$"))
    assert shown_studio.threshold(*pair, 13) < float(beta.input_value()) <= shown_studio.threshold(*pair, 12)
    changes(visit, lambda: beta.fill(f"{shown_studio.threshold(*pair, 30) - 1e-5:.5f}"))
    expect(field(visit, "channels")).to_have_value("30")

    # α leaves both alone; more channels than the slider reaches are still said; new words keep k.
    changes(visit, lambda: visit.locator("#alpha input[type=range]").press("ArrowLeft"))
    expect(field(visit, "channels")).to_have_value("30")
    changes(visit, lambda: beta.fill("0.01"))
    expect(visit.locator("#kept b")).to_have_text(re.compile("^1,"))
    changes(visit, lambda: field(visit, "channels").fill("25"))
    changes(visit, lambda: visit.locator("#pairs button").nth(4).click())
    expect(visit.locator("#kept")).to_have_text("25 channels kept")
    expect(visit.locator("#strip button")).to_have_count(4)


def test_what_is_wrong_is_said_beside_the_sliders(visit, place):  # noqa: F811
    # No channel: the β that keeps 20 is one click away.
    shown = after(visit).get_attribute("src")
    field(visit, "beta").fill("0.99")
    expect(visit.locator("#kept")).to_contain_text("No channel", timeout=SLOW)
    assert after(visit).get_attribute("src") == shown
    offer = visit.locator("#helpful-beta")
    expect(offer).to_have_text(re.compile(r"Use β 0\.\d+"))
    changes(visit, offer.click)
    expect(visit.locator("#kept")).to_have_text("20 channels kept")
    expect(field(visit, "channels")).to_have_value("20")
    expect(offer).to_be_hidden()

    # The same text twice, words that the model never read, and more than it can read.
    target = visit.locator("#target textarea")
    for text, said in (("face", "are the same"), (" ", "a few words")):
        target.fill(text)
        press(visit, "Apply")
        expect(visit.locator("#kept")).to_contain_text(said, timeout=SLOW)
    target.fill("face like a zeppelin")
    changes(visit, lambda: press(visit, "Apply"))
    expect(visit.locator("#kept")).to_contain_text("never taught “zeppelin”")
    expect(visit.locator(".toast-body")).to_have_count(0)


def test_what_is_chosen_to_stay_is_kept_and_shown_again(visit):  # noqa: F811
    visit.locator("#keep input").click()
    changes(visit, lambda: visit.get_by_role("option", name="glasses", exact=True).click())
    expect(words(visit)).to_have_value(re.compile("^smiling face\\n.*, keeping glasses$"))
    visit.locator("#keep input").click()
    visit.get_by_role("option", name="smiling", exact=True).click()
    expect(visit.locator("#kept")).to_contain_text("leaves nothing of “smiling face”", timeout=SLOW)
    expect(visit.locator("#keep")).to_contain_text("smiling")
    for item in (1, 2):  # away, and back to the picture that was made with it
        changes(visit, lambda item=item: visit.locator("#strip button").nth(item).click())
    expect(visit.locator("#keep")).to_contain_text("glasses")
    expect(visit.locator("#keep")).not_to_contain_text("smiling")


def test_texts_that_are_cut_are_named(visit):  # noqa: F811
    visit.locator("#target textarea").fill("smiling face " * 40)
    changes(visit, lambda: press(visit, "Apply"))
    expect(visit.locator("#kept")).to_contain_text("its end was left out")


def test_a_grid_to_choose_from_by_the_keyboard(visit):  # noqa: F811
    changes(visit, lambda: field(visit, "alpha").fill("6"))
    changes(visit, lambda: field(visit, "channels").fill("40"))
    press(visit, grid.SHOW)
    expect(cells(visit)).to_have_count(20)
    where = visit.locator("#grid-box").bounding_box()["height"]
    drawn(visit)
    assert visit.locator("#grid-box").bounding_box()["height"] == where
    expect(visit.locator("#grid .selected")).to_have_text(re.compile(r"α\s6\s· k\s40"))
    expect(visit.locator("#strip button")).to_have_count(3)  # looking at the grid edits nothing

    # A choice sets α, k and β, and adjusts the edit.
    cells(visit).nth(8).focus()
    changes(visit, lambda: visit.keyboard.press("Enter"))
    expect(words(visit)).to_have_value(re.compile("^smiling face\n.*α 8, β .*, 20 channels"))
    expect(field(visit, "alpha")).to_have_value("8")
    expect(field(visit, "channels")).to_have_value("20")
    expect(visit.locator("#strip button")).to_have_count(3)

    # More like it: half as far apart, around the choice.
    press(visit, "More like this")
    expect(visit.locator("#grid .selected")).to_have_text(re.compile(r"α\s8\s· k\s20"))
    expect(cells(visit).first).to_have_text(re.compile(r"α\s6\s· k\s10"))
    drawn(visit)
    expect(cells(visit).last).to_have_text(re.compile(r"α\s10\s· k\s28"))

    # Another face: the grid says that it is none of its own, and the choice counts for the new one.
    changes(visit, lambda: press(visit, "Random face"))
    changes(visit, lambda: cells(visit).nth(3).click())
    expect(visit.locator("#grid-note")).to_contain_text("another face")
    press(visit, "Close the grid")
    expect(visit.locator("#grid-box")).to_be_hidden()


def test_a_grid_that_is_closed_stays_closed(visit):  # noqa: F811
    press(visit, grid.SHOW)
    expect(cells(visit).filter(has_text=grid.DUE.strip())).not_to_have_count(0, timeout=SLOW)
    press(visit, "Close the grid")
    for _ in range(grid.ROWS):  # each in turn with a row of the grid
        changes(visit, lambda: visit.locator("#alpha input[type=range]").press("ArrowLeft"))
        expect(visit.locator("#grid-box")).to_be_hidden()
    press(visit, grid.SHOW)
    drawn(visit)


def test_texts_without_a_direction_have_no_grid(visit):  # noqa: F811
    visit.locator("#target textarea").fill("face")
    press(visit, grid.SHOW)
    expect(visit.locator("#kept")).to_contain_text("are the same", timeout=SLOW)
    expect(visit.locator("#grid-box")).to_be_hidden()


@pytest.mark.parametrize("around", [(-10, 1), (10, 320), (3, 2), (0, 80)])
def test_a_grid_stays_within_its_limits(around):
    drawn = grid.Grid("a", "b", (), "", *around, usual=6.0, most=320)
    for _ in range(grid.FINEST + 1):
        assert len(set(drawn.cells)) == 20
        assert all(-10 <= strength <= 10 and 1 <= channels <= 320 for strength, channels in drawn.cells)
        drawn = drawn.finer(*around)
    assert drawn.level == grid.FINEST


def test_a_face_that_stacked_edits_pulled_apart_is_said_to_be_lost(visit, url):  # noqa: F811
    first = "method=direct&target=asdf+jkl&neutral=face&strength=10&channels=80"  # of older links, without a limit
    second = "2.method=direct&2.target=kwyjibo&2.neutral=face&2.strength=10&2.channels=80"
    visit.goto(f"{url}?{first}&{second}", timeout=SLOW)
    expect(words(visit)).to_have_value(re.compile("The face is lost"), timeout=SLOW)
    expect(visit.locator("#strip button")).to_have_count(4)  # with the strip its slider is the new edit's
    changes(visit, lambda: visit.locator("#share input[type=range]").press("Home"))
    expect(words(visit)).not_to_have_value(re.compile("The face is lost"))
