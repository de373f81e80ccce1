"""The one form of all rivals."""

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

import torch
from torch import Tensor

from pipeline.latents import Latent
from pipeline.losses import clip_features
from pipeline.networks.mapper import LEVELS
from pipeline.text import Texts
from pipeline.training.pairs import Pairs
from pipeline.zoo import Family

T = TypeVar("T")
RANGES = {name: slice(*rows) for name, rows in LEVELS.items()}  # rows of W+
BATCH = 8


class Rival(ABC, Generic[T]):
    """A method that edits faces as a pair of texts says, from the studio's models and the `pairs` it may learn from.

    Making one costs what the method costs once per model. It opens no file, and does the same every time.
    """

    def __init__(self, family: Family, pairs: Pairs, texts: Texts) -> None:
        """`texts` are of the family's CLIP."""
        self.family, self.pairs, self.texts = family, pairs, texts
        self._found: dict[tuple[str, str], T] = {}

    def prepare(self, target: str, neutral: str) -> None:
        """What the method costs once per pair of texts; remembered.

        Raises UserError where CLIP cannot tell the texts apart.
        """
        self._find(target, neutral)

    def edit(self, latent: Latent, target: str, neutral: str, strength: float = 1.0) -> Latent:
        """The latent on its straight way to the method's own edit: 0 leaves it, 1 is that edit, more goes beyond."""
        return latent.towards(self._whole(latent, self._find(target, neutral)), strength)

    def _find(self, target: str, neutral: str) -> T:
        if (target, neutral) not in self._found:
            self._found[target, neutral] = self._search(target, neutral)
        return self._found[target, neutral]

    @abstractmethod
    def _search(self, target: str, neutral: str) -> T:
        """What the method needs to know of two texts."""

    @abstractmethod
    def _whole(self, latent: Latent, found: T) -> Latent:
        """The latent after the method's own step."""

    def _direction(self, target: str, neutral: str) -> Tensor:
        """Δt (E,) on the CPU, of unit norm."""
        return self.texts.direction(target, neutral).cpu()

    @torch.inference_mode()
    def _seen(self, w_plus: Tensor) -> Tensor:
        """Codes (N, L, D) -> unit CLIP embeddings (N, E) of their pictures, on the CPU."""
        family, seen = self.family, []
        for codes in w_plus.to(family.device).split(BATCH):
            images = family.generator(codes).clamp(-1, 1)
            seen.append(clip_features(family.clip, images, family.clip_normalize).cpu())
        return torch.cat(seen)
