"""Wheels from a package index: pip's own client, with a folder as the index, and wheels that mean harm."""

import importlib.util
import subprocess
import zipfile

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from pipeline import StyleCLIP
from pipeline.errors import UserError
from pipeline.models import downloads
from pipeline.models.downloads import fetch
from pipeline.models.registry import read_registry
from pipeline.models.sources import Source
from pipeline.models.weights import read_slim, read_weights
from tests.wheels import CHANNELS, FILE, ir, members, write_wheel

FILES, MAPPING, SYNTHESIS = members()
XML, BIN = "random_face/data/SynthesisNetwork.xml", "random_face/data/SynthesisNetwork.bin"


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder that pip takes for its package index, and an empty cache for what is fetched."""
    for name, folder in (("HF_HOME", "."), ("HF_HUB_CACHE", "hub"), ("HF_ASSETS_CACHE", "assets")):
        monkeypatch.setattr(constants, name, str(tmp_path / "cache" / folder))
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return folder


@pytest.fixture
def source(index) -> Source:
    path, sha256 = write_wheel(index, FILES)
    return Source(wheel="random-face", version="1.0", file=FILE, sha256=sha256, size=path.stat().st_size)


def left(source: Source) -> list[str]:
    """What is in the folder of downloads but locks."""
    return [path.name for path in source.download_path().parent.iterdir() if path.suffix != ".lock"]


def test_a_wheel_is_fetched_once_and_never_installed(source, index):
    heard = []
    path = fetch(source, lambda *told: heard.append(told))
    assert path.name.endswith(FILE) and zipfile.is_zipfile(path)
    assert heard and {name for name, _, _ in heard} == {FILE} and {total for _, _, total in heard} == {source.size}
    assert importlib.util.find_spec("random_face") is None
    (index / FILE).unlink()
    assert fetch(source) == path == source.here()


def test_without_an_index_there_is_one_sentence(source, index):
    (index / FILE).unlink()
    with pytest.raises(UserError, match="pip can't get random-face==1.0 from the package index"):
        fetch(source)
    assert left(source) == []


def test_a_wheel_with_another_checksum_is_removed(source):
    with pytest.raises(UserError, match="its checksum differs"):
        fetch(source.model_copy(update={"sha256": "0" * 64}))
    assert left(source) == []


def test_a_python_without_pip_is_told(source, tmp_path, monkeypatch):
    (tmp_path / "python").write_text("#!/bin/sh\necho No module named pip >&2; exit 1\n")
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    with pytest.raises(UserError, match="python -m ensurepip"):
        fetch(source)


def test_a_visitor_who_has_had_enough_stops_pip(source, monkeypatch):
    class Stopped(Exception):
        pass

    def stop(*_):
        raise Stopped

    begun = []
    popen = subprocess.Popen
    monkeypatch.setattr(
        "pipeline.models.wheels.subprocess.Popen", lambda *a, **k: begun.append(popen(*a, **k)) or begun[-1]
    )
    with pytest.raises(Stopped):
        fetch(source, stop)
    assert [pip.returncode for pip in begun] == [-9]
    assert left(source) == []
    assert fetch(source)


def test_where_nothing_can_be_written_it_is_told(source, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(downloads, "download_wheel", full)
    with pytest.raises(UserError, match="no room for"):
        fetch(source)


@pytest.mark.parametrize(
    "row",
    [
        {"wheel": "random-face", "file": FILE, "sha256": "0" * 64},
        {"wheel": "random-face", "version": "1.0", "file": FILE},
        {"wheel": "--index-url=http://x y", "version": "1.0", "file": FILE, "sha256": "0" * 64},
        {"wheel": "random-face @ http://x/y.whl", "version": "1.0", "file": FILE, "sha256": "0" * 64},
    ],
)
def test_a_row_names_a_package_its_version_and_its_checksum(row):
    with pytest.raises(ValueError, match="wheel"):
        Source(**row)


def test_its_weights_become_a_slim_copy(source, monkeypatch):
    path = fetch(source)
    state = read_slim("generator", path)
    assert state["latent_avg"].shape == (12,)
    monkeypatch.setattr("pipeline.models.weights.read_mobile_generator", lambda path: pytest.fail("it was read again"))
    assert all(torch.equal(state[name], value) for name, value in read_slim("generator", path).items())


def changed(**files: bytes) -> dict[str, bytes]:
    return {**FILES, **{{"xml": XML, "bin": BIN}[key]: value for key, value in files.items()}}


def without(name: str) -> bytes:
    return ir({key: value for key, value in SYNTHESIS.items() if key != name})[0]


def entities() -> bytes:
    declared = b'<!DOCTYPE net [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;">]>'
    return FILES[XML].replace(b"<net>", declared + b"<net>&b;")


def reshaped(name: str, shape: str) -> bytes:
    own = ", ".join(map(str, SYNTHESIS[name].shape)).encode()
    before, after = FILES[XML].split(b'name="%s"' % name.encode())
    return before + b'name="%s"' % name.encode() + after.replace(b'shape="%s"' % own, b'shape="%s"' % shape.encode(), 1)


def again(numbers: int, times: int) -> bytes:
    """The XML with constants that name the same bytes."""
    data = f'type="Const"><data element_type="f32" shape="{numbers}" offset="8" size="{4 * numbers}"/></layer>'
    layers = "".join(f'<layer name="again{i}" {data}' for i in range(times))
    return FILES[XML].replace(b"</layers>", layers.encode() + b"</layers>")


HOSTILE = {
    "a bomb of XML": lambda: changed(xml=FILES[XML] + b" " * 2**25),
    "a bomb of weights": lambda: changed(bin=bytes(2**28)),
    "weights cut short": lambda: changed(bin=FILES[BIN][:-4]),
    "no weights": lambda: {name: content for name, content in FILES.items() if name != BIN},
    "XML cut short": lambda: changed(xml=FILES[XML][:-30]),
    "entities": lambda: changed(xml=entities()),
    "entities in UTF-16": lambda: changed(
        xml=entities().decode().replace("?>", ' encoding="utf-16"?>').encode("utf-16")
    ),
    "no input": lambda: changed(xml=without("m.input.input")),
    "no weight of a convolution": lambda: changed(xml=without("Mul_106_copy")),
    "no layers at all": lambda: changed(xml=b"<net/>"),
    "a huge shape": lambda: changed(xml=reshaped("m.input.input", "1, 999999999999, 999999999999, 4")),
    "a negative shape": lambda: changed(xml=reshaped("m.input.input", "-1, -16, 4, 4")),
    "no number": lambda: changed(xml=reshaped("m.input.input", "1, x, 4, 4")),
    "another shape": lambda: changed(xml=reshaped("m.input.input", "1, 4, 8, 8")),
    "an offset outside": lambda: changed(xml=FILES[XML].replace(b'offset="8"', b'offset="99999999"')),
    "a negative offset": lambda: changed(xml=FILES[XML].replace(b'offset="8"', b'offset="-8"')),
    "the same name twice": lambda: changed(xml=FILES[XML].replace(b'name="1531"', b'name="m.input.input"')),
    "constants that overlap": lambda: changed(xml=again(len(FILES[BIN]) // 4 - 2, 2)),
    "too many constants": lambda: changed(
        xml=ir(SYNTHESIS | {f"c{i}": np.zeros((), np.float32) for i in range(10_001)})[0]
    ),
    "all in another folder": lambda: {f"../../{name}": content for name, content in FILES.items()},
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_wheel_gets_a_sentence(what, tmp_path):
    path, _ = write_wheel(tmp_path, HOSTILE[what]())
    with pytest.raises(
        UserError, match=r"^The file .*whl can't be read as weights: it is (a damaged|no) wheel"
    ) as told:
        read_weights("generator", path)
    assert "\n" not in str(told.value)
    assert [p.name for p in tmp_path.iterdir()] == [FILE]
    assert not (tmp_path.parent / "random_face").exists()


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\3\4 cut"])
def test_no_wheel_at_all_gets_a_sentence(content, tmp_path):
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(UserError, match="can't be read as weights"):
        read_weights("generator", tmp_path / FILE)


def test_constants_that_share_a_few_bytes_are_read(tmp_path):
    """As equal scalars do in the published wheel."""
    state = read_weights("generator", write_wheel(tmp_path, FILES)[0])
    shared = read_weights("generator", write_wheel(tmp_path, changed(xml=again(1, 50)))[0])
    assert all(torch.equal(shared[name], value) for name, value in state.items())


def test_a_wheel_under_another_name_is_read_for_a_generator_only(tmp_path, studio, monkeypatch):
    path = write_wheel(tmp_path, FILES)[0].rename(tmp_path / "mine.pt")
    state = read_weights("generator", path)
    assert "to_image.weight" in state
    save_file(state, tmp_path / "state.safetensors")
    with pytest.raises(UserError, match="holds no clip that can be used here: it is a MobileStyleGAN generator"):
        read_weights("clip", tmp_path / "state.safetensors")
    monkeypatch.setattr("pipeline.models.weights.read_mobile_generator", lambda path: pytest.fail("it was read"))
    with pytest.raises(UserError, match=r"mine\.pt can't be read as weights: it is a wheel.* reads generators only\."):
        read_weights("clip", path)
    with pytest.raises(UserError, match="no mapper for the model .*it is a wheel"):
        studio.family.mappers.load_own(path)


def test_a_family_draws_faces_from_a_wheel(source, index, tmp_path, seeded_registry):
    """Random faces, steps in W and in S: what a family can do that has no more than a generator and CLIP."""
    registry = tmp_path / "models.toml"
    registry.write_text(
        f"""
[families.small]
clip_normalize = false
[families.small.files]
generator = {{ wheel = "random-face", version = "1.0", file = "{FILE}", sha256 = "{source.sha256}" }}
clip = {{ path = "{seeded_registry.parent / "clip.safetensors"}" }}
"""
    )
    studio = StyleCLIP.from_pretrained("small", device="cpu", registry=registry, progress=lambda *_: None)
    one, two = studio.sample(1), studio.sample(2)
    assert one.w_plus.shape == (1, 1, 12)
    assert studio.image(one).size == (4 * 2 ** len(CHANNELS),) * 2
    assert studio.image(one.towards(two, 0.5)).tobytes() != studio.image(one).tobytes()
    edit = studio.direct(one, "a smiling face", "a face", channels=5)
    assert edit.channels == 5 and edit.image.tobytes() != studio.image(one).tobytes()
    step = list(studio.optimize(one, "a smiling face", steps=2))[-1]
    assert step.latent.w_plus.shape == (1, 1, 12)


def test_the_photo_family_tells_both_licences():
    row = read_registry()["photo"]
    assert "Apache-2.0" in row.licence and "NVIDIA Source Code License-NC" in row.licence
    assert "not for commercial use" in row.terms
