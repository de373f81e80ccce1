"""A wheel like that of random-face, at a small width, and the plain arithmetic of the network in it."""

import hashlib
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

CHANNELS, STYLE_DIM, MLP = (16, 16, 8, 8), 12, 2
FILE = "random_face-1.0-py3-none-any.whl"

Constants = dict[str, np.ndarray]


def mapping_constants(rng: np.random.Generator) -> Constants:
    """Named and ordered as in the published file: scalars between the weights."""
    constants: Constants = {"eps": np.full((1, 1), 1e-8, np.float32)}
    for i in range(MLP):
        weight = rng.standard_normal((STYLE_DIM, STYLE_DIM), np.float32) / math.sqrt(STYLE_DIM)
        constants |= {f"{173 + 4 * i}": weight, f"slope{i}": np.full((1,), 0.2, np.float32)}
        constants[f"{174 + 4 * i}"] = 0.1 * rng.standard_normal(STYLE_DIM, np.float32)
    return constants


def synthesis_constants(rng: np.random.Generator) -> Constants:
    """Named as in the published file, which begins with the last layer."""

    def normal(*shape: int, scale: float = 1.0) -> np.ndarray:
        return scale * rng.standard_normal(shape, np.float32)

    def modulation(name: str, channels: int) -> Constants:
        bias = 1 + normal(1, channels, scale=0.3)
        return {f"{name}.modulation.weight": normal(channels, STYLE_DIM, scale=0.3), f"{name}.modulation.bias": bias}

    first, last = CHANNELS[0], len(CHANNELS) - 2
    constants = modulation("m.conv1.conv", first) | {"m.input.input": normal(1, first, 4, 4)}
    constants |= {"Mul_39_copy": normal(first, first, 3, 3), "1531": normal(1, 1, 4, 4, scale=0.3)}
    constants["m.conv1.bias"] = normal(1, first, 1, 1, scale=0.3)
    for i, (below, here) in enumerate(zip(CHANNELS, CHANNELS[1:], strict=False)):
        constants |= modulation(f"m.layers.{i}.up", below)
        for k, channels in ((1, below // 4), (2, here)):
            name = f"m.layers.{i}.conv{k}"
            constants |= modulation(f"{name}.conv", channels)
            constants[f"{name}.conv.weight_dw"] = normal(channels, 1, 1, 3, 3)
            constants[f"Mul_{100 * i + 33 * k + 73}_copy"] = normal(here, channels, 1, 1)
            constants[f"{1560 + 50 * i + k}"] = normal(1, 1, 8 * 2**i, 8 * 2**i, scale=0.3)
            constants[f"{name}.bias"] = normal(1, here, 1, 1, scale=0.3)
    constants |= modulation(f"m.layers.{last}.to_img.conv", CHANNELS[-1])
    constants[f"m.layers.{last}.to_img.conv.weight"] = normal(12, CHANNELS[-1], 1, 1)
    constants[f"m.layers.{last}.to_img.bias"] = normal(1, 12, 1, 1, scale=0.3)
    return dict(reversed(constants.items()))


def ir(constants: Mapping[str, np.ndarray]) -> tuple[bytes, bytes]:
    """Constants as OpenVINO keeps them: XML and bytes. There are others that are no weights."""
    layers, weights = [], b""
    for i, (name, value) in enumerate({"axis": np.zeros(1, np.int64), **constants}.items()):
        kind, shape = {"f": "f32", "i": "i64"}[value.dtype.kind], ", ".join(map(str, value.shape))
        layers.append(
            f'<layer id="{i}" name={quoteattr(name)} type="Const"><data element_type="{kind}" shape="{shape}" '
            f'offset="{len(weights)}" size="{value.nbytes}"/></layer>'
        )
        weights += value.tobytes()
    return f'<?xml version="1.0"?><net><layers>{"".join(layers)}</layers></net>'.encode(), weights


def members(seed: int = 0) -> tuple[dict[str, bytes], Constants, Constants]:
    """The files of a seeded wheel, and the constants of its mapping and synthesis network."""
    rng = np.random.default_rng(seed)
    mapping, synthesis = mapping_constants(rng), synthesis_constants(rng)
    files = {}
    for name, constants in (("Mapping", mapping), ("Synthesis", synthesis)):
        xml, weights = ir(constants)
        files |= {f"random_face/data/{name}Network.xml": xml, f"random_face/data/{name}Network.bin": weights}
    return files, mapping, synthesis


def write_wheel(folder: Path, files: Mapping[str, bytes]) -> tuple[Path, str]:
    """A wheel that pip takes, with these files in it, and its SHA-256."""
    about = "random_face-1.0.dist-info"
    path = folder / FILE
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: random-face\nVersion: 1.0\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def plain_mapping(constants: Constants, z: Tensor) -> Tensor:
    """z (N, D) -> w (N, D)."""
    w = z / (z.square().mean(1, keepdim=True) + 1e-8).sqrt()
    for i in range(MLP):
        weight, bias = (torch.from_numpy(constants[f"{n + 4 * i}"]) for n in (173, 174))
        w = F.leaky_relu(w @ weight.T + bias, 0.2) * math.sqrt(2)
    return w


def plain_image(constants: Constants, w: Tensor) -> Tensor:
    """w (N, D) -> images (N, 3, R, R): one operation after another, in the order of the published file."""
    c = {name: torch.from_numpy(value).to(w) for name, value in constants.items()}
    numbered = {int(name.split("_")[1]): value for name, value in c.items() if name.startswith("Mul_")}
    weights = [numbered[k] for k in sorted(numbered)]
    noises = sorted((v for name, v in c.items() if name.isdigit()), key=lambda v: v.shape[2])

    def style(name: str) -> Tensor:
        return (w @ c[f"{name}.modulation.weight"].T + c[f"{name}.modulation.bias"])[..., None, None]

    def convolution(x: Tensor, name: str, index: int) -> Tensor:
        x = x * style(f"{name}.conv") / math.sqrt(9 * x.shape[1])
        if index:
            x = F.conv2d(x, c[f"{name}.conv.weight_dw"].flatten(1, 2), padding=1, groups=x.shape[1])
        x = F.conv2d(x, weights[index], padding=0 if index else 1)
        return F.leaky_relu(x + noises[index] + c[f"{name}.bias"], 0.2)

    x = convolution(c["m.input.input"].expand(len(w), -1, -1, -1), "m.conv1", 0)
    for i in range(len(CHANNELS) - 1):
        x = plain_haar(x * style(f"m.layers.{i}.up"))
        x = convolution(x, f"m.layers.{i}.conv1", 2 * i + 1)
        x = convolution(x, f"m.layers.{i}.conv2", 2 * i + 2)
    name = f"m.layers.{len(CHANNELS) - 2}.to_img"
    x = x * style(f"{name}.conv") / math.sqrt(CHANNELS[-1])
    return plain_haar(F.conv2d(x, c[f"{name}.conv.weight"]) + c[f"{name}.bias"])


def plain_haar(bands: Tensor) -> Tensor:
    """(N, 4C, H, W), low bands first, the three high bands of a channel side by side -> (N, C, 2H, 2W)."""
    n, channels, h, w = bands.shape
    a, high = bands[:, : channels // 4], bands[:, channels // 4 :].view(n, channels // 4, 3, h, w)
    b, c, d = high.unbind(2)
    image = bands.new_empty(n, channels // 4, 2 * h, 2 * w)
    image[..., 0::2, 0::2], image[..., 0::2, 1::2] = (a + b + c + d) / 2, (a + b - c - d) / 2
    image[..., 1::2, 0::2], image[..., 1::2, 1::2] = (a - b + c - d) / 2, (a - b - c + d) / 2
    return image
