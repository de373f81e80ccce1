"""Between PIL images, at the border of this library, and tensors (N, 3, H, W) in [-1, 1], inside it."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def to_tensor(image: Image.Image, size: tuple[int, int]) -> Tensor:
    """RGB image, resized to `size` (width, height) when it is not -> (1, 3, height, width) float32 in [-1, 1]."""
    if image.size != size:
        image = image.resize(size, Image.Resampling.LANCZOS)
    pixels = torch.from_numpy(np.array(image.convert("RGB")))
    return pixels.permute(2, 0, 1)[None].float() / 127.5 - 1


def to_pil(image: Tensor, rows: int | None = None) -> Image.Image:
    """(1, 3, H, W), clamped to [-1, 1] -> RGB image; of its middle `rows` only, where they are given."""
    if rows is not None:
        image = image.narrow(2, (image.shape[2] - rows) // 2, rows)
    pixels = (image[0].detach().float().clamp(-1, 1) + 1).mul(127.5).round().byte()
    return Image.fromarray(pixels.permute(1, 2, 0).cpu().contiguous().numpy())
