"""How strong a global direction is: within the range of sampled faces, and as strong as suits the words."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from families.drawn.reader import Reader, read
from pipeline import Latent, StyleCLIP
from pipeline.errors import UserError
from pipeline.images import to_tensor
from pipeline.methods.directions import LIMIT, style_mean
from pipeline.methods.strength import REMEMBERED, least_worthwhile

OLD, PURPLE, LIPS = "old face", "face with purple hair", "face with red lipstick"
FAR = 60.0


@pytest.fixture(scope="module")
def demo() -> StyleCLIP:
    return StyleCLIP.from_pretrained("demo", device="cpu")


@pytest.fixture(scope="module")
def face(demo):
    return demo.sample(11)


def deviations(studio, latent: Latent) -> torch.Tensor:
    """How many deviations every channel is from the mean of sampled faces."""
    family = studio.family
    styles = torch.cat(latent.styles(family.generator), 1)[0]
    return (styles - style_mean(family.generator, family.latent_avg)) / family.directions.style_std.clamp(min=1e-12)


def moved(studio, latent: Latent, strength: float, **options) -> torch.Tensor:
    edit = studio.direct(latent, OLD, "face", strength, **options)
    return torch.cat(edit.latent.style_step, 1)[0]


@pytest.mark.parametrize("strength", [FAR, -FAR])
def test_no_channel_leaves_the_range_of_sampled_faces(demo, face, strength):
    before, after = deviations(demo, face), deviations(demo, demo.direct(face, OLD, "face", strength).latent)
    outside = after.abs() > LIMIT + 1e-3
    assert (after.abs() <= before.abs().clamp(min=LIMIT) + 1e-3).all()
    assert torch.equal(after[outside], before[outside])
    unlimited = deviations(demo, demo.direct(face, OLD, "face", strength, limit=0).latent)
    assert (unlimited.abs() > 10 * LIMIT).any()


def test_more_strength_never_moves_a_channel_less(demo, face):
    steps = torch.stack([moved(demo, face, a) for a in (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)])
    assert not steps[0].any()
    assert (steps.abs().diff(dim=0) >= -1e-6).all()
    assert (steps.sign() * steps[-1].sign() >= 0).all()


def test_a_small_step_is_taken_whole(demo, face):
    step, whole = moved(demo, face, 0.5), moved(demo, face, 0.5, limit=0)
    room = LIMIT - whole.sign() * deviations(demo, face)
    inside = (whole / demo.family.directions.style_std.clamp(min=1e-12)).abs() < room / 2
    assert inside.sum() > 0.9 * len(step)
    assert torch.equal(step[inside], whole[inside])


def test_what_is_outside_already_is_not_pulled_back(demo, face):
    far = demo.direct(face, PURPLE, "face", FAR, limit=0).latent
    there, more = deviations(demo, far), deviations(demo, demo.direct(far, PURPLE, "face", 3.0).latent)
    outside = there.abs() > LIMIT
    assert outside.any() and torch.equal(more[outside], there[outside])


def test_each_pair_of_texts_has_a_strength_of_its_own(demo, face):
    edits = {words: demo.direct(face, words, "face") for words in (OLD, PURPLE, LIPS)}
    found = {words: edit.recipe["parameters"]["strength"] for words, edit in edits.items()}
    assert found[OLD] < found[LIPS] < found[PURPLE]
    assert found[OLD] == demo.strengths.of(OLD, "face")
    fresh = StyleCLIP(demo.family)
    assert fresh.strengths.of(OLD, "face") == found[OLD]
    assert fresh.direct(face, OLD, "face").latent.digest() == edits[OLD].latent.digest()
    with pytest.raises(UserError, match="the same"):
        demo.direct(face, "face", "face")


def test_a_known_pair_waits_for_no_search(demo, monkeypatch):
    strengths = demo.strengths
    found = strengths.of(OLD, "face")
    with ThreadPoolExecutor() as pool, strengths._lock:  # as while another pair is searched
        assert pool.submit(strengths.of, OLD, "face").result(timeout=60) == found
    monkeypatch.setattr(strengths, "_remembered", {})
    monkeypatch.setattr(strengths, "_found", lambda *asked: 1.0)
    for number in range(200):
        strengths.of(f"{number}", "face")
    assert len(strengths._remembered) == REMEMBERED


@pytest.mark.parametrize(
    ("words", "category", "value"), [(OLD, "age", 1), (LIPS, "lips", 1), ("face with glasses", "eyewear", 1)]
)
def test_at_its_strength_the_target_is_there(demo, words, category, value):
    reader, hits, tried = Reader.from_file(), 0, 0
    for seed in range(100, 112):
        latent = demo.sample(seed)
        if read(reader, to_tensor(demo.image(latent), (256, 256)))[category].item() == 0:
            tried += 1
            image = demo.direct(latent, words, "face").image
            hits += read(reader, to_tensor(image, (256, 256)))[category].item() == value
    assert tried >= 4 and hits >= 0.75 * tried


def test_a_family_that_names_a_strength_keeps_it(studio):
    assert "strength" in studio.family.defaults.model_fields_set
    edit = studio.direct(studio.sample(1), OLD, "face")
    assert edit.recipe["parameters"]["strength"] == studio.family.defaults.strength


def test_a_recipe_from_before_the_limit_repeats_to_the_same_numbers(demo, face):
    parameters = {"target": OLD, "neutral": "face", "strength": 6.0, "channels": 80}
    edit = demo.direct(face, **parameters, limit=0)
    older = json.loads(json.dumps(edit.recipe | {"parameters": parameters}))
    again = demo.repeat(older, face)
    assert again.latent.digest() == edit.latent.digest()
    delta_t = demo.texts.direction(OLD, "face")
    step, _ = demo.family.directions.step(delta_t, demo.family.directions.beta_keeping(delta_t, 80))
    assert all(torch.equal(a, 6.0 * b) for a, b in zip(again.latent.style_step, step, strict=True))
    assert demo.repeat(demo.direct(face, OLD, "face").recipe, face).recipe["parameters"]["limit"] == LIMIT


def test_the_strength_is_where_more_would_cost_more_than_it_brings():
    alphas, free = [0.0, 1.0, 2.0, 4.0, 8.0], [0.0] * 5
    assert least_worthwhile(alphas, [0.0, 0.1, 0.2, 0.25, 0.3], free) > 7  # still grows
    assert 1.0 < least_worthwhile(alphas, [0.0, 0.2, 0.3, 0.3, 0.2], free) < 4.0  # no longer
    assert least_worthwhile(alphas, [0.0, 0.1, 0.2, 0.25, 0.3], [0.0, 0.0, 0.1, 0.6, 2.0]) < 4.0  # the person suffers
    faint, costly = [0.0, 0.01, 0.02, 0.04, 0.05], [0.0, 0.01, 0.05, 0.15, 0.3]
    assert least_worthwhile(alphas, faint, costly) > 6  # as if it were there, where nobody knows
    assert least_worthwhile(alphas, faint, costly, room=0.2) < 4  # faces that have it are far away
    assert 0 < least_worthwhile(alphas, [0.0, -0.1, -0.1, -0.1, -0.1], [0.0, 0.5, 1.0, 2.0, 4.0]) < 1.0
