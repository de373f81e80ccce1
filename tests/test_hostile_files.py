"""Hostile files of weights: nothing in them runs, wherever it hides, and none takes all memory or all time."""

import builtins
import fractions
import importlib
import io
import os
import pickle
import struct
import subprocess
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pipeline.errors import UserError
from pipeline.models.checkpoints import LONGEST_NAME
from pipeline.models.weights import read_weights


def touch(trace):
    """What a payload would do."""
    Path(trace).touch()


class Payload:
    """Calls a function with an argument when a careless reader opens it."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def payloads(trace):
    command = f"touch {trace}"
    yield Payload(os.system, command)
    yield Payload(eval, f"open({str(trace)!r}, 'w')")
    yield Payload(exec, f"open({str(trace)!r}, 'w')")
    yield Payload(open, str(trace), "w")
    yield Payload(subprocess.call, ["touch", str(trace)])
    yield Payload(touch, str(trace))
    yield Payload(builtins.getattr, Payload(importlib.import_module, "os"), "system")
    yield Payload(torch.save, torch.ones(1), str(trace))
    yield Payload(np.save, str(trace), np.ones(1))
    yield Payload(torch.load, str(trace))
    yield Payload(map, Payload(eval, f"open({str(trace)!r}, 'w')"), [1])
    yield Payload(os.open, str(trace), os.O_CREAT)


def places(payload, state):
    yield payload
    yield {"G_ema": payload}
    yield {"state_dict": {"mapper.mapping.mapping.1.weight": payload}}
    yield {"g_ema": state, "opts": payload}
    yield (None, None, payload)


def hostile_files(folder, trace, state):
    """Paths of all, written one after the other."""
    for number, payload in enumerate(payloads(trace)):
        for place, content in enumerate(places(payload, state)):
            made = [pickle.dumps(content, protocol) for protocol in (0, 2, 5)]
            for zipped in (True, False):
                file = io.BytesIO()
                torch.save(content, file, _use_new_zipfile_serialization=zipped)
                made.append(file.getvalue())
            file = io.BytesIO()
            torch.save(content, file, pickle_protocol=4)
            made.append(file.getvalue())
            for form, file in enumerate(made):
                suffix = ("pt", "pkl", "safetensors", "npy", "ckpt")[(number + place + form) % 5]
                path = folder / f"{number}-{place}-{form}.{suffix}"
                path.write_bytes(file)
                yield path


def test_nothing_that_a_hostile_file_names_is_run(studio, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trace, count = tmp_path / "trace", 0
    state = {"mapping.mapping.1.weight": torch.ones(2, 2)}
    for path in hostile_files(tmp_path, trace, state):
        count += 1
        for kind in ("generator", "mapper", "directions"):
            with pytest.raises(UserError, match=r"tries to run code|can't be read as weights"):
                read_weights(kind, path)
        with pytest.raises(UserError, match="no mapper for the model"):
            studio.family.mappers.load_own(path)
        assert not trace.exists(), path
    assert count == 360
    Payload(touch, str(trace)).call[0](str(trace))
    assert trace.exists()  # the payload is a real one


def test_tensors_that_are_larger_than_their_file_are_refused(tmp_path):
    torch.save({"mapper.mapping.mapping.1.weight": torch.ones(1).expand(10**6, 10**6)}, tmp_path / "x.pt")
    with pytest.raises(UserError, match="not in the file"):
        read_weights("mapper", tmp_path / "x.pt")
    torch.save({"mapper.mapping.mapping.1.weight": torch.zeros(1000, 1000)}, tmp_path / "y.pt")
    with (
        zipfile.ZipFile(tmp_path / "y.pt") as source,
        zipfile.ZipFile(tmp_path / "x.pt", "w", zipfile.ZIP_DEFLATED) as copy,
    ):
        for name in source.namelist():
            copy.writestr(name, source.read(name))
    with pytest.raises(UserError, match="compressed"):
        read_weights("mapper", tmp_path / "x.pt")


WEIGHT = "mapping.mapping.1.weight"


@pytest.mark.parametrize(
    "content",
    [
        {f"mapping.{i}": torch.ones(1).half().expand(4_000_000) for i in range(3)},
        {f"mapping.{i}": torch.ones(1).expand(4_000_000) for i in range(3)},
        dict.fromkeys((f"mapping.{i}" for i in range(200)), torch.zeros(100_000).half()),
        dict.fromkeys((f"mapping.{i}" for i in range(200)), np.zeros(100_000, np.float32)),
    ],
    ids=["expanded halves", "expanded", "one half", "one array"],
)
def test_tensors_that_are_larger_than_their_file_together_are_refused(content, tmp_path):
    torch.save({WEIGHT: torch.ones(1), **content}, tmp_path / "x.pt")
    with pytest.raises(UserError, match="not in the file"):
        read_weights("mapper", tmp_path / "x.pt")


@pytest.mark.parametrize("protocol", [2, 5])
def test_an_array_that_occurs_often_is_copied_for_no_place(protocol, tmp_path):
    array = np.ones(250_000, np.float32)
    (tmp_path / "x.pkl").write_bytes(pickle.dumps([{WEIGHT: array}, *[array] * 200], protocol))
    tracemalloc.start()
    try:
        assert read_weights("mapper", tmp_path / "x.pkl")[WEIGHT].sum() == 250_000
        assert tracemalloc.get_traced_memory()[1] < 20 * array.nbytes
    finally:
        tracemalloc.stop()


def test_names_without_end_are_refused(studio, tmp_path, monkeypatch):
    """They are matched with patterns, whose time may grow with the square of a name's length."""
    save_file({"." * (LONGEST_NAME + 1): torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(UserError, match="no mapper for the model .*more than 300 characters"):
        studio.family.mappers.load_own(tmp_path / "x.safetensors")
    monkeypatch.setattr("pipeline.models.checkpoints.MOST_TENSORS", 50)
    save_file({f"mapper_{i}.": torch.zeros(1) for i in range(51)}, tmp_path / "x.safetensors")
    with pytest.raises(UserError, match="no mapper for the model .*more than 50 tensors"):
        studio.family.mappers.load_own(tmp_path / "x.safetensors")
    torch.save({"a" * 200: [{"b" * 200: torch.zeros(1)}]}, tmp_path / "x.pt")
    with pytest.raises(UserError, match="no mapper for the model .*more than 300 characters"):
        studio.family.mappers.load_own(tmp_path / "x.pt")
    beside = {"a" * 400: ["words"], "losses": [np.float32(i) for i in range(60)]}  # of a training, and no harm
    torch.save({**beside, WEIGHT: torch.zeros(1)}, tmp_path / "x.pt")
    assert read_weights("mapper", tmp_path / "x.pt").keys() == {WEIGHT}


def archive_of(path, content, *records):
    """One of PyTorch's archives, with that for a pickle."""
    torch.save({"a": torch.zeros(4)}, path)
    with zipfile.ZipFile(path) as source:
        members = {name: source.read(name) for name in source.namelist()}
    with zipfile.ZipFile(path, "w") as copy:
        for name, own in members.items():
            copy.writestr(name, content if name.endswith("data.pkl") else own)
        for record in records:
            copy.writestr(f"{path.stem}/{record}", b"\x80\x02).")
    return path


def test_a_tuple_of_millions_of_parts_is_never_a_key(studio, tmp_path):
    """Each of its 24 levels holds the one below twice: a few bytes, and a hash that takes a step for every part."""
    content = b"\x80\x02}K\x01q\x00" + b"h\x00\x86q\x00" * 24 + b"Ns."
    with pytest.raises(UserError, match="no mapper for the model .*more than any network needs"):
        studio.family.mappers.load_own(archive_of(tmp_path / "x.pt", content))
    with pytest.raises(UserError, match="no mapper for the model .*more than any network needs"):
        studio.family.mappers.load_own(archive_of(tmp_path / "x.pt", content.replace(b"\x80\x02", b"\x80\x04")))


def test_thousands_of_tuples_are_never_keys(studio, tmp_path):
    """Tuples of numbers can be chosen so that all have one hash."""
    pairs = b"".join(b"J%bJ%b\x86N" % (n.to_bytes(4, "little"), bytes(4)) for n in range(2_000))
    for content in (b"\x80\x02}(" + pairs + b"u.", b"\x80\x04\x8f(" + pairs.replace(b"\x86N", b"\x86") + b"\x90."):
        with pytest.raises(UserError, match="no mapper for the model .*more than any network needs"):
            studio.family.mappers.load_own(archive_of(tmp_path / "x.pt", content))


def test_numbers_that_python_gives_one_place_are_never_keys(studio, tmp_path):
    """A dictionary of 60,000 numbers, all with the same hash: each is compared with all before it."""
    numbers = (((2**61 - 1) * n).to_bytes(11, "little") for n in range(1000, 61_000))
    content = b"\x80\x02}(" + b"".join(b"\x8a\x0b" + number + b"N" for number in numbers) + b"u."
    with pytest.raises(UserError, match="no mapper for the model .*more than any network needs"):
        studio.family.mappers.load_own(archive_of(tmp_path / "x.pt", content))


@pytest.mark.parametrize(
    ("pickled", "words"),
    [
        (b"cbuiltins\nbytearray\nJ\0\0\0\x20\x85R", r"the class builtins\.bytearray"),  # half a GiB of zeros
        (b"c_codecs\nencode\nX\x01\0\0\0aX\x08\0\0\0punycode\x86R", "so it was not opened"),
        (b"ctorch\nFloatTensor\nJ\0\0\0\x20\x85R", "not in the file"),
    ],
)
def test_no_memory_and_time_is_taken_for_what_a_file_only_names(pickled, words, tmp_path):
    content = b"\x80\x02}X%c\0\0\0%b%bs." % (len(WEIGHT), WEIGHT.encode(), pickled)
    with pytest.raises(UserError, match=words):
        read_weights("mapper", archive_of(tmp_path / "x.pt", content))


def test_modules_of_an_archive_are_looked_into_once(tmp_path):
    """TorchScript: of 16 levels each holds the one below twice, and the lowest a tensor."""

    def text(words):
        return b"X" + struct.pack("<I", len(words)) + words.encode()

    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"K\x04tQ"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00K\x04\x85K\x01\x85\x89}tR"
    module = b"c__torch__\nM\n)\x81"
    pickled = b"\x80\x02" + module + b"q\x00}" + text("t") + tensor + b"sb"
    for level in range(16):
        parts = b"".join(text(name) + b"h%cs" % level for name in "ab")
        pickled += module + b"q%c}" % (level + 1) + parts + b"b"
    pickled += module + b"}" + text("mapping") + b"h\x10s" + text(WEIGHT) + tensor + b"sb."
    state = read_weights("mapper", archive_of(tmp_path / "x.pt", pickled, "constants.pkl"))
    assert state.keys() == {WEIGHT, "mapping." + 16 * "a." + "t"}


def test_an_archive_whose_members_have_two_names_gets_a_sentence(tmp_path):
    """One in the directory of the zip, which PyTorch reads, and another before the content."""
    torch.save({WEIGHT: torch.zeros(1), "opts": fractions.Fraction(1, 2)}, tmp_path / "x.pt")
    content = (tmp_path / "x.pt").read_bytes()
    (tmp_path / "x.pt").write_bytes(content.replace(b"x/data.pkl", b"x/dota.pkl", 1))
    with pytest.raises(UserError, match=r"can't be read as weights: it holds .* the class fractions\.Fraction"):
        read_weights("mapper", tmp_path / "x.pt")


def test_a_pickle_that_would_keep_the_server_is_not_read(studio, tmp_path):
    nested = b"\x80\x02" + b"]" * 3_000_000 + b"."
    (tmp_path / "x.pt").write_bytes(nested)
    with pytest.raises(UserError, match="no mapper for the model .*neither safetensors nor a file of PyTorch"):
        studio.family.mappers.load_own(tmp_path / "x.pt")
    with pytest.raises(UserError, match="no mapper for the model .*more than any network needs"):
        studio.family.mappers.load_own(archive_of(tmp_path / "x.pt", nested))
    capitals = archive_of(tmp_path / "x.pt", nested).read_bytes().replace(b"data.pkl", b"DATA.PKL")
    (tmp_path / "x.pt").write_bytes(capitals)  # PyTorch's reader finds it all the same
    with pytest.raises(UserError, match="no mapper for the model .*more than any network needs"):
        studio.family.mappers.load_own(tmp_path / "x.pt")
