"""Hostile files of weights: nothing in them runs, wherever it hides, and none takes all memory or all time."""

import builtins
import importlib
import io
import os
import pickle
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.errors import UserError
from pipeline.weights import read_weights


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
            studio.family.own_mapper(path)
        assert not trace.exists(), path
    assert count == 300
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


def test_a_pickle_that_would_keep_the_server_is_not_read(studio, tmp_path):
    nested = b"\x80\x02" + b"]" * 3_000_000 + b"."
    (tmp_path / "x.pt").write_bytes(nested)
    with pytest.raises(UserError, match="no mapper for the model .*neither safetensors nor a file of PyTorch"):
        studio.family.own_mapper(tmp_path / "x.pt")
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("x/data.pkl", nested)
    with pytest.raises(UserError, match="no mapper for the model .*more than any network needs"):
        studio.family.own_mapper(tmp_path / "x.pt")
