"""GANSpace (Härkönen et al. 2020): a principal direction of W, in a range of rows."""

from dataclasses import replace

import torch
from torch import Tensor

from pipeline.latents import Latent
from pipeline.text import Texts
from pipeline.training.pairs import Pairs
from pipeline.zoo import Family

from .rival import RANGES, Rival

COMPONENTS = 100  # at most; the paper finds little beyond
DEVIATIONS = 2.0  # of the component, the paper's range
SHORTLIST, FACES = 5, 8  # components that are drawn, in every range, on so many of the sampled faces


class GANSpace(Rival[Tensor]):
    """In the paper a person looks which component does what, in which rows; here CLIP chooses for a pair of texts.

    All components are ranked, and their sides chosen, by what they go with in the samples; the best few are drawn, in all rows and in the
    coarse, medium and fine ones, and the candidate wins whose change in CLIP's eyes is the most along the texts' Δt.
    Step: 2 deviations of the component.
    """

    def __init__(self, family: Family, pairs: Pairs, texts: Texts) -> None:
        super().__init__(family, pairs, texts)
        centred = (pairs.w - pairs.w.mean(0)).double()
        _, deviations, directions = torch.linalg.svd(centred, full_matrices=False)
        deviations = deviations / len(centred) ** 0.5
        kept = (deviations > 1e-3 * deviations[0]).nonzero()[:COMPONENTS, 0]
        coordinates = centred @ directions[kept].T / deviations[kept]
        self.components = (deviations[kept, None] * directions[kept]).float()  # (K, D), one deviation long
        self.effects = (coordinates.T @ (pairs.features - pairs.features.mean(0)).double() / len(centred)).float()
        self.codes = pairs.w[:FACES, None].repeat(1, family.generator.num_rows, 1)
        self.seen = self._seen(self.codes)

    def _search(self, target: str, neutral: str) -> Tensor:
        direction = self._direction(target, neutral)
        gains = self.effects @ direction
        best = gains.abs().topk(min(SHORTLIST, len(gains))).indices
        candidates = []
        for component in best:
            for rows in (slice(None), *RANGES.values()):
                step = torch.zeros_like(self.codes[0])
                step[rows] = DEVIATIONS * gains[component].sign() * self.components[component]
                candidates.append(step)
        return max(candidates, key=lambda step: self._merit(step, direction))

    def _merit(self, step: Tensor, direction: Tensor) -> float:
        """How far the step gets along Δt, times how much of its way that is."""
        change = self._seen(self.codes + step) - self.seen
        gain = (change @ direction).mean()
        return (gain * gain.abs() / change.norm(dim=1).mean().clamp(min=1e-6)).item()

    def _whole(self, latent: Latent, found: Tensor) -> Latent:
        return replace(latent, w_plus=latent.w_plus + found)
