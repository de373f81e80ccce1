"""A clause of a wish in simpler words, before it is read: without names, descriptions and what there is already."""

from __future__ import annotations

import re
from dataclasses import replace

from pipeline.attributes import Attribute
from pipeline.wishes.clauses import DESCRIPTIONS, OLD, SMALL, YOUNG, describes_a_thing
from pipeline.wishes.lexicon import BIT, VERY, Kind, Token, described

REMOVING = {"remove", "take off", "take away", "get rid of", "delete", "erase", "lose"}
SWAPPING = {"swap", "replace", "exchange", "trade", "substitute", "swapping", "replacing"}
REPLACING = {"instead of", "rather than"}
REASONS = {"because", "cause", "coz", "cuz", "since"}
STATING = {"look", "looks", "is", "am", "are", "has", "have", "seem", "seems", "got"}  # behind a person: "she has"
ASKING = {"is", "are", "am", "was", "does", "do", "did", "has", "have"}  # before a person: "is he bald?"
COVERING = {"cover", "covers", "covering", "hide", "hides", "hiding"}
CAUSING = {"make", "makes", "made", "making", "ruins", "spoils"} | COVERING  # behind a thing: "the hat makes him sad"
VERBS = {"cheer", "straighten", "lighten", "darken", "whiten", "bleach", "shorten", "rejuvenate", "open", "calm"}
MINUS = re.compile(r"(?:^|(?<=[,;+\n]))[^\S\n]*([-−])\s*([^\W\d_])")  # a hyphen before a word that begins a wish
I_AM = {"i'm", "im", "he's", "hes", "she's", "shes"}


def goes_on_describing(before: list[Token], after: list[Token]) -> bool:
    """Whether a comma stands between descriptions of one person, thing or part: "his old, ugly hat"."""
    following = next((t for t in after if t.kind is not Kind.MODIFIER), None)
    if following and following.kind is Kind.PART and following is not after[0] and before:  # "long, blonde hair"
        return all(described(t.words, following.value[0]) for t in before)
    first = len(before)
    while first and describes_a_thing(before[first - 1]):
        first -= 1
    points = first and (before[first - 1].kind is Kind.THE or before[first - 1].words in ("a", "an"))
    last = next((place for place, t in enumerate(after) if not describes_a_thing(t)), 0)
    is_thing = after[last : last + 1] and (
        after[last].kind is Kind.PERSON or (after[last].kind is Kind.ATTRIBUTE and after[last].value[0].thing)
    )
    return bool(points and first < len(before) and last and is_thing)


def is_statement(clause: list[Token], subjects: list[tuple[int, int]]) -> bool:
    """Whether a clause says how somebody is: "I have a beard", "the man with a hat looks sad".

    `subjects` are the places of words that say who is in the picture.
    """
    if clause[0].words in ASKING and len(clause) > 1:  # "is he bald?"
        asked = clause[1]
        return asked.kind in (Kind.RELATION, Kind.PERSON, Kind.THE) or asked.words in ("i", "we", "they", "you")
    verb = next((place for place, token in enumerate(clause) if token.words in STATING), 0)
    before = clause[verb - 1]
    somebody = before.kind in (Kind.RELATION, Kind.PERSON) or before.words in ("i", "we")
    told = any(end == before.end for _, end in subjects)
    return clause[0].words in I_AM or bool(verb and (told or (verb < 4 and somebody)))


def is_question(clause: list[Token]) -> bool:
    """Whether a clause asks how somebody is, and for nothing: "is he bald", but "does he look good with a beard"."""
    asks = clause and clause[0].words in ASKING and is_statement(clause, [])
    return bool(asks) and not (asks_for_something(clause) or any(t.words in ("look", "good") for t in clause))


def asks_for_something(clause: list[Token]) -> bool:
    """Whether a clause has a word that asks: "make", "remove", "she should", or begins with one: "cheer her up"."""
    asks = any(t.kind in (Kind.CHANGE, Kind.AWAY, Kind.WANT) or t.words in ("should", "could", "would") for t in clause)
    return asks or clause[0].words.split()[0] in VERBS


def begins_to_ask(token: Token, before: Token) -> bool:
    """Whether a word in a clause begins another wish: "give" of "because he is bald give him hair"."""
    is_verb = token.kind is Kind.CHANGE or token.words in REMOVING
    return is_verb and not token.words.endswith(("s", "ing", "ed", "made")) and before.words not in ("i", "to", "they")


def told_thing(clause: list[Token]) -> list[Token]:
    """The thing that a clause only tells something of: "the beard" of "the beard makes him look old" and of "his beard
    is ugly"; nothing of any other clause."""
    place = next((i for i, t in enumerate(clause) if t.words in CAUSING | STATING), 0)
    before, after = clause[:place], clause[place + 1 :]
    if not before or not (before[-1].kind is Kind.PART or is_a_thing(before[-1])):
        return []
    points = before[0].kind in (Kind.THE, Kind.RELATION) and all(describes_a_thing(t) for t in before[1:-1])
    judged = after and all(t.kind in (Kind.JUDGED, Kind.VAGUE, Kind.FILLER, Kind.DEGREE) for t in after)
    return before if points and (clause[place].words in CAUSING or judged) else []


def is_a_thing(token: Token) -> bool:
    """Whether a word names what can be spoken of as "it": glasses, a beard, a smile."""
    attribute = token.value[0] if token.kind is Kind.ATTRIBUTE else None
    return attribute is not None and (attribute.thing or attribute.group == "expressions")


def without_list_numbers(tokens: list[Token]) -> list[Token]:
    """Without the numbers of a list: "1. remove the hat 2. add glasses"."""
    signs = [token.words in (".", ")") for token in tokens[1:]] + [False]
    is_list = tokens[0].kind is Kind.NUMBER and signs[0]
    return [t for t, sign in zip(tokens, signs, strict=True) if not (is_list and sign and t.kind is Kind.NUMBER)]


def with_minus(tokens: list[Token], text: str) -> list[Token]:
    """With a word that takes away for each hyphen before a wish: "+ beard, - glasses". Where each of several lines
    begins with one, they only make a list."""
    found = [(match.start(1), match.start(2)) for match in MINUS.finditer(text)]
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) > 1 and all(line.lstrip().startswith(("-", "−")) for line in lines):
        return tokens
    signs = [
        Token("-", sign, sign + 1, Kind.AWAY)
        for sign, wish in found
        if any(t.start == wish and t.kind not in (Kind.AWAY, Kind.CHANGE, Kind.WANT) for t in tokens)
    ]
    return sorted([*tokens, *signs], key=lambda token: token.start)


def without_calls(clause: list[Token]) -> list[Token]:
    """Without unknown words before what asks: "yo dudeee make him smile"."""
    asks = (i for i, t in enumerate(clause) if t.kind in (Kind.CHANGE, Kind.WANT) or t.words in REMOVING)
    verb = next(asks, 0)
    tells = any(t.kind in DESCRIPTIONS | {Kind.PART, Kind.PERSON} for t in clause[verb + 1 :])
    are_calls = all(t.kind in (Kind.UNKNOWN, Kind.FILLER) for t in clause[:verb])
    return [t for t in clause[:verb] if t.kind is not Kind.UNKNOWN] + clause[verb:] if tells and are_calls else clause


def prepared(clause: list[Token], text: str, noun: str, last: Attribute | None) -> list[Token]:
    """A clause without the words that only say who or what is there, with ages and swaps as simpler words. `last` is
    the attribute that was spoken of before."""
    clause = _without_names(_without_what_it_replaces(clause), text, noun)
    clause = _without_descriptions(_without_what_is_covered(clause))
    return _with_ages(_with_swaps(_without_origin(clause)), last)


def swapped(clause: list[Token]) -> tuple[list[Token], list[Token]]:
    """What goes and what comes, where a prepared clause swaps them; otherwise all of it and nothing."""
    swap = next((i for i, t in enumerate(clause) if t.words in SWAPPING and t.kind is Kind.AWAY), len(clause))
    joint = next((i for i, t in enumerate(clause) if i > swap and t.kind is Kind.WITH), len(clause))
    added = clause[joint + 1 :]
    mark = [replace(clause[joint], start=added[0].start, end=added[0].start)] if added else []
    return clause[:joint], mark + added


def _without_what_it_replaces(clause: list[Token]) -> list[Token]:
    """ "instead of blonde make her brunette" as "make her brunette"."""
    if clause[0].words not in REPLACING:
        return clause
    known = (Kind.ATTRIBUTE, Kind.MODIFIER, Kind.PART)
    first = next((place for place, token in enumerate(clause) if token.kind in known), len(clause))
    verbs = [place for place, token in enumerate(clause) if place > first and token.kind is Kind.CHANGE]
    return clause[verbs[0] :] if verbs else clause


def _without_what_is_covered(clause: list[Token]) -> list[Token]:
    """ "cover his bald head with a hat", and "hide it under a hat", as "add a hat"."""
    first = next((i for i, token in enumerate(clause) if token.words in COVERING), len(clause))
    joints = ("with", "under", "underneath", "behind", "by", "beneath")
    last = next((i for i, token in enumerate(clause) if i > first and token.words in joints), None)
    if last is None:
        return clause
    return [*clause[:first], replace(clause[last], kind=Kind.CHANGE, words="add"), *clause[last + 1 :]]


def _without_descriptions(clause: list[Token]) -> list[Token]:
    """Without what only describes a thing that is taken away: "remove his ugly grey hat" as "remove his hat"."""
    dropped: set[int] = set()
    for place, token in enumerate(clause):
        if not (token.kind is Kind.ATTRIBUTE and token.value[0].thing):
            continue
        first = place
        while first and describes_a_thing(clause[first - 1]):
            first -= 1
        before = [t.kind for t in clause[:first] if t.words not in SMALL]
        points = before[-1:] in ([Kind.THE], [Kind.RELATION])
        while before[-1:] in ([Kind.THE], [Kind.RELATION]):
            before.pop()
        is_known = all(t.kind is not Kind.UNKNOWN for t in clause[first:place])
        if before[-1:] == [Kind.AWAY] and (points or is_known):
            dropped.update(range(first, place))
    return [token for place, token in enumerate(clause) if place not in dropped]


def _without_names(clause: list[Token], text: str, noun: str) -> list[Token]:
    """Without a name that says whose face it is: "make Anna smile", "make the car red"."""

    def is_name(place: int) -> bool:
        token, before = clause[place], clause[place - 1]
        if token.kind is not Kind.UNKNOWN or not place:
            return False
        if before.kind is Kind.THE and token.words == noun.split()[-1]:
            return True
        after = {later.kind for later in clause[place + 1 :]} & {Kind.ATTRIBUTE, Kind.MODIFIER, Kind.PART}
        return before.kind is Kind.CHANGE and text[token.start].isupper() and bool(after)

    return [token for place, token in enumerate(clause) if not is_name(place)]


def _without_origin(clause: list[Token]) -> list[Token]:
    """Without what there is: "from black to blonde", "more blonde than brown"."""
    words = [token.words for token in clause]
    first = next((i for i, word in enumerate(words) if word in ("from", "than")), len(words))
    ends = (i for i, word in enumerate(words) if i > first and word in ("to", "into"))
    last = next(ends, len(words) if "than" in words else first)
    dropped = (Kind.ATTRIBUTE, Kind.MODIFIER)
    return [token for i, token in enumerate(clause) if not (first < i < last and token.kind in dropped)]


def _with_swaps(clause: list[Token]) -> list[Token]:
    """ "swap the hat for glasses" as "remove the hat with glasses"."""
    first = next((i for i, token in enumerate(clause) if token.words in SWAPPING), None)
    joints = ("for", "with", "by", "to", "into")
    last = next((i for i, token in enumerate(clause) if i > (first or 0) and token.words in joints), None)
    if first is None or last is None:
        return clause
    away, joint = replace(clause[first], kind=Kind.AWAY), replace(clause[last], kind=Kind.WITH)
    there = [token for token in clause[first + 1 : last] if token.kind not in (Kind.PART, Kind.MODIFIER)]
    added, parts = clause[last + 1 :], [token for token in clause[first + 1 : last] if token.kind is Kind.PART]
    if added and added[-1].kind is Kind.MODIFIER:  # "swap her brown hair for red"
        added = added + [replace(added[-1], kind=Kind.PART, words=part.words, value=part.value) for part in parts[-1:]]
    return [*clause[:first], away, *there, joint, *added]


def _with_ages(clause: list[Token], last: Attribute | None) -> list[Token]:
    """With "young" or "old", and how much, in place of a number of years."""
    place = next((i for i, token in enumerate(clause) if token.kind is Kind.NUMBER), None)
    if place is None:
        return clause
    number, before, after = clause[place], clause[:place], clause[place + 1 :]
    unit = after[:1] if after and after[0].kind is Kind.YEARS else []
    after = after[len(unit) :]
    years = number.value
    share = BIT if years <= 12 else 1.0 if years <= 30 else VERY
    degree = replace(number, kind=Kind.DEGREE, value=share)
    previous, following = (before[-1].words if before else ""), (after[0].words if after else "")

    def age(attribute: Attribute, end: int) -> Token:
        return Token("age", number.start, end, Kind.ATTRIBUTE, (attribute, False))

    if following in ("younger", "older") or previous in ("younger", "older"):
        return [*before, degree, *after]
    ages = {"age", "aged", "at", "was", "were", "to", "look", "looks", "is"} | I_AM
    is_him = before and before[-1].kind in (Kind.RELATION, Kind.THE) and not after  # "make him 25"
    years_old = following in ("old", "s") or any(t.words in ("yo", "y o") for t in unit)
    if years_old or ((previous in ages or is_him) and not unit):
        rest = after[following in ("old", "s") :]
        start = [token for token in before if token.words not in ("age", "aged")]
        end = clause[len(clause) - len(rest) - 1].end
        made = age(YOUNG if years <= 35 else OLD, end) if not 35 < years < 50 else replace(number, kind=Kind.UNKNOWN)
        return [*start, made, *rest]
    if unit and any(token.kind is Kind.ATTRIBUTE and token.value[0] in (YOUNG, OLD) for token in clause):
        return [*before, degree, *after]
    if not unit:
        return [*before, replace(number, kind=Kind.UNKNOWN), *after]
    if any(token.kind is Kind.AWAY for token in clause):
        kept = ([token for token in part if token.kind is not Kind.AWAY] for part in (before, after))
        before, after = kept
        return [*before, degree, age(YOUNG, unit[0].end), *after]
    if any(token.kind is Kind.CHANGE for token in before):
        return [*before, degree, age(OLD, unit[0].end), *after]
    return [*before, degree if last in (YOUNG, OLD) else replace(number, kind=Kind.UNKNOWN), *after]
