"""What the page suggests for each model family: read from presets.toml."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("presets.toml")


@dataclass(frozen=True)
class Prompt:
    """Words for the latent optimization and the weights that go with them (paper, figure 3)."""

    words: str
    l2: float
    identity: float


@dataclass(frozen=True)
class Pair:
    """A neutral and a target text for a global direction (paper, section 6)."""

    neutral: str
    target: str


@dataclass(frozen=True)
class Presets:
    """Suggestions of one family."""

    prompts: tuple[Prompt, ...]
    pairs: tuple[Pair, ...]


def presets(family: str) -> Presets:
    """The suggestions for a family by its name in checkpoints/models.toml; the paper's where it has none."""
    table = tomllib.loads(FILE.read_text(encoding="utf-8"))
    rows = table.get(family, table["default"])
    return Presets(
        prompts=tuple(Prompt(**row) for row in rows["prompts"]),
        pairs=tuple(Pair(**row) for row in rows["pairs"]),
    )
