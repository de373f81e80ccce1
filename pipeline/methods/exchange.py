"""Exchange of the colour of hair or eyes for that of sampled faces.

    x   = Uᵀ(i − ī)                 what CLIP sees of it in the face; U spans the Δt of all colours
    x*  = E[Uᵀ(i_k − ī)]            the same of the sampled faces k that are furthest along the target's Δt
    Δs  = γ (U(x* − x))ᵀ B          B (E, C_all): the regression of S on i − ī, over sampled faces

A global direction (StyleCLIP, section 6) adds the same to every face, so what suits black hair makes fair hair glow.
Here each face goes from what it has to what sampled faces with the target have. In CLIP's space it moves within U
alone, so that what else CLIP sees stays, as in CLIP-PAE (arXiv 2210.03919). The regression tells only a part of S:
where CLIP sees less than half of the way done with γ = 1, γ is as much larger, up to `MOST`. Only layers from 32 px on
move: the coarser ones make shapes, not colours.
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
HALF, MOST = 0.5, 1.8  # of the way; and the greatest γ


class Looks(NamedTuple):
    """What CLIP sees in sampled faces, `seen` (N, E), and B, `styles` (E, C_all)."""

    seen: Tensor
    styles: Tensor

    def having(self, delta_t: Tensor) -> Tensor:
        """The mean (E,) of what is seen in the faces that are furthest along Δt (E,)."""
        furthest = (self.seen @ delta_t).topk(max(1, round(SHARE * len(self.seen)))).indices
        return self.seen[furthest].mean(0)


@torch.inference_mode()
def looks_of(generator: StyleGenerator, w: Tensor, seen: Tensor) -> Looks:
    """The `Looks` of sampled codes w (N, D), of whose pictures CLIP gives the unit embeddings `seen` (N, E)."""
    centred, products = (seen - seen.mean(0)).double(), 0
    for part, codes in zip(centred.split(BATCH), w.split(BATCH), strict=True):
        products = products + part.T @ torch.cat(generator.styles(codes.to(generator.device)), 1).double().cpu()
    squares = centred.T @ centred
    ridge = RIDGE * squares.diagonal().mean() * torch.eye(len(squares))
    return Looks(seen, torch.linalg.solve(squares + ridge, products).float())


@torch.no_grad()
def exchange(
    looks: Looks,
    texts: Texts,
    generator: StyleGenerator,
    embed: Callable[[Tensor], Tensor],
    latent: Latent,
    target: str,
    neutral: str,
    others: Sequence[Pair],
) -> Latent:
    """The latent with the target in place of what it has; `others` are the pairs of texts of all colours, the target's
    among them. `embed` turns pictures (N, 3, R, R) in [-1, 1] into unit CLIP embeddings (N, E).
    """
    basis = spanned(torch.stack([texts.direction(*pair).cpu() for pair in others]))

    def embedded(latent: Latent) -> Tensor:
        return embed(latent.draw(generator, latent.working_size(generator)).clamp(-1, 1))[0].cpu()

    face = embedded(latent)
    layers = generator.style_layers
    coloured = torch.cat([torch.full((layer.channels,), layer.resolution >= COLOURS_FROM) for layer in layers])
    way = (looks.having(texts.direction(target, neutral).cpu()) - face) @ basis @ basis.T
    step, sizes = (way @ looks.styles * coloured)[None], [layer.channels for layer in layers]
    reached = embedded(latent.moved(list(step.split(sizes, 1))))
    done = (reached - face) @ way / way.square().sum().clamp(min=1e-12)
    longer = (HALF / done.clamp(min=1e-12)).clamp(1, MOST)
    return latent.moved(list((longer * step).split(sizes, 1)))
