"""MobileStyleGAN out of a wheel that holds it as OpenVINO IR: XML that names constants, and a file of their bytes.

The wheel is opened as a zip and its files are read as data, within limits: it is never installed, and none of its code
is run.
"""

import re
import zipfile
import zlib
from math import prod
from pathlib import Path
from xml.parsers import expat

import numpy as np
import torch
from torch import Tensor

from pipeline.models.checkpoints import Unusable
from pipeline.networks.mobilestylegan import MobileGenerator

FOLDER = "random_face/data"
LARGEST = {".xml": 4 * 2**20, ".bin": 64 * 2**20}  # bytes of a member, ten and two times what was published
MOST_CONSTANTS = 10_000
MOST_DIMENSIONS = 8


def is_wheel(path: Path) -> bool:
    """Whether a file is a Python package, whatever it is called."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith(".dist-info/WHEEL") for name in archive.namelist())


def read_mobile_generator(wheel: Path) -> dict[str, Tensor]:
    """The state of `MobileGenerator` with its mean latent, from the wheel of random-face.

    Raises Unusable for another wheel, and for one that is damaged or larger than it should be.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            mapping, synthesis = (
                _constants(*(_member(archive, f"{FOLDER}/{name}Network{end}") for end in LARGEST))
                for name in ("Mapping", "Synthesis")
            )
        state = _mapping_state(mapping) | _synthesis_state(synthesis)
        state = {name: value.contiguous() for name, value in state.items()}
        return state | {"latent_avg": MobileGenerator.from_state_dict(state).mean_latent()}
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, expat.ExpatError) as error:
        raise Unusable(f"it is a damaged wheel ({error})") from error
    except (LookupError, ValueError, RuntimeError) as error:
        raise Unusable("it is no wheel with MobileStyleGAN in it, as random-face has it") from error


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    """The content of a file in a zip. Raises ValueError when it is larger than it may be, whatever the zip says."""
    largest = LARGEST[name[-4:]]
    with archive.open(name) as file:
        content = file.read(largest + 1)
    if len(content) > largest:
        raise ValueError(f"{name} is larger than {largest} bytes")
    return content


def _constants(xml: bytes, weights: bytes) -> dict[str, Tensor]:
    """The float32 constants of an IR by the names of their layers. XML with a document type, so with entities, is
    refused."""
    layers: list[tuple[str, dict[str, str]]] = []
    name: str | None = None

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal name
        if tag == "layer":
            name = attributes.get("name") if attributes.get("type") == "Const" else None
        elif tag == "data" and name is not None and attributes.get("element_type") == "f32":
            layers.append((name, attributes))

    def refuse(*_: object) -> None:
        raise ValueError("the XML declares a document type")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.StartDoctypeDeclHandler = start, refuse
    parser.Parse(xml, True)
    if len(layers) > MOST_CONSTANTS:
        raise ValueError(f"{len(layers)} constants")
    total = sum(int(attributes["size"]) for _, attributes in layers)
    if total > 2 * len(weights):  # a few may share bytes: in the published file equal scalars do
        raise ValueError(f"the constants have {total} bytes, and the file of weights {len(weights)}")
    found: dict[str, Tensor] = {}
    for name, attributes in layers:
        shape = [int(length) for length in attributes["shape"].split(",") if length.strip()]
        if len(shape) > MOST_DIMENSIONS:
            raise ValueError(f"constant {name} has {len(shape)} dimensions")
        offset, size = int(attributes["offset"]), int(attributes["size"])
        if min(shape, default=1) < 1 or 4 * prod(shape) != size or not 0 <= offset <= len(weights) - size:
            raise ValueError(f"constant {name} is not inside the file of weights")
        if name in found:
            raise ValueError(f"there are two constants {name}")
        found[name] = torch.from_numpy(np.frombuffer(weights, np.float32, prod(shape), offset).reshape(shape).copy())
    return found


def _mapping_state(constants: dict[str, Tensor]) -> dict[str, Tensor]:
    """The mapping network: its weights and biases stand in order, with their learning rate multiplied in."""
    weights, biases = (
        [value for value in constants.values() if value.ndim == dims and value.numel() > 1] for dims in (2, 1)
    )
    pairs = enumerate(zip(weights, biases, strict=True), 1)
    return {f"style.{i}.{part}": v for i, pair in pairs for part, v in zip(("weight", "bias"), pair, strict=True)}


def _synthesis_state(constants: dict[str, Tensor]) -> dict[str, Tensor]:
    """The synthesis network: our names, and bands and pixels in the order that the network wants."""
    copies = {int(m[1]): name for name in constants if (m := re.fullmatch(r"Mul_(\d+)_copy", name))}
    weights = [constants[copies[number]] for number in sorted(copies)]  # demodulated, so they lost their names
    noises = [v for v in constants.values() if v.ndim == 4 and v.shape[:2] == (1, 1) and v.shape[2] == v.shape[3] >= 4]
    noises.sort(key=lambda noise: noise.shape[2])
    blocks = 1 + max(int(m[1]) for name in constants if (m := re.match(r"m\.layers\.(\d+)\.", name)))
    convolutions = ["conv1", *(f"layers.{i}.conv{k}" for i in range(blocks) for k in (1, 2))]
    if not len(weights) == len(noises) == len(convolutions):
        raise ValueError(f"{len(weights)} weights and {len(noises)} noises of {len(convolutions)} convolutions")

    def modulation(ours: str, theirs: str) -> dict[str, Tensor]:
        own = {part: constants[f"m.{theirs}.modulation.{part}"] for part in ("weight", "bias")}
        return {f"{ours}.modulation.weight": own["weight"], f"{ours}.modulation.bias": own["bias"].flatten()}

    state = {"input": constants["m.input.input"]}
    for i, (theirs, weight, noise) in enumerate(zip(convolutions, weights, noises, strict=True)):
        ours = theirs.replace("layers", "blocks")
        state |= modulation(ours, f"{theirs}.conv")
        state |= {
            f"{ours}.weight": weight,
            f"{ours}.noise": noise,
            f"{ours}.bias": constants[f"m.{theirs}.bias"].flatten(),
        }
        if i:
            state[f"{ours}.depthwise"] = constants[f"m.{theirs}.conv.weight_dw"].flatten(1, 2)
    for i in range(blocks):
        before = f"blocks.{i - 1}.conv2" if i else "conv1"
        state |= modulation(f"blocks.{i}.up", f"layers.{i}.up")
        order = _band_order(len(state[f"{before}.bias"]))
        for name in (before, f"blocks.{i}.up.modulation"):
            for part in ("weight", "bias"):
                state[f"{name}.{part}"] = state[f"{name}.{part}"][order]
    last = f"layers.{blocks - 1}.to_img"
    state |= modulation("to_image", f"{last}.conv")
    weight, bias = constants[f"m.{last}.conv.weight"], constants[f"m.{last}.bias"].reshape(12, 1)
    return state | {
        "to_image.weight": _pixels(weight.flatten(1))[..., None, None],
        "to_image.bias": _pixels(bias)[:, 0],
    }


def _band_order(channels: int) -> Tensor:
    """Where the bands of `InverseHaar` stand in the file, which has the three high bands of a channel side by side."""
    c = torch.arange(channels // 4)
    return torch.cat([c, *(channels // 4 + 3 * c + k for k in range(3))])


def _pixels(bands: Tensor) -> Tensor:
    """Rows (12, ...) for the bands of three colours -> for their four pixels, as pixel_shuffle wants them."""
    signs = torch.tensor([[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]]) / 2  # (pixels, bands)
    colours = bands[_band_order(12)].unflatten(0, (4, 3)).transpose(0, 1)  # (3, bands, ...)
    return (signs @ colours).flatten(0, 1)
