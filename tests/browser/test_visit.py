"""A visit that is loaded again, goes on in another tab, is over, or is started over."""

import re

from playwright.sync_api import expect

from tests.browser.test_page import SLOW, after, changes, open_tab, press, visit  # noqa: F401
from tests.pictures import EXAMPLES
from webapp import cleanup


def pictures(page):
    return page.locator("#strip button")


def test_a_visit_survives_a_reload_and_back(visit, url):  # noqa: F811
    changes(visit, lambda: visit.locator("#photo input[type=file]").set_input_files(EXAMPLES[2]))
    changes(visit, lambda: visit.locator("#pairs button").nth(3).click())
    expect(pictures(visit)).to_have_count(2)
    source = [visit.locator(f"#{name} img").first.get_attribute("src") for name in ("photo", "crop", "inversion")]
    shown, words = after(visit).get_attribute("src"), visit.locator("#edit-words textarea").input_value()

    def is_as_it_was():
        expect(after(visit)).to_have_attribute("src", shown, timeout=SLOW)
        expect(pictures(visit)).to_have_count(2)
        expect(visit.locator("#edit-words textarea")).to_have_value(words)
        for name, src in zip(("photo", "crop", "inversion"), source, strict=True):
            expect(visit.locator(f"#{name} img").first).to_have_attribute("src", src)
        expect(visit.locator("#renewal")).to_be_hidden()

    visit.reload()
    is_as_it_was()
    changes(visit, lambda: press(visit, "Undo"))
    changes(visit, lambda: press(visit, "Redo"))
    visit.goto("about:blank")
    visit.go_back()
    is_as_it_was()

    # Its link is loaded again too, and adds nothing.
    press(visit, "Copy link")
    expect(visit).to_have_url(re.compile("method=direct"))
    visit.reload()
    is_as_it_was()


def test_a_duplicated_tab_takes_the_visit_and_the_first_one_is_told(visit, url):  # noqa: F811
    changes(visit, lambda: press(visit, "Random face"))
    shown = after(visit).get_attribute("src")
    with visit.expect_popup() as opened:  # which begins with a copy of the storage, as a duplicate does
        visit.evaluate("window.open(location.href)")
    other = opened.value
    expect(after(other)).to_have_attribute("src", shown, timeout=SLOW)
    open_tab(other, "Global directions")
    changes(other, lambda: other.locator("#pairs button").nth(3).click())
    press(visit, "Apply")
    expect(visit.locator(".toast-body")).to_contain_text("another tab", timeout=SLOW)
    assert after(visit).get_attribute("src") == shown
    other.close()
    visit.reload()
    expect(pictures(visit)).to_have_count(2, timeout=SLOW)


def test_after_an_hour_the_visitor_is_told_and_nothing_is_replaced(chromium, url, served_page):
    guest = chromium.new_page()
    guest.clock.install()
    guest.goto(url, timeout=SLOW)
    expect(after(guest)).to_be_visible(timeout=SLOW)
    open_tab(guest, "Global directions")
    changes(guest, lambda: press(guest, "Random face"))
    guest.clock.run_for(1000)
    shown = after(guest).get_attribute("src")

    # Clicks and keys that ask nothing of the server keep the visit.
    pages = served_page.app.state_holder

    def age(seconds):
        for name in list(pages.used):
            pages.used[name] -= seconds

    age(3000)
    guest.clock.fast_forward("00:50:00")
    with guest.expect_response(re.compile("run/predict")):
        guest.keyboard.press("Shift")
    age(3000)
    cleanup.forget(pages, cleanup.AN_HOUR)
    changes(guest, lambda: guest.locator("#pairs button").nth(3).click())
    shown = after(guest).get_attribute("src")

    age(4000)
    cleanup.forget(pages, cleanup.AN_HOUR)
    press(guest, "Apply")
    expect(guest.locator(".toast-body").first).to_contain_text("This visit is over", timeout=SLOW)
    assert after(guest).get_attribute("src") == shown
    guest.reload()
    expect(guest.locator("#renewal")).to_contain_text("kept for an hour", timeout=SLOW)
    guest.close()


def test_a_step_is_deleted_and_the_visit_started_over(visit):  # noqa: F811
    changes(visit, lambda: visit.locator("#examples button").nth(3).click())
    changes(visit, lambda: visit.locator("#pairs button").nth(3).click())
    expect(pictures(visit)).to_have_count(2)
    changes(visit, lambda: press(visit, "Delete this picture"))
    expect(pictures(visit)).to_have_count(1)
    expect(visit.locator("#take-home-note")).to_contain_text("“Undo” brings it back")
    changes(visit, lambda: press(visit, "Undo"))
    expect(pictures(visit)).to_have_count(2)
    changes(visit, lambda: press(visit, "Delete this picture"))
    visit.once("dialog", lambda dialog: dialog.dismiss())
    press(visit, "Start over")
    visit.once("dialog", lambda dialog: dialog.accept())
    changes(visit, lambda: press(visit, "Start over"))
    expect(visit.locator("#photo-note")).to_contain_text("An example, edited already")
    expect(pictures(visit)).to_have_count(2)
    visit.reload()
    expect(pictures(visit)).to_have_count(2, timeout=SLOW)
    expect(visit.locator("#photo-note")).to_contain_text("An example, edited already")


def test_after_a_restart_of_the_server_the_page_says_so(visit):  # noqa: F811
    visit.evaluate("""() => {
        sessionStorage.setItem("visit", "of another server");
        sessionStorage.setItem("seen", "another " + sessionStorage.getItem("seen").split(" ")[1]);
    }""")
    visit.reload()
    expect(visit.locator("#renewal")).to_contain_text("The server was started anew", timeout=SLOW)
    expect(visit.locator("#renewal p:visible")).to_have_count(1)


def test_where_nothing_can_be_stored_the_visitor_is_asked_before_leaving(chromium, url):
    guest = chromium.new_page()
    guest.add_init_script("Object.defineProperty(window, 'sessionStorage', {get() { throw new Error('blocked'); }})")
    guest.goto(url, timeout=SLOW)
    expect(after(guest)).to_be_visible(timeout=SLOW)
    open_tab(guest, "Global directions")
    changes(guest, lambda: guest.locator("#pairs button").nth(3).click())
    changes(guest, lambda: guest.locator("#pairs button").nth(1).click())
    asked = []
    guest.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    guest.reload()
    assert asked == ["beforeunload"]
    guest.close()
