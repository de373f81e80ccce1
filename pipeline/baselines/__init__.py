"""The methods that the paper compares StyleCLIP with, small and in one form, for the benchmark; no page offers them.

    rival = RIVALS["interfacegan"](studio.family, pairs, studio.texts)
    rival.edit(latent, "smiling face", "face", strength=1.0)

What a classifier or a person contributes in the original, CLIP contributes here, so that all of them start from a pair
of texts. StyleFlow is left out: its flow is conditioned on the values of a fixed set of attributes for every face, read
by trained regressors, and CLIP's similarities are no such values.
"""

from .ganspace import GANSpace
from .interfacegan import InterFaceGAN
from .rival import Rival
from .stylespace import StyleSpace
from .tedigan import TediGAN

RIVALS: dict[str, type[Rival]] = {
    "ganspace": GANSpace,
    "interfacegan": InterFaceGAN,
    "stylespace": StyleSpace,
    "tedigan": TediGAN,
}

__all__ = ["RIVALS", "Rival"]
