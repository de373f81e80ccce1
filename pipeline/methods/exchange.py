"""Exchange of the colour of hair or eyes for that of sampled faces.

    x   = Uᵀ(i − ī)                 what CLIP sees of it in the face; U spans the Δt of all colours
    x*  = E[Uᵀ(i_k − ī)]            the same of the sampled faces k that are furthest along the target's Δt
    Δs  = ρ γ (U(x* − x))ᵀ B        B (E, C_all): the regression of S on i − ī, over sampled faces

A global direction (StyleCLIP, section 6) adds the same to every face, so what suits black hair makes fair hair glow.
Here each face goes from what it has to what sampled faces with the target have. In CLIP's space it moves within U
alone, so that what else CLIP sees stays, as in CLIP-PAE (arXiv 2210.03919). The regression tells only a part of S:
where CLIP sees less than half of the way done with γ = 1, γ is as much larger, up to `MOST_GAMMA`. ρ is how far the
face is from x* along Δt, 1 for the mean face and for all that are farther: a face that has the target moves little.
Only layers from 32 px on move: the coarser ones make shapes, not colours.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.attributes import Pair
from pipeline.latents import Latent
from pipeline.methods.directions import spanned
from pipeline.networks.generator import StyleGenerator
from pipeline.text import Texts

SHARE = 0.01  # of the sampled faces, that show what a target looks like
RIDGE = 0.03  # of the mean variance of an embedding's dimensions
BATCH = 500  # codes at a time
COLOURS_FROM = 32  # px: the layers below make shapes, and there a step reaches over the mask of a part
LEAST_REACHED = 0.5  # of x* − x, after a step with γ = 1
MOST_GAMMA = 1.8


class Looks(NamedTuple):
    """Unit CLIP embeddings of sampled faces, `embeddings` (N, E), and B, `regression` (E, C_all)."""

    embeddings: Tensor
    regression: Tensor

    @property
    def mean(self) -> Tensor:
        """ī, the mean embedding (E,)."""
        return self.embeddings.mean(0)

    def having(self, delta_t: Tensor) -> Tensor:
        """The mean embedding (E,) of the faces that are furthest along Δt (E,)."""
        furthest = (self.embeddings @ delta_t).topk(max(1, round(SHARE * len(self.embeddings)))).indices
        return self.embeddings[furthest].mean(0)


@torch.inference_mode()
def looks_of(generator: StyleGenerator, w: Tensor, embeddings: Tensor) -> Looks:
    """The `Looks` of sampled codes w (N, D), of whose pictures CLIP gives the unit `embeddings` (N, E)."""
    centred, products = (embeddings - embeddings.mean(0)).double(), 0
    for part, codes in zip(centred.split(BATCH), w.split(BATCH), strict=True):
        products = products + part.T @ torch.cat(generator.styles(codes.to(generator.device)), 1).double().cpu()
    squares = centred.T @ centred
    ridge = RIDGE * squares.diagonal().mean() * torch.eye(len(squares))
    return Looks(embeddings, torch.linalg.solve(squares + ridge, products).float())


@torch.no_grad()
def exchange(
    looks: Looks,
    texts: Texts,
    generator: StyleGenerator,
    embed: Callable[[Tensor], Tensor],
    latent: Latent,
    target: str,
    neutral: str,
    colours: Sequence[Pair],
) -> Latent:
    """The latent with the target in place of what it has; `colours` are the pairs of texts of all colours, the target's
    among them. `embed` turns pictures (N, 3, R, R) in [-1, 1] into unit CLIP embeddings (N, E).
    """
    basis = spanned(torch.stack([texts.direction(*pair).cpu() for pair in colours]))

    def embedded(latent: Latent) -> Tensor:
        return embed(latent.draw(generator, latent.working_size(generator)).clamp(-1, 1))[0].cpu()

    # U(x* − x), from this face to faces that have the target; ī falls out of the difference.
    face, delta_t = embedded(latent), texts.direction(target, neutral).cpu()
    having = looks.having(delta_t)
    difference = (having - face) @ basis @ basis.T
    # Δs with ρ = γ = 1, in the layers that make colours.
    layers = generator.style_layers
    coloured = torch.cat([torch.full((layer.channels,), layer.resolution >= COLOURS_FROM) for layer in layers])
    step, sizes = (difference @ looks.regression * coloured)[None], [layer.channels for layer in layers]
    # γ, by the share of the difference that CLIP finds in the picture after that step.
    edited = embedded(latent.moved(list(step.split(sizes, 1))))
    reached = (edited - face) @ difference / difference.square().sum().clamp(min=1e-12)
    gamma = (LEAST_REACHED / reached.clamp(min=1e-12)).clamp(1, MOST_GAMMA)
    # ρ, by the way along Δt from the mean face to those that have the target.
    remaining = (((having - face) @ delta_t) / ((having - looks.mean) @ delta_t).clamp(min=1e-12)).clamp(0, 1)
    return latent.moved(list((remaining * gamma * step).split(sizes, 1)))
