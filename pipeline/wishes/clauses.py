"""What a clause of a wish speaks of: the attributes that it names, and what stays unclear."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.attributes import BY_TEXT, NEAR, Attribute, split
from pipeline.vocabulary import STOP_WORDS
from pipeline.wishes.lexicon import BIT, VERY, Kind, Token, described

SIGNS = {Kind.AWAY, Kind.NOT, Kind.LESS}
OWN_SIGN = SIGNS | {Kind.WITH, Kind.MORE, Kind.CHANGE, Kind.KEEP}
TURNING = {"make", "makes", "making", "made", "turn", "turns", "transform", "change", "switch to"}
GIVING = {"bring back", "add", "give", "gimme", "grow", "more", "put", "put on", "get"}
SIZES = set(
    """
    big bigger huge small smaller tiny little wide wider narrow narrower broad full fuller thick thicker thin thinner
    bushy bushier strong heavy heavier slim slimmer longer shorter
    """.split()
)
FULL_HAIR, BEARD = BY_TEXT["{} with a full head of hair"], BY_TEXT["{} with a beard"]
HAIR = ("hairstyles", "hair texture")  # groups of attributes that words for hair describe: "auburn curls"
YOUNG, OLD = BY_TEXT["young {}"], BY_TEXT["old {}"]
PEOPLE = {"face", "one", "person", "human", "people", "guys", "character", "subject", "someone", "somebody"}
DESCRIBING = {"with", "in", "wearing", "without", "having", "w/", "wears", "has"}  # behind who is in the picture
BECOMING = {"look like", "looks like", "looking like", "into", "become", "becomes", "turn to", "resemble"}
SO_MUCH = {"much", "so much", "a lot", "lots"}  # behind a word that says the opposite they ask for less
SMALL = {"a", "an", "some", "no", "so", "such"}
NEAR_WORDS = {word for words in NEAR.values() for phrase in words for word in phrase.split()}
# What describes a person or a thing that it stands before: "the tall old man", "his ugly grey hat".
DESCRIPTIONS = {Kind.ATTRIBUTE, Kind.MODIFIER, Kind.DEGREE, Kind.JUDGED, Kind.VAGUE, Kind.UNKNOWN}


@dataclass
class Mention:
    """An attribute that a clause speaks of, from `start` to `end` of the text, and what is said of it."""

    attribute: Attribute
    start: int
    end: int
    absent: bool = False  # its name says that the face is without it: "beardless"
    taken: bool = False  # another word takes it away
    share: float = 1.0
    bare: bool = False  # its clause has no word that adds or takes away
    pair: tuple[str, str] | None = None  # target and neutral text in the visitor's own words

    @property
    def away(self) -> bool:
        return self.absent != self.taken

    def say(self, sign: Token | None, share: float) -> None:
        """Take in a word that takes away, if any, and a share."""
        self.taken |= sign is not None
        self.share = share
        if sign and sign.kind is Kind.LESS:
            self.share = 1.0 if sign.value == VERY else share if share < 1 else BIT * share


@dataclass
class Named:
    """What a clause names. `persons` may only say who is in the picture; `subjects` are places of words that do.
    `unclear` are parts of the face whose description is missing, or not known, and descriptions without a part; the
    value of a part that nothing describes is that of its token, otherwise None. `part` was spoken of last."""

    part: str
    mentions: list[Mention] = field(default_factory=list)
    persons: list[Mention] = field(default_factory=list)
    subjects: list[tuple[int, int]] = field(default_factory=list)
    unclear: list[Token] = field(default_factory=list)
    told: int = 0  # where what tells who is in the picture ends: "the man with the beard"

    def add(self, attribute: Attribute, *tokens: Token, absent: bool = False) -> None:
        places = [place for token in tokens for place in (token.start, token.end)]
        self.mentions.append(Mention(attribute, min(places), max(places), absent))

    def tells_who(self, one: Mention) -> bool:
        """Whether a mention belongs to who is in the picture."""
        return any(start <= one.start < end for start, end in self.subjects)

    def add_subject(self, first: Token, person: Token, last: Token) -> None:
        """Words from `first` to `last` that say who is in the picture. What stands behind the person tells more than
        what stands before: "my bald uncle with a beard"."""
        self.subjects.append((first.start, last.end))
        if last.end > person.end:
            self.told = last.end
            self.mentions = [one for one in self.mentions if one.start < first.start]


def named(clause: list[Token], part: str) -> Named:
    """What a clause names, after one that spoke of a `part`: "make the hair long and black"."""
    found = Named(part)
    pending: list[Token] = []  # words that describe what comes next
    waiting: Token | None = None  # a part that nothing has described yet
    after = ""  # a part whose descriptions follow it
    told = 0
    for place, token in enumerate(clause):
        if _stands_for_a_person(clause, place):
            found.add(token.value[0], token)
            found.part = token.value[0].of or found.part
            _tell_who(clause, place, found)
        elif token.kind is Kind.MODIFIER:
            following = next((t for t in clause[place + 1 :] if t.kind is not Kind.MODIFIER), None)
            attribute = described(token.words, after)
            if attribute and not (following and following.kind is Kind.PART):
                found.add(attribute, waiting or token, token)
                waiting = None
            else:
                pending.append(token)
        elif token.kind is Kind.PART:
            found.unclear += [waiting] if waiting else []
            found.part, alone = token.value
            _describe(found, pending, token)
            if alone and not pending:
                found.add(alone, token)
            waiting = None if pending or alone else token
            after, pending = "" if pending else found.part, []
        elif token.kind is Kind.ATTRIBUTE and not _is_old_thing(clause, place):
            attribute, absent = token.value
            if pending and attribute.group not in HAIR and pending[-1].end + 1 == token.start:
                found.unclear.append(_joined(pending.pop(), token))  # "black glasses"
            following = clause[place + 1 : place + 2]
            if following and following[0].kind is Kind.PART and token.words in split(attribute.who):
                found.unclear.append(_joined(token, following[0]))  # "baby hair"
            else:
                found.add(attribute, token, absent=absent)
        elif token.kind is Kind.PERSON:
            _person(clause, place, found)
        elif token.kind is Kind.RELATION or token.words in PEOPLE:
            _tell_who(clause, place, found)
        if found.told != told:  # what stands before told less
            told, pending = found.told, []
    for word in pending:
        _describe_nothing(found, word, waiting)
        waiting = None if found.unclear and waiting and found.unclear[-1].kind is Kind.PART else waiting
    if not (found.mentions or waiting) and any(t.words.startswith("shave") for t in clause):
        found.add(BEARD, *clause)
    if waiting and found.part == "hair" and _is_taken(clause, waiting):
        found.add(FULL_HAIR, waiting)  # "a man without hair"
        waiting = None
    if any(not found.tells_who(one) for one in found.mentions):  # "add bangs to her hair"
        found.unclear = [token for token in found.unclear if not token.value or token.kind is not Kind.PART]
    elif waiting:
        _alone(clause, waiting, found)
    _drop_what_was(clause, found)
    found.mentions.sort(key=lambda one: one.start)
    return found


def _is_taken(clause: list[Token], part: Token) -> bool:
    """Whether the last word before a part that is more than a filler takes it away."""
    plain = (Kind.FILLER, Kind.THE, Kind.RELATION)
    return any([t.kind in (Kind.AWAY, Kind.NOT) for t in clause if t.start < part.start and t.kind not in plain][-1:])


def _drop_what_was(clause: list[Token], found: Named) -> None:
    """Leave out what an attribute of the same group replaces: "sad to happy", "make the black hair blonde"."""
    joints = [token.start for token in clause if token.words in ("to", "into")]
    after_the = {t.end + 1 for t in clause if t.kind in (Kind.THE, Kind.RELATION)}
    the = {token.start for token in clause if token.start in after_the and token.kind is not Kind.PART}

    def is_replaced(one: Mention) -> bool:
        others = [
            other for other in found.mentions if other.attribute.group == one.attribute.group and other is not one
        ]
        becomes = [other for other in others if not found.tells_who(other)]  # but "add bangs to the bald man"
        turned = any(one.start < joint < other.start for joint in joints for other in becomes)
        return turned or (
            one.start in the and any(other.start not in the and other.attribute.single for other in others)
        )

    found.mentions = [one for one in found.mentions if not is_replaced(one)]


def _joined(word: Token, thing: Token) -> Token:
    """A description and what it stands beside, which are not known together."""
    start, end = min(word.start, thing.start), max(word.end, thing.end)
    return Token(f"{word.words} {thing.words}", start, end, Kind.PART)


def _describe(found: Named, pending: list[Token], part: Token) -> None:
    """Words before a part of the face: "long black hair"."""
    for word in pending:
        if attribute := described(word.words, found.part):
            found.add(attribute, word, part)
        else:
            found.unclear.append(_joined(word, part))


def _describe_nothing(found: Named, word: Token, waiting: Token | None) -> None:
    """A word that describes, with no part after it: "blonde", or "black" after "make the hair long and"."""
    if attribute := described(word.words, found.part):
        found.add(attribute, word)
    elif word.value:
        attribute, absent = word.value
        found.add(attribute, word, absent=absent)
        found.part = attribute.of or found.part
    elif waiting:  # "dye the hair green"
        found.unclear.append(_joined(word, waiting))
    else:
        found.unclear.append(word)


def _alone(clause: list[Token], part: Token, found: Named) -> None:
    """A part of the face of which nothing else is said."""
    kinds, size = {token.kind for token in clause}, next((t for t in clause if t.words in SIZES), None)
    gives = any(token.words in GIVING for token in clause)
    before = [token for token in clause if token.start < part.start and token.words not in ("just", "only")]
    wants = any(token.kind is Kind.WANT for token in before)
    if size:
        found.unclear.append(_joined(size, part))
    elif found.part == "hair" and (kinds & {Kind.AWAY, Kind.NOT} or ((gives or wants) and Kind.UNKNOWN not in kinds)):
        found.add(FULL_HAIR, part)
    else:
        found.unclear.append(part)


def _person(clause: list[Token], place: int, found: Named) -> None:
    """A woman or a man: who is in the picture ("the man"), or what the face should become ("into a man")."""
    token, before, after = clause[place], clause[:place], clause[place + 1 :]
    the, follows = _the_before(clause, place), {t.kind for t in after}
    is_called = before and before[-1].kind is Kind.CHANGE and follows & {Kind.ATTRIBUTE, Kind.MODIFIER, Kind.LIKE}
    if the >= 0 or is_called:
        last = _described_after(clause, place) if the >= 0 else place
        found.add_subject(before[the] if the >= 0 else token, token, clause[last])
        return
    turned = any(t.kind in SIGNS | {Kind.LIKE} or t.words in TURNING for t in before)
    (found.mentions if turned else found.persons).extend(
        Mention(attribute, token.start, token.end) for attribute in token.value
    )


def _the_before(clause: list[Token], place: int) -> int:
    """Where what points at a person stands, with descriptions between: "the tall old man". -1 where nothing does."""
    the = max((i for i, t in enumerate(clause[:place]) if t.kind in (Kind.THE, Kind.RELATION)), default=-1)
    becomes = the > 0 and clause[the - 1].kind is Kind.LIKE  # "into the old man"
    return the if not becomes and all(t.kind in DESCRIPTIONS for t in clause[the + 1 : place]) else -1


def _stands_for_a_person(clause: list[Token], place: int) -> bool:
    """Whether an attribute is said of who is in the picture, and of nothing that follows: "the redhead"."""
    token, the = clause[place], _the_before(clause, place)
    if token.kind not in (Kind.ATTRIBUTE, Kind.MODIFIER) or not token.value or the < 0:
        return False
    if token.words.removesuffix("'s") not in split(token.value[0].who):
        return False
    after, gives = clause[place + 1 :], the > 0 and clause[the - 1].words in GIVING | {"gives", "giving"}
    if token.words.endswith("'s") or not after or gives:  # "give the blonde brown eyes"
        return True
    if after[0].kind is Kind.ATTRIBUTE:
        return not (after[0].value[0].thing or after[0].value[0].group in HAIR)  # "the blonde curls"
    last = next((t.kind for t in after if t.kind is not Kind.MODIFIER), None)  # "the blonde wavy hair"
    return last is not Kind.PART and after[0].kind not in (Kind.PERSON, Kind.UNKNOWN)


def _tell_who(clause: list[Token], place: int, found: Named) -> None:
    """Note that words tell who is in the picture: "my dad with the beard", "the bald one", "the redhead"."""
    the, last = _the_before(clause, place), _described_after(clause, place)
    kinds = [t.kind for t in clause[: max(the, 0)] if t.kind not in (Kind.FILLER, Kind.DEGREE)]
    if the < 0 or kinds[-1:] in [[kind] for kind in SIGNS | {Kind.MORE}]:  # "remove the blonde"
        return
    if last > place or any(t.kind in (Kind.ATTRIBUTE, Kind.MODIFIER) for t in clause[the + 1 : place + 1]):
        found.add_subject(clause[the], clause[place], clause[last])


def _described_after(clause: list[Token], place: int) -> int:
    """Where what tells a person from others ends: "the man with the beard". The person's place if nothing does."""
    before, start = {token.words for token in clause[:place]}, place + 1
    while start < len(clause) and clause[start].words in ("who", "that", "who's", "is"):
        start += 1
    joint = clause[start].words if start < len(clause) else ""
    puts = joint == "in" and place > 1 and clause[place - 2].words in ("put", "dress")  # "put the man in glasses"
    if puts or before & BECOMING or joint not in DESCRIBING:
        return place
    count = thing_ends(clause[start + 1 :])
    return start + count if count else place


def thing_ends(tokens: list[Token]) -> int:
    """How many words the thing or part of a face takes that they begin with, 0 if they begin with none."""
    between, ends = (Kind.DEGREE, Kind.THE, Kind.JUDGED, Kind.VAGUE), 0
    for place, token in enumerate(tokens):
        if token.kind is Kind.PART or (token.kind is Kind.ATTRIBUTE and not _is_old_thing(tokens, place)):
            return place + 1
        if token.kind is Kind.MODIFIER:
            ends = place + 1
        elif token.kind is Kind.UNKNOWN and not ends and (place or token.words.endswith("s")):  # "with the tattoo"
            return place + 1
        elif ends or not (token.kind in between or token.kind is Kind.ATTRIBUTE or token.words in SMALL):
            break
    return ends


def _is_old_thing(clause: list[Token], place: int) -> bool:
    """Whether "old" is said of a thing that is there, and not of the face: "remove the old glasses"."""
    token, thing = clause[place], clause[place + 1 : place + 2]
    if token.kind is not Kind.ATTRIBUTE or token.value[0] not in (YOUNG, OLD) or not thing:
        return False
    if thing[0].kind is not Kind.ATTRIBUTE or not thing[0].value[0].thing or thing[0].words.endswith(("ed", "y")):
        return False
    before = [t for t in clause[:place] if t.kind is Kind.ATTRIBUTE or not describes_a_thing(t)][-1:]
    return any(t.kind in (Kind.THE, Kind.AWAY) or t.words in ("a", "an") for t in before)


def describes_a_thing(token: Token) -> bool:
    """Whether a word may describe the thing that it stands before."""
    if token.kind is Kind.ATTRIBUTE:
        return token.value[0] in (YOUNG, OLD)
    if token.kind is Kind.DEGREE:
        return token.words in SIZES
    if token.kind is Kind.FILLER:
        return token.words not in STOP_WORDS  # "that stupid hat"
    return token.kind in DESCRIPTIONS and token.words not in NEAR_WORDS


def share_of(degree: Token, sign: Token | None) -> float:
    """How much a word asks for behind one that may say the opposite: "stop smiling so much" asks for less, and so does
    "without so much makeup"."""
    opposite = sign and sign.kind is Kind.NOT and sign.words not in ("hate", "hates", "dislike")
    less = sign and sign.kind is Kind.AWAY and degree.words == "so much"
    return BIT if less or (opposite and degree.words in SO_MUCH) else degree.value
