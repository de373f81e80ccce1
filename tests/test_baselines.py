"""The baselines on drawn faces: each makes easy edits from a pair of texts, straight and the same every time."""

import pytest
import torch

from benchmarks.baselines import BASELINES, styleflow
from benchmarks.methods import METHODS
from benchmarks.targets import PAIRS
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
        patch.setattr("benchmarks.baselines.styleflow.STEPS", 40)
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


@pytest.fixture(scope="module")
def kept(demo, pairs, tmp_path_factory):
    """StyleFlow as the benchmark has it, with a flow of a few steps, and the folder that the flow is kept in."""
    shelf = tmp_path_factory.mktemp("shelf")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(styleflow, "STEPS", 40)
        return METHODS["styleflow"](demo, shelf, pairs), shelf


@pytest.fixture(scope="module")
def flow(kept, pairs):
    """The flow, and the samples as it takes them: codes and attributes."""
    baseline = kept[0].baseline
    return baseline.flow, baseline.space.coordinates(pairs.w), baseline.attributes.of(pairs.features)


def test_the_flow_leads_back_to_the_face_under_its_own_attributes_and_to_another_under_others(kept, flow):
    network, codes, attributes = flow
    noise, _ = network.encode(codes, attributes)
    space = kept[0].baseline.space
    assert space.step(network.decode(noise, attributes) - codes).abs().max() < 1e-3
    others = attributes.clone()
    others[:, 0] += 1
    assert space.step(network.decode(noise, others) - codes).norm(dim=1).min() > 0.1


def test_the_flow_s_stretch_is_that_of_its_volumes(flow):
    network, codes, attributes = flow
    _, stretch = network.encode(codes[:1], attributes[:1])
    jacobian = torch.autograd.functional.jacobian(lambda x: network.encode(x[None], attributes[:1])[0][0], codes[0])
    assert stretch.item() == pytest.approx(torch.linalg.slogdet(jacobian).logabsdet.item(), abs=0.05)


def test_training_makes_faces_likelier(flow):
    network, codes, attributes = flow
    untrained = styleflow.Flow(codes.shape[1], attributes.shape[1])
    with torch.no_grad():
        likelier = network.log_likelihood(codes, attributes) - untrained.log_likelihood(codes, attributes)
    assert likelier.mean() > 5


def test_a_new_colour_of_hair_replaces_the_old_one(demo, kept, faces):
    method, _ = kept
    blonde, black = (next(pair for pair in PAIRS if pair.title == f"{colour} hair") for colour in ("blonde", "black"))
    edited = [method.edit(face, blonde) for face in faces]
    gains = {p.title: scores(demo, edited, p.target) - scores(demo, faces, p.target) for p in (blonde, black)}
    assert gains["blonde hair"].mean() > 0.01 > gains["black hair"].mean()


def test_a_pair_that_is_no_target_gets_a_flow_of_its_own(demo, kept, faces, monkeypatch):
    monkeypatch.setattr(styleflow, "STEPS", 40)
    target = "face with dark skin"
    assert target not in {pair.target for pair in PAIRS}
    edited = [kept[0].baseline.edit(face, target, "face") for face in faces]
    assert (scores(demo, edited, target) - scores(demo, faces, target)).mean() > 0.01


def test_a_flow_that_is_kept_is_not_trained_again(demo, pairs, kept, faces, monkeypatch):
    first, shelf = kept
    monkeypatch.setattr(styleflow, "trained", lambda *_: pytest.fail("trained again"))
    again = METHODS["styleflow"](demo, shelf, pairs)
    assert again.spared > 0 == first.spared
    assert again.edit(faces[0], PAIRS[0]).digest() == first.edit(faces[0], PAIRS[0]).digest()
