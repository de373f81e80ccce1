"""What the benchmarks ask for: edits that can be read from outside, and the faces that lack what they bring."""

from typing import NamedTuple

from torch import Tensor

from families.drawn.attributes import CATEGORIES
from families.drawn.reader import visible


class Target(NamedTuple):
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
    Target("face", "face with blonde hair", "hair_colour", "blonde", "blonde_hair"),
    Target("face", "face with black hair", "hair_colour", "black"),
    Target("face", "face with red hair", "hair_colour", "red"),
    Target("face", "face with grey hair", "hair_colour", "grey"),
    Target("face", "face with purple hair", "hair_colour", "purple", "purple_hair"),
    Target("face", "bald face", "hairstyle", "bald", "bald"),
    Target("face", "face with a mohawk", "hairstyle", "mohawk"),
    Target("face", "face with curly hair", "hair_texture", "curly", "curly_hair"),
    Target("face", "face with long hair", "hair_length", "long"),
    Target("face", "face with a fringe", "fringe", "yes"),
    Target("face", "face with a beard", "beard", "yes", "beard", "man"),
    Target("face", "face with a moustache", "moustache", "yes", only="man"),
    Target("face", "face with glasses", "eyewear", "glasses", "glasses"),
    Target("face", "face with sunglasses", "eyewear", "sunglasses"),
    Target("face", "smiling face", "expression", "smiling", "smiling"),
    Target("face", "surprised face", "expression", "surprised", "surprised"),
    Target("face", "sad face", "expression", "sad"),
    Target("face", "angry face", "expression", "angry", "angry"),
    Target("face", "old face", "age", "old", "old"),
    Target("face", "young face", "age", "young"),
    Target("face", "male face", "gender", "man"),
    Target("face", "female face", "gender", "woman"),
    Target("face", "face with blue eyes", "eye_colour", "blue"),
    Target("face", "face with green eyes", "eye_colour", "green"),
    Target("face", "face with red lipstick", "lips", "red", "red_lipstick", "woman"),
    Target("face", "face with pink lipstick", "lips", "pink", only="woman"),
    Target("face", "face with eyeshadow", "eyeshadow", "yes", only="woman"),
    Target("face", "face with earrings", "earrings", "yes"),
    Target("face", "face with freckles", "freckles", "yes"),
)
