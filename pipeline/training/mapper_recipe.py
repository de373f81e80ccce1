"""How a latent mapper is trained: the recipe, and the network that training begins with (StyleCLIP, section 5)."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipeline.errors import UserError
from pipeline.methods.directions import style_statistics
from pipeline.models.registry import Row
from pipeline.networks.generator import StyleGenerator
from pipeline.networks.layers import EqualLinear
from pipeline.networks.mapper import (
    MAPPER_ROWS,
    LatentMapper,
    LevelsMapper,
    NarrowMapper,
    SingleMapper,
    StyleSpaceMapper,
    only_in_style_space,
)

# The recipe's numbers, which are range-checked.
NUMBERS = "clip l2 identity steps batch rate truncation jitter every patience seed start".split()
VARIANTS = ("levels", "single", "stylespace", "narrow")
WARM_UP = 20  # steps over which the learning rate rises
STATISTICS = 2_000  # sampled codes, of which the narrow mapper knows mean and deviation of S


@dataclass(frozen=True)
class MapperRecipe:
    """How a mapper is trained; it is stored in the mapper's file.

    `neutral`: what the prompt is compared with, which spares what it doesn't name, but may not begin a change that
    brings little at first, such as an open mouth, where λ_L2 is large; "" for the prompt alone, as in the paper.
    `variant`: "levels", a network for each of `levels`; "single", one for all rows of W+; "stylespace", one for each
    vector of S but toRGB's; "narrow", a small one for all of these vectors; None for "levels", or for "narrow" where a
    latent is a single row. `resolution`: the losses see pictures of the generator's working size when None; a lower one
    is the running RGB, which is quicker, but rows that work above it move unjudged. `truncation`: ψ of sampled codes; a
    family's row in the registry says which suits it. `jitter`: deviation of the noise added to each row of sampled
    codes, so that the mapper also knows codes whose rows differ, as an encoder's do. `every`: steps between
    validations; training stops when `patience` of them in a row have found no lower loss. `start`: α of the global
    direction, from the neutral text to the prompt, as which a narrow mapper begins; with 0 it begins as next to
    nothing. `noun`: what the pictures are of, the neutral text of that direction where `neutral` is "".
    """

    prompt: str
    variant: str | None = None
    levels: tuple[str, ...] = tuple(MAPPER_ROWS)
    clip: float = 1.0
    l2: float = 0.8
    identity: float = 0.1
    steps: int = 220
    batch: int = 3
    rate: float = 1.5
    truncation: float = 1.0
    jitter: float = 0.1
    resolution: int | None = None
    every: int = 20
    patience: int = 5
    seed: int = 0
    neutral: str = ""
    start: float = 0.0
    noun: str = "face"


def family_recipe(row: Row, prompt: str, **given: Any) -> MapperRecipe:
    """The recipe with a family's defaults (`mapper_…` of its row) for what is not `given`, or None."""
    defaults = {name: getattr(row.defaults, f"mapper_{name}") for name in ("clip", "l2", "steps", "start", "neutral")}
    chosen = {name: value for name, value in given.items() if value is not None}
    return MapperRecipe(
        prompt, **defaults | {"truncation": row.mapper_truncation, "noun": row.defaults.neutral} | chosen
    )


def default_variant(generator: StyleGenerator) -> str:
    """The variant of a mapper for which none is named."""
    return "narrow" if only_in_style_space(generator.num_rows) else VARIANTS[0]


def new_mapper(
    generator: StyleGenerator, recipe: MapperRecipe, rng: torch.Generator, average: Tensor | None = None
) -> LatentMapper:
    """An untrained mapper for a generator with the mean latent `average` (L, D), on the CPU.

    Raises UserError for a variant or a level that there is not, or that the generator's latents don't allow.
    """
    if recipe.variant not in VARIANTS or not recipe.levels or not set(recipe.levels) <= set(MAPPER_ROWS):
        raise UserError(
            f"A mapper is one of {', '.join(VARIANTS)}, and its levels are some of {', '.join(MAPPER_ROWS)}."
        )
    if only_in_style_space(generator.num_rows) and recipe.variant not in ("stylespace", "narrow"):
        raise UserError("A face of this model is a single w, so its mappers work in StyleSpace; choose “narrow”.")
    with torch.device("meta"):
        if recipe.variant == "stylespace":
            layers = enumerate(generator.style_layers)
            network = StyleSpaceMapper({i: layer.channels for i, layer in layers if not layer.is_to_rgb})
        elif recipe.variant == "narrow":
            network = NarrowMapper(sum(layer.channels for layer in generator.style_layers))
        elif recipe.variant == "single":
            network = SingleMapper(generator.style_dim)
        else:
            network = LevelsMapper(generator.style_dim, recipe.levels)
    network.to_empty(device="cpu")
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, EqualLinear):
                layer.weight.normal_(0, 1 / layer.lr_mul, generator=rng)
                layer.bias.zero_()
        if isinstance(network, NarrowMapper):
            mean, std = style_statistics(generator, STATISTICS, average=average)
            moves = torch.cat([torch.full((la.channels,), not la.is_to_rgb) for la in generator.style_layers])
            network.mean.copy_(mean)
            network.seen_std.copy_(torch.where(std > 1e-4, std, 1))
            network.moved_std.copy_(moves * std)
    return network


def recipe_rate(step: int, recipe: MapperRecipe) -> float:
    """The rate of step 0 ... steps - 1: a linear rise, then a cosine's fall to a fiftieth."""
    t = step / recipe.steps
    return recipe.rate * min(1, (step + 1) / WARM_UP, 0.02 + math.cos(math.pi * t / 2) ** 2)
