"""The example faces of the page."""

from types import SimpleNamespace

import pytest

from pipeline import StyleCLIP
from webapp.example_faces import DRAWINGS, EVERY, PHOTOGRAPHS, examples_of


def family(pictures, faces=True, encoder=True):
    row = SimpleNamespace(pictures=pictures)
    return SimpleNamespace(family=SimpleNamespace(row=row, faces=faces or None, encoder=encoder or None))


@pytest.mark.parametrize(
    ("studio", "shown"),
    [
        (family("drawings"), DRAWINGS),
        (family("photographs"), PHOTOGRAPHS),
        (family(None), DRAWINGS),
        (family("photographs", faces=False), ()),
        (family("photographs", encoder=False), ()),
    ],
)
def test_they_are_of_the_kind_that_the_family_draws(studio, shown):
    assert examples_of(studio) == shown


def test_in_each_one_face_is_found():
    studio = StyleCLIP.from_pretrained("demo", "cpu")
    assert len(EVERY) == len({example.words for example in EVERY}) == 16
    assert [len(studio.align(example.path)) for example in EVERY] == [1] * 16
