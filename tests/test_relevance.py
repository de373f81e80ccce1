"""The command that measures relevance: the same file whether it is cut, or shared by several processes."""

import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from pipeline.errors import UserError
from pipeline.training.relevance import relevance_command

ARGUMENTS = ["--model", "tiny", "--codes", "3", "--batch", "8"]


@pytest.fixture
def place(seeded_registry, tmp_path, monkeypatch):
    """Where the matrix of the family "tiny" is written; processes of their own get the same environment."""
    kinds = {
        "generator": seeded_registry.parent / "generator.safetensors",
        "clip": seeded_registry.parent / "clip.safetensors",
    }
    kinds["directions"] = tmp_path / "matrix.safetensors"
    rows = "\n".join(f'{kind} = {{ path = "{path}" }}' for kind, path in kinds.items())
    (tmp_path / "own.toml").write_text(f'[families.tiny]\ntitle = "Tiny"\n[families.tiny.files]\n{rows}\n')
    monkeypatch.setenv("STYLECLIP_MODELS", str(tmp_path / "own.toml"))
    monkeypatch.setenv("HF_ASSETS_CACHE", str(tmp_path / "assets"))
    monkeypatch.setattr("huggingface_hub.constants.HF_ASSETS_CACHE", str(tmp_path / "assets"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return kinds["directions"]


def taken(place) -> bytes:
    """The finished file, put away; nothing else is left of the work."""
    content = place.read_bytes()
    place.unlink()
    assert not list(place.parent.rglob("*.part"))
    return content


def test_a_killed_measurement_goes_on_to_the_same_file(place, capfd):
    assert relevance_command(ARGUMENTS) == place
    matrix = load_file(place)["relevance"].float()
    assert torch.allclose(matrix.norm(dim=1), torch.ones(len(matrix)), atol=1e-2)
    once = taken(place)
    command = [sys.executable, "-m", "pipeline.training.relevance", *ARGUMENTS]
    with subprocess.Popen(command, env=os.environ | {"PYTHONUNBUFFERED": "1"}, stdout=subprocess.PIPE) as process:
        process.stdout.readline()  # the first pictures are kept
        process.kill()  # SIGKILL
    assert not place.exists() and list(place.parent.rglob("*.part"))
    capfd.readouterr()
    relevance_command(ARGUMENTS)
    assert not capfd.readouterr().out.startswith("1.")  # the first part took 1 % and was not done again
    assert taken(place) == once


def test_two_processes_measure_the_matrix_of_one(place):
    relevance_command(ARGUMENTS)
    once = taken(place)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*torchrun, "-m", "pipeline.training.relevance", *ARGUMENTS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("wrote ") == 1
    assert taken(place) == once


def test_a_generator_of_one_s_own_and_a_wrong_size(place, monkeypatch):
    own = place.parent / "custom.toml"
    own.write_text(place.with_name("own.toml").read_text().replace("families.tiny", "families.custom"))
    monkeypatch.setenv("STYLECLIP_MODELS", str(own))
    monkeypatch.setenv("STYLECLIP_GENERATOR", "")
    generator = str(place.with_name("mine.safetensors"))
    with pytest.raises(UserError, match="mine"):
        relevance_command(["--generator", generator])
    monkeypatch.setenv("STYLECLIP_GENERATOR", "")
    with pytest.raises(UserError, match="lowest"):
        relevance_command(["--model", "custom", "--lowest", "48"])
