"""The baselines on drawn faces: each makes easy edits from a pair of texts, straight and the same every time."""

import pytest
import torch

from benchmarks.baselines import BASELINES
from pipeline import StyleCLIP
from pipeline.errors import UserError
from pipeline.losses import clip_features
from pipeline.training.frozen import FrozenModels
from pipeline.training.pairs import sample_pairs

EASY = ("face with glasses", "face with a beard")


@pytest.fixture(scope="module")
def demo():
    return StyleCLIP.from_pretrained("demo", device="cpu")


@pytest.fixture(scope="module")
def pairs(demo):
    return sample_pairs(FrozenModels.of(demo.family), 240)


@pytest.fixture(scope="module")
def faces(demo):
    return [demo.sample(2_000_000 + seed, truncation=1.0) for seed in range(3)]


@pytest.fixture(scope="module", params=BASELINES)
def baseline(request, demo, pairs):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmarks.baselines.tedigan.STEPS", 300)  # as far as so few pairs carry
        patch.setattr("benchmarks.baselines.baseline.FACES", 2)
        yield BASELINES[request.param](demo.family, pairs, demo.texts)


@torch.inference_mode()
def scores(demo, latents, target):
    """How much more like the target than like a face CLIP finds each (N,)."""
    images = torch.cat([latent.draw(demo.family.generator) for latent in latents])
    features = clip_features(demo.family.clip, images, demo.family.row.clip_normalize_directions)
    return features @ demo.texts.direction(target, "face")


@pytest.mark.parametrize("target", EASY)
def test_the_edit_brings_faces_closer_to_the_text(demo, faces, baseline, target):
    edited = [baseline.edit(face, target, "face") for face in faces]
    gain = scores(demo, edited, target) - scores(demo, faces, target)
    assert gain.mean() > 0.01


def test_an_edit_is_a_straight_way_from_the_face(demo, faces, baseline):
    face, target = faces[0], EASY[0]
    assert demo.image(baseline.edit(face, target, "face", 0)).tobytes() == demo.image(face).tobytes()

    def styles(strength):
        return torch.cat(baseline.edit(face, target, "face", strength).styles(demo.family.generator), 1)

    start, step = styles(0), styles(1) - styles(0)
    assert step.any()
    for strength in (0.5, 2.0, -1.0):
        assert torch.allclose(styles(strength), start + strength * step, atol=1e-4)


def test_the_same_texts_make_the_same_edit(demo, pairs, faces, baseline):
    again = type(baseline)(demo.family, pairs, demo.texts)
    edits = [maker.edit(faces[0], EASY[0], "face") for maker in (baseline, again)]
    assert edits[0].digest() == edits[1].digest() != faces[0].digest()


def test_an_edit_keeps_what_was_edited_before(demo, faces, baseline):
    before = demo.direct(faces[0], "face with blonde hair", "face").latent
    after = baseline.edit(before, EASY[0], "face", 0)
    assert demo.image(after).tobytes() == demo.image(before).tobytes()


def test_texts_that_clip_cannot_tell_apart_are_refused(baseline):
    with pytest.raises(UserError):
        baseline.prepare("face", "face")


def test_stylespace_counts_in_the_deviations_of_all_faces(demo, pairs):
    """As the pairs are, not in those of truncated codes, which are 0.7 times as large."""
    baseline = BASELINES["stylespace"](demo.family, pairs, demo.texts)
    with torch.inference_mode():
        styles = torch.cat(demo.family.generator.styles(pairs.w), 1)
    shift, spread = baseline.deviations(styles)
    assert shift.abs().median() < 0.1 and 0.95 < spread[baseline.movable].median() < 1.05
