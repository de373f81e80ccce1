"""The MobileStyleGAN generator: the published numbers, and the plain arithmetic at a small width."""

import pytest
import torch
import torch.nn.functional as F

import pipeline.networks.strips
from pipeline.latents import Latent
from pipeline.methods.low_rank import LowRank
from pipeline.models.openvino_ir import read_mobile_generator
from pipeline.models.registry import read_registry
from pipeline.models.weights import read_slim
from pipeline.networks import mobilestylegan
from pipeline.networks.mobilestylegan import MobileGenerator
from pipeline.tuning import Tuning
from tests.goldens import Goldens
from tests.wheels import members, plain_image, plain_mapping, write_wheel

GOLDENS = Goldens.from_environment()


@pytest.fixture(scope="module")
def constants(tmp_path_factory):
    """A small generator, and the constants of its mapping and synthesis network as published."""
    files, mapping, synthesis = members()
    path, _ = write_wheel(tmp_path_factory.mktemp("wheel"), files)
    state = read_mobile_generator(path)
    state.pop("latent_avg")
    return MobileGenerator.from_state_dict(state), mapping, synthesis


@pytest.fixture
def generator(constants) -> MobileGenerator:
    yield constants[0]
    constants[0].compute_dtype = None


@pytest.fixture
def strips(monkeypatch):
    """Strips of a few rows, which blocks of small pictures would not be drawn in otherwise."""
    monkeypatch.setattr(mobilestylegan, "STRIPS_FROM", 8)
    monkeypatch.setattr(pipeline.networks.strips, "STRIP", 1_000)


def codes(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 12, generator=torch.Generator().manual_seed(seed))


def test_it_agrees_with_the_published_generator():
    source = read_registry()["photo"].files["generator"]
    if (path := source.here()) is None:
        pytest.skip("the wheel is not on this machine: python -m pipeline.models fetch photo")
    state = dict(read_slim("generator", path))
    state.pop("latent_avg")
    generator, golden = MobileGenerator.from_state_dict(state), GOLDENS.load("mobilestylegan")
    with torch.inference_mode():
        w = generator.mapping(GOLDENS.normal(70, 2, 512))
        mean = generator.mapping(GOLDENS.normal(570, 256, 512)).mean(0, keepdim=True)
        found = {"w": w, "w_mean256": mean}
        for name, code in (("img", w), ("img_trunc", mean + 0.7 * (w - mean))):
            image = generator(code)
            found |= {f"{name}_mean": image.mean((2, 3)), f"{name}_std": image.std((2, 3), correction=0)}
            found |= {
                f"{name}_ds32": F.adaptive_avg_pool2d(image, 32),
                f"{name}_val": image.flatten()[golden[f"{name}_idx"]],
            }
    for name, value in found.items():
        assert (value - golden[name]).abs().max() <= 2e-4, name


def test_it_is_the_plain_arithmetic(constants, generator, strips):
    z = codes(3)
    w = plain_mapping(constants[1], z)
    expected = plain_image(constants[2], w)
    assert torch.allclose(generator.mapping(z), w, atol=1e-5)
    with torch.no_grad():
        assert torch.allclose(generator(w), expected, atol=1e-5 * expected.abs().max())
        for resolution in (4, 16, 32):
            mean = F.adaptive_avg_pool2d(expected, resolution)
            assert torch.allclose(generator(w, resolution), mean, atol=1e-5 * expected.abs().max())


def test_its_latent_has_one_row(generator):
    w = codes(2)
    assert generator.num_rows == 1
    assert torch.equal(generator(w[:, None]), generator(w))
    with pytest.raises(ValueError, match="expected codes"):
        generator.styles(w[:, None].expand(-1, 2, -1))
    with pytest.raises(ValueError, match="resolution"):
        generator(w, 48)


def test_gradients_are_those_of_the_plain_arithmetic(constants, generator, strips):
    weight = torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(1))
    for count in (1, 2):
        w, plain = (codes(count).requires_grad_() for _ in range(2))
        (generator(w) * weight).sum().backward()
        (plain_image(constants[2], plain) * weight).sum().backward()
        assert torch.allclose(w.grad, plain.grad, rtol=1e-4, atol=1e-4 * plain.grad.abs().max())


def test_bfloat16_is_near(generator, strips):
    w = codes(2)
    exact = generator(w)
    generator.compute_dtype = torch.bfloat16
    for image in (generator(w), generator(w.clone().requires_grad_()).detach()):
        assert image.dtype == torch.float32
        assert (image - exact).abs().mean() < 0.02 * exact.abs().mean()


def test_steps_in_stylespace_and_a_tuning_act_in_strips_as_in_whole(generator, strips):
    latent = Latent(codes(1)[:, None]).moved([torch.full((1, la.channels), 0.1) for la in generator.style_layers])
    begun = LowRank(generator.tunable_weights(), {}).factors()
    factors = {name: (left.detach() + 0.01, right.detach()) for name, (left, right) in begun.items()}
    tuned = Latent(latent.w_plus, latent.style_step, Tuning(factors))
    assert tuned.fits(generator) and set(factors) == set(generator.tunable_weights())
    with torch.no_grad():
        plain, image = latent.draw(generator), tuned.draw(generator)
    assert not torch.allclose(plain, image, atol=1e-2)
    learned = {name: tuple(f.clone().requires_grad_() for f in pair) for name, pair in factors.items()}
    whole = generator.synthesize(tuned.styles(generator), tuning=learned)
    assert torch.allclose(whole, image, atol=1e-5 * image.abs().max())
    whole.square().sum().backward()
    assert all(f.grad.abs().max() > 0 for pair in learned.values() for f in pair)


def test_layers_tell_their_resolution_and_level(constants):
    layers = constants[0].style_layers
    assert [(la.name, la.resolution, la.level) for la in layers[:4]] == [
        ("conv1", 4, "coarse"),
        ("blocks.0.up", 8, "coarse"),
        ("blocks.0.conv1", 8, "coarse"),
        ("blocks.0.conv2", 8, "coarse"),
    ]
    assert layers[-1] == ("to_image", 64, 8, True, 0, "fine")
    assert [la.level for la in layers if la.name.endswith("up")] == ["coarse", "coarse", "medium"]
