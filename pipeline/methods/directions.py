"""Global directions in StyleSpace (StyleCLIP, section 6): which channels do what a pair of texts says."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.errors import UserError
from pipeline.latents import truncated
from pipeline.networks.generator import StyleGenerator, StyleLayer

ROUNDING = 0.01  # of the unit length of a relevance matrix's rows, which may be kept in half precision
SUGGESTED_CHANNELS = 20  # what the paper's authors keep for faces
TRUNCATION = 0.7  # ψ of the codes whose S has the mean and deviation that α counts in (the reference's GetCode.py)


class StyleDirections(ABC):
    """A generator's channels as CLIP sees them, however that became known.

    `style_std` (C_all,) is each channel's deviation; `layers` are the vectors of S.
    """

    def __init__(self, style_std: Tensor, layers: Sequence[StyleLayer]) -> None:
        self.style_std, self.layers = style_std, layers

    @abstractmethod
    def scores(self, text_direction: Tensor) -> Tensor:
        """The cosine (C,) of every channel's effect with Δt (E,), for the channels of S in S order: those outside
        toRGB, of which the last may be missing, or all C_all."""

    def threshold(self, text_direction: Tensor, channels: int) -> float:
        """The β that keeps the `channels` most relevant channels for Δt (E,)."""
        scores = self.scores(text_direction).abs()
        return scores.topk(min(max(channels, 1), len(scores))).values[-1].item()

    def step(self, text_direction: Tensor, threshold: float) -> tuple[list[Tensor], int]:
        """Δs for Δt (E,) at β: one (1, C_i) per vector of S, and the number of channels kept.

        Raises UserError when β keeps none.
        """
        scores = self.scores(text_direction)
        kept = scores.abs() >= threshold
        channels = int(kept.sum())
        if not channels:
            helpful = math.floor(1000 * self.threshold(text_direction, SUGGESTED_CHANNELS)) / 1000
            raise UserError(
                f"No channel is relevant enough for a threshold β of {threshold:.3g}; "
                f"β = {helpful:g} would keep {SUGGESTED_CHANNELS} channels."
            )
        scores = torch.where(kept, scores, 0)
        scores = scores / scores.abs().max()
        in_rgb = torch.cat([torch.full((layer.channels,), layer.is_to_rgb) for layer in self.layers])
        rows = torch.ones_like(in_rgb) if len(scores) == len(in_rgb) else ~in_rgb
        step = torch.zeros_like(self.style_std)
        step[rows.nonzero()[: len(scores), 0]] = scores
        return [s[None] for s in (step * self.style_std).split([layer.channels for layer in self.layers])], channels


class Directions(StyleDirections):
    """Directions from a measured matrix.

    `relevance` (C, E) holds for every channel of S outside toRGB, in S order, the unit change of the CLIP image
    embedding that it causes (section 6.2); fewer rows leave the last channels alone. With C_all rows toRGB's channels
    are among them, which the paper leaves out: for generators that keep colours there. `agreement` (C,), of at most 1,
    is how alike a channel's effect is on all faces: the length of the mean of its unit changes, by which its cosines
    are multiplied. The reference has none.
    """

    def __init__(
        self, relevance: Tensor, style_std: Tensor, layers: Sequence[StyleLayer], agreement: Tensor | None = None
    ) -> None:
        super().__init__(style_std, layers)
        lengths = relevance.norm(dim=1)
        other = ((lengths - 1).abs() > ROUNDING) & (lengths > 0)  # β is a cosine, so rows have unit length
        self.relevance = F.normalize(relevance) if other.any() else relevance
        self.agreement = torch.ones(len(relevance)) if agreement is None else agreement

    def scores(self, text_direction: Tensor) -> Tensor:
        return self.agreement * (self.relevance @ text_direction)


def style_statistics(
    generator: StyleGenerator, samples: int = 100_000, seed: int = 0, average: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (C_all,) of every channel of S, toRGB included, in S order, over sampled codes.

    As in the reference, the codes are truncated in W with ψ = `TRUNCATION` towards `average` (L, D), the generator's
    mean latent when None. Untruncated deviations would be 1 / ψ times as large.
    """
    rng = torch.Generator().manual_seed(seed)
    count, total, squares = 0, 0.0, 0.0
    average = mean_codes(generator) if average is None else average
    with torch.inference_mode():
        while count < samples:
            z = torch.randn(min(1_000, samples - count), generator.style_dim, generator=rng)
            w = generator.mapping(z.to(generator.device))
            s = torch.cat(generator.styles(truncated(w, average, TRUNCATION)), 1).double()
            count, total, squares = count + len(s), total + s.sum(0), squares + s.square().sum(0)
    mean = total / count
    return mean.float().cpu(), (squares / count - mean.square()).clamp(min=0).sqrt().float().cpu()


def mean_codes(generator: StyleGenerator) -> Tensor:
    """The generator's mean latent in every row (L, D), for files that bring none."""
    return generator.mean_latent().expand(generator.num_rows, -1)


def unit_change(before: Tensor, after: Tensor) -> Tensor:
    """CLIP embeddings (..., E) of images with a channel lowered and raised -> the change's direction (..., E)."""
    before, after = (F.normalize(x, dim=-1) for x in (before, after))
    return F.normalize(after - before, dim=-1)


def channel_relevance(before: Tensor, after: Tensor) -> Tensor:
    """CLIP embeddings (C, N, E) of N images, each channel lowered and raised -> relevance (C, E) (section 6.2)."""
    return F.normalize(unit_change(before, after).mean(1), dim=-1)
