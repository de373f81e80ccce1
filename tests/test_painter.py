"""Networks that know styles, from which a painting begins."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from families import painter
from pipeline import StyleCLIP
from pipeline.errors import UserError
from pipeline.models.family import load_family
from pipeline.models.sources import Source
from pipeline.models.weights import read_weights
from pipeline.networks.stylenet import SHAPES, Mixture, StyleNet, painters, views

pytestmark = pytest.mark.usefixtures("small_paintings")


@pytest.fixture(scope="module")
def fit():
    """A training on two noisy pictures and their dark and their pale version, after some steps."""
    rng = torch.Generator().manual_seed(0)
    plain = torch.randint(80, 176, (2, 3, 32, 32), generator=rng, dtype=torch.uint8)
    styled = torch.stack([plain - 80, plain + 79], 1)
    fit = painter.PainterFit(plain, styled, lambda pictures: [F.avg_pool2d(pictures, 2)], ("picture", "picture"))
    fit.losses = [fit.step(1.0) for _ in range(30)]
    return fit


@pytest.fixture(scope="module")
def file(fit, tmp_path_factory):
    path = tmp_path_factory.mktemp("painter") / "painter.safetensors"
    fit.export(path)
    return path


def test_a_style_is_learned_and_read_again(fit, file, tmp_path):
    assert fit.losses[-1] < fit.losses[0] / 2
    picture = fit.plain[:1].float() / 127.5 - 1
    seen, (dark, pale) = views(picture), painters(read_weights("painter", file))
    assert dark(seen).mean() < picture.mean() - 0.3 and pale(seen).mean() > picture.mean() + 0.3
    torch.testing.assert_close(pale(seen), fit.painted(seen, 1), rtol=0, atol=2e-3)  # float16
    other = painter.PainterFit(fit.plain, fit.styled, fit.features, ("picture", "picture"))
    fit.save(tmp_path / "painter.pt")
    other.load(tmp_path / "painter.pt")
    assert other.step(1.0) == fit.step(1.0)
    elsewhere = painter.PainterFit(fit.plain, fit.styled, fit.features, ("picture", "strokes"))
    with pytest.raises(UserError, match="another training"):
        elsewhere.load(tmp_path / "painter.pt")
    assert [*fit.own] == [name for name in SHAPES if name in fit.own]  # as in any other process


def test_a_style_starts_from_its_view(fit):
    other = painter.PainterFit(fit.plain, fit.styled, fit.features, ("tiles", "strokes"))
    seen = views(fit.plain[:1].float() / 127.5 - 1)
    picture, strokes, tiles = seen.unflatten(1, (3, 3)).unbind(1)
    for style, wanted in ((0, tiles), (1, strokes)):
        torch.testing.assert_close(other.painted(seen, style), wanted, rtol=0, atol=1e-5)
        assert not torch.allclose(wanted, picture, atol=0.05)


def test_views_of_a_picture_are_strokes_and_tiles():
    rng = torch.Generator().manual_seed(0)
    picture = torch.full((1, 3, 40, 48), -0.5)
    picture[..., 20:] = 0.5
    noisy = picture + 0.1 * torch.randn(picture.shape, generator=rng)
    itself, strokes, tiles = views(noisy).unflatten(1, (3, 3)).unbind(1)
    assert torch.equal(itself, noisy)
    assert (strokes - picture).abs().mean() < 0.3 * (noisy - picture).abs().mean()  # even areas, and a sharp edge
    assert (tiles[..., :16, :16] == tiles[..., :1, :1]).all() and tiles.shape == picture.shape
    torch.testing.assert_close(tiles[..., 0, 0], noisy[..., :16, :16].mean((2, 3)))


def test_a_mixture_is_between_its_networks(fit, file):
    seen = views(fit.plain[:1].float() / 127.5 - 1)
    dark, pale = networks = painters(read_weights("painter", file))
    for share, nearer in ((0.99, dark), (0.01, pale)):
        torch.testing.assert_close(Mixture(networks, 0, share)(seen), nearer(seen), rtol=0, atol=0.1)
    mixed = Mixture(networks, 0, 0.5)
    assert dark(seen).mean() < mixed(seen).mean() < pale(seen).mean()
    torch.testing.assert_close(StyleNet.from_state_dict(mixed.weights())(seen), mixed(seen))


@pytest.mark.parametrize("studios", [1, 2])
def test_a_painting_begins_with_the_style_that_its_words_are_nearest_to(studio, file, monkeypatch, studios):
    """Also where two faces are painted at once, as the batch command does."""
    faces, networks = [studio.sample(3), studio.sample(4)][:studios], painters(read_weights("painter", file))
    known = [{name: value.clone() for name, value in one.named_parameters()} for one in networks]
    begun = []
    for order in ((0, 1), (1, 0)):
        monkeypatch.setattr(studio.family, "painter", torch.nn.ModuleList([networks[k] for k in order]))
        with ThreadPoolExecutor() as pool:
            runs = pool.map(lambda face: list(studio.paint(face, "an oil painting", "a photo", 30, preview=32)), faces)
        runs = list(runs)
        for totals in ([step.losses["total"] for step in run] for run in runs):
            assert sum(totals[-10:]) < sum(totals[:10])
        begun.append([studio.image(first.latent).tobytes() for first, *_ in runs])
    assert begun[0] == begun[1] != [studio.image(face).tobytes() for face in faces]
    for one, before in zip(networks, known, strict=True):
        assert all(torch.equal(value, before[name]) for name, value in one.named_parameters())


def test_the_nearest_style_is_the_first(studio, file, monkeypatch):
    face, networks = studio.sample(3), painters(read_weights("painter", file))
    alone = []
    for network in networks:
        # Between a style and one that is all but the same there is nothing but that style.
        twin = StyleNet.from_state_dict({n: v + 1e-6 for n, v in network.state_dict().items()})
        monkeypatch.setattr(studio.family, "painter", torch.nn.ModuleList([network, twin]))
        first = next(studio.paint(face, "an oil painting", "a photo", 1))
        alone.append((first.losses["direction"], torch.tensor(list(studio.image(first.latent).tobytes())).float()))
    monkeypatch.setattr(studio.family, "painter", networks)
    first = next(studio.paint(face, "an oil painting", "a photo", 1))
    shown = torch.tensor(list(studio.image(first.latent).tobytes())).float()
    near, far = sorted(alone, key=lambda pair: pair[0])
    assert (shown - near[1]).abs().mean() < (shown - far[1]).abs().mean()


def test_a_family_has_a_painter_from_its_file(one_row_studio, fit, file, tmp_path):
    row = one_row_studio.family.row

    def family(state: dict[str, torch.Tensor]) -> StyleCLIP:
        save_file(state, path := tmp_path / "painter.safetensors")
        files = row.files | {"painter": Source(path=path)}
        return StyleCLIP(load_family(row.model_copy(update={"files": files}), torch.device("cpu"), torch.float32))

    tensors = load_file(file)
    one = family(tensors)
    (step,) = one.paint(one.sample(1), "an oil painting", "a photo", 1)
    assert "painter" in step.edit.recipe["weights"]
    own = [name for name, value in tensors.items() if value.shape[:1] == (2,) and name in fit.own]
    for wrong in (
        {name: tensors[name][0] for name in own},  # one StyleNet
        {name: tensors[name][:1] for name in own},  # one style
        {"out.bias": tensors["out.bias"][:1]},
        {"out.bias": torch.cat([tensors["out.bias"]] * 2)},
    ):
        with pytest.raises(UserError, match="painter"):
            family(tensors | wrong)
    with pytest.raises(UserError, match="it is a latent"):
        family({"w_plus": torch.zeros(1, 3, 2)})
