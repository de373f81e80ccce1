"""The tab Optimization: suggestions with their weights, words that the model knows, the filmstrip, and its limits."""

import contextlib
import re
import socket
import socketserver
import threading
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from pipeline.recipes import edits_of
from tests.browser.test_page import SLOW, after, changes, open_tab, press, visit  # noqa: F401
from webapp import jobs
from webapp.panels import optimization


@pytest.fixture
def panel(visit):  # noqa: F811
    open_tab(visit, "Optimization")
    visit.locator("#steps input[type=number]").fill("12")
    return visit


def prompt(page):
    return page.locator("#prompt textarea")


def moments(page):
    return page.locator("#film button")


def words(page):
    return page.locator("#edit-words textarea")


def optimize(page):
    changes(page, lambda: press(page, "Optimize"))
    expect(page.locator("#stop")).to_be_disabled(timeout=SLOW)


def test_a_suggestion_sets_its_weights_and_known_words_can_be_added(panel):
    panel.locator("#prompts button", has_text="an old person with grey hair").click()
    expect(prompt(panel)).to_have_value("an old person with grey hair")
    expect(panel.locator("#l2 input[type=number]")).to_have_value("0.0001")
    expect(panel.locator("#identity input[type=number]")).to_have_value("0")
    expect(panel.locator("#optimization-note")).to_contain_text("λ L2 0.0001 and λ ID 0")

    press(panel, "Words it knows ▼")
    panel.locator("#known-words button", has_text="a beard").click()
    expect(prompt(panel)).to_have_value("an old person with grey hair and a beard")
    panel.locator("#known-words button", has_text="a beard").click()
    panel.locator("#known-words button", has_text="freckles").click()
    expect(prompt(panel)).to_have_value("an old person with grey hair and a beard and freckles")


def test_a_moment_of_the_way_is_an_edit_of_its_own(panel, tmp_path):
    place = panel.locator("#result-card").bounding_box()["y"]
    optimize(panel)
    expect(moments(panel)).to_have_count(optimization.MOMENTS)
    expect(moments(panel).last).to_contain_text("step 12")
    expect(panel.locator("#strip button")).to_have_count(3)
    assert panel.locator("#result-card").bounding_box()["y"] == place

    # By the keyboard; the same moment again adds no second edit, and the last one is the result, which is there.
    moments(panel).nth(2).focus()
    changes(panel, lambda: panel.keyboard.press("Enter"))
    expect(words(panel)).to_have_value(re.compile("\n4 steps"))
    expect(panel.locator("#strip button")).to_have_count(4)
    changes(panel, lambda: moments(panel).last.click())
    expect(words(panel)).to_have_value(re.compile("\n12 steps"))
    changes(panel, lambda: moments(panel).nth(2).click())
    expect(panel.locator("#strip button")).to_have_count(4)

    # From elsewhere on the strip too, and its recipe repeats to the same picture.
    shown = after(panel).get_attribute("src")
    with panel.expect_download(timeout=SLOW) as download:
        press(panel, "Recipe")
    recipe = tmp_path / "recipe.json"
    download.value.save_as(recipe)
    changes(panel, lambda: panel.locator("#strip button").first.click())
    changes(panel, lambda: moments(panel).nth(4).click())
    expect(words(panel)).to_have_value(re.compile("\n6 steps"))
    changes(panel, lambda: panel.locator("#strip button").first.click())
    with panel.expect_file_chooser() as chooser:
        press(panel, "Bring a recipe or latent")
    chooser.value.set_files(recipe)
    expect(after(panel)).to_have_attribute("src", shown, timeout=SLOW)


def test_the_same_words_again_begin_where_they_began(panel, tmp_path):
    sources = []
    for steps in ("2", "3"):
        panel.locator("#steps input[type=number]").fill(steps)
        optimize(panel)
        with panel.expect_download(timeout=SLOW) as download:
            press(panel, "Recipe")
        download.value.save_as(tmp_path / "recipe.json")
        sources.append([edit["source"] for edit in edits_of((tmp_path / "recipe.json").read_text())])
    assert len(sources[0]) == 2 and sources[1] == sources[0]
    expect(words(panel)).to_have_value(re.compile("\n3 steps.*, from “a face”$"))


def test_a_moment_chosen_on_the_way_ends_it(panel):
    panel.locator("#steps input[type=number]").fill("300")
    changes(panel, lambda: press(panel, "Optimize"))
    moments(panel).first.click()
    expect(words(panel)).to_have_value(re.compile("\n30 steps"), timeout=SLOW)
    expect(panel.locator("#stop")).to_be_disabled(timeout=SLOW)
    expect(panel.locator("#strip button")).to_have_count(4)  # and what it had reached


def test_the_words_alone_have_moments_too(panel):
    panel.get_by_role("radio", name="The words alone").check()
    optimize(panel)
    changes(panel, lambda: moments(panel).nth(3).click())
    expect(words(panel)).to_have_value(re.compile("From the words alone, 5 steps"))
    expect(panel.locator("#compare input")).to_have_value(re.compile("The average face"))


def test_words_that_the_model_does_not_know_are_named(panel):
    prompt(panel).fill("Beyonce with a <b>zebra</b> and glasses")
    optimize(panel)
    expect(panel.locator("#optimization-note")).to_contain_text("never taught “Beyonce”, “b” and “zebra”")
    prompt(panel).fill("a person with glasses")
    optimize(panel)
    expect(panel.locator("#optimization-note")).not_to_contain_text("taught")


def test_an_optimization_that_takes_too_long_keeps_what_it_reached(panel, monkeypatch):
    monkeypatch.setattr(jobs, "LONGEST_RUN", 0.0)
    monkeypatch.setattr(jobs.Scheduler, "others_wait", lambda _: True)
    panel.locator("#steps input[type=number]").fill("300")
    optimize(panel)
    expect(panel.locator("#optimization-note")).to_contain_text("at step 1 of 300.")
    expect(words(panel)).to_have_value(re.compile("\n1 steps"))
    expect(moments(panel)).to_have_count(1)


def test_a_studio_that_is_stopped_says_so_to_who_waits_for_a_run(panel, served_page, monkeypatch):
    expect(panel.locator("#steps")).to_contain_text("While others wait, a run computes for 5 minutes at most.")
    panel.locator("#steps input[type=number]").fill("300")
    press(panel, "Optimize")
    expect(panel.locator("#progress")).to_contain_text(re.compile(r"step [1-9]\d* of 300", re.IGNORECASE), timeout=SLOW)
    monkeypatch.setattr(served_page.studio.jobs, "_why", "")  # as it is for the tests that follow
    served_page.studio.jobs.stop()
    expect(panel.locator(".toast-body", has_text="The studio is being stopped")).to_be_visible(timeout=SLOW)
    expect(panel.locator("#progress")).to_contain_text("No optimization runs.")
    expect(panel.locator("#stop")).to_be_disabled()
    expect(panel.locator("#optimize")).to_be_enabled()


def run_on(page, words="an old face with a beard"):
    """Begin a run that does not end by itself, and wait for its first picture."""
    page.locator("#steps input[type=number]").fill("300")
    prompt(page).fill(words)
    changes(page, lambda: press(page, "Optimize"))


def test_what_runs_is_seen_to_run(panel):
    run_on(panel)
    expect(words(panel)).to_have_value(re.compile(r"^an old face with a beard\nOptimizing: step \d+ of 300$"))
    expect(panel.locator("#optimize")).to_have_text("Optimizing")
    expect(panel.locator("#optimize")).to_be_disabled()
    press(panel, "Stop")
    expect(words(panel)).to_have_value(re.compile(r"^an old face with a beard\n\d+ steps"), timeout=SLOW)
    expect(panel.locator("#optimize")).to_have_text("Optimize")
    expect(panel.locator("#optimize")).to_be_enabled()


def test_a_page_that_is_loaded_again_tells_that_its_run_has_ended_and_keeps_the_form(panel):
    run_on(panel)
    expect(moments(panel)).not_to_have_count(0, timeout=SLOW)
    panel.once("dialog", lambda dialog: dialog.accept())
    panel.reload()
    expect(panel.get_by_role("tab", name="Optimization", selected=True)).to_be_visible(timeout=SLOW)
    expect(prompt(panel)).to_have_value("an old face with a beard")
    expect(panel.locator("#steps input[type=number]")).to_have_value("300")
    expect(panel.locator("#optimization-note")).to_contain_text("loaded again, which ended this run")
    expect(panel.locator("#strip button")).to_have_count(2)
    expect(panel.locator("#optimize")).to_be_enabled()
    changes(panel, lambda: moments(panel).first.click())
    expect(words(panel)).to_have_value(re.compile(r"^an old face with a beard\n\d+ steps"))

    # Without a run, the form is that of the picture.
    changes(panel, lambda: press(panel, "Undo"))
    expect(panel.get_by_role("tab", name="Mappers", selected=True)).to_be_visible()
    open_tab(panel, "Global directions")
    panel.locator("#target textarea").fill("surprised face")
    changes(panel, lambda: press(panel, "Apply"))
    panel.reload()
    open_tab(panel, "Global directions")
    expect(panel.locator("#target textarea")).to_have_value("surprised face", timeout=SLOW)


class Wire(socketserver.BaseRequestHandler):
    """A connection to the server, through a port of its own."""

    def handle(self):
        self.server.ends.append(self.request)
        with socket.create_connection(("127.0.0.1", self.server.to)) as there:
            self.server.ends.append(there)
            threading.Thread(target=self.pass_on, args=(there, self.request), daemon=True).start()
            self.pass_on(self.request, there)

    def pass_on(self, one, other):
        with contextlib.suppress(OSError):
            while data := one.recv(2**16):
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)


@pytest.fixture
def wire(url):
    """A port that leads to the page; `cut` ends what is connected through it, and takes no more."""
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Wire)
    server.daemon_threads, server.ends, server.to = True, [], urlsplit(url).port

    def cut():
        server.shutdown()
        server.server_close()
        for end in server.ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    server.cut = cut
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    cut()


def test_a_run_is_not_shown_to_go_on_without_a_server(chromium, wire):
    page = chromium.new_page()
    page.set_default_timeout(SLOW)
    page.goto(f"http://127.0.0.1:{wire.server_address[1]}")
    open_tab(page, "Optimization")
    run_on(page)
    wire.cut()
    expect(page.locator("#progress")).to_have_text("The connection is lost, so this has ended.", timeout=SLOW)
    expect(words(page)).to_have_value(re.compile("The connection is lost"))
    expect(page.locator("#optimize")).to_have_text("Optimize")
    page.close()
