"""Golden values of the reference implementation: weights by rule, inputs by seed (tests/golden/README.md)."""

import json
import math
import os
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

FOLDER = Path(__file__).parent / "golden"


@dataclass(frozen=True)
class Goldens:
    """A set of golden files. Another set is checked by naming its folder, SALT and the number added to every seed."""

    folder: Path = FOLDER
    salt: str = ""
    seed_offset: int = 0

    @classmethod
    def from_environment(cls) -> "Goldens":
        """The repository's set, or the one that GOLDEN_FOLDER, GOLDEN_SALT and GOLDEN_SEED_OFFSET name."""
        env = os.environ
        folder, salt = env.get("GOLDEN_FOLDER", FOLDER), env.get("GOLDEN_SALT", "")
        return cls(Path(folder), salt, int(env.get("GOLDEN_SEED_OFFSET", 0)))

    @cached_property
    def meta(self) -> dict:
        return json.loads((self.folder / "meta.json").read_text())

    def load(self, file: str) -> "GoldenFile":
        with np.load(self.folder / f"{file}.npz") as arrays:
            return GoldenFile(dict(arrays), self.meta.get(file, {}).get("fp32_minus_fp64_maxabs_and_fp64_maxabs", {}))

    def rng(self, seed: int) -> np.random.Generator:
        """R(k) of the README."""
        return np.random.default_rng(seed + self.seed_offset)

    def normal(self, seed: int, *shape: int) -> Tensor:
        """N(k, shape) of the README."""
        return torch.from_numpy(self.rng(seed).standard_normal(shape, dtype=np.float32))

    def fill(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """A state dict with the same names and shapes, and the README's values."""
        return {name: self.value(name, tensor) for name, tensor in state.items()}

    def value(self, name: str, tensor: Tensor) -> Tensor:
        """The README's table, first match wins."""
        shape, seg = tuple(tensor.shape), name.split(".")
        last = seg[-1]
        before = ["", "", "", "", *seg]  # so that seg[-4] exists
        if last in {"kernel", "num_batches_tracked"}:
            return tensor
        rng = np.random.default_rng(zlib.crc32((self.salt + name).encode()))
        n = torch.from_numpy(np.asarray(rng.standard_normal(shape, dtype=np.float32)))
        if last == "running_var":
            return n.abs() + 0.5
        if last == "running_mean":
            return 0.1 * n
        if last == "logit_scale":
            return torch.full(shape, 4.6052)
        if name == "latent_avg":
            return 0.5 * n
        if last in {"class_embedding", "positional_embedding"} or name.endswith("token_embedding.weight"):
            return 0.1 * n
        if last in {"proj", "text_projection"}:
            return n / math.sqrt(shape[0])
        if name.endswith("modulation.bias"):
            return 1 + 0.1 * n
        if name.endswith("noise.weight"):
            return 0.1 * n
        if before[-3] in {"style", "mapping"} and before[-2].isdigit():
            return (10 if last == "bias" else 100) * n
        if last in {"bias", "in_proj_bias"}:
            return 0.1 * n
        if name.endswith(("input_layer.2.weight", "res_layer.2.weight")):
            return 0.25 + 0.05 * n
        if name.startswith("noises.") or name == "input.input" or name.endswith("modulation.weight") or len(shape) == 5:
            return n
        if before[-4] == "styles" and before[-2] == "linear":
            return n
        if len(shape) == 1:
            return 1 + 0.1 * n
        return n / math.sqrt(math.prod(shape[1:]))


@dataclass(frozen=True)
class GoldenFile:
    """The arrays of one file with their tolerances."""

    arrays: dict[str, np.ndarray]
    errors: dict[str, tuple[float, float]]

    def __getitem__(self, key: str) -> Tensor:
        return torch.from_numpy(np.asarray(self.arrays[key]))

    def tolerance(self, key: str) -> float:
        """Ten times the reference's own float32 error, or ten units in the last place of its largest value."""
        error, largest = self.errors[key]
        return 10 * max(error, largest * 2**-23)

    def check(self, key: str, value: Tensor) -> None:
        """Raises AssertionError unless `value` has the shape of array `key` and is within its tolerance."""
        expected = self[key]
        assert value.shape == expected.shape, f"{key}: shape {tuple(value.shape)}, expected {tuple(expected.shape)}"
        difference = (value.detach().double() - expected.double()).abs().max().item()
        assert difference <= self.tolerance(key), f"{key}: off by {difference:.2e}, allowed {self.tolerance(key):.2e}"

    def check_image(self, name: str, image: Tensor) -> None:
        """Checks whichever of NAME_mean, _std, _val and _ds32 the file has, at least one."""
        summary = {
            "mean": image.mean((2, 3)),
            "std": image.std((2, 3), correction=0),
            "ds32": torch.nn.functional.adaptive_avg_pool2d(image, 32),
        }
        if f"{name}_idx" in self.arrays:
            summary["val"] = image.flatten()[self[f"{name}_idx"]]
        present = [part for part in summary if f"{name}_{part}" in self.arrays]
        assert present, f"no golden image {name}"
        for part in present:
            self.check(f"{name}_{part}", summary[part])
