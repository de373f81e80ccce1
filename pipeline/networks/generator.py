"""What all generators have in common: a latent of one or more rows in, StyleSpace S between, images out."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Factors = tuple[Tensor, Tensor]  # (out, r) and (r, in * k * k), whose product is a low-rank difference of a weight
Trace = dict[int, tuple[Tensor | None, ...]]  # position in S -> the features that enter the layer
LEVELS = ("coarse", "medium", "fine")  # pose and shape; features and hair; colours and texture


class StyleLayer(NamedTuple):
    """One vector of StyleSpace: the layer that it modulates, where that layer works, and what feeds it."""

    name: str
    resolution: int
    channels: int
    is_to_rgb: bool
    row: int
    """Row of the latent that the vector is made of."""
    level: str
    """One of `LEVELS`."""


class Region(NamedTuple):
    """A step in S that holds in a part of the picture: `mask` (1, 1, R, R) from 0 to 1, and in `step` one (1, C_i) a
    vector of S."""

    mask: Tensor
    step: tuple[Tensor, ...]


class LocalStyle(NamedTuple):
    """A style that differs from place to place: `style` (N, C), and on it each of `steps` (K, C), times its mask of
    `masks` (K, H, W)."""

    style: Tensor
    masks: Tensor
    steps: Tensor

    def through(self, modulation: nn.Linear) -> "LocalStyle":
        """What a layer makes of it whose modulation is linear."""
        return LocalStyle(modulation(self.style), self.masks, F.linear(self.steps, modulation.weight))


def local_style(style: Tensor, steps: Sequence[Tensor], masks: Tensor) -> Tensor | LocalStyle:
    """A style (N, C) with steps (1, C) in the masks (K, H, W); as it is where none of them moves."""
    if not any(step.any() for step in steps):
        return style
    return LocalStyle(style, masks, torch.cat([*steps]))


def modulated(x: Tensor, style: Tensor | LocalStyle, rows: slice = slice(None)) -> tuple[Tensor, Tensor]:
    """Features (N, C, H, W), the `rows` of all, and the style (N, C) that a layer has yet to scale them with: one that
    differs from place to place is multiplied into them here, and what is left is 1."""
    if isinstance(style, Tensor):
        return x, style
    shift = torch.einsum("khw,kc->hwc", style.masks[:, rows], style.steps)
    factors = (style.style[:, None, None] + shift).permute(0, 3, 1, 2)
    return x * factors.to(x.dtype), torch.ones_like(style.style)


def masks_at(regions: Sequence[Region], resolution: int) -> Tensor:
    """The masks of regions at a resolution (K, H, W): their area means, or smooth between their pixels."""
    return torch.cat([resized(region.mask, resolution)[0] for region in regions]) if regions else torch.empty(0)


def resized(mask: Tensor, resolution: int) -> Tensor:
    """A mask (N, 1, R, R) at another resolution."""
    if resolution <= mask.shape[-1]:
        return F.adaptive_avg_pool2d(mask, resolution)
    return F.interpolate(mask, (resolution, resolution), mode="bilinear", align_corners=False)


class StyleGenerator(nn.Module, ABC):
    """A generator with fixed noise that is steered by styles.

    A latent is (N, `num_rows`, `style_dim`): W+ with a row for each layer, or a single row, where the generator only
    draws faces from one w. `style_layers` is the order of StyleSpace S. Images are (N, 3, R, R), about [-1, 1]. Set
    `compute_dtype` to bfloat16 to run the convolutions in it; styles stay float32.
    """

    size: int
    style_dim: int
    num_rows: int
    compute_dtype: torch.dtype | None
    style_layers: tuple[StyleLayer, ...]

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where the weights are."""

    @property
    def working_size(self) -> int:
        """Pixels a side of the pictures that the methods look at on the way: `size`, or less where a smaller picture
        is drawn in a fraction of the time."""
        return self.size

    @abstractmethod
    def mapping(self, z: Tensor) -> Tensor:
        """z (N, D), standard normal -> w (N, D)."""

    @abstractmethod
    def styles(self, w: Tensor) -> list[Tensor]:
        """w (N, D) or latents (N, L, D) -> StyleSpace S: one (N, C_i) per entry of `style_layers`."""

    @abstractmethod
    def synthesize(
        self,
        styles: Sequence[Tensor],
        resolution: int | None = None,
        tuning: Mapping[str, Factors] | None = None,
        regions: Sequence[Region] = (),
    ) -> Tensor:
        """StyleSpace S -> image (N, 3, R, R), in full or smaller at `resolution`, a power of two from 4 to `size`.

        `tuning`, layer name -> factors, is what is added to the weights of `tunable_weights` and `preview_weights` for
        this call. In each of the `regions` the styles are a step further: features are blended, not pictures.
        """

    @abstractmethod
    def features_at(
        self,
        styles: Sequence[Tensor],
        resolution: int,
        tuning: Mapping[str, Factors] | None = None,
        regions: Sequence[Region] = (),
    ) -> Tensor:
        """The features (N, C, R, R) of a resolution, as its last layer leaves them; otherwise as `synthesize`."""

    def traced(self, styles: Sequence[Tensor]) -> tuple[Tensor, Trace]:
        """The image of one S, (1, C_i) each, and what `draw_from` needs to draw it again with changes."""
        return self.synthesize(styles), {}

    def draw_from(self, start: int, styles: Sequence[Tensor], trace: Trace) -> Tensor:
        """`synthesize` of styles (N, C_i) that differ from the S of `traced` from layer `start` on only.

        What comes before that layer need not be drawn again. This one draws it all the same, for generators whose last
        layers take nearly all of the time.
        """
        return self.synthesize(styles)

    @abstractmethod
    def tunable_weights(self) -> dict[str, Tensor]:
        """The weights (out, in, k, k) that pivotal tuning changes, by the name of their layer."""

    def preview_weights(self) -> dict[str, Tensor]:
        """Those that make the small pictures of `working_size`, where these are drawn apart; they follow a tuning."""
        return {}

    def forward(self, w: Tensor, resolution: int | None = None) -> Tensor:
        """w (N, D) or latents (N, L, D) -> image (N, 3, R, R), see `synthesize`."""
        return self.synthesize(self.styles(w), resolution)

    def rows(self, w: Tensor) -> Tensor:
        """w (N, D) or latents (N, L, D) -> (N, L, D). Raises ValueError for any other shape."""
        if w.ndim == 2:
            w = w[:, None].expand(-1, self.num_rows, -1)
        if w.shape[1:] != (self.num_rows, self.style_dim):
            raise ValueError(f"expected codes (N, {self.num_rows}, {self.style_dim}), got {tuple(w.shape)}")
        return w

    def mean_latent(self) -> Tensor:
        """The mean w (D,) of sampled codes, for files that do not bring it."""
        return self._sampled_codes(10_000).mean(0)

    def code_deviation(self) -> Tensor:
        """The standard deviation (D,) of sampled codes w."""
        return self._sampled_codes(1_000).std(0)

    @torch.no_grad()
    def _sampled_codes(self, samples: int) -> Tensor:
        z = torch.randn(samples, self.style_dim, generator=torch.Generator().manual_seed(0))
        return self.mapping(z.to(self.device))
