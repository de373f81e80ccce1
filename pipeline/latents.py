"""What is edited: a code in W+ and, after edits in StyleSpace, a step in S; and the generator's tuning for one face."""

import hashlib
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from pipeline.errors import UserError
from pipeline.networks.generator import Factors, StyleGenerator


@dataclass(frozen=True, eq=False)
class Tuning:
    """What pivotal tuning changed about the generator for one face, float32 on the CPU.

    `factors`, layer name -> (out, r) and (r, in * k * k), make the low-rank differences of the layers' weights.
    """

    factors: dict[str, Factors]

    def on(self, device: torch.device) -> dict[str, Factors]:
        """As `StyleGenerator.synthesize` takes it."""
        return {name: (left.to(device), right.to(device)) for name, (left, right) in self.factors.items()}

    def fits(self, generator: StyleGenerator) -> bool:
        """Whether it was made with a generator of these sizes."""
        weights = generator.tunable_weights() | generator.preview_weights()
        return all(
            name in weights
            and right.ndim == 2
            and left.shape == (len(weights[name]), len(right))
            and right.shape == (len(right), weights[name][0].numel())
            for name, (left, right) in self.factors.items()
        )

    def previews(self, generator: StyleGenerator) -> bool:
        """Whether small pictures of `StyleGenerator.working_size` show what was tuned, in the same colours."""
        return self.factors.keys() >= generator.preview_weights().keys()

    def scaled(self, share: float) -> "Tuning | None":
        """This share of it: itself at 1, None at 0."""
        if share in (0, 1):
            return self if share else None
        return Tuning({name: (share * left, right) for name, (left, right) in self.factors.items()})

    def tensors(self) -> dict[str, Tensor]:
        """All values: "LAYER.left" and "LAYER.right" -> tensor."""
        return {
            f"{name}.{side}": tensor
            for name, pair in sorted(self.factors.items())
            for side, tensor in zip(("left", "right"), pair, strict=True)
        }

    def digest(self) -> str:
        """SHA-256 of all values."""
        return _digest(self.tensors().values())


@dataclass(frozen=True, eq=False)
class Latent:
    """One face in the generator's terms, float32 on the CPU.

    `w_plus` is (1, L, D), one row per layer. `style_step` holds one (1, C_i) tensor per vector of StyleSpace S, or is
    None: the face is drawn from styles(w_plus) + style_step, so edits in W+ and edits in S follow one another in any
    order. `tuning` is None for the generator as it is.
    """

    w_plus: Tensor
    style_step: tuple[Tensor, ...] | None = None
    tuning: Tuning | None = None

    def __post_init__(self) -> None:
        for name, values in (("w_plus", self.w_plus), *(("style_step", step) for step in self.style_step or ())):
            if not isinstance(values, Tensor):
                raise TypeError(f"`{name}` holds tensors, not {type(values).__name__}.")
        if not isinstance(self.tuning, Tuning | None):
            raise TypeError(f"`tuning` is a Tuning, not {type(self.tuning).__name__}.")

    @property
    def space(self) -> str:
        """ "w+", or "s" when a step in StyleSpace is part of it."""
        return "w+" if self.style_step is None else "s"

    def styles(self, generator: StyleGenerator) -> list[Tensor]:
        """Its coordinates in StyleSpace S, on the generator's device: one (1, C_i) tensor per vector."""
        device = generator.device
        styles = generator.styles(self.w_plus.to(device))
        if self.style_step is None:
            return styles
        return [s + step.to(device) for s, step in zip(styles, self.style_step, strict=True)]

    def draw(self, generator: StyleGenerator, resolution: int | None = None) -> Tensor:
        """The face (1, 3, R, R) in [-1, 1], on the generator's device, see `StyleGenerator.synthesize`."""
        tuning = self.tuning and self.tuning.on(generator.device)
        return generator.synthesize(self.styles(generator), resolution, tuning)

    def working_size(self, generator: StyleGenerator) -> int:
        """The generator's `working_size`, or `size` where its small pictures don't show what was tuned."""
        return generator.working_size if self.tuning is None or self.tuning.previews(generator) else generator.size

    def fits(self, generator: StyleGenerator) -> bool:
        """Whether it was made with a generator of these sizes."""
        layers = generator.style_layers
        steps = [(1, layer.channels) for layer in layers]
        if self.w_plus.shape != (1, generator.num_rows, generator.style_dim):
            return False
        if self.style_step is not None and [tuple(s.shape) for s in self.style_step] != steps:
            return False
        return self.tuning is None or self.tuning.fits(generator)

    def towards(self, other: "Latent", share: float) -> "Latent":
        """The latent at `share` of the way to `other`: this one at 0, the other at 1, beyond them outside.

        Its tuning is that of both; where only one is tuned, its share of that. Raises UserError where the two are of
        different models, or tuned differently.
        """
        if not isinstance(other, Latent):
            raise TypeError(f"`other` is a latent, not {type(other).__name__}.")
        if not math.isfinite(share):
            raise UserError(f"`share` is a number, 0 for this latent and 1 for the other, not {share}.")
        steps = [[s.shape for s in latent.style_step] for latent in (self, other) if latent.style_step]
        if self.w_plus.shape != other.w_plus.shape or any(shapes != steps[0] for shapes in steps):
            raise UserError("These two latents were made with different models; please take two of the same model.")
        if not self.tuned_like(other):
            raise UserError("The generator was tuned differently for these two faces; please take two of one face.")
        step = None
        if steps:
            starts, ends = (
                latent.style_step or [torch.zeros_like(s) for s in self.style_step or other.style_step]
                for latent in (self, other)
            )
            step = tuple(_between(a, b, share) for a, b in zip(starts, ends, strict=True))
        w_plus = _between(self.w_plus, other.w_plus, share)
        tuning = self.tuning
        if tuning is None or other.tuning is None:
            tuning = tuning.scaled(1 - share) if tuning else other.tuning and other.tuning.scaled(share)
        return Latent(w_plus, step, tuning)

    def tuned_like(self, other: "Latent") -> bool:
        """Whether the two are tuned for one face, or one of them for none, as `towards` wants it."""
        one, two = self.tuning, other.tuning
        return one is None or two is None or one is two or one.digest() == two.digest()

    def moved(self, step: list[Tensor]) -> "Latent":
        """The latent a step in StyleSpace further, `step` being one (1, C_i) tensor per vector of S."""
        step = tuple(s.cpu() for s in step)
        if self.style_step is not None:
            step = tuple(a + b for a, b in zip(self.style_step, step, strict=True))
        return replace(self, style_step=step)

    def digest(self) -> str:
        """SHA-256 of all values, by which a recipe knows its source."""
        tuned = self.tuning.tensors().values() if self.tuning else ()
        return _digest((self.w_plus, *(self.style_step or ()), *tuned))

    def save(self, path: str | Path) -> None:
        """Writes a safetensors file: `w_plus`; if there is a step in S, `style_step.0`, `style_step.1`, ...; if there
        is a tuning, `tuning.LAYER.left` and `tuning.LAYER.right`."""
        tensors = {"w_plus": self.w_plus}
        tensors |= {f"style_step.{i}": s for i, s in enumerate(self.style_step or ())}
        tensors |= {f"tuning.{name}": t for name, t in (self.tuning.tensors() if self.tuning else {}).items()}
        if not isinstance(path, str | Path):
            raise TypeError(f"`path` is a path, not {type(path).__name__}.")
        try:
            save_file({k: v.contiguous() for k, v in tensors.items()}, path)
        except (SafetensorError, OSError) as error:
            raise UserError(f"No latent can be saved at {path} ({error}); please choose another place.") from error

    @classmethod
    def load(cls, file: str | Path | BinaryIO) -> "Latent":
        """Reads what `save` wrote, to the bit, from a path or an open file. Raises UserError for any other file, and
        where there is none."""
        if isinstance(file, str | Path) and not os.path.isfile(file):  # noqa: PTH113  # false for what can be no path
            raise UserError(f"There is no latent at {file}; please check the path.")
        if not isinstance(file, str | Path) and not hasattr(file, "read"):
            raise TypeError(f"`file` is a path or an open file, not {type(file).__name__}.")
        try:
            content = file.read() if hasattr(file, "read") else Path(file).read_bytes()
            tensors = load(content.encode() if isinstance(content, str) else content)
            if any(tensor.dtype != torch.float32 for tensor in tensors.values()):
                raise ValueError("not float32")
            w_plus = tensors.pop("w_plus")
            layers = sorted(k.removesuffix(".left") for k in tensors if k.startswith("tuning.") and k.endswith(".left"))
            factors = {
                name.removeprefix("tuning."): (tensors.pop(f"{name}.left"), tensors.pop(f"{name}.right"))
                for name in layers
            }
            step = tuple(tensors.pop(f"style_step.{i}") for i in range(len(tensors)))
        except (SafetensorError, KeyError, ValueError, OSError):
            raise UserError("This file holds no latent; please choose one that was saved by this studio.") from None
        return cls(w_plus, step or None, Tuning(factors) if factors else None)


def truncated(w: Tensor, average: Tensor, truncation: float) -> Tensor:
    """w (N, D) -> W+ (N, L, D), moved towards the mean latent `average` (L, D); with ψ `truncation` 1 it stays."""
    return average + truncation * (w[:, None] - average)


@torch.no_grad()
def sampled(generator: StyleGenerator, average: Tensor, seed: int, truncation: float) -> Latent:
    """The face of a seed, moved towards the mean latent `average` (L, D) by ψ `truncation`."""
    z = torch.randn(1, generator.style_dim, generator=torch.Generator().manual_seed(seed))
    return Latent(truncated(generator.mapping(z.to(generator.device)), average, truncation).cpu())


def _between(a: Tensor, b: Tensor, share: float) -> Tensor:
    """What both share is not copied: the strip of a visitor is full of latents that differ in a part."""
    return a if a is b else torch.lerp(a, b, share)


def _digest(tensors: Iterable[Tensor]) -> str:
    sha = hashlib.sha256()
    for tensor in tensors:
        sha.update(tensor.contiguous().numpy().tobytes())
    return sha.hexdigest()


def draw_together(generator: StyleGenerator, wanted: Sequence[tuple[Latent, int | None]]) -> list[Tensor]:
    """The faces (1, 3, R, R) of several latents, each at its resolution, as `Latent.draw` draws them: those of one
    resolution as a batch, which differs from one by one in the last bits only; tuned ones alone."""
    batches: dict[object, list[int]] = {}
    for index, (latent, resolution) in enumerate(wanted):
        batches.setdefault((index,) if latent.tuning else resolution, []).append(index)
    images: list[Tensor] = [torch.empty(0)] * len(wanted)
    for indices in batches.values():
        latents, resolution = [wanted[i][0] for i in indices], wanted[indices[0]][1]
        if len(latents) == 1:
            images[indices[0]] = latents[0].draw(generator, resolution)
            continue
        styles = zip(*(latent.styles(generator) for latent in latents), strict=True)
        batch = generator.synthesize([torch.cat(vectors) for vectors in styles], resolution)
        for index, image in zip(indices, batch.split(1), strict=True):
            images[index] = image
    return images
