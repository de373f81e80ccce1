"""How CLIP learns words for styles: the filters that show them, and what of a shipped model stays as it is."""

import random
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from families import clip as families_clip
from families import styles
from families.style_filters import FILTERS
from pipeline.losses import clip_features
from pipeline.networks.clip import build_clip

SHIPPED = Path(__file__).parents[1] / "checkpoints" / "photo" / "clip.safetensors"


@pytest.fixture(scope="module")
def face(drawn_faces) -> np.ndarray:
    """A drawn face as filters take it."""
    return np.asarray(drawn_faces[0][0].resize((96, 96)), np.float32) / 255


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_shows_its_style_in_many_ways(name, face):
    one, again, other = (FILTERS[name](face.copy(), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one.shape == face.shape and one.min() >= 0 and one.max() <= 1
    assert (one == again).all()
    assert abs(one - other).mean() > 0.003 and abs(one - face).mean() > 0.02


@pytest.fixture(scope="module")
def fit():
    """A training on noise, after two steps of a few pictures."""
    rng = torch.Generator().manual_seed(0)
    faces = {
        "plain": torch.randint(256, (16, 2, 3, 128, 128), generator=rng, dtype=torch.uint8),
        "styled": torch.randint(256, (16, styles.VARIANTS, 2, 3, 128, 128), generator=rng, dtype=torch.uint8),
        "which": torch.randint(len(FILTERS), (16, styles.VARIANTS), generator=rng),
    }
    with pytest.MonkeyPatch.context() as patch:
        for module in (styles, families_clip):
            patch.setattr(module, "BATCH", 4)
            patch.setattr(module, "TEXTS", 4)
        fit = styles.StyleFit("photo", faces)
        fit.untrained = deepcopy(fit.model)
        for _ in range(2):
            fit.step(1.0, 1.0)
    return fit


def test_the_shipped_channels_stay_and_read_no_new_one(fit, tmp_path):
    fit.export(tmp_path / "clip.safetensors")
    shipped, learned = (
        styles.without_styles(load_file(SHIPPED), 128, styles.WIDTHS["photo"]),
        load_file(tmp_path / "clip.safetensors"),
    )
    for name, value in shipped.items():
        if name.startswith("visual.") and value.ndim:
            assert torch.equal(learned[name][tuple(slice(n) for n in value.shape)], value), name
    pictures = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(1)) * 2 - 1
    old, new = build_clip(shipped).visual, build_clip(learned).visual
    seen = {}
    for model in (old, new):
        model.layer4.register_forward_hook(lambda _, inputs, output, model=model: seen.update({model: output}))
        model(pictures)
    width = seen[old].shape[1]
    assert width < seen[new].shape[1]
    torch.testing.assert_close(seen[new][:, :width], seen[old], rtol=1e-3, atol=1e-4)


def test_the_new_channels_learn_and_say_nothing_at_first(fit):
    pictures = fit.faces["plain"][:2, 0].float() / 127.5 - 1
    shipped, now, before = (
        clip_features(model.eval(), pictures, normalize=False) for model in (fit.teacher, fit.model, fit.untrained)
    )
    torch.testing.assert_close(before, shipped, rtol=0, atol=1e-6)
    assert (now - shipped).abs().max() > 1e-5


def test_a_text_with_a_style_says_what_it_said_and_the_style(fit):
    said = fit._said(["a smiling face"])
    with_style = fit.with_style(said.repeat(2, 1), torch.tensor([3, -1]))
    torch.testing.assert_close(with_style[1:], said)
    assert with_style[0] @ fit.styles[3] > 0.5 and (said @ fit.styles.T).abs().max() < 0.1
    random_, captions = random.Random(0), fit.captions
    for _ in range(50):
        plain, text, which = captions.pair(random_)
        media = () if which < 0 else sum(styles.WORDS[styles.STYLES[which]], ())
        assert (plain == text) if which < 0 else any(word in text for word in media)
