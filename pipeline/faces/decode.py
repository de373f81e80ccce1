"""Pixels of a picture, whatever file it comes from: upright RGB in sRGB, in strips, which bounds the memory.

`photos` uses this for plain files, and runs it as a program for all others: the file is standard input, the answer is
a line with width and height and then the pixels, or a line with "!" and a sentence. The program can be ended when it
takes too long, and the system refuses it more memory than `MOST_BYTES`. So it imports nothing of this package, whose
models take seconds to import.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import BinaryIO

from PIL import Image, ImageCms

MIN_SIDE, MAX_SIDE = 32, 16_384  # of a photo, in pixels
MAX_PIXELS = 52_000_000  # a picture takes four bytes a pixel, and two of them are there while it is decoded
FORMATS = ("JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF", "AVIF")  # Pillow reads stranger ones, some with other programs
STRIP = 2**20  # pixels that are converted at a time
MOST_BYTES = 450 * 2**20  # of the program's memory
MOST_SECONDS = 6  # of its computing
TOO_MANY = {"WEBP": 26_000_000, "AVIF": 26_000_000}  # pixels; these decoders hold four copies
FROM_CORNER = {  # EXIF orientation -> how the picture is turned upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SWAPPED = (5, 6, 7, 8)  # orientations that swap width and height

Strip = Callable[[Image.Image], Image.Image]


class Refused(Exception):
    """The message is a sentence for the visitor."""


def open_checked(file: BinaryIO | str) -> Image.Image:
    """The picture of a file, not decoded yet. Raises Refused for its size, and anything else for a broken file."""
    try:
        image = Image.open(file, formats=FORMATS)
    except Image.DecompressionBombError:
        raise Refused(f"This picture is too large; please use at most {MAX_PIXELS // 10**6} megapixels.") from None
    check_size(*image.size, MAX_PIXELS)
    check_size(*image.size, TOO_MANY.get(image.format, MAX_PIXELS), f" in {image.format}")
    return image


def check_size(width: int, height: int, most: int = MAX_PIXELS, where: str = "") -> None:
    if min(width, height) < MIN_SIDE:
        raise Refused(f"This picture is too small ({width} × {height} pixels); please use a larger one.")
    if max(width, height) > MAX_SIDE or width * height > most:
        raise Refused(
            f"This picture is too large ({width} × {height} pixels); please use one of at most "
            f"{most // 10**6} megapixels{where} and {MAX_SIDE:,} pixels a side."
        )


def upright_size(image: Image.Image) -> tuple[int, int]:
    return image.size[::-1] if orientation(image) in SWAPPED else image.size


def orientation(image: Image.Image) -> int:
    """As the camera noted it (EXIF), 1 to 8. A damaged note does not spoil the picture."""
    try:
        value = image.getexif().get(0x0112, 1)
    except Exception:
        return 1
    return value if value in range(1, 9) else 1


def strips(image: Image.Image) -> Iterator[Image.Image]:
    """The upright picture from top to bottom, RGB in sRGB, transparent parts white. Its memory is not copied."""
    turn, (width, height), to_rgb = orientation(image), upright_size(image), converter(image)
    rows = max(1, STRIP // width)
    for top in range(0, height, rows):
        low, high = top, min(top + rows, height)
        if turn in (3, 4, 7, 8):  # the picture's last row or column comes first
            low, high = height - high, height - low
        box = (low, 0, high, width) if turn in SWAPPED else (0, low, width, high)
        strip = to_rgb(image.crop(box))
        yield strip.transpose(FROM_CORNER[turn]) if turn > 1 else strip


def is_plain(image: Image.Image) -> bool:
    """Whether a picture is what `strips` would give, as it is."""
    return image.mode == "RGB" and not image.has_transparency_data and orientation(image) == 1 and not _cms(image)


def converter(image: Image.Image) -> Strip:
    """What makes parts of a picture RGB in sRGB."""
    to_eight = _eight_bits(image) if image.mode.startswith(("I", "F")) else None
    mode = "L" if to_eight else _colours(image)
    to_srgb = _cms(image, mode)

    def convert(strip: Image.Image) -> Image.Image:
        strip = to_eight(strip) if to_eight else strip
        alpha = strip.convert("RGBA").getchannel("A") if strip.has_transparency_data else None
        strip = strip if strip.mode == mode else strip.convert(mode)
        strip = ImageCms.applyTransform(strip, to_srgb) if to_srgb else strip.convert("RGB")
        return Image.composite(strip, Image.new("RGB", strip.size, "white"), alpha) if alpha else strip

    return convert


def _colours(image: Image.Image) -> str:
    """The mode that holds a picture's colours without alpha and palette."""
    if image.mode in ("1", "L", "LA", "La"):
        return "L"
    return image.mode if image.mode in ("CMYK", "LAB") else "RGB"


def _eight_bits(image: Image.Image) -> Strip:
    """Greys of 16 or 32 bits, which Pillow would clip, scaled to 8; of 32 bits any part may be in use."""
    import numpy as np  # a quarter of the program's start, which other pictures need not wait for

    def numbers(strip: Image.Image) -> np.ndarray:
        return np.nan_to_num(np.asarray(strip, dtype=np.float32))

    rows = max(1, STRIP // image.width)
    boxes = [(0, top, image.width, min(top + rows, image.height)) for top in range(0, image.height, rows)]
    most = max(float(numbers(image.crop(box)).max()) for box in boxes)
    scales = (65535,) if image.mode.startswith("I;16") else (1, 255, 65535)
    white = next((scale for scale in scales if most <= scale), most)
    return lambda strip: Image.fromarray(np.rint(numbers(strip) * (255 / white)).clip(0, 255).astype(np.uint8))


def _cms(image: Image.Image, mode: str | None = None) -> ImageCms.ImageCmsTransform | None:
    """From the profile that a picture carries to sRGB; None where there is none that fits, or it is sRGB anyway."""
    mode, profile = mode or _colours(image), image.info.get("icc_profile")
    if not profile and mode != "LAB":
        return None
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile) if profile else ImageCms.createProfile("LAB"))
        if source.profile.xcolor_space.strip() != {"L": "GRAY", "LAB": "Lab"}.get(mode, mode):
            return None
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
        return None if mode in ("L", "RGB") and _changes_nothing(transform, mode) else transform
    except Exception:  # a damaged profile does not spoil the picture
        return None


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    levels = range(0, 256, 15)
    if mode == "L":
        samples, step = bytes(levels), 1
    else:
        samples, step = bytes(v for r in levels[::2] for g in levels[::2] for b in levels[::2] for v in (r, g, b)), 3
    before = Image.frombytes(mode, (len(samples) // step, 1), samples)
    after = ImageCms.applyTransform(before, transform).tobytes()
    return max(abs(a - b) for a, b in zip(before.convert("RGB").tobytes(), after, strict=True)) <= 1


def main() -> None:
    """Answer for the file that is standard input."""
    out = sys.stdout.buffer
    warnings.simplefilter("ignore")
    try:
        _limit()
        image = open_checked(sys.stdin.buffer)
        image.load()
        width, height = upright_size(image)
        pixels = strips(image)
        first = next(pixels)
    except Refused as refused:
        out.write(f"!{refused}\n".encode())
    except MemoryError:
        out.write(b"!This picture takes too much memory to read; please save it smaller, as a JPEG file.\n")
    except Exception:  # the decoders raise nearly anything for a broken file
        out.write(b"!\n")
    else:
        out.write(b"%d %d\n" % (width, height))
        out.write(first.tobytes())
        for strip in pixels:
            out.write(strip.tobytes())


def _limit() -> None:
    try:
        import resource
    except ImportError:  # Windows has none; there the clock alone ends it
        return
    limits = {resource.RLIMIT_DATA: MOST_BYTES, resource.RLIMIT_CPU: MOST_SECONDS, resource.RLIMIT_CORE: 0}
    for kind, most in limits.items():
        with contextlib.suppress(ValueError, OSError):  # a stricter limit is there already, or macOS knows no such one
            resource.setrlimit(kind, (most, most))


if __name__ == "__main__":
    main()
