"""The latent mapper at work: one forward pass makes the edit that it was trained for (StyleCLIP, section 5)."""

from dataclasses import replace

import torch

from pipeline.latents import Latent
from pipeline.networks.generator import StyleGenerator
from pipeline.networks.mapper import LatentMapper


@torch.no_grad()
def apply_mapper(mapper: LatentMapper, generator: StyleGenerator, latent: Latent, strength: float) -> Latent:
    """w + strength * M(w), or the same in StyleSpace S when the mapper works there."""
    if mapper.in_style_space:
        return latent.moved([strength * step for step in mapper(latent.styles(generator))])
    w_plus = latent.w_plus.to(generator.device)
    return replace(latent, w_plus=(w_plus + strength * mapper(w_plus)).cpu())
