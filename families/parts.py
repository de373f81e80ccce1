"""The parts of a face in the generator's features: how the readers of both families are trained.

Features are standardised while a reader learns, and its first layer is rescaled when it is written, so that it takes
them as they are.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from pipeline.files import written_whole
from pipeline.networks.parts import PartReader

BATCH, RATE = 4_096, 3e-3


def fit(features: Tensor, truth: Tensor, resolution: int, steps: int) -> PartReader:
    """A reader that learned at places (M, C) which of `PARTS` each is: shares of them (M, P), or their numbers (M,)."""
    torch.manual_seed(0)
    mean, deviation = features.float().mean(0), features.float().std(0).clamp(min=1e-6)
    reader = PartReader(features.shape[1], resolution)
    adam = torch.optim.Adam(reader.parameters(), RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    rng = torch.Generator().manual_seed(0)
    for _ in range(steps):
        chosen = torch.randint(len(features), (BATCH,), generator=rng)
        logits = reader.logits((features[chosen].float() - mean) / deviation)
        loss = F.cross_entropy(logits, truth[chosen])
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()
    with torch.no_grad():
        reader.hidden.weight /= deviation
        reader.hidden.bias -= reader.hidden.weight @ mean
    return reader.requires_grad_(False)


def write(reader: PartReader, path: Path) -> None:
    """Write a reader in half precision."""
    state = {k: v.half() if v.is_floating_point() else v for k, v in reader.state_dict().items()}
    with written_whole(path) as fresh:
        save_file({k: v.contiguous() for k, v in state.items()}, fresh)


def overlap(found: Tensor, truth: Tensor) -> float:
    """Intersection over union of two boolean masks."""
    return ((found & truth).sum() / (found | truth).sum().clamp(min=1)).item()
