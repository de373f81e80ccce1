"""From an aligned face to a code in W+, with e4e in one forward pass (Tov et al. 2021)."""

import torch
from PIL import Image
from torch import Tensor, nn

from .errors import UserError
from .images import to_tensor
from .latents import Latent


@torch.no_grad()
def invert(encoder: nn.Module, latent_avg: Tensor, image: Image.Image, rows: int) -> Latent:
    """The code of an aligned picture; `latent_avg` (L, D) is what the encoder's offsets count from.

    The encoder sees it `encoder.size` pixels wide and `rows` high; rows of its answer that the generator does not have
    are left out. Raises UserError for a picture of another shape.
    """
    if abs(image.width * rows - image.height * encoder.size) > encoder.size:
        shape = "a square picture" if rows == encoder.size else f"{encoder.size}:{rows} wide"
        raise UserError(f"An aligned picture is {shape}; please let the studio align this one first.")
    pixels = to_tensor(image, (encoder.size, rows)).to(next(encoder.parameters()))
    offsets = encoder(pixels).float()
    return Latent((offsets[:, : len(latent_avg)] + latent_avg).cpu())
