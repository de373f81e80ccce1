"""What the benchmarks ask for: edits that can be read from outside, and the faces that lack what they bring."""

from typing import NamedTuple

from torch import Tensor

from families.drawn.attributes import CATEGORIES
from families.drawn.reader import visible


class Pair(NamedTuple):
    """An edit: its texts, the class (of a category) that must appear, the mapper made for it, if any, and the gender of
    the faces that it is asked of, where not both."""

    neutral: str
    target: str
    category: str
    value: str
    mapper: str | None = None
    only: str | None = None

    @property
    def prompt(self) -> str:
        """What the optimization is told."""
        return f"an {self.target}" if self.target[0] in "aeiou" else f"a {self.target}"

    @property
    def title(self) -> str:
        """The target without the face."""
        return self.target.removeprefix("face with ").removeprefix("a ").removesuffix(" face")

    @property
    def index(self) -> int:
        """The class's index in its category."""
        return CATEGORIES[self.category].index(self.value)

    def having(self, found: dict[str, Tensor]) -> Tensor:
        """Which faces (N,) have the target, by readings (N,) or labels."""
        return visible(found)[self.category] & (found[self.category] == self.index)

    def lacking(self, found: dict[str, Tensor]) -> Tensor:
        """Which faces (N,) could have the target and do not, by readings (N,)."""
        fit = visible(found)[self.category] & (found[self.category] != self.index)
        if self.category == "eyewear":
            fit = fit & (found["eyewear"] == CATEGORIES["eyewear"].index("none"))
        if self.only:
            fit = fit & (found["gender"] == CATEGORIES["gender"].index(self.only))
        return fit


PAIRS = (
    Pair("face", "face with blonde hair", "hair_colour", "blonde", "blonde_hair"),
    Pair("face", "face with black hair", "hair_colour", "black"),
    Pair("face", "face with red hair", "hair_colour", "red"),
    Pair("face", "face with grey hair", "hair_colour", "grey"),
    Pair("face", "face with purple hair", "hair_colour", "purple", "purple_hair"),
    Pair("face", "bald face", "hairstyle", "bald", "bald"),
    Pair("face", "face with a mohawk", "hairstyle", "mohawk"),
    Pair("face", "face with curly hair", "hair_texture", "curly", "curly_hair"),
    Pair("face", "face with long hair", "hair_length", "long"),
    Pair("face", "face with a fringe", "fringe", "yes"),
    Pair("face", "face with a beard", "beard", "yes", "beard", "man"),
    Pair("face", "face with a moustache", "moustache", "yes", only="man"),
    Pair("face", "face with glasses", "eyewear", "glasses", "glasses"),
    Pair("face", "face with sunglasses", "eyewear", "sunglasses"),
    Pair("face", "smiling face", "expression", "smiling", "smiling"),
    Pair("face", "surprised face", "expression", "surprised", "surprised"),
    Pair("face", "sad face", "expression", "sad"),
    Pair("face", "angry face", "expression", "angry", "angry"),
    Pair("face", "old face", "age", "old", "old"),
    Pair("face", "young face", "age", "young"),
    Pair("face", "male face", "gender", "man"),
    Pair("face", "female face", "gender", "woman"),
    Pair("face", "face with blue eyes", "eye_colour", "blue"),
    Pair("face", "face with red lipstick", "lips", "red", "red_lipstick", "woman"),
    Pair("face", "face with pink lipstick", "lips", "pink", only="woman"),
    Pair("face", "face with eyeshadow", "eyeshadow", "yes", only="woman"),
    Pair("face", "face with earrings", "earrings", "yes"),
    Pair("face", "face with freckles", "freckles", "yes"),
)
