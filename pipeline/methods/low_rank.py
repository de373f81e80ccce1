"""The low-rank differences of weights that tuning and StyleGAN-NADA learn."""

from collections.abc import Mapping

import torch
from torch import Tensor

from pipeline.networks.generator import Factors
from pipeline.tuning import Tuning

RANK = 8


class LowRank:
    """Low-rank differences of some weights (out, in, k, k), by name, in shares of the weights' root mean square."""

    def __init__(self, weights: Mapping[str, Tensor], start: Mapping[str, Factors]) -> None:
        """`start`: factors to go on from; where there are none their product is zero, and descent can begin."""
        rng = torch.Generator().manual_seed(0)
        self.scales = {name: weight.square().mean().sqrt() for name, weight in weights.items()}
        self.pairs: dict[str, Factors] = {}
        for name, weight in weights.items():
            rank, width = min(RANK, len(weight)), weight[0].numel()
            right = torch.randn(rank, width, generator=rng) / rank**0.5
            left, right = start.get(name) or (weight.new_zeros(len(weight), rank), right.to(weight))
            self.pairs[name] = (left / self.scales[name]).requires_grad_(), right.clone().requires_grad_()
        self.values = [factor for pair in self.pairs.values() for factor in pair]

    def factors(self) -> dict[str, Factors]:
        """As `StyleGenerator.synthesize` takes them, differentiable with respect to `values`."""
        return {name: (self.scales[name] * left, right) for name, (left, right) in self.pairs.items()}


def detached(factors: Mapping[str, Factors]) -> dict[str, Factors]:
    """A copy that gradients don't reach."""
    return {name: (left.detach().clone(), right.detach().clone()) for name, (left, right) in factors.items()}


def as_tuning(factors: Mapping[str, Factors]) -> Tuning:
    """A copy of the factors as they are now."""
    return Tuning({name: (left.cpu(), right.cpu()) for name, (left, right) in detached(factors).items()})
