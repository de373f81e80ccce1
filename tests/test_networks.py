"""The networks agree with the reference implementation and read any width."""

import pytest
import torch
from goldens import Goldens

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
