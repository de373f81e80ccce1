"""Several global directions at once."""

import pytest
import torch

from pipeline import StyleCLIP
from pipeline.errors import UserError

SMILE, GLASSES = ("smiling face", "face", 4.0), ("face with glasses", "face", 5.0)


@pytest.fixture(scope="module")
def built_in():
    return StyleCLIP.from_pretrained("demo", device="cpu")


@pytest.fixture(scope="module")
def face(built_in):
    return built_in.sample(seed=3)


def step(latent):
    return torch.cat(latent.style_step, 1)


def test_sliders_add_up_in_any_order(built_in, face):
    single = [
        step(built_in.direct(face, target, neutral, strength, limit=0.0).latent)
        for target, neutral, strength in (SMILE, GLASSES)
    ]
    both = built_in.combine(face, [SMILE, GLASSES], limit=0.0)
    torch.testing.assert_close(step(both.latent), sum(single))
    again = built_in.combine(face, [GLASSES, SMILE], limit=0.0)
    assert again.latent.digest() == both.latent.digest()
    assert (
        built_in.combine(face, [SMILE, (*GLASSES[:2], 0.0)]).latent.digest()
        == built_in.combine(face, [SMILE]).latent.digest()
    )


def test_without_sliders_nothing_changes(built_in, face):
    assert built_in.combine(face, []).latent.digest() == face.digest()


def test_a_recipe_repeats_them(built_in, face):
    edit = built_in.combine(face, [SMILE, GLASSES])
    assert built_in.repeat(edit.recipe, face).latent.digest() == edit.latent.digest()
    half = built_in.adjust(face, edit, 0.5)
    assert built_in.repeat(half.recipe, face).latent.digest() == half.latent.digest()
    assert edit.recipe["parameters"]["sliders"][0] == {"target": "smiling face", "neutral": "face", "strength": 4.0}


@pytest.mark.parametrize(
    ("sliders", "error", "said"),
    [
        ("smiling face", TypeError, "list of"),
        ([("smiling face", "face")], TypeError, "list of"),
        ([("smiling face", "face", "4")], TypeError, "strength"),
        ([("smiling face", 7, 1.0)], TypeError, "neutral"),
        ([("smiling face", "face", 1e9)], UserError, "strength"),
        ([SMILE, (*SMILE[:2], 1.0)], UserError, "two sliders"),
        ([("face", "face", 1.0)], UserError, "are the same"),
        ([("", "face", 1.0)], UserError, "a few words"),
        ([(f"face {i}", "face", 1.0) for i in range(33)], UserError, "at most 32"),
    ],
)
def test_what_is_wrong_is_said(built_in, face, sliders, error, said):
    with pytest.raises(error, match=said):
        built_in.combine(face, sliders)


def test_words_that_the_model_was_never_taught_are_named(built_in, face):
    edit = built_in.combine(face, [SMILE, ("face with a zeppelin", "face", 1.0)])
    assert any("zeppelin" in note for note in edit.notes)


def test_their_sum_stays_in_the_range_of_sampled_faces(built_in, face):
    far = [(target, neutral, 40.0) for target, neutral, _ in (SMILE, GLASSES)]
    directions = built_in.family.directions
    mean = torch.cat(built_in.family.generator.styles(built_in.family.latent_avg[None]), 1)
    moved = torch.cat(built_in.combine(face, far).latent.styles(built_in.family.generator), 1)
    there = torch.cat(face.styles(built_in.family.generator), 1)
    std = directions.style_std.clamp(min=1e-6)
    assert (((moved - mean) / std).abs() <= ((there - mean) / std).abs().clamp(min=3.5) + 1e-3).all()
