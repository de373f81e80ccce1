"""Colour profiles (ICC, version 2), made here because none may be assumed on the machine."""

import struct

D50 = (0.9642, 1.0, 0.8249)
# Columns of the matrix to XYZ under D50: red, green and blue.
DISPLAY_P3 = ((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841))
ADOBE_RGB = ((0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446))


def rgb(columns, gamma: float) -> bytes:
    """A profile of an RGB space with one gamma."""
    curve = b"curv" + struct.pack(">IIH", 0, 1, round(gamma * 256)) + bytes(2)
    tags = {f"{c}XYZ".encode(): _xyz(column) for c, column in zip("rgb", columns, strict=True)}
    tags |= {f"{c}TRC".encode(): curve for c in "rgb"}
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags | {b"wtpt": _xyz(D50)})


def grey(gamma: float) -> bytes:
    curve = b"curv" + struct.pack(">IIH", 0, 1, round(gamma * 256)) + bytes(2)
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": curve, b"wtpt": _xyz(D50)})


def inks() -> bytes:
    """A CMYK profile with a table of two steps an ink: paper is white, and every ink and mixture a middle grey."""
    straight = bytes(range(256))
    table = bytes(v for corner in range(16) for v in ((255, 128, 128) if corner == 0 else (128, 128, 128)))
    unit = b"".join(struct.pack(">i", 65536 if i % 4 == 0 else 0) for i in range(9))
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + unit + straight * 4 + table + straight * 3
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": lut, b"wtpt": _xyz(D50)})


def _xyz(values) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(struct.pack(">i", round(v * 65536)) for v in values)


def _profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    tags = {b"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78)} | tags
    table, data, start = b"", b"", 128 + 4 + 12 * len(tags)
    for name, tag in tags.items():
        table += name + struct.pack(">II", start + len(data), len(tag))
        data += tag + bytes(-len(tag) % 4)
    body = struct.pack(">I", len(tags)) + table + data
    header = struct.pack(">I4sI4s4s4s", 128 + len(body), b"test", 0x02400000, kind, space, connection)
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    return header + b"".join(struct.pack(">i", round(v * 65536)) for v in D50) + bytes(48) + body
