"""The parts of the model menu that need no browser."""

import threading

import gradio as gr
import pytest

from pipeline.errors import UserError
from pipeline.models.registry import Row
from pipeline.models.sources import Source
from webapp import download_progress
from webapp.download_progress import arriving, megabytes
from webapp.model_handle import ModelHandle
from webapp.page import build, first_session
from webapp.panels.models import choices, families, offered
from webapp.presets import presets

SOURCES = [
    Source(url="http://x/a", file="a.pt", size=3_000_000),
    Source(url="http://x/b", file="b.pt", about=1_000_000),
]


def row(name="x", **options):
    return Row(name=name, title=name.title(), licence="MIT", clip_normalize=False, **{"files": {}} | options)


def test_files_arrive_one_after_the_other(monkeypatch):
    told, heard = threading.Event(), threading.Event()

    def fetch(source, progress):
        progress(source.name, 500_000, None)
        told.set()
        assert heard.wait(10)

    monkeypatch.setattr(download_progress, "fetch", fetch)
    monkeypatch.setattr(download_progress, "REDRAW_EVERY", 0.001)
    bars = arriving(SOURCES, lambda: False)
    next(bars)
    assert told.wait(10)
    assert "File 1 of 2, a.pt: 0 of 3 MB · 12% of 4 MB" in next(bars)
    heard.set()
    assert "b.pt" in [*bars, "b.pt"][-1]


def test_a_download_whose_visitor_left_ends(monkeypatch):
    ended = threading.Event()

    def fetch(source, progress):
        try:
            while True:
                progress(source.name, 1, 2)
        finally:
            ended.set()

    monkeypatch.setattr(download_progress, "fetch", fetch)
    bars = arriving(SOURCES, lambda: False)
    next(bars)
    bars.close()
    assert ended.wait(10)


def test_what_goes_wrong_with_a_download_is_told(monkeypatch):
    def fetch(source, progress):
        raise UserError("Please mend this.")

    monkeypatch.setattr(download_progress, "fetch", fetch)
    with pytest.raises(UserError, match="mend this"):
        list(arriving(SOURCES, lambda: False))


@pytest.mark.parametrize(("size", "words"), [(1, "1 MB"), (12_386_432, "12 MB"), (1_930_000_000, "1.9 GB")])
def test_sizes_are_for_people(size, words):
    assert megabytes(size) == words


def test_the_list_says_what_a_family_takes(tmp_path, monkeypatch):
    here = tmp_path / "here.pt"
    here.touch()
    rows = {
        "in_use": row("in_use", files={"generator": Source(path=here)}),
        "here": row("here", files={"generator": Source(path=here)}),
        "lost": row("lost", files={"generator": Source(path=tmp_path / "lost.pt")}),
        "far": row("far", files=dict(zip(("generator", "clip"), SOURCES, strict=True)), terms="Be kind."),
        "custom": row("custom", files={"clip": SOURCES[1]}),
    }
    monkeypatch.setattr("webapp.panels.models.read_registry", lambda: rows)
    current = rows["in_use"]
    said = {name: words.split("\n")[1] for words, name in choices(current)}
    assert said == {
        "in_use": "in use · MIT",
        "here": "on this machine · MIT",
        "lost": "a file is missing · MIT",
        "far": "4 MB to download · MIT",
    }
    assert "custom" not in families(current)
    terms, agree, use, *_ = offered(rows["far"], current)
    assert "Be kind." in terms and agree["visible"] and not use["interactive"]
    terms, agree, use, *_ = offered(rows["here"], current)
    assert terms == "" and not agree["visible"] and use["interactive"]


def test_a_studio_that_was_taken_back_is_gone(studio):
    lent = ModelHandle(studio)
    assert lent.family is studio.family
    lent.release()
    with pytest.raises(UserError, match="model was changed"):
        lent.sample(1)


def test_what_follows_an_edit_is_left_as_it_is_when_the_model_was_changed_since(studio):
    studio = ModelHandle(studio)
    page = build(studio)
    session = first_session(studio, presets(studio.family.name, studio.family.defaults))
    followers = [fn for fn in page.fns.values() if fn.name == "drawn"]
    assert followers
    assert followers[0].fn(session).keys() == set(followers[0].outputs)
    studio.release()
    for follower in followers:
        assert follower.fn(session) == gr.skip()
