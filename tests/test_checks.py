"""What the library says of arguments that can't be used: which one, and what it should be; and what it takes."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline import Latent, StyleCLIP
from pipeline.errors import UserError
from pipeline.recipes import edits_of
from pipeline.training.frozen import FrozenModels
from pipeline.training.mapper_recipe import MapperRecipe
from pipeline.training.mapper_training import train
from tests.programs import posted, uploaded

PAIR = ("face with blonde hair", "face with hair")
NAN, INF = float("nan"), float("inf")


@pytest.fixture(scope="module")
def latent(studio):
    return studio.sample(seed=1)


@pytest.fixture(scope="module")
def face(studio, photo):
    return studio.align(photo)[0]


WRONG_VALUES = {
    "strength": lambda s, lat, face, bad: s.direct(lat, *PAIR, strength=bad),
    "strength of a mapper": lambda s, lat, face, bad: s.map(lat, "levels", bad),
    "threshold": lambda s, lat, face, bad: s.direct(lat, *PAIR, threshold=bad),
    "channels": lambda s, lat, face, bad: s.direct(lat, *PAIR, channels=bad),
    "channels of a threshold": lambda s, lat, face, bad: s.threshold(*PAIR, channels=bad),
    "steps": lambda s, lat, face, bad: s.optimize(lat, "a man", steps=bad),
    "steps of words": lambda s, lat, face, bad: s.generate("a man", steps=bad),
    "steps of refining": lambda s, lat, face, bad: s.refine(lat, face, steps=bad),
    "l2": lambda s, lat, face, bad: s.optimize(lat, "a man", l2=bad),
    "identity": lambda s, lat, face, bad: s.optimize(lat, "a man", identity=bad),
    "lr": lambda s, lat, face, bad: s.optimize(lat, "a man", lr=bad),
    "noise": lambda s, lat, face, bad: s.optimize(lat, "a man", noise=bad),
    "space": lambda s, lat, face, bad: s.optimize(lat, "a man", space=bad),
    "preview": lambda s, lat, face, bad: s.optimize(lat, "a man", preview=bad),
    "preview of tuning": lambda s, lat, face, bad: s.tune(lat, face, preview=bad),
    "seed": lambda s, lat, face, bad: s.sample(bad),
    "truncation": lambda s, lat, face, bad: s.sample(1, bad),
    "resolution": lambda s, lat, face, bad: s.image(lat, bad),
    "share": lambda s, lat, face, bad: s.adjust(lat, s.direct(lat, *PAIR), bad),
    "through": lambda s, lat, face, bad: s.invert(face, bad),
}


@pytest.mark.parametrize(
    ("call", "bad"),
    [
        *[("strength", bad) for bad in (NAN, INF, -INF, 1e6, 10**400, np.float32("nan"))],
        ("strength of a mapper", NAN),
        *[("threshold", bad) for bad in (NAN, -0.1, 1.5)],
        *[("channels", bad) for bad in (0, -3)],
        ("channels of a threshold", 0),
        *[("steps", bad) for bad in (0, -5)],
        ("steps of words", 0),
        ("steps of refining", -1),
        *[(name, bad) for name in ("l2", "identity", "lr", "noise") for bad in (-0.1, NAN)],
        ("space", "z"),
        *[("preview", bad) for bad in (7, 0, -256)],
        ("preview of tuning", 7),
        *[("seed", bad) for bad in (2**64, -(2**63) - 1)],
        *[("truncation", bad) for bad in (NAN, 50)],
        *[("resolution", bad) for bad in (7, 0, 128, -4)],
        *[("share", bad) for bad in (NAN, INF)],
        ("through", "eyes"),
    ],
)
def test_a_value_out_of_range_is_named(studio, latent, face, call, bad):
    with pytest.raises(UserError, match=f"^`{call.split()[0]}` is ") as told:
        WRONG_VALUES[call](studio, latent, face, bad)
    assert str(told.value).endswith(".")


@pytest.mark.parametrize(
    ("call", "bad"),
    [
        *[
            (name, bad)
            for name in ("strength", "threshold", "l2", "lr", "truncation", "share")
            for bad in ("3", True, [1])
        ],
        *[(name, bad) for name in ("channels", "steps", "preview", "seed", "resolution") for bad in ("3", True, 2.5)],
        *[(name, None) for name in ("share", "truncation", "steps of refining")],
    ],
)
def test_a_wrong_type_is_named(studio, latent, face, call, bad):
    with pytest.raises(TypeError, match=f"^`{call.split()[0]}` is a "):
        WRONG_VALUES[call](studio, latent, face, bad)


def test_things_that_are_no_latent_face_text_or_picture_are_named(studio, latent, face, photo, tmp_path):
    edit = studio.direct(latent, *PAIR)
    picture = tmp_path / "photo.jpg"
    photo.save(picture)
    for name, call in [
        ("latent", lambda: studio.direct(face, *PAIR)),
        ("latent", lambda: studio.map(latent.w_plus, "levels")),
        ("latent", lambda: studio.image(None)),
        ("latent", lambda: studio.optimize("latent.safetensors", "a man")),
        ("latent", lambda: studio.csla_edit(edit, *PAIR)),
        ("latent", lambda: studio.adjust(face, edit, 0.5)),
        ("edit", lambda: studio.adjust(latent, edit.recipe, 0.5)),
        ("face", lambda: studio.invert(None)),
        ("face", lambda: studio.likeness(latent, np.zeros((64, 64, 3), np.uint8))),
        ("face", lambda: studio.paste(photo, photo, edit.image)),
        ("edited", lambda: studio.paste(photo, face, edit)),
        ("target", lambda: studio.direct(latent, None, "face")),
        ("neutral", lambda: studio.threshold("smiling face", 3)),
        ("prompt", lambda: studio.optimize(latent, ["a man"])),
        ("neutral", lambda: studio.optimize(latent, "a man", neutral=0)),
        ("prompt", lambda: studio.csla_generate(b"a man")),
        ("mapper", lambda: studio.map(latent, 3)),
        ("levels", lambda: studio.csla_edit(latent, *PAIR, levels="coarse")),
        ("levels", lambda: studio.csla_edit(latent, *PAIR, levels=3)),
        ("latent", lambda: studio.repeat(edit.recipe, face)),
        ("file", lambda: Latent.load(3)),
        ("w_plus", lambda: Latent(latent.w_plus.numpy())),
        ("latent", lambda: studio.image(Latent(latent.w_plus.half()))),
        ("tuning", lambda: Latent(latent.w_plus, tuning=3)),
        ("name", lambda: StyleCLIP.from_pretrained(3)),
        ("device", lambda: StyleCLIP.from_pretrained("demo", device=3.5)),
        ("dtype", lambda: StyleCLIP.from_pretrained("demo", dtype="float32")),
    ]:
        with pytest.raises(TypeError, match=f"^`{name}` "):
            call()
    with pytest.raises(TypeError, match=r"`face` is .*not a path; please give studio\.align\(path\)\[0\]"):
        studio.invert(str(picture))
    with pytest.raises(UserError, match="another shape than the face"):
        studio.paste(photo, face, edit.image.resize((64, 32)))


def test_both_a_threshold_and_a_number_of_channels_are_one_too_many(studio, latent):
    with pytest.raises(UserError, match="either `threshold` .* or `channels`"):
        studio.direct(latent, *PAIR, threshold=0.1, channels=3)


@pytest.mark.parametrize(
    "call",
    [
        lambda studio, latent: studio.direct(latent, " \t", "face"),
        lambda studio, latent: studio.direct(latent, "face", ""),
        lambda studio, latent: studio.optimize(latent, "  "),
        lambda studio, latent: studio.generate("\n"),
        lambda studio, latent: studio.csla_edit(latent, "", "face"),
        lambda studio, latent: studio.csla_generate(""),
    ],
)
def test_empty_texts_are_told(aligned_studio, latent, call):
    with pytest.raises(UserError, match="in a few words"):
        call(aligned_studio, latent)


@pytest.mark.parametrize("sign", [1, -1])
def test_numbers_that_are_too_long_to_be_written_are_told(studio, latent, face, sign):
    limited = ["seed", "strength", "truncation", "resolution"]
    for name in limited if sign > 0 else [*limited, "steps", "channels", "preview"]:
        with pytest.raises(UserError, match=rf"^`{name}` is .*, not a (larger|smaller) one\.$") as told:
            WRONG_VALUES[name](studio, latent, face, sign * 10**5000)
        assert ("larger" in str(told.value)) == (sign > 0)


def test_photos_that_are_none_are_told(studio, photo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"“missing\.jpg” is no file"):
        studio.align("missing.jpg")
    with pytest.raises(UserError, match="is a folder"):
        studio.align(tmp_path)
    for long_or_odd in ("x" * 5000, "a\0b.jpg", ""):
        with pytest.raises(UserError, match="is no file"):
            studio.align(long_or_odd)
    file = io.BytesIO()
    photo.save(file, "PNG")
    with pytest.raises(TypeError, match=r"`photo` is .*not bytes; io\.BytesIO"):
        studio.align(file.getvalue())
    with pytest.raises(TypeError, match=r"`photo` is .*not ndarray; PIL's Image\.fromarray"):
        studio.align(np.asarray(photo))
    with pytest.raises(TypeError, match="`photo` is .*not NoneType"):
        studio.align(None)
    assert len(studio.align(file)) == len(studio.align(photo)) == 1


def test_latents_that_are_not_there_are_told(tmp_path):
    for path in (tmp_path / "missing.safetensors", tmp_path, "x" * 5000, "a\0b"):
        with pytest.raises(UserError, match="There is no latent at"):
            Latent.load(path)


def test_devices_and_files_that_there_are_not_are_told(seeded_registry):
    for device in ("cpuu", "cuda:99"):
        with pytest.raises(UserError, match=f"`device` is .*not {device}"):
            StyleCLIP.from_pretrained("seeded", device=device, registry=seeded_registry)
    with pytest.raises(UserError, match="`dtype` is one of"):
        StyleCLIP.from_pretrained("seeded", dtype=torch.float16, registry=seeded_registry)
    with pytest.raises(UserError, match=r"files\.generater"):
        StyleCLIP.from_pretrained("custom", files={"generater": "x.pt"})
    with pytest.raises(TypeError, match=r"`files\['generator'\]` is a path"):
        StyleCLIP.from_pretrained("custom", files={"generator": 3})


def test_numbers_of_numpy_are_numbers(studio, latent):
    edit = studio.direct(latent, *PAIR, strength=np.float32(2), channels=np.int64(7))
    assert edit.recipe == studio.direct(latent, *PAIR, strength=2.0, channels=7).recipe
    assert type(edit.recipe["parameters"]["channels"]) is int
    (step,) = studio.optimize(latent, "a man", steps=np.int32(1), l2=np.float64(0.1), preview=np.int16(16))
    assert studio.repeat(step.edit.recipe, latent).latent.digest() == step.latent.digest()
    assert studio.sample(np.uint8(3)).digest() == studio.sample(3).digest()
    assert studio.image(latent, np.int64(16)).size == (16, 16)


def test_without_a_seed_each_face_is_another(studio):
    assert studio.sample().digest() != studio.sample().digest()


@pytest.mark.parametrize("value", [1e20, -1e6, NAN, INF])
def test_latents_with_numbers_that_no_face_has_are_refused(studio, latent, url, raw, value, tmp_path):
    for name, odd in {
        "w": Latent(torch.full_like(latent.w_plus, value)),
        "s": latent.moved([torch.full((1, la.channels), value) for la in studio.family.generator.style_layers]),
    }.items():
        with pytest.raises(UserError, match="numbers that no face has"):
            studio.image(odd)
        odd.save(tmp_path / name)
        file = uploaded(raw, url, (tmp_path / name).read_bytes(), "latent.safetensors")
        event, said = posted(raw, url, "optimize", prompt="smiling face", latent=file, steps=1)
        assert event == "error" and "numbers that no face has" in said


def test_words_that_the_model_was_never_taught_are_noted(studio, latent):
    row = studio.family.row.model_copy(update={"vocabulary": "face smiling hair blonde"})
    taught = StyleCLIP(replace(studio.family, row=row))
    note = "This model was never taught “zeppelin”, which may change little or something else."
    assert taught.direct(latent, "zeppelin face", "face").notes == (note,)
    assert taught.direct(latent, "smiling face", "face").notes == ()
    (step,) = taught.optimize(latent, "a zeppelin", steps=1)
    assert step.notes == step.edit.notes == (note,)
    assert taught.repeat(step.edit.recipe, latent).notes == (note,)
    assert next(taught.generate("a zeppelin", steps=1)).notes == (note,)
    assert studio.direct(latent, "zeppelin face", "face").notes == ()  # nobody could list what it knows


def test_what_the_model_seldom_manages_is_noted(studio, latent):
    row = studio.family.row.model_copy(update={"seldom": "hat angry"})
    honest = StyleCLIP(replace(studio.family, row=row))
    note = "This model seldom manages “hat”; something else may change instead."
    assert honest.direct(latent, "a face with Hats", "a face").notes == (note.replace("hat", "hats"),)
    assert honest.combine(latent, [("face with a hat", "face", 1.0), ("old face", "face", 1.0)]).notes == (note,)
    (wish,) = honest.wishes("make her angry").wishes
    assert "“angry”" in honest.change(latent, wish).notes[0]
    assert honest.direct(latent, "face", "face with a hat").notes == (note,)  # it is to go
    assert honest.direct(latent, "old face with a hat", "face with a hat").notes == ()  # it is there


def test_a_recipe_of_a_windows_editor_is_read():
    assert edits_of('\ufeff{\r\n "edits": [{"method": "map"}]\r\n}') == [{"method": "map"}]


def test_a_picture_beside_an_aligned_one_says_what_to_do(studio):
    with pytest.raises(UserError, match="align"):
        studio.invert(Image.new("RGB", (300, 200)))


def test_a_picture_of_a_photo_takes_a_size_and_quarter_turns(studio, photo):
    for wrong in ({"side": 0}, {"side": -5}, {"side": 100, "turn": 4}, {"side": 100, "turn": -1}):
        with pytest.raises(UserError, match=rf"`{[*wrong][-1]}` is a whole number"):
            studio.view(photo, **wrong)
    for wrong in ({"side": "100"}, {"side": 100, "turn": None}):
        with pytest.raises(TypeError, match=rf"`{[*wrong][-1]}` is a whole number"):
            studio.view(photo, **wrong)


def test_a_latent_that_cannot_be_kept_says_where(latent, tmp_path):
    for place in (tmp_path, tmp_path / "no folder" / "face.safetensors"):
        with pytest.raises(UserError, match="No latent can be saved at .*choose another place") as refused:
            latent.save(place)
    assert "(there is no such folder)" in str(refused.value)
    with pytest.raises(TypeError, match="`path` is a path, not NoneType"):
        latent.save(None)
    gone = io.BytesIO()
    gone.close()
    for file in (io.StringIO("a text"), gone):
        with pytest.raises(UserError, match="holds no latent"):
            Latent.load(file)


def test_between_two_latents_there_is_a_number(latent):
    with pytest.raises(TypeError, match="`other` is a latent, not NoneType"):
        latent.towards(None, 0.5)
    for share in (NAN, INF):
        with pytest.raises(UserError, match="`share` is a number"):
            latent.towards(latent, share)


def test_a_choice_of_another_type_is_no_choice(studio, latent):
    for space in (np.array(["w", "s"]), ["w"], 1):
        with pytest.raises(UserError, match=r"`space` is one of w, w\+, s, not"):
            studio.optimize(latent, "a man", space=space)


def test_a_recipe_without_its_latent_asks_for_it(studio, latent):
    recipe = studio.direct(latent, *PAIR).recipe
    for anywhere in (False, True):
        with pytest.raises(UserError, match="applied to a face; please give the latent"):
            studio.repeat(recipe, anywhere=anywhere)


def test_the_path_of_a_mapper_as_a_text_is_explained(studio, latent):
    with pytest.raises(UserError, match=r"no mapper “hat\.safetensors”.* pathlib\.Path"):
        studio.map(latent, "hat.safetensors")


def test_places_that_are_no_files_are_named(studio, seeded_registry, tmp_path):
    with pytest.raises(TypeError, match="`registry` is the path of a models file, not NoneType"):
        StyleCLIP.from_pretrained("demo", registry=None)
    with pytest.raises(TypeError, match="`progress` is a function"):
        StyleCLIP.from_pretrained("demo", progress=5)
    clip = seeded_registry.parent / "clip.safetensors"
    with pytest.raises(UserError, match="is a folder; name the file in it"):
        StyleCLIP.from_pretrained("custom", device="cpu", files={"generator": tmp_path, "clip": clip})
    with pytest.raises(UserError, match="`device` is one of this machine's"):
        StyleCLIP.from_pretrained("demo", device="meta")


def test_a_training_needs_faces(studio):
    none = torch.zeros(0, *studio.family.latent_avg.shape)
    with pytest.raises(UserError, match="These latents"):
        next(train(FrozenModels.of(studio.family), studio.texts, MapperRecipe("a hat"), none))
