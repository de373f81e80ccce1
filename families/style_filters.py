# ruff: noqa: E501
"""Styles that CLIP learns by name, as filters over photographs and drawings of faces.

Each filter draws its own numbers at random, so that what it makes differs from call to call as works in that style do,
and CLIP learns the style and not one filter. Pictures are float32 (H, W, 3) in [0, 1].
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.random import Generator
from scipy import ndimage

Picture = np.ndarray
Filter = Callable[[Picture, Generator], Picture]

GREY = np.array([0.299, 0.587, 0.114], np.float32)  # luma of Rec. 601


def grey_of(picture: Picture) -> np.ndarray:
    """Luma (H, W)."""
    return picture @ GREY


def blurred(values: np.ndarray, share: float) -> np.ndarray:
    """Gaussian blur with a deviation of `share` of the picture's height."""
    sigma = share * len(values)
    return ndimage.gaussian_filter(values, (sigma, sigma) + (0,) * (values.ndim - 2), mode="nearest")


def noise(size: tuple[int, int], share: float, rng: Generator) -> np.ndarray:
    """Smooth noise (H, W) of unit deviation, with features about `share` of the picture's height wide."""
    values = blurred(rng.standard_normal(size).astype(np.float32), share)
    return (values - values.mean()) / max(values.std(), 1e-6)


def stretched(grey: np.ndarray, low: float = 2, high: float = 98) -> np.ndarray:
    """Tones spread so that these percentiles become 0 and 1."""
    dark, light = np.percentile(grey, (low, high))
    return ((grey - dark) / max(light - dark, 1e-3)).clip(0, 1)


def saturated(picture: Picture, factor: float) -> Picture:
    """Colours `factor` times as strong."""
    grey = grey_of(picture)[..., None]
    return (grey + (picture - grey) * factor).clip(0, 1)


def edges(grey: np.ndarray, share: float, sharpness: float = 12) -> np.ndarray:
    """Dark lines between tones, (H, W), 0 to 1: a difference of Gaussians, of which only what is clearly dark counts."""
    difference = blurred(grey, share) - blurred(grey, 1.6 * share)
    return (1 - np.exp(sharpness * 8 * np.minimum(difference + 0.018, 0))).clip(0, 1)


def contours(grey: np.ndarray, share: float) -> np.ndarray:
    """Strength of the outlines (H, W): the gradient of the blurred picture, 0 to 1."""
    soft = blurred(grey, share)
    gradient = np.hypot(ndimage.sobel(soft, 0), ndimage.sobel(soft, 1))
    return (gradient / max(np.percentile(gradient, 97), 1e-6)).clip(0, 1)


def painted(picture: Picture, share: float) -> Picture:
    """Kuwahara's filter: each pixel gets the mean of the most even of the four squares that it is a corner of."""
    radius = max(1, round(share * len(picture)))
    size = radius + 1
    best = np.full(picture.shape[:2], np.inf, np.float32)
    out = picture.copy()
    for dy in (0, 1):
        for dx in (0, 1):
            shift = (radius // 2 - dy * radius, radius // 2 - dx * radius)
            origin = tuple(int(np.clip(s, -((size - 1) // 2), (size - 1) // 2)) for s in shift)
            means = ndimage.uniform_filter(picture, (size, size, 1), origin=(*origin, 0), mode="nearest")
            squares = ndimage.uniform_filter(picture**2, (size, size, 1), origin=(*origin, 0), mode="nearest")
            variance = (squares - means**2).sum(2)
            chosen = variance < best
            best, out = np.where(chosen, variance, best), np.where(chosen[..., None], means, out)
    return out


def palette(picture: Picture, colours: int, rng: Generator) -> Picture:
    """The picture in its own most typical colours, by six rounds of k-means."""
    pixels = picture.reshape(-1, 3)
    some = pixels[rng.choice(len(pixels), min(len(pixels), 3000), replace=False)]
    centres = some[rng.choice(len(some), colours, replace=False)]
    for _ in range(6):
        nearest = ((some[:, None] - centres) ** 2).sum(2).argmin(1)
        centres = np.stack([some[nearest == k].mean(0) if (nearest == k).any() else centres[k] for k in range(colours)])
    distances = (pixels**2).sum(1, keepdims=True) - 2 * pixels @ centres.T + (centres**2).sum(1)
    return centres[distances.argmin(1)].reshape(picture.shape).astype(np.float32)


def _uniform(rng: Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def _paper(size: tuple[int, int], rng: Generator, warmth: float = 0.06) -> Picture:
    """Blank paper (H, W, 3)."""
    warm = _uniform(rng, 0, warmth)
    tint = np.array([1, 1 - warm, 1 - 2 * warm], np.float32)
    grain = _uniform(rng, 0.005, 0.02) * noise(size, 0.004, rng) + 0.01 * noise(size, 0.1, rng)
    return ((_uniform(rng, 0.93, 1) + grain)[..., None] * tint).clip(0, 1)


def pencil(picture: Picture, rng: Generator) -> Picture:
    """A pencil sketch: dark lines and slanted strokes in the shadows, on paper."""
    grey = stretched(grey_of(picture))
    dodge = (grey / (blurred(grey, _uniform(rng, 0.008, 0.025)) + 0.02)).clip(0, 1) ** _uniform(rng, 1.2, 2.5)
    strokes = rng.standard_normal(grey.shape).astype(np.float32)
    angle = _uniform(rng, -70, -20) * rng.choice((-1, 1))
    strokes = ndimage.rotate(strokes, angle, reshape=False, mode="reflect", order=1)
    strokes = ndimage.uniform_filter1d(strokes, max(3, len(grey) // 14), axis=0)
    strokes = ndimage.rotate(strokes, -angle, reshape=False, mode="reflect", order=1)
    strokes /= strokes.std()
    shade = _uniform(rng, 0.1, 0.55) * (1 - grey) ** 1.3 * (0.6 + 0.4 * strokes)
    lines = _uniform(rng, 0.3, 0.8) * edges(grey, _uniform(rng, 0.004, 0.008))
    ink = (1 - dodge * (1 - shade.clip(0, 1)) * (1 - lines)).clip(0, 1)
    lead = np.array([0.2, 0.2, 0.23], np.float32) + _uniform(rng, -0.1, 0.1)
    paper = _paper(grey.shape, rng)
    return paper + (lead - paper) * (ink * _uniform(rng, 0.8, 1))[..., None]


def charcoal(picture: Picture, rng: Generator) -> Picture:
    """Charcoal: soft black masses, broad lines, the grain of rough paper."""
    size = picture.shape[:2]
    grey = stretched(blurred(grey_of(picture), _uniform(rng, 0.003, 0.009))) ** _uniform(rng, 0.8, 1.5)
    mass = (1 - grey) * _uniform(rng, 0.8, 1.15)
    lines = _uniform(rng, 0.6, 1) * edges(grey, _uniform(rng, 0.01, 0.018), 20)
    grain = _uniform(rng, 0.08, 0.18) * noise(size, _uniform(rng, 0.003, 0.006), rng)
    ink = np.maximum(mass, lines)
    ink = (ink + grain * np.sin(np.pi * ink.clip(0, 1))).clip(0, 1)
    black, paper = np.array([0.09, 0.085, 0.08], np.float32), _paper(size, rng, 0.1) * _uniform(rng, 0.8, 1)
    return paper + (black - paper) * ink[..., None]


def oil(picture: Picture, rng: Generator) -> Picture:
    """An oil painting: strokes of one colour each that catch the light, strong colours, a canvas."""
    share = _uniform(rng, 0.015, 0.03)
    paint = painted(painted(picture, share), 0.6 * share)
    angle = blurred(rng.uniform(-np.pi, np.pi, picture.shape[:2]).astype(np.float32), 0.06) * 40
    rows, columns = np.indices(picture.shape[:2]) / len(picture)
    bristles = np.sin(2 * np.pi * _uniform(rng, 45, 90) * (rows * np.cos(angle) + columns * np.sin(angle)))
    bristles *= blurred(rng.random(picture.shape[:2]).astype(np.float32), 0.01) * 2
    relief = ndimage.sobel(grey_of(paint), 1) + ndimage.sobel(grey_of(paint), 0)
    paint = saturated(paint, _uniform(rng, 1.2, 1.8))
    paint = paint + (_uniform(rng, 0.03, 0.08) * bristles + _uniform(rng, 0.05, 0.15) * relief)[..., None]
    warm = np.array([_uniform(rng, 0, 0.05), 0, -_uniform(rng, 0, 0.06)], np.float32)
    return ((paint - 0.5) * _uniform(rng, 1.0, 1.25) + 0.48 + warm).clip(0, 1)


def watercolour(picture: Picture, rng: Generator) -> Picture:
    """A watercolour: pale washes with dark rims that run a little, and the white of the paper at the border."""
    size = picture.shape[:2]
    reach = _uniform(rng, 0.003, 0.01) * len(picture)
    rows, columns = np.indices(size).astype(np.float32)
    place = [axis + reach * noise(size, 0.03, rng) for axis in (rows, columns)]
    ran = np.stack([ndimage.map_coordinates(picture[..., c], place, order=1, mode="nearest") for c in range(3)], 2)
    wash = palette(painted(ran, _uniform(rng, 0.01, 0.022)), int(rng.integers(10, 20)), rng)
    soft = blurred(wash, 0.004)
    rims = contours(grey_of(wash), 0.003) * _uniform(rng, 0.1, 0.25)
    pale = 1 - (1 - saturated(soft, _uniform(rng, 1.3, 1.8))) * _uniform(rng, 0.6, 0.85)
    flow = _uniform(rng, 0.04, 0.1) * noise(size, _uniform(rng, 0.02, 0.05), rng)
    paint = pale * (1 - rims)[..., None] + flow[..., None] * (1 - pale)
    y, x = rows / size[0] * 2 - 1, columns / size[1] * 2 - 1
    border = np.maximum(abs(x), abs(y)) + 0.05 * noise(size, 0.05, rng)
    cover = (1 - (border - _uniform(rng, 0.8, 1.1)) / 0.12).clip(0, 1)[..., None]
    return (_paper(size, rng, 0.03) * (1 - cover) + paint.clip(0, 1) * cover).clip(0, 1)


def cartoon(picture: Picture, rng: Generator) -> Picture:
    """A cartoon: few flat, strong colours inside black outlines."""
    flat = painted(painted(picture, 0.02), _uniform(rng, 0.015, 0.03))
    flat = saturated(palette(flat, int(rng.integers(5, 11)), rng), _uniform(rng, 1.5, 2.3))
    flat = (blurred(flat, 0.002) * _uniform(rng, 1, 1.2) + _uniform(rng, 0, 0.08)).clip(0, 1)
    lines = edges(stretched(grey_of(picture)), _uniform(rng, 0.006, 0.011), 25)
    return flat * (1 - (lines * 1.5 - 0.25).clip(0, 1) * _uniform(rng, 0.85, 1))[..., None]


def comic(picture: Picture, rng: Generator) -> Picture:
    """A printed comic: halftone dots of a few inks, black shadows and outlines."""
    size = picture.shape[:2]
    base = saturated(palette(painted(picture, 0.02), int(rng.integers(5, 9)), rng), _uniform(rng, 1.6, 2.6))
    grey = stretched(grey_of(picture))
    pitch, angle = _uniform(rng, 0.016, 0.028) * size[0], _uniform(rng, 0.2, 1.3)
    rows, columns = np.indices(size)
    u = (rows * np.cos(angle) + columns * np.sin(angle)) * np.pi / pitch
    v = (columns * np.cos(angle) - rows * np.sin(angle)) * np.pi / pitch
    dots = (np.cos(u) ** 2 + np.cos(v) ** 2) / 2 < (1 - grey) ** 1.2 * _uniform(rng, 0.6, 0.85)
    ink = base * (1 - 0.55 * dots[..., None])
    light = (~dots & (grey > 0.6))[..., None]
    ink = np.where(light, 1 - (1 - ink) * _uniform(rng, 0.3, 0.7), ink)
    black = (grey < _uniform(rng, 0.12, 0.25)) | (edges(grey, _uniform(rng, 0.007, 0.012), 25) > 0.55)
    return blurred(np.where(black[..., None], 0.03, ink).astype(np.float32), 0.0015).clip(0, 1)


def pixels(picture: Picture, rng: Generator) -> Picture:
    """Pixel art: 24 to 56 large squares a side, a few colours."""
    height, width = picture.shape[:2]
    count = int(rng.integers(24, 57))
    rows, columns = (np.arange(n) * count // n for n in (height, width))
    soft = blurred(picture, 0.35 / count)
    centres = [((np.arange(count) + 0.5) * n / count).astype(int) for n in (height, width)]
    small = saturated(soft[np.ix_(*centres)], _uniform(rng, 1.1, 1.7))
    return palette(small, int(rng.integers(8, 25)), rng)[np.ix_(rows, columns)]


def mosaic(picture: Picture, rng: Generator) -> Picture:
    """A mosaic: stones of one colour each, somewhat uneven, with grout between them."""
    size = picture.shape[:2]
    count = int(rng.integers(28, 52))
    y, x = ((np.indices((count, count)) + 0.5 + rng.uniform(-0.33, 0.33, (2, count, count))) / count).reshape(2, -1)
    rows, columns = (y * size[0]).astype(int), (x * size[1]).astype(int)
    seeds = np.ones(size, bool)
    seeds[rows, columns] = False
    distance, (r, c) = ndimage.distance_transform_edt(seeds, return_indices=True)
    stones = saturated(blurred(picture, 0.4 / count), _uniform(rng, 1.1, 1.6))[r, c]
    stone = (r * size[1] + c).astype(np.int64)
    shade = rng.normal(1, _uniform(rng, 0.04, 0.1), stone.max() + 1).astype(np.float32)[stone]
    width = max(1, round(_uniform(rng, 0.08, 0.16) * size[0] / count))
    rim = ndimage.maximum_filter(stone, width + 1) != ndimage.minimum_filter(stone, width + 1)
    dome = 1 - _uniform(rng, 0, 0.25) * (distance / distance.max())
    grout = np.float32(_uniform(rng, 0.1, 0.75))
    return np.where(rim[..., None], grout, (stones * (shade * dome)[..., None]).clip(0, 1)).astype(np.float32)


def engraving(picture: Picture, rng: Generator) -> Picture:
    """An engraving: parallel lines that bend with the forms and swell in the shadows, ink on paper."""
    size = picture.shape[:2]
    grey = stretched(blurred(grey_of(picture), 0.004)) ** _uniform(rng, 0.8, 1.2)
    angle, lines = _uniform(rng, -0.6, 0.6), _uniform(rng, 45, 75)
    rows, columns = np.indices(size) / size[0]
    bend = _uniform(rng, 0.03, 0.07) * blurred(grey, 0.03) + 0.01 * noise(size, 0.1, rng)
    phase = 2 * np.pi * lines * (rows * np.cos(angle) + columns * np.sin(angle) + bend)
    wave = np.sin(phase) / 2 + 0.5
    ink = ((1 - grey) * 1.15 - wave) * _uniform(rng, 4, 8) + 0.3
    crossed = np.sin(2 * np.pi * lines * (columns * np.cos(angle) - rows * np.sin(angle)) + phase / 9) / 2 + 0.5
    ink = np.maximum(ink.clip(0, 1), (((0.55 - grey) * 1.6 - crossed) * 6).clip(0, 1))
    ink = np.maximum(ink, edges(grey, 0.006, 15) * 0.9)
    colour = np.array([0.1, 0.09, 0.08], np.float32) + rng.uniform(0, 0.08, 3).astype(np.float32)
    paper = _paper(size, rng, 0.12)
    return paper + (colour - paper) * (ink.clip(0, 1) * _uniform(rng, 0.85, 1))[..., None]


def sepia(picture: Picture, rng: Generator) -> Picture:
    """An old photograph in brown: faded, with grain and darker corners."""
    grey = stretched(grey_of(picture)) ** _uniform(rng, 0.8, 1.25)
    tones = np.stack([np.interp(grey, (0, 0.5, 1), points) for points in (
        (0.15, 0.62, 0.98), (0.08, 0.47, 0.91), (0.03, 0.31, 0.76))], 2)  # fmt: skip
    strength, fade = _uniform(rng, 0.75, 1.1), _uniform(rng, 0, 0.15)
    out = grey[..., None] + (tones - grey[..., None]) * strength
    y, x = np.indices(grey.shape) / len(grey) * 2 - 1
    out = (out * (1 - fade) + 0.7 * fade) * (1 - _uniform(rng, 0, 0.3) * (x**2 + y**2) / 2)[..., None]
    return (out + _uniform(rng, 0, 0.04) * noise(grey.shape, 0.002, rng)[..., None]).clip(0, 1).astype(np.float32)


def black_and_white(picture: Picture, rng: Generator) -> Picture:
    """A black-and-white photograph: any mixture of the colours, contrast, a little grain."""
    mixture = rng.dirichlet((3, 5, 2)).astype(np.float32)
    grey = stretched(picture @ mixture, _uniform(rng, 0, 3), _uniform(rng, 97, 100)) ** _uniform(rng, 0.8, 1.3)
    grey = (grey - 0.5) * _uniform(rng, 0.9, 1.3) + 0.5 + _uniform(rng, 0, 0.05) * noise(grey.shape, 0.002, rng)
    return np.repeat(grey.clip(0, 1)[..., None], 3, 2)


def neon(picture: Picture, rng: Generator) -> Picture:
    """Neon: glowing outlines in two bright colours on near black."""
    size = picture.shape[:2]
    lines = contours(grey_of(picture), _uniform(rng, 0.003, 0.007)) ** _uniform(rng, 1.2, 2)
    hues = (_uniform(rng, 0, 1) + np.array([0, _uniform(rng, 0.25, 0.6)])) % 1
    inks = [np.clip(abs((hue * 6 + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1).astype(np.float32) for hue in hues]
    mix = 1 / (1 + np.exp(-2.5 * noise(size, 0.15, rng)))[..., None]
    ink = inks[0] * mix + inks[1] * (1 - mix)
    glow = lines + _uniform(rng, 0.5, 1) * blurred(lines, 0.015) + _uniform(rng, 0.2, 0.6) * blurred(lines, 0.04)
    dark = picture * _uniform(rng, 0.05, 0.2) * np.array([0.6, 0.6, 1.2], np.float32)
    core = (lines[..., None] ** 3) * 0.6
    return (dark + ink * glow[..., None] + core).clip(0, 1)


def _carved(picture: Picture, rng: Generator, softness: tuple[float, float]) -> np.ndarray:
    """Tones (H, W) of the face as if it were of one material: local shading counts, its own colours hardly."""
    grey = blurred(grey_of(picture), _uniform(rng, 0.003, 0.007))
    share = _uniform(rng, *softness)
    local = grey - blurred(grey, share)
    return (0.5 + local * _uniform(rng, 1.3, 2) + (blurred(grey, share) - grey.mean()) * 0.35).clip(0, 1)


def marble(picture: Picture, rng: Generator) -> Picture:
    """A marble statue: pale stone with veins, soft light."""
    size = picture.shape[:2]
    tones = _carved(picture, rng, (0.05, 0.12))
    stone = _uniform(rng, 0.62, 0.8) + (tones - 0.5) * _uniform(rng, 0.7, 1)
    veins = np.exp(-((noise(size, 0.09, rng) + 0.2 * noise(size, 0.02, rng)) ** 2) * _uniform(rng, 100, 400))
    stone = stone - _uniform(rng, 0.05, 0.22) * veins + 0.012 * noise(size, 0.003, rng)
    tint = np.array([1, 0.985, 0.955], np.float32) + rng.uniform(-0.02, 0.02, 3).astype(np.float32)
    backdrop = blurred(grey_of(picture), 0.05)[..., None]
    return (stone[..., None] * tint + 0.04 * (backdrop - 0.5)).clip(0, 1).astype(np.float32)


def bronze(picture: Picture, rng: Generator) -> Picture:
    """A bronze statue: dark brown metal with bright reflections, green in the hollows."""
    size = picture.shape[:2]
    tones = (_carved(picture, rng, (0.05, 0.12)) - 0.12).clip(0, 1) ** _uniform(rng, 1.1, 1.6)
    shine = ((tones - _uniform(rng, 0.38, 0.5)) * 3).clip(0, 1) ** 2
    ramp = ((0, 0.35, 0.7, 1), ((0.05, 0.32, 0.68, 0.9), (0.035, 0.2, 0.45, 0.7), (0.025, 0.1, 0.22, 0.42)))
    metal = np.stack([np.interp(tones * 1.35, ramp[0], points) for points in ramp[1]], 2)
    metal = metal + _uniform(rng, 0.15, 0.45) * shine[..., None] * np.array([1, 0.85, 0.6])
    patina = (noise(size, 0.05, rng) + 1.5 * (0.45 - tones)).clip(0, 1)[..., None] * _uniform(rng, 0, 0.45)
    metal = metal * (1 - patina) + np.array([0.25, 0.45, 0.38]) * patina * (0.4 + tones[..., None])
    return (metal + 0.015 * noise(size, 0.004, rng)[..., None]).clip(0, 1).astype(np.float32)


FILTERS: Mapping[str, Filter] = {
    "pencil sketch": pencil,
    "charcoal": charcoal,
    "oil painting": oil,
    "watercolour": watercolour,
    "cartoon": cartoon,
    "comic": comic,
    "pixel art": pixels,
    "mosaic": mosaic,
    "engraving": engraving,
    "sepia": sepia,
    "black and white": black_and_white,
    "neon": neon,
    "marble statue": marble,
    "bronze statue": bronze,
}
"""Style -> the filter that makes it. A photograph is the style without a filter."""
COLOURLESS = frozenset(
    {"pencil sketch", "charcoal", "engraving", "sepia", "black and white", "neon", "marble statue", "bronze statue"}
)
"""Styles in which the colours of hair, skin and lips are not to be seen."""
