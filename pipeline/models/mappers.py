"""The mappers of a family, and mappers that people bring."""

import json
from functools import lru_cache
from pathlib import Path

from torch import Tensor

from pipeline.latents import Latent
from pipeline.methods.mapper import apply_mapper
from pipeline.models.generator_formats import StateDict
from pipeline.models.named_networks import NamedNetworks
from pipeline.models.registry import Row
from pipeline.models.weights import metadata
from pipeline.networks.generator import StyleGenerator
from pipeline.networks.mapper import LatentMapper, mapper_from_state_dict, only_in_style_space


class Mappers(NamedNetworks[LatentMapper]):
    """The mappers of one row of the registry, see `NamedNetworks`."""

    kind = "mapper"

    def __init__(self, row: Row, generator: StyleGenerator, average: Tensor) -> None:
        """`average` (L, D) is the generator's mean latent."""
        super().__init__(row.title, row.mappers)
        self.generator, self.average = generator, average

    def adding(self, target: str, neutral: str) -> str | None:
        """The mapper on this machine that learned to add what the `target` text adds to the `neutral` one; the nouns
        and articles may be others ("man with a beard"). None where there is none."""
        added = _added(target, neutral)
        for name, (_, source) in self.table.items():
            if added and (path := source.here()) and added == _learned(path):
                return name
        return None

    def build(self, state: StateDict) -> LatentMapper:
        """The network of a file's tensors."""
        return mapper_from_state_dict(state)

    def misfit(self, network: LatentMapper) -> str:
        """What keeps a mapper from working with this generator, or ""; it is moved to the generator's device."""
        if only_in_style_space(self.generator.num_rows) and not network.in_style_space:
            return "it works in W+, where faces of this model have a single row"
        if not network.fits([layer.channels for layer in self.generator.style_layers]):
            return "its sizes are those of another model"
        network.to(self.generator.device)
        try:
            tried = apply_mapper(network, self.generator, Latent(self.average[None].cpu()), 1.0)
        except (RuntimeError, ValueError):
            return "its sizes are those of another model"
        finite = all(values.isfinite().all() for values in (tried.w_plus, *(tried.style_step or ())))
        return "" if finite else "it holds numbers that are none"


@lru_cache
def _learned(path: Path) -> list[str]:
    """The words that a mapper learned to add, by the recipe in its file; none where there is no recipe."""
    recipe = json.loads(metadata(path).get("recipe", "{}"))
    return _added(recipe.get("prompt", ""), recipe.get("neutral", ""))


def _added(target: str, neutral: str) -> list[str]:
    """The words of a text that another one lacks, without articles."""
    there = {"a", "an", "the", *neutral.lower().split()}
    return [word for word in target.lower().split() if word not in there]
