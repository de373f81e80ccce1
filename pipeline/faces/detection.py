"""Photographs in, aligned faces out: dlib's detector and landmarks, and the alignment of the FFHQ data set."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from pipeline.errors import UserError

LANDMARKS = 68  # points, as iBUG orders them
MOST_FACES = 12  # of a photo, the largest and surest; a crop takes up to half a second
DETECTION_SIDE = 800  # larger photos are searched for faces at this size; dlib finds faces of 80 px and more
LANDMARK_BOX = 256  # landmarks are read off a face whose box is scaled to this width
SURE = 0.5  # dlib's score for what is a face for certain; false ones score less, and come later than their size says
CERTAIN = 1.0  # a score that a face on its head, or none, does not get
BOX_SHIFTS = 0.04 * np.array([(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)])  # in widths of the box
BOX_ZOOMS = (0.92, 1.0, 1.08)

STRIP = 256  # rows of a photo that are computed with as floats at a time
SMALL_BLUR = 5.0  # pixels; so large a blur loses nothing on the smaller picture
ENLARGED = 3  # from here on, fine and plain samples of a crop differ by a tenth of a grey level


@dataclass(frozen=True, eq=False)
class Face:
    """A face found in a photo.

    `image` is the aligned crop, square, RGB. In pixels of the upright photo: `landmarks` (68, 2) as iBUG orders them,
    and `quad` (4, 2), the corners of the crop from top left counter-clockwise, as distances from the photo's left and
    top edge. Where no face was looked for, because the model draws other things, there are no landmarks, and the crop
    may be wider than high.

    `turn` is how many quarter turns clockwise make the photo upright, 0 to 3, beyond what the camera noted: faces that
    lie on their side or stand on their head are found in the turned photo. `turned` gives that photo; `landmarks` and
    `quad` are places in it, and pasting the face back gives it.
    """

    image: Image.Image
    landmarks: NDArray[np.float64] | None
    quad: NDArray[np.float64]
    turn: int = 0

    @property
    def width(self) -> float:
        """How wide the crop is in the upright photo, in pixels."""
        left, right = self.quad[[0, 3]]  # its upper corners
        return float(np.hypot(*(right - left)))


TURNS = (None, Image.Transpose.ROTATE_270, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_90)


def turned(photo: Image.Image, turn: int) -> Image.Image:
    """A photo after `turn` quarter turns clockwise, 0 to 3; itself for none."""
    return photo.transpose(TURNS[turn]) if turn else photo


def centred(photo: Image.Image, width: int, height: int) -> Face:
    """The largest part of that shape in the middle of an RGB photo, as `width` x `height` pixels."""
    scale = min(photo.width / width, photo.height / height)
    half = np.array([width, height]) * scale / 2
    (left, top), (right, bottom) = np.array(photo.size) / 2 - half, np.array(photo.size) / 2 + half
    image = photo.resize((width, height), Image.Resampling.LANCZOS, (left, top, right, bottom))
    return Face(image, None, np.array([(left, top), (left, bottom), (right, bottom), (right, top)]))


class FaceFinder:
    """dlib's frontal detector and a 68-point landmark model. May be shared by threads."""

    def __init__(self, predictor: Any) -> None:
        """`predictor` is a `dlib.shape_predictor`."""
        self.predictor = predictor
        self.detector = dlib.get_frontal_face_detector()
        self.lock = threading.Lock()  # dlib's detector keeps state while it scans

    @classmethod
    def from_file(cls, path: Path, name: str) -> "FaceFinder":
        """With dlib's landmark model of a file. Raises UserError, which calls the file `name`, for any other file."""
        try:
            predictor = dlib.shape_predictor(str(path))
        except RuntimeError:
            from pipeline.models.weights import known_flaw  # PyTorch, which processes that only find faces do without

            flaw = known_flaw(path) or "it is cut off, or another kind of model than dlib's shape predictors"
            raise UserError(f"The file {name} can't be read as a landmark model: {flaw}.") from None
        points = predictor(np.zeros((64, 64, 3), np.uint8), dlib.rectangle(8, 8, 56, 56)).num_parts
        if points != LANDMARKS:
            raise UserError(
                f"The file {name} finds {points} points of a face, and this studio needs a landmark model of "
                f"{LANDMARKS}; please name shape_predictor_68_face_landmarks.dat, or one like it."
            )
        return cls(predictor)

    def find(self, photo: Image.Image, size: int, doubtful: bool = True) -> list[Face]:
        """Faces of an RGB photo, aligned to `size` px, the largest and surest first, at most `MOST_FACES`.

        `doubtful` ones, of which some are badges or patterns, may be left out beside a sure one: where nobody chooses
        among the faces. Where no face is upright, or only a doubtful one, the photo is turned, see `Face.turn`. Raises
        UserError for none.
        """
        turn, boxes = self._upright_boxes(photo, doubtful)
        photo, faces = turned(photo, turn), []
        for box in boxes[:MOST_FACES]:
            landmarks = self._landmarks(photo, box)
            quad = face_quad(landmarks)
            # A crop that is enlarged anyway gains nothing from finer samples, which in a photo of a group take seconds.
            samples = size if np.hypot(*(quad[3] - quad[0])) < size / ENLARGED else 4 * size
            image = crop_quad(photo, quad, size, samples)
            faces.append(Face(image, landmarks, sampled_corners(photo.size, quad, size), turn))
        if not faces:
            raise UserError(
                "No face was found; please use a photo in which a face of at least a tenth of its width looks towards "
                "the camera, well lit and not covered."
            )
        return faces

    def _upright_boxes(self, photo: Image.Image, doubtful: bool) -> tuple[int, list[NDArray[np.float64]]]:
        """By how many quarter turns the photo is turned upright, and the boxes of `_boxes` in the turned photo.

        dlib finds faces on their side not at all, and those on their head at times, with a low score: so a certain
        face ends the search, and the turn with the highest score wins, that of 0 unless another is clearly higher.
        """
        scale = min(1.0, DETECTION_SIDE / max(photo.size))
        small = _resized(photo, scale)
        for upsample in (0, 1):  # up-sampling finds smaller faces, but also false ones beside a large face
            best, found = 0.0, None
            for turn in range(len(TURNS)):
                boxes, score = self._boxes(turned(small, turn), upsample, scale, doubtful)
                if boxes and (found is None or score > best + SURE):
                    best, found = score, (turn, boxes)
                if best >= CERTAIN:
                    break
            if found:
                return found
        return 0, []

    def _boxes(
        self, small: Image.Image, upsample: int, scale: float, doubtful: bool
    ) -> tuple[list[NDArray[np.float64]], float]:
        """Boxes (left, top, right, bottom) in a photo that was scaled to `small`, the largest first, but doubtful ones
        later, and beside a sure face small ones of them, or all unless `doubtful`, not at all; and the highest score.
        """
        with self.lock:
            boxes, scores, _ = self.detector.run(np.asarray(small), upsample, 0.0)
        order = sorted(range(len(boxes)), key=lambda i: boxes[i].width() * min(scores[i], SURE), reverse=True)
        if not doubtful and max(scores, default=0.0) >= SURE:
            order = [i for i in order if scores[i] >= SURE]
        elif order and scores[order[0]] >= SURE:  # a doubtful one half as wide is a badge, a print or a pattern
            least = boxes[order[0]].width() / 2
            order = [i for i in order if scores[i] >= SURE or boxes[i].width() > least]
        places = [
            np.array([b.left(), b.top(), b.right() + 1, b.bottom() + 1]) / scale for b in (boxes[i] for i in order)
        ]
        return places, max(scores, default=0.0)

    def _landmarks(self, photo: Image.Image, box: NDArray[np.float64]) -> NDArray[np.float64]:
        """(68, 2) in the photo's pixels: the median over slightly moved boxes, which steadies them on unusual pictures.

        The surroundings of the box are scaled first, because dlib answers in whole pixels.
        """
        size = box[2:] - box[:2]
        region = np.concatenate([np.floor(box[:2] - size / 2), np.ceil(box[2:] + size / 2)])
        region = np.concatenate([np.maximum(region[:2], 0), np.minimum(region[2:], photo.size)])
        scale = LANDMARK_BOX / size[0]
        face = photo.crop(tuple(region.astype(int)))
        face = face.resize([max(1, round(side * scale)) for side in face.size], Image.Resampling.LANCZOS)
        scale = np.array(face.size) / (region[2:] - region[:2])
        low, high = (box.reshape(2, 2) - region[:2]) * scale
        centre, half = (low + high) / 2, (high - low) / 2
        moved = [(centre + 2 * half * shift, half * zoom) for shift in BOX_SHIFTS for zoom in BOX_ZOOMS]
        rectangles = [dlib.rectangle(*np.rint([*(c - h), *(c + h)]).astype(int).tolist()) for c, h in moved]
        with self.lock:
            shapes = [self.predictor(np.asarray(face), rectangle).parts() for rectangle in rectangles]
        points = np.array([[(p.x, p.y) for p in shape] for shape in shapes])
        return np.median(points, axis=0) / scale + region[:2]


def _resized(image: Image.Image, scale: float) -> Image.Image:
    if scale == 1:
        return image
    size = [max(1, round(side * scale)) for side in image.size]
    return image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2)


def face_quad(landmarks: NDArray) -> NDArray[np.float64]:
    """Corners (4, 2) of the FFHQ crop, from top left counter-clockwise, for landmarks (68, 2)."""
    left, right = landmarks[36:42].mean(0), landmarks[42:48].mean(0)
    eyes, mouth = (left + right) / 2, (landmarks[48] + landmarks[54]) / 2
    eye_to_eye, eye_to_mouth = right - left, mouth - eyes
    x = eye_to_eye - _rotated(eye_to_mouth)
    x = x / np.hypot(*x) * max(2.0 * np.hypot(*eye_to_eye), 1.8 * np.hypot(*eye_to_mouth))
    y = _rotated(x)
    c = eyes + 0.1 * eye_to_mouth
    return np.stack([c - x - y, c - x + y, c + x + y, c + x - y])


def _rotated(v: NDArray) -> NDArray:
    return np.array([-v[1], v[0]])


def crop_quad(photo: Image.Image, quad: NDArray, size: int, transform_size: int) -> Image.Image:
    """The part of an RGB photo inside `quad`, turned upright, as `size` x `size` pixels.

    It is sampled at `transform_size` first. Parts outside the photo are mirrored, blurred and faded into the median
    colour.
    """
    shrink, reduced = _reduction(photo.size, quad, size)
    if shrink > 1:
        photo = photo.resize(reduced, Image.Resampling.LANCZOS)
        quad = quad / shrink
    quad_size = float(np.hypot(*(quad[3] - quad[0])))

    border = max(int(np.rint(quad_size * 0.1)), 3)
    low, high = np.floor(quad.min(0)).astype(int), np.ceil(quad.max(0)).astype(int)
    start, end = np.maximum(low - border, 0), np.minimum(high + border, photo.size)
    if (end - start < photo.size).any():
        photo = photo.crop((*start.tolist(), *end.tolist()))
        quad = quad - start

    low, high = np.floor(quad.min(0)).astype(int), np.ceil(quad.max(0)).astype(int)
    before, after = np.maximum(border - low, 0), np.maximum(high - photo.size + border, 0)
    if max(before.max(), after.max()) > border - 4:
        least = int(np.rint(quad_size * 0.3))
        before, after = np.maximum(before, least), np.maximum(after, least)
        photo = _faded_margin(photo, before, after, blur=quad_size * 0.02)
        quad = quad + before

    corners = (quad + 0.5).ravel().tolist()
    photo = photo.transform((transform_size,) * 2, Image.Transform.QUAD, corners, Image.Resampling.BILINEAR)
    return photo if size == transform_size else photo.resize((size, size), Image.Resampling.LANCZOS)


def sampled_corners(photo_size: tuple[int, int], quad: NDArray, size: int) -> NDArray[np.float64]:
    """Where the corners (4, 2) of `crop_quad` lie in the photo, as distances from its left and top edge.

    They are not quite the quad's: half a pixel is added after the photo was shrunk, and to whole pixels.
    """
    shrink, reduced = _reduction(photo_size, quad, size)
    return (quad / shrink + 0.5) * np.array(photo_size) / reduced


def _reduction(photo_size: tuple[int, int], quad: NDArray, size: int) -> tuple[int, tuple[int, int]]:
    """By which factor a photo is shrunk before a crop of `size` pixels, and its (width, height) then."""
    shrink = int(np.hypot(*(quad[3] - quad[0])) / size * 0.5)
    if shrink <= 1:
        return 1, photo_size
    width, height = (int(np.rint(side / shrink)) for side in photo_size)
    return shrink, (width, height)


def _faded_margin(photo: Image.Image, before: NDArray, after: NDArray, blur: float) -> Image.Image:
    """The photo with margins of (x, y) pixels before and after it: mirrored, blurred, faded into the median colour.

    The blur is computed on a smaller picture, which shows as much of it, and everything in floats a strip at a time.
    """
    margins = ((before[1], after[1]), (before[0], after[0]), (0, 0))
    pixels = np.pad(np.asarray(photo), margins, "reflect")
    height, width = pixels.shape[:2]
    shrink = max(1, int(blur / SMALL_BLUR))
    blurred = _blurred(Image.fromarray(pixels), blur, shrink)
    columns = np.arange(width, dtype=np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        across = 1 - np.minimum(columns / before[0], (width - 1 - columns) / after[0])

    def faded(towards: Callable[[int, int], NDArray], slope: float, start: float) -> None:
        """Mix the pixels with others, the more the nearer they are to the outer edge."""
        for top in range(0, height, STRIP):
            bottom = min(top + STRIP, height)
            rows = np.arange(top, bottom, dtype=np.float32)
            with np.errstate(divide="ignore", invalid="ignore"):
                down = 1 - np.minimum(rows / before[1], (height - 1 - rows) / after[1])
            share = np.clip(slope * np.maximum(across[None, :], down[:, None]) + start, 0, 1)[..., None]
            strip = pixels[top:bottom].astype(np.float32)
            strip += (towards(top, bottom) - strip) * share
            pixels[top:bottom] = np.rint(strip).clip(0, 255)

    def blurred_strip(top: int, bottom: int) -> NDArray:
        box = (0, top / shrink, width / shrink, bottom / shrink)
        return np.dstack([c.resize((width, bottom - top), Image.Resampling.BICUBIC, box) for c in blurred])

    faded(blurred_strip, 3, 1)
    median = np.array([_median(pixels[..., channel]) for channel in range(3)], dtype=np.float32)
    faded(lambda top, bottom: median, 1, 0)
    return Image.fromarray(pixels)


def _blurred(image: Image.Image, blur: float, shrink: int) -> list[Image.Image]:
    """Red, green and blue (mode F) under a Gaussian of σ = `blur` pixels, at a `shrink`th of the size."""
    sigma = np.sqrt((blur / shrink) ** 2 - (1 - shrink**-2) / 12)  # the mean over the larger pixels adds the rest
    small = [channel.reduce(shrink) if shrink > 1 else channel for channel in image.split()]
    return [Image.fromarray(gaussian_filter(np.asarray(channel, dtype=np.float32), sigma)) for channel in small]


def _median(values: NDArray[np.uint8]) -> float:
    """As `np.median`, counted, so that nothing is sorted or copied."""
    seen = np.cumsum(sum(np.bincount(row, minlength=256) for row in values))
    low, high = np.searchsorted(seen, [(values.size + 1) // 2, values.size // 2 + 1])
    return (low + high) / 2
