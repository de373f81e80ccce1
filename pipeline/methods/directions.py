"""Global directions in StyleSpace (StyleCLIP, section 6): two texts say which channels of S move, and how far.

    Δt    = t_target − t_neutral, of unit length                                          (6.1, `Texts.direction`)
            less what it says of attributes that are to stay, see `text_direction`
    R_c   = E[Δi_c] · Δt                                                                  (equation 6)
    Δs_c  = σ_c · R_c / max |R|   where |R_c| ≥ β,   else 0                               (equation 7)
    s'    = s + α · Δs, limited to the range of sampled faces                               (`limited`)

Δi_c, of unit length, is how CLIP's embedding of a picture changes when channel c moves. Its mean over sampled faces,
as a unit vector, is a row of the relevance matrix (measured by training/relevance.py), as in the published code: R_c is
a cosine then. Only where a file has each mean's length too (its `agreement`) is R_c that of equation 6. σ_c is the
channel's deviation over sampled faces. σ_c / max |R| is the published code's.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.attributes import Pair
from pipeline.errors import UserError
from pipeline.latents import Latent, truncated
from pipeline.networks.generator import StyleGenerator, StyleLayer
from pipeline.text import Texts

ROUNDING = 0.01  # of the unit length of a relevance matrix's rows, which may be kept in half precision
SUGGESTED_CHANNELS = 20  # what the paper's authors keep for faces
# ψ of the sampled codes over which σ, the unit of α, is measured (the reference's GetCode.py).
TRUNCATION = 0.7
LEAST_LEFT = 0.2  # of the length of Δt, of which less means next to nothing
LIMIT = 3.5  # deviations σ that a channel may be from the mean: all but one in a thousand of those of sampled faces are


class StyleDirections(ABC):
    """A generator's channels as CLIP sees them: measured, or estimated (estimate.py).

    C_all is the number of all channels of S, C of those that are moved. `style_std` (C_all,) is σ, each channel's
    deviation; `layers` are the vectors of S.
    """

    def __init__(self, style_std: Tensor, layers: Sequence[StyleLayer]) -> None:
        self.style_std, self.layers = style_std, layers

    @abstractmethod
    def scores(self, delta_t: Tensor) -> Tensor:
        """R (C,), the relevance of every channel for Δt (E,), for the channels of S in S order: all C_all, or those
        outside toRGB, the last ones perhaps missing."""

    def beta_keeping(self, delta_t: Tensor, channels: int) -> float:
        """The β that keeps the `channels` most relevant channels for Δt (E,)."""
        relevance = self.scores(delta_t).abs()
        return relevance.topk(min(max(channels, 1), len(relevance))).values[-1].item()

    def step(self, delta_t: Tensor, beta: float) -> tuple[list[Tensor], int]:
        """Δs for Δt (E,) at β: one (1, C_i) per vector of S, and the number of channels kept.

        Raises UserError when β keeps none.
        """
        # Equations 6 and 7: channels of a relevance below β stay.
        relevance = self.scores(delta_t)
        is_relevant = relevance.abs() >= beta
        channels = int(is_relevant.sum())
        if not channels:
            suggested = math.floor(1000 * self.beta_keeping(delta_t, SUGGESTED_CHANNELS)) / 1000
            raise UserError(
                f"No channel is relevant enough for a threshold β of {beta:.3g}; "
                f"β = {suggested:g} would keep {SUGGESTED_CHANNELS} channels."
            )
        kept = torch.where(is_relevant, relevance, 0)
        # R / max |R| of all channels: the most relevant one moves by one deviation at α = 1. Those of toRGB, which the
        # matrix may leave out, stay.
        in_rgb = torch.cat([torch.full((layer.channels,), layer.is_to_rgb) for layer in self.layers])
        measured = torch.ones_like(in_rgb) if len(kept) == len(in_rgb) else ~in_rgb
        share = torch.zeros_like(self.style_std)
        share[measured.nonzero()[: len(kept), 0]] = kept / kept.abs().max()
        delta_s = share * self.style_std
        return [s[None] for s in delta_s.split([layer.channels for layer in self.layers])], channels


def limited(styles: Tensor, step: Tensor, mean: Tensor, std: Tensor, limit: float) -> Tensor:
    """What is taken of a `step` from `styles`, (N, C_all) each, so that no channel crosses `limit` deviations of the
    `mean` (C_all,) of sampled faces, `std` (C_all,) being one.

    With u = (s − μ) / σ and a step of d deviations, the room on the side of the step is r = max(0, L − sign(d) · u),
    and r · g(|d| / r) is taken: g(x) = x up to ½, then ½ + ½ tanh(2x − 1). So a step to halfway is taken whole, more α
    never moves a channel less, and one that is outside already is not pulled back.
    """
    std = std.clamp(min=1e-12)
    there, moved = (styles - mean) / std, step / std
    room = (limit - moved.sign() * there).clamp(min=0)
    share = moved.abs() / room.clamp(min=1e-12)
    taken = moved.sign() * room * (0.5 + 0.5 * torch.tanh(2 * share - 1))
    return torch.where(share <= 0.5, step, taken * std)


def text_direction(texts: Texts, target: str, neutral: str, kept: Sequence[Pair] = ()) -> Tensor:
    """Δt (E,), of unit length, on the CPU (section 6.1), and at right angles to the directions of the pairs `kept`:
    what CLIP says of them stays (the projection of CLIP-PAE, arXiv 2210.03919).

    Raises UserError where CLIP can't tell the texts apart, and where hardly anything is left of their difference.
    """
    delta_t = texts.direction(target, neutral).cpu()
    if not kept:
        return delta_t
    basis = spanned(torch.stack([texts.direction(*pair).cpu() for pair in kept]))
    rest = delta_t - basis @ (basis.T @ delta_t)
    if rest.norm() < LEAST_LEFT:
        raise UserError(f"What is to be kept leaves nothing of “{target}”; please keep other attributes.")
    return F.normalize(rest, dim=0)


def spanned(directions: Tensor) -> Tensor:
    """An orthonormal basis (E, K) of what directions (N, E) span; two of them may be the same."""
    basis, sizes, _ = torch.linalg.svd(directions.T, full_matrices=False)
    return basis[:, sizes > ROUNDING * sizes[0]]


def direct(
    directions: StyleDirections,
    texts: Texts,
    generator: StyleGenerator,
    average: Tensor,
    latent: Latent,
    target: str,
    neutral: str,
    strength: float,
    threshold: float | None = None,
    channels: int = SUGGESTED_CHANNELS,
    limit: float = LIMIT,
    kept: Sequence[Pair] = (),
) -> tuple[Latent, int]:
    """s + α · Δs within `limit` deviations of the mean, anywhere with 0, and the number of channels that moved.

    `average` (L, D) is the mean latent, `strength` α and `threshold` β; without β the `channels` most relevant ones
    move. `kept` are pairs of texts that should stay. Raises UserError where CLIP can't tell the texts apart, and when β
    keeps no channel.
    """
    delta_t = text_direction(texts, target, neutral, kept)
    beta = directions.beta_keeping(delta_t, channels) if threshold is None else threshold
    delta_s, moved = directions.step(delta_t, beta)  # equations 6 and 7
    return _moved(directions, generator, average, latent, strength * torch.cat(delta_s, 1), limit), moved


def combine(
    directions: StyleDirections,
    texts: Texts,
    generator: StyleGenerator,
    average: Tensor,
    latent: Latent,
    sliders: Sequence[Mapping[str, Any]],
    channels: int = SUGGESTED_CHANNELS,
    limit: float = LIMIT,
) -> Latent:
    """s + Σ_i α_i · Δs_i: several global directions at once, whose order makes no difference.

    Each of `sliders` has a "target", a "neutral" and a "strength", which is α, and moves the `channels` most relevant
    channels of its pair; their sum stays within `limit`. Otherwise as `direct`.
    """
    step = torch.zeros(1, len(directions.style_std))
    for slider in sorted(sliders, key=lambda slider: (slider["target"], slider["neutral"])):  # the same to the bit
        if slider["strength"]:
            delta_t = texts.direction(slider["target"], slider["neutral"]).cpu()
            delta_s, _ = directions.step(delta_t, directions.beta_keeping(delta_t, channels))
            step = step + slider["strength"] * torch.cat(delta_s, 1)
    return _moved(directions, generator, average, latent, step, limit) if step.any() else latent


def _moved(
    directions: StyleDirections, generator: StyleGenerator, average: Tensor, latent: Latent, step: Tensor, limit: float
) -> Latent:
    """The latent a step (1, C_all) further, or what `limit` leaves of it."""
    if limit:
        mean, styles = style_mean(generator, average), torch.cat(latent.styles(generator), 1).float().cpu()
        step = limited(styles, step, mean, directions.style_std, limit)
    return latent.moved(list(step.split([layer.channels for layer in directions.layers], 1)))


class MeasuredDirections(StyleDirections):
    """Directions from a measured matrix.

    `relevance` (C, E) holds for every channel of S outside toRGB, in S order, the unit change of the CLIP image
    embedding that it causes (section 6.2); fewer rows leave the last channels alone. With C_all rows toRGB's channels
    are among them, which the paper leaves out: for generators that keep colours there. `agreement` (C,), of at most 1,
    is the length of E[Δi_c], which published matrices have lost; with it this is the paper's equation 6.
    """

    def __init__(
        self, relevance: Tensor, style_std: Tensor, layers: Sequence[StyleLayer], agreement: Tensor | None = None
    ) -> None:
        super().__init__(style_std, layers)
        lengths = relevance.norm(dim=1)
        not_unit = ((lengths - 1).abs() > ROUNDING) & (lengths > 0)  # β is a cosine, so rows have unit length
        self.relevance = F.normalize(relevance) if not_unit.any() else relevance
        self.agreement = torch.ones(len(relevance)) if agreement is None else agreement

    def scores(self, delta_t: Tensor) -> Tensor:
        """Equation 6: E[Δi_c] · Δt; where no `agreement` is known, the cosine of the two."""
        return self.agreement * (self.relevance @ delta_t)


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


def style_mean(generator: StyleGenerator, average: Tensor) -> Tensor:
    """Mean (C_all,) of every channel of S, on the CPU: S is linear in w, so it is the S of the mean latent (L, D)."""
    with torch.no_grad():
        return torch.cat(generator.styles(average[None].to(generator.device)), 1)[0].float().cpu()


def mean_codes(generator: StyleGenerator) -> Tensor:
    """The generator's mean latent in every row (L, D), for files that bring none."""
    return generator.mean_latent().expand(generator.num_rows, -1)
