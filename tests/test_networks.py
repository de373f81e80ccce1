"""The networks agree with the reference implementation and read any width."""

import pytest
import torch
from goldens import Goldens

from pipeline.networks.arcface import IRSE
from pipeline.networks.clip import CLIP, build_clip, tokenize
from pipeline.networks.e4e import Encoder
from pipeline.networks.mapper import LevelsMapper, SingleMapper, StyleSpaceMapper, mapper_from_state_dict
from pipeline.networks.stylegan2 import Generator

GOLDENS = Goldens.from_environment()


@pytest.fixture(scope="module", params=[256, 1024])
def golden_generator(request):
    size = request.param
    generator = Generator.from_state_dict(GOLDENS.fill(Generator(size).state_dict()))
    golden = GOLDENS.load(f"stylegan2_{size}")
    z = GOLDENS.normal(0, 2, 512) if size == 256 else GOLDENS.normal(10, 1, 512)
    return generator, golden, generator.mapping(z)


def test_generator_golden(golden_generator):
    generator, golden, w = golden_generator
    golden.check("w", w)
    styles = generator.styles(w)
    assert [s.shape[1] for s in styles] == [layer.channels for layer in generator.style_layers]
    assert [layer.channels for layer in generator.style_layers] == golden["style_channels"].tolist()
    golden.check("style_first8", torch.stack([s[:, :8] for s in styles]))
    golden.check("style_norm", torch.stack([s.norm(dim=1) for s in styles]))
    golden.check_image("img", generator.synthesize(styles))


@pytest.fixture(scope="module")
def generator_256():
    return Generator.from_state_dict(GOLDENS.fill(Generator(256).state_dict())), GOLDENS.load("stylegan2_256")


@pytest.mark.parametrize("layer", [4, 5])
def test_stylespace_edit_golden(generator_256, layer):
    generator, golden = generator_256
    styles = generator.styles(generator.mapping(GOLDENS.normal(0, 2, 512)))
    image = generator.synthesize(styles)
    styles[layer] = styles[layer].clone()
    styles[layer][:, 5] += 3
    edited = generator.synthesize(styles)
    golden.check_image(f"img_edit_layer{layer}", edited)
    golden.check(f"img_edit_layer{layer}_absdiff_from_img", (edited - image).abs().mean((1, 2, 3)))


def test_truncation_golden(generator_256):
    generator, golden = generator_256
    w = generator.mapping(GOLDENS.normal(0, 2, 512))
    golden.check_image("img_trunc", generator(w.mean(0) + 0.7 * (w - w.mean(0))))


def test_wplus_gradient_golden(generator_256):
    generator, golden = generator_256
    w_plus = GOLDENS.normal(7, 1, 14, 512).requires_grad_()
    image = generator(w_plus)
    golden.check_image("img_wplus", image.detach())
    loss = image.square().mean()
    loss.backward()
    golden.check("wplus_loss", loss)
    golden.check("wplus_grad_first16", w_plus.grad[0, :, :16])
    golden.check("wplus_grad_norm", w_plus.grad[0].norm(dim=1))
    assert all(p.grad is None for p in generator.parameters())


def test_ir_se50_golden():
    network = IRSE.from_state_dict(GOLDENS.fill(IRSE().state_dict()))
    GOLDENS.load("ir_se50_id").check("emb112", network(GOLDENS.normal(2, 1, 3, 112, 112)))


def test_e4e_golden():
    encoder = Encoder.from_state_dict(GOLDENS.fill(Encoder().state_dict()))
    golden = GOLDENS.load("e4e")
    codes = encoder((0.5 * GOLDENS.normal(1, 1, 3, 256, 256)).clamp(-1, 1))[0]
    golden.check("codes_first16", codes[:, :16])
    golden.check("codes_norm", codes.norm(dim=1))
    codes = codes + GOLDENS.fill({"latent_avg": torch.empty(18, 512)})["latent_avg"]
    golden.check("codes_plus_avg_first16", codes[:, :16])
    golden.check("codes_plus_avg_norm", codes.norm(dim=1))


@pytest.fixture(scope="module")
def golden_mapper():
    return GOLDENS.load("mapper"), GOLDENS.normal(3, 1, 18, 512)


def load_mapper(mapper: torch.nn.Module) -> torch.nn.Module:
    """The same mapper with golden weights, read from a state dict as published."""
    state = {f"mapper.{k}": v for k, v in GOLDENS.fill(mapper.state_dict()).items()}
    loaded = mapper_from_state_dict(state | {"decoder.input.input": torch.empty(1)})
    assert type(loaded) is type(mapper)
    return loaded


def test_levels_mapper_golden(golden_mapper):
    golden, x = golden_mapper
    levels_all = load_mapper(LevelsMapper())(x)
    no_fine = load_mapper(LevelsMapper(levels=("course", "medium")))(x)
    golden.check("levels_all", levels_all)
    golden.check("levels_all_norm", levels_all.norm(dim=2))
    golden.check("levels_no_fine", no_fine)
    golden.check("levels_no_fine_norm", no_fine.norm(dim=2))
    golden.check("w_hat_first16", (x + 0.1 * no_fine)[..., :16])


def test_single_mapper_golden(golden_mapper):
    golden, x = golden_mapper
    step = load_mapper(SingleMapper())(x)
    golden.check("single_first16", step[..., :16])
    golden.check("single_norm", step.norm(dim=2))


def test_stylespace_mapper_golden(golden_mapper):
    golden, _ = golden_mapper
    layers = Generator(1024).style_layers
    styles = [GOLDENS.normal(30 + i, 1, layer.channels) for i, layer in enumerate(layers)]
    steps = load_mapper(StyleSpaceMapper({i: la.channels for i, la in enumerate(layers) if not la.is_to_rgb}))(styles)
    golden.check("stylespace_first8", torch.stack([s[:, :8] for s in steps]))
    golden.check("stylespace_norm", torch.stack([s.norm(dim=1) for s in steps]))


def test_clip_golden():
    model = CLIP(64, 64, 2, 64, 16, 77, 49408, 64, 1, 2)
    model = build_clip(GOLDENS.fill(model.state_dict()))
    golden = GOLDENS.load("clip")
    tokens = tokenize(GOLDENS.meta["_env"]["strings"])
    assert torch.equal(tokens.int(), golden["tokens"])
    images = GOLDENS.normal(8, 2, 3, 64, 64)
    golden.check("text_features", model.encode_text(tokens))
    golden.check("image_features", model.encode_image(images))
    golden.check("logits_per_image", model(images, tokens)[0])
