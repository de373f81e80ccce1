"""Edited faces back into the photo."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from pipeline.errors import UserError
from pipeline.faces.detection import Face

SEAM = 0.15  # width of the soft edge, in sides of the crop
WINDOW = 0.015  # in which the two pictures are compared: σ in sides of the crop
FLAT = 20.0  # a variance, in squared grey levels, below which a place counts as flat
ROWS = 256  # of the photo that are worked on at a time, which bounds the memory


def paste(photo: Image.Image, face: Face, edited: Image.Image) -> Image.Image:
    """An upright RGB photo with `edited` in the place of `face`, which was found in it; of the photo's size. A photo
    that was turned to find the face is given here as `faces.turned` gives it.

    The edited picture has the shape of `face.image`, at any resolution. It is laid over the photo with a soft edge
    inside the crop's quad; sides that lie outside the photo have none.

    A crop is often coarser than the photo, so pasted pixels alone would look blurred beside it. What the crop lost,
    photo - crop, is added where the edited picture still shows what the crop shows: there an unedited face gives back
    the photo itself. Elsewhere that detail would shine through the new face like a ghost, and is left out.

    Raises UserError for a picture of another shape.
    """
    if abs(edited.width * face.image.height - edited.height * face.image.width) > edited.width:
        raise UserError("The edited picture has another shape than the face in the photo; please give an edit of it.")
    corners = face.quad[[0, 3, 1]]  # top left, top right, bottom left
    sides = np.hypot(*(corners[1:] - corners[0]).T)
    size = tuple(int(max(1, min(pixels, np.ceil(side)))) for pixels, side in zip(edited.size, sides, strict=True))
    new, old = (_resized(image, size) for image in (edited.convert("RGB"), face.image))
    layers = [_framed(image) for image in (new, old, _agreement(new, old))]
    soft = _soft_sides(face.quad, photo.size)

    # The inverse of the crop's transform: from (x, y) in the photo to the unit square.
    to_unit = np.linalg.inv((corners[1:] - corners[0]).T)
    left, top = np.maximum(np.floor(face.quad.min(0)), 0).astype(int).tolist()
    right, bottom = np.minimum(np.ceil(face.quad.max(0)), photo.size).astype(int).tolist()
    result = photo.copy()
    for start in range(top, bottom, ROWS):
        box = (left, start, right, min(start + ROWS, bottom))
        pixels = np.asarray(photo.crop(box), dtype=np.float32)
        offset = to_unit @ (np.array(box[:2]) - corners[0])
        new, old, agreement = (_sampled(layer, to_unit, offset, pixels.shape[:2]) for layer in layers)
        change = new - pixels + agreement[..., None] / 255 * (pixels - old)
        pixels += _mask(to_unit, offset, pixels.shape[:2], soft)[..., None] * change
        result.paste(Image.fromarray(np.rint(pixels).clip(0, 255).astype(np.uint8)), box[:2])
    return result


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)


def _framed(image: Image.Image) -> Image.Image:
    """With its outermost pixels repeated once, for the sampling near the edge."""
    pixels = np.asarray(image)
    return Image.fromarray(np.pad(pixels, [(1, 1), (1, 1), (0, 0)][: pixels.ndim], "edge"))


def _agreement(new: Image.Image, old: Image.Image) -> Image.Image:
    """Where two RGB images of one size show the same shapes, whatever their colours: grey, 255 for the same.

    It is the product of contrast and structure in SSIM (Wang et al. 2004), without what is below zero, and squared,
    because the eye finds ghosts where the shapes are only half alike.
    """
    x, y = (np.asarray(image.convert("L"), dtype=np.float32) for image in (new, old))
    sigma = max(1.0, WINDOW * max(new.size))
    mean_x, mean_y = gaussian_filter(x, sigma), gaussian_filter(y, sigma)
    covariance = gaussian_filter(x * y, sigma) - mean_x * mean_y
    variances = gaussian_filter(x * x + y * y, sigma) - mean_x**2 - mean_y**2
    similarity = (2 * covariance + FLAT) / (variances + FLAT)
    return Image.fromarray(np.rint(255 * similarity.clip(0, 1) ** 2).astype(np.uint8))


def _soft_sides(quad: NDArray, photo_size: tuple[int, int]) -> list[bool]:
    """Which sides (left, bottom, right, top) get a soft edge: not those along or beyond an edge of the photo."""
    beyond = np.concatenate([quad <= 0.5, quad >= np.array(photo_size) - 0.5], 1)
    return (~(beyond & np.roll(beyond, -1, 0)).any(1)).tolist()


def _sampled(image: Image.Image, to_unit: NDArray, offset: NDArray, shape: tuple[int, int]) -> NDArray[np.float32]:
    """A framed image, seen through the strip of the photo with that offset and shape."""
    size = np.array(image.size) - 2
    matrix = np.concatenate([to_unit * size[:, None], (offset * size + 1)[:, None]], 1)
    seen = image.transform(shape[::-1], Image.Transform.AFFINE, matrix.ravel().tolist(), Image.Resampling.BICUBIC)
    return np.asarray(seen, dtype=np.float32)


def _mask(to_unit: NDArray, offset: NDArray, shape: tuple[int, int], soft: list[bool]) -> NDArray[np.float32]:
    """How much of the change a strip gets: 1 inside, falling smoothly to 0 at the soft sides of the crop."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32) + 0.5
    u, v = (a * x + b * y + c for (a, b), c in zip(to_unit.astype(np.float32), offset.astype(np.float32), strict=True))
    mask = np.ones(shape, dtype=np.float32)
    for distance, is_soft in zip((u, 1 - v, 1 - u, v), soft, strict=True):
        ramp = (distance / SEAM).clip(0, 1)
        mask *= ramp * ramp * (3 - 2 * ramp) if is_soft else 1
    return mask
