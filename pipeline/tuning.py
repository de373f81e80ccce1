"""Low-rank differences of a generator's weights: what tuning learned of one face, or StyleGAN-NADA of a style."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import UserError
from pipeline.networks.generator import Factors, StyleGenerator

MOST_RANK = 32  # of a difference: those that are learned have 8, and two that are mixed the sum of theirs


@dataclass(frozen=True, eq=False)
class Tuning:
    """Low-rank differences of some layers' weights, float32 on the CPU.

    `factors`, layer name -> (out, r) and (r, in * k * k): their product is what is added to the layer's weight.
    """

    factors: dict[str, Factors]

    def on(self, device: torch.device) -> dict[str, Factors]:
        """As `StyleGenerator.synthesize` takes it."""
        return {name: (left.to(device), right.to(device)) for name, (left, right) in self.factors.items()}

    def fits(self, generator: StyleGenerator) -> bool:
        """Whether it was made with a generator of these sizes, and is of a rank that is quick to draw."""
        weights = generator.tunable_weights() | generator.preview_weights()
        return all(
            name in weights
            and right.ndim == 2
            and len(right) <= MOST_RANK
            and left.shape == (len(weights[name]), len(right))
            and right.shape == (len(right), weights[name][0].numel())
            for name, (left, right) in self.factors.items()
        )

    def previews(self, generator: StyleGenerator) -> bool:
        """Whether small pictures of `StyleGenerator.working_size` show it, in the same colours."""
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

    @classmethod
    def popped(cls, tensors: dict[str, Tensor], prefix: str) -> "Tuning | None":
        """What `tensors` gave, with a prefix before each name; those are taken out. None where there are none. Raises
        KeyError where a side is missing."""
        names = sorted(k.removesuffix(".left") for k in tensors if k.startswith(prefix) and k.endswith(".left"))
        factors = {
            name.removeprefix(prefix): (tensors.pop(f"{name}.left"), tensors.pop(f"{name}.right")) for name in names
        }
        return cls(factors) if factors else None

    def digest(self) -> str:
        """SHA-256 of all values."""
        return digest(self.tensors().values())


def added(*parts: Mapping[str, Factors]) -> dict[str, Factors]:
    """The factors whose products are the sums of those of several: their ranks add up."""
    names = dict.fromkeys(name for part in parts for name in part)
    pairs = {name: [part[name] for part in parts if name in part] for name in names}
    return {
        name: some[0] if len(some) == 1 else (torch.cat([a for a, _ in some], 1), torch.cat([b for _, b in some]))
        for name, some in pairs.items()
    }


def mixed(a: Tuning | None, b: Tuning | None, share: float) -> Tuning | None:
    """At `share` of the way from one to the other, None being no difference; of one at two strengths its rank stays.
    Raises UserError where the ranks add up to more than `MOST_RANK`."""
    if a is b:
        return a
    if a and b and a.factors.keys() == b.factors.keys() and all(
        torch.equal(a.factors[name][1], right) for name, (_, right) in b.factors.items()
    ):  # fmt: skip
        return Tuning({n: (torch.lerp(a.factors[n][0], left, share), right) for n, (left, right) in b.factors.items()})
    parts = [part for part in (a and a.scaled(1 - share), b and b.scaled(share)) if part]
    both = added(*(part.factors for part in parts))
    if any(len(right) > MOST_RANK for _, right in both.values()):
        raise UserError("Too many styles are mixed in these two faces; please choose one style for them again.")
    return Tuning(both) if parts else None


def digest(tensors: Iterable[Tensor]) -> str:
    """SHA-256 of tensors' values, one after another."""
    sha = hashlib.sha256()
    for tensor in tensors:
        sha.update(tensor.contiguous().numpy().tobytes())
    return sha.hexdigest()
