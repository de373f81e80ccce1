"""Layers that several of the networks share, named so that published state dicts load as they are."""

import math
from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


class PixelNorm(nn.Module):
    """Divides by the root mean square over dimension 1: the features of (N, D), but the *layers* of (N, L, D)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)


class EqualLinear(nn.Module):
    """Linear layer with equalised learning rate (StyleGAN2): the weight is stored with unit variance / `lr_mul`.

    The arithmetic is at least float32, whatever the dtype of the parameters: style vectors do not bear bfloat16.
    """

    def __init__(
        self, in_features: int, out_features: int, lr_mul: float = 1.0, bias_init: float = 0.0, activate: bool = False
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_mul)
        self.bias = nn.Parameter(torch.full((out_features,), bias_init))
        self.lr_mul = lr_mul
        self.scale = lr_mul / math.sqrt(in_features)
        self.activate = activate

    def forward(self, x: Tensor) -> Tensor:
        dtype = torch.promote_types(self.weight.dtype, torch.float32)
        y = F.linear(x.to(dtype), self.weight.to(dtype) * self.scale, self.bias.to(dtype) * self.lr_mul)
        return F.leaky_relu(y, 0.2) * math.sqrt(2) if self.activate else y


def load_frozen(build: Callable[[], M], state: Mapping[str, Tensor]) -> M:
    """The module `build` returns, holding `state`, in eval mode and without weight gradients.

    Half precision is cast to float32; other tensors are taken as they are, so a memory-mapped file is not copied, and
    a network in training must hand out copies. Raises RuntimeError on a missing, unexpected or misshapen key.
    """
    with torch.device("meta"):
        module = build()
    half = (torch.float16, torch.bfloat16)
    module.load_state_dict({k: v.float() if v.dtype in half else v for k, v in state.items()}, strict=True, assign=True)
    return module.eval().requires_grad_(False)


def part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries under `prefix` without it, or all of `state` when nothing has that prefix."""
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)} or dict(state)
