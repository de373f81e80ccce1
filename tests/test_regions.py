"""Edits that are held to a part of the picture, with both kinds of generator and both families that come along."""

import base64
import io
import json
import pickle
import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file

from families.drawn import parts
from families.drawn.attributes import attributes, sample_z
from families.drawn.renderer import render_parts
from pipeline import Latent, StyleCLIP
from pipeline.errors import UserError
from pipeline.images import to_tensor
from pipeline.latents import MOST_REGIONS
from pipeline.methods.regions import DRAWN, MASK_SIZE, checked_regions, mask_picture, region_of, without_islands
from pipeline.models.registry import family_row
from pipeline.networks.generator import Region
from pipeline.networks.parts import PARTS

SEED = 7


@pytest.fixture(scope="module")
def photo_studio():
    if family_row("photo").missing():
        pytest.skip("the generator's wheel was not fetched")
    return StyleCLIP.from_pretrained("photo", device="cpu")


@pytest.fixture(params=["studio", "one_row_studio"])
def each(request) -> StyleCLIP:
    """A small family of random weights, with each kind of generator."""
    return request.getfixturevalue(request.param)


def moved(studio, seed: int = 3) -> tuple[Latent, list[torch.Tensor]]:
    """A face, and a step in S."""
    latent, rng = studio.sample(1), torch.Generator().manual_seed(seed)
    styles = latent.styles(studio.family.generator)
    return latent, [0.5 * torch.randn(s.shape, generator=rng) for s in styles]


def left_half() -> torch.Tensor:
    return (torch.arange(MASK_SIZE) < MASK_SIZE // 2).float().expand(1, 1, MASK_SIZE, -1).contiguous()


def drawn(studio, latent: Latent, resolution: int | None = None) -> torch.Tensor:
    return latent.draw(studio.family.generator, resolution)


def change(before: Image.Image, after: Image.Image, where: torch.Tensor) -> float:
    """The mean change in grey levels where a mask (1, 1, R, R) is."""
    a, b = (to_tensor(picture, picture.size) for picture in (before, after))
    weight = F.interpolate(where, a.shape[2:], mode="bilinear")
    return (((a - b).abs() * 127.5).mean(1, keepdim=True) * weight).sum().item() / weight.sum().item()


def test_islands_in_a_mask_are_filled_but_for_the_features_of_the_face():
    hair, features = torch.zeros(1, 1, 16, 16), torch.zeros(1, 1, 16, 16)
    hair[..., 2:14, 2:14] = 1
    hair[..., 4:6, 4:7] = 0  # hair that was taken for skin
    hair[..., 9:12, 5:11] = 0  # a face, with eyes
    features[..., 10, 6:8] = 1
    filled = without_islands(hair, features)
    assert filled[..., 2:8, 2:14].min() == 1 and torch.equal(filled[..., 9:12, 5:11], hair[..., 9:12, 5:11])
    assert filled[..., :2, :].max() == 0


def test_a_step_everywhere_is_a_step_and_one_nowhere_is_none(each):
    latent, step = moved(each)
    ones = torch.ones(1, 1, MASK_SIZE, MASK_SIZE)
    for resolution in (None, 16):
        everywhere = drawn(each, latent.moved_within(ones, step), resolution)
        torch.testing.assert_close(everywhere, drawn(each, latent.moved(step), resolution), rtol=1e-3, atol=1e-4)
        nowhere = drawn(each, latent.moved_within(0 * ones, step), resolution)
        torch.testing.assert_close(nowhere, drawn(each, latent, resolution), rtol=1e-3, atol=1e-4)


def test_a_step_in_half_of_the_picture_changes_that_half(each):
    latent, step = moved(each)
    fine = [
        s if layer.resolution > 8 else 0 * s for s, layer in zip(step, each.family.generator.style_layers, strict=True)
    ]
    before, half, whole = (
        drawn(each, one) for one in (latent, latent.moved_within(left_half(), fine), latent.moved(fine))
    )
    quarter = before.shape[3] // 4  # what is further from the border than the convolutions reach
    torch.testing.assert_close(half[..., -quarter // 2 :], before[..., -quarter // 2 :], rtol=1e-3, atol=1e-3)
    near = (half - whole).abs()[..., : quarter // 2].mean()
    assert near < 0.1 * (before - whole).abs()[..., : quarter // 2].mean()


def test_a_latent_with_regions_is_a_latent_like_any_other(each, tmp_path):
    source, step = moved(each)
    latent = source.moved_within(left_half(), step)
    assert latent.digest() != source.digest() and latent.space == "s"
    latent.save(tmp_path / "held.safetensors")
    loaded = Latent.load(tmp_path / "held.safetensors")
    assert loaded.digest() == latent.digest() and torch.equal(drawn(each, loaded), drawn(each, latent))
    source.save(tmp_path / "plain.safetensors")
    assert list(load_file(tmp_path / "plain.safetensors")) == ["w_plus"]  # as before there were regions

    assert source.towards(latent, 0).digest() == source.digest()
    assert source.towards(latent, 1).digest() == latent.digest()
    half = source.towards(latent, 0.5)
    assert all(torch.equal(h, 0.5 * s) for h, s in zip(half.regions[0].step, step, strict=True))
    twice = latent.moved_within(left_half(), step)
    assert len(twice.regions) == 1  # steps in the same place add up
    torch.testing.assert_close(
        drawn(each, half.moved_within(left_half(), [0.5 * s for s in step])), drawn(each, latent)
    )
    assert len(latent.moved_within(1 - left_half(), step).regions) == 2
    right = latent.moved_within(1 - left_half(), step)  # half and half is whole
    torch.testing.assert_close(
        drawn(each, right)[..., :4], drawn(each, source.moved(step))[..., :4], rtol=0.05, atol=0.05
    )


def test_optimization_and_tuning_go_on_from_a_held_edit(each):
    source, step = moved(each)
    latent = source.moved_within(left_half(), step)
    (first,) = each.optimize(latent, "an old face", steps=1, space="w")
    assert first.latent.regions is latent.regions and first.latent.w_plus is not latent.w_plus
    (first,) = each.optimize(latent, "an old face", steps=1, space="s")
    assert first.latent.regions is latent.regions
    (first,) = each.tune(latent, each.image(source), steps=1)
    assert first.latent.regions is latent.regions and first.latent.tuning
    assert torch.equal(drawn(each, replace(first.latent, tuning=None)), drawn(each, latent))


def test_an_edit_is_held_to_a_mask_that_somebody_painted(studio):
    latent = studio.sample(SEED)
    edit = studio.map(latent, "stylespace", 1.0)
    white = (left_half()[0, 0].numpy() * 255).astype(np.uint8)
    mask = Image.fromarray(white).resize((256, 256), Image.Resampling.NEAREST)
    held = studio.within(latent, edit, [mask])
    assert change(studio.image(latent), held.image, left_half()) > 2 * change(
        studio.image(latent), held.image, 1 - left_half()
    )
    again = studio.repeat(json.loads(json.dumps(held.recipe)), latent)
    assert again.latent.digest() == held.latent.digest() and not again.notes
    assert studio.within(latent, edit, left_half()).latent.digest() == held.latent.digest()
    assert studio.map(latent, "stylespace", 1.0, [mask]).latent.digest() == held.latent.digest()
    # Halved before and after it is held: the recipe tells both.
    quarter = studio.adjust(latent, studio.within(latent, studio.adjust(latent, edit, 0.5), [mask]), 0.5)
    again = studio.repeat(json.loads(json.dumps(quarter.recipe)), latent)
    assert again.latent.digest() == quarter.latent.digest()
    assert studio.repeat(held.recipe, studio.sample(8), anywhere=True).latent.regions

    nothing = Image.new("L", (64, 64))
    for wrong, told in (
        ([nothing], "empty"),
        (["nose"], "background, clothes, hair"),
        (["hair"], "draw a mask"),
        (["data:image/png;base64,AAAA"], "paint it again"),
        (torch.full((1, 1, 8, 8), 2.0), "from 0 to 1"),
    ):
        with pytest.raises(UserError, match=told):
            studio.within(latent, edit, wrong)
    assert studio.within(latent, edit, []) is edit
    with pytest.raises(UserError, match="at least one"):
        studio.region(latent)
    with pytest.raises(TypeError, match="regions"):
        studio.within(latent, edit, 3)
    with pytest.raises(UserError, match="another face"):
        studio.within(studio.sample(1), edit, [mask])
    with pytest.raises(UserError, match="whole picture"):
        studio.within(latent, held, [mask])
    *_, tuned = studio.tune(latent, studio.image(latent), steps=1)
    with pytest.raises(UserError, match="whole picture"):  # a tuning is of the whole picture
        studio.within(latent, tuned.edit, [mask])
    with pytest.raises(UserError, match="no recipe"):
        studio.repeat(held.recipe | {"within": {"regions": "hair"}}, latent)


def test_a_mask_covers_the_picture_where_that_is_wider_than_high(studio):
    row = studio.family.row.model_copy(update={"crop_rows": 3 * studio.family.generator.size // 4})
    wide = StyleCLIP(replace(studio.family, row=row))
    width, height = wide.image(wide.sample(SEED)).size
    mask = Image.new("L", (width, height))
    mask.paste(255, (0, 0, width, height // 2))
    (found,) = checked_regions([mask], wide.family.rows(MASK_SIZE))
    covered = mask_picture(found)
    assert height < width and covered.getbbox() == (0, MASK_SIZE // 8, MASK_SIZE, MASK_SIZE // 2)
    assert mask_picture(found, wide.family.rows(MASK_SIZE)).getbbox() == (0, 0, MASK_SIZE, MASK_SIZE * 3 // 8)


def test_a_second_edit_is_held_after_a_trip_to_another_process(studio):
    latent = studio.within(studio.sample(SEED), studio.map(studio.sample(SEED), "stylespace", 1.0), left_half()).latent
    edit = studio.map(latent, "stylespace", 0.5)
    assert len(edit.latent.regions) == 1
    sent = replace(edit, latent=pickle.loads(pickle.dumps(edit.latent)))
    for mask in (left_half(), 1 - left_half()):
        held = studio.within(latent, sent, mask)
        assert held.latent.digest() == studio.within(latent, edit, mask).latent.digest()
        with pytest.raises(UserError, match="whole picture"):  # held already, there or in a further region
            studio.within(latent, replace(held, latent=pickle.loads(pickle.dumps(held.latent))), mask)


def test_a_region_without_a_step_is_in_no_way_of_a_further_edit(studio):
    source, step = moved(studio)
    latent = source.moved_within(left_half(), step)
    assert not latent.moved_within(left_half(), [-s for s in step]).regions
    still = replace(latent, regions=(Region(left_half(), tuple(0 * s for s in step)),))
    edit = studio.map(still, "stylespace", 1.0)
    for share in (0, 0.5, 1):
        held = studio.within(still, studio.adjust(still, edit, share), 1 - left_half())
        assert len(held.latent.regions) == (share > 0)


def test_a_latent_has_so_many_regions_and_no_more(studio):
    latent, step = moved(studio)
    masks = torch.eye(MASK_SIZE)[:MOST_REGIONS, None, :, None].expand(-1, 1, -1, MASK_SIZE)  # a row each
    for mask in masks.split(1):
        latent = latent.moved_within(mask, step)
    assert studio.image(latent) and latent.fits(studio.family.generator)
    edit = studio.map(latent, "stylespace", 1.0)
    with pytest.raises(UserError, match="at most 32 regions"):
        studio.within(latent, edit, left_half())
    with pytest.raises(UserError, match="at most 32 regions"):
        latent.towards(studio.sample(2).moved_within(left_half(), step), 0.5)
    assert len(latent.moved_within(masks[:1], step).regions) == MOST_REGIONS  # in a place that is there already
    with pytest.raises(UserError, match="another model"):
        studio.image(replace(latent, regions=(*latent.regions, latent.regions[0])))


@pytest.mark.parametrize(
    "shape", [(), (64,), (1, 1), (1, 1, 1), (1, 1, 0, 0), (1, 1, 4, 5), (1, 1, 1, 4, 4), (2, 1, 4, 4), (1, 1, 257, 257)]
)
def test_a_file_with_a_mask_of_another_shape_is_refused(studio, tmp_path, shape):
    latent, step = moved(studio)
    replace(latent, regions=(Region(torch.ones(shape), tuple(step)),)).save(tmp_path / "junk.safetensors")
    with pytest.raises(UserError, match="another model"):
        studio.image(Latent.load(tmp_path / "junk.safetensors"))


@pytest.mark.parametrize("value", [-50.0, 1.1, float("nan"), float("inf")])
def test_a_mask_of_other_numbers_is_refused(studio, value):
    latent, step = moved(studio)
    mask = left_half()
    mask[0, 0, 5, 5] = value
    with pytest.raises(UserError, match="numbers that no face has"):
        studio.image(replace(latent, regions=(Region(mask, tuple(step)),)))


def test_drawn_masks_are_read_before_anything_is_computed():
    def png(picture: Image.Image) -> bytes:
        file = io.BytesIO()
        picture.save(file, "PNG")
        return file.getvalue()

    black = png(Image.new("L", (MASK_SIZE, MASK_SIZE)))
    header = b"IHDR" + (60_000).to_bytes(4, "big") * 2 + b"\x08\x00\x00\x00\x00"
    huge = black[:12] + header + zlib.crc32(header).to_bytes(4, "big") + black[33:]
    white = png(Image.new("L", (MASK_SIZE, MASK_SIZE), 255))
    for content, told in (
        (black, "empty"),
        (huge, "paint it again"),
        (white[:60], "paint it again"),
        (b"", "paint it again"),
        (png(Image.new("RGB", (MASK_SIZE, MASK_SIZE), "white")), "paint it again"),
    ):
        with pytest.raises(UserError, match=told):
            checked_regions([DRAWN + base64.b64encode(content).decode()])
    assert len(checked_regions([DRAWN + base64.b64encode(white).decode(), "hair"])) == 2


def test_the_parts_of_a_drawn_face_are_where_the_renderer_painted_them(demo):
    found = parts.measure(demo.family.parts, demo.family.generator, 16)
    assert found["hair"] > 0.85 and found["face (skin, mouth, eyes)"] > 0.85
    assert min(found.values()) > 0.6


def test_the_renderer_says_of_what_part_each_pixel_is():
    truth = render_parts(attributes(sample_z(4, seed=1)), 64)
    torch.testing.assert_close(truth.sum(1), torch.ones(4, 64, 64))
    where = dict(zip(PARTS, truth.mean(0), strict=True))
    assert where["clothes"][60:].mean() > 0.5 and where["clothes"][:32].max() == 0
    assert where["mouth"][44:50, 30:34].mean() > 0.5 and where["skin"][36, 32] == 1


@pytest.mark.parametrize("family", ["demo", "photo"])
def test_hair_changes_its_colour_and_the_rest_stays(family, request):
    studio = request.getfixturevalue("demo" if family == "demo" else "photo_studio")
    latent = studio.sample(1_000_004)
    edit = studio.direct(latent, "face with blonde hair", "face")
    held = studio.within(latent, edit, region_of("face with blonde hair"))
    hair = torch.maximum(studio.region(latent, "hair"), studio.region(edit.latent, "hair"))
    outside = (hair < 0.05).float()
    before, whole, only_hair = (studio.image(one, 256) for one in (latent, edit.latent, held.latent))
    assert change(before, only_hair, outside) < min(2, change(before, whole, outside) / 2)
    assert change(before, only_hair, hair) > 0.8 * change(before, whole, hair)
    again = studio.repeat(json.loads(json.dumps(held.recipe)), latent)
    assert again.latent.digest() == held.latent.digest()
    assert "parts" in held.recipe["weights"] and held.recipe["within"] == {"regions": ["hair"]}
    half = studio.adjust(latent, held, 0.5)
    assert change(before, studio.image(half.latent, 256), outside) < 2
    # A further edit of the whole face goes on from there.
    further = studio.direct(held.latent, "smiling face", "face")
    assert change(only_hair, studio.image(further.latent, 256), hair * 0 + 1) > 1


def test_regions_of_a_photographed_face(photo_studio):
    latent = photo_studio.sample(1_000_100)
    masks = {name: photo_studio.region(latent, name) for name in ("hair", "face", "background", "clothes")}
    torch.testing.assert_close(sum(masks.values()), torch.ones(1, 1, MASK_SIZE, MASK_SIZE), atol=1e-4, rtol=0)
    assert masks["face"][0, 0, 36, 32] > 0.95 and masks["background"][0, 0, 4, 2] > 0.9
    assert masks["clothes"][0, 0, 62, 28:36].mean() < 0.5
    mouth = photo_studio.region(latent, "mouth")[0, 0]
    assert 40 < (mouth.sum(1) * torch.arange(MASK_SIZE)).sum() / mouth.sum() < 54


@pytest.mark.parametrize(
    ("words", "regions"),
    [
        ("face with blonde hair", ("hair",)),
        ("Grey hair", ("hair",)),
        ("blonde_hair", ("hair",)),
        ("a smiling person", ("face",)),
        ("face with glasses", ("hair", "face")),
        ("red lipstick", ("mouth",)),
        ("bangs", ("hair", "skin")),
        ("old face", ("hair", "face")),
        ("a woman", ()),
        ("face of Bob Marley", ()),
        ("Elsa from Frozen", ()),
    ],
)
def test_where_an_edit_may_change_the_picture_when_nobody_says(words, regions):
    assert region_of(words) == regions


def test_parts_of_another_generator_are_refused(tmp_path):
    folder = family_row("demo").files["parts"].path.parent
    for name, source in (("narrow", folder / "parts.safetensors"), ("mapper", folder / "mappers" / "old.safetensors")):
        state = load_file(source)
        if name == "narrow":
            state["hidden.weight"] = state["hidden.weight"][:, :8].contiguous()
        save_file(state, tmp_path / f"{name}.safetensors")
        paths = {kind: source.path for kind, source in family_row("demo").files.items()}
        paths["parts"] = tmp_path / f"{name}.safetensors"
        rows = "\n".join(f'{kind} = {{ path = "{path}" }}' for kind, path in paths.items())
        registry = tmp_path / f"{name}.toml"
        registry.write_text(f"[families.other.files]\n{rows}\n")
        with pytest.raises(UserError, match=f"{name}.safetensors"):
            StyleCLIP.from_pretrained("other", device="cpu", registry=registry)


def test_an_edit_is_held_to_few_regions():
    with pytest.raises(UserError, match="at most 16 regions"):
        checked_regions(["hair"] * 17)
