"""MobileStyleGAN generator: one w and StyleSpace S in, images out (Belousov 2021, arXiv 2104.04767).

A StyleGAN2 generator distilled into separable convolutions and wavelets: what grows from block to block is the inverse
of a Haar transform. Demodulation does not depend on the style and is part of the weights, so a code for each layer (W+)
gives ruined faces: a latent is one w, and steps in S.

The time goes into memory traffic at 256 and 512 px. So everything is channels_last, a single image's style is
multiplied into the pointwise weights, and without gradients the large blocks are drawn in strips of rows that stay in
the cache, a core for each.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from pipeline.networks.generator import (
    Factors,
    LocalStyle,
    Region,
    StyleGenerator,
    StyleLayer,
    local_style,
    masks_at,
    modulated,
)
from pipeline.networks.layers import PixelNorm, load_frozen
from pipeline.networks.strips import draw_in_strips, in_strips

SLOPE = 0.2  # of all leaky ReLUs
BLOCK_LEVELS = ("coarse", "coarse", "medium", "medium")  # of the first blocks; the others are fine
STRIPS_FROM = 128  # pixels a side from which a block is drawn in strips


class InverseHaar(torch.autograd.Function):
    """One inverse Haar step: bands (N, 4C, H, W) -> (N, C, 2H, 2W), both channels_last.

    The bands stand one after another, C channels each: LL, LH, HL, HH. `scale` (N, 4C) is multiplied into them, and
    must hold the transform's factor of 1/2.
    """

    @staticmethod
    def forward(ctx: Any, bands: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(bands, scale)
        low, vertical, horizontal, diagonal = bands.permute(0, 2, 3, 1).chunk(4, -1)  # (N, H, W, C)
        low_scale, vertical_scale, horizontal_scale, diagonal_scale = scale[:, None, None].to(bands.dtype).chunk(4, -1)
        n, h, w, channels = low.shape
        pixels = bands.new_empty(n, h, 2, w, 2, channels)
        low, horizontal = low * low_scale, horizontal * horizontal_scale
        for row, sign in enumerate((1, -1)):
            middle = torch.addcmul(low, vertical, vertical_scale, value=sign)
            side = torch.addcmul(horizontal, diagonal, diagonal_scale, value=sign)
            torch.add(middle, side, out=pixels[:, :, row, :, 0])
            torch.sub(middle, side, out=pixels[:, :, row, :, 1])
        return pixels.view(n, 2 * h, 2 * w, channels).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        bands, scale = ctx.saved_tensors
        n, channels, h, w = bands.shape
        grad = grad.permute(0, 2, 3, 1).contiguous().view(n, h, 2, w, 2, channels // 4)
        left, right = grad.unbind(4)
        means, differences = left + right, left - right  # (N, H, 2, W, C)
        rows = [x.unbind(2) for x in (means, differences)]
        parts = [part for top, bottom in rows for part in (top + bottom, top - bottom)]
        grad = torch.cat(parts, -1).permute(0, 3, 1, 2)
        grad_scale = (grad * bands).sum((2, 3), dtype=torch.float32).to(scale.dtype)
        return grad.mul_(scale[..., None, None].to(grad.dtype)), grad_scale


class FrozenSeparable(torch.autograd.Function):
    """A separable styled convolution with frozen weights, differentiable in x and style.

    x (N, C, H, W) channels_last, style (N, C), weight (C', C), depthwise (C, 1, 3, 3), before (1, H, W, C'), which is
    noise and bias, -> (N, C', H, W). Autograd would multiply matrices for gradients of weights that nobody asks for.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, style: Tensor, weight: Tensor, depthwise: Tensor, before: Tensor) -> Tensor:
        (n, c, h, w), dtype = x.shape, x.dtype
        features = F.conv2d(x, depthwise, padding=1, groups=c).permute(0, 2, 3, 1)
        if n == 1:
            kernel = weight * style
        else:
            kernel, features = weight, features * style[:, None, None].to(dtype)
        y = before.expand(n, -1, -1, -1).reshape(n * h * w, -1)
        y = y.addmm_(features.reshape(-1, c), kernel.T.to(dtype))  # into noise and bias: no pass of their own
        y = F.leaky_relu_(y, SLOPE).view(n, h, w, -1).permute(0, 3, 1, 2)
        ctx.save_for_backward(x, y, style, weight, depthwise)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, y, style, weight, depthwise = ctx.saved_tensors
        weight, flipped, factors = weight.to(x.dtype), depthwise.flip(2, 3), style[:, None, None].to(x.dtype)
        n, c, h, w = x.shape
        grad_x = torch.empty_like(x, memory_format=torch.channels_last)

        def strip(first: int, end: int) -> Tensor:
            above, below = max(0, first - 1), min(h, end + 1)  # the convolution's reach
            inner = slice(first - above, end - above)
            out = grad[:, :, above:below]
            out = torch.where(y[:, :, above:below] < 0, SLOPE * out, out).permute(0, 2, 3, 1)
            grad_features = (out.reshape(-1, len(weight)) @ weight).view(n, -1, w, c)
            features = F.conv2d(x[:, :, above:below], depthwise, padding=1, groups=c).permute(0, 2, 3, 1)
            grad_style = (grad_features[:, inner] * features[:, inner]).sum((1, 2), dtype=torch.float32)
            grad_features = grad_features.mul_(factors).permute(0, 3, 1, 2)
            grad_x[:, :, first:end] = F.conv2d(grad_features, flipped, padding=1, groups=c)[:, :, inner]
            return grad_style

        on_cpu = x.device.type == "cpu"
        parts = in_strips(strip, h, n * w * len(weight)) if on_cpu else [strip(0, h)]
        return grad_x, sum(parts).to(style.dtype), None, None, None


class Modulated(nn.Module):
    """A layer whose input channels a style scales."""

    def __init__(self, channels: int, style_dim: int) -> None:
        super().__init__()
        self.modulation = nn.Linear(style_dim, channels)


class StyledConv(Modulated):
    """Modulated 3x3 convolution, separable but for the first one, then noise, bias and leaky ReLU."""

    def __init__(self, channels: int, out_channels: int, resolution: int, style_dim: int, separable: bool) -> None:
        super().__init__(channels, style_dim)
        self.scale = 1 / math.sqrt(9 * channels)
        self.depthwise = nn.Parameter(torch.randn(channels, 1, 3, 3)) if separable else None
        kernel = 1 if separable else 3
        self.weight = nn.Parameter(torch.randn(out_channels, channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.register_buffer("noise", torch.randn(1, 1, resolution, resolution))

    def forward(
        self, x: Tensor, style: Tensor | LocalStyle, factors: Factors | None = None, rows: slice = slice(None)
    ) -> Tensor:
        """x (N, C, H, W), the `rows` of the features, and style (N, C) -> (N, C', H, W)."""
        x, style = modulated(x, style, rows)
        weight, dtype = tuned(self.weight, factors) * self.scale, x.dtype
        before = self.noise[:, 0, rows, :, None].to(dtype) + self.bias.to(dtype)  # (1, H, W, C')
        if self.depthwise is None:
            y = F.conv2d(x * style[..., None, None].to(dtype), weight.to(dtype), padding=1)
            return F.leaky_relu(y + before.permute(0, 3, 1, 2), SLOPE)
        depthwise, weight = self.depthwise.to(dtype), weight.flatten(1)
        if torch.is_grad_enabled() and any(p.requires_grad for p in (weight, depthwise, before)):
            x = F.conv2d(x, depthwise, padding=1, groups=x.shape[1]) * style[..., None, None].to(dtype)
            y = F.conv2d(x, weight[..., None, None].to(dtype)) + before.permute(0, 3, 1, 2)
            return F.leaky_relu(y, SLOPE)
        return FrozenSeparable.apply(x, style, weight, depthwise, before)


class ToImage(Modulated):
    """Modulated 1x1 convolution to the four pixels of each place, with the last inverse Haar step in its weights."""

    def __init__(self, channels: int, style_dim: int) -> None:
        super().__init__(channels, style_dim)
        self.scale = 1 / math.sqrt(channels)
        self.weight = nn.Parameter(torch.randn(12, channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(12))

    def forward(
        self,
        x: Tensor,
        style: Tensor | LocalStyle,
        full: bool,
        factors: Factors | None = None,
        rows: slice = slice(None),
    ) -> Tensor:
        """x (N, C, H, W), the `rows` of the features, and style (N, C) -> (N, 3, 2H, 2W), or unless `full` its area
        mean (N, 3, H, W), float32 or wider."""
        x, style = modulated(x, style, rows)
        weight, bias = tuned(self.weight, factors).flatten(1) * self.scale, self.bias
        if not full:
            weight, bias = weight.view(3, 4, -1).mean(1), bias.view(3, 4).mean(1)
        weight = (weight * style[:, None]).to(x.dtype).transpose(1, 2)  # (N, C, 12)
        y = x.permute(0, 2, 3, 1).flatten(1, 2) @ weight  # (N, H * W, 12)
        y = (y.to(style.dtype) + bias).unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)
        return F.pixel_shuffle(y, 2) if full else y


class Block(nn.Module):
    """Twice the resolution by an inverse Haar step, then two convolutions."""

    def __init__(self, channels: int, out_channels: int, resolution: int, style_dim: int) -> None:
        super().__init__()
        self.up = Modulated(channels, style_dim)
        self.conv1 = StyledConv(channels // 4, out_channels, resolution, style_dim, separable=True)
        self.conv2 = StyledConv(out_channels, out_channels, resolution, style_dim, separable=True)

    def forward(
        self,
        x: Tensor,
        styles: Sequence[Tensor | LocalStyle],
        factors: Sequence[Factors | None],
        rows: slice = slice(None),
    ) -> Tensor:
        """x (N, C, H, W) -> (N, C', 2H, 2W), the `rows` of the features; styles (N, C_i) of up, conv1 and conv2, and
        factors of the two convolutions."""
        x, scale = modulated(x, styles[0], slice(rows.start and rows.start // 2, rows.stop and rows.stop // 2))
        x = InverseHaar.apply(x, scale * 0.5)
        x = self.conv1(x, styles[1], factors[0], rows)
        return self.conv2(x, styles[2], factors[1], rows)


def tuned(weight: Tensor, factors: Factors | None) -> Tensor:
    """A weight with the difference that `factors` make."""
    return weight if factors is None else weight + (factors[0] @ factors[1]).view_as(weight)


class MobileGenerator(StyleGenerator):
    """MobileStyleGAN generator; its latent has a single row, w. Otherwise as `StyleGenerator`."""

    num_rows = 1

    def __init__(self, channels: Sequence[int], style_dim: int = 512, n_mlp: int = 8) -> None:
        """`channels`: of the features at 4, 8, 16 ... px; the image is twice as large as the last of them."""
        super().__init__()
        self.size = 4 * 2 ** len(channels)
        self.style_dim = style_dim
        self.compute_dtype = None
        self.style = nn.Sequential(PixelNorm(), *(nn.Linear(style_dim, style_dim) for _ in range(n_mlp)))
        self.input = nn.Parameter(torch.randn(1, channels[0], 4, 4))
        self.conv1 = StyledConv(channels[0], channels[0], 4, style_dim, separable=False)
        pairs = zip(channels, channels[1:], strict=False)
        self.blocks = nn.ModuleList(Block(*pair, 8 * 2**i, style_dim) for i, pair in enumerate(pairs))
        self.to_image = ToImage(channels[-1], style_dim)
        self.preview: nn.Module | None = None
        """Draws small pictures, where there is one: see `networks.preview`."""
        self.style_layers = self._style_layers()

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor]) -> "MobileGenerator":
        """A frozen generator from its state. Every size and width is read off the shapes."""
        blocks = sorted(int(m[1]) for k in state if (m := re.fullmatch(r"blocks\.(\d+)\.conv2\.bias", k)))
        channels = [state["input"].shape[1], *(len(state[f"blocks.{i}.conv2.bias"]) for i in blocks)]
        n_mlp = sum(bool(re.fullmatch(r"style\.\d+\.weight", k)) for k in state)
        return load_frozen(lambda: cls(channels, state["conv1.modulation.weight"].shape[1], n_mlp), state)

    def _style_layers(self) -> tuple[StyleLayer, ...]:
        layers = [("conv1", 4, "coarse")]
        for i in range(len(self.blocks)):
            level = BLOCK_LEVELS[i] if i < len(BLOCK_LEVELS) else "fine"
            layers += [(f"blocks.{i}.{part}", 8 * 2**i, level) for part in ("up", "conv1", "conv2")]
        layers.append(("to_image", self.size, "fine"))
        return tuple(
            StyleLayer(name, resolution, self.get_submodule(name).modulation.out_features, name == "to_image", 0, level)
            for name, resolution, level in layers
        )

    @property
    def device(self) -> torch.device:
        return self.input.device

    @property
    def working_size(self) -> int:
        return self.size if self.preview is None else self.preview.size

    def mapping(self, z: Tensor) -> Tensor:
        """z (N, D), standard normal -> w (N, D)."""
        w = self.style[0](z)
        for linear in self.style[1:]:
            w = F.leaky_relu(linear(w), SLOPE) * math.sqrt(2)
        return w

    def styles(self, w: Tensor) -> list[Tensor]:
        """w (N, D) or (N, 1, D) -> StyleSpace S: one (N, C_i) per entry of `style_layers`."""
        w = self.rows(w)[:, 0]
        return [self.get_submodule(layer.name).modulation(w) for layer in self.style_layers]

    def tunable_weights(self) -> dict[str, Tensor]:
        modules = {layer.name: self.get_submodule(layer.name) for layer in self.style_layers}
        return {name: module.weight for name, module in modules.items() if hasattr(module, "weight")}

    def preview_weights(self) -> dict[str, Tensor]:
        return {} if self.preview is None else self.preview.tunable_weights()

    def synthesize(
        self,
        styles: Sequence[Tensor],
        resolution: int | None = None,
        tuning: Mapping[str, Factors] | None = None,
        regions: Sequence[Region] = (),
    ) -> Tensor:
        """See `StyleGenerator`. A smaller image is the area mean of the full one, and costs about as much; up to the
        size of the `preview`, where there is one, it is that of the preview."""
        resolution, tuning = resolution or self.size, tuning or {}
        if resolution not in {4, self.size, *(layer.resolution for layer in self.style_layers)}:
            raise ValueError(f"resolution {resolution} is none of 4, 8, ... {self.size}")
        trains = torch.is_grad_enabled() and (
            any(s.requires_grad for s in styles)
            or any(f.requires_grad for pair in tuning.values() for f in pair)
            or any(p.requires_grad for p in self.parameters())
        )
        if trains or self.device.type != "cpu":
            image = self._draw(styles, resolution, tuning, False, regions)
        else:
            singly = zip(*(s.split(1) for s in styles), strict=True)
            image = torch.cat([self._draw(one, resolution, tuning, True, regions) for one in singly])
        return F.avg_pool2d(image, image.shape[2] // resolution) if image.shape[2] > resolution else image

    def _draw(
        self,
        styles: Sequence[Tensor],
        resolution: int,
        tuning: Mapping[str, Factors],
        strips: bool,
        regions: Sequence[Region],
    ) -> Tensor:
        """The preview; the image; or where that is enough the area mean of half its size."""
        local = self.local_styles(styles, regions)
        if self.preview is not None and resolution <= self.preview.size:
            end = self.preview.resolution
            features = self.features(local, end, tuning, strips)
            steps = [self.styles_after(region.step, end) for region in regions]
            later = local_style(self.styles_after(styles, end), steps, masks_at(regions, end))
            return self.preview(features, later, tuning=tuning)
        full = resolution == self.size

        def to_image(x: Tensor, rows: slice) -> Tensor:
            return self.to_image(x, local[-1], full, tuning.get("to_image"), rows)

        return self.features(local, self.size // 2, tuning, strips, to_image)

    def features_at(
        self,
        styles: Sequence[Tensor],
        resolution: int,
        tuning: Mapping[str, Factors] | None = None,
        regions: Sequence[Region] = (),
    ) -> Tensor:
        """See `StyleGenerator`; from 8 px on."""
        strips = not torch.is_grad_enabled() and self.device.type == "cpu" and len(styles[0]) == 1
        return self.features(self.local_styles(styles, regions), resolution, tuning or {}, strips)

    def local_styles(self, styles: Sequence[Tensor], regions: Sequence[Region]) -> list[Tensor | LocalStyle]:
        """S (N, C_i) with the steps of regions, each at the resolution of the features that it scales."""
        if not regions:
            return [*styles]
        masks = {r: masks_at(regions, r) for r in {layer.resolution for layer in self.style_layers} | {4}}
        halved = (name.endswith((".up", "to_image")) for name, *_ in self.style_layers)
        return [
            local_style(style, [region.step[i] for region in regions], masks[layer.resolution // (1 + half)])
            for i, (style, layer, half) in enumerate(zip(styles, self.style_layers, halved, strict=True))
        ]

    def styles_after(self, styles: Sequence[Tensor], resolution: int) -> Tensor:
        """Those of S (N, C_i) that come after the features of a resolution, side by side (N, K)."""
        later = [s for s, layer in zip(styles, self.style_layers, strict=True) if layer.resolution > resolution]
        return torch.cat(later, 1)

    def features(
        self,
        styles: Sequence[Tensor | LocalStyle],
        resolution: int,
        tuning: Mapping[str, Factors],
        strips: bool,
        finish: Callable[[Tensor, slice], Tensor] | None = None,
    ) -> Tensor:
        """What `finish` makes of the features (N, C, R, R) of a resolution from 8 on, and of their rows; with `strips`,
        of strips of them."""
        dtype = self.compute_dtype or self.input.dtype
        count = len(styles[0].style if isinstance(styles[0], LocalStyle) else styles[0])
        x = self.input.to(dtype).expand(count, -1, -1, -1).contiguous(memory_format=torch.channels_last)
        x = self.conv1(x, styles[0], tuning.get("conv1"))
        last = (resolution // 8).bit_length() - 1
        for i, block in enumerate(self.blocks[: last + 1]):

            def part(x: Tensor, rows: slice, i: int = i, block: Block = block) -> Tensor:
                factors = [tuning.get(f"blocks.{i}.conv{k}") for k in (1, 2)]
                return block(x, styles[3 * i + 1 : 3 * i + 4], factors, rows)

            end = finish if finish and i == last else _as_they_are
            if strips and block.conv1.noise.shape[2] >= STRIPS_FROM:
                x = draw_in_strips(x, len(block.conv2.bias), part, end)
            else:
                x = end(part(x, slice(None)), slice(None))
        return x


def _as_they_are(x: Tensor, rows: slice) -> Tensor:
    return x
