"""Wishes: what should change in a picture, as people say it in English, as pairs of texts for a direction.

A text is cut into clauses at its commas, "and", "then" and "but". In a clause, words add, take away, or say how much;
what they speak of comes after them, or before them where nothing comes after ("glasses off"). What a family was never
taught, and what is misspelt, becomes no wish but a note or an offer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pipeline.attributes import ATTRIBUTES, NEAR, Attribute, split
from pipeline.checks import of_type
from pipeline.clauses import GIVING, OWN_SIGN, SIGNS, Mention, named, prepared, thing_ends
from pipeline.errors import UserError
from pipeline.lexicon import BIT, Kind, Token, lexed, respelt
from pipeline.networks.clip import is_word
from pipeline.own_words import OWN, TELLING, in_own_words, with_a
from pipeline.text import check_prompt
from pipeline.vocabulary import CLOSE, NAMED, listed, nearest, never_taught

FACES = {"face", "person", "head", "portrait", "human"}  # nouns of families whose pictures are of faces
ASIDE = {"for", "on", "at", "in", "because", "since", "when", "like", "so", "to"}
EXAMPLES = ("glasses", "blonde hair", "smiling", "young")
MOST = 8  # notes and offers of a text, and words of a clause that may be misspelt
NO_WORDS = "Please say in words what should change, such as “add glasses” or “younger”."
NOTHING = "This text does not say what should change; please say it, such as “add glasses”, “younger” or “blonde hair”."
NOTHING_ELSE = "This text does not say what should change; name a thing to add or to remove, or how it should look."
KEPT = "“{}” asks for no change, so nothing is done about it."
WHO = "“{}” is taken as who is in the picture; write “turn into a {}” to change that."
THERE = "“{}” is taken as who is in the picture, so nothing is done about it."
MOST_SHARE = 2.0  # what the page's slider goes to
TOO_STRONG = "“{}” is done at 200 %, which is the most."
DONE = "“{}” says what to do; please say what the picture should show then."
SAY_MORE = "“{}” leaves open what it should be; please say more."
SO_MUCH = {"much", "so much", "a lot", "lots"}  # behind a word that says the opposite they ask for less
LAST = "“{}” and “{}” exclude each other, so the last counts."
CARRIED = "“{}” is read as something to take away too."
NOT_CARRIED = "“{}” is read as something that should be there."
UNSURE = "“{}” may ask for more or for less; please choose."
WHICH = "“{}” leaves open what it should be; please choose, or say more."


@dataclass(frozen=True)
class Wish:
    """One change: the pair of texts for a direction, and `share`, how strong, as a share of the default strength.

    `said` is the part of the text that it was read from.
    """

    said: str
    target: str
    neutral: str
    share: float = 1.0


@dataclass(frozen=True)
class Reading:
    """What a text asks for. `notes` are sentences for the visitor; `offers` are whole texts to ask for instead, where
    it is not certain what was meant. A part of the text that is only offered is no wish."""

    wishes: tuple[Wish, ...]
    notes: tuple[str, ...] = ()
    offers: tuple[str, ...] = ()


def read_wishes(text: str, vocabulary: frozenset[str] = frozenset(), noun: str = "face") -> Reading:
    """The wishes in a text, in the order in which they are said.

    `vocabulary`: the words that the family's CLIP was taught, empty where it knows any word; `noun`: what its pictures
    are of, such as "face" or "a car". Raises UserError for a text that is empty, too long, or without words.
    """
    check_prompt(of_type("text", text, str, "a text"))
    tokens = lexed(text, noun.split()[-1] in FACES)
    if not any(token.words[0].isalnum() for token in tokens):
        raise UserError(NO_WORDS)
    reader = _Reader(text, vocabulary, noun)
    clause: list[Token] = []
    for token in tokens:
        if token.kind is Kind.AND and not (reader.mentions or any(t.kind in TELLING | {Kind.KEEP} for t in clause)):
            continue  # "remove, please, the hat"
        if token.kind in (Kind.AND, Kind.STOP):
            reader.read(clause, "" if token.kind is Kind.STOP else token.words)
            clause = []
        else:
            clause.append(token)
    reader.read(clause, "")
    return reader.reading()


@dataclass
class _Reader:
    """Reads a text clause by clause."""

    text: str
    vocabulary: frozenset[str]
    noun: str
    mentions: list[Mention] = field(default_factory=list)
    persons: list[Mention] = field(default_factory=list)  # that may only say who is in the picture
    subjects: list[tuple[int, int]] = field(default_factory=list)  # places of words that do
    notes: list[str] = field(default_factory=list)
    offers: list[str] = field(default_factory=list)
    part: str = ""  # of the face, that was spoken of last
    joint: str = ""  # what joins the clause to the one before: "and", a comma; "" where a thought ended
    begins: int = 0  # where the list that goes on begins in `mentions`
    verb: Kind | None = None  # whether the clause before asks to add or to take away
    carried: Token | None = None  # what takes away or keeps, and goes on with a list
    tells: bool = False  # whether the clause before ends with who is in the picture: "the man with a beard"
    described: bool = False  # whether the text tells who is in the picture by what they have
    asks: bool = False  # whether it asks for something beside that
    alone: dict[str, list[Token]] = field(default_factory=dict)  # part -> the clause that says nothing of it

    @property
    def of_faces(self) -> bool:
        return self.noun.split()[-1] in FACES

    # A clause

    def read(self, clause: list[Token], joint: str) -> None:
        """The wishes of one clause; `joint` is what joins it to the next one, "" where a thought ends."""
        if clause:
            if not self.joint:
                self.carried, self.begins = None, len(self.mentions)
            self._clause(clause)
        self.joint = joint if clause or not joint else self.joint and joint

    def _clause(self, clause: list[Token]) -> None:
        last = self.mentions[-1].attribute if self.mentions else None
        clause = prepared(clause, self.text, self.noun, last)
        clause, kept = self._parted(clause)
        if kept:
            self.carried = Token("keep", 0, 0, Kind.KEEP)
            self.notes.append(KEPT.format(self._said(kept)))
        if not clause or self._misspelt(clause):
            return
        found = named(clause, self.part)
        self.subjects += found.subjects
        ends = thing_ends(clause) if self.joint and self.tells and clause[0].kind not in SIGNS else 0
        if ends and _is_thing(clause[ends - 1]):  # "the man with a beard and glasses"
            found.told = clause[ends - 1].end
            self.subjects.append((clause[0].start, found.told))
        self.tells = found.told == clause[-1].end
        if found.told:
            outside = {token.kind for token in clause if not self._is_there(token)}
            self.asks = self.asks or bool(outside & (TELLING | SIGNS | {Kind.SWAP, Kind.UNSURE}))
            self.described = True
        self.part = found.part
        unknown = [token for token in clause if token.kind is Kind.UNKNOWN] + found.unclear
        unknown += [token for token in clause if token.kind is Kind.JUDGED and not self.vocabulary]
        if any(token.kind is Kind.SWAP for token in clause) and not found.mentions:
            self._offer(clause, WHICH, ["turn into a woman", "turn into a man"])
        elif unknown and not (self.vocabulary or all(map(_is_incomplete, unknown))):
            if own := in_own_words(clause, self.text, self.noun, self.of_faces):
                self.mentions.append(own)
            else:
                self.notes.append(DONE.format(self._said(clause)))
            return
        elif unknown:
            self._untaught(clause, found.mentions, sorted(unknown, key=lambda token: token.start))
        elif any(token.kind is Kind.UNSURE for token in clause) and found.mentions:
            short = " and ".join(one.attribute.short for one in found.mentions)
            self._offer(clause, UNSURE, [f"a bit {short}", f"less {short}"])
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

    def _said(self, tokens: list[Token]) -> str:
        return self.text[tokens[0].start : tokens[-1].end].strip()

    def _instead(self, start: int, end: int, words: str) -> str:
        """The whole text with other words in a place of it."""
        return (self.text[:start] + words + self.text[end:]).strip()

    def _offer(self, clause: list[Token], note: str, choices: Iterable[str]) -> None:
        self.notes.append(note.format(self._said(clause)))
        self.offers += [self._instead(clause[0].start, clause[-1].end, words) for words in choices]

    def _which(self, clause: list[Token], choices: list[str]) -> None:
        """Offer what an incomplete wish may be, unless a word that takes away would be lost: "not grey"."""
        takes = SIGNS & {token.kind for token in clause}
        self._offer(clause, *((SAY_MORE, []) if takes or not choices else (WHICH, choices)))

    def _misspelt(self, clause: list[Token]) -> bool:
        """Offer the text with unknown words spelt as known ones; whether there are such words."""
        unknown = [token for token in clause if token.kind is Kind.UNKNOWN]
        close = {token: known for token in unknown[:MOST] if (known := self._respelt(token))}
        if close:
            mended, place = "", 0
            for token, known in close.items():
                mended, place = mended + self.text[place : token.start] + known, token.end
            mended = (mended + self.text[place:]).strip()
            self.offers.append(mended)
            self.notes.append(f"Did you mean “{mended}”?")
        return bool(close)

    def _respelt(self, token: Token) -> str | None:
        """What an unknown word may be, misspelt. Of words that CLIP reads whole only the likeliest are."""
        if len(token.words) < 3 or any(token.words in words for words in NEAR.values()):
            return None
        whole = is_word(token.words)
        if not self.vocabulary and (whole or self.text[token.start].isupper()):
            return None  # a word or a name of its own
        return respelt(token.words, self.of_faces, 0.9 if whole else CLOSE if self.vocabulary else 0.85)

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
                one.bare = not own
                is_open, share = False, 1.0
            elif one.kind is Kind.DEGREE:
                is_open, share = is_open or state is None, _share(one, state)
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
        thing, said = one.attribute.thing, self.text[one.start : one.end]
        if thing and sign.words in ("no", "without") and self.joint != "or":
            self.notes.append(CARRIED.format(said))
        elif not thing and sign.words == "without":
            self.notes.append(NOT_CARRIED.format(said))
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
        last.say(sign, next((_share(token, state) for token in signs if token.kind is Kind.DEGREE), last.share))
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
            last.taken = not last.absent

    # What a family was never taught

    def _untaught(self, clause: list[Token], mentions: list[Mention], unknown: list[Token]) -> None:
        """Words that a family with a listed vocabulary was never taught, and attributes beside them."""
        told = [token for token in unknown if token.kind is not Kind.MODIFIER] or unknown
        near, words = list(dict.fromkeys(one for token in told for one in self._near(token))), self._phrases(unknown)
        if len(unknown) == 1 and unknown[0].kind is Kind.PART and unknown[0].value:
            self.alone[self.part] = clause
        elif all(map(_is_incomplete, unknown)):
            self._which(clause, [] if mentions else near[:5])
        elif not mentions:
            self.notes.append(never_taught(words, nearest(near[:NAMED]) or self._examples()))
            if not SIGNS & {token.kind for token in clause}:
                self.offers += [self._instead(clause[0].start, clause[-1].end, one) for one in near[:3]]
        elif self._is_aside(clause, mentions, unknown):
            self.notes.append(never_taught(words, ", so it is left out"))
            self._signed(clause, mentions)
        else:
            shorts = " and ".join(("without " if one.absent else "") + one.attribute.short for one in mentions)
            choices = [shorts]
            if all(one.attribute.thing for one in mentions):
                choices.append(f"without {shorts}".replace("without without ", ""))
            self.notes.append(never_taught(words, ", so please choose another wish"))
            self.offers += [self._instead(clause[0].start, clause[-1].end, one) for one in choices]

    def _phrases(self, unknown: list[Token]) -> list[str]:
        """The unknown words as they are written, those that stand beside each other together: "double chin"."""
        places: list[list[int]] = []
        for token in unknown:
            if places and token.start <= places[-1][1] + 1:
                places[-1][1] = max(token.end, places[-1][1])
            else:
                places.append([token.start, token.end])
        return [self.text[start:end] for start, end in places]

    def _is_aside(self, clause: list[Token], mentions: list[Mention], unknown: list[Token]) -> bool:
        """Whether unknown words only say where, why or for whom, after all that should change."""
        first, last = unknown[0].start, mentions[-1].start
        return any(token.words in ASIDE and last < token.start < first for token in clause)

    def _near(self, token: Token) -> list[str]:
        """What the family knows that is near in meaning to what it doesn't know, or to what is unclear."""
        if token.kind is Kind.MODIFIER:
            near = [one for one in ATTRIBUTES if token.words in split(one.words)]
        elif token.kind is Kind.PART:
            named_last = lexed(token.words, True)[-1].value
            part = named_last[0] if isinstance(named_last, tuple) and isinstance(named_last[0], str) else ""
            near = [one for one in ATTRIBUTES if part and one.of == ("lips" if part == "lipstick" else part)]
        else:
            groups = {group for group, words in NEAR.items() if token.words in " ".join(words).split()}
            near = [one for one in ATTRIBUTES if one.group in groups]
        return [one.short for one in near if self._knows(one)]

    def _knows(self, attribute: Attribute) -> bool:
        return attribute.is_known(self.vocabulary)

    def _examples(self) -> str:
        known = [one.short for one in ATTRIBUTES if one.short in EXAMPLES and self._knows(one)]
        return f"; it knows, for example, {listed(known)}"

    # The end

    def reading(self) -> Reading:
        """All that was read."""
        for part, clause in self.alone.items():
            if not any(one.attribute.of == part for one in self.mentions):  # "my hair, but grey"
                less = part == "hair" and any(token.kind is Kind.LESS for token in clause)
                near = self._near(next(token for token in clause if token.kind is Kind.PART))
                if less:
                    self._offer(clause, WHICH, ["shorter hair", "bald"])
                else:
                    self._which(clause, near[:5])
        wishes: list[Mention] = []
        for one in self._counted():
            for other in [other for other in wishes if _exclude_each_other(one, other)]:
                if one.attribute is not other.attribute or one.away != other.away:
                    self.notes.append(LAST.format(*(self.text[o.start : o.end] for o in (other, one))))
                wishes.remove(other)
            wishes.append(one)
        made = [wish for one in sorted(wishes, key=lambda one: one.start) if (wish := self._wish(one))]
        if not (made or self.notes or self.offers):
            self.notes.append(NOTHING if self.of_faces else NOTHING_ELSE)
        notes, offers = (tuple(dict.fromkeys(sentences))[:MOST] for sentences in (self.notes, self.offers))
        return Reading(tuple(made), notes, offers)

    def _counted(self) -> list[Mention]:
        """The mentions without those that only say who is in the picture, or what is replaced by another."""
        others = [one for one in self.mentions if not self._is_there(one)]
        asks = self.asks or (self.described and bool(self.notes))
        counted = others if others or asks else self.mentions
        if others or asks:
            left_out = [(a, b) for a, b in self.subjects if any(a <= one.start < one.end == b for one in self.mentions)]
            self.notes += [THERE.format(self.text[a:b]) for a, b in left_out]
        starts = {one.start for one in self.persons}
        if all(one.start in starts for one in counted) and not self.notes:  # "a woman", "grandma"
            counted = counted + self.persons
        else:
            for one in self.persons:
                said = self.text[one.start : one.end]
                self.notes.append(WHO.format(said, "woman" if one.attribute.text == "female {}" else "man"))
        added = {one.attribute.group for one in counted if one.attribute.single and not one.away}
        return [one for one in counted if not (one.away and one.attribute.single and one.attribute.group in added)]

    def _wish(self, one: Mention) -> Wish | None:
        said = self.text[one.start : one.end]
        if one.share > MOST_SHARE:
            self.notes.append(TOO_STRONG.format(said))
            one.share = MOST_SHARE
        if one.pair:
            target, neutral = reversed(one.pair) if one.away else one.pair
            return Wish(said, target, neutral, one.share)
        if not self._knows(one.attribute):
            near = [other.short for other in ATTRIBUTES if other.group == one.attribute.group and self._knows(other)]
            self.notes.append(never_taught([said], nearest(near[:NAMED]) or self._examples()))
            if not (one.away or one.attribute.thing):
                self.offers += [self._instead(one.start, one.end, choice) for choice in near[:3]]
            return None
        target, neutral = (self._with_noun(text) for text in one.attribute.pair(one.away))
        return Wish(said, target, neutral, one.share)

    def _with_noun(self, template: str) -> str:
        text = template.format(self.noun.split()[-1])
        return with_a(text) if " " in self.noun else text


def _is_thing(token: Token) -> bool:
    """Whether a word names a part of the face, or a thing."""
    return token.kind is Kind.PART or (token.kind is Kind.ATTRIBUTE and token.value[0].thing)


def _is_incomplete(token: Token) -> bool:
    """Whether a word only needs another one: "longer", "hair"."""
    return token.kind is Kind.MODIFIER or (token.kind is Kind.PART and bool(token.value))


def _share(degree: Token, sign: Token | None) -> float:
    """How much a word asks for behind one that may say the opposite: "stop smiling so much" asks for less."""
    opposite = sign and sign.kind is Kind.NOT and sign.words not in ("hate", "hates", "dislike")
    return BIT if opposite and degree.words in SO_MUCH else degree.value


def _exclude_each_other(one: Mention, other: Mention) -> bool:
    """Whether a face can't have both, or they are the same."""
    if one.attribute is other.attribute:
        return one.attribute is not OWN
    return one.attribute.single and other.attribute.single and one.attribute.group == other.attribute.group
