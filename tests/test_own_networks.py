"""A user's own files beside the generator: packed ones, matrices, landmark models, and numbers that are none."""

import argparse
import bz2
import collections
import gzip
import io
import lzma
import tarfile
import types
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pipeline import StyleCLIP
from pipeline.errors import UserError
from pipeline.models.weights import read_weights


@pytest.fixture
def custom(seeded_registry, tmp_path):
    """A studio of the seeded networks, with some files in the place of theirs: kind -> (name, content)."""

    def load(**files):
        usual = {kind: seeded_registry.parent / f"{kind}.safetensors" for kind in ("generator", "clip")}
        for kind, (name, content) in files.items():
            usual[kind] = tmp_path / name
            usual[kind].write_bytes(content)
        return StyleCLIP.from_pretrained("custom", device="cpu", files=usual)

    return load


@pytest.fixture
def state(seeded_registry):
    return lambda kind: load_file(seeded_registry.parent / f"{kind}.safetensors")


def saved(content):
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def zipped(content):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("inside", content)
    return file.getvalue()


def tarred(content):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        about = tarfile.TarInfo("inside")
        about.size = len(content)
        archive.addfile(about, io.BytesIO(content))
    return file.getvalue()


PACKERS = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress, "ZIP": zipped, "tar": tarred}


@pytest.mark.parametrize("packer", PACKERS)
def test_a_packed_file_is_to_be_unpacked(packer, custom, state, seeded_registry):
    landmarks = (seeded_registry.parent / "landmarks.dat").read_bytes()
    for kind, content in (("generator", saved(state("generator"))), ("landmarks", landmarks)):
        with pytest.raises(
            UserError, match=rf"file theirs\.dat can't be read .*packed \({packer}\); please unpack"
        ) as told:
            custom(**{kind: ("theirs.dat", PACKERS[packer](content))})
        assert not any(word in str(told.value) for word in ("delete", "anew", "cut"))


@pytest.mark.parametrize(("protocol", "damaged"), [(2, "data.pkl"), (4, "data.pkl"), (4, "data/3")])
def test_an_archive_of_pytorch_that_is_damaged_is_not_called_packed(protocol, damaged, state, tmp_path):
    torch.save(state("generator"), tmp_path / "x.pt", pickle_protocol=protocol)
    with (
        zipfile.ZipFile(tmp_path / "x.pt") as source,
        zipfile.ZipFile(tmp_path / "y.pt", "w") as copy,
    ):
        for name in source.namelist():
            content = source.read(name)
            copy.writestr(name, content[:9] if name.endswith(damaged) else content)
    with pytest.raises(UserError, match=r"file y\.pt can't be read as weights: it is damaged, .* fetch it anew"):
        read_weights("generator", tmp_path / "y.pt")


def test_what_is_no_landmark_model_says_what_it_is(custom, seeded_registry):
    landmarks = (seeded_registry.parent / "landmarks.dat").read_bytes()
    for content, words in (
        (landmarks[:-20], "cut off"),
        (b"", "it is empty"),
        (b"<html>Quota exceeded", "a web page"),
        (b"no model at all", "dlib's shape predictors"),
    ):
        with pytest.raises(UserError, match=rf"faces\.dat can't be read as a landmark model: .*{words}"):
            custom(landmarks=("faces.dat", content))


@pytest.mark.parametrize("kind", ["generator", "encoder", "identity", "directions"])
def test_numbers_that_are_none_are_named(kind, state, tmp_path):
    content = state(kind)
    name = next(name for name, value in content.items() if value.ndim > 1 and "kernel" not in name)
    for bad in (float("nan"), float("inf")):
        torch.save(content | {name: content[name] * bad}, tmp_path / "theirs.pt")
        with pytest.raises(UserError, match=rf"theirs\.pt holds no {kind} .*: {name} holds numbers that are none"):
            read_weights(kind, tmp_path / "theirs.pt")


def test_only_the_masks_of_a_clip_may_be_infinite_and_negative(state, tmp_path):
    content = state("clip")
    name, value = next((name, value) for name, value in content.items() if value.ndim > 1)
    for bad in (float("nan"), float("inf"), float("-inf")):
        torch.save(content | {name: torch.full_like(value, bad)}, tmp_path / "theirs.pt")
        if bad == float("-inf"):
            assert read_weights("clip", tmp_path / "theirs.pt")[name].isinf().all()
            continue
        with pytest.raises(UserError, match=rf"theirs\.pt holds no clip .*: {name} holds numbers that are none"):
            read_weights("clip", tmp_path / "theirs.pt")


def test_a_matrix_is_relevance_whatever_it_is_called(custom, state):
    relevance = state("directions")["relevance"]
    for name, content in (
        ("fs3.npy", npy(relevance.numpy())),
        ("fs3.npy", npy(np.asfortranarray(relevance.double().numpy()))),
        ("fs3.pt", saved(relevance)),
        ("fs3.pt", saved({"fs3": relevance})),
    ):
        assert torch.equal(custom(directions=(name, content)).family.directions.relevance, relevance)


def test_a_matrix_that_does_not_fit_is_named(custom, state):
    relevance, channels = state("directions")["relevance"], len(state("directions")["style_std"])
    more = torch.cat([relevance, relevance[:1]])  # of another generator, whose rows are not all of this one's
    for wrong, size in (
        (more, f"{len(more)}, 32"),
        (relevance[:0], "0, 32"),
        (relevance[0], "32,"),
        (relevance.T, rf"32, {len(relevance)}"),
    ):
        with pytest.raises(UserError, match=rf"fs3\.npy was not measured with this .*its size is \({size}\)"):
            custom(directions=("fs3.npy", npy(wrong.contiguous().numpy())))
    few = {"relevance": relevance, "style_std": torch.ones(7)}
    with pytest.raises(UserError, match=rf"fs3\.pt was not measured .*of its deviations {channels}"):
        custom(directions=("fs3.pt", saved(few)))


def test_options_beside_the_tensors_are_no_attack(state, tmp_path):
    """Read where they are plain, else named; nobody is told that they are code."""
    path = tmp_path / "theirs.pt"
    for options in (argparse.Namespace(a=1), types.SimpleNamespace(a=1), collections.Counter("a"), np.int64(3), {1, 2}):
        torch.save({"g_ema": state("generator"), "opts": options}, path)
        assert read_weights("generator", path)["input.input"].shape == (1, 16, 4, 4)
    torch.save({"g_ema": state("generator"), "logs": collections.defaultdict(list)}, path)
    with pytest.raises(UserError, match=r"theirs\.pt .*class collections\.defaultdict; please save its state_dict"):
        read_weights("generator", path)


def test_rows_of_another_length_give_the_same_cosines(custom, state):
    relevance = state("directions")["relevance"].numpy()
    found = [
        custom(directions=("fs3.npy", npy(scale * relevance))).threshold("an old face", "a face", 5)
        for scale in (1, 7, 0.4)
    ]
    assert found == pytest.approx([found[0]] * 3, abs=1e-6) and found[0] < 1
