"""Makes hostile uploads and texts, always the same ones: `python -m tests.hostile FOLDER` writes them for a look."""

import json
import random
import struct
import sys
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from PIL import Image, features

FORMATS = {
    "jpg": ("JPEG", {"quality": 80}),
    "progressive.jpg": ("JPEG", {"progressive": True}),
    "png": ("PNG", {}),
    "webp": ("WEBP", {"method": 0}),
    "lossless.webp": ("WEBP", {"method": 0, "lossless": True}),
    "gif": ("GIF", {}),
    "bmp": ("BMP", {}),
    "tif": ("TIFF", {}),
    "lzw.tif": ("TIFF", {"compression": "tiff_lzw"}),
    "deflate.tif": ("TIFF", {"compression": "tiff_deflate"}),
    "avif": ("AVIF", {"speed": 10}),
    # Formats that Pillow writes and the studio does not read.
    "ico": ("ICO", {}),
    "jp2": ("JPEG2000", {}),
    "ppm": ("PPM", {}),
    "tga": ("TGA", {}),
    "pcx": ("PCX", {}),
    "sgi": ("SGI", {}),
    "dds": ("DDS", {}),
    "icns": ("ICNS", {}),
    "eps": ("EPS", {}),
    "pdf": ("PDF", {}),
    "im": ("IM", {}),
    "msp": ("MSP", {}),
    "xbm": ("XBM", {}),
}
READ = {"JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"}
OPTIONAL = {"AVIF": "avif", "WEBP": "webp", "JPEG2000": "jpg_2000"}
MODES = ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I", "I;16", "F"]

Upload = tuple[str, bytes]
"""A file's name and content."""


def saved(image: Image.Image, file_format: str, **options) -> bytes:
    file = BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def small_photo() -> Image.Image:
    """Nothing that could be taken for a face, with something in every place."""
    return Image.merge("RGB", [Image.linear_gradient("L").rotate(turn).resize((48, 40)) for turn in (0, 90, 180)])


def pictures(rng: random.Random) -> Iterator[Upload]:
    """Every format whole, cut short, with flipped bits and with the ending of another."""
    for ending, (name, options) in FORMATS.items():
        if name in OPTIONAL and not features.check(OPTIONAL[name]):
            continue
        whole = saved(small_photo().convert("1" if name in ("MSP", "XBM") else "RGB"), name, **options)
        yield f"whole.{ending}", whole
        yield f"renamed-{ending}.png", whole
        for share in (0.02, 0.3, 0.9):
            yield f"cut-{share}.{ending}", whole[: int(share * len(whole))]
        for number in range(5 if name in READ else 2):
            flipped = bytearray(whole)
            for _ in range(4**number):
                flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
            yield f"flipped-{number}.{ending}", bytes(flipped)
        head = bytearray(whole)
        for place in range(min(64, len(head))):
            head[place] = rng.randrange(256) if rng.random() < 0.2 else head[place]
        yield f"head.{ending}", bytes(head)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, content: bytes, *more: bytes, depth: int = 8, colour: int = 2) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


def bombs() -> Iterator[Upload]:
    """Small files that say they are huge, or are."""
    zeros = zlib.compress(bytes(30_000_000), 9)
    for width, height in ((2**31 - 1, 2**31 - 1), (2**31, 1), (100_000, 100_000), (0, 0), (1, 2**30), (16_384, 4_883)):
        yield f"bomb-{width}x{height}.png", png(width, height, zeros)
    yield "within-bounds.png", png(3_000, 3_000, zlib.compress(bytes(3_000 * 9_001), 9))
    deep = zlib.compress(bytes(8 * 2_000 * 2_000 + 2_000), 9)
    yield "sixteen-bits.png", png(2_000, 2_000, deep, depth=16, colour=6)
    text = zlib.compress(b"A" * 50_000_000, 9)
    for kind in (b"zTXt", b"iCCP"):
        yield f"text-{kind.decode()}.png", png(64, 64, zeros[:99], chunk(kind, b"key\0\0" + text))
    yield "itxt.png", png(64, 64, zeros[:99], chunk(b"iTXt", b"key\0\1\0\0\0" + text))
    yield "many-chunks.png", png(64, 64, zeros[:99], *[chunk(b"tEXt", b"a\0b")] * 20_000)
    yield "wide.png", saved(Image.new("1", (60_000, 33)), "PNG")
    yield "one.png", saved(Image.new("RGB", (1, 1)), "PNG")
    yield "line.png", saved(Image.new("L", (16_384, 1)), "PNG")
    yield "large.gif", b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + b"\x80\0\0" + bytes(6) + b";"
    frames = [Image.new("L", (64, 64), shade) for shade in range(200)]
    yield "frames.gif", saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    yield "pages.tif", saved(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    yield "large.bmp", b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, 2**30, -(2**30), 1, 24, 0, 0, 0, 0, 0, 0)
    strips = struct.pack("<2sHIH", b"II", 42, 8, 4) + b"".join(
        struct.pack("<HHII", tag, 4, 1, value) for tag, value in ((256, 2**31), (257, 2**31), (273, 8), (279, 2**31))
    )
    yield "large.tif", strips + bytes(4)
    looped = struct.pack("<2sHIH", b"II", 42, 8, 0) + struct.pack("<I", 8)
    yield "loop.tif", looped
    yield "large.jpg", saved(small_photo(), "JPEG").replace(struct.pack(">HH", 40, 48), b"\xff\xff\xff\xff")


def odd_pictures() -> Iterator[Upload]:
    """Every mode in every format that holds it, and what cameras note, damaged."""
    for mode in MODES:
        for ending, name in (("png", "PNG"), ("tif", "TIFF"), ("jpg", "JPEG"), ("gif", "GIF")):
            try:
                yield f"mode-{mode.replace(';', '-')}.{ending}", saved(Image.new(mode, (48, 40)), name)
            except (OSError, ValueError, KeyError):
                continue
    for number, notes in enumerate(
        (b"", b"\0", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0II*\0\x08\0\0\0\xff\xff" * 99)
    ):
        yield f"exif-{number}.jpg", saved(small_photo(), "JPEG", exif=notes)
    endless = Image.fromarray(__import__("numpy").full((40, 48), float("nan"), "float32"))
    yield "nan.tif", saved(endless, "TIFF")


def no_pictures(rng: random.Random) -> Iterator[Upload]:
    """Files of other kinds with the endings of pictures, and names that lead elsewhere."""
    kinds = {
        "empty": b"",
        "zeros": bytes(1000),
        "noise": rng.randbytes(5000),
        "text": b"A face, in words only.",
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script><image href="file:///etc/passwd"/></svg>',
        "html": b"<html><script>alert(1)</script></html>",
        "program": b"\x7fELF" + rng.randbytes(200),
        "script": b"#!/bin/sh\nrm -rf /tmp/x\n",
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9999 9999\n{} loop\n",
        "zip": b"PK\3\4" + rng.randbytes(200),
        "pickle": b"cos\nsystem\n(S'true'\ntR.",
        "php": b"\xff\xd8\xff\xe0<?php system($_GET['c']); ?>",
        "heic": b"\0\0\0\x18ftypheic" + rng.randbytes(100),
        "fits": b"SIMPLE  =                    T" + bytes(2850),
        "wmf": b"\xd7\xcd\xc6\x9a" + bytes(100),
    }
    for name, content in kinds.items():
        for ending in ("jpg", "png"):
            yield f"{name}.{ending}", content
    whole = saved(small_photo(), "PNG")
    for name in (
        "../../../etc/passwd.png",
        "a\0b.png",
        "‮gnp.exe",
        "x" * 300 + ".png",
        "<b>.png",
        "%2e%2e%2f.png",
        "CON",
    ):
        yield name, whole


def latents(rng: random.Random) -> Iterator[Upload]:
    """Damaged safetensors."""

    def file(header: object, data: bytes = b"", length: int | None = None) -> bytes:
        head = header if isinstance(header, bytes) else json.dumps(header).encode()
        return struct.pack("<Q", len(head) if length is None else length) + head + data

    def tensor(dtype: str, shape: list, *offsets: int) -> dict:
        return {"w_plus": {"dtype": dtype, "shape": shape, "data_offsets": list(offsets)}}

    right = file(tensor("F32", [1, 14, 512], 0, 28_672), bytes(28_672))
    yield "none.safetensors", b""
    yield "short.safetensors", b"\1"
    for length in (0, 1, 2**20, 2**63, 2**64 - 1):
        yield f"length-{length}.safetensors", file({}, b"", length)
    for number, header in enumerate((b"{", b"[]", b"null", b"\xff" * 40, b'{"w_plus": 3}', b"{" * 5000, {"a": {}})):
        yield f"header-{number}.safetensors", file(header)
    shapes = ([1], [0], [1, 0, 512], [2**40], [2**63, 2**63], [-1], [], [1, 1, 1], [1] * 70)
    for number, shape in enumerate(shapes):
        yield f"shape-{number}.safetensors", file(tensor("F32", shape, 0, 4), bytes(4))
    for dtype, size in (("F64", 8), ("F16", 2), ("BF16", 2), ("I64", 8), ("BOOL", 1), ("F8_E4M3", 1), ("X", 4)):
        data = bytes(7168 * size)
        yield f"type-{dtype}.safetensors", file(tensor(dtype, [1, 14, 512], 0, len(data)), data)
    for number, value in enumerate((float("nan"), float("inf"), -3e38)):
        data = struct.pack("<f", value) * 7168
        yield f"value-{number}.safetensors", file(tensor("F32", [1, 14, 512], 0, len(data)), data)
    yield "offsets.safetensors", file(tensor("F32", [1, 14, 512], 100, 50), bytes(100))
    yield "large.safetensors", file(tensor("F32", [5 * 2**18], 0, 5 * 2**20), bytes(5 * 2**20))
    for share in (0.001, 0.1, 0.99):
        yield f"cut-{share}.safetensors", right[: int(share * len(right))]
    for number in range(6):
        flipped = bytearray(right)
        for _ in range(number + 1):
            flipped[rng.randrange(90)] ^= 1 << rng.randrange(8)
        yield f"flipped-{number}.safetensors", bytes(flipped)
    yield "picture.safetensors", saved(small_photo(), "PNG")


def texts(rng: random.Random) -> Iterator[str]:
    """Words that nobody would say to a face editor."""
    yield from (
        "",
        " ",
        "\t\n",
        "\0",
        "\x1b[2J\x07",
        "\u200b\u200d\ufeff",
        "".join(map(chr, range(32))),
        "\x7f\x80\x9f",
    )
    yield from ("../../etc/passwd", "/etc/passwd", "file:///etc/passwd", "C:\\Windows\\win.ini", "\\\\host\\share")
    yield from ("<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "&lt;b&gt;", "]]>", "javascript:alert(1)")
    yield from (
        "'; DROP TABLE faces; --",
        "{{7*7}}",
        "${jndi:ldap://x}",
        "%s%n%x",
        "{}",
        "{0.__class__}",
        "$(id)",
        "`id`",
    )
    yield from (
        "وجه بشعر أشقر",
        "פנים מחייכות",
        "‮ecaf a‬",
        "مر" * 200,
        "顔",
        "😀" * 300,
        "👩‍👩‍👧‍👦",
        "e" + "\u0301" * 500,
    )
    yield from (
        "a" * 1000,
        "a" * 1001,
        "face " * 5000,
        "x" * 200_000,
        "\n" * 900,
        "ﷺ" * 500,
        "ß" * 999,
        "İ" * 999,
        "nan",
        "None",
    )
    yield from (
        "\ud800",
        "face \udfff",
        "\udc80" * 50,
        "\ud83d face",
        "null",
        "true",
        "[]",
        '{"path": "/etc/passwd"}',
        "\uffff",
    )
    yield from (
        "<|endoftext|>",
        "<|startoftext|>" * 90,
        "<start_of_text>",
        "!" * 76,
        "!" * 300,
        "\\u0000",
        "a\rb",
        "\u2028",
    )
    for _ in range(10):
        yield "".join(
            chr(rng.choice((rng.randrange(128), rng.randrange(0x3000), rng.randrange(0xD800)))) for _ in range(60)
        )


def uploads() -> list[Upload]:
    """All hostile files that are sent as photos."""
    rng = random.Random(0)
    return [*pictures(rng), *bombs(), *odd_pictures(), *no_pictures(rng)]


def main() -> None:
    """Write everything into a folder."""
    folder, rng = Path(sys.argv[1]), random.Random(0)
    folder.mkdir(parents=True, exist_ok=True)
    files = [*uploads(), *latents(rng), *((f"{i}.txt", ascii(t).encode()) for i, t in enumerate(texts(rng)))]
    for number, (name, content) in enumerate(files):
        harmless = "".join(c for c in name if c.isascii() and (c.isalnum() or c in ".-"))[-60:]
        (folder / f"{number:03}-{harmless}").write_bytes(content)
    print(f"{len(files)} files in {folder}")


if __name__ == "__main__":
    main()
