"""Disturbances that bring drawn faces nearer to photographs: what is trained on drawings also reads photographs.

Images are (N, C, S, S), colour or grey, in [-1, 1]; points lie in the picture's square [-1, 1]², x to the right, y
down. Random numbers come from a `torch.Generator`.
"""

import io
import math

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Generator, Tensor

EYES, MOUTH = ((-0.25, -0.05), (0.25, -0.05)), (0.0, 0.45)  # where FFHQ's alignment puts them


def uniform(low: float, high: float, shape: tuple[int, ...], rng: Generator) -> Tensor:
    """Uniform random numbers in [low, high)."""
    return low + (high - low) * torch.rand(shape, generator=rng)


def field(count: int, channels: int, cells: int, size: int, rng: Generator) -> Tensor:
    """Smooth noise (count, channels, size, size) of about unit variance with features 1/cells of the picture wide."""
    grid = torch.randn(count, channels, cells + 1, cells + 1, generator=rng)
    return F.interpolate(grid, size=(size, size), mode="bilinear" if cells > 8 else "bicubic", align_corners=True)


def texture(count: int, channels: int, size: int, rng: Generator) -> Tensor:
    """Random surfaces (count, channels, size, size) in [-1, 1]: a colour, and noise of several scales on it."""
    result = uniform(-0.9, 0.9, (count, 1, 1, 1), rng) + 0.35 * torch.randn(count, channels, 1, 1, generator=rng)
    for cells in (2, 5, 13, 40):
        strength = 0.6 * uniform(0, 1, (count, 1, 1, 1), rng).square() * uniform(0, 1, (count, channels, 1, 1), rng)
        result = result + strength * field(count, channels, cells, size, rng)
    return result.tanh()


def photograph(images: Tensor, rng: Generator, strength: float = 1.0) -> Tensor:
    """Uneven light, rough surfaces, a camera's colours and tone curve, blur, noise and JPEG, drawn for each image."""
    count, channels, size, _ = images.shape

    def draw(scale: float, channels: int = 1) -> Tensor:
        return strength * scale * torch.randn(count, channels, 1, 1, generator=rng)

    x = (images + 1) / 2
    light = draw(0.25).abs() * field(count, 1, 2, size, rng) + draw(0.15).abs() * field(count, 1, 5, size, rng)
    coarse, fine = (draw(0.05).abs() * field(count, 1, cells, size, rng) for cells in (size // 6, size // 2))
    x = x * (light + coarse + fine + draw(0.12) + draw(0.06, channels)).exp()
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * (1 + draw(0.3)).clamp(0, 1.6)
    x = x.clamp(1e-4, 1) ** draw(0.25).exp()
    x = (x - 0.5) * (1 + draw(0.15)).clamp(0.5, 1.5) + 0.5 + draw(0.06)
    sharp = torch.rand(count, generator=rng) < 0.4
    sizes = (size * uniform(max(0.2, 1 - 0.75 * strength), 1, (count,), rng)).int().tolist()
    for i in range(count):
        if not sharp[i]:
            small = F.interpolate(x[i : i + 1], size=sizes[i], mode="bilinear", antialias=True)
            x[i : i + 1] = F.interpolate(small, size=size, mode="bicubic", align_corners=False)
    x = x + draw(0.03).abs() * torch.randn(x.shape, generator=rng)
    pixels = (x * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    quality = uniform(25, 95, (count,), rng).int().tolist()
    return torch.stack([_jpeg(p, q) for p, q in zip(pixels, quality, strict=True)])


def _jpeg(pixels: np.ndarray, quality: int) -> Tensor:
    """One image (S, S, C) uint8 -> (C, S, S) in [-1, 1] after JPEG; untouched at a quality above 80."""
    if quality <= 80:
        file = io.BytesIO()
        Image.fromarray(pixels.squeeze()).save(file, "JPEG", quality=quality)
        pixels = np.asarray(Image.open(file)).reshape(pixels.shape)
    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1).float() / 127.5 - 1


class Warp:
    """A random deformation of N faces: placement in the output, smooth waves, and eyes and mouths of other sizes.

    `matrix` (N, 3, 3) takes homogeneous output points to aligned faces.
    """

    def __init__(self, matrix: Tensor, rng: Generator, strength: float = 1.0) -> None:
        count = len(matrix)
        self.matrix = matrix
        self.frequency = 1.7 * torch.randn(count, 4, 2, generator=rng)
        self.phase = uniform(0, 2 * math.pi, (count, 4), rng)
        self.amplitude = 0.03 * strength * torch.randn(count, 4, 2, generator=rng)
        eyes = uniform(-0.25, 0.4, (count, 1, 2), rng) * strength
        mouth = uniform(-0.35, 0.2, (count, 1, 2), rng) * strength
        self.scales = torch.cat([eyes, eyes, mouth], 1)  # > 0: smaller
        self.centres = torch.tensor([*EYES, MOUTH])
        self.reach = torch.tensor([0.17, 0.17, 0.26])

    def _shift(self, faces: Tensor) -> Tensor:
        angle = torch.einsum("nkd,npd->nkp", self.frequency, faces) + self.phase[:, :, None]
        shift = torch.einsum("nkp,nkd->npd", angle.sin(), self.amplitude)
        for scale, centre, reach in zip(self.scales.unbind(1), self.centres, self.reach, strict=True):
            away = faces - centre
            shift = shift + scale[:, None] * away * (-(away / reach).square().sum(2, keepdim=True)).exp()
        return shift

    def source(self, points: Tensor) -> Tensor:
        """Where in the aligned face the output's points (N, P, 2) look."""
        faces = torch.cat([points, torch.ones_like(points[..., :1])], 2) @ self.matrix.mT
        faces = faces[..., :2] / faces[..., 2:]
        return faces + self._shift(faces)

    def target(self, points: Tensor) -> Tensor:
        """Where in the output points (N, P, 2) of the aligned face come to lie: the inverse of `source`."""
        faces = points
        for _ in range(12):
            faces = points - self._shift(faces)
        out = torch.cat([faces, torch.ones_like(faces[..., :1])], 2) @ torch.linalg.inv(self.matrix).mT
        return out[..., :2] / out[..., 2:]

    def sample(self, images: Tensor, size: int, padding: str = "reflection") -> tuple[Tensor, Tensor]:
        """Deformed images (N, C, size, size), and the points (N, size, size, 2) of the aligned faces that they show."""
        axis = (torch.arange(size) + 0.5) * (2 / size) - 1
        grid = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), 2).view(1, -1, 2).expand(len(images), -1, 2)
        faces = self.source(grid).view(len(images), size, size, 2)
        return F.grid_sample(images, faces, mode="bilinear", padding_mode=padding, align_corners=False), faces


def placement(
    count: int,
    rng: Generator,
    scale: tuple[float, float] = (0.95, 1.05),
    turn: float = 0.05,
    shift: float = 0.04,
    stretch: float = 0.03,
    tilt: float = 0.0,
) -> Tensor:
    """Random matrices (count, 3, 3) from output to aligned face.

    The face's half side measures `scale` of the output's; it is turned by up to `turn` radians, shifted by up to
    `shift`, stretched by e^±`stretch`, and seen in a perspective of up to `tilt`.
    """
    size, angle = uniform(*scale, (count,), rng), uniform(-turn, turn, (count,), rng)
    squeeze = uniform(-stretch, stretch, (count,), rng).exp()
    matrix = torch.zeros(count, 3, 3)
    matrix[:, 0, 0], matrix[:, 0, 1] = angle.cos() / size * squeeze, angle.sin() / size * squeeze
    matrix[:, 1, 0], matrix[:, 1, 1] = -angle.sin() / size / squeeze, angle.cos() / size / squeeze
    offset = uniform(-shift, shift, (count, 2, 1), rng)
    matrix[:, :2, 2:] = -matrix[:, :2, :2] @ offset
    matrix[:, 2, :2] = uniform(-tilt, tilt, (count, 2), rng)
    matrix[:, 2, 2] = 1
    return matrix
