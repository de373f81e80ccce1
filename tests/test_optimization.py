"""Latent optimization: it goes down, it can be stopped, and the same run gives the same face."""

import numpy as np
import pytest
import torch

from pipeline.errors import UserError
from pipeline.losses import clip_features, directional_target
from pipeline.methods.optimization import Adam, learning_rate

PROMPT = "a person with purple hair"


@pytest.fixture(scope="module")
def source(studio):
    return studio.sample(seed=3)


@pytest.mark.parametrize("space", ["w", "w+", "s"])
def test_the_loss_falls(studio, source, space):
    steps = list(studio.optimize(source, PROMPT, steps=12, space=space, lr=0.05))
    assert [step.index for step in steps] == list(range(1, 13))
    assert steps[-1].losses["total"] < steps[0].losses["total"]
    assert set(steps[-1].losses) == {"clip", "identity", "l2", "total"}
    assert steps[-1].latent.space == ("s" if space == "s" else "w+")
    assert studio.image(steps[-1].latent).tobytes() == steps[-1].edit.image.tobytes()


def test_in_w_all_rows_take_the_same_step(studio, source):
    *_, last = studio.optimize(source, PROMPT, steps=3, space="w", l2=0.5)
    step = last.latent.w_plus - source.w_plus
    assert step.abs().max() > 0.01
    torch.testing.assert_close(step, step[:, :1].expand_as(step))
    assert last.losses["l2"] == pytest.approx(step.square().sum().item(), rel=1e-4)


@pytest.mark.parametrize("space", ["w", "w+", "s"])
def test_noise_changes_the_way_but_no_picture_shows_it(studio, source, space):
    steps = list(studio.optimize(source, PROMPT, steps=4, space=space, noise=0.5))
    *_, plain = studio.optimize(source, PROMPT, steps=4, space=space)
    assert steps[-1].latent.digest() != plain.latent.digest()
    for step in steps:
        drawn, shown = (np.asarray(image, int) for image in (studio.image(step.latent), step.edit.image))
        assert np.abs(drawn - shown).max() <= 1  # of 255: with gradients, sums are taken in another order
    *_, again = studio.optimize(source, PROMPT, steps=4, space=space, noise=0.5)
    assert again.latent.digest() == steps[-1].latent.digest()


def test_total_is_the_weighted_sum(studio, source):
    (step,) = studio.optimize(source, PROMPT, steps=1, l2=0.5, identity=0.25)
    losses = step.losses
    assert losses["total"] == pytest.approx(losses["clip"] + 0.5 * losses["l2"] + 0.25 * losses["identity"], rel=1e-5)


def test_with_a_neutral_text_the_face_stays_nearer_to_what_it_was(studio, source):
    """In what CLIP sees, however far the edit goes; the words are heard all the same."""

    def looks(latent):
        features = clip_features(
            studio.family.clip, latent.draw(studio.family.generator), studio.family.row.clip_normalize
        )
        return features.detach()

    direction = studio.texts.embedding(PROMPT) - studio.texts.embedding("a person")
    goal = directional_target(looks(source), direction)
    options = {"steps": 20, "lr": 0.05, "l2": 0.0, "identity": 0.0}
    *_, whole = studio.optimize(source, PROMPT, **options, neutral="")
    first, *_, change = studio.optimize(source, PROMPT, **options, neutral="a person")
    assert change.losses["clip"] == pytest.approx(1 - (looks(change.latent) @ goal.T).item(), abs=1e-5)
    assert change.losses["clip"] < first.losses["clip"]
    assert looks(source) @ looks(change.latent).T > looks(source) @ looks(whole.latent).T

    # A recipe tells which; one from before there was a choice means the prompt alone.
    assert studio.repeat(change.edit.recipe, source).latent.digest() == change.latent.digest()
    older = whole.edit.recipe | {
        "parameters": {k: v for k, v in whole.edit.recipe["parameters"].items() if k != "neutral"}
    }
    assert studio.repeat(older, source).latent.digest() == whole.latent.digest()


def test_without_identity_the_network_is_not_asked(studio, source, monkeypatch):
    monkeypatch.setattr(studio.family, "identity", None)
    (step,) = studio.optimize(source, PROMPT, steps=1, identity=0.0)
    assert "identity" not in step.losses


def test_a_strong_l2_holds_the_latent(studio, source):
    def distance(l2: float) -> float:
        *_, last = studio.optimize(source, PROMPT, steps=8, l2=l2)
        return last.losses["l2"]

    assert distance(10.0) < 0.5 * distance(0.0)


def test_previews_are_small_and_the_last_picture_is_whole(studio, source):
    first, last = studio.optimize(source, PROMPT, steps=2, preview=16)
    assert first.image.size == (16, 16)
    assert first.edit.image.size == last.image.size == (64, 64)


def test_toRGB_stays_when_optimizing_in_stylespace(studio, source):  # noqa: N802
    (step,) = studio.optimize(source, PROMPT, steps=1, space="s")
    for layer, moved in zip(studio.family.generator.style_layers, step.latent.style_step, strict=True):
        assert moved.any() != layer.is_to_rgb


def test_stopped_and_repeated_to_the_bit(studio, source):
    run = studio.optimize(source, PROMPT, steps=6)
    next(run), next(run)
    stopped = next(run).edit
    run.close()
    again = studio.repeat(stopped.recipe, source)
    assert again.image.tobytes() == stopped.image.tobytes()
    assert again.latent.digest() == stopped.latent.digest()
    assert again.recipe == stopped.recipe


def test_the_callers_gradient_mode_is_left_alone(studio, source):
    with torch.no_grad():
        for _ in studio.optimize(source, PROMPT, steps=2):
            assert not torch.is_grad_enabled()
    run = studio.optimize(source, PROMPT, steps=2)
    next(run)
    assert torch.is_grad_enabled()


def test_generation_from_text_starts_at_the_mean_face(studio):
    steps = list(studio.generate(PROMPT, steps=3))
    assert set(steps[-1].losses) == {"clip", "l2", "total"}
    assert steps[-1].losses["total"] == pytest.approx(steps[-1].losses["clip"])
    again = studio.repeat(steps[-1].edit.recipe)
    assert again.image.tobytes() == steps[-1].image.tobytes()


def test_bad_input_is_said_before_the_first_step(studio, source):
    for prompt in ("", "   ", "a" * 2000):
        with pytest.raises(UserError):
            studio.optimize(source, prompt)
    with pytest.raises(UserError, match="what there is already"):
        studio.optimize(source, PROMPT, neutral=PROMPT)
    with pytest.raises(UserError, match="step"):
        studio.optimize(source, PROMPT, steps=0)
    (step,) = studio.optimize(source, "a very long beard " * 40, steps=1)
    assert "left out" in step.notes[0]


def test_learning_rate_rises_holds_and_falls():
    rates = np.array([learning_rate((i + 0.5) / 100, 0.1) for i in range(100)])
    assert 0 < rates[0] < 0.02
    np.testing.assert_allclose(rates[6:74], 0.1)
    assert (np.diff(rates[75:]) < 0).all()
    assert 0 < rates[-1] < 0.001


def test_adam_is_adam():
    ours, theirs = torch.ones(3, requires_grad=True), torch.ones(3, requires_grad=True)
    adam, reference = Adam([ours]), torch.optim.Adam([theirs], lr=0.1)
    for _ in range(5):
        adam.update(torch.autograd.grad((ours**4 * torch.arange(3)).sum(), [ours]), 0.1)
        reference.zero_grad()
        (theirs**4 * torch.arange(3)).sum().backward()
        reference.step()
    torch.testing.assert_close(ours, theirs)
