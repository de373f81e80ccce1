"""InterFaceGAN (Shen et al. 2020): the normal of the hyperplane in W that parts faces with an attribute from others."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.baselines.baseline import Baseline
from pipeline.latents import Latent

SHARE = 0.02  # of the samples that are labelled, at either end: the paper keeps 10,000 + 10,000 of 500,000
FEWEST = 200  # labelled faces at either end, so that a small sample is no poorer than its dimensions
PENALTY = 1.0  # C, the weight of the errors against the normal's length
DISTANCE = 3.0  # the far end of the paper's figures


class InterFaceGAN(Baseline[Tensor]):
    """Labels are CLIP's: the faces that it finds the most and the least alike the target against the neutral text.

    The paper's labels come from trained classifiers instead, a new one for each attribute. Step: 3 along the unit
    normal, in all rows.
    """

    def _search(self, target: str, neutral: str) -> Tensor:
        w, features = self.pairs
        positive, negative = ends(features @ self._direction(target, neutral))
        return hyperplane(w[positive], w[negative])

    def _whole(self, latent: Latent, found: Tensor) -> Latent:
        return replace(latent, w_plus=latent.w_plus + DISTANCE * found)


def ends(scores: Tensor) -> tuple[Tensor, Tensor]:
    """The faces that are labelled, by scores (N,): indices of those that have the attribute, and of those without."""
    order = scores.argsort()
    count = min(max(round(SHARE * len(scores)), FEWEST), len(scores) // 4)
    return order[-count:], order[:count]


def hyperplane(positive: Tensor, negative: Tensor) -> Tensor:
    """The unit normal (D,) of a linear support vector machine (squared hinge) between codes (N, D) and (M, D)."""
    codes = torch.cat([positive, negative]).double()
    sides = torch.cat([torch.ones(len(positive)), -torch.ones(len(negative))]).double()
    codes = codes - codes.mean(0)
    plane = torch.zeros(codes.shape[1] + 1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([plane], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        errors = F.relu(1 - sides * (codes @ plane[:-1] + plane[-1])).square().sum()
        loss = plane[:-1].square().sum() / 2 + PENALTY * errors
        loss.backward()
        return loss

    optimizer.step(closure)
    return F.normalize(plane.detach()[:-1], dim=0).float()
