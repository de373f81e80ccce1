"""Reading published files: the right tensors out of every format, and nothing of theirs run."""

import argparse
import fractions
import os
import pickle
import warnings

import numpy as np
import pytest
import torch
from huggingface_hub import constants

from pipeline.errors import UserError
from pipeline.models.weights import read_slim, read_weights
from pipeline.networks.clip import build_clip
from pipeline.networks.stylegan2 import Generator
from tests.published import (
    Sizes,
    published_format,
    write_ada_pickle,
    write_family,
    write_tensorflow_pickle,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The small files of a family in their published formats."""
    return tmp_path_factory.mktemp("published")


@pytest.fixture(scope="module")
def sizes(folder) -> Sizes:
    return write_family(folder, small=True)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_ASSETS_CACHE", str(tmp_path / "assets"))
    return tmp_path / "assets"


def same(state, expected) -> bool:
    return state.keys() == expected.keys() and all(torch.equal(state[k], expected[k]) for k in expected)


def test_e4e_holds_an_encoder_and_a_generator(folder, sizes):
    path = folder / "e4e_ffhq_encode.pt"
    assert same(read_weights("encoder", path), sizes.encoder | {"start": sizes.latent_avg})
    assert same(read_weights("generator", path), sizes.generator | {"latent_avg": sizes.latent_avg})


def test_stylegan2_alone_is_read(tmp_path, sizes):
    path = tmp_path / "stylegan2-ffhq-config-f.pt"
    torch.save({"g_ema": sizes.generator, "latent_avg": sizes.latent_avg[0]}, path)
    assert same(read_weights("generator", path), sizes.generator | {"latent_avg": sizes.latent_avg[0]})


def test_the_other_files_are_read(folder, sizes):
    assert same(read_weights("identity", folder / "model_ir_se50.pth"), sizes.identity)
    assert same(read_weights("mapper", folder / "afro.pt"), sizes.mapper)
    assert np.array_equal(read_weights("directions", folder / "fs3.npy")["relevance"], sizes.relevance)


def test_openai_s_archive_makes_the_same_clip(folder, sizes):
    model = build_clip(read_weights("clip", folder / "ViT-B-32.pt"))
    for name, value in sizes.clip.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=2e-3, atol=1e-4)  # stored in half precision


@pytest.mark.parametrize("write", [write_ada_pickle, write_tensorflow_pickle])
def test_nvidia_s_pickles_make_the_same_generator(write, tmp_path, sizes):
    path, average = tmp_path / "network.pkl", torch.randn(32)
    write(sizes.generator, average, path)
    state = read_weights("generator", path)
    assert torch.equal(state.pop("latent_avg"), average)
    w = torch.randn(2, 32)
    image = Generator.from_state_dict(state)(w)
    torch.testing.assert_close(image, Generator.from_state_dict(sizes.generator)(w), rtol=1e-4, atol=1e-4)


def test_the_published_keys_are_those_of_our_networks():
    assert {
        k.removeprefix("decoder.") for k in published_format("e4e_ffhq_encode.pt")["top_level"]["state_dict"]
    } >= set(published_format("stylegan2-ffhq-config-f.pt")["top_level"]["g_ema"])
    with torch.device("meta"):
        generator = Generator(1024)
    published = published_format("stylegan2-ffhq-config-f.pt")["top_level"]["g_ema"]
    assert {k: list(v.shape) for k, v in generator.state_dict().items()} == {k: v[0] for k, v in published.items()}


# What a stranger may send


class Payload:
    """Leaves a file behind when it is unpickled by a careless reader."""

    def __init__(self, trace) -> None:
        self.trace = trace

    def __reduce__(self):
        return os.system, (f"touch {self.trace}",)


class Hidden(Payload):
    """The same through a function that a lax list of names might allow."""

    def __reduce__(self):
        return eval, (f"open({str(self.trace)!r}, 'w')",)


@pytest.mark.parametrize("payload", [Payload, Hidden])
@pytest.mark.parametrize("kind", ["pkl", "pt", "old.pt"])
def test_a_pickle_that_runs_code_is_refused(payload, kind, tmp_path):
    trace, path = tmp_path / "trace", tmp_path / f"evil.{kind}"
    content = {"G_ema": payload(trace), "state_dict": {"mapper.x": payload(trace)}}
    if kind == "pkl":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "pt")
    for wanted in ("generator", "mapper"):
        with pytest.raises(UserError, match=r"evil.* tries to run code"):
            read_weights(wanted, path)
    assert not trace.exists()
    torch.load(path, weights_only=False) if kind == "pt" else None
    assert kind != "pt" or trace.exists()  # the payload is a real one


def test_code_inside_a_storage_of_a_pickle_is_refused(tmp_path):
    trace, path = tmp_path / "trace", tmp_path / "nested.pkl"

    class Nested:
        def __reduce__(self):
            return torch.storage._load_from_bytes, (pickle.dumps(Payload(trace)),)

    path.write_bytes(pickle.dumps({"G_ema": Nested()}))
    with pytest.raises(UserError, match=r"nested\.pkl"):
        read_weights("generator", path)
    assert not trace.exists()


class Forged:
    """Calls or changes what the reader looks up."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "forged",
    [
        Forged(np.ndarray, ((1,), "O", b"AAAAAAAA")),  # pointers of the sender's choice
        Forged(np.dtype, ("V8",), (3, "|", None, ("a",), {"a": (np.dtype("f4"), 4096)}, 8, 1, 63)),
        Forged(np.dtype, ("O",)),
    ],
)
def test_arrays_of_anything_but_numbers_are_refused(forged, tmp_path):
    path = tmp_path / "forged.pkl"
    path.write_bytes(pickle.dumps((None, None, forged)))
    with pytest.raises(UserError, match=r"forged\.pkl"):
        read_weights("generator", path)


def test_a_pickle_cannot_change_the_reader(tmp_path, sizes):
    path = tmp_path / "change.pkl"
    change = b"ctorch._utils\n_rebuild_tensor_v2\n(N}S'__defaults__'\n(I7\nI8\ntstb."
    path.write_bytes(b"\x80\x02" + change)
    with pytest.raises(UserError, match=r"change\.pkl tries to run code"):
        read_weights("generator", path)


def test_a_namespace_of_options_is_read_and_another_class_is_named(tmp_path):
    path = tmp_path / "x.pt"
    state = {"mapper.mapping.mapping.1.weight": torch.ones(1)}
    torch.save({"state_dict": state, "opts": argparse.Namespace(a=1)}, path)
    assert read_weights("mapper", path).keys() == {"mapping.mapping.1.weight"}
    torch.save({"state_dict": state, "opts": fractions.Fraction(1, 2)}, path)
    with pytest.raises(UserError, match=r"more than tensors, with the class fractions\.Fraction"):
        read_weights("mapper", path)


@pytest.mark.parametrize("name", ["w.pt", "w.pkl", "w.npy", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not a model", b"<html>sorry</html>", b"PK\3\4 cut"])
def test_a_damaged_file_is_named(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name} can't be read as weights"):
        read_weights("directions" if name == "w.npy" else "generator", tmp_path / name)
    with pytest.raises(UserError, match=r"file published\.pt "):
        read_weights("generator", tmp_path / name, "published.pt")


def test_a_file_of_another_kind_is_named(folder, tmp_path):
    with pytest.raises(UserError, match=r"afro\.pt holds no directions"):
        read_weights("directions", folder / "afro.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(UserError, match=r"list\.pt holds no generator"):
        read_weights("generator", tmp_path / "list.pt")


# Slim copies


def test_a_slim_copy_is_read_instead_and_remade_when_its_source_changes(tmp_path, sizes):
    path, checked = tmp_path / "afro.pt", []

    def write(value: float) -> None:
        state = {f"mapper.{k}": v + value for k, v in sizes.mapper.items()}
        torch.save({"state_dict": state | {"decoder.big": torch.zeros(10**6)}, "opts": {}}, path)

    def read():
        return read_slim("mapper", path, check=lambda: checked.append(1))

    write(0.0)
    assert same(read(), sizes.mapper)
    assert same(read(), sizes.mapper)
    assert len(checked) == 1
    write(1.0)
    os.utime(path, (1, 1))
    assert same(read(), {k: v + 1 for k, v in sizes.mapper.items()})
    assert len(checked) == 2


def test_tensors_that_share_memory_get_a_slim_copy(tmp_path, sizes, cache):
    """A file may have one filter under several names, and rows of one tensor."""
    both = torch.arange(8.0).reshape(2, 4)
    path, state = tmp_path / "afro.pt", sizes.mapper | {"mapping.a": both[0], "mapping.b": both[0], "mapping.c": both.T}
    torch.save(state, path)
    assert same(read_slim("mapper", path), state) and same(read_slim("mapper", path), state)
    assert list(cache.rglob("*.safetensors"))


def test_a_slim_copy_that_was_cut_off_is_remade(folder, sizes, cache):
    read_slim("mapper", folder / "afro.pt")
    (kept,) = cache.rglob("*.safetensors")
    kept.write_bytes(kept.read_bytes()[:100])
    assert same(read_slim("mapper", folder / "afro.pt"), sizes.mapper)


def test_what_an_ended_start_left_of_a_slim_copy_is_removed(folder, sizes, cache):
    read_slim("mapper", folder / "afro.pt")
    (kept,) = cache.rglob("*.safetensors")
    half = kept.rename(kept.with_name(f"{kept.name}.1-1.fresh"))
    assert same(read_slim("mapper", folder / "afro.pt"), sizes.mapper)
    assert kept.exists() and not half.exists()


def test_where_nothing_can_be_kept_the_file_itself_serves(folder, sizes, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipeline.models.weights.save_file", full)
    assert same(read_slim("mapper", folder / "afro.pt"), sizes.mapper)


def test_reading_warns_of_nothing(folder, sizes):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kind, name in (("generator", "e4e_ffhq_encode.pt"), ("clip", "ViT-B-32.pt"), ("mapper", "afro.pt")):
            read_weights(kind, folder / name)
