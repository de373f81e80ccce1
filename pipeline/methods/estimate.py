"""Global directions before the relevance of a generator has been measured: an estimate from gradients, in seconds.

    R_c = E[Δi_c] · Δt  ≈  E[ ∂(i · Δt)/∂s_c / ‖∂i/∂s_c‖ ]

i is CLIP's embedding of a sampled face, and Δi_c, of unit length, its change when channel c moves: R_c is a mean
cosine, here to first order. The numerator takes one backward pass a sample and text; the length is estimated once a
generator, from the derivatives along a few random directions.
"""

import threading
from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np
import torch
from torch import Tensor

from pipeline.latents import truncated
from pipeline.losses import clip_features
from pipeline.methods.directions import TRUNCATION, StyleDirections, mean_codes, style_statistics
from pipeline.models.family import Family
from pipeline.networks.generator import StyleGenerator

Embed = Callable[[Tensor], Tensor]
SAMPLES, PROBES, BATCH = 12, 8, 4  # sampled faces, random directions for each, faces at a time
ESTIMATED_NOTE = (
    "Which channels matter is estimated from gradients; "
    "python -m pipeline.training.relevance --model {name} measures it."
)
STATISTICS = 10_000  # codes from which a channel's deviation is known to a hundredth
_estimating = threading.Lock()


def derivatives(generator: StyleGenerator, embed: Embed, w: Tensor, directions: Tensor) -> Tensor:
    """∂(v·d)/∂s (K, N, C_all) at the codes w (N, L, D), where v (N, V) is what `embed` makes of their pictures
    (N, 3, R, R) in [-1, 1], of the working size, and d are the `directions` (K, V): one backward pass each, for
    all codes together."""
    sizes = [layer.channels for layer in generator.style_layers]
    with torch.inference_mode(False), torch.enable_grad():
        w, directions = w.clone(), directions.to(w.device, copy=True)
        with torch.no_grad():
            s = torch.cat(generator.styles(w), 1)
        s.requires_grad_()
        images = generator.synthesize(s.split(sizes, 1), generator.working_size)
        projections = embed(images.clamp(-1, 1)) @ directions.T
        last = len(directions) - 1
        slopes = [torch.autograd.grad(projections[:, k].sum(), s, retain_graph=k < last)[0] for k in range(last + 1)]
    return torch.stack(slopes)


class GradientDirections(StyleDirections):
    """Directions for any generator at once; `embed` turns pictures (N, 3, R, R) into unit CLIP embeddings (N, E).

    Scores run lower than a matrix's, to about half, so a β of one does not suit the other; ask `beta_keeping` for it.
    Those of the latest texts are remembered. `to_rgb`: whether toRGB's channels move too.
    """

    def __init__(
        self,
        generator: StyleGenerator,
        embed: Embed,
        to_rgb: bool = False,
        samples: int = SAMPLES,
        average: Tensor | None = None,
    ) -> None:
        """`average` (L, D) is the mean latent, as in `style_statistics`."""
        average = mean_codes(generator) if average is None else average
        std = style_statistics(generator, STATISTICS, average=average)[1]
        super().__init__(std, generator.style_layers)
        self.generator, self.embed = generator, embed
        self.rows = torch.cat([torch.full((la.channels,), to_rgb or not la.is_to_rgb) for la in self.layers])
        rng = torch.Generator().manual_seed(0)
        z = torch.randn(samples, generator.style_dim, generator=rng)
        with torch.no_grad():
            self.w = truncated(generator.mapping(z.to(generator.device)), average, TRUNCATION)
        self.lock = threading.Lock()
        self._lengths: Tensor | None = None
        self._remembered = lru_cache(maxsize=64)(self._estimate)

    def scores(self, delta_t: Tensor) -> Tensor:
        """The estimated cosine (C,) of every channel's effect with Δt (E,)."""
        with self.lock:  # a second thread that asks for the same waits, and finds it remembered
            return self._remembered(delta_t.float().cpu().numpy().tobytes())

    def matrix(self, basis: Tensor) -> Tensor:
        """The scores of all directions in the span of `basis` (K, E), orthonormal, at once: a relevance matrix (C, E)
        for `MeasuredDirections`."""
        with self.lock:
            return self._cosines(basis).T @ basis

    def _estimate(self, delta_t: bytes) -> Tensor:
        direction = torch.from_numpy(np.frombuffer(delta_t, np.float32).copy())
        return self._cosines(direction[None])[0]

    def _cosines(self, directions: Tensor) -> Tensor:
        """The mean over the samples of the cosine (K, C) of each channel's effect with directions (K, E)."""
        if self._lengths is None:
            probes = torch.randn(PROBES, directions.shape[1], generator=torch.Generator().manual_seed(1))
            self._lengths = self._derivatives(probes).square().mean(0).sqrt()
        slopes = self._derivatives(directions)
        return (slopes / self._lengths.clamp(min=1e-12)).clamp(-1, 1).mean(1)

    def _derivatives(self, directions: Tensor) -> Tensor:
        """σ ∂(i·d)/∂s (K, N, C) for directions (K, E) and every sample; σ falls out of the cosine."""
        slopes = [derivatives(self.generator, self.embed, part, directions) for part in self.w.split(BATCH)]
        return (torch.cat(slopes, 1).cpu() * self.style_std)[..., self.rows]


def estimated_directions(family: Family, to_rgb: bool = False) -> GradientDirections:
    """The estimate for a family. CLIP sees the pictures as for relevance."""
    clip, normalize = family.clip, family.row.clip_normalize_directions
    embed = partial(clip_features, clip, normalize=normalize)
    return GradientDirections(family.generator, embed, to_rgb, average=family.latent_avg)


def directions_of(family: Family) -> StyleDirections:
    """The measured directions of a family, or else their estimate, which is made when it is first asked for."""
    with _estimating:
        if family.directions is None and family.estimate is None:
            family.estimate = estimated_directions(family)
    return family.directions or family.estimate
