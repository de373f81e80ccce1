"""Latents survive a file to the bit and follow one another's edits."""

import pytest
import torch

from pipeline import Latent
from pipeline.errors import UserError


def same(a: Latent, b: Latent) -> bool:
    return a.digest() == b.digest() and a.space == b.space


@pytest.mark.parametrize("space", ["w+", "s"])
def test_saved_and_loaded(tmp_path, space):
    latent = Latent(torch.randn(1, 10, 32))
    if space == "s":
        latent = latent.moved([torch.randn(1, n) for n in (8, 8, 12, 4, 4, 4, 4, 4, 4, 4, 4, 4)])
    latent.save(tmp_path / "latent.safetensors")
    loaded = Latent.load(tmp_path / "latent.safetensors")
    assert latent.space == space
    assert same(loaded, latent)


def test_another_file_is_refused(tmp_path):
    (tmp_path / "text.safetensors").write_text("not a latent")
    with pytest.raises(UserError, match="no latent"):
        Latent.load(tmp_path / "text.safetensors")


def test_steps_in_stylespace_add_up(studio):
    latent, generator = studio.sample(1), studio.family.generator
    step = [torch.randn_like(s) for s in latent.styles(generator)]
    twice = latent.moved(step).moved(step)
    for moved, start, one in zip(twice.styles(generator), latent.styles(generator), step, strict=True):
        torch.testing.assert_close(moved, start + 2 * one)


def test_every_value_counts_in_the_digest():
    latent = Latent(torch.zeros(1, 10, 32))
    other = latent.w_plus.clone()
    other[0, 9, 31] = 1e-6
    assert not same(latent, Latent(other))
