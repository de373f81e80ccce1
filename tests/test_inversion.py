"""Closer to the photo: refining the code, tuning the generator for one face, and what becomes of the shared one."""

import argparse
from dataclasses import replace

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from pipeline import Latent, StyleCLIP
from pipeline.errors import UserError
from pipeline.latents import Tuning
from pipeline.methods.inversion import contrast_distance, photo_square, pixel_distance

STEPS = 8
PAIR = ("face with blonde hair", "face with hair")


@pytest.fixture(scope="module")
def face(studio, photo):
    return studio.align(photo)[0]


@pytest.fixture(scope="module")
def latent(studio, face):
    return studio.invert(face)


@pytest.fixture(scope="module")
def tuned(studio, latent, face):
    *_, last = studio.tune(latent, face, steps=STEPS)
    return last.latent


def distance(studio, latent, face):
    return pixel_distance(latent.draw(studio.family.generator), photo_square(studio.family, face.image)).item()


@pytest.mark.parametrize("method", ["refine", "tune"])
def test_the_picture_comes_closer_to_the_photo(studio, latent, face, method):
    steps = list(getattr(studio, method)(latent, face, steps=STEPS, preview=16))
    assert [step.index for step in steps] == list(range(1, STEPS + 1))
    assert steps[0].image.size == (16, 16)
    assert steps[-1].image.size == (64, 64)
    terms = {"pixels", "contrast", "clip", "identity", "total"}
    assert set(steps[-1].losses) == (terms | {"l2"} if method == "refine" else terms)
    assert steps[-1].losses["total"] < steps[0].losses["total"]
    assert distance(studio, steps[-1].latent, face) < distance(studio, latent, face)
    assert studio.image(steps[-1].latent).tobytes() == steps[-1].edit.image.tobytes()


def test_a_drawn_face_keeps_more_of_the_person(drawn_faces):
    demo, photo = StyleCLIP.from_pretrained("demo", "cpu"), drawn_faces[0][3]
    latent = demo.invert(photo)
    *_, refined = demo.refine(latent, photo, steps=6)
    *_, tuned = demo.tune(latent, photo, steps=6)
    before = demo.likeness(latent, photo)
    for step in (refined, tuned):
        assert demo.likeness(step.latent, photo) > before + 0.3 * (1 - before)


def test_likeness_is_a_cosine_and_one_for_the_same_picture(studio, latent, face, monkeypatch):
    assert -1 <= studio.likeness(latent, face) < 0.999
    assert studio.likeness(latent, studio.image(latent)) == pytest.approx(1, abs=0.01)
    monkeypatch.setattr(studio.family, "identity", None)
    assert studio.likeness(latent, face) is None
    (step,) = studio.refine(latent, face, steps=1)
    assert "identity" not in step.losses


def test_a_blurred_picture_lacks_contrast_wherever_its_details_are():
    rng = torch.Generator().manual_seed(0)
    photo, other = torch.rand(2, 3, 64, 64, generator=rng).split(1)
    flat = photo.mean((2, 3), keepdim=True).expand_as(photo)
    assert pixel_distance(flat, photo) < pixel_distance(other, photo)
    distance = contrast_distance(photo)
    assert distance(other) < 0.2 * distance(flat)
    assert distance(photo) == 0


def test_the_finest_layers_are_not_tuned(studio, latent, face, monkeypatch):
    monkeypatch.setattr("pipeline.methods.inversion.TUNED_UP_TO", 16)
    (step,) = studio.tune(latent, face, steps=1)
    layers = {layer.name: layer.resolution for layer in studio.family.generator.style_layers}
    assert {layers[name] for name in step.latent.tuning.factors} == {4, 8, 16}


def test_a_wide_picture_is_black_above_and_below(studio):
    wide = replace(studio.family, row=studio.family.row.model_copy(update={"crop_rows": 48}))
    square = photo_square(wide, Image.new("RGB", (640, 480), "white"))
    assert square.shape == (1, 3, 64, 64)
    assert (square[..., 8:56, :] == 1).all()
    assert (square[..., :8, :] == -1).all()
    assert (square[..., 56:, :] == -1).all()


def test_bad_input_is_said_before_the_first_step(studio, latent, face, photo):
    for method in (studio.refine, studio.tune):
        with pytest.raises(UserError, match="step"):
            method(latent, face, steps=0)
        with pytest.raises(UserError, match="square"):
            method(latent, photo)
        with pytest.raises(UserError, match="another model"):
            method(Latent(torch.zeros(1, 18, 512)), face)


def test_refining_and_tuning_need_the_photo_to_be_repeated(studio, latent, face):
    (refined,), (tuned,) = studio.refine(latent, face, steps=1), studio.tune(latent, face, steps=1)
    for step in (refined, tuned):
        with pytest.raises(UserError, match="photo"):
            studio.repeat(step.edit.recipe, latent)


def test_tuning_leaves_the_pivot_and_the_shared_generator_alone(studio, latent, face):
    before = studio.image(latent).tobytes()
    run = studio.tune(latent, face, steps=3)
    for step in run:
        assert torch.equal(step.latent.w_plus, latent.w_plus)
        assert studio.image(latent).tobytes() == before
        assert studio.image(step.latent).tobytes() == step.edit.image.tobytes() != before
    assert torch.is_grad_enabled()
    assert not any(p.requires_grad for p in studio.family.generator.parameters())


def test_a_tuned_latent_in_a_file(studio, tuned, tmp_path):
    tuned.save(tmp_path / "tuned.safetensors")
    loaded = Latent.load(tmp_path / "tuned.safetensors")
    assert loaded.digest() == tuned.digest() != Latent(tuned.w_plus).digest()
    assert studio.image(loaded).tobytes() == studio.image(tuned).tobytes()


def test_edits_carry_the_tuning_along(studio, tuned, face):
    edits = [
        studio.direct(tuned, *PAIR),
        studio.map(tuned, "levels"),
        studio.map(tuned, "stylespace"),
        *(step.edit for step in studio.optimize(tuned, "a man", steps=1, noise=0.5)),
        *(step.edit for step in studio.optimize(tuned, "a man", steps=1, space="s")),
        *(step.edit for step in studio.refine(tuned, face, steps=1)),
    ]
    for edit in edits:
        assert edit.latent.tuning is tuned.tuning
        untuned = Latent(edit.latent.w_plus, edit.latent.style_step)
        assert edit.image.tobytes() == studio.image(edit.latent).tobytes() != studio.image(untuned).tobytes()
    assert studio.repeat(edits[0].recipe, tuned).image.tobytes() == edits[0].image.tobytes()
    with pytest.raises(UserError, match="another face"):
        studio.repeat(edits[0].recipe, Latent(tuned.w_plus))


def test_tuning_goes_on_from_a_tuning(studio, tuned, face):
    further, *_ = studio.tune(tuned, face, steps=1)
    assert distance(studio, further.latent, face) == pytest.approx(distance(studio, tuned, face), rel=0.2)


def test_a_tuning_of_another_generator_is_refused(studio, latent):
    wrong = Tuning({"conv1": (torch.zeros(512, 4), torch.zeros(4, 4608))})
    with pytest.raises(UserError, match="another model"):
        studio.image(Latent(latent.w_plus, None, wrong))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_tuned_generator_has_the_gradients_of_one_with_those_weights(seeded_registry, tuned, dtype):
    changed, plain = (
        StyleCLIP.from_pretrained("seeded", "cpu", dtype, seeded_registry).family.generator for _ in range(2)
    )
    for name, (left, right) in tuned.tuning.factors.items():
        weight = changed.get_submodule(name).conv.weight
        weight.data = weight + (left @ right).view_as(weight)
    results = []
    for generator, tuning in ((changed, None), (plain, tuned.tuning.factors)):
        styles = [s.requires_grad_() for s in tuned.styles(plain)]
        image = generator.synthesize(styles, tuning=tuning)
        results.append([image, *torch.autograd.grad(image.square().mean(), styles)])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)


# Encoders that say what they are


@pytest.fixture
def with_encoder(seeded_registry, tmp_path, monkeypatch):
    """A studio whose encoder comes with options, as research code saves it."""
    monkeypatch.setattr("huggingface_hub.constants.HF_ASSETS_CACHE", str(tmp_path / "assets"))
    folder, tensors = seeded_registry.parent, load_file(seeded_registry.parent / "encoder.safetensors")

    def load(opts, change=lambda state: state, **content) -> StyleCLIP:
        state = {f"encoder.{name}": value for name, value in change(dict(tensors)).items()}
        torch.save({"state_dict": state, "opts": opts} | content, tmp_path / "encoder.pt")
        rows = "\n".join(f'{kind} = {{ path = "{folder}/{kind}.safetensors" }}' for kind in ("generator", "clip"))
        own = f'[families.own.files]\n{rows}\nencoder = {{ path = "encoder.pt" }}\n'
        (tmp_path / "models.toml").write_text(own)
        return StyleCLIP.from_pretrained("own", "cpu", registry=tmp_path / "models.toml")

    return load


def test_the_rows_of_a_psp_encoder_do_not_count_from_row_0(studio, with_encoder, face):
    e4e, average = studio.invert(face).w_plus, studio.family.latent_avg
    offsets = e4e - average
    offsets[:, 1:] -= offsets[:, :1]  # what each head says by itself
    other = torch.randn(average.shape)
    for opts in ({"encoder_type": "GradualStyleEncoder"}, argparse.Namespace(encoder_type="GradualStyleEncoder")):
        psp = with_encoder(opts, latent_avg=other).invert(face).w_plus
        torch.testing.assert_close(psp, other + offsets, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        with_encoder({"encoder_type": "GradualStyleEncoder"}).invert(face).w_plus, average + offsets
    )


def test_an_encoder_that_did_not_start_from_the_mean_latent(studio, with_encoder, face):
    e4e, average = studio.invert(face).w_plus, studio.family.latent_avg
    told = {"encoder_type": "Encoder4Editing", "start_from_latent_avg": True}
    torch.testing.assert_close(with_encoder(told).invert(face).w_plus, e4e)
    told["start_from_latent_avg"] = False
    torch.testing.assert_close(with_encoder(told, latent_avg=average).invert(face).w_plus, e4e - average)


def test_an_encoder_that_cannot_be_used_is_named(with_encoder):
    with pytest.raises(UserError, match=r"encoder\.pt .*BackboneEncoderUsingLastLayerIntoW, .*e4e"):
        with_encoder({"encoder_type": "BackboneEncoderUsingLastLayerIntoW", "learn_in_w": True})
    with pytest.raises(UserError, match=r"encoder\.pt .*trained in W"):
        with_encoder({"encoder_type": "GradualStyleEncoder", "learn_in_w": True})

    def sketch(state):
        return state | {"input_layer.0.weight": state["input_layer.0.weight"][:, :1]}

    with pytest.raises(UserError, match=r"encoder\.pt .*1 channel"):
        with_encoder({"encoder_type": "GradualStyleEncoder", "label_nc": 1}, sketch)

    def fewer_rows(state):
        return {name: value for name, value in state.items() if not name.startswith("styles.9.")}

    with pytest.raises(UserError, match=r"encoder\.pt is for another generator: it finds 9 rows .* 10 of 32"):
        with_encoder({"encoder_type": "Encoder4Editing"}, fewer_rows)


def test_an_encoder_adds_the_mean_latent_that_it_was_trained_with(studio, with_encoder, face):
    """That of its own file, where the generator comes from another one."""
    offsets = studio.invert(face).w_plus - studio.family.latent_avg
    other = torch.randn(studio.family.latent_avg.shape)
    for mean in (other, other[:1].expand_as(other), torch.cat([other, other])):
        own = with_encoder({"encoder_type": "Encoder4Editing"}, latent_avg=mean).invert(face).w_plus
        torch.testing.assert_close(own, mean[: len(other)] + offsets)
    torch.testing.assert_close(with_encoder({}, latent_avg=other[0]).invert(face).w_plus, other[0] + offsets)
    with pytest.raises(UserError, match=r"encoder\.pt .*mean latent has 4 rows, and it finds 10"):
        with_encoder({}, latent_avg=other[:4])


@pytest.mark.parametrize("place", ["config", "hyper_parameters"])
def test_what_an_encoder_says_of_itself_is_found_wherever_it_stands(studio, with_encoder, face, place):
    absolute = with_encoder({"encoder_type": "GradualStyleEncoder"}).invert(face).w_plus
    told = {place: {"model": {"encoder_type": "GradualStyleEncoder"}}}
    assert torch.equal(with_encoder(None, **told).invert(face).w_plus, absolute)
    written = with_encoder('{"encoder_type": "GradualStyleEncoder"}').invert(face).w_plus
    assert torch.equal(written, absolute)


def test_the_kind_of_an_encoder_is_told_where_its_layers_are_others(with_encoder):
    def one_code(state):
        return {name: value for name, value in state.items() if not name.startswith("styles.")}

    for kind in ("BackboneEncoderUsingLastLayerIntoW", "SingleStyleCodeEncoder"):
        with pytest.raises(UserError, match=rf"encoder\.pt .*an encoder of the kind {kind}, .* e4e and pSp"):
            with_encoder({"encoder_type": kind}, one_code)


def test_the_photo_and_the_picture_may_differ_in_size(studio, monkeypatch):
    monkeypatch.setattr("pipeline.methods.inversion.PHOTO_SIZE", 32)  # less than the generator draws, as at 1024 px
    latent = studio.sample(seed=1)
    assert studio.likeness(latent, studio.image(latent)) > 0.5
