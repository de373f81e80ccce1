"""GANSpace (Härkönen et al. 2020): a principal direction of W, in a range of rows."""

from dataclasses import replace

import torch
from torch import Tensor

from benchmarks.baselines.baseline import RANGES, Baseline, Panel, principal_directions
from pipeline.latents import Latent
from pipeline.models.family import Family
from pipeline.text import Texts
from pipeline.training.pairs import Pairs

COMPONENTS = 100  # at most; the paper finds little beyond
DEVIATIONS = 2.0  # of the component, the paper's range
SHORTLIST = 5  # components that are tried, in every range


class GANSpace(Baseline[Tensor]):
    """In the paper a person looks which component does what, in which rows; here CLIP chooses for a pair of texts.

    All components are ranked, and given a sign, by the features that they go with in the samples; the best few are
    tried in all rows and in the coarse, medium and fine ones, and the one wins whose change in CLIP's eyes is the most
    along the texts' Δt. Step: 2 deviations of the component.
    """

    def __init__(self, family: Family, pairs: Pairs, texts: Texts) -> None:
        super().__init__(family, pairs, texts)
        deviations, directions = (found[:COMPONENTS] for found in principal_directions(pairs.w))
        coordinates = (pairs.w - pairs.w.mean(0)).double() @ directions.T / deviations
        self.components = (deviations[:, None] * directions).float()  # (K, D), one deviation long
        self.effects = (coordinates.T @ (pairs.features - pairs.features.mean(0)).double() / len(pairs.w)).float()
        self.panel = Panel(family, pairs)

    def _search(self, target: str, neutral: str) -> Tensor:
        direction = self._direction(target, neutral)
        gains = self.effects @ direction
        best = gains.abs().topk(min(SHORTLIST, len(gains))).indices
        candidates = []
        for component in best:
            for rows in (slice(None), *RANGES.values()):
                step = torch.zeros_like(self.panel.codes[0])
                step[rows] = DEVIATIONS * gains[component].sign() * self.components[component]
                candidates.append(step)
        return max(candidates, key=lambda step: self.panel.merit(self.panel.codes + step, direction))

    def _whole(self, latent: Latent, found: Tensor) -> Latent:
        return replace(latent, w_plus=latent.w_plus + found)
