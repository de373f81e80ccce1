"""Which model families exist, and loading them. Only this module reads models.toml and opens model files."""

import threading
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dlib
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from .directions import Directions
from .errors import UserError
from .faces import FaceFinder
from .networks.arcface import IRSE
from .networks.clip import build_clip
from .networks.e4e import Encoder
from .networks.mapper import mapper_from_state_dict
from .networks.stylegan2 import Generator

REGISTRY = Path(__file__).parent.parent / "checkpoints" / "models.toml"


@dataclass(frozen=True)
class Defaults:
    """The settings that suit a family: the paper's unless its row in the registry says otherwise."""

    steps: int = 300
    lr: float = 0.1
    l2: float = 0.008
    identity: float = 0.005
    mapper_strength: float = 0.1
    strength: float = 3.0
    channels: int = 20


@dataclass
class Family:
    """The loaded models of one row of the registry; mappers are loaded when first asked for."""

    name: str
    title: str
    clip_normalize: bool
    defaults: Defaults
    generator: Generator
    latent_avg: Tensor  # (L, D)
    encoder: Encoder
    identity: IRSE
    clip: nn.Module
    directions: Directions
    faces: FaceFinder
    mappers: dict[str, dict[str, Any]]  # name -> its row: title, path
    folder: Path
    device: torch.device
    _loaded: dict[str, nn.Module] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def mapper(self, name: str) -> nn.Module:
        """A mapper by name. Raises UserError when this family has none of that name."""
        if name not in self.mappers:
            raise UserError(f"There is no mapper “{name}”; there are: {', '.join(self.mappers) or 'none'}.")
        with self._lock:
            if name not in self._loaded:
                state = load_file(self.folder / self.mappers[name]["path"])
                self._loaded[name] = mapper_from_state_dict(state).to(self.device)
            return self._loaded[name]


def available_models(registry: Path | str = REGISTRY) -> list[str]:
    """The names that `StyleCLIP.from_pretrained` knows."""
    return list(_families(registry))


def load_family(name: str, device: torch.device, dtype: torch.dtype, registry: Path | str = REGISTRY) -> Family:
    """The models of a family on a device; `dtype` is what the generator's convolutions compute in.

    Paths in the registry count from its folder. Raises UserError for an unknown name.
    """
    families = _families(registry)
    if name not in families:
        raise UserError(f"There is no model “{name}”; there are: {', '.join(families)}.")
    row, folder = families[name], Path(registry).parent
    files = {kind: folder / file["path"] for kind, file in row["files"].items()}

    state = load_file(files["generator"])
    latent_avg = state.pop("latent_avg").float()
    generator = Generator.from_state_dict(state).to(device)
    generator.compute_dtype = dtype
    statistics = {k: v.float() for k, v in load_file(files["directions"]).items()}
    return Family(
        name=name,
        title=row["title"],
        clip_normalize=row["clip_normalize"],
        defaults=Defaults(**row.get("defaults", {})),
        generator=generator,
        latent_avg=latent_avg.expand(generator.num_rows, -1).to(device),
        encoder=Encoder.from_state_dict(load_file(files["encoder"])).to(device),
        identity=IRSE.from_state_dict(load_file(files["identity"])).to(device),
        clip=build_clip(load_file(files["clip"])).to(device),
        directions=Directions(statistics["relevance"], statistics["style_std"], generator.style_layers),
        faces=FaceFinder(dlib.shape_predictor(str(files["landmarks"]))),
        mappers=row.get("mappers", {}),
        folder=folder,
        device=device,
    )


def _families(registry: Path | str) -> dict[str, dict[str, Any]]:
    return tomllib.loads(Path(registry).read_text(encoding="utf-8"))["families"]
