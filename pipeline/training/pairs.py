"""Faces that a generator made up, and how CLIP sees them: training without data (CSLA, arXiv 2210.04506)."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from pipeline.losses import clip_features
from pipeline.training.frozen import FrozenModels
from pipeline.training.partial import write

BATCH = 8
EVERY = 60  # seconds between two savings

log = logging.getLogger(__name__)


class Pairs(NamedTuple):
    """Codes `w` (N, D) of sampled faces and unit CLIP embeddings `features` (N, E) of their pictures, on the CPU."""

    w: Tensor
    features: Tensor


@torch.inference_mode()
def sample_pairs(
    models: FrozenModels,
    count: int,
    seed: int = 0,
    progress: Callable[[int], None] = lambda done: None,
    path: Path | None = None,
) -> Pairs:
    """`count` faces of the generator's whole variety, the same for the same seed. `progress` is called with the number
    of those done.

    A longer run begins with the faces of a shorter one. What is done is saved in the file `path`, from which a later
    run goes on; its name tells the networks and the seed.
    """
    generator, rng = models.generator, torch.Generator().manual_seed(seed)
    earlier = _saved(path)
    codes, features = ([earlier.w], [earlier.features]) if earlier else ([], [])
    ready, saved = len(earlier.w) if earlier else 0, time.monotonic()

    def pairs() -> Pairs:
        return Pairs(torch.cat(codes), torch.cat(features))

    for done in range(0, count, BATCH):
        z = torch.randn(BATCH, generator.style_dim, generator=rng)
        if done + BATCH <= ready:
            continue
        w = generator.mapping(z.to(models.device))
        images = generator.synthesize(generator.styles(w), generator.working_size).clamp(-1, 1)
        codes.append(w.cpu())
        features.append(clip_features(models.clip, images, models.normalize_directions).cpu())
        progress(min(done + BATCH, count))
        if path and (time.monotonic() - saved > EVERY or done + BATCH >= count):
            write(pairs()._asdict(), path)
            saved = time.monotonic()
    return Pairs(*(values[:count].clone() for values in pairs()))


def _saved(path: Path | None) -> Pairs | None:
    """What an earlier run has saved: whole batches."""
    if path is None or not path.is_file():
        return None
    try:
        return Pairs(**load_file(path))
    except (SafetensorError, TypeError):
        log.warning("%s is damaged: what was kept there is done again", path)
        return None
