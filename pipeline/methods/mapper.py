"""The latent mapper (StyleCLIP, section 5): one forward pass makes the edit that the mapper was trained for.

    M_t(w) = (M_t^c(w_c), M_t^m(w_m), M_t^f(w_f))                                         (equation 3)
    w'     = w + strength · M_t(w)

t is the text of the training, and c, m, f are the coarse, medium and fine rows of w. The published code has a strength
of 0.1. `LevelsMapper.forward` in networks/mapper.py is equation 3, beside the other networks M_t; their training
(equations 4 and 5) is in training/mapper_training.py.
"""

from dataclasses import replace

import torch

from pipeline.latents import Latent
from pipeline.networks.generator import StyleGenerator
from pipeline.networks.mapper import LatentMapper


@torch.no_grad()
def apply_mapper(mapper: LatentMapper, generator: StyleGenerator, latent: Latent, strength: float) -> Latent:
    """w + strength · M_t(w), or s + strength · M_t(s) when the mapper works in StyleSpace."""
    if mapper.in_style_space:
        delta_s = mapper(latent.styles(generator))
        return latent.moved([strength * s for s in delta_s])
    w = latent.w_plus.to(generator.device)
    return replace(latent, w_plus=(w + strength * mapper(w)).cpu())
