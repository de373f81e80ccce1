"""The frozen networks that training looks through: what of a family exists before its directions and mappers do."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from pipeline.networks.arcface import IRSE
from pipeline.networks.stylegan2 import Generator
from pipeline.registry import REGISTRY
from pipeline.zoo import family_row, load_family


@dataclass(frozen=True)
class Judges:
    """Generator, CLIP and identity network. `normalize`: whether CLIP sees images with its own mean and deviation."""

    generator: Generator
    clip: nn.Module
    identity: IRSE | None
    normalize: bool


def load_judges(name: str, registry: Path = REGISTRY) -> Judges:
    """The networks of a family of the registry."""
    row = family_row(name, registry)
    files = {kind: source for kind, source in row.files.items() if kind in ("generator", "clip", "identity")}
    family = load_family(replace(row, files=files), torch.device("cpu"), torch.float32)
    return Judges(family.generator, family.clip, family.identity, row.clip_normalize)
