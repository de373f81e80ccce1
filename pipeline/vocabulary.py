"""Which words of a text a model family has never read, for families whose vocabulary is known."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches

# Words that carry no meaning of their own, which a note needn't name.
STOP_WORDS = frozenset(
    """
    a about again all also am an and any are as at be been being bit but by can could do does doing done even ever for
    from get gets getting give given gives go goes going had has have having he her here hers herself him himself his
    how i if in into is it its itself just kind keep let like little look looked looking looks lot make makes making me
    more most much my myself no not of off on one onto or other our out over please put quite rather really same shall
    she should show shown shows so some somebody someone something sort still such than that the their them then there
    these they thing things this those to too turn turned turns under until up us very want was we wear wearing wears
    were what when where which while who whom whose will with without would yet you your yours
    """.split()
)
_WORD = re.compile(r"(?<![^\W_])([^\W\d_]+)(?:['’][^\W\d_]+)*")  # letters, and an ending after an apostrophe
NAMED = 4  # words that a note names before it says how many more there are
LONGEST = 24  # letters of a word in a note
CLOSE = 0.75  # how alike, at least, by difflib, a misspelt word and the right one are


def unknown_words(vocabulary: frozenset[str], text: str) -> list[str]:
    """The words of `text` that a family's CLIP, which knows `vocabulary`, was not taught, as they are written, each
    once.

    Empty for a family that names no vocabulary. Upper case, a plural and an ending after an apostrophe make no
    difference; digits and signs are no words.
    """
    if not vocabulary:
        return []
    return [word for word in telling_words(text) if not _known(word.lower(), vocabulary)]


def telling_words(text: str) -> list[str]:
    """The words of `text` that aren't `STOP_WORDS`, as they are written, each once."""
    words: dict[str, str] = {}
    for word in _WORD.findall(text):
        words.setdefault(word.lower(), word)
    return [word for key, word in words.items() if key not in STOP_WORDS]


def unknown_note(vocabulary: frozenset[str], text: str) -> str:
    """A sentence that names the unknown words of a text, and known ones that are spelt nearly so; "" where there is
    none."""
    words = unknown_words(vocabulary, text)
    close = [near for word in words for near in get_close_matches(word.lower(), sorted(vocabulary), 1, CLOSE)]
    then = f", which may change little or something else{nearest(list(dict.fromkeys(close)))}"
    return never_taught(words, then) if words else ""


def seldom_note(seldom: frozenset[str], target: str, neutral: str) -> str:
    """A sentence that names the words in which two texts differ and which a family's pictures `seldom` show, or lose;
    "" where there is none."""
    asked, taken = (_WORD.findall(text.lower()) for text in (target, neutral))
    differ = [word for word in dict.fromkeys((*asked, *taken)) if (word in asked) != (word in taken)]
    words = [word for word in differ if not seldom.isdisjoint((word, word.removesuffix("s")))]
    return f"This model seldom manages {listed(words)}; something else may change instead." if words else ""


def never_taught(words: Sequence[str], then: str) -> str:
    """A sentence that names words which a model was never taught, and `then` says what of it."""
    return (
        f"This model was never taught {listed([w if len(w) <= LONGEST else w[:LONGEST] + '…' for w in words])}{then}."
    )


def nearest(words: Sequence[str]) -> str:
    """The end of such a sentence that names what a model knows; "" for nothing."""
    return f"; the nearest it knows: {listed(words)}" if words else ""


def listed(words: Sequence[str]) -> str:
    """Words in a sentence: “a”, “b” and “c”; the first few of many."""
    named = [f"“{word}”" for word in words[:NAMED]]
    if len(words) > NAMED:
        named.append(f"{len(words) - NAMED} more")
    return enumerated(named)


def enumerated(words: Sequence[str]) -> str:
    """Words in a row: a, b and c."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _known(word: str, vocabulary: frozenset[str]) -> bool:
    forms = {word, word + "s", word.removesuffix("s"), word.removesuffix("es")}
    return not forms.isdisjoint(vocabulary)
