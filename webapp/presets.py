"""What the page suggests for each model family: read from presets.toml."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from pipeline import StyleCLIP
from pipeline.models.registry import Defaults

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
    strength: float | None = None
    """α: for photographed faces chosen by hand, which is better; for drawn ones what is found, so that nobody waits for
    it. None to find it."""

    def alpha(self, studio: StyleCLIP) -> float:
        """The α that suits it."""
        return studio.strength(self.target, self.neutral) if self.strength is None else self.strength


@dataclass(frozen=True)
class Presets:
    """Suggestions of one family."""

    prompts: tuple[Prompt, ...]
    pairs: tuple[Pair, ...]
    wishes: tuple[str, ...] = ()
    """What a visitor may want to change, as people say it; the first is what the page begins with."""
    words: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Known to work after "with", in groups by what they are about; empty where nearly any word works."""


def presets(family: str, defaults: Defaults) -> Presets:
    """The suggestions for a family by its name in checkpoints/models.toml; for one that has none its default texts."""
    rows = tomllib.loads(FILE.read_text(encoding="utf-8")).get(family)
    if rows is None:
        return Presets(
            prompts=(Prompt(defaults.target, defaults.l2, defaults.identity),),
            pairs=(Pair(defaults.neutral, defaults.target),),
            wishes=(defaults.target,),
        )
    return Presets(
        prompts=tuple(Prompt(**row) for row in rows["prompts"]),
        pairs=tuple(Pair(**row) for row in rows["pairs"]),
        wishes=tuple(rows["wishes"]),
        words={group: tuple(words) for group, words in rows.get("words", {}).items()},
    )
