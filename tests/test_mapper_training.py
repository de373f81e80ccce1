"""Mapper training: the iterator that the page drives, the files, and the command, cut off and in two processes."""

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import islice

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from pipeline import StyleCLIP, UserError
from pipeline.losses import clip_features
from pipeline.methods.directions import style_statistics
from pipeline.methods.mapper import apply_mapper
from pipeline.models.registry import family_row
from pipeline.networks.mapper import LevelsMapper, NarrowMapper, SingleMapper, StyleSpaceMapper
from pipeline.networks.stylegan2 import Generator
from pipeline.text import Texts
from pipeline.training.frozen import FrozenModels
from pipeline.training.mapper import save_mapper, train_command
from pipeline.training.mapper_recipe import MapperRecipe, family_recipe
from pipeline.training.mapper_training import MapperTraining, sample_codes, train

PROMPT = "a person with purple hair"
KINDS = {
    "levels": (MapperRecipe(PROMPT, variant="levels"), LevelsMapper),
    "no_fine": (MapperRecipe(PROMPT, variant="levels", levels=("course", "medium")), LevelsMapper),
    "single": (MapperRecipe(PROMPT, variant="single"), SingleMapper),
    "space": (MapperRecipe(PROMPT, variant="stylespace"), StyleSpaceMapper),
    "narrow": (MapperRecipe(PROMPT, variant="narrow"), NarrowMapper),
}
COMMAND = ["--model", "seeded", "--prompt", PROMPT, "--batch", "2", "--every", "2", "--resolution", "16"]


@pytest.fixture(scope="module")
def models(studio) -> FrozenModels:
    return FrozenModels.of(studio.family)


@pytest.fixture
def texts(studio) -> Texts:
    return studio.texts


@pytest.fixture
def seeded(seeded_registry, monkeypatch) -> dict[str, str]:
    """The environment in which commands know the family "seeded"."""
    monkeypatch.setenv("STYLECLIP_MODELS", str(seeded_registry))
    return os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def quick(**changes) -> MapperRecipe:
    return MapperRecipe(PROMPT, **{"steps": 4, "batch": 2, "every": 2, "resolution": 16} | changes)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_read_by_the_family_it_was_trained_for(kind, models, texts, tmp_path, seeded_registry):
    recipe, network = KINDS[kind]
    *_, last = train(models, texts, quick(variant=recipe.variant, levels=recipe.levels))
    save_mapper(last.mapper, tmp_path / "new.safetensors", recipe, last.validation, title="New")
    folder = seeded_registry.parent
    rows = seeded_registry.read_text().replace('path = "', f'path = "{folder}/')
    (tmp_path / "models.toml").write_text(rows + '\n[families.seeded.mappers.new]\npath = "new.safetensors"\n')
    studio = StyleCLIP.from_pretrained("seeded", device="cpu", registry=tmp_path / "models.toml")
    assert isinstance(studio.family.mappers.load("new"), network)
    latent = studio.sample(1)
    edits = [studio.map(latent, "new", strength) for strength in (0.0, 0.3)]
    assert edits[0].image.tobytes() == studio.image(latent).tobytes() != edits[1].image.tobytes()
    with safe_open(tmp_path / "new.safetensors", "pt") as file:
        assert all(name.startswith("mapper.") for name in file.keys())  # noqa: SIM118
        about = json.loads(file.metadata()["recipe"])
    assert (about["prompt"], about["variant"], about["title"]) == (PROMPT, recipe.variant, "New")
    assert set(about["losses"]) == {"clip", "l2", "identity", "total"}


def test_sampled_faces_are_truncated_towards_the_mean_face(models, texts):
    held = {psi: MapperTraining(models, texts, quick(truncation=psi, jitter=0.0)).held_out for psi in (0.0, 0.7, 1.0)}
    mean = models.latent_avg.expand_as(held[0.0])
    torch.testing.assert_close(held[0.0], mean)
    torch.testing.assert_close(held[0.7] - mean, 0.7 * (held[1.0] - mean))
    codes = sample_codes(models.generator, 8, 0.0, torch.Generator().manual_seed(~0))
    assert torch.equal(held[1.0], codes)
    assert family_row("ffhq").mapper_truncation == 0.7 and family_row("demo").mapper_truncation == 1.0


def test_levels_that_are_left_out_leave_their_rows(models, texts):
    *_, last = train(models, texts, quick(levels=("medium",)))
    step = last.mapper(sample_codes(models.generator, 2, 0.1, torch.Generator().manual_seed(0)))
    assert step[:, 4:8].abs().min() > 0 and not step[:, :4].any() and not step[:, 8:].any()


def test_a_narrow_mapper_may_begin_as_the_global_direction(studio, models, texts):
    recipe = quick(variant="narrow", neutral="a person", start=5.0)
    latent, training = studio.sample(1), MapperTraining(models, texts, recipe)
    begun = apply_mapper(training.mapper, models.generator, latent, 0.1)
    direction = studio.direct(latent, PROMPT, "a person", strength=5.0, limit=0.0).latent
    for step, expected in zip(begun.style_step, direction.style_step, strict=True):
        torch.testing.assert_close(step, expected, atol=1e-4, rtol=1e-3)
    *_, last = train(models, texts, recipe)
    faces = [apply_mapper(last.mapper, models.generator, studio.sample(seed), 0.1) for seed in (1, 2)]
    assert not torch.equal(*(torch.cat(face.style_step, 1) for face in faces))  # by then it tells faces apart
    for broken in (replace(recipe, variant="levels"), recipe):
        frozen = models if broken.variant == "levels" else replace(models, directions=None)
        with pytest.raises(UserError, match="directions"):
            MapperTraining(frozen, texts, broken)


def test_a_recipe_takes_what_suits_the_family():
    photo, drawn = (family_recipe(family_row(name), PROMPT, l2=None) for name in ("photo", "demo"))
    assert (photo.start, photo.l2, photo.neutral, photo.steps) == (3.0, 0.003, "a face", 60)
    assert (drawn.start, drawn.l2, drawn.neutral, drawn.steps, drawn.clip) == (0.0, 0.8, "a face", 220, 2.0)
    assert family_recipe(family_row("photo"), PROMPT, l2=0.5, neutral="").l2 == 0.5


def test_in_stylespace_the_l2_term_sums_the_means_of_the_vectors(models, texts):
    *_, last = train(models, texts, quick(variant="stylespace", steps=2))
    steps = last.mapper(models.generator.styles(last.training.held_out))
    expected = sum((0.1 * step).square().mean().item() for step in steps)
    assert last.validation["l2"] == pytest.approx(expected, rel=1e-4)
    assert expected > 5 * (0.1 * torch.cat(steps, 1)).square().mean()


def test_the_losses_see_what_all_rows_do_to_the_picture(models, texts):
    """At 1024 px, with few channels: rows 14 to 17 work above what CLIP fits in."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        wide = Generator(1024, 32, 2, {2**i: 4 for i in range(2, 11)}).eval().requires_grad_(False)
    models = replace(models, generator=wide, identity=None)
    codes = sample_codes(wide, 5, 0.1, torch.Generator().manual_seed(0))
    recipe = MapperRecipe(PROMPT, levels=("fine",), l2=0.0, steps=1, batch=1, every=1)
    *_, last = train(models, texts, recipe, codes)
    w, moved = last.training.held_out, 0.1 * last.mapper(last.training.held_out)

    def distance(resolution: int) -> float:
        pictures = wide(w + moved, resolution)
        return 1 - (clip_features(models.clip, pictures, False) @ texts.embedding(PROMPT).T).mean().item()

    assert last.validation["clip"] == pytest.approx(distance(1024), abs=1e-5)
    assert last.validation["clip"] != pytest.approx(distance(64), abs=1e-4)
    assert last.pictures.shape[-1] == 1024


def test_training_lowers_the_loss_and_repeats(models, texts):
    recipe = quick(steps=16, every=8, l2=0.1)
    first, second = ([s.validation["total"] for s in train(models, texts, recipe) if s.validation] for _ in range(2))
    assert first == second and first[-1] < first[0]


def test_with_a_neutral_text_faces_stay_nearer_to_what_they_were(models, texts):
    change = texts.embedding(PROMPT) - texts.embedding("a person")

    def effects(neutral: str) -> tuple[float, float]:
        """On what CLIP sees in held-out faces: how far they went the texts' way, and 1 - cosine to those before."""
        *_, last = train(models, texts, quick(steps=30, every=30, l2=0.0, identity=0.0, neutral=neutral))
        before, after = (clip_features(models.clip, pictures, models.normalize) for pictures in last.pictures)
        return ((after - before) @ change.T).mean().item(), 1 - (before * after).sum(1).mean().item()

    (gain, lost), (_, lost_alone) = effects("a person"), effects("")
    assert gain > 0
    assert lost < 0.8 * lost_alone


def test_training_leaves_the_shared_networks_and_the_callers_mode_alone(models, texts):
    networks = (models.generator, models.clip, models.identity)
    before = [p.clone() for network in networks for p in network.parameters()]
    random = torch.get_rng_state()
    with torch.no_grad():
        for _ in train(models, texts, quick()):
            assert not torch.is_grad_enabled()
    for state in train(models, texts, quick()):
        assert torch.is_grad_enabled()
        assert not any(p.requires_grad for p in state.mapper.parameters())
    after = [p for network in networks for p in network.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert not any(p.requires_grad or p.grad is not None for p in after)
    assert not any(network.training for network in networks)
    assert torch.equal(random, torch.get_rng_state())


def test_a_closed_training_does_no_more_and_its_mapper_stays(models, texts, monkeypatch):
    advanced = []
    advance = MapperTraining.advance
    monkeypatch.setattr(MapperTraining, "advance", lambda self: advanced.append(1) or advance(self))
    run = train(models, texts, quick(steps=1000))
    *_, third = islice(run, 3)
    run.close()
    assert len(advanced) == 3 and (third.step, third.steps) == (3, 1000)
    assert third.mapper(sample_codes(models.generator, 1, 0.1, torch.Generator().manual_seed(0))).abs().sum() > 0


def test_pictures_of_held_out_faces_come_with_the_validation(models, texts):
    states = list(train(models, texts, quick()))
    assert [s.pictures is not None for s in states] == [False, True, False, True]
    before, after = states[1].pictures
    assert before.shape == after.shape == (4, 3, 16, 16) and not torch.equal(before, after)
    assert torch.equal(before, states[3].pictures[0])


def test_training_stops_when_the_validation_loss_no_longer_falls(models, texts):
    states = list(train(models, texts, quick(steps=500, every=1, patience=3, rate=60.0)))
    totals = [s.validation["total"] for s in states]
    best = totals.index(min(totals))
    assert len(totals) == best + 1 + 3 < 500
    assert states[-1].training.lowest["total"] == totals[best]
    fresh = MapperTraining(models, texts, quick())  # the same held-out faces
    fresh.network.load_state_dict(states[-1].mapper.state_dict())
    losses, _ = fresh._losses(fresh.held_out, fresh.unedited)
    assert losses["total"].item() == pytest.approx(totals[best], rel=1e-5)


def test_it_is_counted_in_how_many_faces_the_text_was_reached():
    """With the shipped mapper for purple hair, and with one that has learned nothing."""
    demo = StyleCLIP.from_pretrained("demo", device="cpu")
    recipe = family_recipe(demo.family.row, "a face with purple hair")
    training = MapperTraining(FrozenModels.of(demo.family), demo.texts, recipe)
    untrained, faces = training.reached()
    _, shipped, _ = demo.family.mappers.find("purple_hair")
    training.network.load_state_dict(shipped.state_dict())
    assert untrained == 0
    assert training.reached()[0] > faces / 2


def test_given_faces_are_trained_on_and_some_held_out(models, texts):
    codes = sample_codes(models.generator, 12, 0.1, torch.Generator().manual_seed(3))
    training = MapperTraining(models, texts, quick(), codes)
    assert torch.equal(training.held_out, codes[-2:]) and torch.equal(training.codes, codes[:-2])
    with pytest.raises(UserError, match="another model"):
        MapperTraining(models, texts, quick(), codes[:, :4])


def test_of_fewer_than_five_given_faces_none_is_held_out(models, texts):
    codes = sample_codes(models.generator, 4, 0.1, torch.Generator().manual_seed(3))
    training = MapperTraining(models, texts, quick(), codes)
    assert torch.equal(training.held_out, codes) and torch.equal(training.codes, codes)


def test_a_training_goes_on_with_the_same_faces_only(models, texts):
    codes = sample_codes(models.generator, 12, 0.1, torch.Generator().manual_seed(3))
    others = torch.cat([codes[:1] + 0.1, codes[1:]])  # one that is not held out differs
    training = MapperTraining(models, texts, quick(), codes)
    training.advance()
    tensors, numbers = training.state()
    MapperTraining(models, texts, quick(), codes.clone()).restore(tensors, numbers)
    with pytest.raises(UserError, match="other faces"):
        MapperTraining(models, texts, quick(), others).restore(tensors, numbers)
    older = {name: value for name, value in numbers.items() if name != "codes_digest"}
    again = MapperTraining(models, texts, quick(), codes)
    again.restore(tensors, older)
    assert again.step == 1


def test_a_narrow_mapper_counts_from_the_mean_face_that_a_file_brings(models, texts):
    moved = replace(models, latent_avg=models.latent_avg + 1)
    network = MapperTraining(moved, texts, quick(variant="narrow")).network
    mean, std = style_statistics(models.generator, 2_000, average=moved.latent_avg)
    assert torch.equal(network.mean, mean) and torch.equal(network.seen_std, torch.where(std > 1e-4, std, 1))
    assert not torch.allclose(mean, style_statistics(models.generator, 2_000)[0], atol=1e-3)


def test_what_a_recipe_cannot_be_is_a_sentence(models, texts):
    for wrong in ({"variant": "tall"}, {"levels": ()}, {"levels": ("coarse",)}):
        with pytest.raises(UserError, match="levels"):
            next(train(models, texts, quick(**wrong)))


def command(folder, *more) -> list[str]:
    return [*COMMAND, "--folder", str(folder / "run"), "--output", str(folder), "--name", "purple", *more]


def files(folder) -> tuple[bytes, bytes]:
    return (folder / "purple.safetensors").read_bytes(), (folder / "run" / "losses.csv").read_bytes()


def test_a_killed_training_goes_on_to_the_same_file(seeded, tmp_path, capfd):
    once, cut = tmp_path / "once", tmp_path / "cut"
    train_command(command(once, "--steps", "8"))
    arguments = [sys.executable, "-m", "pipeline.training.mapper", *command(cut, "--steps", "8")]
    with subprocess.Popen(arguments, env=seeded, stdout=subprocess.PIPE, text=True) as process:
        assert "step 2 of 8" in process.stdout.readline()
        process.kill()  # SIGKILL
    assert not (cut / "purple.safetensors").exists()
    with (cut / "run" / "losses.csv").open("a") as table:
        table.write("5,0.1,0.")  # as a cut in the middle of a row leaves it
    for other, words in ((("--steps", "14"), "steps 8 instead of 14"), (("--dtype", "bfloat16"), "dtype float32")):
        with pytest.raises(UserError, match=f"another unfinished training .{words}"):
            train_command(command(cut, "--steps", "8", *other))
    capfd.readouterr()
    train_command(command(cut, "--steps", "8"))
    told = capfd.readouterr().out
    with safe_open(cut / "purple.safetensors", "pt") as file:
        assert json.loads(file.metadata()["recipe"])["truncation"] == 0.7  # of the family's row
    assert told.startswith("Going on at step ") and "\nstep 2 of" not in told
    assert f'studio.map(latent, Path("{cut / "purple.safetensors"}"))' in told
    assert files(cut) == files(once)


def test_an_interrupt_says_how_to_go_on_and_damage_how_to_begin_anew(seeded, tmp_path):
    arguments = [sys.executable, "-m", "pipeline.training.mapper", *command(tmp_path, "--steps", "1000")]
    with subprocess.Popen(arguments, env=seeded, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, told = process.communicate()
    assert re.fullmatch(r"Stopped at step \d+; start the same command again to go on\.\n", told), told
    assert process.returncode == 130
    (tmp_path / "run" / "checkpoint.safetensors").write_bytes(b"cut off")
    with pytest.raises(UserError, match="is damaged; delete it"):
        train_command(command(tmp_path, "--steps", "1000"))


def test_a_mapper_goes_to_the_cache_and_not_over_one_of_the_model_s(seeded, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_ASSETS_CACHE", str(tmp_path / "assets"))
    run = ["--folder", str(tmp_path / "run"), "--steps", "2"]
    for prompt, name in ((PROMPT, "a_person_with_purple_hair"), ("x" * 400, "x" * 60), ("!!!", "mapper")):
        path = train_command([*COMMAND, "--prompt", prompt, *run])
        assert path.is_file() and path.is_relative_to(tmp_path / "assets") and path.name == f"{name}.safetensors"
    with pytest.raises(UserError, match="has a mapper “stylespace”"):
        train_command([*COMMAND, "--prompt", "StyleSpace", *run])
    with pytest.raises(UserError, match="no slashes"):
        train_command([*COMMAND, "--name", "../../evil", *run])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["--every", "0"], "at least 1"),
        (["--steps", "0"], "at least 1"),
        (["--batch", "0"], "at least 1"),
        (["--resolution", "100"], "draws at 4, 8, ... 64 px"),
        (["--model", "custom"], "--generator"),
        (["--generator", "nowhere.pt"], r"nowhere\.pt"),
    ],
)
def test_what_the_command_cannot_do_is_a_sentence(wrong, words, seeded, tmp_path, monkeypatch):
    monkeypatch.setenv("STYLECLIP_GENERATOR", "")
    with pytest.raises(UserError, match=words):
        train_command(command(tmp_path, *wrong))
    assert not (tmp_path / "purple.safetensors").exists()


def test_two_processes_train_the_mapper_of_one(seeded, tmp_path):
    once, both = tmp_path / "once", tmp_path / "both"
    train_command(command(once, "--steps", "6"))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    arguments = [*torchrun, "pipeline.training.mapper", *command(both, "--steps", "6")]
    done = subprocess.run(arguments, env=seeded, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("wrote ") == 1
    one, two = (load_file(folder / "purple.safetensors") for folder in (once, both))
    # float32 sums in another order, which Adam enlarges where a gradient is nearly zero; half precision keeps 1e-3
    for name, value in one.items():
        assert (two[name].float() - value.float()).norm() <= 2e-3 * value.float().norm(), name


def test_photos_and_latents_files_are_trained_on(seeded, tmp_path, drawn_faces, photo):
    photos = tmp_path / "photos"
    photos.mkdir()
    photo.save(photos / "one.png")
    photo.resize((90, 70)).save(photos / "small.jpg")  # no face is found in it
    train_command(command(tmp_path / "a", "--steps", "2", "--photos", str(photos)))
    kept = tmp_path / "a" / "run" / "latents.safetensors"
    codes = load_file(kept)["w_plus"].clone()
    assert len(codes) == 1
    torch.save(codes, tmp_path / "faces.pt")
    save_file({"w_plus": codes}, tmp_path / "faces.safetensors")
    for name in ("faces.pt", "faces.safetensors"):
        train_command(command(tmp_path / name[5:], "--steps", "2", "--latents", str(tmp_path / name)))
        assert files(tmp_path / name[5:]) == files(tmp_path / "a")
    (tmp_path / "broken.pt").write_bytes(b"no")
    with pytest.raises(UserError, match=r"broken\.pt"):
        train_command(command(tmp_path / "b", "--latents", str(tmp_path / "broken.pt")))
    drawn_faces[0][1].save(photos / "two.png")
    train_command(command(tmp_path / "a", "--steps", "2", "--photos", str(photos)))
    assert len(load_file(kept)["w_plus"]) == 2
    once = kept.stat().st_mtime_ns
    train_command(command(tmp_path / "a", "--steps", "2", "--photos", str(photos)))
    assert kept.stat().st_mtime_ns == once
