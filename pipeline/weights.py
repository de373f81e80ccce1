"""Published files of weights, read safely and reduced to what is needed; and the slim copies kept of that.

Everything comes out under the names of the published PyTorch checkpoints. Nothing in a file is executed: files of
PyTorch are loaded with `weights_only`, other pickles by `unpickling`.
"""

import argparse
import glob
import logging
import os
import pickle
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from .downloads import asset
from .errors import UserError
from .networks.layers import part
from .unpickling import (
    Array,
    Record,
    RefusedPickle,
    is_torchscript,
    module_tensors,
    read_network_pickle,
    read_torchscript,
)

State = dict[str, Tensor]
FORMAT = "3"  # of the slim copies: another number remakes them all

log = logging.getLogger(__name__)


class OtherEncoder(ValueError):
    """An encoder that this studio can't use; the message goes on after the file's name."""


def read_weights(kind: str, path: Path, name: str = "") -> State:
    """The tensors of a file that a "generator", "encoder", "identity", "clip", "mapper", "directions" or
    "alignment" needs.

    A generator comes with `latent_avg`, (D,) or (L, D), where the file has it. Raises UserError for a file that is
    damaged, tries to run code, or holds something else; it names the file `name`, as it is called on this machine when
    empty.
    """
    name = name or path.name
    try:
        return _PICK[kind](_load(path))
    except OtherEncoder as error:
        raise UserError(f"The file {name} {error}; please name an e4e encoder.") from error
    except RefusedPickle as error:
        raise _refused(name) from error
    except pickle.UnpicklingError as error:  # what PyTorch's own reader says of names that it does not allow
        raise (_refused if "unsupported global" in str(error).lower() else _unreadable)(name) from error
    except (SafetensorError, EOFError, RuntimeError, ValueError, OSError, MemoryError) as error:
        raise _unreadable(name) from error
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise UserError(f"The file {name} holds no {kind} in a format that this studio knows.") from error


def _refused(name: str) -> UserError:
    return UserError(
        f"The file {name} tries to run code, which no file of weights needs, so it was not opened; please get it "
        "from its publisher."
    )


def _unreadable(name: str) -> UserError:
    return UserError(f"The file {name} can't be read as weights; please delete it and fetch it anew.")


def read_slim(
    kind: str, path: Path, expected: str = "", check: Callable[[], object] = lambda: None, name: str = ""
) -> State:
    """As `read_weights`, but from a slim copy where there is one: memory-mapped, so it is there at once.

    `check` is called before the file itself is read, to verify it against the checksums `expected`. Files that are slim
    already are not copied.
    """
    if path.suffix == ".safetensors":
        check()
        return read_weights(kind, path, name)

    def make() -> State:
        check()
        return read_weights(kind, path, name)

    about = path.resolve().stat()
    return remembered(f"{path.stem}-{kind}", f"{path.resolve()} {about.st_size} {about.st_mtime_ns} {expected}", make)


def remembered(name: str, stamp: str, make: Callable[[], State]) -> State:
    """What `make` returns, kept under `name` until `stamp` changes."""
    stamp = f"{FORMAT} {stamp}"
    kept = asset("slim") / f"{name}.safetensors"
    try:
        with safe_open(kept, "pt") as file:
            if (file.metadata() or {}).get("stamp") == stamp:
                return {k: file.get_tensor(k) for k in file.offset_keys()}  # of the file that was stamped so
    except (OSError, SafetensorError):
        pass  # not there yet, or cut off while it was written
    state = make()
    fresh = kept.with_name(f"{name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        for left in kept.parent.glob(f"{glob.escape(name)}.*.part"):  # by a start that was ended in the middle
            left.unlink(missing_ok=True)
        # In float32, as the networks hold them: so they can live in the mapped file.
        kept_state = {k: (v.float() if v.is_floating_point() else v).contiguous() for k, v in state.items()}
        save_file(kept_state, fresh, {"stamp": stamp})
        kept_state = load_file(fresh)  # mapped, and before another process may replace it
        fresh.replace(kept)
    except (OSError, SafetensorError) as error:
        log.warning("no slim copy of %s was kept, so the next start will be as slow: %s", name, error)
        fresh.unlink(missing_ok=True)
        return state
    return kept_state


def _load(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return load_file(path)
    if path.suffix == ".npy":
        return {"relevance": torch.from_numpy(np.lib.format.open_memmap(path, mode="r").astype(np.float32))}
    if path.suffix == ".pkl":
        return read_network_pickle(path)
    if is_torchscript(path):
        return read_torchscript(path)
    with torch.serialization.safe_globals([argparse.Namespace]):
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError as error:
            if "mmap can only be used" not in str(error):
                raise
            return torch.load(path, map_location="cpu", weights_only=True)  # the format from before PyTorch 1.6


def _state(content: Mapping[str, Any]) -> Mapping[str, Any]:
    return content.get("state_dict", content)


def _own(content: Mapping[str, Any], prefix: str) -> State:
    """The tensors under a prefix, or all where nothing has it."""
    state = {k: v for k, v in part(_state(content), prefix).items() if isinstance(v, Tensor)}
    if not state:
        raise KeyError(prefix)
    return state


def _generator(content: Any) -> State:
    if isinstance(content, tuple):  # TensorFlow's (G, D, Gs)
        return _from_tensorflow(content[2])
    if isinstance(content.get("G_ema"), Record):
        return _from_ada(module_tensors(content["G_ema"]))
    state = _own(content.get("g_ema", content), "decoder.")
    if isinstance(average := content.get("latent_avg"), Tensor):
        state["latent_avg"] = average
    return state


def _encoder(content: Mapping[str, Any]) -> State:
    """An encoder's tensors, and what else its options say: `absolute_rows` of a pSp encoder, whose rows don't count
    from row 0; `start` (L, D), what the rows are added to, where that isn't the generator's mean latent."""
    state, options = _own(content, "encoder."), content.get("opts") or {}
    options = options if isinstance(options, Mapping) else vars(options)
    kind = options.get("encoder_type", "Encoder4Editing")
    if kind not in ENCODERS:
        raise OtherEncoder(f"holds an encoder of the kind {kind}, which this studio doesn't know")
    if options.get("learn_in_w"):
        raise OtherEncoder("holds an encoder that was trained in W (learn_in_w), which this studio doesn't know")
    if (channels := state["input_layer.0.weight"].shape[1]) != 3:
        raise OtherEncoder(f"holds an encoder for pictures of {channels} channels, and photos have 3")
    rows = {k.split(".")[1] for k in state if k.startswith("styles.")}
    shape = len(rows), len(state["styles.0.linear.bias"])
    if ENCODERS[kind] == "pSp":
        state["absolute_rows"] = torch.tensor(True)
        if isinstance(average := content.get("latent_avg"), Tensor):
            state["start"] = average.expand(shape)
    if not options.get("start_from_latent_avg", True):
        state["start"] = torch.zeros(shape)
    return state


def _directions(content: Mapping[str, Tensor]) -> State:
    return {name: content[name] for name in ("relevance", "style_std") if name in content or name == "relevance"}


ENCODERS = {"Encoder4Editing": "e4e", "GradualStyleEncoder": "pSp", "GradientStyleEncoder": "pSp"}

_PICK: dict[str, Callable[[Any], State]] = {
    "generator": _generator,
    "encoder": _encoder,
    "identity": lambda content: _own(content, ""),
    "clip": lambda content: _own(content, ""),
    "mapper": lambda content: _own(content, "mapper."),
    "directions": _directions,
    "alignment": lambda content: _own(content, ""),
}


def _blocks(size: int) -> list[tuple[int, int | None, str, str]]:
    """For the styled convolutions from low to high: resolution, index among both of its block, our name, number."""
    rows = [(4, None, "conv1", "noise_0")]
    resolution, index = 8, 0
    while resolution <= size:
        for which in (0, 1):
            rows.append((resolution, which, f"convs.{index}", f"noise_{index + 1}"))
            index += 1
        resolution *= 2
    return rows


def _fir(state: State) -> None:
    """The filters, which NVIDIA's files do not name after our layers: they are always the same."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    kernel = torch.outer(taps, taps) / taps.sum() ** 2 * 4
    for name in [k.removesuffix(".conv.weight") for k in state if k.endswith(".conv.weight")]:
        if name.startswith("convs.") and int(name.split(".")[1]) % 2 == 0:
            state[f"{name}.conv.blur.kernel"] = kernel.clone()
        elif name.startswith("to_rgbs."):
            state[f"{name}.upsample.kernel"] = kernel.clone()


def _from_ada(theirs: Mapping[str, Tensor]) -> State:
    """stylegan2-ada-pytorch's names and shapes to ours."""
    depth = sum(k.startswith("mapping.fc") and k.endswith(".weight") for k in theirs)
    size = max(int(k.split(".")[1][1:]) for k in theirs if k.startswith("synthesis.b"))
    state = {f"style.{i + 1}.{k}": theirs[f"mapping.fc{i}.{k}"] for i in range(depth) for k in ("weight", "bias")}
    state["input.input"] = theirs["synthesis.b4.const"][None]
    for resolution, which, name, noise in _blocks(size):
        layer = f"synthesis.b{resolution}.conv{1 if which is None else which}"
        state |= {
            f"{name}.conv.weight": theirs[f"{layer}.weight"][None],
            f"{name}.conv.modulation.weight": theirs[f"{layer}.affine.weight"],
            f"{name}.conv.modulation.bias": theirs[f"{layer}.affine.bias"],
            f"{name}.noise.weight": theirs[f"{layer}.noise_strength"].reshape(1),
            f"{name}.activate.bias": theirs[f"{layer}.bias"],
            f"noises.{noise}": theirs[f"{layer}.noise_const"][None, None],
        }
        if which != 0:  # each block ends in a toRGB layer
            name = "to_rgb1" if which is None else f"to_rgbs.{resolution.bit_length() - 4}"
            layer = f"synthesis.b{resolution}.torgb"
            state |= {
                f"{name}.conv.weight": theirs[f"{layer}.weight"][None],
                f"{name}.conv.modulation.weight": theirs[f"{layer}.affine.weight"],
                f"{name}.conv.modulation.bias": theirs[f"{layer}.affine.bias"],
                f"{name}.bias": theirs[f"{layer}.bias"].reshape(1, 3, 1, 1),
            }
    _fir(state)
    return {k: v.float() for k, v in state.items()} | {"latent_avg": theirs["mapping.w_avg"].float()}


def _from_tensorflow(network: Record) -> State:
    """The names and shapes of NVIDIA's TensorFlow StyleGAN2 (config F) to ours."""
    own = dict(network.state["variables"])
    parts = {name: dict(child.state["variables"]) for name, child in network.state["components"].items()}
    mapping, synthesis = parts["mapping"], parts["synthesis"]

    def tensor(array: Any) -> Tensor:
        value = array.value if isinstance(array, Array) else array  # a variable without dimensions may be a scalar
        return torch.from_numpy(np.array(value, dtype=np.float32))

    def kernel(name: str, flip: bool = False) -> Tensor:
        weight = tensor(synthesis[f"{name}/weight"]).permute(3, 2, 0, 1)
        return (weight.flip(2, 3) if flip else weight)[None]

    def modulation(name: str) -> State:
        return {"weight": tensor(synthesis[f"{name}/mod_weight"]).T, "bias": tensor(synthesis[f"{name}/mod_bias"]) + 1}

    depth = sum(k.endswith("/weight") for k in mapping)
    size = max(int(k.split("x")[0]) for k in synthesis if k.endswith("ToRGB/weight"))
    state: State = {}
    for i in range(depth):
        state[f"style.{i + 1}.weight"] = tensor(mapping[f"Dense{i}/weight"]).T
        state[f"style.{i + 1}.bias"] = tensor(mapping[f"Dense{i}/bias"])
    state["input.input"] = tensor(synthesis["4x4/Const/const"])
    for resolution, which, name, noise in _blocks(size):
        layer = f"{resolution}x{resolution}/{ {None: 'Conv', 0: 'Conv0_up', 1: 'Conv1'}[which] }"
        state[f"{name}.conv.weight"] = kernel(layer, flip=which == 0)
        state |= {f"{name}.conv.modulation.{k}": v for k, v in modulation(layer).items()}
        state[f"{name}.noise.weight"] = tensor(synthesis[f"{layer}/noise_strength"]).reshape(1)
        state[f"{name}.activate.bias"] = tensor(synthesis[f"{layer}/bias"])
        state[f"noises.{noise}"] = tensor(synthesis[noise.replace("_", "")])
        if which != 0:
            name = "to_rgb1" if which is None else f"to_rgbs.{resolution.bit_length() - 4}"
            layer = f"{resolution}x{resolution}/ToRGB"
            state[f"{name}.conv.weight"] = kernel(layer)
            state |= {f"{name}.conv.modulation.{k}": v for k, v in modulation(layer).items()}
            state[f"{name}.bias"] = tensor(synthesis[f"{layer}/bias"]).reshape(1, 3, 1, 1)
    _fir(state)
    return state | {"latent_avg": tensor(own["dlatent_avg"])}
