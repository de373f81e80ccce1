"""The attributes of a face, as attributes.toml has them."""

import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Attribute:
    """An attribute that a face has or lacks; attributes.toml says what the fields mean."""

    group: str
    text: str
    neutral: str = "{}"
    names: str = ""
    absent: str = ""
    who: str = ""
    of: str = ""
    words: str = ""
    without: tuple[str, str] | None = None
    thing: bool = False
    single: bool = False
    sign: str = ""

    def pair(self, away: bool) -> tuple[str, str]:
        """Target and neutral text, to add it or to take it away."""
        return (self.without or (self.neutral, self.text)) if away else (self.text, self.neutral)

    @property
    def short(self) -> str:
        """The attribute without the noun: "blonde hair", "smiling"."""
        return self.text.replace("{}", "").strip().removeprefix("with ")


def split(phrases: str) -> list[str]:
    """The phrases of a list with commas."""
    return [" ".join(phrase.split()) for phrase in phrases.split(",") if phrase.strip()]


def _read(row: dict) -> Attribute:
    return Attribute(**row | ({"without": tuple(row["without"])} if "without" in row else {}))


_TABLE = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
ATTRIBUTES = tuple(_read(row) for row in _TABLE["attributes"])
BY_TEXT = {attribute.text: attribute for attribute in ATTRIBUTES}
NEAR = {group: split(words) for group, words in _TABLE["near"].items()}
