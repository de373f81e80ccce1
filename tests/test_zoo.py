"""The command line of the model families on a machine that has none of their files."""

import sys

import pytest
from huggingface_hub import constants

from pipeline.models.__main__ import main
from pipeline.models.registry import read_registry


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A file where the Hub's cache should be: nothing is there, and nothing can be."""
    (tmp_path / "cache").write_text("")
    for name in ("HF_HOME", "HF_HUB_CACHE", "HF_ASSETS_CACHE"):
        monkeypatch.setattr(constants, name, str(tmp_path / "cache" / name))


def test_verifying_what_is_not_here_says_so_and_fails(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["zoo", "verify", "cars"])
    with pytest.raises(SystemExit, match="1"):
        main()
    assert capsys.readouterr().out == "nothing of “cars” is on this machine; fetch it first\n"


def test_families_are_listed_where_nothing_can_be_kept(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["zoo", "list"])
    main()
    assert "MB to download" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["ffhq", "cars", "horses", "churches", "afhq-dog", "afhq-cat", "afhq-wild", "custom"])
def test_clip_is_shown_pictures_of_published_families_as_the_reference_does(name):
    """Its own mean and deviation for relevance, [-1, 1] as it is for the losses."""
    row = read_registry()[name]
    assert row.clip_normalize_directions and not row.clip_normalize
