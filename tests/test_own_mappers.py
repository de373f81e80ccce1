"""Mappers that a user brings as a file: trained here, applied, and refused where they do not fit."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from pipeline.errors import UserError
from pipeline.models.downloads import fetch
from pipeline.networks.mapper import LevelsMapper, NarrowMapper, SingleMapper, StyleSpaceMapper
from pipeline.networks.stylegan2 import Generator
from pipeline.training.frozen import FrozenModels
from pipeline.training.mapper import retitle, save_mapper
from pipeline.training.mapper_recipe import MapperRecipe
from pipeline.training.mapper_training import train
from webapp.page import LAUNCH
from webapp.panels.gallery import MAPPER, own_name
from webapp.session import Session


@pytest.mark.parametrize("variant", ["levels", "single", "stylespace", "narrow"])
def test_a_mapper_that_was_trained_is_applied_from_its_file(variant, studio, tmp_path):
    recipe = MapperRecipe("a red face", variant=variant, steps=2, batch=1, every=2)
    *_, last = train(FrozenModels.of(studio.family), studio.texts, recipe)
    path = tmp_path / "red.safetensors"
    save_mapper(last.mapper, path, recipe, last.losses, title="Red face")
    latent = studio.sample(4)
    edit = studio.map(latent, path)
    assert edit.image.tobytes() != studio.image(latent).tobytes()
    assert edit.recipe["parameters"]["mapper"] == "Red face"
    with pytest.raises(UserError, match="Red face"):
        studio.repeat(edit.recipe, latent)


def write(folder, state, **metadata):
    path = folder / "mapper.safetensors"
    save_file({f"mapper.{name}": value for name, value in state.items()}, path, metadata or None)
    return path


def test_a_file_that_holds_no_mapper_of_this_model_is_refused(studio, tmp_path):
    for state in (
        LevelsMapper(16, ("course",)).state_dict(),
        SingleMapper(16).state_dict(),
        StyleSpaceMapper({0: 3}).state_dict(),
        StyleSpaceMapper({0: 16, 40: 8}).state_dict(),  # of a larger generator
        NarrowMapper(40).state_dict(),
        {name: value * torch.nan for name, value in SingleMapper(32).state_dict().items()},
        {"else": torch.zeros(3)},
        {name: torch.tensor(1.0) for name in LevelsMapper(32, ("course",)).state_dict()},
        {name: value.to(torch.complex64) for name, value in SingleMapper(32).state_dict().items()},
        {},
    ):
        with pytest.raises(UserError, match="no mapper for the model"):
            studio.map(studio.sample(0), write(tmp_path, state))
    (tmp_path / "text.safetensors").write_text("no tensors")
    with pytest.raises(UserError, match="no mapper for the model"):
        studio.map(studio.sample(0), tmp_path / "text.safetensors")


def test_a_mapper_whose_tensors_share_memory_is_kept(studio, tmp_path):
    """As a training may that ties its biases; safetensors takes no such tensors."""
    state = SingleMapper(32).state_dict()
    tied = state | {f"mapping.mapping.{i}.bias": state["mapping.mapping.1.bias"] for i in range(2, 5)}
    torch.save(tied, tmp_path / "tied.pt")
    retitle(tmp_path / "tied.pt", tmp_path / "kept.safetensors", "Tied")
    title, _ = studio.family.mappers.load_own(tmp_path / "kept.safetensors")
    assert title == "Tied"


def test_odd_metadata_does_no_harm(studio, tmp_path):
    state = SingleMapper(32).state_dict()
    for recipe, title in (
        ("[]", "Mapper"),
        ('{"title": " \\n"}', "Mapper"),
        ('{"title": "a\\nb"}', "a b"),
        ('{"title": 3}', "Mapper"),
        ('{"title": "' + "x" * 99 + '"}', "x" * 60),
    ):
        edit = studio.map(studio.sample(0), write(tmp_path, state, recipe=recipe))
        assert edit.recipe["parameters"]["mapper"] == title
    for recipe in ("{", "[" * 100_000, '{"title": ' * 100_000, "1" * 5000):
        with pytest.raises(UserError, match="the recipe in it can't be read"):
            studio.map(studio.sample(0), write(tmp_path, state, recipe=recipe))


def test_a_stylespace_mapper_at_1024_px_is_no_larger_than_an_upload_may_be():
    with torch.device("meta"):
        layers = enumerate(Generator(1024).style_layers)
        mapper = StyleSpaceMapper({i: layer.channels for i, layer in layers if not layer.is_to_rgb})
    assert 21 * 2**20 < 2 * sum(p.numel() for p in mapper.parameters()) + 2**16 < LAUNCH["max_file_size"]


def test_a_narrow_mapper_leaves_the_colours_of_torgb_and_moves_less_than_a_megabyte(studio, tmp_path):
    *_, last = train(
        FrozenModels.of(studio.family), studio.texts, MapperRecipe("a red face", variant="narrow", steps=2, batch=1)
    )
    save_mapper(last.mapper, tmp_path / "red.safetensors", last.training.recipe, last.losses, title="Red")
    moved = studio.map(studio.sample(0), tmp_path / "red.safetensors").latent.style_step
    for layer, step in zip(studio.family.generator.style_layers, moved, strict=True):
        assert bool(step.any()) != layer.is_to_rgb
    photographed = 2 * sum(v.numel() for v in NarrowMapper(6_752).state_dict().values())
    assert photographed < 10**6


def test_a_file_that_was_cleared_away_is_said_to_be_gone(studio, tmp_path):
    with pytest.raises(UserError, match=r"no mapper hat\.safetensors, or it is no longer kept; please check its path"):
        studio.map(studio.sample(0), tmp_path / "hat.safetensors")


def test_nobody_waits_for_the_download_of_another_s_mapper(studio, monkeypatch):
    family = replace(studio.family)  # which has loaded none yet
    begun, done = threading.Event(), threading.Event()

    def slow(source, progress=None):
        if source == family.row.mappers["levels"][1]:
            begun.set()
            assert done.wait(60)
        return fetch(source, progress)

    monkeypatch.setattr("pipeline.models.named_networks.fetch", slow)
    with ThreadPoolExecutor(2) as threads:
        try:
            waiting = threads.submit(family.mappers.load, "levels")
            assert begun.wait(60)
            assert isinstance(threads.submit(family.mappers.load, "stylespace").result(30), StyleSpaceMapper)
            assert not waiting.done()
        finally:
            done.set()
        assert isinstance(waiting.result(60), LevelsMapper)


def test_a_mapper_of_one_s_own_shadows_none_that_is_there(studio, tmp_path):
    session = Session()
    for title, name in (
        ("a red  hat", "a red hat"),
        ("A red hat", "A red hat (2)"),
        ("StyleSpace", "StyleSpace (yours)"),
        ("stylespace", "stylespace (2)"),
        (" ", "Mapper"),
        ("", "Mapper (2)"),
        ("x" * 99, "x" * 48),
        ("x" * 99, "x" * 48 + " (2)"),
    ):
        assert own_name(studio, session, MAPPER, title) == name
        session.shelves["mapper"].files[name] = tmp_path / "mapper.safetensors"
        retitle(write(tmp_path, SingleMapper(32).state_dict(), recipe="[]"), tmp_path / "copy.safetensors", name)
        # As adjusting an edit of it needs.
        assert studio.family.mappers.load_own(tmp_path / "copy.safetensors")[0] == name
