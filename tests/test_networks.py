"""The networks agree with the reference implementation and read any width."""

import pytest
import torch

from pipeline.checks import has_bfloat16
from pipeline.networks.arcface import IRSE
from pipeline.networks.clip import CLIP, WORD_ROWS, WORD_TOKENS, build_clip, encode_text, tokenize
from pipeline.networks.e4e import Encoder
from pipeline.networks.mapper import LevelsMapper, SingleMapper, StyleSpaceMapper, mapper_from_state_dict
from pipeline.networks.stylegan2 import Generator
from tests.goldens import GoldenFile, Goldens

GOLDENS = Goldens.from_environment()
in_bfloat16 = pytest.mark.skipif(
    not has_bfloat16(torch.device("cpu")), reason="this processor emulates bfloat16, which takes minutes at full size"
)


def golden_generator(size: int) -> Generator:
    return Generator.from_state_dict(GOLDENS.fill(Generator(size).state_dict()))


def check_styles(golden: GoldenFile, generator: Generator, styles: list[torch.Tensor]) -> None:
    channels = golden["style_channels"].tolist()
    assert [layer.channels for layer in generator.style_layers] == channels == [s.shape[1] for s in styles]
    golden.check("style_first8", torch.stack([s[:, :8] for s in styles]))
    golden.check("style_norm", torch.stack([s.norm(dim=1) for s in styles]))


def test_generator_1024_golden():
    generator, golden = golden_generator(1024), GOLDENS.load("stylegan2_1024")
    w = generator.mapping(GOLDENS.normal(10, 1, 512))
    golden.check("w", w)
    styles = generator.styles(w)
    check_styles(golden, generator, styles)
    golden.check_image("img", generator.synthesize(styles))


@in_bfloat16
@pytest.mark.parametrize(("size", "seed", "count"), [(1024, 10, 1), (256, 0, 2)])
def test_generator_in_bfloat16(size, seed, count):
    """The golden pixels are met within 2 % of the image's standard deviation (root mean square)."""
    generator, golden = golden_generator(size), GOLDENS.load(f"stylegan2_{size}")
    generator.compute_dtype = torch.bfloat16
    with torch.no_grad():
        image = generator(generator.mapping(GOLDENS.normal(seed, count, 512)))
    error = image.flatten()[golden["img_idx"]] - golden["img_val"]
    assert 0 < error.square().mean().sqrt() <= 0.02 * golden["img_std"].mean()


@pytest.fixture(scope="module")
def case_256():
    """Two images, and their w; what is done to them is in the tests below."""
    generator = golden_generator(256)
    w = generator.mapping(GOLDENS.normal(0, 2, 512))
    return generator, GOLDENS.load("stylegan2_256"), w, generator(w)


def test_generator_256_golden(case_256):
    generator, golden, w, image = case_256
    golden.check("w", w)
    check_styles(golden, generator, generator.styles(w))
    golden.check_image("img", image)


@pytest.mark.parametrize("layer", [4, 5])
def test_stylespace_edit_golden(case_256, layer):
    generator, golden, w, image = case_256
    styles = generator.styles(w)
    styles[layer][:, 5] += 3
    edited = generator.synthesize(styles)
    golden.check_image(f"img_edit_layer{layer}", edited)
    golden.check(f"img_edit_layer{layer}_absdiff_from_img", (edited - image).abs().mean((1, 2, 3)))


def test_truncation_golden(case_256):
    generator, golden, w, _ = case_256
    golden.check_image("img_trunc", generator(w.mean(0) + 0.7 * (w - w.mean(0))))


def test_wplus_gradient_golden(case_256):
    generator, golden, _, _ = case_256
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


@in_bfloat16
def test_e4e_in_bfloat16():
    encoder, golden = Encoder.from_state_dict(GOLDENS.fill(Encoder().state_dict())), GOLDENS.load("e4e")
    half = encoder.bfloat16()((0.5 * GOLDENS.normal(1, 1, 3, 256, 256)).clamp(-1, 1).bfloat16())[0].float()
    error = half[:, :16] - golden["codes_first16"]
    assert 0 < error.square().mean().sqrt() <= 0.02 * golden["codes_first16"].std()


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
    golden.check("text_features", encode_text(model, tokens))
    golden.check("image_features", model.encode_image(images))
    golden.check("logits_per_image", model(images, tokens)[0])


def test_clip_keeps_float32():
    state = GOLDENS.fill(CLIP(64, 32, 1, 64, 16, 77, 49408, 64, 1, 1).state_dict())
    model = build_clip(state | {"input_resolution": torch.tensor(32)})
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert not any(p.requires_grad for p in model.parameters())


def test_a_clip_with_few_words_knows_those_and_no_other():
    state = GOLDENS.fill(CLIP(64, 32, 1, 64, 16, 77, 49408, 64, 1, 1).state_dict())
    tokens, unknown = tokenize("a smiling face").unique(), tokenize("hats")[0, 1]
    few = build_clip(state | {WORD_ROWS: state[WORD_ROWS][tokens], WORD_TOKENS: tokens.int()})
    assert torch.equal(few.encode_text(tokenize("a face")), build_clip(state).encode_text(tokenize("a face")))
    assert not few.token_embedding.weight[unknown].any()
    for wrong in (tokens[:1], -tokens, tokens + 49408, tokens.clamp(max=5)):
        with pytest.raises((ValueError, IndexError)):
            build_clip(state | {WORD_ROWS: state[WORD_ROWS][tokens], WORD_TOKENS: wrong.int()})


NARROW = {4: 24, 8: 24, 16: 16, 32: 8}


@pytest.fixture
def narrow():
    """A generator of other widths than the published one, with every noise at work."""
    torch.manual_seed(0)
    generator = Generator(32, style_dim=16, n_mlp=3, channels=NARROW)
    for name, p in generator.named_parameters():
        if name.endswith("noise.weight"):
            torch.nn.init.constant_(p, 0.3)
    return generator


def test_generator_reads_widths(narrow):
    w = narrow.mapping(torch.randn(3, 16))
    loaded = Generator.from_state_dict({k: v.half() for k, v in narrow.state_dict().items()})
    assert (loaded.size, loaded.style_dim, loaded.num_rows) == (32, 16, 8)
    assert loaded.style_layers == narrow.style_layers
    assert {la.resolution: la.channels for la in loaded.style_layers if la.is_to_rgb} == NARROW
    assert all(p.dtype == torch.float32 and not p.requires_grad for p in loaded.parameters())
    torch.testing.assert_close(loaded(w), narrow(w), atol=2e-2, rtol=0)
    with pytest.raises(ValueError, match="expected codes"):
        loaded(torch.zeros(2, 7, 16))


def test_generator_refuses_incomplete_state(narrow):
    state = narrow.state_dict()
    del state["convs.1.activate.bias"]
    with pytest.raises(RuntimeError, match="convs.1.activate.bias"):
        Generator.from_state_dict(state)


def test_lower_resolution_is_the_running_rgb(narrow):
    generator = Generator.from_state_dict(narrow.state_dict())
    styles = generator.styles(torch.randn(2, 16))
    small = Generator(8, 16, 3, {4: 24, 8: 24})
    small.load_state_dict({k: v for k, v in generator.state_dict().items() if k in small.state_dict()})
    torch.testing.assert_close(generator.synthesize(styles, 8), small.synthesize(styles[:5]))
    for bad in (2, 24, 64):
        with pytest.raises(ValueError, match="resolution"):
            generator.synthesize(styles, bad)


def test_one_image_equals_a_batch(narrow):
    """A single image without gradients takes a path of its own, which modulates weights."""
    generator = Generator.from_state_dict(narrow.state_dict())
    w = torch.randn(2, 16)
    batch = generator(w)
    with torch.no_grad():
        alone = torch.cat([generator(w[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(alone, batch, atol=1e-5, rtol=1e-5)


def test_training_reaches_every_weight(narrow):
    narrow(narrow.mapping(torch.randn(2, 16))).square().mean().backward()
    still = [name for name, p in narrow.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not still


def test_gradients_of_weights_and_noise_are_exact(narrow):
    """Finite differences in float64, along a random direction of each kind of parameter."""
    generator = narrow.double()
    w = torch.randn(2, 16, dtype=torch.float64)
    noise = torch.nn.Parameter(generator.noises.noise_2.clone())
    del generator.noises._buffers["noise_2"]
    generator.noises.register_parameter("noise_2", noise)
    names = ["convs.0.conv.weight", "convs.3.conv.weight", "convs.1.conv.modulation.weight", "to_rgbs.1.conv.weight"]
    for p in [noise, *(generator.get_parameter(name) for name in names)]:
        direction = torch.randn_like(p)
        (gradient,) = torch.autograd.grad(generator(w).square().sum(), p)
        losses = []
        for step in (1e-5, -2e-5, 1e-5):
            with torch.no_grad():
                p += step * direction
                losses.append(generator(w).square().sum())
        torch.testing.assert_close((gradient * direction).sum(), (losses[0] - losses[1]) / 2e-5, rtol=1e-6, atol=0)


def test_cache_follows_the_weights(narrow):
    generator, w = Generator.from_state_dict(narrow.state_dict()), torch.randn(2, 16)
    before = generator(w)
    other = GOLDENS.fill(generator.state_dict())
    fresh = Generator.from_state_dict(other)(w)
    assert not torch.allclose(fresh, before)
    generator.load_state_dict(other)
    assert torch.equal(generator(w), fresh)
    with torch.no_grad():
        generator.convs[0].conv.weight.mul_(-1)
    assert not torch.allclose(generator(w), fresh)
    torch.testing.assert_close(generator.double()(w.double()).float(), generator.float()(w), atol=1e-4, rtol=1e-4)


def test_cache_made_in_inference_mode_serves_gradients(narrow):
    generator, w = Generator.from_state_dict(narrow.state_dict()), torch.randn(1, 16)
    with torch.inference_mode():
        generator(w)
    w.requires_grad_()
    generator(w).sum().backward()
    assert w.grad.abs().sum() > 0


@pytest.mark.parametrize("count", [1, 2])
def test_bfloat16_is_close(narrow, count):
    generator, w = Generator.from_state_dict(narrow.state_dict()), torch.randn(count, 16)
    exact = generator(w)
    generator.compute_dtype = torch.bfloat16
    with torch.no_grad():
        image = generator(w)
    assert image.dtype == torch.float32
    error = (image - exact).abs().max() / exact.abs().max()
    assert 0 < error < 0.03
    assert torch.equal(generator.styles(w)[3], Generator.from_state_dict(narrow.state_dict()).styles(w)[3])


def test_ir_se_reads_widths():
    torch.manual_seed(0)
    network = IRSE((16, 32, 64, 128), (1, 2, 1, 1), embedding=24, size=64).eval()
    loaded = IRSE.from_state_dict(network.state_dict())
    x = torch.randn(2, 3, 64, 64)
    assert loaded.size == 64
    assert torch.equal(loaded(x), network(x))
    torch.testing.assert_close(loaded(x).norm(dim=1), torch.ones(2))
    with pytest.raises(ValueError, match="equal widths"):
        IRSE((16, 16, 32, 64))


def test_e4e_reads_widths():
    torch.manual_seed(0)
    encoder = Encoder(9, style_dim=12, head_width=20, size=64, widths=(16, 32, 64, 96), depths=(1, 1, 2, 1)).eval()
    loaded = Encoder.from_state_dict({f"encoder.{k}": v for k, v in encoder.state_dict().items()})
    x = torch.randn(2, 3, 64, 64)
    assert loaded(x).shape == (2, 9, 12)
    assert torch.equal(loaded(x), encoder(x))
    with pytest.raises(ValueError, match="expected images"):
        loaded(x[..., :32])
