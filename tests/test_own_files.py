"""A user's own files, in every form that people keep them in: read for what they are, or named in a sentence."""

import argparse
import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file

from pipeline import StyleCLIP
from pipeline.errors import UserError
from pipeline.models.weights import read_weights
from pipeline.networks.mapper import LevelsMapper, SingleMapper, StyleSpaceMapper
from pipeline.networks.stylegan2 import Generator
from pipeline.training.mapper import retitle
from tests.published import Sizes, ada_state, tensorflow_state, write_ada_pickle, write_tensorflow_pickle


@pytest.fixture(scope="module")
def sizes() -> Sizes:
    return Sizes(small=True)


@pytest.fixture(scope="module")
def drawn(sizes):
    """What the generator draws of a few codes."""
    return Generator.from_state_dict(sizes.generator)(codes())


def codes():
    return torch.randn(2, 32, generator=torch.Generator().manual_seed(3))


def picture(path):
    state = read_weights("generator", path)
    state.pop("latent_avg", None)
    assert all(value.dtype in (torch.float32, torch.int64) for value in state.values())
    return Generator.from_state_dict(state)(codes())


def under(prefix, state):
    return {f"{prefix}{name}": value for name, value in state.items()}


def other(state):
    return {name: value + 1 for name, value in state.items()}


FORMS = {
    "bare": lambda g: g,
    "g_ema": lambda g: {
        "g": other(g),
        "d": {"convs.0.0.weight": torch.ones(2)},
        "g_ema": g,
        "args": argparse.Namespace(a=1),
    },
    "decoder": lambda g: {"state_dict": under("decoder.", g), "opts": {"device": "cuda:0"}},
    "module": lambda g: under("module.", g),
    "generator": lambda g: {"generator": g},
    "generator.module": lambda g: {"state_dict": under("generator.module.", g), "epoch": 3},
    "params_ema": lambda g: {"params": other(g), "params_ema": g},
    "nested": lambda g: {"model": {"nets": [{"unused": torch.zeros(1)}, {"net_g_ema": under("module.", g)}]}},
    "lightning": lambda g: {"state_dict": under("model.generator_ema.", g) | under("model.generator.", other(g))},
    "ordered": lambda g: OrderedDict(sorted(g.items())),
    "numpy": lambda g: {"g_ema": g, "loss": np.float64(3.0), "mean": np.zeros(3)},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("ada", [False, True])
def test_a_generator_is_found_wherever_it_lies(form, ada, sizes, drawn, tmp_path):
    state = ada_state(sizes.generator, torch.zeros(32)) if ada else sizes.generator
    torch.save(FORMS[form](state), tmp_path / "mine.pt")
    torch.testing.assert_close(picture(tmp_path / "mine.pt"), drawn, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("suffix", ["pt", "pth", "pkl", "safetensors", "bin", "npy", ""])
def test_what_a_file_is_called_makes_no_difference(suffix, sizes, drawn, tmp_path):
    path = tmp_path / f"mine.{suffix}"
    for form in (
        "rosinality",
        "ada",
        "tensorflow",
        "pickle",
        "tensorflow pickle",
        "legacy",
        "safetensors",
        "protocol 5",
        "archive of protocol 4",
        "archive of protocol 5",
    ):
        if form == "rosinality":
            torch.save(sizes.generator, path)
        elif form == "ada":
            torch.save(ada_state(sizes.generator, torch.zeros(32)), path)
        elif form == "tensorflow":
            torch.save(tensorflow_state(sizes.generator, torch.zeros(32)), path)
        elif form == "pickle":
            write_ada_pickle(sizes.generator, torch.zeros(32), path)
        elif form == "tensorflow pickle":
            write_tensorflow_pickle(sizes.generator, torch.zeros(32), path)
        elif form == "legacy":
            torch.save({"g_ema": sizes.generator}, path, _use_new_zipfile_serialization=False)
        elif form.startswith("archive"):
            torch.save({"g_ema": sizes.generator}, path, pickle_protocol=int(form[-1]))
        elif form == "protocol 5":
            arrays = {name: value.numpy() for name, value in ada_state(sizes.generator, torch.zeros(32)).items()}
            path.write_bytes(pickle.dumps({"G_ema": arrays}, 5))
        else:
            save_file(ada_state(sizes.generator, torch.zeros(32)), path)
        torch.testing.assert_close(picture(path), drawn, rtol=1e-4, atol=1e-4, msg=form)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_precision_is_read(dtype, sizes, drawn, tmp_path):
    for number, state in enumerate((sizes.generator, ada_state(sizes.generator, torch.zeros(32)))):
        torch.save({k: v.to(dtype) for k, v in state.items()}, tmp_path / f"{number}.pt")
        close = 1e-4 if dtype == torch.float64 else 0.2
        torch.testing.assert_close(picture(tmp_path / f"{number}.pt"), drawn, rtol=close, atol=close)


def on_cuda(file: bytes) -> bytes:
    """A file as PyTorch writes it of tensors on a GPU."""
    if not file.startswith(b"PK"):
        return file.replace(b"X\x03\0\0\0cpu", b"X\x06\0\0\0cuda:0")
    there = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(file)) as source, zipfile.ZipFile(there, "w") as copy:
        for name in source.namelist():
            content = source.read(name)
            copy.writestr(name, on_cuda(content) if name.endswith("data.pkl") else content)
    return there.getvalue()


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_saved_on_a_gpu_are_read_without_one(zipped, sizes, drawn, tmp_path):
    file = io.BytesIO()
    torch.save({"g_ema": sizes.generator}, file, _use_new_zipfile_serialization=zipped)
    content = on_cuda(file.getvalue())
    assert content != file.getvalue()
    (tmp_path / "gpu.pt").write_bytes(content)
    torch.testing.assert_close(picture(tmp_path / "gpu.pt"), drawn)


def test_an_nvidia_pickle_saved_on_a_gpu_is_read_without_one(sizes, drawn, tmp_path, monkeypatch):
    write, kept = torch.save, []

    def gpu(value, file, **options):
        inner = io.BytesIO()
        write(value, inner, **options)
        kept.append(on_cuda(inner.getvalue()))
        file.write(kept[-1])

    monkeypatch.setattr(torch, "save", gpu)  # with which a tensor that is pickled writes itself
    write_ada_pickle(sizes.generator, torch.zeros(32), tmp_path / "gpu.pkl")
    assert kept and b"cuda:0" in kept[0]
    torch.testing.assert_close(picture(tmp_path / "gpu.pkl"), drawn, rtol=1e-4, atol=1e-4)


def test_filters_and_noise_that_a_file_leaves_out_are_filled_in(sizes, drawn, tmp_path):
    state = {k: v for k, v in sizes.generator.items() if not k.endswith("kernel")}
    torch.save(state, tmp_path / "mine.pt")
    torch.testing.assert_close(picture(tmp_path / "mine.pt"), drawn)
    torch.save({k: v for k, v in state.items() if not k.startswith("noises.")}, tmp_path / "mine.pt")
    again = picture(tmp_path / "mine.pt")
    assert again.isfinite().all() and torch.equal(again, picture(tmp_path / "mine.pt"))  # as noisy, and fixed
    silent = {k: v * 0 if k.endswith("noise.weight") else v for k, v in sizes.generator.items()}
    torch.save({k: v for k, v in silent.items() if not k.startswith("noises.")}, tmp_path / "mine.pt")
    torch.testing.assert_close(picture(tmp_path / "mine.pt"), Generator.from_state_dict(silent)(codes()))


@pytest.mark.parametrize("shape", [(32,), (1, 32), (1, 1, 32), (10, 32), (1, 10, 32), (18, 32), None])
def test_the_mean_latent_may_have_any_shape_or_be_missing(shape, sizes, seeded_registry, tmp_path):
    content = {"g_ema": sizes.generator}
    if shape:
        mean = torch.randn(32, generator=torch.Generator().manual_seed(1))
        content["latent_avg"] = mean.expand(shape)
    torch.save(content, tmp_path / "mine.pt")
    files = {"generator": tmp_path / "mine.pt", "clip": seeded_registry.parent / "clip.safetensors"}
    studio = StyleCLIP.from_pretrained("custom", device="cpu", files=files)
    mean = mean if shape else Generator.from_state_dict(sizes.generator).mean_latent()
    assert torch.equal(studio.sample(1, truncation=0).w_plus, mean.expand(1, 10, 32))


def test_a_mean_latent_of_another_model_is_named(sizes, tmp_path):
    for mean, words in (
        (torch.zeros(16), r"\(16,\)"),
        (torch.zeros(4, 32), r"\(4, 32\)"),
        (torch.full((32,), torch.nan), "none"),
    ):
        torch.save({"g_ema": sizes.generator, "latent_avg": mean}, tmp_path / "mine.pt")
        with pytest.raises(UserError, match=rf"mine\.pt holds no generator .*mean latent .*{words}"):
            read_weights("generator", tmp_path / "mine.pt")


class Whole(torch.nn.Module):
    """Somebody's own module, which they pickle with its class."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 2)


def unusable(sizes):
    """Name -> sound content that can't be used as a generator, and the words that say why."""
    ada = ada_state(sizes.generator, torch.zeros(32))
    tensorflow = tensorflow_state(sizes.generator, torch.zeros(32))
    wide = {k: v[..., :-1] if k.startswith("noises.") else v for k, v in sizes.generator.items()}
    return {
        "stylegan3": (
            {"G_ema": {"synthesis.input.freqs": torch.ones(3, 2), "mapping.fc0.weight": torch.ones(2, 2)}},
            "StyleGAN3",
        ),
        "stylegan1": ({"generator.progression.0.conv1.conv.weight": torch.ones(2)}, "StyleGAN1"),
        "stylegan1 tf": (tensorflow | {"G_synthesis/4x4/Const/StyleMod/weight": torch.ones(2)}, "StyleGAN1"),
        "conditional": (ada | {"mapping.embed.weight": torch.ones(32, 10)}, "class-conditional"),
        "conditional tf": (tensorflow | {"G_mapping/LabelConcat/weight": torch.ones(2)}, "class-conditional"),
        "not square": (wide, "not square"),
        "wide start": (sizes.generator | {"input.input": torch.ones(1, 16, 4, 8)}, "not square"),
        "rgba": (sizes.generator | {"to_rgb1.conv.weight": torch.ones(1, 4, 16, 1, 1)}, "4 channels"),
        "resnet": ({k: v for k, v in ada.items() if ".b8.torgb." not in k}, r"b8\.torgb\.weight is missing"),
        "wider z": (ada | {"mapping.fc0.weight": torch.ones(32, 64)}, "takes 64 numbers, and its W has 32"),
        "no mapping": (
            {k: v for k, v in sizes.generator.items() if not k.startswith("style.")},
            "mapping network is missing",
        ),
        "encoder": ({"state_dict": under("encoder.", sizes.encoder)}, "an encoder"),
        "identity": (sizes.identity, "an identity network"),
        "mapper": ({"state_dict": under("mapper.", sizes.mapper)}, "a latent mapper"),
        "clip": (sizes.clip.state_dict(), "a CLIP"),
        "hugging face": ({"text_model.embeddings.position_ids": torch.ones(2)}, "Hugging Face"),
        "latent": ({"w_plus": torch.ones(1, 10, 32)}, "a latent"),
        "another": ({"conv1.weight": torch.ones(64, 3, 7, 7), "fc.bias": torch.ones(1000)}, "does not know"),
        "nothing": ({"epoch": 3}, "no tensors"),
        "complex": ({k: v.to(torch.complex64) for k, v in sizes.generator.items()}, "complex"),
        "quantised": (
            sizes.generator | {"input.input": torch.quantize_per_tensor(torch.ones(1, 16, 4, 4), 0.1, 0, torch.qint8)},
            "quantised",
        ),
        "whole module": (Whole(), r"a module pickled whole, with the class \S*test_own_files\.Whole"),
        "whole sequence": (torch.nn.Sequential(torch.nn.Linear(2, 2)), "a module pickled whole"),
        "arrays": ({"g_ema": {k: v.numpy() for k, v in sizes.generator.items()}}, r"the class numpy\.\S*_reconstruct"),
        "a path": ({"g_ema": sizes.generator, "opts": Path("a")}, r"the class pathlib\.\w*Path"),
    }


def test_what_can_t_be_used_is_named_and_never_to_be_deleted(sizes, tmp_path):
    path = tmp_path / "theirs.pt"
    for name, (content, words) in unusable(sizes).items():
        torch.save(content, path, _use_new_zipfile_serialization=name != "arrays")
        with pytest.raises(UserError, match=rf"^The file theirs\.pt .*{words}") as told:
            read_weights("generator", path)
        assert not any(word in str(told.value) for word in ("delete", "anew", "run code")), name
        assert str(told.value).endswith(".") and "\n" not in str(told.value)


def test_pickles_of_nvidia_that_are_no_stylegan2_are_named(sizes, tmp_path):
    path = tmp_path / "network.pkl"
    ada = ada_state(sizes.generator, torch.zeros(32))
    for extra, words in (
        ({"mapping.embed.weight": torch.ones(32, 10)}, "class-conditional"),
        ({"synthesis.input.freqs": torch.ones(3, 2)}, "StyleGAN3"),
    ):
        states = ada | extra if "class" in words else extra
        write_ada_pickle(sizes.generator, torch.zeros(32), path, states)
        with pytest.raises(UserError, match=rf"^The file network\.pkl holds no generator .*{words}"):
            read_weights("generator", path)
    write_tensorflow_pickle(
        sizes.generator, torch.zeros(32), path, {"synthesis/4x4/Const/StyleMod/weight": torch.ones(2)}
    )
    with pytest.raises(UserError, match="StyleGAN1"):
        read_weights("generator", path)


@pytest.mark.parametrize("kept", [0.0, 0.2, 0.7, 0.999])
def test_only_what_is_cut_off_is_to_be_fetched_anew(kept, sizes, tmp_path):
    path = tmp_path / "cut"
    torch.save(sizes.generator, path)
    whole = [path.read_bytes(), save(ada_state(sizes.generator, torch.zeros(32)))]
    torch.save(sizes.generator, path, _use_new_zipfile_serialization=False)
    whole.append(path.read_bytes())
    write_ada_pickle(sizes.generator, torch.zeros(32), path)
    whole.append(path.read_bytes())
    for content in whole:
        path.write_bytes(content[: int(kept * len(content))])
        with pytest.raises(
            UserError, match=r"file cut can't be read as weights: it is (cut off|empty); .* fetch it anew"
        ):
            read_weights("generator", path)


def test_a_web_page_and_a_text_are_told_apart(tmp_path):
    for content, words in (
        (b"\n<!DOCTYPE html><html>", "a web page.* anew"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 9\n", "a pointer of Git LFS"),
        (b"hello, this is a text", "no format"),
        (b'{"a": [1, 2, 3]}', "no format"),
    ):
        (tmp_path / "x.pt").write_bytes(content)
        with pytest.raises(UserError, match=words):
            read_weights("generator", tmp_path / "x.pt")
    with pytest.raises(UserError, match=r"gone\.pt can't be read as weights: it can't be opened"):
        read_weights("generator", tmp_path / "gone.pt")


# Other networks of a family


def test_networks_are_found_under_their_prefixes(sizes, tmp_path):
    path = tmp_path / "x.pt"
    for kind, state in (("encoder", sizes.encoder), ("identity", sizes.identity), ("mapper", sizes.mapper)):
        for content in (state, {"state_dict": under("module.", state)}, {"model": under("net.encoder.", state)}):
            torch.save(content, path)
            assert read_weights(kind, path).keys() == state.keys()
    with pytest.raises(UserError, match=r"x\.pt holds no clip .*a latent mapper"):
        read_weights("clip", path)


def custom(tmp_path, seeded_registry, **files):
    usual = {kind: seeded_registry.parent / f"{kind}.safetensors" for kind in ("generator", "clip")}
    return StyleCLIP.from_pretrained("custom", device="cpu", files=usual | files)


def test_networks_of_other_sizes_are_named(sizes, seeded_registry, tmp_path):
    few = {k: v for k, v in sizes.encoder.items() if not k.startswith("styles.9.")}
    save_file(few, tmp_path / "few.safetensors")
    with pytest.raises(UserError, match=r"few\.safetensors is for another generator: it finds 9 rows of 32"):
        custom(tmp_path, seeded_registry, encoder=tmp_path / "few.safetensors")
    np.save(tmp_path / "fs3.npy", np.ones((20, 512), np.float32))
    with pytest.raises(
        UserError, match=r"fs3\.npy was not measured with this generator and CLIP: its size is \(20, 512\)"
    ):
        custom(tmp_path, seeded_registry, directions=tmp_path / "fs3.npy")
    lacking = {k: v for k, v in sizes.generator.items() if k != "convs.1.activate.bias"}
    torch.save(lacking, tmp_path / "mine.pt")
    with pytest.raises(UserError, match=r"mine\.pt .*\(missing convs\.1\.activate\.bias\)"):
        custom(tmp_path, seeded_registry, generator=tmp_path / "mine.pt")


# Mappers


MAPPERS = {
    "levels": lambda: LevelsMapper(32, ("course", "medium")).state_dict(),
    "single": lambda: SingleMapper(32).state_dict(),
    "stylespace": lambda: StyleSpaceMapper({0: 16, 2: 16}).state_dict(),
}
MAPPER_FORMS = {
    "bare": lambda m: m,
    "prefix": lambda m: under("mapper.", m),
    "published": lambda m: {"state_dict": under("mapper.", m), "opts": argparse.Namespace(description="hat")},
    "with decoder": lambda m: {"state_dict": under("mapper.", m) | {"decoder.x": torch.zeros(9)}, "opts": {}},
    "half": lambda m: {"state_dict": under("module.mapper.", {k: v.half() for k, v in m.items()})},
}


@pytest.mark.parametrize("variant", MAPPERS)
@pytest.mark.parametrize("form", MAPPER_FORMS)
def test_a_mapper_is_applied_in_whatever_form_it_comes(variant, form, studio, tmp_path):
    state = MAPPERS[variant]()
    content, latent = MAPPER_FORMS[form](state), studio.sample(2)
    torch.save(content, tmp_path / "hat.pt")
    edit = studio.map(latent, tmp_path / "hat.pt")
    assert edit.recipe["parameters"]["mapper"] == "hat"
    assert edit.image.tobytes() != studio.image(latent).tobytes()
    if form in ("bare", "prefix"):
        save_file(content, tmp_path / "hat.safetensors")
        assert studio.map(latent, tmp_path / "hat.safetensors").latent.digest() == edit.latent.digest()
    retitle(tmp_path / "hat.pt", tmp_path / "mine.safetensors", "A hat")  # as the page keeps it
    again = studio.map(latent, tmp_path / "mine.safetensors")
    assert again.latent.digest() == edit.latent.digest() and again.recipe["parameters"]["mapper"] == "A hat"


def test_a_mapper_of_the_registry_that_does_not_fit_is_named(seeded_registry, tmp_path):
    rows = seeded_registry.read_text().replace('path = "', f'path = "{seeded_registry.parent}/')
    torch.save({"state_dict": under("mapper.", SingleMapper(16).state_dict())}, tmp_path / "narrow.pt")
    (tmp_path / "models.toml").write_text(rows + '\n[families.seeded.mappers.narrow]\npath = "narrow.pt"\n')
    studio = StyleCLIP.from_pretrained("seeded", device="cpu", registry=tmp_path / "models.toml")
    with pytest.raises(UserError, match=r"narrow\.pt holds no mapper for the model “Random weights”"):
        studio.map(studio.sample(0), "narrow")


def test_what_is_no_mapper_says_what_it_is(studio, sizes, tmp_path):
    torch.save({"g_ema": sizes.generator}, tmp_path / "x.pt")
    with pytest.raises(UserError, match=r"no mapper for the model .*a StyleGAN2 generator.*; please choose"):
        studio.map(studio.sample(0), tmp_path / "x.pt")
