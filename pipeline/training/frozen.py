"""The frozen networks that training looks through: what of a family exists before its directions and mappers do."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from pipeline.methods.directions import SUGGESTED_CHANNELS, StyleDirections
from pipeline.models.family import Family, load_family
from pipeline.models.registry import REGISTRY, family_row
from pipeline.networks.arcface import IRSE
from pipeline.networks.generator import StyleGenerator


@dataclass(frozen=True)
class FrozenModels:
    """Generator with its mean latent (L, D), CLIP and identity network; of measured directions, those with the default
    number of channels.

    `normalize` and `normalize_directions`: whether CLIP sees pictures with its own mean and deviation in losses, and in
    the relevance of directions and in CSLA.
    """

    generator: StyleGenerator
    latent_avg: Tensor
    clip: nn.Module
    identity: IRSE | None
    normalize: bool
    normalize_directions: bool
    directions: StyleDirections | None = None
    channels: int = SUGGESTED_CHANNELS

    @classmethod
    def of(cls, family: Family) -> "FrozenModels":
        """The networks of a loaded family, shared with it."""
        flags = family.row.clip_normalize, family.row.clip_normalize_directions
        networks = family.generator, family.latent_avg, family.clip, family.identity
        return cls(*networks, *flags, family.directions, family.defaults.channels)

    def digest(self, *settings: object) -> str:
        """Names relevance and CSLA pairs made with them: what draws and sees, how CLIP is shown pictures, and the
        `settings` that the result depends on."""
        digest = hashlib.sha256(repr((self.normalize_directions, *settings)).encode())
        for network in (self.generator, self.clip.visual):
            for name, value in network.state_dict().items():
                digest.update(name.encode())
                digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        return digest.hexdigest()[:16]

    @property
    def device(self) -> torch.device:
        return self.generator.device


def load_frozen_models(
    name: str,
    registry: Path | str = REGISTRY,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    more: Collection[str] = (),
) -> FrozenModels:
    """Generator, CLIP and identity network of a family of the registry, and the kinds of files in `more`; `dtype`,
    float32 or bfloat16, is what generator and CLIP compute in."""
    row = family_row(name, registry)
    kinds = {"generator", "clip", "identity", *more}
    files = {kind: source for kind, source in row.files.items() if kind in kinds}
    return FrozenModels.of(load_family(row.model_copy(update={"files": files}), torch.device(device), dtype))
