"""CLIP's space and the generator's, bridged (CSLA, arXiv 2210.04506): one forward pass from embeddings to a latent."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .checks import of_type
from .errors import UserError
from .latents import Latent
from .networks.alignment import Alignment
from .networks.generator import StyleGenerator

LEVELS = ("coarse", "medium", "fine")


def check_levels(levels: Sequence[str] | None) -> list[str]:
    """The levels that are to move, in order; all for None. Raises UserError for none, and for what is no level."""
    levels = LEVELS if levels is None else of_type("levels", levels, (list, tuple), "a list of texts")
    if not levels or any(level not in LEVELS for level in levels):
        raise UserError(f"Please choose at least one level of {', '.join(LEVELS)}.")
    return [level for level in LEVELS if level in levels]


@torch.no_grad()
def bridge_step(
    alignment: Alignment, generator: StyleGenerator, target: Tensor, neutral: Tensor, levels: Sequence[str] = LEVELS
) -> list[Tensor]:
    """M(f_target) − M(f_neutral) for unit embeddings (E,): one (1, C_i) per vector of S, zero outside `levels`."""
    target, neutral = alignment.to_s(torch.stack([target, neutral])).split(1)
    sizes = [layer.channels for layer in generator.style_layers]
    return [
        step if layer.level in levels else torch.zeros_like(step)
        for step, layer in zip((target - neutral).split(sizes, 1), generator.style_layers, strict=True)
    ]


@torch.no_grad()
def seen(alignment: Alignment, latent_avg: Tensor, features: Tensor) -> Latent:
    """The face that CLIP sees in a picture: mean latent + M(f) in W, for a unit image embedding (1, E)."""
    return Latent((latent_avg + alignment.to_w(features)[:, None]).cpu())
