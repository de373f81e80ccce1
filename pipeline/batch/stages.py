"""What needs no model: the faces of a photo are found, and edits of them written. Worker processes do both, one thread
each; nothing here imports PyTorch, which comes along with a paint alone. `edits` has what comes between."""

import os
import pickle
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from PIL import Image

from pipeline.batch import places
from pipeline.batch.inputs import Job
from pipeline.errors import UserError
from pipeline.faces.detection import Face, FaceFinder, centred, turned
from pipeline.faces.paste import paste
from pipeline.faces.photos import opened, shrunk

if TYPE_CHECKING:
    from pipeline.paint import Paint

Answer = TypeVar("Answer")
# Format -> its name in Pillow, and how it is saved: as the page saves it.
FORMATS = {
    "png": ("PNG", {"compress_level": 3}),
    "jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    "webp": ("WEBP", {"quality": 95}),
}


@dataclass(frozen=True)
class Search:
    """How faces are found: by dlib's landmark model in the file `landmarks`, aligned to `size` px, the largest or
    `every` sure one. Without landmarks, the middle of the photo, `size` x `rows` px, stands for a face."""

    size: int
    rows: int
    landmarks: Path | None
    every: bool = False


@dataclass(frozen=True)
class Found:
    """The faces of a photo, the largest first, and how long it took to find them."""

    faces: list[Face]
    seconds: float


@dataclass(frozen=True)
class Task:
    """A job of a run: what its pictures are called, the fingerprint of its rows, and the edit that is asked for, or
    instead of it the sentence that says why there is none."""

    job: Job
    name: str
    fingerprint: str
    asked: dict[str, Any] | None
    error: str = ""

    def row(self) -> dict[str, Any]:
        """What the rows of the photo have in common."""
        row = {"input": self.job.photo, "texts": self.job.texts, "edit": self.asked}
        nothing = dict.fromkeys(("face", "faces", "output", "identity_before", "identity_after", "seconds"))
        return row | nothing | {"notes": [], "error": None, "fingerprint": self.fingerprint}


def faces_for(task: Task, search: Search, call: Callable[..., Any]) -> Found | Exception:
    """The faces of a task's photo, or the error that its row tells. `call` does it: in another process, or in this
    one."""
    if task.error:
        return UserError(task.error)
    try:
        return call(find_faces, task.job.photo, search)
    except UserError as error:
        return error


def find_packed(row: dict[str, Any], search: Search) -> dict[str, Any]:
    """`faces_for` in a process of a cluster: the pickled task in `row` gets what was found beside it, pickled too."""
    try:
        found = faces_for(pickle.loads(row["task"]), search, in_this_process)
    except OSError as error:
        found = error
    return row | {"found": pickle.dumps(found, pickle.HIGHEST_PROTOCOL)}


@cache
def _finder(landmarks: Path) -> FaceFinder:
    return FaceFinder.from_file(landmarks, landmarks.name)


def find_faces(photo: str, search: Search) -> Found:
    """The faces of a file, or of what an address names. Raises UserError for one without a face, and for one that is no
    picture."""
    begin = time.perf_counter()
    image = _opened(photo)
    if search.landmarks is None:
        faces = [centred(image, search.size, search.rows)]
    else:
        faces = _finder(search.landmarks).find(image, search.size, doubtful=False)
    return Found(faces if search.every else faces[:1], time.perf_counter() - begin)


def _opened(photo: str) -> Image.Image:
    if places.is_address(photo):
        return opened(BytesIO(places.read(photo)))
    _check_access(photo)
    return opened(photo)


def _check_access(photo: str) -> None:
    if os.path.isfile(photo):  # noqa: PTH113  # a pipe would keep whoever opens it waiting
        try:
            with open(photo, "rb"):  # noqa: PTH123
                pass
        except OSError as error:
            name = os.path.basename(photo)  # noqa: PTH119
            raise UserError(f"“{name}” can't be opened ({error.strerror}); please check who may read it.") from None


def write_picture(image: Image.Image, path: str, size: int | None) -> float:
    """Write a picture, at most `size` px a side, to a path or an address, in the format of its ending; how many seconds
    it took.

    The file is there whole or not at all. Raises OSError where it can't be written.
    """
    begin = time.perf_counter()
    image, data = shrunk(image, size) if size else image, BytesIO()
    name, options = FORMATS[path.rpartition(".")[2]]
    try:
        image.save(data, name, **options)
    except Exception as error:  # of an encoder; WebP holds no more than 16,383 px a side
        raise UserError(f"This picture can't be saved as {name} ({error}); please choose another format.") from None
    places.write(path, data.getvalue())
    return time.perf_counter() - begin


def write_pasted(
    photo: str,
    edited: Sequence[tuple[Face, Image.Image | None]],
    path: str,
    size: int | None,
    paint: "Paint | None" = None,
) -> float:
    """Write a photo with edited faces in the place of those that `find_faces` found in it, all of it painted where
    there is a `paint`, which brings PyTorch along; a face without a picture stays as it is. As `write_picture`."""
    begin = time.perf_counter()
    image = turned(_opened(photo), edited[0][0].turn)
    for face, picture in edited:
        image = paste(image, face, picture) if picture else image
    if paint:
        image = paint.over_photo(image, edited[0][0].width)
    return time.perf_counter() - begin + write_picture(image, path, size)


def tried(work: Callable[..., Answer], *arguments: object) -> tuple[bool, Answer | Exception]:
    """Whether a stage could be done; and its answer, or the error: a UserError of the photo's, or an OSError."""
    try:
        return True, work(*arguments)
    except (UserError, OSError) as error:
        return False, error
    except MemoryError:
        return False, UserError("There is too little memory for this photo; please save it smaller.")
    except Exception as error:
        return False, unexpected(error)


def in_this_process(work: Callable[..., Answer], *arguments: object) -> Answer:
    """As `Workers` do a stage in another process."""
    done, answer = tried(work, *arguments)
    if not done:
        raise answer
    return answer


def serve() -> None:
    """A worker process: for each function with arguments that comes on standard input, whether it could be done, and
    the answer or the error. It ends with its input, and leaves Ctrl-C to the process that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what else is printed must not come between the answers
    _answer(answers, (True, None))
    while True:
        try:
            work, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        _answer(answers, tried(work, *arguments))


def _answer(answers: BytesIO, answer: tuple[bool, object]) -> None:
    answers.write(pickle.dumps(answer, pickle.HIGHEST_PROTOCOL))
    answers.flush()


def unexpected(error: BaseException) -> UserError:
    """The sentence for an error that nobody foresaw."""
    return UserError(f"This photo could not be edited ({type(error).__name__}: {error}).")
