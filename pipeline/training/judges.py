"""The frozen networks that training looks through: what of a family exists before its directions and mappers do."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file
from torch import nn

from pipeline.networks.arcface import IRSE
from pipeline.networks.clip import build_clip
from pipeline.networks.stylegan2 import Generator
from pipeline.zoo import REGISTRY


@dataclass(frozen=True)
class Judges:
    """Generator, CLIP and identity network. `normalize`: whether CLIP sees images with its own mean and deviation."""

    generator: Generator
    clip: nn.Module
    identity: nn.Module
    normalize: bool


def family_files(name: str, registry: Path = REGISTRY) -> dict[str, Path]:
    """Where the files of a family are, or are to be written."""
    row = tomllib.loads(registry.read_text(encoding="utf-8"))["families"][name]
    return {kind: registry.parent / file["path"] for kind, file in row["files"].items()}


def load_judges(name: str, registry: Path = REGISTRY) -> Judges:
    """The networks of a family of the registry."""
    row = tomllib.loads(registry.read_text(encoding="utf-8"))["families"][name]
    files = family_files(name, registry)
    state = load_file(files["generator"])
    state.pop("latent_avg", None)
    return Judges(
        Generator.from_state_dict(state),
        build_clip(load_file(files["clip"])),
        IRSE.from_state_dict(load_file(files["identity"])),
        row["clip_normalize"],
    )
