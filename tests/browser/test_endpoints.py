"""The same page for programs: the named endpoints, and bad input of every kind."""

from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from webapp.panels.optimization import THIS_FACE
from webapp.panels.photo import EXAMPLES

ENDPOINTS = {"/align", "/invert", "/optimize", "/map", "/direct", "/sample", "/train"}


def arrive(url):
    """Another visitor; a busy machine may take its time."""
    return Client(url, verbose=False, httpx_kwargs={"timeout": 60})


@pytest.fixture(scope="module")
def visitor(url):
    return arrive(url)


def test_the_endpoints_have_names(visitor):
    named = visitor.view_api(return_format="dict")["named_endpoints"]
    assert set(named) == ENDPOINTS


def test_a_photo_goes_all_the_way(visitor, shown_studio):
    crop, note = visitor.predict(handle_file(EXAMPLES[0]), api_name="/align")
    assert Path(crop).exists() and "One face found" in note
    visitor.predict(api_name="/invert")
    *_, kept = visitor.predict("smiling face", "face", 3, 0.1, api_name="/direct")
    assert "channels kept" in kept
    visitor.predict(next(iter(shown_studio.mappers())), 0.1, api_name="/map")
    before_after, words, *_ = visitor.predict(
        "a person with glasses", THIS_FACE, 2, 0.0002, 0.001, api_name="/optimize"
    )
    assert len(before_after) == 2 and words.startswith("a person with glasses")


def smiling(visitor):
    (_, after), *_ = visitor.predict("smiling face", "face", 3, 0.1, api_name="/direct")
    return Path(after).read_bytes()


def test_visitors_do_not_meet(url):
    one, other = arrive(url), arrive(url)
    one.predict(1, 0.7, api_name="/sample")
    alone = smiling(one)
    other.predict(2, 0.7, api_name="/sample")
    assert smiling(one) == alone != smiling(other)


@pytest.mark.parametrize(
    ("photo", "sentence"),
    [("no_face", "No face"), ("text", "could not be read"), ("one_pixel", "too small"), ("wide", "too large")],
)
def test_a_bad_photo_gets_a_sentence(visitor, bad_photos, photo, sentence):
    with pytest.raises(AppError, match=sentence):
        visitor.predict(handle_file(bad_photos[photo]), api_name="/align")
    visitor.predict(1, 0.7, api_name="/sample")


@pytest.mark.parametrize("words", ["", "   ", "long " * 400])
def test_a_bad_prompt_gets_a_sentence(visitor, words):
    with pytest.raises(AppError, match="Please"):
        visitor.predict(words, THIS_FACE, 2, 0.0002, 0.001, api_name="/optimize")
    visitor.predict("a smiling person", THIS_FACE, 2, 0.0002, 0.001, api_name="/optimize")


def test_signs_instead_of_words_get_a_note(visitor):
    _, words, *_ = visitor.predict("😀🎉", THIS_FACE, 2, 0.0002, 0.001, api_name="/optimize")
    assert "no words" in words


@pytest.mark.parametrize(
    ("target", "neutral", "threshold", "sentence"),
    [
        ("face", "face", 0.1, "are the same"),
        ("smiling face", "face", 0.9, "No channel"),
        ("", "face", 0.1, "Please"),
        ("long " * 400, "face", 0.1, "Please"),
    ],
)
def test_a_bad_direction_gets_a_sentence(visitor, target, neutral, threshold, sentence):
    *_, kept = visitor.predict(target, neutral, 3, threshold, api_name="/direct")
    assert sentence in kept
    *_, kept = visitor.predict("smiling face", "face", 3, 0.1, api_name="/direct")
    assert "channels kept" in kept


def test_a_mapper_that_does_not_exist_gets_a_sentence(visitor):
    with pytest.raises(AppError, match="mapper"):
        visitor.predict("wings", 0.1, api_name="/map")


def test_no_file_of_the_server_can_be_asked_for(visitor):
    stolen = {"path": str(Path(__file__).resolve()), "meta": {"_type": "gradio.FileData"}}
    with pytest.raises(AppError):
        visitor.predict(stolen, api_name="/align")
