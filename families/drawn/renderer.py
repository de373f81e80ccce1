"""The face renderer: batched torch, layered shapes with analytic anti-aliasing over a shaded height field.

`render` draws faces with known attributes, already aligned as FFHQ aligns photographs, in layers from back to front.
A shape is an implicit function: negative inside, in units of the picture's half side.
"""

import torch
from torch import Tensor

from families.drawn import hair
from families.drawn.attributes import Attributes
from families.drawn.geometry import EYE_X, EYE_Y, HEAD_Y, MOUTH_Y, Geometry
from families.drawn.shapes import Canvas, bump, cover, ellipse, hue, shade, slopes, soft, stroke
from pipeline.networks.parts import PARTS


def render(attributes: Attributes, size: int, extent: float = 1.0) -> tuple[Tensor, Tensor]:
    """Draw faces. An `extent` above 1 shows that many times more than FFHQ's aligned crop, as a photograph does.

    Returns images (N, 3, size, size) in [-1, 1] and landmarks (N, 68, 2) in pixels (68 points of the iBUG scheme).
    """
    canvas, geometry = _painted(attributes, size, extent)
    landmarks = (geometry.landmarks() / extent + 1) * (size / 2)
    return canvas.rgb.clamp(0, 1) * 2 - 1, landmarks


def render_parts(attributes: Attributes, size: int) -> Tensor:
    """The share of each pixel that each of `PARTS` has in the aligned faces, (N, P, size, size)."""
    return _painted(attributes, size, 1.0)[0].shares(PARTS)


def _painted(attributes: Attributes, size: int, extent: float) -> tuple[Canvas, Geometry]:
    count = len(attributes["age"])
    a = {name: value.float().view(count, 1, 1) for name, value in attributes.items() if value.ndim == 1}
    a["age_lines"] = soft(0.52, 0.78, a["age"])
    a["age_fold"] = soft(0.40, 0.80, a["age"])
    g = Geometry.of(attributes)
    axis = ((torch.arange(size) + 0.5) * (2 / size) - 1) * extent
    x, y = axis.expand(1, size, size), axis.view(1, size, 1).expand(1, size, size)
    canvas = Canvas(count, size, extent)
    skin = torch.cat([a["skin_r"], a["skin_g"], a["skin_b"]], 1).view(count, 3, 1, 1)
    tuft = torch.cat([a["hair_r"], a["hair_g"], a["hair_b"]], 1).view(count, 3, 1, 1)

    _background(canvas, a, x, y)
    mane = hair.Mane(canvas, a, g, x, y)
    canvas.paint(mane.colour(tuft * 0.7), mane.back * (1 - a["bald"]) * (1 - a["mohawk"]), "hair")
    _body(canvas, a, g, skin, x, y)
    radius, head = _head(canvas, a, g, skin, tuft, x, y)
    _beard(canvas, a, g, tuft, radius, x, y)
    _mouth(canvas, a, g, skin, x, y)
    for side in (-1, 1):
        _eye(canvas, a, g, skin, side, x, y)
    mane.draw_front(canvas, tuft, skin, head)
    for side in (-1, 1):
        _brow(canvas, a, g, tuft, side, x, y)
        _earring(canvas, a, g, side, x, y)
    _eyewear(canvas, a, g, x, y)
    return canvas, g


def _background(canvas: Canvas, a: Attributes, x: Tensor, y: Tensor) -> None:
    colour = torch.stack([a["back_r"], a["back_g"], a["back_b"]], 1)
    glow = 1.12 - 0.38 * ((x - 0.4 * a["light"]).square() + (y + 0.15).square())
    canvas.rgb = colour * glow.clamp(0.3, 1.12)[:, None]


def _body(canvas: Canvas, a: Attributes, g: Geometry, skin: Tensor, x: Tensor, y: Tensor) -> None:
    """Neck with the head's shadow on it, shoulders and collar."""
    half = 0.25 + 0.045 * a["masculine"] + 0.10 * soft(0.72, 1.0, y)
    neck = torch.maximum((x - 0.4 * g.head_x).abs() - half, 0.3 - y)
    round_ = 1 - 0.45 * ((x - 0.12 * a["light"]) / half).square().clamp(max=1.3)
    shadow = 1 - 0.5 * (1 - soft(HEAD_Y + g.chin - 0.03, HEAD_Y + g.chin + 0.2, y))
    canvas.paint(shade(skin * 0.93, round_ * shadow), cover(neck, canvas), "skin")
    collar = 0.80 + 0.16 * soft(0, 0.34, 0.34 - x.abs())
    slope = 0.80 + 0.13 * soft(0.2, 1.0, x.abs())
    cloth = torch.stack([a["cloth_r"], a["cloth_g"], a["cloth_b"]], 1)
    fold = 0.92 + 0.1 * torch.cos(9 * x.abs() + 5 * y) - 0.35 * (x - 0.3 * a["light"]).square()
    edge = torch.maximum(collar, slope)
    canvas.paint(cloth * fold[:, None], cover(edge - y, canvas), "clothes")
    canvas.paint(cloth * 0.7, 0.8 * stroke(y - edge - 0.025, 0.008, canvas) * (x.abs() < 0.36))


def _head(
    canvas: Canvas, a: Attributes, g: Geometry, skin: Tensor, tuft: Tensor, x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    """Ears and the shaded head. Returns the head's radial coordinate (1 on the outline) and its coverage."""
    for side in (-1, 1):
        ear_x = g.head_x + side * (g.half_width + 0.005) - 0.05 * a["yaw"]
        ear = ellipse(x - ear_x, y - 0.08, 0.075, 0.135)
        inner = bump(x - ear_x - side * 0.015, y - 0.075, 0.03, 0.07)
        canvas.paint(shade(skin * 0.95, (0.92 - 0.35 * inner + 0.06 * side * a["light"])), cover(ear, canvas), "skin")

    u = ((x - g.head_x) / g.half_width).abs()
    below = y > HEAD_Y
    v = (y - HEAD_Y).abs() / torch.where(below, g.chin, g.top)
    power = torch.where(below, g.jaw_power, 2.25)
    radius = (u**power + v**power + 1e-6) ** (1 / power)
    head = cover((radius - 1) * 0.55, canvas)

    height = _relief(a, g, radius, x, y)
    light, gloss = _lighting(a, height, canvas.pixel)
    occlusion = 1 - 0.24 * bump(x - g.nose_x, y - g.nose_y - 0.05, 0.085, 0.035)
    occlusion = occlusion - 0.16 * bump(x - g.mouth_x, y - MOUTH_Y - 0.115, 0.12, 0.03)
    for side in (-1, 1):
        occlusion = occlusion - 0.20 * bump(x - side * EYE_X + side * 0.03, y + 0.09, 0.13, 0.05)
        occlusion = occlusion - 0.12 * a["age_lines"] * bump(x - side * 0.245, y - 0.035, 0.10, 0.022)
    red = torch.zeros_like(x)
    for side in (-1, 1):
        red = red + bump(x - side * 0.31 - 0.3 * g.nose_x, y - 0.2, 0.13, 0.10)
    red = red * (0.05 + 0.2 * a["blush"] * (1 - 0.5 * a["masculine"])) + 0.10 * bump(
        x - g.nose_x, y - g.nose_y + 0.02, 0.07, 0.07
    )
    colour = skin * (1 - red[:, None] * torch.tensor([0.0, 0.55, 0.5]).view(1, 3, 1, 1))
    spots = torch.sin(61 * x + 23 * y) * torch.sin(47 * y - 31 * x + 1) + 0.8 * torch.sin(
        29 * x - 67 * y + 2
    ) * torch.sin(73 * x + 37 * y)
    where = bump(x.abs() - 0.24, y - 0.14, 0.15, 0.09) + bump(x, y - 0.06, 0.09, 0.09)
    freckles = a["freckles"] * soft(0.62, 1.0, spots) * where.clamp(max=1)
    colour = colour * (1 - freckles[:, None] * torch.tensor([0.28, 0.42, 0.5]).view(1, 3, 1, 1))
    shaved = a["mohawk"] * soft(-0.30, -0.42, y + 0.25 * (x / g.half_width).square() * -1) * 0.45
    colour = colour * (1 - shaved[:, None]) + tuft * 0.8 * shaved[:, None]
    canvas.paint(shade(colour, light * occlusion) + 0.16 * gloss[:, None], head, "skin")
    for side in (-1, 1):
        nostril = ellipse(x - g.nose_x - side * 0.45 * g.nose_half, y - g.nose_y - 0.022, 0.26 * g.nose_half, 0.011)
        canvas.paint(skin * torch.tensor([0.32, 0.2, 0.18]).view(1, 3, 1, 1), 0.85 * cover(nostril, canvas, 2.5))
    return radius, head


def _relief(a: Attributes, g: Geometry, radius: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Height field (N, H, W) of the face: a dome with nose, sockets, cheeks, lips, chin and the lines of age on it."""
    height = 0.42 * (1 - radius.clamp(max=1) ** 2.6).clamp(min=1e-4).sqrt()
    nose_top = EYE_Y - 0.02
    down = ((y - nose_top) / (g.nose_y - nose_top)).clamp(0, 1)
    ridge = 0.078 * down.square() * soft(g.nose_y + 0.06, g.nose_y - 0.05, y)
    ridge = ridge + 0.022 * soft(-0.32, -0.05, y) * soft(g.nose_y + 0.06, 0.0, y)
    nose_x = g.nose_x * down
    height = height + ridge * torch.exp(-((x - nose_x) / (0.048 + 0.026 * down)).square())
    height = height + 0.050 * bump(x - g.nose_x, y - g.nose_y + 0.015, 0.052, 0.05)
    crease = a["smile"] * 0.75 + a["age_fold"]
    for side in (-1, 1):
        height = height + 0.032 * bump(x - g.nose_x - side * 0.72 * g.nose_half, y - g.nose_y, 0.036, 0.036)
        height = height - 0.050 * bump(x - side * EYE_X, y - EYE_Y + 0.01, 0.13, 0.075)
        height = height + 0.030 * bump(x - side * EYE_X, y + 0.20, 0.15, 0.05)
        swell = 0.026 + 0.018 * a["cheeks"] + 0.035 * a["smile"]
        height = height + swell * bump(x - side * 0.30, y - 0.19, 0.14, 0.11)
        # the fold from the nose to the mouth's corner, crow's feet, the bag below the eye
        t = ((y - g.nose_y) / 0.22).clamp(0, 1)
        fold = (x - g.nose_x) * side - (g.nose_half + 0.02 + 0.085 * t.sqrt())
        height = height - 0.020 * crease * torch.exp(-(fold / 0.016).square()) * soft(-0.03, 0.05, y - g.nose_y) * soft(
            0.25, 0.12, y - g.nose_y
        )
        bag = y - EYE_Y - 0.075 - 0.02 * (1 - ((x - side * EYE_X) / 0.1).square())
        height = height - 0.012 * a["age_fold"] * torch.exp(-(bag / 0.011).square()) * soft(
            0.115, 0.05, (x - side * EYE_X).abs()
        )
        for k in (-1, 0, 1):
            foot = y - EYE_Y - 0.005 - k * (0.018 + 0.35 * (x * side - EYE_X - 0.12))
            reach = soft(0.125, 0.14, x * side - EYE_X) * soft(0.225, 0.19, x * side - EYE_X)
            height = height - 0.008 * a["age_lines"] * torch.exp(-(foot / 0.008).square()) * reach
        frown = torch.exp(-((x - side * 0.035) / 0.011).square()) * soft(-0.26, -0.22, y) * soft(-0.10, -0.15, y)
        height = height - 0.016 * a["anger"] * frown
    for k, level in enumerate((-0.335, -0.405, -0.475)):
        line = y - level - 0.012 * torch.cos(9 * x + k)
        strength = 0.013 * (a["age_lines"] + 0.45 * a["surprise"]) * soft(0.36 - 0.04 * k, 0.2, x.abs())
        height = height - strength * torch.exp(-(line / 0.011).square())
    lips = bump(x - g.mouth_x, y - MOUTH_Y, 0.14, 0.065)
    philtrum = bump(x - g.mouth_x, y - 0.36, 0.016, 0.035)
    return height + 0.03 * lips - 0.01 * philtrum + 0.035 * bump(x - g.mouth_x, y - HEAD_Y - g.chin + 0.10, 0.10, 0.07)


def _lighting(a: Attributes, height: Tensor, pixel: float) -> tuple[Tensor, Tensor]:
    """Wrapped Lambert and Blinn gloss of a height field under a key light from above and to one side."""
    slope_x, slope_y = slopes(height, pixel)
    length = (slope_x.square() + slope_y.square() + 1).rsqrt()
    light_x = 0.55 * a["light"]
    norm = (light_x.square() + 0.30 + 1).rsqrt()
    lambert = (-slope_x * light_x + slope_y * 0.55 + 1) * length * norm
    half_norm = ((0.5 * light_x).square() + 0.075 + 1).rsqrt()
    gloss = ((-slope_x * 0.5 * light_x + slope_y * 0.27 + 1) * length * half_norm).clamp(0, 1) ** 28
    return ((lambert + 0.35) / 1.33).clamp(0, 1.05), gloss


def _beard(canvas: Canvas, a: Attributes, g: Geometry, tuft: Tensor, radius: Tensor, x: Tensor, y: Tensor) -> None:
    strands = (
        0.5
        + 0.26 * torch.sin(118 * x + 9 * torch.sin(13 * y))
        + 0.24 * torch.sin(77 * x - 14 * y + 4 * torch.sin(21 * y + 9 * x))
    )
    wisp = 0.012 * torch.sin(70 * x + 8 * torch.sin(21 * x))
    bottom = (y - HEAD_Y - g.chin - 0.07 * soft(0.45, 0.0, x.abs()) - wisp) * 0.8
    side = (x - g.head_x).abs() - g.half_width - 0.01
    away = (x - g.mouth_x).abs()
    upper = (
        0.605 - 0.20 * soft(g.mouth_half - 0.02, g.mouth_half + 0.07, away) - 0.36 * soft(0.27, 0.56, away) - y + wisp
    )
    low = torch.maximum(torch.maximum(bottom, side), torch.maximum(upper, (radius - 1.12) * 0.5))
    t = (x - g.mouth_x) / 0.215
    lip_top = g.mouth_line(t) - g.lip_gap_up - g.lip_up - 0.015
    top = torch.maximum((y - lip_top).abs() - 0.038 * (1 - t.square()).clamp(min=0) - 0.006, t.abs() - 1) + 0.4 * wisp
    shadow = (0.62 + 0.38 * strands)[:, None] * (0.85 + 0.2 * soft(0.5, 0.1, (x - 0.3 * a["light"]).abs()))[:, None]
    colour = (tuft * 0.82 + 0.01) * shadow
    full = soft(0.03, -0.035, low) * (0.80 + 0.2 * strands)
    canvas.paint(colour, a["beard"] * full, "skin")
    canvas.paint(colour, a["moustache"] * soft(0.012, -0.012, top) * (0.85 + 0.15 * strands))


def _mouth(canvas: Canvas, a: Attributes, g: Geometry, skin: Tensor, x: Tensor, y: Tensor) -> None:
    t = (x - g.mouth_x) / g.mouth_half
    arc = (1 - t.square()).clamp(min=0)
    line = g.mouth_line(t)
    gap = g.lip_gap_up + g.lip_gap_down
    top, bottom = line - g.lip_gap_up * arc, line + g.lip_gap_down * arc
    bow = 1 - 0.22 * torch.exp(-(t / 0.16).square())
    ends = (t.abs() - 1) * g.mouth_half
    upper = torch.maximum(torch.maximum(top - g.lip_up * arc.sqrt() * bow - y, y - line - 0.5 * gap * arc), ends)
    lower = torch.maximum(torch.maximum(line - y, y - bottom - g.lip_down * arc**0.7), ends)
    natural = skin * torch.tensor([0.80, 0.50, 0.52]).view(1, 3, 1, 1) + torch.tensor([0.07, 0.01, 0.02]).view(
        1, 3, 1, 1
    )
    paint = torch.cat([0.80 + 0.10 * a["lip_hue"], 0.05 + 0.23 * a["lip_hue"], 0.09 + 0.45 * a["lip_hue"]], 1).view(
        -1, 3, 1, 1
    )
    colour = natural + (paint - natural) * a["lipstick"][:, None]
    relief = ((y - bottom) / (g.lip_down + 0.01)).clamp(0, 1)
    shine = torch.exp(-((relief - 0.42) / 0.2).square()) * torch.exp(-((t - 0.25 * a["light"]) / 0.4).square())
    canvas.paint(shade(colour, 0.80 + 0.06 * t * a["light"]), cover(upper, canvas, 1.3), "mouth")
    canvas.paint(
        shade(colour, 1.0 - 0.3 * relief.square()) + (0.10 + 0.14 * a["lipstick"][:, None]) * shine[:, None],
        cover(lower, canvas, 1.3),
        "mouth",
    )

    inside = torch.maximum(torch.maximum(top - y, y - bottom), ends)
    there = soft(0.01, 0.03, gap)
    mouth = cover(inside, canvas) * there
    depth = (1 - 0.45 * arc)[:, None]
    canvas.paint(torch.tensor([0.36, 0.06, 0.08]).view(1, 3, 1, 1) * depth, mouth, "mouth")
    tongue = ellipse(x - g.mouth_x, y - bottom - 0.005, 0.62 * g.mouth_half, 0.45 * g.lip_gap_down + 0.004)
    canvas.paint(torch.tensor([0.78, 0.33, 0.35]).view(1, 3, 1, 1), 0.85 * cover(tongue, canvas) * mouth)
    laugh = (1 - a["surprise"]).clamp(0, 1)
    teeth = torch.maximum(inside, y - top - (0.024 + 0.034 * laugh) * arc.sqrt())
    gaps = 1 - 0.10 * torch.exp(-(torch.sin(t * 11) / 0.25).square()) - 0.25 * t.square()
    canvas.paint(torch.tensor([0.98, 0.96, 0.92]).view(1, 3, 1, 1) * gaps[:, None], cover(teeth, canvas) * there)
    closed = stroke(y - line, 0.006, canvas) * (t.abs() < 1.0) * (1 - there)
    canvas.paint(colour * 0.38, 0.85 * closed)
    for side in (-1, 1):
        corner = bump(x - g.mouth_x - side * g.mouth_half, y - g.mouth_line(torch.ones_like(t)), 0.018, 0.012)
        canvas.paint(skin * 0.45, 0.5 * corner)


def _eye(canvas: Canvas, a: Attributes, g: Geometry, skin: Tensor, side: int, x: Tensor, y: Tensor) -> None:
    u, v = x - side * EYE_X, y - EYE_Y
    t = u / g.eye_half
    arc = (1 - t.square()).clamp(min=0)
    outward = t * side
    up = -g.eye_up * arc**0.8 - 0.010 * outward * 0.5
    down = g.eye_down * arc - 0.006 * outward
    lid = (v - up) / g.eye_up

    colour = hue(a["shadow_hue"])
    shadow = soft(0.0, -0.02, v - up) * soft(-0.115, -0.05, v) * soft(1.35, 0.85, t.abs())
    canvas.paint(shade(colour, torch.full_like(shadow, 0.9)), 0.72 * a["eyeshadow"] * shadow)
    crease = stroke(v - up + 0.024 + 0.004 * a["age_lines"], 0.006, canvas, 3.0) * soft(1.1, 0.8, t.abs())
    canvas.paint(skin * torch.tensor([0.52, 0.38, 0.36]).view(1, 3, 1, 1), 0.55 * crease)

    opening = cover(torch.maximum(torch.maximum(up - v, v - down), (t.abs() - 1) * g.eye_half), canvas)
    ball = 0.96 - 0.24 * t.square() - 0.35 * soft(0.4, 0.0, lid)
    canvas.paint(torch.tensor([1.0, 0.98, 0.97]).view(1, 3, 1, 1) * ball[:, None], opening, "eyes")
    gaze = u - 0.010 * a["yaw"]
    centre = v + 0.008
    distance = (gaze.square() + centre.square() + 1e-9).sqrt()
    size = 0.056
    iris = torch.stack([a["eye_r"], a["eye_g"], a["eye_b"]], 1)
    rays = 0.06 * torch.sin(13 * torch.atan2(centre, gaze))
    tone = (
        0.72
        + 0.75 * soft(-0.03, 0.045, centre) * soft(size, 0.3 * size, distance)
        + rays
        - 0.5 * soft(0.82 * size, 1.02 * size, distance)
    )
    canvas.paint((iris * tone[:, None]).clamp(0, 1), cover(distance - size, canvas) * opening)
    canvas.paint(torch.tensor([0.02, 0.02, 0.025]).view(1, 3, 1, 1), cover(distance - 0.0225, canvas) * opening)
    canvas.paint(torch.tensor([0.05, 0.03, 0.03]).view(1, 3, 1, 1), 0.30 * soft(0.30, 0.0, lid) * opening)
    glint = ((gaze + 0.016 - 0.012 * a["light"]).square() + (centre + 0.018).square() + 1e-9).sqrt() - 0.0125
    canvas.paint(torch.ones(1, 3, 1, 1), 0.95 * cover(glint, canvas) * opening)

    made_up = (0.35 * (1 - a["masculine"]) + 0.65 * a["eyeshadow"]).clamp(0, 1)
    thick = (0.008 + 0.007 * made_up) * (0.65 + 0.35 * outward).clamp(min=0.3)
    wing = soft(1.0 + 0.20 * made_up, 0.98, outward) * soft(-1.05, -0.9, outward)
    lash_y = torch.where(t.abs() < 1, up, -0.010 * outward * 0.5 - 0.5 * made_up * (t.abs() - 1) * g.eye_half)
    canvas.paint(torch.tensor([0.06, 0.04, 0.04]).view(1, 3, 1, 1), 0.92 * stroke(v - lash_y, thick, canvas) * wing)
    lower = stroke(v - down, 0.004 + 0.002 * made_up, canvas) * soft(1.0, 0.85, t.abs())
    canvas.paint(skin * 0.35, (0.45 + 0.25 * made_up) * lower)


def _brow(canvas: Canvas, a: Attributes, g: Geometry, tuft: Tensor, side: int, x: Tensor, y: Tensor) -> None:
    t = (x * side - EYE_X - 0.01) / 0.135
    middle = g.brow_line(t)
    taper = (soft(-1.12, -0.75, t) * (1 - 0.62 * soft(-0.1, 1.05, t))).clamp(min=0)
    edge = 0.003 * torch.sin(90 * x + 60 * y * side)
    shape = torch.maximum((y - middle).abs() - g.brow_thick * taper + edge, t.abs() - 1.02)
    strands = 0.8 + 0.2 * torch.sin(120 * x + 90 * side * y)
    canvas.paint((tuft * 0.62 + 0.02) * strands[:, None], 0.88 * cover(shape, canvas, 2.0))


def _earring(canvas: Canvas, a: Attributes, g: Geometry, side: int, x: Tensor, y: Tensor) -> None:
    u = x - g.head_x - side * (g.half_width + 0.005) + 0.05 * a["yaw"]
    ring = ((u.square() + (y - 0.275).square() + 1e-9).sqrt() - 0.05).abs() - 0.014
    tone = 1.0 - 4.0 * (y - 0.25) + 1.6 * u
    gold = torch.tensor([0.95, 0.76, 0.30]).view(1, 3, 1, 1) * tone[:, None].clamp(0.45, 1.25)
    canvas.paint(gold.clamp(max=1), a["earrings"] * cover(ring, canvas))


def _eyewear(canvas: Canvas, a: Attributes, g: Geometry, x: Tensor, y: Tensor) -> None:
    colour = torch.stack([a["frame_r"], a["frame_g"], a["frame_b"]], 1)
    half_x, half_y = 0.178 + 0.014 * a["frame_size"], 0.130 + 0.018 * a["frame_size"] + 0.022 * a["frame_round"]
    power = 4.6 - 2.5 * a["frame_round"]
    v = y + 0.03
    shown, dark = a["glasses"], a["sunglasses"]
    lens_x = (x.abs() - EYE_X - 0.004).abs() / half_x
    radius = (lens_x**power + (v.abs() / half_y) ** power + 1e-6) ** (1 / power)
    distance = (radius - 1) * 0.14
    inside = cover(distance, canvas)
    tint = torch.tensor([0.10, 0.10, 0.12]).view(1, 3, 1, 1) + 0.22 * soft(-0.15, 0.2, v)[:, None]
    canvas.paint(tint, 0.95 * dark * inside)
    glint = soft(0.035, 0.0, ((x.abs() - EYE_X) * 0.8 + v + 0.05).abs()) + 0.6 * soft(
        0.015, 0.0, ((x.abs() - EYE_X) * 0.8 + v - 0.03).abs()
    )
    canvas.paint(torch.ones(1, 3, 1, 1), shown * inside * (0.05 + (0.20 + 0.12 * dark) * glint))
    frame = distance.abs() - 0.0145
    bridge = torch.maximum((v + 0.028 + 0.7 * x.square()).abs() - 0.0135, x.abs() - (EYE_X + 0.01 - half_x))
    temple = torch.maximum(
        (v + 0.045).abs() - 0.015,
        torch.maximum(EYE_X - 0.01 + half_x - x.abs(), (x - g.head_x).abs() - g.half_width - 0.01),
    )
    frame = torch.minimum(torch.minimum(frame, bridge), temple)
    canvas.paint(torch.zeros(1, 3, 1, 1), 0.22 * shown * soft(0.035, -0.01, frame))
    tone = 1.0 + 0.5 * soft(0.006, 0.0, (frame + 0.009).abs()) * soft(0.1, -0.14, v)
    canvas.paint((colour * tone[:, None] + 0.06 * (tone[:, None] - 1)).clamp(0, 1), shown * cover(frame, canvas))
