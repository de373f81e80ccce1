"""The command that measures relevance: the same file whether it is cut, or shared by several processes."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from pipeline import StyleCLIP
from pipeline.errors import UserError
from pipeline.losses import clip_features, clip_preprocess
from pipeline.methods.directions import style_statistics
from pipeline.methods.estimate import GradientDirections
from pipeline.models.family import load_family
from pipeline.models.measured import own_path, settings_of, warn_of_other_settings
from pipeline.models.registry import family_row
from pipeline.training.frozen import FrozenModels, load_frozen_models
from pipeline.training.pairs import sample_pairs
from pipeline.training.relevance import measure_relevance, relevance_command

ARGUMENTS = ["--model", "tiny", "--codes", "3", "--batch", "8"]


@pytest.fixture
def place(seeded_registry, tmp_path, monkeypatch):
    """Where the matrix of the family "tiny" is written; processes of their own get the same environment."""
    kinds = {
        "generator": seeded_registry.parent / "generator.safetensors",
        "clip": seeded_registry.parent / "clip.safetensors",
    }
    rows = "\n".join(f'{kind} = {{ path = "{path}" }}' for kind, path in kinds.items())
    (tmp_path / "own.toml").write_text(f'[families.tiny]\ntitle = "Tiny"\n[families.tiny.files]\n{rows}\n')
    monkeypatch.setenv("STYLECLIP_MODELS", str(tmp_path / "own.toml"))
    monkeypatch.setenv("HF_ASSETS_CACHE", str(tmp_path / "assets"))
    monkeypatch.setattr("huggingface_hub.constants.HF_ASSETS_CACHE", str(tmp_path / "assets"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return own_path("directions", family_row("tiny"))


def normalized(tmp_path, flag: bool) -> None:
    """Lay the family "tiny" down with or without CLIP's own preprocessing."""
    own = tmp_path / "own.toml"
    title = f'title = "Tiny"\nclip_normalize_directions = {str(flag).lower()}\n'
    own.write_text(re.sub(r'title = "Tiny"\n(clip_.*\n)?', title, own.read_text()))


def taken(place) -> bytes:
    """The finished file, put away; nothing else is left of the work."""
    content = place.read_bytes()
    place.unlink()
    assert not list(place.parent.glob("*"))
    return content


def test_a_killed_measurement_goes_on_to_the_same_file(place, capfd):
    assert relevance_command(ARGUMENTS) == place
    assert load_family(family_row("tiny"), torch.device("cpu"), torch.float32).directions is not None
    matrix = load_file(place)["relevance"].float()
    assert torch.allclose(matrix.norm(dim=1), torch.ones(len(matrix)), atol=1e-2)
    once = taken(place)
    command = [sys.executable, "-m", "pipeline.training.relevance", *ARGUMENTS]
    with subprocess.Popen(command, env=os.environ | {"PYTHONUNBUFFERED": "1"}, stdout=subprocess.PIPE) as process:
        first = float(process.stdout.readline().split(b"%")[0])  # is kept
        process.kill()  # SIGKILL
    (part,) = place.parent.glob("*.part")
    assert not place.exists()
    capfd.readouterr()
    relevance_command(ARGUMENTS)
    assert float(capfd.readouterr().out.split("%")[0]) > first  # that was not done again
    assert taken(place) == once
    part.write_bytes(b"damaged")
    relevance_command(ARGUMENTS)
    assert taken(place) == once


def test_an_interrupt_says_how_to_go_on(place):
    command = [sys.executable, "-m", "pipeline.training.relevance", *ARGUMENTS[:2], "--codes", "10000"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=os.environ | {"PYTHONUNBUFFERED": "1"}, text=True, **pipes) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, told = process.communicate()
    assert re.fullmatch(r"Stopped at [\d.]+%; start the same command again to go on\.\n", told), told
    assert process.returncode == 130


def test_a_matrix_that_a_model_has_is_not_written_over(place, tmp_path):
    shipped = family_row("demo").files["directions"].path
    before = shipped.read_bytes()
    with pytest.raises(UserError, match="“demo” has a relevance matrix; name another file .* --output"):
        relevance_command(["--model", "demo", "--codes", "1"])
    assert shipped.read_bytes() == before
    with pytest.raises(UserError, match=r"ends in \.safetensors"):
        relevance_command(["--output", str(tmp_path)])
    other = tmp_path / "mine" / "matrix.safetensors"
    assert relevance_command([*ARGUMENTS[:2], "--codes", "1", "--output", str(other)]) == other
    assert other.is_file() and not place.exists()


def test_a_kept_matrix_of_another_generator_is_left_alone(place):
    place.parent.mkdir(parents=True)
    save_file({"relevance": torch.zeros(10_000, 32)}, place)
    assert load_family(family_row("tiny"), torch.device("cpu"), torch.float32).directions is None


def test_two_processes_measure_the_matrix_of_one(place):
    relevance_command(ARGUMENTS)
    once = taken(place)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*torchrun, "-m", "pipeline.training.relevance", *ARGUMENTS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("wrote ") == 1
    assert taken(place) == once


def test_derivatives_stand_in_for_small_steps(place):
    models = load_frozen_models("tiny")

    def rows(pictures: float) -> torch.Tensor:
        return measure_relevance(
            models.generator,
            lambda images: clip_features(models.clip, images, models.normalize_directions),
            style_statistics(models.generator, 1_000)[1],
            codes=1,
            sigmas=0.3,
            pictures=pictures,
        )

    drawn, half, none = rows(1.0), rows(0.5), rows(0.0)
    alike = torch.cosine_similarity(none, drawn)
    assert alike.median() > 0.99 and alike.mean() > 0.95
    same = torch.isclose(half, drawn, atol=1e-3).all(1)
    assert same.sum() >= len(drawn) // 2 and not same.all()
    assert torch.allclose(half[~same], none[~same], atol=1e-5)


def test_a_generator_of_one_s_own(place, tmp_path, monkeypatch):
    own = tmp_path / "custom.toml"
    own.write_text((tmp_path / "own.toml").read_text().replace("families.tiny", "families.custom"))
    monkeypatch.setenv("STYLECLIP_MODELS", str(own))
    monkeypatch.setenv("STYLECLIP_GENERATOR", "")
    generator = str(tmp_path / "mine.safetensors")
    with pytest.raises(UserError, match="mine"):
        relevance_command(["--generator", generator])


# How CLIP is shown pictures, and how far channels go


def by_hand(family, codes: int) -> torch.Tensor:
    """The relevance of the last layer's channels as the reference measures it: deviations and codes of W truncated at
    ψ = 0.7, pictures through CLIP's own preprocessing."""
    generator, size, changes = family.generator, family.clip.visual.input_resolution, []
    seeded = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    last = max(i for i, layer in enumerate(generator.style_layers) if not layer.is_to_rgb)

    def styles(z: torch.Tensor) -> list[torch.Tensor]:
        w = generator.mapping(z)[:, None]
        return generator.styles(family.latent_avg + 0.7 * (w - family.latent_avg))

    def embed(moved: list[torch.Tensor]) -> torch.Tensor:
        shown = clip_preprocess(generator.synthesize(moved).clamp(-1, 1), size)
        return torch.nn.functional.normalize(family.clip.encode_image(shown).float())

    std = styles(torch.randn(20_000, generator.style_dim, generator=seeded[0]))[last].std(0)
    for _ in range(codes):
        base = styles(torch.randn(1, generator.style_dim, generator=seeded[1]))
        rows = []
        for channel in range(len(std)):
            ends = []
            for sign in (-5, 5):
                moved = [s.clone() for s in base]
                moved[last][0, channel] += sign * std[channel]
                ends.append(embed(moved))
            rows.append(torch.nn.functional.normalize(ends[1] - ends[0]))
        changes.append(torch.cat(rows))
    return torch.nn.functional.normalize(torch.stack(changes).mean(0))


@torch.no_grad()
def test_a_matrix_is_measured_as_the_reference_does_it(place, tmp_path):
    normalized(tmp_path, True)
    path = relevance_command([*ARGUMENTS, "--pictures", "1"])
    family = load_family(family_row("tiny"), torch.device("cpu"), torch.float32)
    expected = by_hand(family, 3)
    found = load_file(path)["relevance"].float()[-len(expected) :]
    assert torch.cosine_similarity(found, expected).min() > 0.9995
    assert torch.allclose(family.directions.style_std, load_file(path)["style_std"])
    normalized(tmp_path, False)
    plain = load_file(relevance_command([*ARGUMENTS, "--pictures", "1"]))["relevance"].float()[-len(expected) :]
    assert torch.cosine_similarity(plain, expected).max() < 0.999  # CLIP's own preprocessing makes a difference


@torch.no_grad()
def test_estimates_and_pairs_see_pictures_through_clip_s_own_preprocessing(place, tmp_path):
    normalized(tmp_path, True)
    studio = StyleCLIP.from_pretrained("tiny", "cpu")
    generator, clip = studio.family.generator, studio.family.clip

    def embed(pictures: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(clip.encode_image(clip_preprocess(pictures, clip.visual.input_resolution)))

    pairs = sample_pairs(FrozenModels.of(studio.family), 2)
    torch.testing.assert_close(pairs.features, embed(generator(pairs.w).clamp(-1, 1)))
    expected = GradientDirections(generator, embed, average=studio.family.latent_avg)
    assert studio.threshold("old", "face", 9) == expected.beta_keeping(studio.texts.direction("old", "face"), 9)
    losses = clip_features(clip, generator(pairs.w).clamp(-1, 1), studio.family.row.clip_normalize)
    assert not torch.allclose(pairs.features, losses, atol=0.01)  # these go on without, as the reference's


def test_what_was_measured_under_other_settings_is_not_reused_silently(place, tmp_path, caplog):
    def loaded():
        return load_family(family_row("tiny"), torch.device("cpu"), torch.float32).directions

    relevance_command([*ARGUMENTS[:2], "--codes", "1"])
    with safe_open(place, "pt") as file:
        settings = json.loads(file.metadata()["settings"])
    assert settings.keys() == {"truncation", "clip_normalize", "generator", "clip"}
    assert settings["truncation"] == 0.7 and settings["clip_normalize"] is True
    former = place.with_name(re.sub(r"-psi.*", ".safetensors", place.name))  # where it was kept before, with ψ = 1
    content = load_file(place)
    place.rename(former)
    assert loaded() is None
    former.rename(place)
    assert loaded() is not None
    normalized(tmp_path, False)
    assert loaded() is None
    # A file that the user names is used, and said to be another.
    save_file(content, tmp_path / "named.safetensors")
    with (tmp_path / "own.toml").open("a") as own:
        own.write('directions = { path = "named.safetensors" }\n')
    assert not caplog.messages and loaded() is not None
    assert "truncation 1.0 instead of 0.7" in caplog.text and "clip_normalize" not in caplog.text


def test_what_was_measured_with_another_clip_is_not_reused_silently(place, seeded_registry, tmp_path, caplog):
    def loaded():
        return load_family(family_row("tiny"), torch.device("cpu"), torch.float32).directions

    relevance_command([*ARGUMENTS[:2], "--codes", "1"])
    rows, clip = (tmp_path / "own.toml").read_text(), seeded_registry.parent / "clip.safetensors"
    state = load_file(clip)
    save_file(state | {"logit_scale": state["logit_scale"] + 1}, tmp_path / "other.safetensors")
    (tmp_path / "own.toml").write_text(rows.replace(str(clip), str(tmp_path / "other.safetensors")))
    assert loaded() is None and own_path("directions", family_row("tiny")) != place
    with (tmp_path / "own.toml").open("a") as own:  # a file that the user names is used, and said to be another's
        own.write(f'directions = {{ path = "{place}" }}\n')
    assert not caplog.messages and loaded() is not None
    assert re.search(r"made otherwise than .* \(clip \w{16} instead of \w{16}\)", caplog.text)
    caplog.clear()
    (tmp_path / "own.toml").write_text(rows)
    assert loaded() is not None and not caplog.messages


@pytest.mark.parametrize("kind", ["directions", "alignment"])
def test_what_a_file_does_not_tell_of_its_networks_is_not_compared(kind, caplog):
    row = family_row("demo")
    warn_of_other_settings(kind, row, row.files[kind])
    assert not caplog.messages and settings_of(kind, row).keys() >= {"generator", "clip"}


@torch.no_grad()
@pytest.mark.parametrize("family", ["studio", "one_row_studio"])
def test_drawn_from_a_layer_on_a_picture_is_the_whole_one(family, request):
    generator = request.getfixturevalue(family).family.generator
    styles = generator.styles(generator.mapping(torch.randn(1, generator.style_dim)))
    full, trace = generator.traced(styles)
    assert torch.allclose(full, generator.synthesize(styles), atol=1e-5)
    for p in range(len(styles)):
        moved = [s.expand(2, -1) for s in styles]
        moved[p] = moved[p] + torch.tensor([[1.0], [-1.0]])
        found = generator.draw_from(p, moved, trace)
        assert torch.allclose(found, generator.synthesize(moved), atol=1e-4), generator.style_layers[p].name
