"""Small networks of a family that people choose by name, loaded when they are first asked for, or bring as a file."""

import hashlib
import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from pipeline.errors import UserError
from pipeline.models.downloads import Progress, fetch
from pipeline.models.generator_formats import StateDict
from pipeline.models.network_files import built, read_network, short_digest
from pipeline.models.sources import Source
from pipeline.models.weights import kind_of_file, metadata, read_weights

T = TypeVar("T")


class NamedNetworks(ABC, Generic[T]):
    """Those of one kind of one row of the registry. Made once and shared between threads."""

    kind: str
    """What one is called, which is also the kind of its file (`weights.read_weights`)."""

    def __init__(self, model: str, table: Mapping[str, tuple[str, Source]]) -> None:
        """`model`: its title; `table`: name -> title and file."""
        self.model, self.table = model, table
        self._loaded: dict[str, T] = {}
        self._lock = threading.Lock()

    @abstractmethod
    def build(self, state: StateDict) -> T:
        """The network of a file's tensors; raises anything where they are those of another one."""

    @abstractmethod
    def misfit(self, network: T) -> str:
        """What keeps it from working with this generator, or ""; it is moved to where it works."""

    def find(self, wanted: str | Path) -> tuple[str, T, dict[str, str]]:
        """Name and network of one of the row's, or of a file by its path; of that its SHA-256, as `file`."""
        if isinstance(wanted, str):
            return wanted, self.load(wanted), {}
        return *self.load_own(wanted), {"file": hashlib.sha256(wanted.read_bytes()).hexdigest()}

    def load(self, name: str, progress: Progress | None = None) -> T:
        """One by name, downloaded when it is not here. Raises UserError when there is none of that name."""
        if name not in self.table:
            message = f"There is no {self.kind} “{name}”; there are: {', '.join(self.table) or 'none'}."
            is_path = name.endswith((".pt", ".pth", ".safetensors"))
            raise UserError(message + (" A file of your own is given as a pathlib.Path." if is_path else ""))
        source = self.table[name][1]
        if name not in self._loaded:
            fetch(source, progress)  # before the lock: others need not wait for a download
        with self._lock:
            if name not in self._loaded:
                network = built(self.build, read_network(self.kind, source), source)
                if wrong := self.misfit(network):
                    raise UserError(
                        f"The file {source.name} holds no {self.kind} for the model “{self.model}”: {wrong}."
                    )
                self._loaded[name] = network
            return self._loaded[name]

    def load_own(self, path: Path) -> tuple[str, T]:
        """Title and network of a file that somebody brings, as training writes it, or as others published theirs.

        Raises UserError for any other file, for one of another model, and when the file is gone.
        """
        if not path.is_file():
            raise UserError(
                f"There is no {self.kind} {path.name}, or it is no longer kept; please check its path, or load it "
                "again."
            )
        recipe: Any = {}
        try:
            if kind_of_file(path) not in ("safetensors", "zip"):  # a pickle of 20 MB could keep the server for minutes
                raise UserError("It is neither safetensors nor a file of PyTorch from 1.6 on.")
            network = built(self.build, read_weights(self.kind, path), Source(path=path))
            recipe = json.loads(metadata(path).get("recipe", "{}"))
            wrong = self.misfit(network)
        except UserError as error:
            wrong = str(error)[:1].lower() + str(error)[1:].rstrip(".")
        except (ValueError, RecursionError):
            wrong = "the recipe in it can't be read"
        if wrong:
            raise UserError(
                f"This file holds no {self.kind} for the model “{self.model}” ({wrong}); please choose one that was "
                "trained with it."
            )
        title = recipe.get("title") if isinstance(recipe, dict) else None
        file_name = "" if path.suffix == ".safetensors" else path.stem
        return title_of(title if isinstance(title, str) else file_name) or self.kind.capitalize(), network

    def digest(self, name: str) -> str:
        """The start of the SHA-256 of a file of the row, which is here."""
        return short_digest(self.table[name][1])


def title_of(text: str) -> str:
    """A text as a title: on one line, of at most 60 printable characters; "" where nothing is left."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:60].strip()
