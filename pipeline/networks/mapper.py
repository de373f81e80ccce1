"""Latent mappers: from a code to the step that makes one edit (StyleCLIP, section 5)."""

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from pipeline.networks.layers import EqualLinear, PixelNorm, load_frozen, part

# The rows of W+ that each of the paper's three networks takes. Published files write "course" for coarse.
MAPPER_ROWS = {"course": (0, 4), "medium": (4, 8), "fine": (8, None)}


def only_in_style_space(num_rows: int) -> bool:
    """Whether mappers work in StyleSpace only, for latents of so many rows: of a single row, the norm over the rows of
    the other mappers leaves nothing but the signs."""
    return num_rows == 1


class LatentMapper(nn.Module):
    """What all latent mappers have in common."""

    in_style_space = False
    """Whether it takes S, a list of (N, C_i), and gives steps of the same shapes; else both are codes (N, L, D)."""

    def fits(self, channels: Sequence[int]) -> bool:
        """Whether it fits a StyleSpace with vectors of these sizes. True for mappers of codes, whose fit only a trial
        shows."""
        return True


class Mapper(nn.Module):
    """PixelNorm and four linear layers. The norm runs over dimension 1, as published: over the
    layers of codes (N, L, D), and over the channels of a vector of S (N, C)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.mapping = nn.Sequential(
            PixelNorm(), *(EqualLinear(features, features, lr_mul=0.01, activate=True) for _ in range(4))
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.mapping(x)


class LevelsMapper(LatentMapper):
    """One mapper for the coarse, the medium and the fine rows each (equation 3); a level left out gives zeros."""

    def __init__(self, style_dim: int = 512, levels: Sequence[str] = tuple(MAPPER_ROWS)) -> None:
        super().__init__()
        for level in levels:
            self.add_module(f"{level}_mapping", Mapper(style_dim))

    def forward(self, w_plus: Tensor) -> Tensor:
        """w_plus (N, L, D) -> step (N, L, D)."""
        step = torch.zeros_like(w_plus)
        for level, (start, end) in MAPPER_ROWS.items():
            if f"{level}_mapping" in self._modules:
                step[:, start:end] = self.get_submodule(f"{level}_mapping")(w_plus[:, start:end])
        return step


class SingleMapper(LatentMapper):
    """One mapper for all rows."""

    def __init__(self, style_dim: int = 512) -> None:
        super().__init__()
        self.mapping = Mapper(style_dim)

    def forward(self, w_plus: Tensor) -> Tensor:
        """w_plus (N, L, D) -> step (N, L, D)."""
        return self.mapping(w_plus)


class StyleSpaceMapper(LatentMapper):
    """One mapper for each vector of StyleSpace S that has one: all but those of the toRGB layers."""

    in_style_space = True

    def __init__(self, channels: Mapping[int, int]) -> None:
        """`channels`: position in S -> size of that vector."""
        super().__init__()
        for i, features in channels.items():
            self.add_module(f"mapper_{i}", Mapper(features))

    def fits(self, channels: Sequence[int]) -> bool:
        return {f"mapper_{i}" for i in range(len(channels))}.issuperset(self._modules)

    def forward(self, styles: Sequence[Tensor]) -> list[Tensor]:
        """S as a list of (N, C_i) -> steps of the same shapes."""
        names = [f"mapper_{i}" for i in range(len(styles))]
        return [
            self.get_submodule(name)(s) if name in self._modules else torch.zeros_like(s)
            for name, s in zip(names, styles, strict=True)
        ]


class NarrowMapper(LatentMapper):
    """One narrow network for all of StyleSpace S, where a network for each vector would be tens of megabytes.

    It sees S in deviations from the mean of sampled faces, and its steps are in deviations too. Not in the paper.
    """

    in_style_space = True

    def __init__(self, channels: int, width: int = 16) -> None:
        """`channels`: of all vectors of S; `width`: of the two hidden layers."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("seen_std", torch.ones(channels))
        self.register_buffer("moved_std", torch.ones(channels))
        self.mapping = nn.Sequential(
            EqualLinear(channels, width, lr_mul=0.01, activate=True),
            EqualLinear(width, width, lr_mul=0.01, activate=True),
            EqualLinear(width, channels, lr_mul=0.01),
        )

    @torch.no_grad()
    def begin_at(self, step: Tensor) -> None:
        """Let all faces take the same step (C_all,) in S, until training tells them apart."""
        last = self.mapping[-1]
        last.weight.zero_()
        last.bias.copy_(torch.where(self.moved_std > 0, step / self.moved_std, 0) / last.lr_mul)

    def fits(self, channels: Sequence[int]) -> bool:
        return sum(channels) == len(self.mean)

    def forward(self, styles: Sequence[Tensor]) -> list[Tensor]:
        """S as a list of (N, C_i) -> steps of the same shapes."""
        s = torch.cat(list(styles), 1)
        step = self.moved_std * self.mapping((s - self.mean) / self.seen_std)
        return list(step.split([vector.shape[1] for vector in styles], 1))


def mapper_from_state_dict(state: Mapping[str, Tensor]) -> LatentMapper:
    """A frozen mapper from a state dict as published, with or without the prefix `mapper.`; its keys tell the kind, its
    shapes the sizes. Raises ValueError for any other."""
    state = part(state, "mapper.")
    if "moved_std" in state:
        width, channels = state["mapping.0.weight"].shape
        return load_frozen(lambda: NarrowMapper(channels, width), state)
    vectors = {int(m[1]): len(v) for k, v in state.items() if (m := re.fullmatch(r"mapper_(\d+)\.mapping\.1\.bias", k))}
    if vectors:
        return load_frozen(lambda: StyleSpaceMapper(vectors), state)
    if "mapping.mapping.1.bias" in state:
        return load_frozen(lambda: SingleMapper(len(state["mapping.mapping.1.bias"])), state)
    levels = [level for level in MAPPER_ROWS if f"{level}_mapping.mapping.1.bias" in state]
    if not levels:
        raise ValueError("not the state of a mapper")
    return load_frozen(lambda: LevelsMapper(len(state[f"{levels[0]}_mapping.mapping.1.bias"]), levels), state)
