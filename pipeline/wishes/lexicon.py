"""The words of a wish, by what they do in it, as lexicon.toml has them, and the lexer that looks them up."""

import re
import tomllib
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from functools import cache
from itertools import groupby, product
from pathlib import Path
from typing import Any

from pipeline.attributes import ATTRIBUTES, BY_TEXT, Attribute, split
from pipeline.vocabulary import STOP_WORDS


class Kind(Enum):
    """What a word does."""

    ATTRIBUTE = "names an attribute, (Attribute, whether it is absent)"
    MODIFIER = "describes a part of the face"
    PART = "a part of the face that is described"
    PERSON = "a person, by the attributes that make one"
    RELATION = "a person who is known already"
    AWAY = "takes away"
    NOT = "says the opposite"
    LESS = "asks for less"
    MORE = "asks for more"
    DEGREE = "how much, as a share"
    WITH = "begins what should be there"
    WANT = "begins another wish"
    CHANGE = "asks for a change"
    LIKE = "what something should become"
    KEEP = "what should stay"
    ENOUGH = "enough"
    UNSURE = "may mean more or less"
    VAGUE = "praise or wish without content"
    JUDGED = "praise that only a CLIP of any words knows"
    SWAP = "the other sex"
    YEARS = "years"
    NUMBER = "a number"
    THE = "points at what is there"
    FILLER = "nothing of its own"
    AND = "goes on with a list"
    STOP = "ends a thought"
    UNKNOWN = "a word that is not in the lexicon"


BIT, VERY = 0.5, 1.5  # shares of the default strength
_TOKEN = re.compile(r"w/o\b|w/|\d+%?|[^\W\d_]+(?:'[^\W\d_]+)*|[,;:.!?&+/()\n–—]")
_LONGEST = 5  # words of an entry


@dataclass(frozen=True)
class Token:
    """Words of a text from `start` to `end`, in lower case; `value` belongs to the kind."""

    words: str
    start: int
    end: int
    kind: Kind
    value: Any = None


@cache
def _lexicon(of_faces: bool) -> dict[str, tuple[Kind, Any]]:
    """Phrase -> kind and value; with `of_faces` also what only faces have. Later entries replace earlier ones."""
    table = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    entries: dict[str, tuple[Kind, Any]] = dict.fromkeys(STOP_WORDS, (Kind.FILLER, None))
    for kind, phrases in table["kinds"].items():
        entries |= dict.fromkeys(split(phrases), (Kind[kind.upper()], None))
    for verb, person in product(*map(split, table["questions"].values())):
        entries[f"{verb} {person}"] = (Kind.FILLER, None)
    for name, kind, share in (("bit", Kind.DEGREE, BIT), ("very", Kind.DEGREE, VERY), ("much_less", Kind.LESS, VERY)):
        entries |= dict.fromkeys(split(table["degrees"][name]), (kind, share))
    entries |= {word: (Kind.NUMBER, number) for word, number in table["numbers"].items()}
    for signs, kind in ((":", Kind.FILLER), (",;&+/()", Kind.AND), (".!?\n–—", Kind.STOP)):
        entries |= dict.fromkeys(signs, (kind, None))
    return entries | (_of_faces(table["persons"], table["parts"]) if of_faces else {})


def _of_faces(persons: dict[str, str], parts: dict[str, dict[str, str]]) -> dict[str, tuple[Kind, Any]]:
    words = {word for attribute in ATTRIBUTES for word in split(attribute.words)}
    entries: dict[str, tuple[Kind, Any]] = dict.fromkeys(words, (Kind.MODIFIER, None))
    for attribute in ATTRIBUTES:
        for names, absent in ((attribute.names, False), (attribute.absent, True)):
            for name in split(names):
                entries[name] = (Kind.MODIFIER if name in words else Kind.ATTRIBUTE, (attribute, absent))
    for made_of, names in persons.items():
        entries |= dict.fromkeys(split(names), (Kind.PERSON, [BY_TEXT[text] for text in split(made_of)]))
    for part, row in parts.items():
        entries |= dict.fromkeys(split(row["names"]), (Kind.PART, (part, BY_TEXT.get(row.get("alone")))))
    return entries


@cache
def described(word: str, part: str) -> Attribute | None:
    """The attribute of a part that a word describes: "blonde" of "hair"."""
    part = "lips" if part == "lipstick" else part
    return next((a for a in ATTRIBUTES if a.of == part and word in split(a.words)), None)


def lexed(text: str, of_faces: bool) -> list[Token]:
    """The words of a text with what they do. Hyphens part words; emoji and other signs are left out."""
    entries, plain = _lexicon(of_faces), re.sub("[’‘ʼ`´]", "'", text.lower())
    if len(plain) != len(text):  # a few capitals have longer small forms, and places would no longer fit
        plain = "".join(c if len(c.lower()) > 1 else c.lower() for c in text)
    found, tokens, place = list(_TOKEN.finditer(plain)), [], 0
    while place < len(found):
        for count in range(min(_LONGEST, len(found) - place), 0, -1):
            part = found[place : place + count]
            words = " ".join(match[0] for match in part)
            entry = _looked_up(words, entries)
            if entry or count == 1:
                break
        kind, value = entry or (Kind.UNKNOWN, None)
        tokens.append(Token(words, part[0].start(), part[-1].end(), kind, value))
        place += count
    return tokens


def _looked_up(words: str, entries: dict[str, tuple[Kind, Any]]) -> tuple[Kind, Any] | None:
    """The entry of words as they are, without 's or a plural, or with letters that are drawn out ("soooo")."""
    if words.rstrip("%").isdecimal():
        number = int(words.rstrip("%")[:6])
        return (Kind.DEGREE, number / 100) if words.endswith("%") else (Kind.NUMBER, number)
    short = ("".join("".join(run)[:2] for _, run in groupby(words)), "".join(c for c, _ in groupby(words)))
    forms = (words, words.removesuffix("'s"), words.removesuffix("s"), *(short if re.search(r"(.)\1\1", words) else ()))
    return next((entries[form] for form in forms if form in entries), None)


def respelt(word: str, of_faces: bool, least: float) -> str | None:
    """The word of the lexicon that an unknown one may be, misspelt, or None.

    They are at least so alike, by difflib, or begin alike and have the same letters. Words that name attributes come
    first. From `least` 0.9 on, fillers are left out: the word means something of its own.
    """
    entries = _lexicon(of_faces)
    words = {w: kind for w, (kind, _) in entries.items() if len(w) > 3 and " " not in w}
    telling = [w for w, kind in words.items() if kind in (Kind.ATTRIBUTE, Kind.MODIFIER, Kind.PART)]
    whole = least >= 0.9
    others = [w for w, kind in words.items() if not (whole and kind in (Kind.FILLER, Kind.VAGUE, Kind.JUDGED))]
    for known in (telling, others):
        same = [w for w in known if w[0] == word[0] and sorted(w) == sorted(word) and (not whole or len(word) > 4)]
        if close := same or get_close_matches(word, known, 1, least):
            return close[0]
        least = max(least, 0.8)
    return None
