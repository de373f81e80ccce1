"""Styles of a generator (StyleGAN-NADA): learned from two texts, kept as a file, together with every other edit."""

from dataclasses import replace
from itertools import islice

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline import Latent, StyleCLIP, edit_photos
from pipeline.errors import UserError
from pipeline.methods import nada
from pipeline.models.styles import retitle_style, save_style
from pipeline.style_methods import NO_STYLES
from pipeline.training import style as command
from tests.test_batch import rows_in


@pytest.fixture(scope="module")
def face(studio) -> Latent:
    return studio.sample(3)


@pytest.fixture(scope="module")
def learned(studio, face):
    """The last of three steps towards a style."""
    *_, last = studio.adapt(face, "a bronze statue", "a photo", steps=3, preview=32)
    return last


def pixels(studio, latent):
    return studio.image(latent).tobytes()


def test_a_style_is_learned_step_by_step_and_shown_on_the_face(studio, face, learned):
    before = pixels(studio, face)
    steps = list(studio.adapt(face, "a bronze statue", "a photo", steps=3, preview=32))
    assert [step.index for step in steps] == [1, 2, 3] and [step.image.width for step in steps] == [32, 32, 64]
    assert set(steps[0].losses) == {"clip", "range", "total"}
    assert steps[-1].edit.image.tobytes() == pixels(studio, steps[-1].latent) != before
    assert steps[-1].latent.digest() == learned.latent.digest()  # the same once more
    assert pixels(studio, face) == before  # the shared generator is what it was
    told = steps[-1].edit.recipe
    assert (told["method"], told["taken"]) == ("adapt", 3)
    assert told["parameters"] == {"target": "a bronze statue", "neutral": "a photo", "steps": 3, "layers": 0}
    with pytest.raises(UserError, match="apply its file"):
        studio.repeat(told, face)


def test_with_few_layers_only_those_change(studio, face):
    (step,) = studio.adapt(face, "a mosaic", "a photo", steps=1, layers=2)
    assert len(step.latent.adaptation.factors) == 2


def test_the_adapted_pictures_go_the_way_of_the_words(studio, face):
    """On the way from the one text to the other, as CLIP sees them, not only away from what they were."""
    first, *_, last = studio.adapt(face, "a marble statue", "a photo", steps=12, preview=32)
    assert last.losses["total"] < first.losses["total"]


@pytest.fixture
def file(learned, tmp_path):
    path = tmp_path / "bronze.safetensors"
    save_style(learned.latent.adaptation, path, {"title": "Bronze"})
    return path


def test_a_style_is_applied_from_its_file_at_any_strength(studio, face, learned, file):
    edit = studio.style(face, file)
    assert edit.recipe["parameters"] | {"file": ""} == {"style": "Bronze", "strength": 1.0, "file": ""}
    nearly = torch.tensor(list(edit.image.tobytes())).float() - torch.tensor(list(learned.edit.image.tobytes())).float()
    assert nearly.abs().mean() < 1  # half precision
    assert pixels(studio, studio.style(face, file, 0).latent) == pixels(studio, face)
    half = studio.style(face, file, 0.5).latent
    assert half.adaptation.digest() == face.towards(edit.latent, 0.5).adaptation.digest()
    assert half.towards(edit.latent, 1).adaptation.digest() == edit.latent.adaptation.digest()
    with pytest.raises(UserError, match="Bronze"):
        studio.repeat(edit.recipe, face)


def test_a_style_of_the_family_repeats_links_and_takes_the_place_of_another(studio, face, file):
    assert studio.styles() == {"rough": "Rough"}
    rough = studio.style(face, "rough", 0.5)
    assert rough.recipe["weights"].keys() == {"generator", "style"}
    assert studio.repeat(rough.recipe, face).image.tobytes() == rough.image.tobytes()
    after = studio.style(studio.style(face, file).latent, "rough", 0.5)
    assert after.image.tobytes() == rough.image.tobytes()


def test_other_edits_go_on_in_the_style_and_a_tuning_stays(studio, face, file):
    (tuned,) = islice(studio.tune(face, studio.image(studio.sample(5)), steps=1), 1)
    styled = studio.style(tuned.latent, file).latent
    plain, shown = (studio.direct(latent, "old face", "face").latent for latent in (tuned.latent, styled))
    assert shown.adaptation is styled.adaptation and shown.tuning is tuned.latent.tuning
    assert all(torch.equal(a, b) for a, b in zip(plain.style_step, shown.style_step, strict=True))
    assert pixels(studio, shown) not in (pixels(studio, plain), pixels(studio, styled))
    assert pixels(studio, replace(shown, adaptation=None)) == pixels(studio, plain)
    (optimized,) = islice(studio.optimize(styled, "a smiling face", steps=1), 1)
    assert optimized.latent.adaptation is styled.adaptation


def test_a_new_tuning_is_of_the_photo_without_the_style(studio, face, file):
    styled = studio.style(face, file).latent
    (one,), (other,) = (islice(studio.tune(latent, studio.image(face), steps=1), 1) for latent in (face, styled))
    assert one.latent.digest() == other.latent.digest()


def test_a_latent_in_a_style_is_saved_and_mixed_with_one_in_another(studio, face, file, tmp_path):
    one, other = studio.style(face, file).latent, studio.style(studio.sample(4), "rough").latent
    one.save(tmp_path / "face.safetensors")
    again = Latent.load(tmp_path / "face.safetensors")
    assert again.digest() == one.digest() and pixels(studio, again) == pixels(studio, one)
    assert pixels(studio, one.towards(other, 0)) == pixels(studio, one)
    assert pixels(studio, one.towards(other, 1)) == pixels(studio, other)
    mixed = pixels(studio, one.towards(other, 0.5))
    assert mixed not in (pixels(studio, one), pixels(studio, other))


def test_a_style_is_of_the_whole_picture(studio, face, file):
    edit = studio.style(face, file)
    with pytest.raises(UserError, match="whole picture"):
        studio.within(face, edit, [_left_half()])
    styled = edit.latent
    held = studio.within(styled, studio.direct(styled, "old face", "face"), [_left_half()])
    assert held.latent.adaptation is styled.adaptation


def _left_half():
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., :32] = 1
    return mask


def test_texts_that_lead_nowhere_are_told(studio, face):
    for target, neutral, told in (
        ("a photo", "a photo", "is what there is already"),
        (" ", "a photo", "describe the face"),
        ("a statue", "", "describe the face"),
        ("a statue", "\ud800", "half of one"),
    ):
        with pytest.raises(UserError, match=told):
            next(studio.adapt(face, target, neutral, steps=1))
    for wrong in ({"steps": 0}, {"layers": -1}):
        with pytest.raises(UserError, match=f"`{next(iter(wrong))}`"):
            studio.adapt(face, "a statue", "a photo", **wrong)


def test_words_that_clip_was_never_taught_are_told(demo, monkeypatch):
    def notes(style: str) -> str:
        (step,) = islice(demo.adapt(demo.sample(1), style, "a drawing", steps=1, preview=8), 1)
        return " ".join(step.notes)

    with pytest.raises(UserError, match="never taught “linocut”; please use others. The styles that it knows: pencil"):
        demo.adapt(demo.sample(1), "a linocut", "a drawing", steps=1)
    assert "linocut" in notes("a linocut portrait") and "mosaic" not in notes("a mosaic")
    assert "it knows: pencil sketch, charcoal, oil painting" in notes("a linocut portrait")
    assert NO_STYLES not in notes("a linocut portrait")
    monkeypatch.setattr(demo.family, "row", demo.family.row.model_copy(update={"style_words": ""}))
    assert NO_STYLES in notes("a linocut portrait") and "mosaic" in notes("a mosaic portrait")


def test_what_is_no_style_of_this_model_is_refused(studio, one_row_studio, face, file, tmp_path):
    with pytest.raises(UserError, match=r"no style “sketchy”; there are: rough"):
        studio.style(face, "sketchy")
    with pytest.raises(UserError, match=r"no style “a\.safetensors”.* pathlib\.Path"):
        studio.style(face, "a.safetensors")
    tensors = load_file(file)
    name = next(iter(tensors)).rpartition(".")[0]
    for number, state in enumerate(
        (
            {f"{name}.left": tensors[f"{name}.left"]},
            tensors | {f"{name}.right": torch.zeros(2, 7)},
            tensors | {"style.nowhere.left": torch.zeros(3, 2), "style.nowhere.right": torch.zeros(2, 9)},
            tensors | {f"{name}.left": tensors[f"{name}.left"] * torch.nan},
            tensors | _of_rank(tensors, name, 33),
            {"mapper.mapping.mapping.1.weight": torch.zeros(2)},
            {"w_plus": torch.zeros(1, 3, 2)},
            {},
        )
    ):
        path = tmp_path / f"{number}.safetensors"
        save_file(state, path)
        with pytest.raises(UserError, match="no style for the model"):
            studio.style(face, path)
    with pytest.raises(UserError, match="no style for the model “One row”"):
        one_row_studio.style(one_row_studio.sample(1), file)
    with pytest.raises(UserError, match="no longer kept"):
        studio.style(face, tmp_path / "gone.safetensors")
    with pytest.raises(UserError, match="no mapper for the model"):
        studio.map(face, file)


def _of_rank(tensors, name, rank):
    """A layer's factors, of another rank."""
    out, width = len(tensors[f"{name}.left"]), tensors[f"{name}.right"].shape[1]
    return {f"{name}.left": torch.zeros(out, rank), f"{name}.right": torch.zeros(rank, width)}


def test_a_mixture_of_mixtures_of_styles_ends_with_a_sentence(studio, face, file):
    mixed = studio.style(face, file).latent
    with pytest.raises(UserError, match="choose one style"):
        for number in range(20):
            other = replace(mixed, adaptation=studio.style(face, "rough", 1 + number).latent.adaptation)
            mixed = mixed.towards(other, 0.5)


def test_a_style_gets_another_title(studio, face, file, tmp_path):
    retitle_style(file, tmp_path / "copy.safetensors", "Old metal")
    edit = studio.style(face, tmp_path / "copy.safetensors")
    assert edit.recipe["parameters"]["style"] == "Old metal"
    assert edit.image.tobytes() == studio.style(face, file).image.tobytes()


def test_small_pictures_of_a_family_with_a_single_row_are_in_the_style(one_row_studio):
    face = one_row_studio.sample(2)
    *_, last = one_row_studio.adapt(face, "a mosaic", "a photo", steps=2, preview=16)
    assert last.edit.image.tobytes() != one_row_studio.image(face).tobytes()
    generator = one_row_studio.family.generator
    assert last.latent.working_size(generator) == generator.working_size


def test_the_share_of_faces_in_a_style_is_told_by_the_words(studio, learned, monkeypatch):
    target, neutral = (studio.texts.embedding(text) for text in ("a bronze statue", "a photo"))
    monkeypatch.setattr(nada, "seen_in_faces", lambda *_: torch.cat([target, target, neutral]))
    style = learned.latent.adaptation
    assert nada.reached(studio.family, studio.texts, style, "a bronze statue", "a photo") == (2, 3)


@pytest.fixture
def seeded_command(studio, monkeypatch):
    """The command for the family "seeded"."""
    monkeypatch.setattr(command, "family_row", lambda _: studio.family.row)
    monkeypatch.setattr(StyleCLIP, "from_pretrained", lambda _: studio)
    return command.train_command


def test_the_command_writes_a_style_that_can_be_used(studio, seeded_command, face, tmp_path, capsys):
    path = seeded_command(["--target", "A mosaic!", "--steps", "2", "--output", str(tmp_path)])
    assert path == tmp_path / "a_mosaic.safetensors" and "step 2 of 2" in capsys.readouterr().out
    edit = studio.style(face, path)
    assert edit.recipe["parameters"]["style"] == "A mosaic" and edit.image.tobytes() != pixels(studio, face)
    assert path.with_suffix(".jpg").is_file()
    for wrong, told in ((["--name", "a/b"], "no slashes"), (["--neutral", "a mosaic"], "what there is already")):
        with pytest.raises(UserError, match=told):
            seeded_command(["--target", "a mosaic", "--output", str(tmp_path), *wrong])
    with pytest.raises(UserError, match="has a style “rough”"):
        seeded_command(["--target", "rough"])


def test_a_command_that_is_stopped_keeps_what_it_has_learned(studio, seeded_command, face, tmp_path, monkeypatch):
    def stopped(*args, **kwargs):
        yield from islice(adapt(*args, **kwargs), 2)
        raise KeyboardInterrupt

    adapt = studio.adapt
    monkeypatch.setattr(studio, "adapt", stopped, raising=False)
    with pytest.raises(KeyboardInterrupt, match="Stopped at step 2; what was learned so far is"):
        seeded_command(["--target", "a mosaic", "--steps", "9", "--output", str(tmp_path)])
    assert studio.style(face, tmp_path / "a_mosaic.safetensors").image.tobytes() != pixels(studio, face)


def test_many_photos_are_edited_with_a_style_by_name_or_file(studio, photo, file, tmp_path):
    photo.save(tmp_path / "a.png")
    for style in ("rough", file):
        done = edit_photos(studio, tmp_path / "a.png", tmp_path / "out", style=style, workers=1)
        assert (done.edited, done.failed, done.done_before) == (1, 0, 0)
    assert edit_photos(studio, tmp_path / "a.png", tmp_path / "out", style=file, workers=1).done_before == 1
    assert rows_in(tmp_path / "out")[0]["error"] is None
    with pytest.raises(UserError, match="no style"):
        edit_photos(studio, tmp_path / "a.png", tmp_path / "other", style="none", workers=1)
