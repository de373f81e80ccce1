"""StyleGAN2 generator: W, W+ and StyleSpace S in, images out (Karras et al. 2020; StyleSpace: Wu et al. 2021).

Parameter names are those of the published PyTorch checkpoints. The arithmetic is the paper's, rearranged to be fast for
small batches: the style multiplies the activations (or, for a single image without gradients, the weight, where that is
smaller), so that one ordinary convolution serves the batch, and demodulation becomes a factor on each output channel.
Everything runs in channels_last, in which the depthwise filter after a transposed convolution costs little.
"""

import math
import re
from collections.abc import Mapping, Sequence
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
    Trace,
    local_style,
    masks_at,
    modulated,
    resized,
)
from pipeline.networks.layers import EqualLinear, PixelNorm, load_frozen

SQRT2 = math.sqrt(2)
FIR = (1.0, 3.0, 3.0, 1.0)  # the filter of all up-sampling in StyleGAN2
MEDIUM_ROW, FINE_ROW = 4, 8  # rows of W+ from which a layer is medium, and fine


def default_channels(size: int) -> dict[int, int]:
    """Published widths (config F): 512 channels up to 64 px, then halved at each doubling."""
    return {2**i: min(512, 2**15 // 2**i) for i in range(2, int(math.log2(size)) + 1)}


class FirKernel(nn.Module):
    """Holder of the 4x4 filter of one up-sampling, whose gain of 4 makes up for the inserted zeros."""

    def __init__(self) -> None:
        super().__init__()
        taps = torch.tensor(FIR)
        self.register_buffer("kernel", 4 * torch.outer(taps, taps) / taps.sum() ** 2)

    def depthwise(self, like: Tensor) -> Tensor:
        """(C, 1, 4, 4): the filter for each channel of `like` (N, C, H, W)."""
        return self.kernel.to(like.dtype).expand(like.shape[1], 1, -1, -1)


class ModulatedConv2d(nn.Module):
    """Holder of a convolution whose input channels a style scales."""

    def __init__(self, channels: int, out_channels: int, kernel: int, style_dim: int, upsample: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, out_channels, channels, kernel, kernel))
        self.modulation = EqualLinear(style_dim, channels, bias_init=1.0)
        self.scale = 1 / math.sqrt(channels * kernel**2)
        if upsample:
            self.blur = FirKernel()
        self.upsample = upsample
        self._cache: dict[torch.dtype, tuple] = {}

    def prepared(self, dtype: torch.dtype, factors: Factors | None = None) -> tuple[Tensor, Tensor]:
        """The scaled kernel in `dtype` and channels_last, (out, in, k, k) or with `upsample` (in, out, k, k);
        and its squares summed over the taps, (out, in), for the demodulation.

        Kept while the weight is frozen. Loading, moving and in-place changes are noticed; writing through `.data` is
        not. With the `factors` of a tuning it is made for this call only.
        """
        if self.weight.requires_grad or factors is not None:
            return self._prepare(dtype, factors)
        stamp = (self.weight.device, self.weight.dtype, self.weight.data_ptr(), self.weight._version)
        cached, value = self._cache.get(dtype, (None, None))
        if cached != stamp:
            with torch.inference_mode(False), torch.no_grad():
                value = self._prepare(dtype)
            self._cache[dtype] = (stamp, value)
        return value

    def tuned(self, factors: Factors | None) -> Tensor:
        """The weight (out, in, k, k), float32 or wider, with the difference that `factors` make."""
        weight = self.weight[0].to(torch.promote_types(self.weight.dtype, torch.float32))
        return weight if factors is None else weight + (factors[0] @ factors[1]).view_as(weight)

    def _prepare(self, dtype: torch.dtype, factors: Factors | None = None) -> tuple[Tensor, Tensor]:
        weight = self.tuned(factors) * self.scale
        squares = weight.square().sum((2, 3))
        kernel = weight.transpose(0, 1) if self.upsample else weight
        return kernel.to(dtype).contiguous(memory_format=torch.channels_last), squares

    def convolve(self, x: Tensor, kernel: Tensor, bias: Tensor | None = None) -> Tensor:
        """x (N, C, H, W) -> (N, C', H, W), or (N, C', 2H, 2W), filtered, with `upsample`."""
        if not self.upsample:
            return F.conv2d(x, kernel, bias, padding=1)
        y = F.conv_transpose2d(x, kernel, stride=2)
        return F.conv2d(y, self.blur.depthwise(y).flip(2, 3), bias, padding=1, groups=y.shape[1])


class Noise(nn.Module):
    """Holder of a layer's noise strength."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))


class Bias(nn.Module):
    """Holder of the bias that goes in before the leaky ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))


class StyledConv(nn.Module):
    """Modulated, demodulated 3x3 convolution, noise, bias and leaky ReLU with gain sqrt(2)."""

    def __init__(self, channels: int, out_channels: int, style_dim: int, upsample: bool = False) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(channels, out_channels, 3, style_dim, upsample)
        self.noise = Noise()
        self.activate = Bias(out_channels)

    def forward(self, x: Tensor, style: Tensor | LocalStyle, noise: Tensor, factors: Factors | None = None) -> Tensor:
        """x (N, C, H, W), style (N, C), noise (1, 1, H', W') -> (N, C', H', W')."""
        if isinstance(style, LocalStyle):
            return self._by_place(x, style, noise, factors)
        conv, dtype = self.conv, x.dtype
        gradients = torch.is_grad_enabled()
        learning = gradients and any(w.requires_grad for w in (*self.parameters(), *(factors or ())))
        with_gradients = learning or (gradients and style.requires_grad)
        modulate_weight = len(x) == 1 and x.numel() > conv.weight.numel() and not with_gradients
        kernel, squares = conv.prepared(style.dtype if modulate_weight else dtype, factors)
        demodulation = torch.rsqrt((style * style) @ squares.T + 1e-8)
        # The gain sqrt(2) passes through the leaky ReLU, so it goes into the three small terms before it.
        demodulation, bias, noise = (v * SQRT2 for v in (demodulation, self.activate.bias, noise * self.noise.weight))
        if modulate_weight:  # a small product without the image, instead of two passes over it
            rows, columns = (style, demodulation) if conv.upsample else (demodulation, style)
            kernel = (kernel * (rows.T[..., None, None] * columns[0, :, None, None])).to(dtype)
            y = conv.convolve(x, kernel, bias.to(dtype)).add_(noise.to(dtype))
        elif with_gradients and not learning:
            return FrozenStyledConv.apply(x, style, demodulation, conv, kernel, noise, bias)
        else:  # bias and noise are summed once for the batch, in the memory order of channels_last
            y = conv.convolve(x * style[..., None, None].to(dtype), kernel) * demodulation[..., None, None].to(dtype)
            y = y.add_((noise.permute(0, 2, 3, 1) + bias).to(dtype).permute(0, 3, 1, 2))
        return F.leaky_relu_(y, 0.2)

    def _by_place(self, x: Tensor, style: LocalStyle, noise: Tensor, factors: Factors | None) -> Tensor:
        """`forward` where the style differs from place to place: the demodulation does so too, and is that of the style
        without and with each step, blended as they are."""
        kernel, squares = self.conv.prepared(x.dtype, factors)
        styles = torch.cat([style.style, style.style + style.steps])  # of one picture
        demodulation = torch.rsqrt((styles * styles) @ squares.T + 1e-8)
        masks = resized(style.masks[:, None], noise.shape[-1])[:, 0]
        demodulation = LocalStyle(demodulation[:1], masks, demodulation[1:] - demodulation[:1])
        y = self.conv.convolve(modulated(x, style)[0], kernel)
        small = (noise * self.noise.weight).permute(0, 2, 3, 1) + self.activate.bias
        y = modulated(y, demodulation)[0] + small.to(y.dtype).permute(0, 3, 1, 2)
        return F.leaky_relu(y, 0.2) * SQRT2


class FrozenStyledConv(torch.autograd.Function):
    """A styled convolution with frozen weights, differentiable in x, style and demodulation.

    Autograd would keep four maps a layer; only the input and the output are needed, and the next layer's input is this
    one's output. At 1024 px that is a third of the memory.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, style: Tensor, demodulation: Tensor, conv: ModulatedConv2d, kernel: Tensor, *small: Tensor
    ) -> Tensor:
        noise, bias = (v.to(x.dtype) for v in small)
        y = conv.convolve(x * _per_channel(style, x), kernel)
        y = y.mul_(_per_channel(demodulation, x)).add_(bias[:, None, None]).add_(noise)
        y = F.leaky_relu_(y, 0.2)
        ctx.save_for_backward(x, y, style, demodulation, kernel, noise, bias)
        ctx.conv = conv
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, y, style, demodulation, kernel, noise, bias = ctx.saved_tensors
        grad = torch.where(y < 0, 0.2 * grad, grad).contiguous(memory_format=torch.channels_last)
        # What was demodulated, times its factor, is the output before the leaky ReLU without bias and noise.
        before = torch.where(y < 0, 5 * y, y).sub_(bias[:, None, None]).sub_(noise)
        grad_demodulation = before.mul_(grad).sum((2, 3), dtype=torch.float32) / demodulation
        del before
        grad = grad.mul_(_per_channel(demodulation, x))
        if ctx.conv.upsample:
            grad = F.conv2d(grad, ctx.conv.blur.depthwise(grad), padding=2, groups=grad.shape[1])
            grad = F.conv2d(grad, kernel, stride=2)
        else:
            grad = F.conv_transpose2d(grad, kernel, padding=1)
        grad_style = (grad * x).sum((2, 3), dtype=torch.float32).to(style.dtype)
        grad_x = grad.mul_(_per_channel(style, x)) if ctx.needs_input_grad[0] else None
        return grad_x, grad_style, grad_demodulation.to(demodulation.dtype), None, None, None, None


def _per_channel(factors: Tensor, like: Tensor) -> Tensor:
    return factors[..., None, None].to(like.dtype)


class ToRGB(nn.Module):
    """Modulated 1x1 convolution to RGB, added to the up-sampled image of the resolution below."""

    def __init__(self, channels: int, style_dim: int, upsample: bool = True) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(channels, 3, 1, style_dim)
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))
        if upsample:
            self.upsample = FirKernel()

    def forward(
        self, x: Tensor, style: Tensor | LocalStyle, skip: Tensor | None, factors: Factors | None = None
    ) -> Tensor:
        """x (N, C, H, W), style (N, C), skip (N, 3, H/2, W/2) or None -> (N, 3, H, W), float32 or wider."""
        x, style = modulated(x, style)
        weight = self.conv.tuned(factors).flatten(1) * self.conv.scale * style[:, None]  # (N, 3, C)
        rgb = x.permute(0, 2, 3, 1).flatten(1, 2) @ weight.to(x.dtype).transpose(1, 2)  # (N, H * W, 3)
        rgb = rgb.to(style.dtype).unflatten(1, x.shape[2:]).permute(0, 3, 1, 2) + self.bias.to(style.dtype)
        if skip is None:
            return rgb
        return F.conv_transpose2d(skip, self.upsample.depthwise(skip), stride=2, padding=1, groups=3).add_(rgb)


class ConstantInput(nn.Module):
    """Holder of the learned 4x4 input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.input = nn.Parameter(torch.randn(1, channels, 4, 4))


class Generator(StyleGenerator):
    """StyleGAN2 generator: a latent has a row for each layer, W+. In bfloat16, demodulation and the sum of the RGB
    images stay float32. Otherwise as `StyleGenerator`.
    """

    def __init__(
        self, size: int, style_dim: int = 512, n_mlp: int = 8, channels: Mapping[int, int] | None = None
    ) -> None:
        super().__init__()
        channels = channels or default_channels(size)
        self.size = size
        self.style_dim = style_dim
        self.num_rows = 2 * int(math.log2(size)) - 2
        self.compute_dtype = None
        self.style = nn.Sequential(
            PixelNorm(), *(EqualLinear(style_dim, style_dim, lr_mul=0.01, activate=True) for _ in range(n_mlp))
        )
        self.input = ConstantInput(channels[4])
        self.conv1 = StyledConv(channels[4], channels[4], style_dim)
        self.to_rgb1 = ToRGB(channels[4], style_dim, upsample=False)
        self.convs, self.to_rgbs, self.noises = nn.ModuleList(), nn.ModuleList(), nn.Module()
        self.noises.register_buffer("noise_0", torch.randn(1, 1, 4, 4))
        for i in range(3, int(math.log2(size)) + 1):
            below, here = channels[2 ** (i - 1)], channels[2**i]
            self.convs.append(StyledConv(below, here, style_dim, upsample=True))
            self.convs.append(StyledConv(here, here, style_dim))
            self.to_rgbs.append(ToRGB(here, style_dim))
            for k in (2 * i - 5, 2 * i - 4):
                self.noises.register_buffer(f"noise_{k}", torch.randn(1, 1, 2**i, 2**i))
        self.style_layers = self._style_layers()

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor]) -> "Generator":
        """A frozen generator from a published `g_ema` state dict. Every size and width is read off the shapes."""
        ups = sorted(int(m[1]) for k in state if (m := re.fullmatch(r"to_rgbs\.(\d+)\.bias", k)))
        channels = {4: state["input.input"].shape[1]}
        channels |= {2 ** (i + 3): state[f"to_rgbs.{i}.conv.weight"].shape[2] for i in ups}
        n_mlp = sum(bool(re.fullmatch(r"style\.\d+\.weight", k)) for k in state)
        style_dim = state["conv1.conv.modulation.weight"].shape[1]
        return load_frozen(lambda: cls(max(channels), style_dim, n_mlp, channels), state)

    def _style_layers(self) -> tuple[StyleLayer, ...]:
        def layer(name: str, module: StyledConv | ToRGB, resolution: int, row: int) -> StyleLayer:
            level = "coarse" if row < MEDIUM_ROW else "medium" if row < FINE_ROW else "fine"
            return StyleLayer(name, resolution, module.conv.weight.shape[2], isinstance(module, ToRGB), row, level)

        layers = [layer("conv1", self.conv1, 4, 0), layer("to_rgb1", self.to_rgb1, 4, 1)]
        for i, to_rgb in enumerate(self.to_rgbs):
            resolution = 2 ** (i + 3)
            for k in (0, 1):
                layers.append(layer(f"convs.{2 * i + k}", self.convs[2 * i + k], resolution, 2 * i + 1 + k))
            layers.append(layer(f"to_rgbs.{i}", to_rgb, resolution, 2 * i + 3))
        return tuple(layers)

    @property
    def device(self) -> torch.device:
        return self.input.input.device

    def mapping(self, z: Tensor) -> Tensor:
        """z (N, D), standard normal -> w (N, D)."""
        return self.style(z)

    def tunable_weights(self) -> dict[str, Tensor]:
        return {layer.name: self.get_submodule(layer.name).conv.weight[0] for layer in self.style_layers}

    def styles(self, w: Tensor) -> list[Tensor]:
        """w (N, D) or W+ (N, L, D) -> StyleSpace S: one (N, C_i) per entry of `style_layers`."""
        w = self.rows(w)
        return [self.get_submodule(layer.name).conv.modulation(w[:, layer.row]) for layer in self.style_layers]

    def synthesize(
        self,
        styles: Sequence[Tensor],
        resolution: int | None = None,
        tuning: Mapping[str, Factors] | None = None,
        regions: Sequence[Region] = (),
    ) -> Tensor:
        """See `StyleGenerator`. At `resolution` (4 ... size) it stops and returns the RGB summed so far, which
        resembles the down-scaled image and costs a fraction. Only a single picture can have regions."""
        resolution = resolution or self.size
        if resolution not in {layer.resolution for layer in self.style_layers}:
            raise ValueError(f"resolution {resolution} is none of 4, 8, ... {self.size}")
        return self._draw(0, styles, self._start(len(styles[0])), resolution, tuning or {}, regions)

    def features_at(
        self,
        styles: Sequence[Tensor],
        resolution: int,
        tuning: Mapping[str, Factors] | None = None,
        regions: Sequence[Region] = (),
    ) -> Tensor:
        """See `StyleGenerator`."""
        trace = self._start(len(styles[0]))
        self._draw(0, styles, trace, resolution, tuning or {}, regions, keep=True)
        return trace[max(trace)][0]  # what enters the toRGB layer

    def _start(self, count: int) -> Trace:
        x = self.input.input.to(self.compute_dtype or self.input.input.dtype).expand(count, -1, -1, -1)
        return {0: (x.contiguous(memory_format=torch.channels_last), None)}  # so its products are channels_last too

    def traced(self, styles: Sequence[Tensor]) -> tuple[Tensor, Trace]:
        """See `StyleGenerator`. The features that enter a layer come with the running RGB."""
        trace = self._start(1)
        return self._draw(0, styles, trace, self.size, {}, (), keep=True), trace

    def draw_from(self, start: int, styles: Sequence[Tensor], trace: Trace) -> Tensor:
        """See `StyleGenerator`."""
        count = len(styles[0])
        shared = {
            p: tuple(None if t is None else t.expand(count, -1, -1, -1) for t in entered)
            for p, entered in trace.items()
        }
        return self._draw(start, styles, shared, self.size, {}, ())

    def _draw(
        self,
        start: int,
        styles: Sequence[Tensor],
        trace: Trace,
        resolution: int,
        tuning: Mapping,
        regions: Sequence[Region],
        keep: bool = False,
    ) -> Tensor:
        """The image from layer `start` on. With `keep` what enters the layers is written into `trace`.

        A change that starts in a toRGB layer reaches no convolution: their results are taken from `trace`.
        """
        x, rgb = trace[start]
        only_rgb = self.style_layers[start].is_to_rgb
        convolutions = [p for p, layer in enumerate(self.style_layers) if not layer.is_to_rgb]
        for p in range(start, len(styles)):
            layer = self.style_layers[p]
            if layer.resolution > resolution:
                break
            if keep:
                trace[p] = (x, rgb)
            module, factors = self.get_submodule(layer.name), tuning.get(layer.name)
            style = local_style(styles[p], [r.step[p] for r in regions], masks_at(regions, x.shape[-1]))
            if layer.is_to_rgb:
                rgb = module(x, style, rgb, factors)
            elif only_rgb:
                x = trace[p + 1][0]
            else:
                x = module(x, style, getattr(self.noises, f"noise_{convolutions.index(p)}"), factors)
        return rgb
