"""The reader of wishes: what people say should change in a picture becomes pairs of texts for a direction.

A text is cut into clauses at its commas, "and", "then" and "but". In a clause, words add, take away, or say how much;
what they speak of comes after them, or before them where nothing comes after ("glasses off").
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.attributes import is_of_faces
from pipeline.checks import of_type
from pipeline.errors import UserError
from pipeline.text import check_prompt
from pipeline.wishes import answers
from pipeline.wishes.answers import Answers, Reading, Wish, is_incomplete
from pipeline.wishes.clauses import GIVING, OWN_SIGN, SIGNS, Mention, Named, named, share_of, thing_ends
from pipeline.wishes.lexicon import Kind, Token, lexed
from pipeline.wishes.own_words import OWN, TELLING, in_own_words
from pipeline.wishes.rewriting import (
    REASONS,
    REPLACING,
    asks_for_something,
    begins_to_ask,
    goes_on_describing,
    is_question,
    is_statement,
    prepared,
    swapped,
    told_thing,
    with_minus,
    without_calls,
    without_list_numbers,
)

MOST_SHARE = 2.0  # what the page's slider goes to


def read_wishes(text: str, vocabulary: frozenset[str] = frozenset(), noun: str = "face") -> Reading:
    """The wishes in a text, in the order in which they are said.

    `vocabulary`: the words that the family's CLIP was taught, empty where it knows any word; `noun`: what its pictures
    are of, such as "face" or "a car". Raises UserError for a text that is empty, too long, or without words.
    """
    check_prompt(of_type("text", text, str, "a text"))
    tokens = lexed(text, is_of_faces(noun))
    if not any(token.words[0].isalnum() for token in tokens):
        raise UserError(answers.NO_WORDS)
    reader = _Reader(Answers(text, vocabulary, noun))
    clause: list[Token] = []
    tokens = with_minus(without_list_numbers(tokens), text)
    for place, token in enumerate(tokens):
        if token.words == "," and goes_on_describing(clause, tokens[place + 1 :]):
            continue
        if token.kind is Kind.AND and not (reader.mentions or any(t.kind in TELLING | {Kind.KEEP} for t in clause)):
            continue  # "remove, please, the hat"
        if clause and clause[0].words in REASONS:
            ends = token.kind in (Kind.AND, Kind.STOP) and token.words not in ("and", "or")
            if not (ends or begins_to_ask(token, clause[-1])):
                clause.append(token)
                continue
            reader.leave_out(clause)
            clause = []
        if token.words in REASONS:
            reader.read(clause, "")
            clause = []
        if token.words in REPLACING and any(t.kind in TELLING for t in clause):  # "a tiara instead of glasses"
            reader.read(clause, token.words)
            clause = []
        if token.kind in (Kind.AND, Kind.STOP):
            goes_on = [t.words for t in tokens[place + 1 : place + 2] if t.words in ("or", "nor")]  # "the hat. or …"
            if token.words == "?" and is_question(clause):
                reader.leave_out(clause, answers.A_QUESTION)
                clause = []
            reader.read(clause, token.words if token.kind is Kind.AND else "".join(goes_on))
            clause = []
        else:
            clause.append(token)
    if clause and clause[0].words in REASONS:
        reader.leave_out(clause)
    else:
        reader.read(clause, "")
    return reader.reading()


@dataclass
class _Reader:
    """Reads a text clause by clause."""

    answers: Answers
    mentions: list[Mention] = field(default_factory=list)
    persons: list[Mention] = field(default_factory=list)  # that may only say who is in the picture
    subjects: list[tuple[int, int]] = field(default_factory=list)  # places of words that do
    part: str = ""  # of the face, that was spoken of last
    joint: str = ""  # what joins the clause to the one before: "and", a comma; "" where a thought ended
    begins: int = 0  # where the list that goes on begins in `mentions`
    verb: Kind | None = None  # whether the clause before asks to add or to take away
    carried: Token | None = None  # what takes away or keeps, and goes on with a list
    tells: bool = False  # whether the clause before ends with who is in the picture: "the man with a beard"
    stated: list[tuple[int, int]] = field(default_factory=list)  # places of clauses that say how somebody is
    left: list[tuple[int, int]] = field(default_factory=list)  # places of reasons and questions
    described: bool = False  # whether the text tells who is in the picture by what they have
    asks: bool = False  # whether it asks for something beside that
    alone: dict[str, list[Token]] = field(default_factory=dict)  # part -> the clause that says nothing of it
    # Clauses with unknown words that may only say who is in the picture: "the tall man with a hat".
    undecided: list[tuple[list[Token], Named, list[Token]]] = field(default_factory=list)

    # A clause

    def read(self, clause: list[Token], joint: str) -> None:
        """The wishes of one clause; `joint` is what joins it to the next one, "" where a thought ends."""
        if clause:
            if not self.joint:
                self.carried, self.begins = None, len(self.mentions)
            self._clause(clause)
        self.joint = joint if clause or not joint else self.joint and joint

    def leave_out(self, clause: list[Token], told: str = answers.A_REASON) -> None:
        """Say of a clause that it asks for no change, as a reason: "because he is bald"."""
        self.answers.notes.append(told.format(self.answers.said(*clause)))
        self.left.append((clause[0].start, clause[-1].end))
        if things := [one for one in named(clause[1:], "").mentions if one.attribute.thing]:  # "because of the beard"
            self.mentions += things
            self.subjects.append((clause[0].start, clause[-1].end))
        if self.stated:  # "he looks old because of the beard"
            self.subjects += self.stated
            self.asks = True

    def _clause(self, clause: list[Token]) -> None:
        say, last = self.answers, self.mentions[-1].attribute if self.mentions else None
        if clause[0].words == "why" and not asks_for_something(clause):
            say.notes.append(answers.WHY.format(say.said(*clause)))
            return
        if thing := told_thing(clause):  # "the beard makes him look old"
            clause = thing
            self.stated.append((clause[0].start, clause[-1].end))
            self.subjects.append(self.stated[-1])
            self.asks = True
        clause = prepared(clause, say.text, say.noun, last)
        clause, added = (clause, []) if say.vocabulary else swapped(clause)
        if added:  # a text of its own
            self._clause(clause)
            clause = added
        clause, kept = self._parted(clause)
        if kept:
            self.carried = Token("keep", 0, 0, Kind.KEEP)
            say.notes.append(answers.KEPT.format(say.said(*kept)))
        if not clause or say.misspelt(clause):
            return
        clause = without_calls(clause)
        found = named(clause, self.part)
        asks = self._take_subjects(clause, found)
        self.part = found.part
        unknown = [token for token in clause if token.kind is Kind.UNKNOWN] + found.unclear
        unknown += [token for token in clause if token.kind is Kind.JUDGED and not say.vocabulary]
        unknown.sort(key=lambda token: token.start)
        inside = [token for token in unknown if self._is_there(token)]
        if inside and asks:  # "the tall man should smile"
            unknown = [token for token in unknown if token not in inside]
        elif inside and self.tells:
            self.undecided.append((clause, found, unknown))
            return
        self._decide(clause, found, unknown)

    def _take_subjects(self, clause: list[Token], found: Named) -> bool:
        """Take in what only says who is in the picture; whether the clause asks for something beside that."""
        self.subjects += found.subjects
        ends = thing_ends(clause) if self.joint and self.tells and clause[0].kind not in SIGNS else 0
        if ends and _is_thing(clause[ends - 1]):  # "the man with a beard and glasses"
            found.told = clause[ends - 1].end
            self.subjects.append((clause[0].start, found.told))
        self.tells = found.told == clause[-1].end
        wants = not self.joint or asks_for_something(clause)
        if is_statement(clause, found.subjects) or (self.joint and self.stated and not wants):
            self.stated.append((clause[0].start, clause[-1].end))
        elif wants and self.stated and (found.mentions or found.unclear):  # "I'm bald, add a beard"
            self.subjects += self.stated
            self.asks = self.asks or not found.mentions
        outside = {token.kind for token in clause if not self._is_there(token)}
        asks = bool(outside & (TELLING | SIGNS | {Kind.SWAP, Kind.UNSURE}))
        if found.subjects:
            self.asks = self.asks or asks
            self.described = self.described or bool(found.told)
        return asks

    def _decide(self, clause: list[Token], found: Named, unknown: list[Token]) -> None:
        """Take in what a clause names, or say what is unknown or unclear of it."""
        say = self.answers
        if any(token.kind is Kind.SWAP for token in clause) and not found.mentions:
            say.offer(clause, answers.WHICH, ["turn into a woman", "turn into a man"])
        elif unknown and not (say.vocabulary or all(map(is_incomplete, unknown))):
            outside = [token for token in clause if not self._is_there(token)]
            asked = outside if unknown[-1] in outside else clause
            if own := in_own_words(asked, say.text, say.noun, say.of_faces):
                self.mentions += [own, *filter(self._is_there, found.mentions)]
            else:
                say.notes.append(answers.DONE.format(say.said(*clause)))
            return
        elif len(unknown) == 1 and unknown[0].kind is Kind.PART and unknown[0].value:
            self.alone[self.part] = clause
        elif unknown:
            if say.untaught(clause, found.mentions, unknown):
                self._signed(clause, found.mentions)
        elif any(token.kind is Kind.UNSURE for token in clause) and found.mentions:
            short = " and ".join(one.attribute.short for one in found.mentions)
            say.offer(clause, answers.UNSURE, [f"a bit {short}", f"less {short}"])
        else:
            self._signed(clause, found.mentions)
        self.persons += found.persons

    def _parted(self, clause: list[Token]) -> tuple[list[Token], list[Token]]:
        """What a clause asks for, and what should not be done: "remove the hat", and "not the glasses"."""
        if self._is_kept(clause):
            return [], clause
        place = next((i for i, token in enumerate(clause) if token.words == "not"), len(clause))
        before, after = clause[:place], clause[place:]
        verbs = [token.kind for token in before if token.kind in (Kind.AWAY, Kind.CHANGE)]
        if before and not any(token.kind in TELLING - {Kind.PART} for token in before):
            return clause, []
        self.verb, verb = (verbs[-1] if verbs else None), (verbs[-1] if verbs else None if before else self.verb)
        things = all(token.value[0].thing for token in after if token.kind is Kind.ATTRIBUTE)
        if after and (verb is Kind.CHANGE or (verb is Kind.AWAY and things)):
            return before, after
        return clause, []

    def _is_kept(self, clause: list[Token]) -> bool:
        """Whether a clause asks for no change: "keep the hat", or "don't remove it", or goes on with such a list."""
        kinds = [token.kind for token in clause]
        if self.carried and self.carried.kind is Kind.KEEP and self.joint:
            return not (OWN_SIGN - {Kind.KEEP} | {Kind.WANT}) & set(kinds)
        after = kinds[kinds.index(Kind.NOT) + 1 :] if Kind.NOT in kinds and Kind.ENOUGH not in kinds else []
        return Kind.KEEP in kinds or any(kind in (Kind.AWAY, Kind.LESS, Kind.CHANGE) for kind in after)

    # Signs and shares

    def _signed(self, clause: list[Token], mentions: list[Mention]) -> None:
        """Give the attributes what the clause's words say of them, and keep them."""
        there = [one for one in mentions if self._is_there(one)]
        if there and len(there) < len(mentions):  # what is said of who is in the picture is said of nothing else
            carried = self.carried
            self._signed([token for token in clause if self._is_there(token)], there)
            self.carried = carried
            clause = [token for token in clause if not self._is_there(token)]
            mentions = [one for one in mentions if one not in there]
        signs = [t for t in clause if t.kind in SIGNS | {Kind.WITH, Kind.WANT, Kind.MORE, Kind.DEGREE}]
        if signs and signs[-1].words == "too" and clause[-1] is signs[-1]:
            signs.pop()  # "glasses too"
        if any(token.kind is Kind.ENOUGH for token in clause):  # "not smiling enough"
            signs = [token for token in signs if token.kind not in SIGNS]
        own = {token.kind for token in clause} & OWN_SIGN
        if not mentions:
            self._of_the_clause_before(clause, signs)
            return
        wants = any(token.kind is Kind.WANT for token in clause)
        carried = self.carried if self.joint and not (own or wants) else None
        state: Token | None = None  # what takes away the next attribute, and things that follow it
        is_open, share = False, 1.0  # whether `state` or `share` still waits for an attribute
        for one in sorted([*signs, *mentions], key=lambda one: one.start):
            if isinstance(one, Mention):
                goes_on = state and state.kind is not Kind.NOT and one.attribute.thing
                negation = state if is_open or goes_on else None
                if carried:
                    negation = self._carried(carried, one)
                one.say(negation, share)
                one.bare = not own and clause[-1].words != "on"  # "hat on, glasses off"
                is_open, share = False, 1.0
            elif one.kind is Kind.DEGREE:
                is_open, share = is_open or state is None, share_of(one, state)
            elif one.kind in SIGNS:
                state, is_open = one, True
            elif not (state and state.kind is Kind.NOT and is_open):
                state, is_open = None, False
        after = [token for token in signs if token.start > mentions[-1].start]
        if any(token.kind in SIGNS | {Kind.DEGREE} for token in after):
            self._of_what_stands_before(after, mentions[-1], state)
        if not carried:
            self.carried = state if state and state.start < mentions[-1].start else None
        self.mentions += mentions

    def _carried(self, sign: Token, one: Mention) -> Token | None:
        """Whether a word that takes away still counts in a list: for things, and not for "blonde hair"."""
        thing, say = one.attribute.thing, self.answers
        if thing and sign.words in ("no", "without") and self.joint != "or":
            say.notes.append(answers.CARRIED.format(say.said(one)))
        elif not thing and sign.words == "without":
            say.notes.append(answers.NOT_CARRIED.format(say.said(one)))
        return sign if thing else None

    def _is_there(self, one: Mention | Token) -> bool:
        """Whether it belongs to who is in the picture."""
        return any(start <= one.start < end for start, end in self.subjects)

    def _is_asked(self, last: Mention) -> None:
        """What belonged to who is in the picture is spoken of again: "the girl with glasses, remove them"."""
        self.subjects = [(a, last.start if a <= last.start < b else b) for a, b in self.subjects]

    def _of_what_stands_before(self, signs: list[Token], last: Mention, state: Token | None) -> None:
        """Words at a clause's end: "smile less", "glasses and hat off"."""
        sign = next((token for token in signs if token.kind in SIGNS), None)
        last.say(sign, next((share_of(token, state) for token in signs if token.kind is Kind.DEGREE), last.share))
        if sign:
            self._is_asked(last)
        if sign and sign.kind is Kind.AWAY and self.joint:
            for one in self.mentions[self.begins :]:
                one.taken |= one.bare and one.attribute.thing

    def _of_the_clause_before(self, clause: list[Token], signs: list[Token]) -> None:
        """A clause that names nothing speaks of the one before: "she has glasses, remove them", "smile, but less"."""
        if not self.mentions:
            return
        last = self.mentions[-1]
        sign = next((token for token in signs if token.kind in SIGNS), None)
        degree = next((token.value for token in signs if token.kind is Kind.DEGREE), None)
        if sign or degree:
            last.say(sign, degree or 1.0)
            if sign:
                self._is_asked(last)
        elif any(token.words in GIVING for token in clause):  # "I have no beard, give me one"
            last.taken = False
        elif any(token.words in ("fix", "change", "correct") for token in clause):  # "he is bald, fix it"
            last.taken = not last.taken

    # The end

    def reading(self) -> Reading:
        """All that was read."""
        say = self.answers
        if not (self.asks or any(not self._is_there(one) for one in self.mentions)):
            for clause, found, unknown in self.undecided:
                self._decide(clause, found, unknown)
        for part, clause in self.alone.items():
            if not any(one.attribute.of == part for one in self.mentions):  # "my hair, but grey"
                if part == "hair" and any(token.kind is Kind.LESS for token in clause):
                    say.offer(clause, answers.WHICH, ["shorter hair", "bald"])
                else:
                    say.which(clause, say.near(next(token for token in clause if token.kind is Kind.PART))[:5])
        wishes: list[Mention] = []
        for one in self._counted():
            for other in [other for other in wishes if _exclude_each_other(one, other)]:
                if one.attribute is not other.attribute or one.away != other.away:
                    say.notes.append(answers.LAST.format(say.said(other), say.said(one)))
                wishes.remove(other)
            wishes.append(one)
        made = [wish for one in sorted(wishes, key=lambda one: one.start) if (wish := self._wish(one))]
        if not (made or say.notes or say.offers):
            say.notes.append(answers.NOTHING if say.of_faces else answers.NOTHING_ELSE)
        return Reading(tuple(made), *say.finished())

    def _counted(self) -> list[Mention]:
        """The mentions without those that only say who is in the picture, or what is replaced by another."""
        notes, text = self.answers.notes, self.answers.text
        others = [one for one in self.mentions if not self._is_there(one)]
        asks = self.asks or (self.described and bool(notes))
        rest = [one for one in self.mentions if not any(a <= one.start < b for a, b in self.left)]
        counted = others if others or asks else rest
        if others or asks:
            asked = [one.attribute for one in others]
            there = [one for one in self.mentions if one.attribute not in asked]
            left_out = [(a, b) for a, b in self.subjects if any(a <= one.start < one.end == b for one in there)]
            notes += [answers.THERE.format(text[a:b]) for a, b in left_out]
        starts = {one.start for one in self.persons}
        if all(one.start in starts for one in counted) and not notes:  # "a woman", "grandma"
            counted = counted + self.persons
        else:
            for said in dict.fromkeys(self.answers.said(one) for one in self.persons):
                notes.append(answers.WHO.format(said, said))
        added = {one.attribute.group for one in counted if one.attribute.single and not one.away}
        return [one for one in counted if not (one.away and one.attribute.single and one.attribute.group in added)]

    def _wish(self, one: Mention) -> Wish | None:
        said = self.answers.said(one)
        if one.share > MOST_SHARE:
            self.answers.notes.append(answers.TOO_STRONG.format(said))
            one.share = MOST_SHARE
        if one.pair:
            target, neutral = reversed(one.pair) if one.away else one.pair
            return Wish(said, target, neutral, one.share)
        if not self.answers.knows(one.attribute):
            self.answers.untaught_attribute(one)
            return None
        return Wish(said, *one.attribute.texts(self.answers.noun, one.away), one.share)


def _is_thing(token: Token) -> bool:
    """Whether a word names a part of the face, or a thing."""
    return token.kind is Kind.PART or (token.kind is Kind.ATTRIBUTE and token.value[0].thing)


def _exclude_each_other(one: Mention, other: Mention) -> bool:
    """Whether a face can't have both, or they are the same."""
    if one.attribute is other.attribute:
        return one.attribute is not OWN
    return one.attribute.single and other.attribute.single and one.attribute.group == other.attribute.group
