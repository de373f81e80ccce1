"""Encoder into W, for generators whose latent has one row: a plain residual network."""

import re
from collections.abc import Mapping, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.networks.layers import load_frozen

STEM = 5  # pixels a side of the first kernel
GRID = 8  # places a side of the last feature map, whose order the head still sees


class Unit(nn.Module):
    """Two 3x3 convolutions beside a shortcut, each after batch norm and ReLU."""

    def __init__(self, channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(out_channels)
        self.conv1 = nn.Conv2d(channels, out_channels, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.shortcut = nn.Conv2d(channels, out_channels, 1, bias=False) if stride > 1 else nn.Identity()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(F.relu(self.norm2(self.conv1(F.relu(self.norm1(x))))))
        return self.shortcut(F.avg_pool2d(x, self.stride) if self.stride > 1 else x) + y


class WEncoder(nn.Module):
    """An aligned face (N, 3, `size`, `size`) in [-1, 1] -> offsets (N, 1, D) from the mean latent."""

    num_rows = 1
    start: Tensor | None = None  # what the offsets are added to, as of `e4e.Encoder`: always the mean latent

    def __init__(
        self, widths: Sequence[int] = (40, 64, 128, 192), depths: Sequence[int] = (2, 3, 3), head: int = 48,
        style_dim: int = 512,
    ) -> None:  # fmt: skip
        """`widths`: of the stem, and of each stage of `depths` units; `head`: channels of the map that is flattened."""
        super().__init__()
        self.size, self.style_dim = GRID * 2 ** len(widths), style_dim
        self.stem = nn.Conv2d(3, widths[0], STEM, 2, STEM // 2, bias=False)
        stages = zip(widths, widths[1:], depths, strict=False)
        self.units = nn.Sequential(
            *(Unit(here if i else below, here, 1 if i else 2) for below, here, depth in stages for i in range(depth))
        )
        self.norm = nn.BatchNorm2d(widths[-1])
        self.reduce = nn.Conv2d(widths[-1], head, 1)
        self.linear = nn.Linear(head * GRID**2, style_dim)

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor]) -> "WEncoder":
        """A frozen encoder from its state. Every size and width is read off the shapes."""
        count = 1 + max(int(m[1]) for name in state if (m := re.match(r"units\.(\d+)\.", name)))
        units = [len(state[f"units.{i}.conv2.weight"]) for i in range(count)]
        firsts = [i for i in range(count) if f"units.{i}.shortcut.weight" in state]
        depths = [end - start for start, end in zip(firsts, [*firsts[1:], count], strict=True)]
        widths = [len(state["stem.weight"]), *(units[i] for i in firsts)]
        head, style_dim = len(state["reduce.weight"]), len(state["linear.weight"])
        return load_frozen(lambda: cls(widths, depths, head, style_dim), state)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2:] != (self.size, self.size):
            raise ValueError(f"expected images (N, 3, {self.size}, {self.size}), got {tuple(x.shape)}")
        y = self.reduce(F.relu(self.norm(self.units(self.stem(x)))))
        return self.linear(F.relu(y).flatten(1))[:, None]
