"""The attributes of a face, as attributes.toml has them."""

import tomllib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import UserError
from pipeline.vocabulary import never_taught, unknown_words

Pair = tuple[str, str]
"""Target and neutral text."""
FACES = {"face", "person", "head", "portrait", "human"}  # nouns of families whose pictures are of faces


def is_of_faces(noun: str) -> bool:
    """Whether a family's pictures are of faces, by its `noun`, such as "face", "a face" or "a car"."""
    return noun.split()[-1] in FACES


def with_a(text: str) -> str:
    """A text with "a" or "an" before it."""
    return f"{'an' if text[:1].lower() in 'aeiou' else 'a'} {text}"


def with_noun(text: str, noun: str) -> str:
    """A text of attributes.toml with a family's noun in place of "{}", and with an article where the noun has one."""
    worded = text.format(noun.split()[-1])
    return with_a(worded) if " " in noun else worded


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

    @property
    def short(self) -> str:
        """The attribute without the noun: "blonde hair", "smiling"."""
        return self.text.replace("{}", "").strip().removeprefix("with ")

    def texts(self, noun: str, away: bool = False) -> Pair:
        """Target and neutral text, with the noun of a family, that add it to a face or take it away."""
        added = self.text, self.neutral
        target, neutral = (self.without or added[::-1]) if away else added
        return with_noun(target, noun), with_noun(neutral, noun)

    def is_known(self, vocabulary: Collection[str]) -> bool:
        """Whether a family's CLIP was taught it; a family without a listed `vocabulary` knows any word."""
        return not unknown_words(frozenset(vocabulary), f"{self.text.format('')} {self.sign}")


def split(phrases: str) -> list[str]:
    """The phrases of a list with commas."""
    return [" ".join(phrase.split()) for phrase in phrases.split(",") if phrase.strip()]


def _read(row: dict) -> Attribute:
    return Attribute(**row | ({"without": tuple(row["without"])} if "without" in row else {}))


_TABLE = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
ATTRIBUTES = tuple(_read(row) for row in _TABLE["attributes"])
BY_TEXT = {attribute.text: attribute for attribute in ATTRIBUTES}
BY_NAME = {attribute.short: attribute for attribute in ATTRIBUTES}
COLOURS = ("hair colour", "eyes")  # groups of which a face has one
NEAR = {group: split(words) for group, words in _TABLE["near"].items()}


def known_names(vocabulary: Collection[str], noun: str) -> tuple[str, ...]:
    """The names of the attributes that a family's CLIP was taught; none for a family of other things than faces."""
    known = (name for name, attribute in BY_NAME.items() if attribute.is_known(vocabulary))
    return tuple(known) if is_of_faces(noun) else ()


def pairs_of(names: Sequence[str], vocabulary: Collection[str], noun: str) -> tuple[Pair, ...]:
    """Target and neutral text of named attributes, with the noun of a family. Raises UserError for one that the
    family's CLIP was never taught, and for any where the family's pictures are not of faces."""
    if names and not is_of_faces(noun):
        raise UserError("Only attributes of faces can be kept, and this model makes none; please leave `keep` out.")
    if unknown := [name for name in names if name not in known_names(vocabulary, noun)]:
        raise UserError(never_taught(unknown, ", so it can't be kept; please leave it out"))
    return tuple(BY_NAME[name].texts(noun) for name in names)


def colours(target: str, neutral: str, vocabulary: Collection[str], noun: str) -> tuple[Pair, ...]:
    """The pairs of texts of all colours that hair or eyes can have, where the texts are those of one of them; none
    where they are not, or the family's CLIP knows no other."""
    for group in COLOURS:
        known = [one.texts(noun) for one in ATTRIBUTES if one.group == group and one.is_known(vocabulary)]
        if (target, neutral) in known and len(known) > 1:
            return tuple(known)
    return ()
