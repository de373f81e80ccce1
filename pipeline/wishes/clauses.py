"""What a clause of a wish speaks of: the attributes that it names, and what stays unclear."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from pipeline.vocabulary import STOP_WORDS
from pipeline.wishes.attributes import BY_TEXT, NEAR, Attribute, split
from pipeline.wishes.lexicon import BIT, VERY, Kind, Token, described

SIGNS = {Kind.AWAY, Kind.NOT, Kind.LESS}
OWN_SIGN = SIGNS | {Kind.WITH, Kind.MORE, Kind.CHANGE, Kind.KEEP}
TURNING = {"make", "makes", "making", "made", "turn", "turns", "transform", "change", "switch to"}
GIVING = {"bring back", "add", "give", "gimme", "grow", "more", "put", "put on", "get"}
REMOVING = {"remove", "take off", "take away", "get rid of", "delete", "erase", "lose"}
SWAPPING = {"swap", "replace", "exchange", "trade", "substitute", "swapping", "replacing"}
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
REPLACING = {"instead of", "rather than"}
STATING = {"look", "looks", "is", "am", "are", "has", "have", "seem", "seems", "got"}  # behind a person: "she has"
I_AM = {"i'm", "im", "he's", "hes", "she's", "shes"}
BECOMING = {"look like", "looks like", "looking like", "into", "become", "becomes", "turn to", "resemble"}
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
    if found.mentions:  # "add bangs to her hair"
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
        turned = any(one.start < joint < other.start for joint in joints for other in others)
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
    if size:
        found.unclear.append(_joined(size, part))
    elif found.part == "hair" and (kinds & {Kind.AWAY, Kind.NOT} or (gives and Kind.UNKNOWN not in kinds)):
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
        elif token.kind is Kind.UNKNOWN and place and not ends:  # "with the tattoo"
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
    before = [t for t in clause[:place] if t.kind is Kind.ATTRIBUTE or not _describes_a_thing(t)][-1:]
    return any(t.kind in (Kind.THE, Kind.AWAY) or t.words in ("a", "an") for t in before)


# Before a clause is read


def goes_on_describing(before: list[Token], after: list[Token]) -> bool:
    """Whether a comma stands between descriptions of one person, thing or part: "his old, ugly hat"."""
    part = next((t.value[0] for t in after if t.kind is Kind.PART), "")
    if part and before and after[0].kind is Kind.MODIFIER and all(described(t.words, part) for t in before):
        return True  # "long, blonde hair"
    first = len(before)
    while first and _describes_a_thing(before[first - 1]):
        first -= 1
    points = first and (before[first - 1].kind is Kind.THE or before[first - 1].words in ("a", "an"))
    last = next((place for place, t in enumerate(after) if not _describes_a_thing(t)), 0)
    is_thing = after[last : last + 1] and (
        after[last].kind is Kind.PERSON or (after[last].kind is Kind.ATTRIBUTE and after[last].value[0].thing)
    )
    return bool(points and first < len(before) and last and is_thing)


def is_statement(clause: list[Token]) -> bool:
    """Whether a clause says how somebody is: "I have a beard", "she looks sad", "the man is bald"."""
    verb = next((place for place, token in enumerate(clause) if token.words in STATING), 0)
    somebody = clause[verb - 1].kind in (Kind.RELATION, Kind.PERSON) or clause[verb - 1].words in ("i", "we")
    return clause[0].words in I_AM or bool(0 < verb < 4 and somebody)


def asks_for_something(clause: list[Token]) -> bool:
    """Whether a clause has a word that asks: "make", "remove", "she should"."""
    return any(t.kind in (Kind.CHANGE, Kind.AWAY, Kind.WANT) or t.words in ("should", "could", "would") for t in clause)


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
    clause = _without_descriptions(clause)
    return _with_ages(_with_swaps(_without_origin(clause)), last)


def _without_what_it_replaces(clause: list[Token]) -> list[Token]:
    """ "instead of blonde make her brunette" as "make her brunette"."""
    if clause[0].words not in REPLACING:
        return clause
    known = (Kind.ATTRIBUTE, Kind.MODIFIER, Kind.PART)
    first = next((place for place, token in enumerate(clause) if token.kind in known), len(clause))
    verbs = [place for place, token in enumerate(clause) if place > first and token.kind is Kind.CHANGE]
    return clause[verbs[0] :] if verbs else clause


def _without_descriptions(clause: list[Token]) -> list[Token]:
    """Without what only describes a thing that is taken away: "remove his ugly grey hat" as "remove his hat"."""
    dropped: set[int] = set()
    for place, token in enumerate(clause):
        if not (token.kind is Kind.ATTRIBUTE and token.value[0].thing):
            continue
        first = place
        while first and _describes_a_thing(clause[first - 1]):
            first -= 1
        before = [t.kind for t in clause[:first] if t.words not in SMALL]
        points = before[-1:] in ([Kind.THE], [Kind.RELATION])
        while before[-1:] in ([Kind.THE], [Kind.RELATION]):
            before.pop()
        is_known = all(t.kind is not Kind.UNKNOWN for t in clause[first:place])
        if before[-1:] == [Kind.AWAY] and (points or is_known):
            dropped.update(range(first, place))
    return [token for place, token in enumerate(clause) if place not in dropped]


def _describes_a_thing(token: Token) -> bool:
    """Whether a word may describe the thing that it stands before."""
    if token.kind is Kind.ATTRIBUTE:
        return token.value[0] in (YOUNG, OLD)
    if token.kind is Kind.DEGREE:
        return token.words in SIZES
    if token.kind is Kind.FILLER:
        return token.words not in STOP_WORDS  # "that stupid hat"
    return token.kind in DESCRIPTIONS and token.words not in NEAR_WORDS


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
    return [*clause[:first], away, *there, joint, *clause[last + 1 :]]


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
    ages = ("age", "aged", "at", "was", "to")
    if following in ("old", "s") or (previous in ages and not unit) or any(t.words in ("yo", "y o") for t in unit):
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
