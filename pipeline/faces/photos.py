"""Photos opened: any file that may come from anybody, within seconds and a bounded memory."""

from __future__ import annotations

import os
import shutil
import signal
import struct
import sys
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from threading import Timer
from typing import BinaryIO

from PIL import Image

from pipeline.errors import UserError
from pipeline.faces import decode

SECONDS = 8.0  # after which the program that decodes is ended, however little it could compute meanwhile
PLAIN_PIXELS = 25_000_000  # up to here a plain file is decoded in this process, which saves a sixth of a second
PLAIN_SCANS = 200_000_000  # pixels times scans of a JPEG: a progressive one of 16 megapixels has some ten scans
PLAIN_PROFILE = 4096  # bytes of a colour profile, and of any other note: those of cameras and screens are smaller
PLAIN_BYTES = 64 * 2**20
_FORMATS = f"{', '.join(decode.FORMATS[:-1])} or {decode.FORMATS[-1]}"
UNREADABLE = f"This file could not be read as a picture; please choose a {_FORMATS} file."
NOT_HEIC = "This is a photo in HEIC, which this studio can't read; please save it as JPEG, and choose that file."
TOO_SLOW = "This picture takes too long to read; please save it as an ordinary JPEG or PNG file and use that."
# How files of `decode.FORMATS` begin; AVIF with the length of its first box.
KNOWN = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"GIF8", b"BM", b"II", b"MM", b"\0\0\0")
HEIC = (b"ftypheic", b"ftypheix", b"ftyphevc", b"ftypheim", b"ftypheis")  # after the first four bytes
# How the program ends when its time is over.
ENDED = [-number for name in ("SIGKILL", "SIGXCPU") if (number := getattr(signal, name, None))]

Photo = Image.Image | str | Path | BinaryIO


def open_photo(photo: Photo) -> Image.Image:
    """Any picture as an upright RGB image in sRGB, of several frames the first; transparent parts become white.

    `photo` is a PIL image, a path, or a file that is open for reading in binary. The answer is the caller's own, and
    carries no profile or note of the file. A file that could take long or much memory is decoded by another process,
    see `decode`, which is ended after `SECONDS`. Raises UserError when it is not there, cannot be read, is too small or
    too large, and TypeError for what is neither a picture of PIL nor a path nor an open file.
    """
    image = opened(photo)
    return image.copy() if image is photo else image


def opened(photo: Photo) -> Image.Image:
    """As `open_photo`, but an image that needs no change is given back itself, not copied."""
    _check_kind(photo)
    try:
        if isinstance(photo, Image.Image):
            decode.check_size(*photo.size)
            photo.load()
            return photo if decode.is_plain(photo) and not photo.info else _converted(photo)
        with Path(photo).open("rb") if isinstance(photo, str | Path) else nullcontext(photo) as file:
            file.seek(0)
            start = file.read(12)
            if start[4:].startswith(HEIC):
                raise UserError(NOT_HEIC)
            if not start.startswith(KNOWN):
                raise UserError(UNREADABLE)
            file.seek(0)
            plain = is_plain(file)
            file.seek(0)
            return _converted(decode.open_checked(file)) if plain else _decoded_elsewhere(file)
    except decode.Refused as refused:
        raise UserError(str(refused)) from None
    except (UserError, MemoryError):
        raise
    except Exception:  # the decoders raise nearly anything for a broken file
        raise UserError(UNREADABLE) from None


def shrunk(image: Image.Image, side: int) -> Image.Image:
    """A picture with at most `side` pixels a side."""
    share = min(1, side / max(image.size))
    return image.resize([max(1, round(length * share)) for length in image.size], reducing_gap=2)


def _check_kind(photo: Photo) -> None:
    if isinstance(photo, (str, Path)):
        if not os.path.isfile(photo):  # noqa: PTH113  # false for whatever can be no path, too
            kind = "a folder" if os.path.isdir(photo) else "no file"  # noqa: PTH112
            raise UserError(f"“{os.path.basename(photo)}” is {kind}; please give the path of a picture.")  # noqa: PTH119
    elif not isinstance(photo, Image.Image) and not hasattr(photo, "read"):
        makes = {"bytes": "; io.BytesIO makes one of bytes", "ndarray": "; PIL's Image.fromarray makes one of an array"}
        kind = type(photo).__name__
        raise TypeError(f"`photo` is a picture of PIL, a path or an open file, not {kind}{makes.get(kind, '')}.")


def _converted(image: Image.Image) -> Image.Image:
    """In this process."""
    image.load()
    if decode.is_plain(image):
        image = image.copy()
        image.info = {}
        return image
    return _joined(decode.upright_size(image), decode.strips(image))


def _joined(size: tuple[int, int], strips: Iterator[Image.Image]) -> Image.Image:
    image, top = Image.new("RGB", size), 0
    for strip in strips:
        image.paste(strip, (0, top))
        top += strip.height
    return image


def _decoded_elsewhere(file: BinaryIO) -> Image.Image:
    """By `decode` as a program, which is ended when it takes too long."""
    command = [sys.executable, "-P", decode.__file__]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "MALLOC_ARENA_MAX": "1"}
    with (
        tempfile.TemporaryFile() as source,
        Popen(command, stdin=_on_disk(file, source), stdout=PIPE, stderr=DEVNULL, env=environment) as program,
    ):
        clock = Timer(SECONDS, program.kill)
        clock.start()
        try:
            head = program.stdout.readline(1000)
            if head.startswith(b"!"):
                raise UserError(head[1:].decode().strip() or UNREADABLE)
            if head and (image := _received(head, program.stdout)):
                return image
            raise UserError(TOO_SLOW if program.wait() in ENDED else UNREADABLE)
        finally:
            clock.cancel()
            program.kill()


def _on_disk(file: BinaryIO, empty: BinaryIO) -> BinaryIO:
    """A file that another process can read: `file` itself if it is on the disk, else `empty`, with its content."""
    try:
        file.fileno()
        return file
    except OSError:
        shutil.copyfileobj(file, empty)
        empty.seek(0)
        return empty


def _received(head: bytes, pixels: BinaryIO) -> Image.Image | None:
    """The picture that the program writes; None where it ended before."""
    width, height = map(int, head.split())
    rows, image = max(1, decode.STRIP // width), Image.new("RGB", (width, height))
    for top in range(0, height, rows):
        count = min(rows, height - top)
        data = pixels.read(3 * width * count)
        if len(data) < 3 * width * count:
            return None
        image.paste(Image.frombuffer("RGB", (width, count), data), (0, top))
    return image


# Which files are plain: a look at their heads, without a decoder


def is_plain(file: BinaryIO) -> bool:
    """Whether a file is a JPEG or PNG of usual size and build, whose decoding takes no second."""
    content = file.read(PLAIN_BYTES)
    try:
        if content.startswith(b"\xff\xd8\xff"):
            return _plain_jpeg(content)
        return content.startswith(b"\x89PNG\r\n\x1a\n") and _plain_png(content)
    except (struct.error, ValueError):  # cut off, or of an unusual build
        return False


def browsers_show(content: bytes) -> bool:
    """Whether a browser shows a file as `open_photo` reads it: no TIFF, and no JPEG of inks (CMYK)."""
    try:
        jpeg = content.startswith(b"\xff\xd8\xff")
        return _jpeg(content)[3] != 4 if jpeg else not content.startswith((b"II", b"MM"))
    except (struct.error, ValueError):
        return False


def _plain_jpeg(content: bytes) -> bool:
    width, height, profile, _, frame = _jpeg(content)
    pixels, scans = width * height, content.count(b"\xff\xda", frame)
    return profile <= PLAIN_PROFILE and pixels <= PLAIN_PIXELS and pixels * scans <= PLAIN_SCANS


def _jpeg(content: bytes) -> tuple[int, int, int, int, int]:
    """Width, height, bytes of the colour profile, components, and the place of the frame header (SOF) of a JPEG.

    Raises ValueError where there is none among the first 200 segments; a usual file has ten.
    """
    at, profile = 2, 0
    for _ in range(200):
        marker, length = struct.unpack_from(">xBH", content, at)
        if marker == 0xE2 and content.startswith(b"ICC_PROFILE", at + 4):
            profile += length
        if marker in (0xC0, 0xC1, 0xC2):
            height, width, components = struct.unpack_from(">HHB", content, at + 5)
            return width, height, profile, components, at
        at += 2 + length
    raise ValueError("no frame header")


def _plain_png(content: bytes) -> bool:
    width, height, depth = struct.unpack_from(">IIB", content, 16)
    at, usual = 8, {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"tIME", b"bKGD", b"tRNS"}
    notes = 0
    for _ in range(5000):  # chunks; of the usual 8 KB, 40 MB
        length, name = struct.unpack_from(">I4s", content, at)
        notes += length if name not in usual else 0
        if name == b"IEND":
            return depth <= 8 and width * height <= PLAIN_PIXELS and notes <= PLAIN_PROFILE
        if name == b"acTL":
            return False
        at += 12 + length
    return False
