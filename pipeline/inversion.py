"""From an aligned face to a code in W+, with e4e in one forward pass (Tov et al. 2021)."""

import torch
from PIL import Image
from torch import Tensor, nn

from .errors import UserError
from .images import to_tensor
from .latents import Latent


@torch.no_grad()
def invert(encoder: nn.Module, latent_avg: Tensor, image: Image.Image) -> Latent:
    """The code of an aligned, square face; `latent_avg` (L, D) is what the encoder's offsets count from.

    Raises UserError for a picture that is not square.
    """
    if image.width != image.height:
        raise UserError("An aligned face is a square picture; please let the studio find the face in this one first.")
    offsets = encoder(to_tensor(image, encoder.size).to(latent_avg.device))
    return Latent((offsets + latent_avg).cpu())
