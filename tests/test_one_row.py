"""Families whose latent has a single row, w: the same classes, methods and commands as for W+."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file

from pipeline import StyleCLIP
from pipeline.errors import UserError
from pipeline.images import to_tensor
from pipeline.latents import Tuning
from pipeline.losses import clip_features
from pipeline.methods.directions import style_statistics
from pipeline.models.measured import own_path
from pipeline.models.registry import family_row
from pipeline.networks.e4e import Encoder
from pipeline.networks.generator import LEVELS
from pipeline.networks.mapper import LevelsMapper, NarrowMapper
from pipeline.networks.preview import Preview
from pipeline.networks.w_encoder import WEncoder
from pipeline.training.csla import csla_command
from pipeline.training.frozen import FrozenModels
from pipeline.training.mapper import save_mapper
from pipeline.training.mapper_recipe import MapperRecipe
from pipeline.training.mapper_training import train
from pipeline.training.relevance import measure_relevance, relevance_command, unit_change
from tests.conftest import NARROW
from tests.wheels import STYLE_DIM


@pytest.fixture
def commands(one_row_registry, tmp_path, monkeypatch):
    """Commands know the family, and write into a folder of this test."""
    monkeypatch.setenv("STYLECLIP_MODELS", str(one_row_registry))
    monkeypatch.setenv("HF_ASSETS_CACHE", str(tmp_path / "assets"))
    monkeypatch.setattr("huggingface_hub.constants.HF_ASSETS_CACHE", str(tmp_path / "assets"))


@pytest.fixture(scope="module")
def picture(drawn_faces) -> Image.Image:
    return drawn_faces[0][0]


def test_a_photo_is_inverted_through_an_encoder_into_w(one_row_studio, one_row_registry, picture):
    family = one_row_studio.family
    encoder = WEncoder.from_state_dict(load_file(one_row_registry.parent / "encoder.safetensors"))
    latent = one_row_studio.invert(picture)
    expected = family.latent_avg + encoder(to_tensor(picture, (64, 64)))[0]
    assert latent.w_plus.shape == (1, 1, family.generator.style_dim)
    torch.testing.assert_close(latent.w_plus[0], expected)
    assert one_row_studio.image(latent).size == (64, 64)
    with pytest.raises(UserError, match="square"):
        one_row_studio.invert(picture.crop((0, 0, 200, 100)))


def test_in_half_precision_the_encoder_finds_nearly_the_same(one_row_registry, one_row_studio, picture):
    half = StyleCLIP.from_pretrained("one-row", device="cpu", dtype=torch.bfloat16, registry=one_row_registry)
    found, exact = (studio.invert(picture).w_plus for studio in (half, one_row_studio))
    assert torch.nn.functional.cosine_similarity(found, exact, dim=-1) > 0.999


def test_an_encoder_into_w_is_for_generators_of_one_row(seeded_registry, one_row_registry):
    encoder = one_row_registry.parent / "encoder.safetensors"
    own = {"generator": seeded_registry.parent / "generator.safetensors", "encoder": encoder}
    with pytest.raises(UserError, match="finds 1 rows of 12 numbers, and this one has 10 of 32"):
        StyleCLIP.from_pretrained("custom", "cpu", files=own | {"clip": seeded_registry.parent / "clip.safetensors"})


def test_an_encoder_that_lacks_a_part_is_named(one_row_registry, tmp_path):
    folder = one_row_registry.parent
    state = load_file(folder / "encoder.safetensors")
    del state["stem.weight"]
    save_file(state, tmp_path / "encoder.safetensors")
    text = one_row_registry.read_text().replace(str(folder / "encoder"), str(tmp_path / "encoder"))
    (tmp_path / "models.toml").write_text(text)
    with pytest.raises(UserError, match="encoder.safetensors is not of the kind that this model needs"):
        StyleCLIP.from_pretrained("one-row", "cpu", registry=tmp_path / "models.toml")


# Relevance of channels


@torch.no_grad()
def plain_relevance(family, std: torch.Tensor, codes: int, to_rgb: bool) -> torch.Tensor:
    """Section 6 as a plain loop: each channel of each code is moved down and up, and both pictures are drawn whole."""
    generator, rng, changes = family.generator, torch.Generator().manual_seed(1), []
    for _ in range(codes):
        w = generator.mapping(torch.randn(1, generator.style_dim, generator=rng))
        styles = generator.styles(family.latent_avg + 0.7 * (w - family.latent_avg))
        rows, first = [], 0
        for p, layer in enumerate(generator.style_layers):
            for channel in range(layer.channels):
                ends = []
                for sigmas in (-5, 5):
                    moved = [s.clone() for s in styles]
                    moved[p][0, channel] += sigmas * std[first + channel]
                    picture = generator.synthesize(moved).clamp(-1, 1)
                    ends.append(clip_features(family.clip, picture, family.row.clip_normalize_directions))
                rows.append(unit_change(*ends))
            if layer.is_to_rgb and not to_rgb:
                del rows[-layer.channels :]
            first += layer.channels
        changes.append(torch.cat(rows))
    return torch.nn.functional.normalize(torch.stack(changes).mean(0), dim=-1)


@pytest.mark.parametrize("to_rgb", [False, True])
def test_relevance_is_that_of_a_plain_loop(one_row_studio, to_rgb):
    family = one_row_studio.family
    std = style_statistics(family.generator, 1_000, average=family.latent_avg)[1]
    found = measure_relevance(
        family.generator,
        lambda pictures: clip_features(family.clip, pictures, family.row.clip_normalize_directions),
        std,
        codes=2,
        to_rgb=to_rgb,
        average=family.latent_avg,
    )
    expected = plain_relevance(family, std, 2, to_rgb)
    assert found.shape == expected.shape
    assert torch.cosine_similarity(found, expected).min() > 0.999


def test_measured_relevance_edits(commands):
    path = relevance_command(["--model", "one-row", "--codes", "1"])
    assert path == own_path("directions", family_row("one-row"))
    studio = StyleCLIP.from_pretrained("one-row", "cpu")
    assert studio.family.directions is not None
    face = studio.sample(0)
    edit = studio.direct(face, "an old face", "a face", strength=5.0, threshold=0.0)
    assert edit.latent.w_plus.equal(face.w_plus) and any(step.any() for step in edit.latent.style_step)


def test_an_encoder_into_w_plus_is_not_for_a_single_row(one_row_registry, seeded_registry, tmp_path):
    save_file(Encoder(10, STYLE_DIM, head_width=16, **NARROW).state_dict(), tmp_path / "psp.safetensors")
    own = {"generator": one_row_registry.parent / "generator.safetensors", "encoder": tmp_path / "psp.safetensors"}
    with pytest.raises(UserError, match="finds 10 rows of 12 numbers, and this one has 1 of 12"):
        StyleCLIP.from_pretrained("custom", "cpu", files=own | {"clip": seeded_registry.parent / "clip.safetensors"})


# Mappers: the norm over rows would leave only signs of a single row


def test_a_mapper_works_in_style_space_unless_told_otherwise(one_row_studio, tmp_path):
    recipe = MapperRecipe("a red face", steps=2, batch=1, every=2)
    *_, last = train(FrozenModels.of(one_row_studio.family), one_row_studio.texts, recipe)
    assert isinstance(last.mapper, NarrowMapper)
    assert last.training.recipe.variant == "narrow"
    save_mapper(last.mapper, tmp_path / "red.safetensors", last.training.recipe, last.losses, title="Red")
    face = one_row_studio.sample(0)
    edit = one_row_studio.map(face, tmp_path / "red.safetensors")
    assert any(step.any() for step in edit.latent.style_step)


def test_with_many_rows_it_has_a_network_for_each_level(studio):
    training = next(
        train(FrozenModels.of(studio.family), studio.texts, MapperRecipe("a red face", steps=1, batch=1))
    ).training
    assert isinstance(training.network, LevelsMapper) and training.recipe.variant == "levels"


@pytest.mark.parametrize("variant", ["levels", "single"])
def test_mappers_of_w_plus_are_refused(variant, one_row_studio, tmp_path):
    with pytest.raises(UserError, match="StyleSpace"):
        next(
            train(
                FrozenModels.of(one_row_studio.family),
                one_row_studio.texts,
                MapperRecipe("a red face", variant=variant),
            )
        )
    mapper = LevelsMapper(one_row_studio.family.generator.style_dim)
    save_mapper(mapper, tmp_path / "w.safetensors", MapperRecipe("a red face", variant="levels"), {}, title="Red")
    with pytest.raises(UserError, match="works in W\\+"):
        one_row_studio.map(one_row_studio.sample(0), tmp_path / "w.safetensors")


# CLIP's space and W


def test_an_alignment_is_trained_and_edits(commands, picture):
    csla_command(["--model", "one-row", "--pairs", "40", "--steps", "3"])
    studio = StyleCLIP.from_pretrained("one-row", "cpu")
    face, width = studio.sample(0), studio.family.generator.style_dim
    assert studio.invert(picture, through="clip").w_plus.shape == (1, 1, width)
    steps = {
        level: studio.csla_edit(face, "an old face", "a face", levels=[level]).latent.style_step for level in LEVELS
    }
    for level, moved in steps.items():
        for layer, step in zip(studio.family.generator.style_layers, moved, strict=True):
            assert bool(step.any()) == (layer.level == level)


# A preview


@pytest.fixture(scope="module")
def previewed(one_row_registry, one_row_studio, tmp_path_factory) -> StyleCLIP:
    """The same family with a preview of random weights, of 32 px from the features at 16."""
    layers = [layer for layer in one_row_studio.family.generator.style_layers if layer.resolution > 16]
    folder = tmp_path_factory.mktemp("preview")
    with torch.random.fork_rng():
        torch.manual_seed(3)
        preview = Preview(layers[0].channels, 6, 16, sum(layer.channels for layer in layers))
    save_file(preview.state_dict(), folder / "preview.safetensors")
    added = f'{one_row_registry.read_text()}preview = {{ path = "{folder / "preview.safetensors"}" }}\n'
    (folder / "models.toml").write_text(added)
    return StyleCLIP.from_pretrained("one-row", "cpu", registry=folder / "models.toml")


def test_a_preview_draws_small_pictures_and_follows_every_layer(previewed, one_row_studio):
    generator, latent = previewed.family.generator, previewed.sample(1)
    assert generator.working_size == 32 and one_row_studio.family.generator.working_size == 64
    assert previewed.image(latent).tobytes() == one_row_studio.image(latent).tobytes()
    small = latent.draw(generator, 32)
    assert small.shape == (1, 3, 32, 32)
    torch.testing.assert_close(latent.draw(generator, 8), torch.nn.functional.avg_pool2d(small, 4))
    for moved in range(len(generator.style_layers)):
        steps = [torch.full((1, la.channels), float(i == moved)) for i, la in enumerate(generator.style_layers)]
        assert not torch.allclose(latent.moved(steps).draw(generator, 32), small, atol=1e-3), moved


def test_small_pictures_follow_where_the_generator_is_tuned(previewed, picture):
    generator, latent = previewed.family.generator, previewed.sample(1)
    *_, last = previewed.tune(latent, picture, steps=30)
    tuned = last.latent
    assert {"preview.conv1", "preview.conv2", "preview.to_image"} < tuned.tuning.factors.keys()
    assert tuned.fits(generator)
    bare = Tuning({name: pair for name, pair in tuned.tuning.factors.items() if not name.startswith("preview.")})
    whole = F.adaptive_avg_pool2d(tuned.draw(generator), 32)
    errors = [F.mse_loss(case.draw(generator, 32), whole) for case in (tuned, replace(tuned, tuning=bare))]
    assert errors[0] < 0.7 * errors[1]
    assert previewed.image(replace(tuned, tuning=bare)).tobytes() == previewed.image(tuned).tobytes()


def test_long_work_looks_at_the_preview_and_keeps_the_whole_picture(previewed, picture):
    latent, seen = previewed.sample(1), []
    begun = [
        previewed.optimize(latent, "a man", steps=2, preview=512),
        previewed.refine(latent, picture, 2, preview=512),
    ]
    for run in begun:
        first, last = run
        assert first.image.size == (32, 32) and first.edit.image.size == last.image.size == (64, 64)
        assert last.image.tobytes() == last.edit.image.tobytes() == previewed.image(last.latent).tobytes()
        seen.append(first.edit.recipe["weights"].keys())
    assert all("preview" in kinds for kinds in seen)
    first, _ = previewed.optimize(latent, "a man", steps=2)
    assert first.image.size == (64, 64)


def test_a_preview_of_another_generator_is_refused(seeded_registry, previewed):
    preview = previewed.family.row.files["preview"].path
    own = {kind: seeded_registry.parent / f"{kind}.safetensors" for kind in ("generator", "clip")}
    with pytest.raises(UserError, match="preview.safetensors is for another generator"):
        StyleCLIP.from_pretrained("custom", "cpu", files=own | {"preview": preview})
