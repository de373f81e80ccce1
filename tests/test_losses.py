"""The loss terms agree with the reference implementation."""

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from pipeline.losses import (
    area_matrix,
    clip_distance,
    clip_features,
    clip_pool,
    clip_preprocess,
    directional_target,
    identity_crop,
    identity_distance,
    identity_features,
    l2_distance,
)
from pipeline.networks.arcface import IRSE
from pipeline.networks.clip import CLIP, build_clip, tokenize
from pipeline.networks.clip import clip as package
from tests.goldens import Goldens

GOLDENS = Goldens.from_environment()


@pytest.fixture(scope="module")
def clip_model():
    return build_clip(GOLDENS.fill(CLIP(128, 224, 2, 128, 32, 77, 49408, 128, 2, 2).state_dict()))


@pytest.mark.parametrize("size", [256, 1024])
def test_clip_loss_golden(clip_model, size):
    golden = GOLDENS.load("clip")
    images = GOLDENS.normal(40, 1, 3, size, size).clamp(-1, 1).requires_grad_()
    pooled = clip_pool(images, 224)
    assert pooled.shape == tuple(golden[f"pooled_{size}_shape"])
    golden.check(f"pooled_{size}_val", pooled.flatten()[golden[f"pooled_{size}_idx"]])
    text = F.normalize(clip_model.encode_text(tokenize(GOLDENS.meta["_env"]["strings"])))
    scale = (
        clip_model.logit_scale.exp() / 100
    )  # 1.00003: the reference divides the logits by 100 instead of by their scale
    distance = 1 - (1 - clip_distance(clip_features(clip_model, images, normalize=False), text)) * scale
    golden.check(f"cliploss_{size}", distance)
    (gradient,) = torch.autograd.grad(distance.sum(), images)
    golden.check(f"cliploss_{size}_grad_norm_of_first_text", gradient.norm())


@pytest.mark.parametrize(("size", "resolution"), [(256, 64), (128, 96), (64, 64)])
def test_any_clip_resolution_averages_areas(size, resolution):
    images = torch.rand(2, 3, size, size)
    enlarged = images.repeat_interleave(resolution // 32, 2).repeat_interleave(resolution // 32, 3)
    expected = F.avg_pool2d(enlarged, size // 32)
    torch.testing.assert_close(clip_pool(images, resolution), expected, atol=1e-6, rtol=0)
    assert area_matrix(size, resolution, torch.device("cpu")).shape == (resolution, size)


def test_normalisation_is_clips_own(clip_model):
    images = torch.rand(1, 3, 224, 224) * 2 - 1
    mean, std = torch.tensor([0.4815, 0.4578, 0.4082]), torch.tensor([0.2686, 0.2613, 0.2758])
    shown = ((images + 1) / 2 - mean[:, None, None]) / std[:, None, None]
    expected = F.normalize(clip_model.encode_image(shown))
    torch.testing.assert_close(clip_features(clip_model, images, normalize=True), expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("size", [64, 224, 1024])
def test_clip_s_own_preprocessing_is_that_of_its_package(size):
    coarse = torch.randint(0, 256, (1, 3, size // 4, size // 4), generator=torch.Generator().manual_seed(0))
    picture = F.interpolate(coarse.float(), size, mode="bilinear").round().byte()
    expected = package.clip._transform(224)(Image.fromarray(picture[0].permute(1, 2, 0).numpy()))
    found = clip_preprocess(picture.float() / 127.5 - 1, 224)[0]
    assert (found - expected).abs().max() < 1.5 / 255 / 0.26  # Pillow rounds twice


def test_pictures_are_moved_the_way_of_the_texts_as_far_as_clip_tells_them_apart():
    pictures, difference = torch.eye(3)[:2], torch.tensor([[0.0, 0.0, 0.7]])
    half = 0.5**0.5
    torch.testing.assert_close(
        directional_target(pictures, difference), torch.tensor([[half, 0, half], [0, half, half]])
    )
    torch.testing.assert_close(directional_target(pictures, -difference)[0], torch.tensor([half, 0, -half]))
    assert directional_target(pictures, 0.001 * difference)[0, 0] > 0.9999
    torch.testing.assert_close(directional_target(pictures, 0 * difference), pictures)


def test_identity_golden():
    golden = GOLDENS.load("ir_se50_id")
    network = IRSE.from_state_dict(GOLDENS.fill(IRSE().state_dict()))
    x = 2 * GOLDENS.normal(20, 1, 3, 1024, 1024)
    y = 0.5 * x + GOLDENS.normal(21, 1, 3, 1024, 1024)
    crop = identity_crop(x, 112)
    golden.check("id_input112_val", crop.flatten()[golden["id_input112_idx"]])
    features = identity_features(network, x)
    golden.check("id_emb_1024", features)
    golden.check("id_loss_1024_x_y", identity_distance(features, identity_features(network, y))[0])
    golden.check("id_emb_512", identity_features(network, 2 * GOLDENS.normal(22, 1, 3, 512, 512)))
    golden.check("id_emb_256", identity_features(network, GOLDENS.normal(23, 1, 3, 256, 256)))


def test_l2_is_a_sum():
    assert l2_distance(torch.full((1, 2, 3), 2.0), torch.zeros(1, 2, 3)) == 24
