"""The page's suggestions: those of the paper, and the words that the built-in CLIP was taught."""

import random
import re

import pytest

from families.drawn.captions import CAPTIONS
from families.style_filters import FILTERS
from pipeline.models.registry import Defaults, read_registry
from pipeline.vocabulary import unknown_note, unknown_words
from pipeline.wishes import read_wishes
from webapp.presets import Prompt, presets


@pytest.fixture(scope="module")
def demo():
    return presets("demo", Defaults())


@pytest.fixture(scope="module")
def vocabulary():
    return frozenset(read_registry()["demo"].vocabulary.split())


def test_the_presets_are_those_of_figure_3():
    assert set(presets("ffhq", Defaults()).prompts) == {
        Prompt("a man with a beard", 0.008, 0.005),
        Prompt("a blonde man", 0.008, 0.005),
        Prompt("a woman without makeup", 0.008, 0.005),
        Prompt("Beyonce", 0.004, 0.0),
        Prompt("Elsa from Frozen", 0.004, 0.0),
        Prompt("Donald Trump", 0.0025, 0.0),
    }


def test_the_words_that_are_known_are_those_that_the_captions_use(vocabulary):
    draw = random.Random(0)
    text = " ".join(CAPTIONS.caption(draw)[0] for _ in range(8_000)).lower()
    assert not unknown_words(vocabulary, text)
    assert vocabulary <= set(re.findall("[a-z]+", text))


def test_every_suggested_word_is_known(demo, vocabulary):
    texts = [prompt.words for prompt in demo.prompts] + [pair.target for pair in demo.pairs]
    texts += [word for group in demo.words.values() for word in group]
    assert vocabulary and not unknown_words(vocabulary, " ".join(texts))


@pytest.mark.parametrize("family", ["demo", "photo"])
def test_the_styles_that_are_named_are_those_that_clip_was_taught(family):
    row = read_registry()[family]
    assert set(row.known_styles) == set(FILTERS)
    words = frozenset(f"{row.vocabulary} {row.style_words}".split())
    assert not unknown_words(words, " ".join(row.known_styles))


@pytest.mark.parametrize("family", ["demo", "photo", "ffhq"])
def test_every_suggested_wish_is_read(family):
    row = read_registry()[family]
    for text in presets(family, row.defaults).wishes:
        reading = read_wishes(text, frozenset(row.vocabulary.split()), row.defaults.neutral)
        assert (len(reading.wishes), reading.notes, reading.offers) == (1, (), ())


def test_pairs_of_photographed_faces_have_the_strength_that_suits_them():
    known = {pair.target: pair.strength for pair in presets("photo", Defaults()).pairs}
    assert known["face with a beard"] < Defaults(strength=2.0).strength < known["surprised face"]
    assert all(pair.strength for pair in presets("demo", Defaults()).pairs)  # sliders need it before anybody asks


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("a Woman's BEARDS and moustaches, please!", []),
        ("a zebra like Beyonce with a Zebra's glasses", ["zebra", "Beyonce"]),
        ("a Hi-top fade, 80s", ["Hi", "top", "fade"]),
        ("une personne à lunettes", ["une", "personne", "à", "lunettes"]),
        ("", []),
        ("?!", []),
    ],
)
def test_words_that_were_never_taught_are_found(vocabulary, text, unknown):
    assert unknown_words(vocabulary, text) == unknown


def test_the_note_names_some_of_many_and_never_all_of_an_endless_one(vocabulary):
    assert unknown_note(vocabulary, "a face") == ""
    assert "“zebra”," in unknown_note(vocabulary, "a zebra")
    assert "“zebra” and “Beyonce”," in unknown_note(vocabulary, "a zebra Beyonce")
    assert "“gnu”, “yak”, “zebra”, “okapi” and 2 more," in unknown_note(vocabulary, "gnu yak zebra okapi lynx puma")
    assert len(unknown_note(vocabulary, "x" * 1000)) < 150
    assert unknown_note(vocabulary, "purpel hair").endswith("or something else; the nearest it knows: “purple”.")


def test_a_family_without_a_list_of_words_knows_all():
    assert read_registry()["ffhq"].vocabulary == ""
    assert unknown_words(frozenset(), "Beyonce on a zebra") == []
