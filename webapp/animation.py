"""A loop from before to after and back, as GIF or MP4."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
from PIL import Image

MOMENTS, PER_SECOND = 20, 20  # pictures from before to after
REST = 8  # pictures for which the loop stands still at either end
SIDE = 512  # pixels, at most
SHADES = 255  # of a GIF


def shares() -> list[float]:
    """How far along each picture is, from 0 to 1: slow at the ends."""
    return [0.5 - 0.5 * math.cos(math.pi * i / (MOMENTS - 1)) for i in range(MOMENTS)]


def small(picture: Image.Image) -> Image.Image:
    """A picture at the size of the loop, with sides that a video can have."""
    scale = min(1.0, SIDE / max(picture.size))
    width, height = (2 * round(side * scale / 2) for side in picture.size)
    return picture if picture.size == (width, height) else picture.resize((width, height), Image.Resampling.LANCZOS)


def write(pictures: Sequence[Image.Image], path: Path) -> None:
    """Write the loop over `pictures`, from before to after, in the format that the file's name says."""
    loop = [*[pictures[0]] * REST, *pictures, *[pictures[-1]] * REST, *pictures[-2:0:-1]]
    if path.suffix == ".gif":
        _gif(loop, path)
    else:
        _mp4(loop, path)


def _gif(loop: list[Image.Image], path: Path) -> None:
    """One palette for all, so that what stands still does not flicker."""
    sheet = Image.new("RGB", (loop[0].width * 2, loop[0].height))
    sheet.paste(loop[0], (0, 0))
    sheet.paste(loop[REST + MOMENTS], (loop[0].width, 0))
    palette = sheet.quantize(SHADES, Image.Quantize.MEDIANCUT)
    frames = [picture.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for picture in loop]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=1000 // PER_SECOND, loop=0)


def _mp4(loop: list[Image.Image], path: Path) -> None:
    with av.open(path, "w") as video:
        stream = video.add_stream("libx264", rate=Fraction(PER_SECOND), options={"crf": "18"})
        stream.width, stream.height = loop[0].size
        stream.pix_fmt = "yuv420p"
        for picture in loop * 2:
            for packet in stream.encode(av.VideoFrame.from_image(picture)):
                video.mux(packet)
        for packet in stream.encode():
            video.mux(packet)
