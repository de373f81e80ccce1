"""A TediGAN-like mapping (Xia et al. 2021): texts become codes in W, and the face takes some rows of the text's."""

from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.baselines.baseline import RANGES, Baseline, Panel
from pipeline.latents import Latent
from pipeline.models.family import Family
from pipeline.text import Texts
from pipeline.training.pairs import Pairs

WIDTH, STEPS, BATCH, RATE = 256, 3000, 64, 1e-3


class Mixing(NamedTuple):
    """The text's code (D,) and the rows of W+ that take it."""

    code: Tensor
    rows: slice


class TediGAN(Baseline[Mixing]):
    """A network from CLIP's embeddings to codes, trained on the samples' pictures and used with texts.

    The paper trains an encoder of texts into W against its encoder of pictures, with captions; CLIP's common space
    stands for both here. Which rows carry an attribute a person says in the paper; here the coarse, medium or fine
    ones, by CLIP as for GANSpace. Step: the rows are the text's altogether, as in the paper's style mixing.
    """

    def __init__(self, family: Family, pairs: Pairs, texts: Texts) -> None:
        super().__init__(family, pairs, texts)
        self.network = trained(pairs)
        self.panel = Panel(family, pairs)

    def _search(self, target: str, neutral: str) -> Mixing:
        direction = self._direction(target, neutral)
        with torch.no_grad():
            code = self.network(self.texts.averaged(target).cpu()[None])[0]
        candidates = [Mixing(code, rows) for rows in RANGES.values()]
        return max(candidates, key=lambda mixing: self.panel.merit(mixed(self.panel.codes, mixing), direction))

    def _whole(self, latent: Latent, found: Mixing) -> Latent:
        return replace(latent, w_plus=mixed(latent.w_plus, found))


def mixed(w_plus: Tensor, found: Mixing) -> Tensor:
    """Codes (N, L, D) whose rows of the range are the text's."""
    w_plus = w_plus.clone()
    w_plus[:, found.rows] = found.code
    return w_plus


def trained(pairs: Pairs) -> nn.Module:
    """The network (N, E) -> (N, D) of least squares on the pairs."""
    w, features = pairs.w.clone(), pairs.features.clone()
    rng = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Linear(features.shape[1], WIDTH),
            nn.LeakyReLU(0.2),
            nn.Linear(WIDTH, WIDTH),
            nn.LeakyReLU(0.2),
            nn.Linear(WIDTH, w.shape[1]),
        )
    optimizer = torch.optim.Adam(network.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        chosen = torch.randint(len(w), (BATCH,), generator=rng)
        loss = F.mse_loss(network(features[chosen]), w[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.requires_grad_(False)
