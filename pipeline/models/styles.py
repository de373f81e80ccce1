"""The styles of a family, which StyleGAN-NADA learned, and styles that people bring."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from pipeline.files import written_whole
from pipeline.models.generator_formats import StateDict
from pipeline.models.named_networks import NamedNetworks
from pipeline.models.registry import Row
from pipeline.models.weights import metadata, read_weights
from pipeline.networks.generator import StyleGenerator
from pipeline.tuning import Tuning

PREFIX = "style."


class Styles(NamedNetworks[Tuning]):
    """The styles of one row of the registry, see `NamedNetworks`: differences of the generator's weights."""

    kind = "style"

    def __init__(self, row: Row, generator: StyleGenerator) -> None:
        super().__init__(row.title, row.styles)
        self.generator = generator

    def build(self, state: StateDict) -> Tuning:
        """See `read`."""
        return self.read(state)

    @staticmethod
    def read(state: StateDict) -> Tuning:
        """The difference that a file's tensors make. Raises ValueError where there is none."""
        left = {name: value.float() for name, value in state.items()}
        if (style := Tuning.popped(left, PREFIX)) is None or left:
            raise ValueError("no style")
        return style

    def misfit(self, network: Tuning) -> str:
        """What keeps a style from working with this generator, or ""."""
        if not network.fits(self.generator):
            return "its sizes are those of another model"
        return ""


def retitle_style(path: Path, copy: Path, title: str) -> None:
    """Copy a style's file that `Styles.load_own` has accepted under another title."""
    recipe = json.loads(metadata(path).get("recipe", "{}"))
    style = Styles.read(read_weights("style", path))
    save_style(style, copy, (recipe if isinstance(recipe, dict) else {}) | {"title": title})


def save_style(style: Tuning, path: Path, recipe: Mapping[str, Any]) -> None:
    """Write a style in half precision, with its recipe as JSON in the file's metadata."""
    tensors = {f"{PREFIX}{name}": value.half().contiguous() for name, value in style.tensors().items()}
    with written_whole(path) as fresh:
        save_file(tensors, fresh, {"recipe": json.dumps(recipe)})
