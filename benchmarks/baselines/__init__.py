"""The methods that the paper compares StyleCLIP with, small and in one form, for the benchmark; no page offers them.

    baseline = BASELINES["interfacegan"](studio.family, pairs, studio.texts)
    baseline.edit(latent, "smiling face", "face", strength=1.0)

What a classifier or a person contributes in the original, CLIP contributes here, so that all of them start from a pair
of texts.
"""

from benchmarks.baselines.baseline import Baseline
from benchmarks.baselines.ganspace import GANSpace
from benchmarks.baselines.interfacegan import InterFaceGAN
from benchmarks.baselines.styleflow import StyleFlow
from benchmarks.baselines.stylespace import StyleSpace
from benchmarks.baselines.tedigan import TediGAN

BASELINES: dict[str, type[Baseline]] = {
    "ganspace": GANSpace,
    "interfacegan": InterFaceGAN,
    "styleflow": StyleFlow,
    "stylespace": StyleSpace,
    "tedigan": TediGAN,
}

__all__ = ["BASELINES", "Baseline", "StyleFlow"]
