"""A long sum that survives being killed, in one process or in several: what is done so far is kept in files."""

import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from pipeline.files import written_whole

log = logging.getLogger(__name__)
EVERY = 10  # seconds between two savings


def write(state: dict[str, Tensor], path: Path, settings: dict[str, Any] | None = None) -> None:
    """A safetensors file that is there whole or not at all; its metadata tell the `settings` that it was made with."""
    metadata = settings and {"settings": json.dumps(settings)}  # one entry: safetensors writes several in random order
    with written_whole(path) as fresh:
        save_file(state, fresh, metadata)


def partial_files(path: Path) -> list[Path]:
    """What the processes have kept of the work that `path` names."""
    return sorted(path.parent.glob(f"{path.name}.*.part"))


class Partial:
    """Sums (C, E) whose rows come in parts, each part as often as there are codes, in the order of the codes.

    `path` names the work, its settings included; None keeps nothing. Several processes (`rank` of `world`) take turns
    over the parts. Each keeps a file of its own and reads everybody's, so the work may go on with another number of
    processes.
    """

    def __init__(self, path: Path | None, parts: Sequence[Tensor], width: int, rank: int = 0, world: int = 1) -> None:
        self.path, self.parts = path, parts
        self.own_parts = range(rank, len(parts), world)
        self.sums = torch.zeros(sum(map(len, parts)), width)
        self.done = torch.zeros(len(parts), dtype=torch.int32)
        self.file = path and path.with_name(f"{path.name}.{rank}.part")
        self.saved = -float("inf")
        for file in partial_files(path) if path else []:
            try:
                state = load_file(file)
            except SafetensorError:
                log.warning("%s is damaged: what was kept there is done again", file)
                continue
            for part in (state["done"] > self.done).nonzero()[:, 0].tolist():
                self.sums[parts[part]] = state["sums"][parts[part]]
                self.done[part] = state["done"][part]

    def share(self, codes: int) -> float:
        """How much of this process's part of the work is done, 0 to 1."""
        own = list(self.own_parts)
        weights = torch.tensor([len(self.parts[part]) for part in own])
        return (self.done[own] * weights).sum().item() / (codes * max(weights.sum().item(), 1))

    def add(self, part: int, rows: Tensor) -> None:
        """Add the rows (K, E) of the next code to a part."""
        self.sums[self.parts[part]] += rows
        self.done[part] += 1
        if time.monotonic() - self.saved > EVERY:
            self.save()

    def save(self) -> None:
        """Keep what is done so far."""
        if self.file:
            write({"sums": self.sums, "done": self.done}, self.file)
            self.saved = time.monotonic()
