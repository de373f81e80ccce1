"""What is edited: a code in W+, and on top of it, after edits in StyleSpace, a step in S."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from .errors import UserError
from .networks.stylegan2 import Generator


@dataclass(frozen=True, eq=False)
class Latent:
    """One face in the generator's terms, float32 on the CPU.

    `w_plus` is (1, L, D), one row per layer. `style_step` holds one (1, C_i) tensor per vector of StyleSpace S, or is
    None: the face is drawn from styles(w_plus) + style_step, so edits in W+ and edits in S follow one another in any
    order.
    """

    w_plus: Tensor
    style_step: tuple[Tensor, ...] | None = None

    @property
    def space(self) -> str:
        """ "w+", or "s" when a step in StyleSpace is part of it."""
        return "w+" if self.style_step is None else "s"

    def styles(self, generator: Generator) -> list[Tensor]:
        """Its coordinates in StyleSpace S, on the generator's device: one (1, C_i) tensor per vector."""
        device = generator.input.input.device
        styles = generator.styles(self.w_plus.to(device))
        if self.style_step is None:
            return styles
        return [s + step.to(device) for s, step in zip(styles, self.style_step, strict=True)]

    def moved(self, step: list[Tensor]) -> "Latent":
        """The latent a step in StyleSpace further, `step` being one (1, C_i) tensor per vector of S."""
        step = tuple(s.cpu() for s in step)
        if self.style_step is not None:
            step = tuple(a + b for a, b in zip(self.style_step, step, strict=True))
        return Latent(self.w_plus, step)

    def digest(self) -> str:
        """SHA-256 of all values, by which a recipe knows its source."""
        sha = hashlib.sha256()
        for tensor in (self.w_plus, *(self.style_step or ())):
            sha.update(tensor.contiguous().numpy().tobytes())
        return sha.hexdigest()

    def save(self, path: str | Path) -> None:
        """Writes a safetensors file: `w_plus` and, if there is a step in S, `style_step.0`, `style_step.1`, ..."""
        tensors = {"w_plus": self.w_plus}
        tensors |= {f"style_step.{i}": s for i, s in enumerate(self.style_step or ())}
        save_file({k: v.contiguous() for k, v in tensors.items()}, path)

    @classmethod
    def load(cls, path: str | Path) -> "Latent":
        """Reads what `save` wrote, to the bit. Raises UserError for any other file."""
        try:
            tensors = load_file(path)
            w_plus = tensors.pop("w_plus")
            step = tuple(tensors.pop(f"style_step.{i}") for i in range(len(tensors)))
        except (SafetensorError, KeyError):
            raise UserError("This file holds no latent; please choose one that was saved by this studio.") from None
        return cls(w_plus, step or None)
