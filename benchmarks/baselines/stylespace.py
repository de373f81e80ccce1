"""StyleSpace (Wu et al. 2021): the one channel of S that tells faces with an attribute from all others."""

import torch
from torch import Tensor

from benchmarks.baselines.baseline import Baseline
from pipeline.latents import Latent
from pipeline.methods.directions import TRUNCATION, style_statistics
from pipeline.models.family import Family
from pipeline.text import Texts
from pipeline.training.pairs import Pairs

EXEMPLARS = 30  # faces that show the attribute
SAMPLES = 10_000  # codes for the statistics of S
DISTANCE = 10.0  # deviations of the channel, chosen by eye: the paper goes as far as each edit needs


class StyleSpace(Baseline[Tensor]):
    """Exemplars are CLIP's: the faces that it finds the most alike the target against the neutral text.

    The paper's are chosen by a classifier, or by hand. The channels are those that the family's directions may move:
    toRGB's, which the paper leaves out, only where the directions have them. Step: 10 deviations of the channel.
    """

    def __init__(self, family: Family, pairs: Pairs, texts: Texts) -> None:
        super().__init__(family, pairs, texts)
        self.mean, truncated_std = style_statistics(family.generator, SAMPLES, average=family.latent_avg)
        self.std = truncated_std / TRUNCATION  # of all faces, as the pairs are: S is affine in W
        layers = family.generator.style_layers
        outside = torch.cat([torch.full((layer.channels,), not layer.is_to_rgb) for layer in layers])
        directions = family.directions
        moves_colours = directions is not None and len(directions.relevance) == len(outside)
        self.movable = (outside | moves_colours) & (self.std > 0)

    def _search(self, target: str, neutral: str) -> Tensor:
        exemplars = (self.pairs.features @ self._direction(target, neutral)).topk(min(EXEMPLARS, len(self.pairs.w)))
        w = self.pairs.w[exemplars.indices].to(self.family.device)
        with torch.inference_mode():
            styles = torch.cat(self.family.generator.styles(w), 1).cpu()
        shift, spread = self.deviations(styles)
        score = torch.where(self.movable, shift.abs() / spread, 0)
        step, channel = torch.zeros_like(self.std), score.argmax()
        step[channel] = DISTANCE * shift[channel].sign() * self.std[channel]
        return step

    def deviations(self, styles: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (C_all,) of styles (N, C_all), in the deviations of all faces."""
        normalised = (styles - self.mean) / self.std.clamp(min=1e-8)
        return normalised.mean(0), normalised.std(0).clamp(min=1e-8)

    def _whole(self, latent: Latent, found: Tensor) -> Latent:
        sizes = [layer.channels for layer in self.family.generator.style_layers]
        return latent.moved([s[None] for s in found.split(sizes)])
