"""IR-SE identity network (ArcFace on a squeeze-and-excitation ResNet), whose body the e4e encoder shares."""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.networks.layers import load_frozen

WIDTHS = (64, 128, 256, 512)  # IR-SE50
DEPTHS = (3, 4, 14, 3)


class SqueezeExcitation(nn.Module):
    """Scales each channel by a gate computed from the means of all channels."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // reduction, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // reduction, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True)))).sigmoid()


class Unit(nn.Module):
    """Residual unit. Its shortcut is subsampling, or a strided 1x1 convolution where the width changes."""

    def __init__(self, channels: int, out_channels: int, stride: int, reduction: int) -> None:
        super().__init__()
        self.stride = stride
        if channels != out_channels:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.Conv2d(channels, out_channels, 3, padding=1, bias=False),
            nn.PReLU(out_channels),
            nn.Conv2d(out_channels, out_channels, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            SqueezeExcitation(out_channels, reduction),
        )

    def forward(self, x: Tensor) -> Tensor:
        changed = "shortcut_layer" in self._modules
        shortcut = self.shortcut_layer(x) if changed else x[..., :: self.stride, :: self.stride]
        return self.res_layer(x) + shortcut


def input_layer(width: int) -> nn.Sequential:
    """RGB to `width` channels at full resolution."""
    return nn.Sequential(nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.PReLU(width))


def body(widths: Sequence[int], depths: Sequence[int], reduction: int) -> nn.Sequential:
    """The stages in order, `depths[i]` units of `widths[i]` channels each; a stage's first unit has stride 2.

    Neighbouring widths must differ: from a change of width a state dict tells where a stage begins.
    """
    if any(a == b for a, b in pairwise(widths)):
        raise ValueError(f"neighbouring stages have equal widths: {tuple(widths)}")
    units, channels = [], widths[0]
    for width, depth in zip(widths, depths, strict=True):
        for i in range(depth):
            units.append(Unit(channels, width, 2 if i == 0 else 1, reduction))
            channels = width
    return nn.Sequential(*units)


def body_arguments(state: Mapping[str, Tensor]) -> dict[str, int | tuple[int, ...]]:
    """`widths`, `depths` and `reduction` of the body in a state dict."""
    units = 1 + max(int(m[1]) for k in state if (m := re.match(r"body\.(\d+)\.", k)))
    starts = [i for i in range(units) if i == 0 or f"body.{i}.shortcut_layer.0.weight" in state]
    widths = tuple(len(state[f"body.{i}.res_layer.2.weight"]) for i in starts)
    depths = tuple(b - a for a, b in zip(starts, [*starts[1:], units], strict=True))
    gate = state[f"body.{units - 1}.res_layer.5.fc1.weight"]
    return {"widths": widths, "depths": depths, "reduction": gate.shape[1] // gate.shape[0]}


class IRSE(nn.Module):
    """Face crop in, unit vector out; the cosine of two is the similarity of the persons."""

    def __init__(
        self,
        widths: Sequence[int] = WIDTHS,
        depths: Sequence[int] = DEPTHS,
        embedding: int = 512,
        size: int = 112,
        reduction: int = 16,
    ) -> None:
        super().__init__()
        self.size = size
        self.input_layer = input_layer(widths[0])
        self.body = body(widths, depths, reduction)
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(widths[-1]),
            nn.Dropout(0.6),
            nn.Flatten(),
            nn.Linear(widths[-1] * (size >> len(widths)) ** 2, embedding),
            nn.BatchNorm1d(embedding),
        )

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor]) -> "IRSE":
        """A frozen network from a state dict as published (`model_ir_se50.pth`), with sizes and widths read off it."""
        shape = body_arguments(state)
        embedding, features = state["output_layer.3.weight"].shape
        side = round((features / shape["widths"][-1]) ** 0.5)
        return load_frozen(lambda: cls(embedding=embedding, size=side << len(shape["widths"]), **shape), state)

    def forward(self, x: Tensor) -> Tensor:
        """x (N, 3, 112, 112) in [-1, 1] -> (N, E) of unit norm."""
        return F.normalize(self.output_layer(self.body(self.input_layer(x))))
