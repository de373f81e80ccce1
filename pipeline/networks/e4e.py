"""e4e: encoder for editing (Tov et al. 2021), and its forerunner pSp (Richardson et al. 2021). A face becomes a code in
W+ in one forward pass."""

import re
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.networks.arcface import DEPTHS, WIDTHS, body, body_arguments, input_layer
from pipeline.networks.layers import EqualLinear, load_frozen, part

MEDIUM_ROW, FINE_ROW = 3, 7  # the first rows of W+ that are read off the medium and the fine feature map


class Head(nn.Module):
    """Strided convolutions down to one pixel, then a linear layer."""

    def __init__(self, channels: int, width: int, style_dim: int, depth: int) -> None:
        super().__init__()
        inputs = [channels] + [width] * (depth - 1)
        self.convs = nn.Sequential(
            *(m for c in inputs for m in (nn.Conv2d(c, width, 3, stride=2, padding=1), nn.LeakyReLU(0.01)))
        )
        self.linear = EqualLinear(width, style_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.convs(x).flatten(1))


class Encoder(nn.Module):
    """Encoder4Editing: IR-SE body, feature pyramid, one head per row of W+. All others add to row 0.

    With `absolute_rows` they don't: that is pSp's encoder, which is the same otherwise. `start` (L, D) is what the rows
    are added to; None for the generator's mean latent.
    """

    absolute_rows = False
    start: Tensor | None = None

    def __init__(
        self,
        num_rows: int = 18,
        style_dim: int = 512,
        head_width: int = 512,
        size: int = 256,
        widths: Sequence[int] = WIDTHS,
        depths: Sequence[int] = DEPTHS,
        reduction: int = 16,
    ) -> None:
        super().__init__()
        self.size, self.num_rows, self.style_dim = size, num_rows, style_dim
        self.input_layer = input_layer(widths[0])
        self.body = body(widths, depths, reduction)
        self.ends = tuple(sum(depths[: i + 1]) for i in (1, 2, 3))  # where the fine, medium and coarse maps are ready
        coarse = (size >> len(widths)).bit_length() - 1  # halvings from the coarse map to one pixel
        self.levels = tuple(int(row >= MEDIUM_ROW) + int(row >= FINE_ROW) for row in range(num_rows))
        self.styles = nn.ModuleList(Head(widths[-1], head_width, style_dim, coarse + level) for level in self.levels)
        self.latlayer1 = nn.Conv2d(widths[2], widths[3], 1)
        self.latlayer2 = nn.Conv2d(widths[1], widths[3], 1)

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor]) -> "Encoder":
        """A frozen encoder from a state dict as published, with or without the prefix `encoder.`; `absolute_rows` and
        `start` may be among the tensors."""
        state = part(state, "encoder.")
        absolute_rows, start = "absolute_rows" in state, state.get("start")
        start = None if start is None else start.clone()  # a view would keep the mapped file
        state = {k: v for k, v in state.items() if k not in ("absolute_rows", "start")}
        shape = body_arguments(state)
        num_rows = 1 + max(int(m[1]) for k in state if (m := re.match(r"styles\.(\d+)\.", k)))
        style_dim, head_width = state["styles.0.linear.weight"].shape
        depth = sum(bool(re.fullmatch(r"styles\.0\.convs\.\d+\.weight", k)) for k in state)
        size = 2 ** (depth + len(shape["widths"]))
        encoder = load_frozen(lambda: cls(num_rows, style_dim, head_width, size, **shape), state)
        encoder.absolute_rows, encoder.start = absolute_rows, start
        return encoder

    def forward(self, x: Tensor) -> Tensor:
        """x (N, 3, 256, 256) in [-1, 1] -> (N, L, D), to which the caller adds `start`, or `latent_avg`.

        Pictures that are wider than high (cars: 192 rows) end in one pixel as well.
        """
        if x.shape[3] != self.size or not self.size // 2 < x.shape[2] <= self.size:
            raise ValueError(f"expected images (N, 3, {self.size}, {self.size}), got {tuple(x.shape)}")
        x = self.input_layer(x)
        maps, start = [], 0
        for end in self.ends:
            x = self.body[start:end](x)
            maps.append(x)
            start = end
        fine, medium, coarse = maps
        medium = _enlarge(coarse, medium) + self.latlayer1(medium)
        fine = _enlarge(medium, fine) + self.latlayer2(fine)
        pyramid = (coarse, medium, fine)
        rows = [head(pyramid[level]) for head, level in zip(self.styles, self.levels, strict=True)]
        return torch.stack(rows if self.absolute_rows else [rows[0], *(rows[0] + row for row in rows[1:])], dim=1)


def _enlarge(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=True)
