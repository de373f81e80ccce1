"""Muon (Jordan et al. 2024) for matrices and convolution kernels: orthogonalised Nesterov momentum.

torch.optim.Muon takes 2-D parameters only; here everything after the output dimension is one side of the matrix.
"""

from collections.abc import Iterable

import torch
from torch import Tensor


class Muon(torch.optim.Optimizer):
    """Updates have a root mean square of about `lr` an entry, whatever the shape."""

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["velocity"] = torch.zeros_like(p)
                velocity = state["velocity"].lerp_(p.grad, 1 - group["momentum"])
                ahead = p.grad.lerp(velocity, group["momentum"])
                matrix = ahead.flatten(0, 1).flatten(1) if ahead.ndim == 5 else ahead.flatten(1)  # (1, out, in, k, k)
                p.add_(_orthogonal(matrix).view_as(p), alpha=-group["lr"] * max(matrix.shape) ** 0.5)


def _orthogonal(m: Tensor, steps: int = 5) -> Tensor:
    """The nearest matrix with orthonormal rows or columns, roughly: quintic Newton-Schulz iteration."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = m.shape[0] > m.shape[1]
    x = m / (m.norm() + 1e-7)
    gram = x.T @ x if tall else x @ x.T
    total = None
    for _ in range(steps):  # every iterate is a polynomial in the Gram matrix, so only that small matrix is iterated
        factor = b * gram + c * gram @ gram
        factor.diagonal().add_(a)
        gram = factor @ gram @ factor
        total = factor if total is None else factor @ total
    return x @ total if tall else total @ x
