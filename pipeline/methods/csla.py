"""CSLA, latent alignment (arXiv 2210.04506): one forward pass from CLIP's space to a latent.

    w  = w̄ + M_W(f − c)                                                           inversion
    Δs = M_S(f_target − c) − M_S(f_neutral − c)
    s' = s + strength · Δs                               editing; text to face, where s is that of the mean face

f is a unit embedding of CLIP, of a picture or of a text, and w̄ the mean latent. The mappers M_W and M_S
(`CSLA.to_w` and `to_s` of networks/csla.py, which subtract c) give residuals from the mean face; M_S ends with adaptive
style mixing. c moves with the training batches (training/csla.py), and stands in the file as `centre`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.errors import UserError
from pipeline.latents import Latent
from pipeline.losses import clip_features
from pipeline.models.family import Family
from pipeline.networks.csla import CSLA
from pipeline.networks.generator import LEVELS, StyleGenerator
from pipeline.text import Texts


def csla_of(family: Family) -> CSLA:
    """A family's mappers. Raises UserError where it has none."""
    if family.alignment is None:
        raise UserError(
            f"The model “{family.title}” has no alignment of texts and faces yet; please make it with "
            f"python -m pipeline.training.csla --model {family.name}."
        )
    return family.alignment


@torch.no_grad()
def csla_step(
    csla: CSLA, generator: StyleGenerator, target: Tensor, neutral: Tensor, levels: Sequence[str] = LEVELS
) -> list[Tensor]:
    """Δs for unit embeddings (E,) of two texts: one (1, C_i) per vector of S, zero outside `levels`."""
    towards, away = csla.to_s(torch.stack([target, neutral])).split(1)
    delta_s = (towards - away).split([layer.channels for layer in generator.style_layers], 1)
    return [
        step if layer.level in levels else torch.zeros_like(step)
        for step, layer in zip(delta_s, generator.style_layers, strict=True)
    ]


def csla_edit(
    family: Family,
    texts: Texts,
    latent: Latent,
    target: str,
    neutral: str,
    strength: float,
    levels: Sequence[str] = LEVELS,
) -> Latent:
    """s' = s + strength · Δs: an edit, or from the mean face a face from text alone.

    Raises UserError where the family has no mappers.
    """
    step = csla_step(csla_of(family), family.generator, texts.averaged(target), texts.averaged(neutral), levels)
    return latent.moved([strength * s for s in step])


@torch.no_grad()
def invert_through_clip(family: Family, photo: Tensor) -> Latent:
    """w = w̄ + M_W(f − c) of an aligned photo (1, 3, S, S) in [-1, 1].

    Raises UserError where the family has no mappers.
    """
    csla = csla_of(family)
    f = clip_features(family.clip, photo, family.row.clip_normalize_directions)
    return Latent((family.latent_avg + csla.to_w(f)[:, None]).cpu())
