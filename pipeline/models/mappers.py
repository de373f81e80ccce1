"""The mappers of a family, which are loaded when they are first asked for, and mappers that people bring."""

import hashlib
import json
import threading
from functools import lru_cache
from pathlib import Path

from torch import Tensor

from pipeline.errors import UserError
from pipeline.latents import Latent
from pipeline.methods.mapper import apply_mapper
from pipeline.models.downloads import Progress, fetch
from pipeline.models.network_files import built, read_network, short_digest
from pipeline.models.registry import Row
from pipeline.models.sources import Source
from pipeline.models.weights import kind_of_file, metadata, read_weights
from pipeline.networks.generator import StyleGenerator
from pipeline.networks.mapper import LatentMapper, mapper_from_state_dict, only_in_style_space


class Mappers:
    """The mappers of one row of the registry. Made once and shared between threads."""

    def __init__(self, row: Row, generator: StyleGenerator, average: Tensor) -> None:
        """`average` (L, D) is the generator's mean latent."""
        self.row, self.generator, self.average = row, generator, average
        self._loaded: dict[str, LatentMapper] = {}
        self._lock = threading.Lock()

    def find(self, mapper: str | Path) -> tuple[str, LatentMapper, dict[str, str]]:
        """Name and network of one of the row's mappers, or of a file by its path; of that its SHA-256, as `file`."""
        if isinstance(mapper, str):
            return mapper, self.load(mapper), {}
        return *self.load_own(mapper), {"file": hashlib.sha256(mapper.read_bytes()).hexdigest()}

    def load(self, name: str, progress: Progress | None = None) -> LatentMapper:
        """A mapper by name, downloaded when it is not here. Raises UserError when there is none of that name."""
        mappers = self.row.mappers
        if name not in mappers:
            message = f"There is no mapper “{name}”; there are: {', '.join(mappers) or 'none'}."
            is_path = name.endswith((".pt", ".pth", ".safetensors"))
            raise UserError(message + (" A file of your own is given as a pathlib.Path." if is_path else ""))
        source = mappers[name][1]
        if name not in self._loaded:
            fetch(source, progress)  # before the lock: others need not wait for a download
        with self._lock:
            if name not in self._loaded:
                network = built(mapper_from_state_dict, read_network("mapper", source), source)
                if wrong := self._misfit(network):
                    raise UserError(
                        f"The file {source.name} holds no mapper for the model “{self.row.title}”: {wrong}."
                    )
                self._loaded[name] = network
            return self._loaded[name]

    def load_own(self, path: Path) -> tuple[str, LatentMapper]:
        """Title and network of a mapper that somebody brings: a file as training writes it, or as the paper's authors
        published theirs.

        Raises UserError for any other file, for a mapper of another model, and when the file is gone.
        """
        if not path.is_file():
            raise UserError(f"There is no mapper {path.name}, or it is no longer kept; please load it again.")
        try:
            if kind_of_file(path) not in ("safetensors", "zip"):  # a pickle of 20 MB could keep the server for minutes
                raise UserError("It is neither safetensors nor a file of PyTorch from 1.6 on.")
            network = built(mapper_from_state_dict, read_weights("mapper", path), Source(path=path))
            recipe = json.loads(metadata(path).get("recipe", "{}"))
            wrong = self._misfit(network)
        except UserError as error:
            wrong = str(error)[:1].lower() + str(error)[1:].rstrip(".")
        except (ValueError, RecursionError):
            wrong = "the recipe in it can't be read"
        if wrong:
            raise UserError(
                f"This file holds no mapper for the model “{self.row.title}” ({wrong}); please choose one that was "
                "trained with it."
            )
        title = recipe.get("title") if isinstance(recipe, dict) else None
        file_name = "" if path.suffix == ".safetensors" else path.stem
        return mapper_title(title if isinstance(title, str) else file_name), network

    def adding(self, target: str, neutral: str) -> str | None:
        """The mapper on this machine that learned to add what the `target` text adds to the `neutral` one; the nouns
        and articles may be others ("man with a beard"). None where there is none."""
        added = _added(target, neutral)
        for name, (_, source) in self.row.mappers.items():
            if added and (path := source.here()) and added == _learned(path):
                return name
        return None

    def digest(self, name: str) -> str:
        """The start of the SHA-256 of a mapper's file, which is here."""
        return short_digest(self.row.mappers[name][1])

    def _misfit(self, network: LatentMapper) -> str:
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


def mapper_title(text: str) -> str:
    """A text as a mapper's title: on one line, of at most 60 printable characters; “Mapper” where nothing is left."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:60].strip() or "Mapper"


@lru_cache
def _learned(path: Path) -> list[str]:
    """The words that a mapper learned to add, by the recipe in its file; none where there is no recipe."""
    recipe = json.loads(metadata(path).get("recipe", "{}"))
    return _added(recipe.get("prompt", ""), recipe.get("neutral", ""))


def _added(target: str, neutral: str) -> list[str]:
    """The words of a text that another one lacks, without articles."""
    there = {"a", "an", "the", *neutral.lower().split()}
    return [word for word in target.lower().split() if word not in there]
