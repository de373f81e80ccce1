"""The one form of all baselines, and what stands in for the person who tries edits out in some of them."""

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

import torch
from torch import Tensor

from pipeline.latents import Latent
from pipeline.losses import clip_features
from pipeline.models.family import Family
from pipeline.networks.mapper import MAPPER_ROWS
from pipeline.text import Texts
from pipeline.training.pairs import Pairs

T = TypeVar("T")
RANGES = {name: slice(*rows) for name, rows in MAPPER_ROWS.items()}  # rows of W+
FACES = 4


class Baseline(ABC, Generic[T]):
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


def principal_directions(codes: Tensor) -> tuple[Tensor, Tensor]:
    """Deviations (K,) of codes (N, D) along their principal directions (K, D), largest first, in float64; those along
    which the codes hardly differ are left out."""
    centred = (codes - codes.mean(0)).double()
    _, deviations, directions = torch.linalg.svd(centred, full_matrices=False)
    deviations = deviations / len(codes) ** 0.5
    kept = deviations > 0.05 * deviations[0]
    return deviations[kept], directions[kept]


class Panel:
    """A few sampled faces on which edits are tried, where in the paper a person looks."""

    def __init__(self, family: Family, pairs: Pairs) -> None:
        self.family = family
        self.codes = pairs.w[:FACES, None].repeat(1, family.generator.num_rows, 1)  # (N, L, D)
        self.before = self._seen(self.codes)

    def merit(self, edited: Tensor, direction: Tensor) -> float:
        """How far faces edited to codes (N, L, D) get along Δt (E,), times the share that this is of their way."""
        change = self._seen(edited) - self.before
        gain = (change @ direction).mean()
        return (gain * gain.abs() / change.norm(dim=1).mean().clamp(min=1e-6)).item()

    @torch.inference_mode()
    def _seen(self, w_plus: Tensor) -> Tensor:
        """Unit CLIP embeddings (N, E), on the CPU."""
        family = self.family
        images = family.generator(w_plus.to(family.device)).clamp(-1, 1)
        return clip_features(family.clip, images, family.row.clip_normalize_directions).cpu()
