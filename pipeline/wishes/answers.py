"""What a text is answered with: wishes, and, where they are not certain, sentences and whole texts to ask for instead.

What a family was never taught, and what is misspelt, becomes no wish but a sentence or an offer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pipeline.attributes import ATTRIBUTES, NEAR, Attribute, is_of_faces, split
from pipeline.networks.clip import is_word
from pipeline.vocabulary import CLOSE, NAMED, listed, nearest, never_taught
from pipeline.wishes.clauses import SIGNS, Mention
from pipeline.wishes.lexicon import Kind, Token, lexed, respelt

ASIDE = {"for", "on", "at", "in", "because", "since", "when", "like", "so", "to"}
EXAMPLES = ("glasses", "blonde hair", "smiling", "young")
MOST = 8  # notes and offers of a text, and words of a clause that may be misspelt

NO_WORDS = "Please say in words what should change, such as “add glasses” or “younger”."
NOTHING = "This text does not say what should change; please say it, such as “add glasses”, “younger” or “blonde hair”."
NOTHING_ELSE = "This text does not say what should change; name a thing to add or to remove, or how it should look."
KEPT = "“{}” asks for no change, so nothing is done about it."
WHO = "“{}” is taken as who is in the picture; write “turn into a {}” to change that."
THERE = "“{}” is taken as who is in the picture, so nothing is done about it."
TOO_STRONG = "“{}” is done at 200 %, which is the most."
DONE = "“{}” says what to do; please say what the picture should show then."
A_REASON = "“{}” is taken as a reason, so nothing is done about it."
A_QUESTION = "“{}” is taken as a question, so nothing is done about it; please say what should change."
SAY_MORE = "“{}” leaves open what it should be; please say more."
LAST = "“{}” and “{}” exclude each other, so the last counts."
CARRIED = "“{}” is read as something to take away too."
NOT_CARRIED = "“{}” is read as something that should be there."
UNSURE = "“{}” may ask for more or for less; please choose."
WHY = "“{}” asks for a reason; please say what should change."
ENGLISH = "Wishes are read in English."
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


@dataclass
class Answers:
    """The sentences about a text, `notes`, and the whole texts to ask for instead, `offers`, as it is read.

    `vocabulary` and `noun` as in `read_wishes`.
    """

    text: str
    vocabulary: frozenset[str]
    noun: str
    notes: list[str] = field(default_factory=list)
    offers: list[str] = field(default_factory=list)

    @property
    def of_faces(self) -> bool:
        return is_of_faces(self.noun)

    def said(self, *parts: Token | Mention) -> str:
        """The part of the text from the first to the last of tokens or mentions."""
        return self.text[parts[0].start : parts[-1].end].strip()

    def instead(self, start: int, end: int, words: str) -> str:
        """The whole text with other words in a place of it."""
        return (self.text[:start] + words + self.text[end:]).strip()

    def offer(self, clause: list[Token], note: str, choices: Iterable[str]) -> None:
        """Say `note` of a clause, and offer the text with each of the choices in its place."""
        self.notes.append(note.format(self.said(*clause)))
        self.offers += [self.instead(clause[0].start, clause[-1].end, words) for words in choices]

    def which(self, clause: list[Token], choices: list[str]) -> None:
        """Offer what an incomplete wish may be, unless a word that takes away would be lost: "not grey"."""
        takes = SIGNS & {token.kind for token in clause}
        self.offer(clause, *((SAY_MORE, []) if takes or not choices else (WHICH, choices)))

    def finished(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The notes and the offers, each once, and the first few of many."""
        notes, offers = (tuple(dict.fromkeys(said))[:MOST] for said in (self.notes, self.offers))
        return notes, offers

    # What is misspelt

    def misspelt(self, clause: list[Token]) -> bool:
        """Offer the text with unknown words spelt as known ones; whether there are such words."""
        unknown = [token for token in clause if token.kind is Kind.UNKNOWN]
        close = {token: known for token in unknown[:MOST] if (known := self._respelt(token))}
        if close and 2 * len(close) >= len(unknown):  # else it may be another language
            mended, place = "", 0
            for token, known in close.items():
                mended, place = mended + self.text[place : token.start] + known, token.end
            mended = (mended + self.text[place:]).strip()
            self.offers.append(mended)
            self.notes.append(f"Did you mean “{mended}”?")
            return True
        return False

    def _respelt(self, token: Token) -> str | None:
        """What an unknown word may be, misspelt. Of words that CLIP reads whole only the likeliest are."""
        if len(token.words) < 3 or any(token.words in words for words in NEAR.values()):
            return None
        whole = is_word(token.words)
        if not self.vocabulary and (whole or self.text[token.start].isupper()):
            return None  # a word or a name of its own
        return respelt(token.words, self.of_faces, 0.9 if whole else CLOSE if self.vocabulary else 0.85)

    # What a family was never taught

    def untaught(self, clause: list[Token], mentions: list[Mention], unknown: list[Token]) -> bool:
        """Words that a family with a listed vocabulary was never taught, `unknown`, beside attributes; whether these
        are meant all the same."""
        told = [token for token in unknown if token.kind is not Kind.MODIFIER] or unknown
        near, words = list(dict.fromkeys(one for token in told for one in self.near(token))), self._phrases(unknown)
        if all(map(is_incomplete, unknown)):
            self.which(clause, [] if mentions else near[:5])
        elif not mentions:
            self.notes.append(never_taught(words, nearest(near[:NAMED]) or self._examples()))
            self.notes += [ENGLISH] if len(clause) > 1 and unknown == clause else []
            if not SIGNS & {token.kind for token in clause}:
                self.offers += [self.instead(clause[0].start, clause[-1].end, one) for one in near[:3]]
        elif _is_aside(clause, mentions, unknown):
            self.notes.append(never_taught(words, ", so it is left out"))
            return True
        else:
            shorts = " and ".join(("without " if one.absent else "") + one.attribute.short for one in mentions)
            choices = [shorts]
            if all(one.attribute.thing for one in mentions):
                choices.append(f"without {shorts}".replace("without without ", ""))
            self.notes.append(never_taught(words, ", so please choose another wish"))
            self.offers += [self.instead(clause[0].start, clause[-1].end, one) for one in choices]
        return False

    def untaught_attribute(self, one: Mention) -> None:
        """An attribute that a family was never taught."""
        known = [other for other in ATTRIBUTES if self.knows(other)]
        near = [other.short for other in known if other.group == one.attribute.group]
        near = near or [other.short for other in known if one.attribute.of.rstrip("s") in other.text]  # "eyeshadow"
        self.notes.append(never_taught([self.said(one)], nearest(near[:NAMED]) or self._examples()))
        if not (one.away or one.attribute.thing):
            self.offers += [self.instead(one.start, one.end, choice) for choice in near[:3]]

    def _phrases(self, unknown: list[Token]) -> list[str]:
        """The unknown words as they are written, those that stand beside each other together: "double chin"."""
        places: list[list[int]] = []
        for token in unknown:
            if places and token.start <= places[-1][1] + 1:
                places[-1][1] = max(token.end, places[-1][1])
            else:
                places.append([token.start, token.end])
        return [self.text[start:end] for start, end in places]

    def near(self, token: Token) -> list[str]:
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
        return [one.short for one in near if self.knows(one)]

    def knows(self, attribute: Attribute) -> bool:
        """Whether the family was taught an attribute."""
        return attribute.is_known(self.vocabulary)

    def _examples(self) -> str:
        known = [one.short for one in ATTRIBUTES if one.short in EXAMPLES and self.knows(one)]
        return f"; it knows, for example, {listed(known)}"


def is_incomplete(token: Token) -> bool:
    """Whether a word only needs another one: "longer", "hair"."""
    return token.kind is Kind.MODIFIER or (token.kind is Kind.PART and bool(token.value))


def _is_aside(clause: list[Token], mentions: list[Mention], unknown: list[Token]) -> bool:
    """Whether unknown words only say where, why or for whom, after all that should change."""
    first, last = unknown[0].start, mentions[-1].start
    return any(token.words in ASIDE and last < token.start < first for token in clause)
