"""Global directions: golden values, texts, and what a visitor may ask for."""

import pytest
import torch
from scipy.stats import spearmanr

from pipeline import StyleCLIP
from pipeline.attributes import known_names
from pipeline.errors import UserError
from pipeline.losses import clip_features
from pipeline.methods.directions import MeasuredDirections, text_direction
from pipeline.methods.estimate import GradientDirections
from pipeline.models.family import load_family
from pipeline.models.registry import family_row
from pipeline.networks.clip import CLIP, build_clip
from pipeline.networks.stylegan2 import Generator
from pipeline.text import SIGNS_NOTE, TEMPLATES, Texts, check_pair, check_prompt
from pipeline.training.relevance import unit_change
from tests.goldens import Goldens

GOLDENS = Goldens.from_environment()


@pytest.fixture(scope="module")
def golden_directions():
    with torch.device("meta"):
        layers = Generator(1024).style_layers
    relevance = torch.nn.functional.normalize(GOLDENS.normal(4, 6048, 512))
    text_direction = torch.nn.functional.normalize(GOLDENS.normal(5, 512), dim=0)
    std = torch.cat([GOLDENS.normal(200 + i, layer.channels).abs() + 0.2 for i, layer in enumerate(layers)])
    return MeasuredDirections(relevance, std, layers), text_direction, GOLDENS.load("global_direction")


@pytest.mark.parametrize("threshold", [0.08, 0.0])
def test_step_golden(golden_directions, threshold):
    directions, text_direction, golden = golden_directions
    step, channels = directions.step(text_direction, threshold)
    key = f"beta{threshold}"
    assert channels == golden[f"{key}_num"]
    golden.check(f"{key}_boundary_norm_per_layer", torch.stack([s.norm() for s in step]))
    bare = torch.cat([s[0] for s in step]) / directions.style_std
    moving = torch.cat([torch.full((la.channels,), not la.is_to_rgb) for la in directions.layers])
    assert not bare[~moving].any()
    bare = bare[moving]
    assert bare.abs().argmax() == golden[f"{key}_argmax"]
    golden.check(f"{key}_first20_ds", bare[golden[f"{key}_first20_idx"]])
    golden.check(f"{key}_ds_norm", bare.norm())
    if threshold:
        assert torch.equal(bare.nonzero()[:, 0], golden[f"{key}_all_idx"].long())
        golden.check(f"{key}_all_ds", bare[bare != 0])
        golden.check(f"{key}_boundary_first_layer_first32", step[0][0, :32])


def test_relevance_of_the_first_channels_only_golden(golden_directions):
    directions, text_direction, golden = golden_directions
    fewer = MeasuredDirections(directions.relevance[:5376], directions.style_std, directions.layers)
    step, channels = fewer.step(text_direction, 0.08)
    assert channels == golden["fs3_5376_num"]
    golden.check("fs3_5376_boundary_norm_per_layer", torch.stack([s.norm() for s in step]))


def test_no_channel_kept_names_a_threshold_that_keeps_some(golden_directions):
    directions, text_direction, golden = golden_directions
    assert golden["beta0.15_num"] == 0
    with pytest.raises(UserError, match=r"β of 0\.15.*β = 0\.\d+ would keep 20") as error:
        directions.step(text_direction, 0.15)
    suggested = float(str(error.value).split("β = ")[1].split()[0])
    assert 20 <= directions.step(text_direction, suggested)[1] <= 40


@pytest.mark.parametrize("channels", [1, 20, 100, 10_000])
def test_threshold_keeps_the_channels_asked_for(golden_directions, channels):
    directions, text_direction, _ = golden_directions
    threshold = directions.beta_keeping(text_direction, channels)
    assert directions.step(text_direction, threshold)[1] == min(channels, 6048)


def test_relevance_golden():
    golden = GOLDENS.load("global_direction")
    before, after = GOLDENS.normal(9, *golden["getfs_input_shape"].tolist()).unbind(2)
    golden.check("getfs", torch.nn.functional.normalize(unit_change(before, after).mean(1), dim=-1))


def test_text_direction_golden():
    golden = GOLDENS.load("global_direction")
    assert len(set(TEMPLATES)) == golden["n_templates"]
    texts = Texts(build_clip(GOLDENS.fill(CLIP(128, 224, 2, 128, 32, 77, 49408, 128, 2, 2).state_dict())))
    golden.check("dt_0", texts.direction("face with blue eyes", "face with eyes"))
    golden.check("dt_1", texts.direction("smiling face", "face"))


def test_prompts():
    assert check_prompt("a person with purple hair") == []
    assert check_prompt("😀") == [SIGNS_NOTE]
    assert check_prompt("{} and {0}") == []
    assert "left out" in check_prompt("a very long beard " * 50)[0]
    assert len(check_pair("a very long beard " * 50, "a very long nose " * 50)) == 1
    for unusable in ("", "  \n", "a" * 2000, "half a smile \ud83d"):
        with pytest.raises(UserError):
            check_prompt(unusable)
    for target, neutral in [("face", "face"), ("A  Face ", "a face"), ("face", ""), ("", "face")]:
        with pytest.raises(UserError):
            check_pair(target, neutral)


def test_an_estimate_from_gradients_resembles_the_measured_relevance():
    family = load_family(family_row("demo"), torch.device("cpu"), torch.float32)
    text_direction = Texts(family.clip).direction("face with red lipstick", "face")
    estimate = GradientDirections(family.generator, lambda x: clip_features(family.clip, x, False), True, samples=4)
    scores, measured = estimate.scores(text_direction), family.directions.scores(text_direction)
    assert spearmanr(scores, measured)[0] > 0.3
    assert estimate.step(text_direction, estimate.beta_keeping(text_direction, 20))[1] == 20
    assert estimate.scores(text_direction) is scores


@pytest.fixture(scope="module")
def demo() -> StyleCLIP:
    return StyleCLIP.from_pretrained("demo", device="cpu")


def test_what_is_kept_is_no_part_of_the_text_direction(demo):
    pairs = [("face with a beard", "face"), ("male face", "female face"), ("face with a moustache", "face")]
    kept = torch.stack([demo.texts.direction(*pair) for pair in pairs])
    plain, cleaned = (text_direction(demo.texts, "old face", "face", k) for k in ((), pairs))
    assert (kept @ plain).abs().max() > 0.05 and (kept @ cleaned).abs().max() < 1e-5
    assert cleaned.norm().item() == pytest.approx(1) and cleaned @ plain > 0.8
    twice = text_direction(demo.texts, "old face", "face", [*pairs, *pairs])  # said twice is kept once
    assert torch.allclose(twice, cleaned, atol=1e-5)


def test_an_edit_that_keeps_something_is_repeated(demo):
    latent, words = demo.sample(11), ("old face", "face")
    edit = demo.direct(latent, *words, 4.0, keep=["grey hair", "smiling"])
    plain = demo.direct(latent, *words, 4.0)
    assert edit.latent.digest() != plain.latent.digest()
    assert edit.recipe["parameters"]["keep"] == ["grey hair", "smiling"] and "keep" not in plain.recipe["parameters"]
    assert demo.repeat(edit.recipe, latent).latent.digest() == edit.latent.digest()
    assert demo.threshold(*words, 40, ["grey hair"]) != demo.threshold(*words, 40)
    assert demo.direct(latent, *words, 4.0, keep=[]).latent.digest() == plain.latent.digest()


@pytest.mark.parametrize(
    ("keep", "said"),
    [
        (["hats"], "There is no attribute “hats” to keep; there are: black hair, "),
        (["a hat"], "never taught “a hat”, so it can't be kept; please leave it out"),
        (["glasses", "old"], "leaves nothing of “old face”; please keep other attributes"),
    ],
)
def test_what_cannot_be_kept_is_told_in_one_sentence(demo, keep, said):
    with pytest.raises(UserError, match=said) as error:
        demo.direct(demo.sample(11), "old face", "face", 4.0, keep=keep)
    assert str(error.value).count(". ") == 0 and str(error.value).endswith(".")
    known = known_names(demo.texts.vocabulary, "face")
    assert "a hat" not in known and "glasses" in known
