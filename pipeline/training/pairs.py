"""Faces that a generator made up, and how CLIP sees them: training without data (CSLA, arXiv 2210.04506)."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.losses import clip_features
from pipeline.training.judges import Judges

BATCH = 8


class Pairs(NamedTuple):
    """Codes `w` (N, D) of sampled faces and the unit CLIP embeddings `features` (N, E) of their pictures, on CPU."""

    w: Tensor
    features: Tensor


@torch.inference_mode()
def sample_pairs(
    judges: Judges, count: int, seed: int = 0, progress: Callable[[int], None] = lambda done: None
) -> Pairs:
    """`count` faces of the generator's whole variety, the same for the same seed; `progress` hears how many are done.

    A longer run begins with the faces of a shorter one.
    """
    generator, rng = judges.generator, torch.Generator().manual_seed(seed)
    codes, features = [], []
    for done in range(0, count, BATCH):
        z = torch.randn(BATCH, generator.style_dim, generator=rng)[: count - done].to(judges.device)
        w = generator.mapping(z)
        images = generator.synthesize(generator.styles(w)).clamp(-1, 1)
        codes.append(w.cpu())
        features.append(clip_features(judges.clip, images, judges.normalize).cpu())
        progress(min(done + BATCH, count))
    return Pairs(torch.cat(codes), torch.cat(features))
