"""The shared object as a program uses it."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from PIL import Image

from pipeline import Face, Latent, StyleCLIP, available_models
from pipeline.errors import UserError

PAIR = ("face with blonde hair", "face with hair")


@pytest.fixture(scope="module")
def latent(studio):
    return studio.sample(seed=1)


def test_photo_to_latent(studio, photo):
    face = studio.align(photo)[0]
    assert isinstance(face, Face)
    latent = studio.invert(face)
    assert latent.w_plus.shape == (1, 10, 32)
    assert (latent.w_plus.dtype, latent.w_plus.device.type) == (torch.float32, "cpu")
    assert studio.invert(face.image).digest() == latent.digest()
    with pytest.raises(UserError, match="square"):
        studio.invert(photo)


def test_random_faces_are_repeatable_and_truncated(studio):
    assert studio.sample(5).digest() == studio.sample(5).digest() != studio.sample(6).digest()
    mean = studio.sample(5, truncation=0).w_plus
    assert torch.equal(mean, studio.sample(6, truncation=0).w_plus)
    whole, half = (studio.sample(5, truncation=t).w_plus - mean for t in (1, 0.5))
    torch.testing.assert_close(half, whole / 2)


def test_pictures_at_lower_resolutions(studio, latent):
    assert studio.image(latent).size == (64, 64)
    assert studio.image(latent, 16).size == (16, 16)


@pytest.mark.parametrize("mapper", ["levels", "stylespace"])
def test_mapper_edit(studio, latent, mapper):
    assert mapper in studio.mappers()
    edit = studio.map(latent, mapper)
    assert edit.recipe["parameters"] == {"mapper": mapper, "strength": 0.1}
    assert edit.image.tobytes() != studio.image(latent).tobytes()
    assert studio.map(latent, mapper, strength=0).image.tobytes() == studio.image(latent).tobytes()


def test_mapper_leaves_fine_rows_alone(studio, latent):
    moved = studio.map(latent, "levels", 0.5).latent.w_plus - latent.w_plus
    assert moved[:, :8].any()
    assert not moved[:, 8:].any()


def test_direction_edit(studio, latent):
    edit = studio.direct(latent, *PAIR)
    assert edit.channels == 20
    assert edit.latent.space == "s"
    assert studio.direct(latent, *PAIR, channels=7).channels == 7
    threshold = studio.threshold(*PAIR, channels=12)
    assert studio.direct(latent, *PAIR, threshold=threshold).channels == 12
    assert studio.direct(latent, *PAIR, strength=0).image.tobytes() == studio.image(latent).tobytes()


def test_opposite_strengths_move_opposite_ways(studio, latent):
    there, back = (studio.direct(latent, *PAIR, strength=a, limit=0).latent.style_step for a in (2.0, -2.0))
    assert all(torch.equal(a, -b) for a, b in zip(there, back, strict=True))


def test_edits_follow_one_another(studio, latent):
    edit = studio.direct(latent, *PAIR)
    mapped = studio.map(edit.latent, "levels")
    (step,) = studio.optimize(mapped.latent, "a man", steps=1)
    assert step.latent.space == "s"
    assert all(torch.equal(a, b) for a, b in zip(step.latent.style_step, edit.latent.style_step, strict=True))


def edits(studio, latent):
    return [
        studio.map(latent, "levels", 0.3),
        studio.map(latent, "stylespace"),
        studio.direct(latent, *PAIR),
        studio.direct(latent, *PAIR, strength=-1.7, threshold=0.01),
        list(studio.optimize(latent, "a man", steps=3))[-1].edit,
        list(studio.optimize(latent, "a man", steps=2, space="s", l2=0.1, identity=0.0))[-1].edit,
    ]


def test_a_recipe_and_a_latent_file_repeat_an_edit_to_the_bit(studio, latent, tmp_path):
    start = studio.direct(latent, "a", "b").latent
    start.save(tmp_path / "source.safetensors")
    for edit in edits(studio, start):
        recipe = json.loads(json.dumps(edit.recipe))
        again = studio.repeat(recipe, Latent.load(tmp_path / "source.safetensors"))
        assert again.image.tobytes() == edit.image.tobytes()
        assert again.latent.digest() == edit.latent.digest()


def test_a_finished_edit_at_another_strength(studio, latent):
    for edit in edits(studio, latent):
        assert studio.adjust(latent, edit, 1.0).image.tobytes() == edit.image.tobytes()
        assert studio.adjust(latent, edit, 0.0).image.tobytes() == studio.image(latent).tobytes()
        adjusted = studio.adjust(latent, edit, 0.6)
        again = studio.repeat(json.loads(json.dumps(adjusted.recipe)), latent)
        assert again.image.tobytes() == adjusted.image.tobytes() != edit.image.tobytes()
        assert again.recipe == adjusted.recipe
        assert studio.adjust(latent, adjusted, 0.5).recipe["share"] == pytest.approx(0.3)
        with pytest.raises(UserError, match="another face"):
            studio.adjust(studio.sample(2), edit, 0.5)


def test_twice_the_share_of_a_direction_is_twice_its_strength(studio, latent):
    once, twice = (studio.direct(latent, *PAIR, strength=a, channels=5, limit=0) for a in (1.0, 2.0))
    adjusted = studio.adjust(latent, once, 2.0)
    for ours, theirs in zip(adjusted.latent.style_step, twice.latent.style_step, strict=True):
        torch.testing.assert_close(ours, theirs)
    assert adjusted.channels == 5


def test_a_recipe_for_another_face(studio, latent):
    other = studio.sample(2)
    for edit in edits(studio, latent):
        moved = studio.repeat(edit.recipe | {"share": 0.5}, other, anywhere=True)
        assert moved.recipe == edit.recipe | {"source": other.digest(), "share": 0.5}
        assert studio.repeat(moved.recipe, other).image.tobytes() == moved.image.tobytes()


def test_recipes_tell_the_weights_and_a_note_where_they_differ(studio, latent, seeded_registry):
    def sha256(name: str) -> str:
        return hashlib.sha256((seeded_registry.parent / f"{name}.safetensors").read_bytes()).hexdigest()[:16]

    kinds = [{"generator", "mapper"}] * 2 + [{"generator", "clip", "directions"}] * 2
    kinds += [{"generator", "clip", "identity"}, {"generator", "clip"}]
    for edit, known in zip(edits(studio, latent), kinds, strict=True):
        weights = edit.recipe["weights"]
        assert weights.keys() == known
        assert all(weights[kind] == sha256(kind) for kind in known - {"mapper"})
        assert "mapper" not in known or weights["mapper"] == sha256(edit.recipe["parameters"]["mapper"])
        assert studio.repeat(edit.recipe, latent).notes == edit.notes
        other = edit.recipe | {"weights": weights | {"generator": "0123456789abcdef"}}
        (*_, note) = studio.repeat(other, latent).notes
        assert note == "This recipe was made with other weights (generator), so the edit may come out different."
        older = {name: value for name, value in edit.recipe.items() if name != "weights"}
        again = studio.repeat(older, latent)
        assert "doesn't say which weights" in again.notes[-1] and again.recipe == edit.recipe
        for odd in ("abc", {"generator": 1}):
            with pytest.raises(UserError, match="no recipe"):
                studio.repeat(edit.recipe | {"weights": odd}, latent)


def test_recipes_tell_how_clip_was_shown_pictures_and_a_note_where_it_is_shown_otherwise(studio, latent):
    def with_row(**changed):
        family = replace(studio.family, row=studio.family.row.model_copy(update=changed))
        return StyleCLIP(replace(family, directions=None, digests=family.digests | {"directions": "estimated"}))

    here = with_row(clip_normalize=False, clip_normalize_directions=True)
    elsewhere = with_row(clip_normalize=True, clip_normalize_directions=False)
    optimized, directed = list(here.optimize(latent, "a hat", steps=1))[-1].edit, here.direct(latent, *PAIR, channels=5)
    for edit, shown, word in ((optimized, False, "false"), (directed, True, "true")):
        assert edit.recipe["clip_normalize"] is shown and here.repeat(edit.recipe, latent).notes == edit.notes
        note = f"This recipe was made where the model's clip_normalize was {word}, so the edit may come out different."
        assert elsewhere.repeat(edit.recipe, latent).notes == (*edit.notes, note)
        older = {name: value for name, value in edit.recipe.items() if name != "clip_normalize"}
        again = elsewhere.repeat(older, latent)
        assert again.notes == edit.notes and again.recipe["clip_normalize"] is not shown
        with pytest.raises(UserError, match="no recipe"):
            here.repeat(edit.recipe | {"clip_normalize": 1}, latent)
    assert "clip_normalize" not in studio.direct(latent, *PAIR, channels=5).recipe  # depends on the measured file alone


def test_recipes_tell_what_the_model_computed_in_and_a_note_where_that_differs(studio, latent):
    for edit in edits(studio, latent):
        assert edit.recipe["dtype"] == "float32"
        other = studio.repeat(edit.recipe | {"dtype": "bfloat16"}, latent)
        note = "This recipe was made where the model computed in bfloat16, so the edit may come out different."
        assert other.notes == (*edit.notes, note) and other.recipe == edit.recipe
        older = {name: value for name, value in edit.recipe.items() if name != "dtype"}
        assert studio.repeat(older, latent).notes == edit.notes
        with pytest.raises(UserError, match="no recipe"):
            studio.repeat(edit.recipe | {"dtype": 16}, latent)


def test_a_recipe_of_a_face_from_words_does_not_lean_on_defaults(aligned_studio):
    row = aligned_studio.family.row
    usual = row.defaults.model_copy(update={"space": "s", "noise": 0.5, "lr": 0.3, "neutral": "a hat", "steps": 2})
    other = StyleCLIP(replace(aligned_studio.family, row=row.model_copy(update={"defaults": usual})))
    made = [aligned_studio.csla_generate("an old man"), list(aligned_studio.generate("an old man", steps=2))[-1].edit]
    made += [
        aligned_studio.csla_generate("an old man", neutral="a thing"),
        list(aligned_studio.generate("an old man", steps=2, space="w", noise=0.7))[-1].edit,
    ]
    for edit in made:
        assert other.repeat(edit.recipe).latent.digest() == edit.latent.digest()
    assert len({edit.latent.digest() for edit in made}) == 4
    # Older recipes leave these out, and take the defaults.
    for edit, left_out in ((made[0], {"neutral"}), (made[1], {"space", "noise"})):
        older = {name: value for name, value in edit.recipe["parameters"].items() if name not in left_out}
        again = aligned_studio.repeat(edit.recipe | {"parameters": older})
        assert again.latent.digest() == edit.latent.digest()


def test_recipes_that_do_not_fit_are_refused(studio, latent):
    recipe = studio.map(latent, "levels").recipe
    (step,) = studio.optimize(latent, "a man", steps=1)
    optimized = step.edit.recipe
    for wrong, source in [
        (recipe, None),
        (recipe, studio.sample(2)),
        (recipe | {"model": "other"}, latent),
        (recipe | {"method": "wish"}, latent),
        ({"method": "map"}, latent),
        ("recipe", latent),
        (recipe | {"method": ["map"]}, latent),
        (recipe | {"parameters": None}, latent),
        (recipe | {"parameters": {"mapper": "levels"}}, latent),
        (recipe | {"parameters": {"mapper": "levels", "strength": "0.1"}}, latent),
        (recipe | {"parameters": {"mapper": "levels", "strength": float("nan")}}, latent),
        (recipe | {"parameters": {"mapper": "levels", "strength": 10**400}}, latent),
        (recipe | {"parameters": {"mapper": "levels", "strength": 0.1, "prompt": "a"}}, latent),
        (recipe | {"share": "half"}, latent),
        (recipe | {"taken": 2}, latent),
        (optimized | {"taken": 0}, latent),
        (optimized | {"parameters": optimized["parameters"] | {"space": "z"}}, latent),
    ]:
        with pytest.raises(UserError):
            studio.repeat(wrong, source)


def test_what_a_visitor_can_mend_is_a_sentence(studio, latent):
    for call in (
        lambda: studio.direct(latent, "face", "face"),
        lambda: studio.direct(latent, "", "face"),
        lambda: studio.direct(latent, *PAIR, threshold=0.99),
        lambda: studio.direct(latent, "x" * 2000, "face"),
        lambda: studio.map(latent, "none of these"),
        lambda: studio.image(Latent(torch.zeros(1, 18, 512))),
        lambda: studio.invert(Image.new("RGB", (100, 200))),
    ):
        with pytest.raises(UserError) as error:
            call()
        assert str(error.value).endswith(".")


def test_several_visitors_at_once(studio):
    sources = [studio.sample(i) for i in range(4)]
    alone = [studio.direct(source, "smiling face", "face").image.tobytes() for source in sources]
    studio.texts.averaged.cache_clear()
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda s: studio.direct(s, "smiling face", "face").image.tobytes(), sources))
    assert together == alone


def test_models(seeded_registry):
    assert available_models(seeded_registry) == ["seeded"]
    assert "demo" in available_models()
    with pytest.raises(UserError, match="seeded"):
        StyleCLIP.from_pretrained("unheard of", registry=seeded_registry)


def test_bfloat16_draws_nearly_the_same(seeded_registry, studio, latent):
    half = StyleCLIP.from_pretrained("seeded", "cpu", torch.bfloat16, seeded_registry)
    a, b = (torch.frombuffer(bytearray(s.image(latent).tobytes()), dtype=torch.uint8).float() for s in (half, studio))
    assert (a - b).abs().mean() < 3
