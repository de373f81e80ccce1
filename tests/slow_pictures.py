"""Files that are small and cost much: time by scans, frames or chunks, memory by pixels, depth or packed notes."""

import io
import struct
import zlib
from collections.abc import Callable

from PIL import Image

MEGAPIXELS = {50: (8160, 6120), 12: (4000, 3000)}


def saved(image: Image.Image, file_format: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(size: tuple[int, int], depth: int, colour: int, notes: bytes = b"", interlaced: int = 0) -> bytes:
    """A black PNG; `notes` are chunks before the pixels. `colour`: 0 grey, 2 RGB, 6 RGBA."""
    width, height = size
    row = 1 + width * depth // 8 * {0: 1, 2: 3, 6: 4}[colour]
    packer, data = zlib.compressobj(1), b""
    for _ in range(height):
        data += packer.compress(bytes(row))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced))
    return b"\x89PNG\r\n\x1a\n" + header + notes + chunk(b"IDAT", data + packer.flush()) + chunk(b"IEND", b"")


def jpeg_of_scans(size: tuple[int, int], scans: int, colour: str = "L") -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    file = saved(Image.new(colour, size, 90), "JPEG", progressive=True)
    last = file.rindex(b"\xff\xda")
    tables = max(file.rfind(b"\xff\xc4", 0, last), 0)
    assert tables
    return file[:last] + file[last:-2] * scans + b"\xff\xd9"


def tiff_of_tags(count: int) -> bytes:
    tags = b"".join(struct.pack("<HHII", 1000 + i % 60000, 3, 1, 0) for i in range(count))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", count) + tags + bytes(4)


def frames(file_format: str, size: tuple[int, int], count: int) -> bytes:
    pictures = [Image.new("L", size, number % 256) for number in range(count)]
    return saved(pictures[0], file_format, save_all=True, append_images=pictures[1:], duration=10)


SMALL = (90, 70)
BOMB = zlib.compress(bytes(900_000), 9)

# Of a kind that fits into the limits and takes long or much memory to read, or is refused.
PICTURES: dict[str, Callable[[], bytes]] = {
    "jpeg, 12 megapixels, 20,500 scans": lambda: jpeg_of_scans(MEGAPIXELS[12], 20_500),
    "jpeg, 12 megapixels, 500 scans": lambda: jpeg_of_scans(MEGAPIXELS[12], 500),
    "jpeg, small, 200,000 scans": lambda: jpeg_of_scans(SMALL, 200_000),
    "jpeg, 50 megapixels, progressive": lambda: jpeg_of_scans(MEGAPIXELS[50], 1, "RGB"),
    "jpeg, 50 megapixels, inks": lambda: saved(Image.new("CMYK", MEGAPIXELS[50]), "JPEG"),
    "jpeg of a million segments": lambda: (
        b"\xff\xd8" + b"\xff\xfe\0\2" * 10**6 + saved(Image.new("L", SMALL), "JPEG")[2:]
    ),
    "png, 50 megapixels, grey of 16 bits": lambda: png(MEGAPIXELS[50], 16, 0),
    "png, 50 megapixels, RGBA of 16 bits": lambda: png(MEGAPIXELS[50], 16, 6),
    "png, 50 megapixels, RGBA": lambda: png(MEGAPIXELS[50], 8, 6),
    "png, 50 megapixels, interlaced": lambda: saved_interlaced(MEGAPIXELS[50]),
    "png of a million chunks": lambda: png(SMALL, 8, 2, chunk(b"tEXt", b"a\0") * 10**6),
    "png of packed texts": lambda: png(SMALL, 8, 2, b"".join(chunk(b"zTXt", b"a\0\0" + BOMB) for _ in range(300))),
    "png of packed international texts": lambda: png(
        SMALL, 8, 2, b"".join(chunk(b"iTXt", b"a\0\1\0\0\0" + BOMB) for _ in range(300))
    ),
    "png with a packed profile": lambda: png(SMALL, 8, 2, chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(10**8), 9))),
    "tiff, 50 megapixels of floats": lambda: saved(Image.new("F", MEGAPIXELS[50]), "TIFF", compression="tiff_deflate"),
    "tiff, 50 megapixels of inks": lambda: saved(Image.new("CMYK", MEGAPIXELS[50]), "TIFF", compression="tiff_lzw"),
    "tiff of 60,000 tags": lambda: tiff_of_tags(60_000),
    "webp, 50 megapixels": lambda: saved(Image.new("RGB", MEGAPIXELS[50]), "WEBP", method=0),
    "webp, 24 megapixels": lambda: saved(Image.new("RGB", (6000, 4000)), "WEBP", method=0),
    "webp of 300 frames": lambda: frames("WEBP", (600, 600), 300),
    "avif, 24 megapixels": lambda: saved(Image.new("RGB", (6000, 4000)), "AVIF", speed=10),
    "gif, 50 megapixels": lambda: saved(Image.new("P", MEGAPIXELS[50]), "GIF"),
    "gif of 3,000 frames": lambda: frames("GIF", (200, 200), 3000),
    "bmp, 16 megapixels": lambda: saved(Image.new("L", (4000, 4000)), "BMP"),
}


def saved_interlaced(size: tuple[int, int]) -> bytes:
    """A black interlaced PNG (Adam7), which a decoder goes over seven times."""
    width, height = size
    packer, data = zlib.compressobj(1), b""
    for x, y, dx, dy in (
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ):
        columns, rows = -(-(width - x) // dx), -(-(height - y) // dy)
        for _ in range(rows):
            data += packer.compress(bytes(1 + 3 * columns))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", data + packer.flush()) + chunk(b"IEND", b"")
