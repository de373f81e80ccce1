"""How strong a global direction should be: the α at which the target is there, found on a few sampled faces.

With α the pictures of the faces i have the CLIP embeddings e_i(α), which move along Δt by

    gain(α)  = E[(e_i(α) − e_i(0)) · Δt]
    cost(α)  = λ_P (1 − E[identity cosine])² + λ_C E[|change of a pixel|]²
    worth(α) = gain(α) / max(max gain, room) − cost(α)

where the room is how much further along Δt the sampled faces are that have the target (`Looks`): what never gets near
them is worth little. The least α whose worth is nearly the greatest is taken: there the target no longer grows, or the
person or the picture would suffer. CLIP alone would go on: it is small, and finds more of nearly everything in a
picture that has burnt out.
"""

import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pipeline.attributes import Pair
from pipeline.latents import sampled
from pipeline.losses import clip_features, identity_features
from pipeline.methods.directions import LIMIT, TRUNCATION, limited, style_mean, text_direction
from pipeline.methods.estimate import directions_of
from pipeline.models.family import Family
from pipeline.text import Texts

FACES = 5
ALPHAS = (1.0, 1.6, 2.6, 4.2, 6.6, 10.0)
PERSON, CHANGE = 2.0, 5.0  # λ_P and λ_C
TOLERANCE = 0.01  # of worth, which is at most 1
REMEMBERED = 256  # pairs of texts
CLEAR = 0.05  # a gain that CLIP sees clearly, where the room is less or not known


class Embedded(NamedTuple):
    """Pictures (N, 3, R, R) in [-1, 1], and their unit embeddings (N, E) by CLIP and by the identity network, where
    there is one."""

    pictures: Tensor
    clip: Tensor
    person: Tensor | None


class Strengths:
    """The α of a global direction where none is given: that of the family's row, or else one that suits the texts.

    A direction gets the same α as its reverse, the larger that one of the two needs: few sampled faces have glasses
    that could be seen to go. Finding it takes at most twice `FACES` · `len(ALPHAS)` small pictures. The latest are
    remembered; threads that ask for others wait in turn. On one machine a pair of texts always gets the same α.
    """

    def __init__(self, family: Family, texts: Texts) -> None:
        self.family, self.texts = family, texts
        self._lock = threading.Lock()
        self._remembered: dict[tuple[Any, ...], float] = {}
        self._faces: tuple[Tensor, Embedded] | None = None

    def of(
        self,
        target: str,
        neutral: str,
        threshold: float | None = None,
        channels: int | None = None,
        limit: float = LIMIT,
        kept: Sequence[Pair] = (),
    ) -> float:
        """α for two texts; the rest as in `direct` of directions.py, `channels` being the family's default when None.

        Raises UserError where CLIP can't tell the texts apart, and when β keeps no channel.
        """
        defaults = self.family.defaults
        if "strength" in defaults.model_fields_set:
            return defaults.strength
        numbers = threshold, channels or defaults.channels, limit, tuple(kept)
        return max(self._known(target, neutral, *numbers), self._known(neutral, target, *numbers))

    def _known(self, *asked: Any) -> float:
        """What `_found` says, once; what is remembered already waits for no search."""
        strength = self._remembered.get(asked)
        if strength is None:
            with self._lock:
                strength = self._remembered.get(asked)  # another thread may have found it meanwhile
                if strength is None:
                    strength = self._found(*asked)
                    if len(self._remembered) >= REMEMBERED:
                        del self._remembered[next(iter(self._remembered))]  # the oldest
                    self._remembered[asked] = strength
        return strength

    @torch.inference_mode()
    def _found(
        self,
        target: str,
        neutral: str,
        threshold: float | None,
        channels: int,
        limit: float,
        kept: Sequence[Pair],
    ) -> float:
        family, directions = self.family, directions_of(self.family)
        delta_t = text_direction(self.texts, target, neutral, kept)
        beta = directions.beta_keeping(delta_t, channels) if threshold is None else threshold
        step = torch.cat(directions.step(delta_t, beta)[0], 1)
        if self._faces is None:
            latents = [sampled(family.generator, family.latent_avg, seed, TRUNCATION) for seed in range(FACES)]
            drawn = torch.cat([torch.cat(latent.styles(family.generator), 1) for latent in latents]).float().cpu()
            self._faces = drawn, self._embed(drawn)
        styles, before = self._faces
        mean, std, gains, costs = style_mean(family.generator, family.latent_avg), directions.style_std, [0.0], [0.0]
        for alpha in ALPHAS:
            moved = limited(styles, alpha * step, mean, std, limit) if limit else alpha * step
            after = self._embed(styles + moved)
            gains.append(((after.clip - before.clip).cpu() @ delta_t).mean().item())
            change = (after.pictures - before.pictures).abs().mean().item()
            away = 0.0 if before.person is None else 1 - (after.person * before.person).sum(1).mean().item()
            costs.append(PERSON * away**2 + CHANGE * change**2)
            if costs[-1] >= 1:  # no gain is worth more
                break
        room = CLEAR
        if family.looks is not None:
            room = max(room, (family.looks.having(delta_t) @ delta_t - (before.clip.cpu() @ delta_t).mean()).item())
        return least_worthwhile((0.0, *ALPHAS)[: len(gains)], gains, costs, room)

    def _embed(self, styles: Tensor) -> Embedded:
        """What is seen in the small pictures of styles (N, C_all)."""
        family, generator = self.family, self.family.generator
        sizes = [layer.channels for layer in generator.style_layers]
        pictures = generator.synthesize(styles.to(family.device).split(sizes, 1), generator.working_size)
        pictures = pictures.float().clamp(-1, 1)
        person = None if family.identity is None else identity_features(family.identity, pictures)
        return Embedded(pictures, clip_features(family.clip, pictures, family.row.clip_normalize_directions), person)


def least_worthwhile(
    alphas: Sequence[float], gains: Sequence[float], costs: Sequence[float], room: float = CLEAR
) -> float:
    """The least α, of tenths, that is worth nearly as much as the best, from the gain and the cost at several α, the
    first of them 0; between those on the straight line. A gain of `room` is worth 1, or the greatest, if that is more.
    """
    worth = np.array(gains) / max(*gains, room) - np.array(costs)
    tenths = np.arange(1, round(10 * alphas[-1]) + 1) / 10
    worth = np.interp(tenths, alphas, worth)
    return float(tenths[np.argmax(worth >= worth.max() - TOLERANCE)])
