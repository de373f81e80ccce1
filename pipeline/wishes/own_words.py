"""A text for CLIP in the visitor's own words, for families whose CLIP knows any word."""

import re

from pipeline.attributes import Attribute, with_a
from pipeline.wishes.clauses import OWN_SIGN, SIGNS, SIZES, TURNING, Mention
from pipeline.wishes.lexicon import Kind, Token, lexed

OWN = Attribute("own words", "{}")
TELLING = {Kind.ATTRIBUTE, Kind.MODIFIER, Kind.PART, Kind.PERSON, Kind.UNKNOWN, Kind.JUDGED, Kind.NUMBER}
PART_WORDS = set(
    "hair eye lip skin nose ear lipstick eyebrow brow cheek chin lashes eyelashes teeth forehead jaw neck".split()
)
PLACES = {"at", "in", "on", "under", "from", "behind", "near", "by"}
QUALITIES = ("y", "ed", "ish", "ous", "ful", "ic", "al", "er")  # how adjectives end, mostly


def in_own_words(clause: list[Token], text: str, noun: str, of_faces: bool) -> Mention | None:
    """What a clause speaks of, from its first to its last word that tells something. None where the first of them
    tells what to do: "close the eyes"."""
    telling = [token for token in clause if token.kind in TELLING or token.words in SIZES]
    first, last = telling[0], telling[-1]
    before = [token for token in clause if token.start < first.start]
    does = first.kind in (Kind.UNKNOWN, Kind.MODIFIER) and any(
        t.kind is Kind.THE for t in clause[clause.index(first) + 1 :][:1]
    )
    if does and last is not first and not (text[first.start].isupper() or any(t.kind is Kind.LIKE for t in before)):
        return None
    article = re.search(r"\b(an?|some)\s+$", text[: first.start], re.IGNORECASE)
    degree = next((t for t in clause if t.kind is Kind.DEGREE and t not in telling), None)
    said = text[first.start : last.end]
    if degree and first.start < degree.start < last.start:  # "the nose a bit smaller"
        said = text[first.start : degree.start] + text[degree.end : last.end].lstrip()
    target = _phrase(said, article[1].lower() if article else "", before, noun, of_faces)
    made = Mention(OWN, (before or telling)[0].start, last.end, pair=(target, noun))
    outside = [token for token in clause if not first.start <= token.start <= last.start]
    made.say(next((token for token in reversed(outside) if token.kind in SIGNS), None), degree.value if degree else 1.0)
    return made


def _phrase(said: str, article: str, before: list[Token], noun: str, of_faces: bool) -> str:
    """A text of words that may be a thing, a quality, a place, or a name."""
    head, words = noun.split()[-1], said.split()
    marker = next((token for token in reversed(before) if token.kind in OWN_SIGN | {Kind.LIKE}), None)
    whole = f"{article} {said}".strip()
    is_name = any(word[0].isupper() for word in words) and not said.isupper()
    a = with_a if " " in noun else str
    if {"with", "without"} & set(words):  # "Elsa with glasses"
        return whole
    if head in said.lower().split():  # "a red car"
        return whole if article else a(said)
    if before and before[-1].words in PLACES:  # "at night"
        return f"{noun} {before[-1].words} {whole}"
    starts_with_part = lexed(words[0], of_faces)[0].kind is Kind.PART
    if len(words) == 2 and (words[-1] in SIZES or starts_with_part):
        return f"{noun} with {words[1]} {words[0]}"  # "make the eyes bigger"
    if len(words) > 2 and (words[-1] in SIZES or starts_with_part):
        return f"{noun} with {whole}"  # "hair blue like the sea"
    last = lexed(words[-1], of_faces)[-1]
    is_thing = last.kind is Kind.ATTRIBUTE and last.value[0].thing
    is_part = {last.words, last.words.removesuffix("s")} & PART_WORDS
    if is_part or (len(words) > 1 and (is_thing or words[0] in SIZES)):  # "green hair", "witch hat", "bigger wheels"
        return f"{noun} with {whole}"
    if marker and marker.kind is Kind.LIKE:  # "look like Elsa"
        whole = whole if article or is_name else a(said)
        return f"{noun} of {whole}" if of_faces else whole
    adds = marker and (marker.kind in (Kind.WITH, Kind.AWAY) or _gives(marker))
    measures = marker and marker.kind in (Kind.MORE, Kind.LESS) and not said.endswith(QUALITIES)
    if adds or measures:  # "add snow", "less snow"
        return f"{noun} with {whole}"
    if last.kind is Kind.PERSON:  # "the tall man"
        return whole if article else a(said)
    return whole if article or is_name or len(words) > 2 else a(f"{said} {head}")


def _gives(marker: Token) -> bool:
    return marker.kind is Kind.CHANGE and marker.words not in TURNING
