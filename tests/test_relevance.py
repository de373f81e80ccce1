"""The command that measures relevance: the same file whether it is cut, or shared by several processes."""

import os
import re
import signal
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.directions import style_statistics
from pipeline.errors import UserError
from pipeline.losses import clip_features
from pipeline.training.judges import load_judges
from pipeline.training.relevance import measure_relevance, relevance_command
from pipeline.zoo import family_row, load_family, relevance_path

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
    return relevance_path(family_row("tiny"))


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
        relevance_command(["--codes", "1"])
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
    judges = load_judges("tiny")

    def rows(pictures: float) -> torch.Tensor:
        return measure_relevance(
            judges.generator,
            lambda images: clip_features(judges.clip, images, judges.normalize),
            style_statistics(judges.generator, 1_000)[1],
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


def test_a_generator_of_one_s_own_and_a_wrong_size(place, tmp_path, monkeypatch):
    own = tmp_path / "custom.toml"
    own.write_text((tmp_path / "own.toml").read_text().replace("families.tiny", "families.custom"))
    monkeypatch.setenv("STYLECLIP_MODELS", str(own))
    monkeypatch.setenv("STYLECLIP_GENERATOR", "")
    generator = str(tmp_path / "mine.safetensors")
    with pytest.raises(UserError, match="mine"):
        relevance_command(["--generator", generator])
    monkeypatch.setenv("STYLECLIP_GENERATOR", "")
    with pytest.raises(UserError, match="lowest"):
        relevance_command(["--model", "custom", "--lowest", "48"])
