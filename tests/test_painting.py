"""One picture painted in the style of a text (CLIPstyler), and what later edits make of it."""

import pickle
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline import Latent
from pipeline.errors import UserError
from pipeline.methods import clipstyler
from pipeline.paint import Paint

pytestmark = pytest.mark.usefixtures("small_paintings")


@pytest.fixture(scope="module")
def face(studio) -> Latent:
    return studio.sample(3)


@pytest.fixture(scope="module")
def painted(studio, face):
    """The last of four steps."""
    *_, last = studio.paint(face, "an oil painting", "a photo", steps=4, preview=32)
    return last


def pixels(studio, latent):
    return studio.image(latent).tobytes()


def test_a_face_is_painted_step_by_step(studio, face, painted):
    before = pixels(studio, face)
    steps = list(studio.paint(face, "an oil painting", "a photo", steps=4, preview=32))
    assert [step.index for step in steps] == [1, 2, 3, 4] and [step.image.width for step in steps] == [32] * 3 + [64]
    assert set(steps[0].losses) == {"direction", "patches", "content", "variation", "total"}
    assert steps[-1].edit.image.tobytes() == pixels(studio, steps[-1].latent) != before == pixels(studio, face)
    assert steps[-1].latent.digest() == painted.latent.digest()  # the same once more
    told = painted.edit.recipe
    assert told["parameters"] == {"target": "an oil painting", "neutral": "a photo", "steps": 4}
    assert studio.repeat(told, face).image.tobytes() == painted.edit.image.tobytes()
    assert studio.repeat(told, studio.sample(5), anywhere=True).recipe["source"] == studio.sample(5).digest()


def test_the_network_begins_as_the_identity_and_leaves_it(studio, face):
    first, *_, last = studio.paint(face, "an oil painting", "a photo", steps=40, preview=32)
    assert first.losses["content"] < last.losses["content"] / 3
    assert last.losses["total"] < first.losses["total"]


def test_later_edits_are_painted_too(studio, face, painted):
    plain, shown = (studio.direct(latent, "old face", "face").latent for latent in (face, painted.latent))
    assert shown.paint is painted.latent.paint
    assert pixels(studio, shown) not in (pixels(studio, plain), pixels(studio, painted.latent))
    styled = studio.style(painted.latent, "rough").latent
    assert styled.paint is painted.latent.paint
    (optimized,) = islice(studio.optimize(painted.latent, "a smiling face", steps=1), 1)
    assert optimized.latent.paint is painted.latent.paint
    assert optimized.edit.image.tobytes() == pixels(studio, optimized.latent)
    (again,) = islice(studio.paint(painted.latent, "a sketch", "a photo", steps=1), 1)
    (fresh,) = islice(studio.paint(face, "a sketch", "a photo", steps=1), 1)
    assert again.latent.paint.tensors().keys() == fresh.latent.paint.tensors().keys()
    assert pixels(studio, again.latent) == pixels(studio, fresh.latent)  # it takes the place of the first


def test_more_or_less_of_the_paint(studio, face, painted):
    assert pixels(studio, studio.adjust(face, painted.edit, 0).latent) == pixels(studio, face)
    half = studio.adjust(face, painted.edit, 0.5)
    ends = [torch.tensor(list(pixels(studio, latent))).float() for latent in (face, painted.latent)]
    between = torch.tensor(list(half.image.tobytes())).float()
    assert (between - (ends[0] + ends[1]) / 2).abs().max() < 2  # each is rounded
    assert pixels(studio, studio.adjust(face, painted.edit, 2).latent) == pixels(studio, painted.latent)


def test_a_painted_face_is_saved_and_others_are_refused(studio, face, painted, tmp_path):
    path = tmp_path / "face.safetensors"
    studio.adjust(face, painted.edit, 0.5).latent.save(path)
    again = Latent.load(path)
    assert again.paint.share == 0.5
    assert pixels(studio, again) == pixels(studio, studio.adjust(face, painted.edit, 0.5).latent)
    tensors = load_file(path)
    name = next(name for name in tensors if name.startswith("paint.down"))
    for wrong in (
        {"paint.share": torch.tensor(7.0)},
        {"paint.share": torch.tensor([0.5, 0.5])},
        {"paint.share": torch.tensor([])},
        {name: torch.zeros(2)},
        {name: torch.full_like(tensors[name], torch.inf)},
        {"paint.more": torch.zeros(1)},
    ):
        save_file(tensors | wrong, path)
        with pytest.raises(UserError):
            studio.image(Latent.load(path))
    older = replace(painted.latent, paint=Paint({"out": torch.zeros(3)}))
    with pytest.raises(UserError, match="paint the face again"):
        studio.image(older)


def test_a_painted_face_is_the_same_elsewhere(studio, face, painted, tmp_path):
    """In another process, or from a file, its paint is another object with the same values."""
    painted.latent.save(tmp_path / "face.safetensors")
    for again in (pickle.loads(pickle.dumps(painted.latent)), Latent.load(tmp_path / "face.safetensors")):
        assert len(pickle.dumps(again.paint)) < 1.1 * sum(value.nbytes for value in again.paint.state.values()) + 20_000
        edited = studio.direct(again, "old face", "face").latent
        for share in (0.25, 0.5, 0.75):
            between = painted.latent.towards(edited, share)
            assert pixels(studio, between) != pixels(studio, replace(between, paint=None))
            assert between.paint.share == 1


def test_an_optimization_looks_at_the_face_without_the_paint(studio, face, painted):
    bare, shown = (
        next(studio.optimize(latent, "a smiling face", steps=1, neutral="a face")) for latent in (face, painted.latent)
    )
    assert torch.equal(bare.latent.w_plus, shown.latent.w_plus)


def test_a_paint_is_of_the_whole_picture(studio, face, painted):
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., :32] = 1
    with pytest.raises(UserError, match="whole picture"):
        studio.within(face, painted.edit, [mask])


def test_the_whole_photo_is_painted_with_its_face(studio, photo, monkeypatch):
    found = studio.align(photo)[0]
    *_, last = studio.paint(studio.invert(found), "an oil painting", "a photo", steps=4, preview=32)
    bare = replace(last.latent, paint=None)
    plain, whole = studio.paste(photo, found, bare), studio.paste(photo, found, last.latent)
    assert plain.tobytes() == studio.paste(photo, found, studio.image(bare)).tobytes()
    assert whole.size == photo.size
    corner = (0, 0, 100, 100)  # far from the face
    assert plain.crop(corner).tobytes() == photo.crop(corner).tobytes() != whole.crop(corner).tobytes()
    alone = studio.paste(photo, found, last.latent.paint)  # with the photo's own face
    near, far = (
        abs(np.asarray(alone.crop(box), float) - np.asarray(whole.crop(box), float)).mean()
        for box in (corner, (400, 250, 600, 450))  # the latter in the face
    )
    assert near < 2 and far > 5 * near
    half = studio.paste(photo, found, replace(last.latent, paint=last.latent.paint.scaled(0.5)))
    middle = (np.asarray(plain, float) + np.asarray(whole, float)) / 2
    assert abs(np.asarray(half, float) - middle).max() <= 1  # both are rounded
    monkeypatch.setattr("pipeline.paint.LONGEST", 64)
    coarse = studio.paste(photo, found, last.latent)
    assert coarse.size == photo.size and coarse.tobytes() != whole.tobytes()
    with pytest.raises(TypeError, match="`edited`"):
        studio.paste(photo, found, "oil painting")


def test_texts_that_lead_nowhere_are_told(studio, face):
    with pytest.raises(UserError, match="is what there is already"):
        studio.paint(face, "a photo", "a photo")
    with pytest.raises(UserError, match="describe the face"):
        studio.paint(face, "a sketch", " ")
    with pytest.raises(UserError, match="`steps`"):
        studio.paint(face, "a sketch", "a photo", steps=0)


def test_patches_are_of_the_picture_they_are_taken_from():
    rows = torch.linspace(-1, 1, 48).view(1, 1, 48, 1).expand(1, 3, 48, 64)
    rng = torch.Generator().manual_seed(0)
    found = clipstyler.patches(rows, 20, 8, rng)
    assert found.shape == (20, 3, 8, 8) and found.abs().max() <= 1
    assert (found[:, :, -1].mean((1, 2)) > found[:, :, 0].mean((1, 2))).all()  # upright, and no patch is mirrored
    assert found.mean((1, 2, 3)).std() > 0.1  # in many places
