"""Captions: what people say about a face, and what each saying means.

A *meaning* is a weight for each value of each category of attributes. Captions state a random few of them, in many
wordings, inside many templates, so that the text tower learns words one by one and what is unstated stays so.
"""

import random
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from families.sayings import MEDIA, NOUNS, PLAIN, PLAIN_THINGS, QUALITIES, SAYINGS, STUFF, WRAPS


def _split(words: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in words.split(",") if word.strip())


class Captions:
    """Random captions of faces with `categories` of attributes, and what they mean.

    `values` are all pairs of a category and a value, in order: what a meaning has weights for. `prompts`: category ->
    the plain text of each value.
    """

    def __init__(self, categories: Mapping[str, Sequence[str]]) -> None:
        """`categories`: category -> its values, some of those that `SAYINGS` names."""
        self.categories = {category: tuple(values) for category, values in categories.items()}
        self.values = tuple((category, value) for category, values in categories.items() for value in values)
        self.prompts = {
            name: tuple(_plain(name, value) for value in values) for name, values in self.categories.items()
        }
        self._index = {f"{category}={value}": i for i, (category, value) in enumerate(self.values)}
        # first part of a meaning -> the rows that begin with it: meaning, adjectives, things, nouns
        self._rows: dict[str, list[tuple[str, tuple[str, ...], tuple[str, ...], tuple[str, ...]]]] = {}
        for meant, *words in SAYINGS:
            keys = _split(meant)
            if all(key in self._index for key in keys):
                self._rows.setdefault(keys[0], []).append((meant, *(_split(part) for part in words)))

    def meaning(self, sayings: Sequence[str]) -> Tensor:
        """Meanings such as "lips=red,lips=pink" -> weights (len(values),); the values of one category share its
        weight."""
        total = torch.zeros(len(self.values))
        for saying in sayings:
            keys = _split(saying)
            for key in keys:
                category = key.split("=")[0]
                total[self._index[key]] += 1 / sum(other.startswith(f"{category}=") for other in keys)
        return total

    def _pick_row(self, random_: random.Random, category: str) -> tuple:
        rows = self._rows[f"{category}={random_.choice(self.categories[category])}"]
        return rows[0] if random_.random() < 0.65 else random_.choice(rows)

    def caption(self, random_: random.Random) -> tuple[str, Tensor]:
        """A random text and its meaning (len(values),), all zero for a text that states nothing."""
        text, meaning = self.phrase(random_)
        return wrap(text, random_), meaning

    def phrase(self, random_: random.Random) -> tuple[str, Tensor]:
        """The same without a medium and an article: "smiling face with glasses"."""
        count = random_.choices((0, 1, 2, 3, 4), (13, 47, 19, 13, 8))[0]
        adjectives: list[str] = []
        things: list[str] = []
        absent: list[str] = []
        worn = False
        stated: list[str] = []
        noun = random_.choice(_split(NOUNS))
        for category in random_.sample(tuple(self.categories), count):
            meant, adjective, thing, nouns = self._pick_row(random_, category)
            stated.append(meant)
            ways = [kind for kind in (adjective, thing, nouns) if kind]
            kind = random_.choice(ways)
            if nouns and category in ("gender", "age") and random_.random() < (0.75 if category == "gender" else 0.1):
                kind = nouns
            if kind is nouns and noun not in _split(NOUNS):
                kind = adjective or thing
            word = random_.choice(kind) if kind else ""
            if not word:
                stated.pop()
            elif kind is nouns:
                noun = word
            elif kind is adjective:
                adjectives.append(word)
            elif word.startswith("-"):
                absent.append(word[1:])
            else:
                worn |= word.startswith("+")
                things.append(word.removeprefix("+"))
        only = stated and random_.random() < 0.15
        if random_.random() < (0.3 if not stated else 0.06):
            things.append(random_.choice(_split(PLAIN_THINGS)))
            worn = False
        things = _merge_hair(things, random_)
        return _phrase(adjectives, noun, things, absent, worn, bool(only), random_), self.meaning(stated)


def _plain(category: str, value: str) -> str:
    text = PLAIN[category]
    return text.format(value) if isinstance(text, str) else text[value]


def _join(parts: list[str], random_: random.Random) -> str:
    if len(parts) > 1 and random_.random() < 0.8:
        return ", ".join(parts[:-1]) + " and " + parts[-1]
    return random_.choice((" and ", ", ")).join(parts)


def _merge_hair(things: list[str], random_: random.Random) -> list[str]:
    """["curly hair", "red hair"] -> ["curly red hair"]."""
    hair = [thing for thing in things if thing.endswith(" hair") and not thing.startswith(("no ", "a "))]
    if len(hair) < 2 or random_.random() < 0.3:
        return things
    random_.shuffle(hair)
    merged = " ".join(thing.removesuffix(" hair") for thing in hair) + " hair"
    return [merged] + [thing for thing in things if thing not in hair]


def _phrase(
    adjectives: list[str],
    noun: str,
    things: list[str],
    absent: list[str],
    worn: bool,
    only: bool,
    random_: random.Random,
) -> str:
    """The noun phrase: adjectives before the noun, things after it; without a plain noun if `only`."""
    plain = noun in _split(NOUNS)
    if only and plain and bool(adjectives) != bool(things) and not absent:
        return _join(things, random_) if things else " ".join(adjectives)
    after = ""
    if adjectives and random_.random() < 0.15:
        after = f" {random_.choice(('who is', 'that is', 'is', 'looking', 'being'))} {_join(adjectives, random_)}"
        adjectives = []
    if things:
        link = random_.choice(("with", "with", "with", "who has", "has", "having"))
        if worn and len(things) == 1 and random_.random() < 0.5:
            link = random_.choice(("wearing", "who wears", "in"))
        after += f" {link} {_join(things, random_)}"
    if absent:
        link = random_.choice(("without", "without", "with no", "not wearing", "without any"))
        bare = [thing.removeprefix("a ") for thing in absent] if link != "without" else absent
        after += f"{random_.choice((' and', ' ')) if after else ''} {link} {_join(bare, random_)}"
    return " ".join([*adjectives, noun]) + after


def wrap(text: str, random_: random.Random) -> str:
    """A phrase as a caption: with an article, or as "a photo of a …"."""
    article = random_.choice(("a", "the", "a", "an" if text[0] in "aeiou" else "a"))
    choice = random_.random()
    if choice < 0.35:
        pass
    elif choice < 0.55:
        text = f"{article} {text}"
    else:
        media, quality, stuff = (random_.choice(_split(words)) for words in (MEDIA, QUALITIES, STUFF))
        text = random_.choice(WRAPS).format(m=media, q=quality, s=stuff, a=article, x=text)
    return text + random_.choice(("", "", ".", "!", "?") if choice < 0.7 else (".", ""))
