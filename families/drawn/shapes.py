"""The renderer's tools: coverage of implicit shapes, soft steps, bumps, strokes, shading, and the canvas."""

from collections.abc import Sequence

import torch
from torch import Tensor


class Canvas:
    """Pictures being painted: `rgb` (N, 3, size, size) in [0, 1]; `pixel` is a pixel's side in picture units."""

    def __init__(self, count: int, size: int, extent: float = 1.0) -> None:
        self.rgb = torch.zeros(count, 3, size, size)
        self.layers: list[tuple[str, Tensor]] = []
        self.pixel = 2 * extent / size

    def paint(self, colour: Tensor, alpha: Tensor, part: str = "") -> None:
        """Lay a colour (broadcastable to N, 3, H, W) over the picture with opacity alpha (broadcastable to N, H, W).

        What is painted is a `part` of the face, or with "" of the part that it lies on."""
        self.rgb = self.rgb + (colour - self.rgb) * alpha[:, None]
        if part:
            self.layers.append((part, alpha))

    def shares(self, parts: Sequence[str]) -> Tensor:
        """The share of each pixel that each part has (N, P, H, W); before anything is painted it is of the first."""
        shares = torch.zeros(len(self.rgb), len(parts), *self.rgb.shape[2:])
        shares[:, 0] = 1
        for part, alpha in self.layers:
            shares = shares * (1 - alpha[:, None])
            shares[:, parts.index(part)] += alpha
        return shares


def cover(distance: Tensor, canvas: Canvas, softness: float = 1.0) -> Tensor:
    """Share of each pixel inside a shape given its signed distance; `softness` widens the edge (pixels at 256 px)."""
    width = max(canvas.pixel, softness * 2 / 256) if softness > 1 else canvas.pixel
    return (0.5 - distance / width).clamp(0, 1)


def stroke(distance: Tensor, half: Tensor | float, canvas: Canvas, softness: float = 1.0) -> Tensor:
    """Coverage of a line of half width `half` around the zero set of a distance."""
    return cover(distance.abs() - half, canvas, softness)


def soft(start: Tensor | float, end: Tensor | float, value: Tensor) -> Tensor:
    """Smooth step of `value` from 0 at `start` to 1 at `end`; `start` may be the larger."""
    t = ((value - start) / (end - start)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def bump(dx: Tensor, dy: Tensor, width: Tensor | float, height: Tensor | float) -> Tensor:
    """A Gaussian hill of height 1."""
    return torch.exp(-((dx / width).square() + (dy / height).square()))


def ellipse(dx: Tensor, dy: Tensor, half_width: Tensor | float, half_height: Tensor | float) -> Tensor:
    """Approximate signed distance to an axis-parallel ellipse."""
    radius = ((dx / half_width).square() + (dy / half_height).square() + 1e-9).sqrt()
    smaller = torch.minimum(torch.as_tensor(half_width), torch.as_tensor(half_height))
    return (radius - 1) * smaller


def shade(colour: Tensor, light: Tensor) -> Tensor:
    """Colour (N, 3, 1, 1) or (N, 3, H, W) under light (N, H, W): shadows turn warm, as they do in skin."""
    tint = torch.tensor([0.75, 1.05, 1.12]).view(1, 3, 1, 1)
    return colour * light.clamp(min=0)[:, None] ** tint


def hue(position: Tensor) -> Tensor:
    """Eyeshadow colours along (N, 1, 1) in [0, 1]: violet, blue, green, bronze. Returns (N, 3, 1, 1)."""
    knots = torch.tensor([[0.50, 0.22, 0.62], [0.20, 0.38, 0.75], [0.15, 0.55, 0.45], [0.62, 0.38, 0.20]])
    place = position.view(-1, 1) * 3 - torch.arange(4)
    weights = (1 - place.abs()).clamp(min=0)
    return (weights @ knots).view(-1, 3, 1, 1)


def slopes(height: Tensor, pixel: float) -> tuple[Tensor, Tensor]:
    """Central differences along x and y of a height field (N, H, W)."""
    along_x = (height[:, :, 2:] - height[:, :, :-2]) / (2 * pixel)
    along_y = (height[:, 2:] - height[:, :-2]) / (2 * pixel)
    return torch.nn.functional.pad(along_x, (1, 1)), torch.nn.functional.pad(along_y, (0, 0, 1, 1))
