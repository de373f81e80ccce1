"""The words of a wish, by what they do in it: a small lexicon of English, and the lexer that looks them up.

`wishes.py` has the grammar, `attributes.py` the attributes of a face.
"""

import re
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from functools import cache
from itertools import groupby
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
_PHRASES: dict[Kind, str] = {
    Kind.AWAY: """
    remove, removed, removes, removing, remove all, take off, takes off, taking off, taken off, take away, take out,
    get rid of, gets rid of, rid of, rid, lose, loses, losing, lost, delete, deleted, erase, erased, eliminate, drop,
    ditch, discard, strip, strip off, without, sans, minus, no, no more, any more no, free of, free from, free, gone,
    go away, goes away, off, away, disappear, disappears, vanish, begone, hide, hidden, cover, cut off, cut out, shave
    off, shaved off, wash off, wipe, wipe off, wipe away, clean off, kill, destroy, undo, banish, trash, exclude,
    excluding, except, omit, skip, avoid, absent, subtract, scrap, throw away, pull off, peel off, rip off, dump,
    toss, upside down, shave, shaves, shaved, shaving, neither, nor, none, zero, leave out, leave off, take it off,
    un, non, yank, unwear, has no, out of the way, has to go, have to go, must go, should go, needs to go, need to go,
    gotta go, can go, bye, bye bye, goodbye, fade out, put away, pluck, cancel, w/o
    """,
    Kind.NOT: """
    not, don't, dont, do not, doesn't, doesnt, isn't, isnt, aren't, arent, ain't, wasn't, shouldn't, shouldnt, won't,
    wouldn't, wouldnt, can't, cant, cannot, stop, stops, quit, never, no longer, cease, without being, hate, hates,
    dislike, didn't, didnt, haven't, hasn't, instead of, rather than, refuse, anything but
    """,
    Kind.LESS: """
    less, fewer, reduce, reduced, reduces, decrease, decreased, lower, tone down, dial down, turn down, weaken,
    smaller, diminish, minimize, minimise, too, way too, too much, too many, overly, not so, not as, not that, not
    quite so, not so much, trim, trim down, trimmed, thin out, thinner, lessen, weaker
    """,
    Kind.MORE: """
    more, even more, increase, increased, intensify, boost, amplify, exaggerate, stronger, some more, greater
    """,
    Kind.WANT: "want, wants, wanted, wanna, i want, need, needs, needed, just, only, would like",
    Kind.WITH: "with, wearing, wears, wear, plus, having, instead, include, including, sporting, rocking, w/, yes",
    Kind.CHANGE: """
    add, adds, adding, added, give, gives, giving, gimme, put, put on, puts on, putting on, put in, make, makes,
    making, made, turn, turns, dye, dyed, dyes, dyeing, color, colour, colored, coloured, paint, painted, change,
    changes, changed, transform, apply, grow, grows, growing, grew, get, gets, draw, set, switch to, try on, bring,
    bring back, restore, insert, attach, place
    """,
    Kind.LIKE: """
    look like, looks like, looking like, into, become, becomes, becoming, as, as if, like, turn to, change to, to look
    like, to be, be, resemble
    """,
    Kind.KEEP: """
    keep, keeps, keeping, leave, preserve, retain, maintain, same, the same, unchanged, don't change, dont change, do
    not change, not change, without changing, not changing, don't touch, dont touch, do not touch, don't alter, stays,
    stay, with or without, everything but, all but, never mind, nevermind, forget, forget about, ignore, don't mind,
    don't care about, still have
    """,
    Kind.ENOUGH: "enough",
    Kind.UNSURE: """
    not too, not overly, not very, not really, not much, isn't very, isn't too, not completely, not all that
    """,
    Kind.VAGUE: """
    nice, nicer, better, good, best, cool, cooler, improve, fix, enhance, edit, different, something, anything,
    whatever, surprise me, perfect, awesome, great, fun, interesting, random, magic, wow, glow up, upgrade, makeover,
    make over, change, filter, fabulous, amazing, crazy, special, normal, natural, weird, improved
    """,
    Kind.JUDGED: """
    beautiful, handsome, hot, hotter, attractive, ugly, uglier, pretty, prettier, funny, sexy, sexier, cute, cuter,
    lovely, gorgeous, stunning, stylish, fancy, elegant, scary, creepy
    """,
    Kind.UNKNOWN: "hi top, hi top fade, high top fade, high top",
    Kind.SWAP: """
    gender, sex, gender swap, genderswap, genderswapped, gender swapped, gender bend, genderbend, opposite sex,
    opposite gender, other gender, other sex
    """,
    Kind.YEARS: "year, years, yr, yrs, yo, y o",
    Kind.RELATION: """
    dad, father, husband, boyfriend, brother, son, uncle, mom, mum, mother, wife, girlfriend, sister, daughter, aunt,
    friend, boss, model, nephew, niece, cousin, neighbor, neighbour, buddy, mate, he, she, him, her, mommy, daddy, bf,
    gf
    """,
    Kind.THE: "the, this, that, these, those, my, our, his, her, your, their, its",
    Kind.AND: "and, or, as well as, n, also, with also, ; and",
    Kind.STOP: "then, but, however, although, and then, while, afterwards, next, yet, just not, though",
    Kind.FILLER: """
    don't forget, dont forget, do not forget, don't forget to, dont forget to, do not forget to, never forget, don't
    forget about,
    not only, not just, can't wait, cant wait, no doubt, no problem, no worries, no rush, no idea, if not, or not, not
    sure, don't know, dont know, doesn't matter, feel free, make sure, be sure, ensure, can't see, why don't we, show
    off, can't stop, progression, would be delighted, would be happy, would be glad, i'd be happy, i'd be glad, be
    happy if, happy birthday, know, render, rendered, simulate, appear, appears, seem, seems, about, around, quality,
    high quality, hd, tbh, else, everything else, rest, the rest, duper, beginning, please, pls, plz, plss, plzz, thx,
    thanks, thank, ty, tysm, hey, hi, hello, yo there, hiya, kindly, lol, lmao, haha, hahaha, omg, ok, okay, bro, sis,
    sir, hmm, um, uh, gonna, try, trying, maybe, perhaps, must, u, ur, im, i'm, i'd, i'll, i've, id, he's, hes, she's,
    shes, it's, they're, you're, that's, what's, whats, let's, lets, there's, who's, he'd, she'd, face, faces, facial,
    person, people, human, photo, photograph, picture, pic, pics, image, selfie, portrait, head, someone, style,
    styled, color, colour, version, effect, now, already, actually, honestly, anymore, any more, today, instead
    please, able, possible, possibly, think, wonder, wondering, imagine, picture of, one, ones, way of, kinda like,
    whole, entire, completely, tone, toned, expression, features, feature, sort of like, wish, hope, prefer, prefers,
    see, shall, going, look, looks, looking, good looking, guess, feel, feels, feeling, having, goes, happen,
    happening, request, help, show me, tell, mode, hairdo, hairstyle, hair style, wearing a, like this, himself,
    herself, myself, themselves, d, s, t, m, why not, why don't you, why dont you, can't you, couldn't you, take,
    takes, let him, let her, let them, should be, stupid, dumb, silly, awful, horrible, terrible, damn, fucking,
    freaking, ridiculous, gross, boring, actual, either, depicted, shown, displayed, portrayed, subject, character,
    guys, everyone, somebody, bit of, alone, well, oh, ah, yeah, aye, mr, mrs, ms, dear, ai, bot, computer, studio,
    app, right, lot, thing, things, such
    """,
}
_DEGREES = {
    BIT: """
    a bit, bit, a little, a little bit, little bit, little, slightly, slight, subtle, subtly, a touch, a touch of,
    touch of, a tad, tad, somewhat, a hint of, hint of, a hint, kinda, kind of, sort of, lightly, gently, gentle,
    mildly, mild, a lil, lil, a lil bit, lil bit, a smidge, a smidgen, small, tiny, faint, barely, not too much, but
    not too much, not much more, half, tiny bit, a tiny bit, a wee bit, wee, a bit of, a little bit of, just a bit,
    moderately
    """,
    VERY: """
    very, very very, super duper, hella, as hell, as fuck, af, much, really, a lot, a lot of, lots, lots of, super,
    extremely, way, totally, completely, so much, big, bigger, huge, heavy, heavier, strong, intense, massive, ultra,
    bushy, thick, thicker, full, far, wide, wider, broad, deeply, tons of, a ton of, a ton, extra, dramatically,
    drastically, significantly, incredibly, insanely, loads of, mega, biggest, max, maximum, long and thick, lot more,
    lots more, a lot more, much more, way more, far more, lot less, so very
    """,
}
# "Wouldn't she look better with glasses?" asks for them.
_QUESTIONS = [
    f"{verb} {who}"
    for verb in split(
        "isn't, aren't, wouldn't, shouldn't, won't, doesn't, don't, can't, couldn't, wasn't, haven't, hasn't"
    )
    for who in split("you, he, she, they, it, we, i, this, that")
]
_MUCH_LESS = "much less, a lot less, way less, far less, lots less"
# Person -> the attributes that make one, by their texts.
_PERSONS = {
    "female {}": "woman, women, lady, ladies, girl, girls, gal, chick, females",
    "male {}": "man, men, guy, guys, gentleman, dude, bloke, lad, males, chap",
    "young {}, male {}": "boy, boys, schoolboy, little boy",
    "young {}, female {}": "schoolgirl, little girl",
    "old {}, female {}": "grandma, grandmother, granny, nana, gran",
    "old {}, male {}": "grandpa, grandfather, grandad, granddad",
}
_PARTS = {  # part -> its names, and the text of the attribute that the name alone stands for
    "hair": ("hair, hairs, haired, locks, mane", ""),
    "eyes": ("eyes, eye, eyed, irises", ""),
    "skin": ("skin, skinned, complexion, skin tone", ""),
    "lips": ("lips, lip, lipped", ""),
    "lipstick": ("lipstick, lip stick", "{} with lipstick"),
}
_NUMBERS = {"five": 5, "ten": 10, "fifteen": 15, "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60,
            "seventy": 70, "eighty": 80, "ninety": 90, "hundred": 100}  # fmt: skip
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
    entries: dict[str, tuple[Kind, Any]] = dict.fromkeys(STOP_WORDS, (Kind.FILLER, None))
    for kind, phrases in _PHRASES.items():
        entries |= dict.fromkeys(split(phrases), (kind, None))
    entries |= dict.fromkeys(_QUESTIONS, (Kind.FILLER, None))
    for share, phrases in _DEGREES.items():
        entries |= dict.fromkeys(split(phrases), (Kind.DEGREE, share))
    entries |= dict.fromkeys(split(_MUCH_LESS), (Kind.LESS, VERY))
    entries |= {word: (Kind.NUMBER, number) for word, number in _NUMBERS.items()}
    entries |= (
        {":": (Kind.FILLER, None)}
        | dict.fromkeys(",;&+/()", (Kind.AND, None))
        | dict.fromkeys(".!?\n–—", (Kind.STOP, None))
    )
    return entries | (_of_faces() if of_faces else {})


def _of_faces() -> dict[str, tuple[Kind, Any]]:
    words = {word for attribute in ATTRIBUTES for word in split(attribute.words)}
    entries: dict[str, tuple[Kind, Any]] = dict.fromkeys(words, (Kind.MODIFIER, None))
    for attribute in ATTRIBUTES:
        for names, absent in ((attribute.names, False), (attribute.absent, True)):
            for name in split(names):
                entries[name] = (Kind.MODIFIER if name in words else Kind.ATTRIBUTE, (attribute, absent))
    for made_of, names in _PERSONS.items():
        entries |= {name: (Kind.PERSON, [BY_TEXT[text] for text in split(made_of)]) for name in split(names)}
    for part, (names, alone) in _PARTS.items():
        entries |= {name: (Kind.PART, (part, BY_TEXT.get(alone))) for name in split(names)}
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
    """The word of the lexicon that an unknown one may be, misspelt: at least so alike, by difflib, or of the same
    letters behind the first. Words that name attributes come first; a word that is none (0.9) is no misspelt filler."""
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
