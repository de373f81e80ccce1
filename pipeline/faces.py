"""Photographs in, aligned faces out: dlib's detector and landmarks, and the alignment of the FFHQ data set."""

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import dlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from scipy.ndimage import gaussian_filter

from .errors import UserError

MIN_SIDE, MAX_SIDE = 32, 16_384  # of a photo, in pixels
MAX_PIXELS = 80_000_000
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")  # Pillow reads stranger ones, some with other programs
DETECTION_SIDE = 800  # larger photos are searched for faces at this size; dlib finds faces of 80 px and more
LANDMARK_BOX = 256  # landmarks are read off a face whose box is scaled to this width
SURE = 0.5  # dlib's score for what is a face for certain; false ones score less, and come later than their size says
BOX_SHIFTS = 0.04 * np.array([(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)])  # in widths of the box
BOX_ZOOMS = (0.92, 1.0, 1.08)

ENLARGED = 3  # from here on, fine and plain samples of a crop differ by a tenth of a grey level

Photo = Image.Image | str | Path | BinaryIO


@dataclass(frozen=True, eq=False)
class Face:
    """A face found in a photo.

    `image` is the aligned crop, square, RGB. In pixels of the upright photo: `landmarks` (68, 2) as iBUG orders them,
    and `quad` (4, 2), the corners of the crop from top left counter-clockwise, as distances from the photo's left and
    top edge. Where no face was looked for, because the model draws other things, there are no landmarks, and the crop
    may be wider than high.
    """

    image: Image.Image
    landmarks: NDArray[np.float64] | None
    quad: NDArray[np.float64]


def open_photo(photo: Photo) -> Image.Image:
    """Any picture, of several frames the first, as an upright RGB image; transparent parts become white.

    Raises UserError when it is not there, cannot be read, is too small or too large, and TypeError for what is neither
    a picture of PIL nor a path nor an open file.
    """
    if isinstance(photo, (str, Path)):
        if not os.path.isfile(photo):  # noqa: PTH113  # false for whatever can be no path, too
            kind = "a folder" if os.path.isdir(photo) else "no file"  # noqa: PTH112
            raise UserError(f"“{os.path.basename(photo)}” is {kind}; please give the path of a picture.")  # noqa: PTH119
    elif not isinstance(photo, Image.Image) and not hasattr(photo, "read"):
        makes = {"bytes": "; io.BytesIO makes one of bytes", "ndarray": "; PIL's Image.fromarray makes one of an array"}
        kind = type(photo).__name__
        raise TypeError(f"`photo` is a picture of PIL, a path or an open file, not {kind}{makes.get(kind, '')}.")
    try:
        image = photo if isinstance(photo, Image.Image) else Image.open(photo, formats=FORMATS)
        _check_size(*image.size)  # before anything is decoded
        image.load()
        return _to_rgb(_upright(image))
    except (UserError, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise UserError(f"This picture is too large; please use at most {MAX_PIXELS // 10**6} megapixels.") from None
    except Exception:  # the decoders raise nearly anything for a broken file
        raise UserError("This file could not be read as a picture; please choose a JPEG or PNG file.") from None


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a damaged EXIF block does not spoil the picture
        return image.copy()


def _check_size(width: int, height: int) -> None:
    if min(width, height) < MIN_SIDE:
        raise UserError(f"This picture is too small ({width} × {height} pixels); please use a larger one.")
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise UserError(
            f"This picture is too large ({width} × {height} pixels); please use one of at most "
            f"{MAX_PIXELS // 10**6} megapixels and {MAX_SIDE:,} pixels a side."
        )


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):  # greys of 16 or 32 bits, which PIL would clip instead of scaling
        grey = np.nan_to_num(np.asarray(image, dtype=np.float32))
        scales = (65535,) if image.mode.startswith("I;16") else (1, 255, 65535)  # of 32 bits any part may be in use
        white = next((scale for scale in scales if grey.max() <= scale), grey.max())
        image = Image.fromarray(np.rint(grey * (255 / white)).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


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

    def find(self, photo: Image.Image, size: int) -> list[Face]:
        """Faces of an RGB photo, aligned to `size` px, the largest first. Raises UserError for none."""
        faces = []
        for box in self._boxes(photo):
            landmarks = self._landmarks(photo, box)
            quad = face_quad(landmarks)
            # A crop that is enlarged anyway gains nothing from finer samples, which in a photo of a group take seconds.
            samples = size if np.hypot(*(quad[3] - quad[0])) < size / ENLARGED else 4 * size
            image = crop_quad(photo, quad, size, samples)
            faces.append(Face(image, landmarks, sampled_corners(photo.size, quad, size)))
        if not faces:
            raise UserError("No face was found; please use a photo in which a face looks towards the camera.")
        return faces

    def _boxes(self, photo: Image.Image) -> list[NDArray[np.float64]]:
        """Boxes (left, top, right, bottom), the largest first, but doubtful ones later."""
        scale = min(1.0, DETECTION_SIDE / max(photo.size))
        pixels = np.asarray(_resized(photo, scale))
        for upsample in (0, 1):  # up-sampling finds smaller faces, but also false ones beside a large face
            with self.lock:
                boxes, scores, _ = self.detector.run(pixels, upsample, 0.0)
            if boxes:
                break
        order = sorted(range(len(boxes)), key=lambda i: boxes[i].width() * min(scores[i], SURE), reverse=True)
        return [np.array([b.left(), b.top(), b.right() + 1, b.bottom() + 1]) / scale for b in (boxes[i] for i in order)]

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
    """The photo with margins of (x, y) pixels before and after it: mirrored, blurred, faded into the median colour."""
    margins = ((before[1], after[1]), (before[0], after[0]), (0, 0))
    pixels = np.pad(np.asarray(photo, dtype=np.float32), margins, "reflect")
    height, width = pixels.shape[:2]
    rows, columns = (np.arange(n, dtype=np.float32) for n in (height, width))
    rows, columns = rows[:, None, None], columns[None, :, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        mask = np.maximum(
            1 - np.minimum(columns / before[0], (width - 1 - columns) / after[0]),
            1 - np.minimum(rows / before[1], (height - 1 - rows) / after[1]),
        )
    blurred = gaussian_filter(pixels, (blur, blur, 0))
    pixels += (blurred - pixels) * np.clip(3 * mask + 1, 0, 1)
    pixels += (np.median(pixels, axis=(0, 1)) - pixels) * np.clip(mask, 0, 1)
    return Image.fromarray(np.rint(pixels).clip(0, 255).astype(np.uint8))
