"""CLIP's space and the generator's, bridged (CSLA, arXiv 2210.04506): one forward pass from embeddings to a latent."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.checks import of_type
from pipeline.errors import UserError
from pipeline.latents import Latent
from pipeline.losses import clip_features
from pipeline.models.family import Family
from pipeline.networks.csla import Alignment
from pipeline.networks.generator import StyleGenerator
from pipeline.text import Texts

LEVELS = ("coarse", "medium", "fine")


def check_levels(levels: Sequence[str] | None) -> list[str]:
    """The levels that are to move, in order; all for None. Raises UserError for none, and for what is no level."""
    levels = LEVELS if levels is None else of_type("levels", levels, (list, tuple), "a list of texts")
    if not levels or any(level not in LEVELS for level in levels):
        raise UserError(f"Please choose at least one level of {', '.join(LEVELS)}.")
    return [level for level in LEVELS if level in levels]


def alignment_of(family: Family) -> Alignment:
    """A family's alignment. Raises UserError where it has none."""
    if family.alignment is None:
        raise UserError(
            f"The model “{family.title}” has no alignment of texts and faces yet; please make it with "
            f"python -m pipeline.training.csla --model {family.name}."
        )
    return family.alignment


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


@torch.no_grad()
def seen_in(family: Family, photo: Tensor) -> Latent:
    """`seen` of an aligned photo (1, 3, S, S) in [-1, 1]. Raises UserError where the family has no alignment."""
    alignment = alignment_of(family)
    return seen(alignment, family.latent_avg, clip_features(family.clip, photo, family.clip_normalize_directions))


def bridged(
    family: Family,
    texts: Texts,
    latent: Latent,
    target: str,
    neutral: str,
    strength: float,
    levels: Sequence[str] = LEVELS,
) -> Latent:
    """A latent, moved by `strength` times what lies between two texts. Raises UserError without an alignment."""
    alignment = alignment_of(family)
    step = bridge_step(alignment, family.generator, texts.averaged(target), texts.averaged(neutral), levels)
    return latent.moved([strength * s for s in step])
