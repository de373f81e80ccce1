"""Latents survive a file to the bit and follow one another's edits."""

import pytest
import torch
from safetensors.torch import save_file

from pipeline import Latent
from pipeline.errors import UserError
from pipeline.latents import Tuning


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


def test_a_file_with_numbers_of_no_face_is_refused_before_it_is_drawn(tmp_path):
    w_plus = torch.zeros(1, 10, 32)
    w_plus[0, 3, 5] = torch.nan
    Latent(w_plus).save(tmp_path / "latent.safetensors")
    with pytest.raises(UserError, match="numbers that no face has"):
        Latent.load(tmp_path / "latent.safetensors")


def test_a_file_with_thousands_of_regions_is_refused_at_once(tmp_path):
    names = [f"region.{number}.mask" for number in range(100_000)]
    save_file({"w_plus": torch.zeros(1, 10, 32)} | {name: torch.zeros(0) for name in names}, tmp_path / "many")
    with pytest.raises(UserError, match="at most 32 regions"):
        Latent.load(tmp_path / "many")


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


def test_between_two_latents(studio):
    a, b = studio.sample(1), studio.sample(2)
    b = b.moved([torch.randn_like(s) for s in b.styles(studio.family.generator)])
    assert torch.equal(a.towards(b, 0).w_plus, a.w_plus)
    assert same(a.towards(b, 1), b)
    assert all(
        torch.equal(half, whole / 2) for half, whole in zip(a.towards(b, 0.5).style_step, b.style_step, strict=True)
    )
    assert all(
        torch.equal(left, whole / 2) for left, whole in zip(b.towards(a, 0.5).style_step, b.style_step, strict=True)
    )
    torch.testing.assert_close(a.towards(b, 2).w_plus, 2 * b.w_plus - a.w_plus)
    assert a.towards(studio.sample(2), 0.5).space == "w+"


def test_between_latents_that_do_not_belong_together():
    def tuned(value: float) -> Latent:
        return Latent(torch.zeros(1, 10, 32), None, Tuning({"conv1": (torch.full((8, 2), value), torch.ones(2, 72))}))

    plain = Latent(torch.zeros(1, 10, 32))
    for share in (0, 0.25, 0.5, 1):  # of the tuning as much as of the face that is tuned
        wanted = tuned(share) if share else plain
        assert plain.towards(tuned(1), share).digest() == tuned(1).towards(plain, 1 - share).digest() == wanted.digest()
        assert tuned(1).towards(tuned(1), share).digest() == tuned(1).digest()  # an edit of a tuned face
    short = plain.moved([torch.zeros(1, 8)])
    with pytest.raises(UserError):
        short.towards(plain.moved([torch.zeros(1, 16)]), 0.5)
    for other in (tuned(2), Latent(torch.zeros(1, 18, 512))):
        with pytest.raises(UserError):
            tuned(1).towards(other, 0.5)
