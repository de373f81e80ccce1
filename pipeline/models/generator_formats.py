"""The forms in which StyleGAN2 generators are published, made into the names and shapes of our network."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from pipeline.networks.stylegan2 import FirKernel

StateDict = dict[str, Tensor]


def whole_generator(state: StateDict, average: Tensor | None) -> StateDict:
    """A generator under our names, with filters and noise where its file has none, and with its mean latent.

    Raises ValueError, with the reason in words, for a generator of another form; KeyError for one with a layer less.
    """
    const, style_dim = state["input.input"], state["conv1.conv.modulation.weight"].shape[1]
    if const.shape[2:] != (4, 4):
        raise ValueError(f"its pictures are not square, or it begins at {const.shape[3]} × {const.shape[2]} pixels")
    if "style.1.weight" not in state:
        raise ValueError("its mapping network is missing")
    if (inputs := state["style.1.weight"].shape[1]) != style_dim:
        raise ValueError(f"its mapping network takes {inputs} numbers, and its W has {style_dim}")
    if (colours := state["to_rgb1.conv.weight"].shape[1]) != 3:
        raise ValueError(f"it draws {colours} channels instead of red, green and blue")
    size = 4 * 2 ** sum(bool(re.fullmatch(r"to_rgbs\.\d+\.bias", name)) for name in state)
    rng = torch.Generator().manual_seed(0)
    for resolution, _, name, noise in blocks(size):
        strength = state.setdefault(f"{name}.noise.weight", torch.zeros(1))
        shape = (1, 1, resolution, resolution)
        if f"noises.{noise}" not in state:  # drawn anew for every picture where it was trained, so any will do
            state[f"noises.{noise}"] = torch.randn(shape, generator=rng) * bool(strength)
        if (actual := tuple(state[f"noises.{noise}"].shape)) != shape:
            raise ValueError(f"its pictures are not square (noise of {actual} instead of {shape})")
    kernel = FirKernel().kernel
    for name in [k.removesuffix(".conv.weight") for k in state if k.endswith(".conv.weight")]:
        if name.startswith("convs.") and int(name.split(".")[1]) % 2 == 0:
            state.setdefault(f"{name}.conv.blur.kernel", kernel.clone())
        elif name.startswith("to_rgbs."):
            state.setdefault(f"{name}.upsample.kernel", kernel.clone())
    return state if average is None else state | {"latent_avg": _mean_latent(average, size, style_dim)}


def _mean_latent(average: Tensor, size: int, style_dim: int) -> Tensor:
    """(D,) or (L, D) of a mean latent in any shape with ones before."""
    shape, rows = tuple(average.shape), 2 * size.bit_length() - 4
    while average.ndim > 1 and len(average) == 1:
        average = average[0]
    if average.ndim > 2 or average.shape[-1:] != (style_dim,) or (average.ndim == 2 and len(average) < rows):
        raise ValueError(f"its mean latent has the shape {shape}, and it takes codes of {rows} × {style_dim}")
    if not average.isfinite().all():
        raise ValueError("its mean latent holds numbers that are none")
    return average


def blocks(size: int) -> list[tuple[int, int | None, str, str]]:
    """The styled convolutions from low to high: (resolution, 0 or 1 in its block or None at 4 × 4, name, noise)."""
    rows = [(4, None, "conv1", "noise_0")]
    resolution, index = 8, 0
    while resolution <= size:
        for which in (0, 1):
            rows.append((resolution, which, f"convs.{index}", f"noise_{index + 1}"))
            index += 1
        resolution *= 2
    return rows


def from_ada(published: Mapping[str, Tensor]) -> StateDict:
    """stylegan2-ada-pytorch's names and shapes to ours."""
    depth = sum(k.startswith("mapping.fc") and k.endswith(".weight") for k in published)
    size = max(int(m[1]) for k in published if (m := re.match(r"synthesis\.b(\d+)\.", k)))
    state = {f"style.{i + 1}.{k}": published[f"mapping.fc{i}.{k}"] for i in range(depth) for k in ("weight", "bias")}
    state["input.input"] = published["synthesis.b4.const"][None]
    for resolution, which, name, noise in blocks(size):
        layer = f"synthesis.b{resolution}.conv{1 if which is None else which}"
        state |= {
            f"{name}.conv.weight": published[f"{layer}.weight"][None],
            f"{name}.conv.modulation.weight": published[f"{layer}.affine.weight"],
            f"{name}.conv.modulation.bias": published[f"{layer}.affine.bias"],
            f"{name}.activate.bias": published[f"{layer}.bias"],
        }
        if f"{layer}.noise_strength" in published:  # else it was trained without noise
            state[f"{name}.noise.weight"] = published[f"{layer}.noise_strength"].reshape(1)
        if f"{layer}.noise_const" in published:
            state[f"noises.{noise}"] = published[f"{layer}.noise_const"][None, None]
        if which != 0:  # each block ends in a toRGB layer
            name = "to_rgb1" if which is None else f"to_rgbs.{resolution.bit_length() - 4}"
            layer = f"synthesis.b{resolution}.torgb"
            state |= {
                f"{name}.conv.weight": published[f"{layer}.weight"][None],
                f"{name}.conv.modulation.weight": published[f"{layer}.affine.weight"],
                f"{name}.conv.modulation.bias": published[f"{layer}.affine.bias"],
                f"{name}.bias": published[f"{layer}.bias"].reshape(1, -1, 1, 1),
            }
    return state


def from_tensorflow(published: Mapping[str, Tensor]) -> StateDict:
    """The names and shapes of NVIDIA's TensorFlow StyleGAN2 (config F) to ours."""

    def kernel(name: str, flip: bool = False) -> Tensor:
        weight = published[f"synthesis/{name}/weight"].permute(3, 2, 0, 1)
        return (weight.flip(2, 3) if flip else weight)[None]

    def modulated(name: str, layer: str) -> StateDict:
        return {
            f"{name}.conv.weight": kernel(layer, flip=layer.endswith("_up")),
            f"{name}.conv.modulation.weight": published[f"synthesis/{layer}/mod_weight"].T,
            f"{name}.conv.modulation.bias": published[f"synthesis/{layer}/mod_bias"] + 1,
        }

    depth = sum(bool(re.fullmatch(r"mapping/Dense\d+/weight", k)) for k in published)
    size = max(int(m[1]) for k in published if (m := re.match(r"synthesis/(\d+)x\d+/", k)))
    state: StateDict = {}
    for i in range(depth):
        state[f"style.{i + 1}.weight"] = published[f"mapping/Dense{i}/weight"].T
        state[f"style.{i + 1}.bias"] = published[f"mapping/Dense{i}/bias"]
    state["input.input"] = published["synthesis/4x4/Const/const"]
    for resolution, which, name, noise in blocks(size):
        layer = f"{resolution}x{resolution}/{ {None: 'Conv', 0: 'Conv0_up', 1: 'Conv1'}[which] }"
        state |= modulated(name, layer)
        state[f"{name}.activate.bias"] = published[f"synthesis/{layer}/bias"]
        state[f"{name}.noise.weight"] = published[f"synthesis/{layer}/noise_strength"].reshape(1)
        if (number := f"synthesis/{noise.replace('_', '')}") in published:
            state[f"noises.{noise}"] = published[number]
        if which != 0:
            name = "to_rgb1" if which is None else f"to_rgbs.{resolution.bit_length() - 4}"
            layer = f"{resolution}x{resolution}/ToRGB"
            state |= modulated(name, layer)
            state[f"{name}.bias"] = published[f"synthesis/{layer}/bias"].reshape(1, -1, 1, 1)
    return state
