"""Training a mapper in the page: preview, cancel, gallery, taking it home and bringing it back."""

import argparse
import re
from functools import partial

import pytest
import torch
from gradio_client import Client
from playwright.sync_api import expect

from pipeline.training.mapper_recipe import MapperRecipe, family_recipe
from tests.browser.test_page import SLOW, after, changes, open_tab, press, visit  # noqa: F401
from tests.visits import open_page
from webapp import learners
from webapp.page import build

TINY = partial(family_recipe, steps=4, batch=1, every=2)


def open_training(visit):  # noqa: F811
    open_tab(visit, "Mappers")
    visit.get_by_role("button", name=re.compile("^Your own words")).click()


def bring(visit, path):  # noqa: F811
    with visit.expect_file_chooser() as chooser:
        press(visit, "Load a mapper")
    chooser.value.set_files(path)


@pytest.fixture
def panel(visit):  # noqa: F811
    open_training(visit)
    return visit


def test_a_mapper_is_trained_applied_saved_and_loaded_again(panel, monkeypatch, tmp_path):
    monkeypatch.setattr(learners, "family_recipe", TINY)
    some = panel.locator("#mappers button.thumbnail-item").count()
    panel.locator("#mapper-words textarea").fill("a face with a green <b>hat</b>")
    changes(panel, lambda: press(panel, "Train"))
    expect(panel.locator("#mapper-training")).to_contain_text("did not reach its text", timeout=SLOW)
    expect(panel.locator("#mapper-preview img")).to_be_visible()
    expect(panel.locator("#mappers button.thumbnail-item")).to_have_count(some + 1)
    expect(panel.locator("#edit-words textarea")).to_have_value(re.compile("^a face with a green <b>hat</b>\nMapper"))
    changes(panel, lambda: panel.locator("#mapper-strength input[type=range]").press("End"))
    changes(panel, lambda: panel.locator("#mappers button.thumbnail-item").first.click())
    changes(panel, lambda: panel.locator("#mappers button.thumbnail-item").last.click())

    with panel.expect_download() as download:
        press(panel, "Save this mapper")
    kept = tmp_path / download.value.suggested_filename
    download.value.save_as(kept)
    panel.reload()
    expect(after(panel)).to_be_visible(timeout=SLOW)
    open_training(panel)
    expect(panel.locator("#mappers button.thumbnail-item")).to_have_count(some + 1)  # the visit goes on
    changes(panel, lambda: bring(panel, kept))
    expect(panel.locator("#mappers button.thumbnail-item")).to_have_count(some + 2)

    (tmp_path / "other.safetensors").write_text("no tensors")
    bring(panel, tmp_path / "other.safetensors")
    expect(panel.locator(".toast-body")).to_contain_text("no mapper for the model", timeout=SLOW)


def test_edits_go_before_a_training_which_can_be_cancelled(panel, url, chromium, monkeypatch):
    begun, train = [], learners.train

    def endless(judges, texts, recipe):
        begun.append(recipe.prompt)
        yield from train(judges, texts, MapperRecipe("x", steps=10_000, batch=1, every=10_000))

    monkeypatch.setattr(learners, "train", endless)
    press(panel, "Train")
    expect(panel.locator("#mapper-training")).to_contain_text("Step", timeout=SLOW)
    other = Client(url, verbose=False, httpx_kwargs={"timeout": 60})
    other.predict(3, 0.7, api_name="/sample")
    changes(panel, lambda: press(panel, "Random face"))

    # A long job of somebody makes it wait, which it says; then it goes on.
    open_tab(panel, "Optimization")
    panel.locator("#steps input[type=number]").fill("300")
    changes(panel, lambda: press(panel, "Optimize"))
    expect(panel.locator("#mapper-training")).to_contain_text("waiting for others", timeout=SLOW)
    press(panel, "Stop")
    expect(panel.locator("#mapper-training")).to_contain_text(re.compile("Step .* left"), timeout=SLOW)
    open_tab(panel, "Mappers")

    waiting = chromium.new_page()  # someone else, who changes their mind while they stand in line
    waiting.goto(url, timeout=SLOW)
    expect(after(waiting)).to_be_visible(timeout=SLOW)
    open_training(waiting)
    waiting.locator("#train-mapper").click()
    expect(waiting.locator("#mapper-training")).to_contain_text("In line", timeout=SLOW)
    expect(waiting.locator("#train-mapper")).to_be_disabled()
    waiting.locator("#cancel-mapper").click()
    expect(waiting.locator("#cancel-mapper")).to_be_hidden()
    begun.clear()
    press(panel, "Cancel")
    expect(panel.locator(".toast-body")).to_contain_text("The training was stopped", timeout=SLOW)
    expect(panel.locator("#train-mapper")).to_be_enabled()
    expect(waiting.locator(".toast-body")).to_contain_text("The training was stopped", timeout=SLOW)
    expect(waiting.locator("#train-mapper")).to_be_enabled()
    assert not begun
    waiting.close()


def test_a_training_ends_when_its_minutes_are_over_or_may_not_begin(shown_studio, chromium):
    with open_page(build(shown_studio, training_minutes=0)) as page:
        visit = chromium.new_page()  # noqa: F811
        visit.goto(page.local_url, timeout=SLOW)
        open_training(visit)
        expect(visit.locator("#load-mapper")).to_be_visible()
        expect(visit.locator("#train-mapper, #mapper-words")).to_have_count(0)
        visit.close()


def test_a_mapper_in_the_form_of_its_authors_is_loaded(panel, shown_studio, tmp_path):
    mapper = shown_studio.family.mappers.load(next(iter(shown_studio.mappers())))
    state = {f"mapper.{name}": value for name, value in mapper.state_dict().items()}
    torch.save({"state_dict": state, "opts": argparse.Namespace(description="hat")}, tmp_path / "a hat.pt")
    changes(panel, lambda: bring(panel, tmp_path / "a hat.pt"))
    expect(panel.locator("#mappers button.thumbnail-item").last).to_contain_text("a hat")
