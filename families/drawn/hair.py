"""Hair: the mass behind the head, the cap with hairline and fringe before it, curls, strands and the mohawk."""

import torch
from torch import Tensor

from families.drawn.attributes import Attributes
from families.drawn.geometry import HEAD_Y, Geometry
from families.drawn.shapes import Canvas, cover, shade, soft


class Mane:
    """The hair of a batch of faces over the pixel grid x, y."""

    def __init__(self, canvas: Canvas, a: Attributes, g: Geometry, x: Tensor, y: Tensor) -> None:
        self.a, self.g, self.x, self.y = a, g, x, y
        curl, volume, length = a["curl"], a["volume"], a["length"]
        self.u = u = x - g.head_x - 0.01 * a["yaw"]
        fluff = 0.05 + 0.07 * volume + curl * (0.04 + 0.10 * volume)
        half = g.half_width + fluff
        crown = g.top + 0.03 + 0.6 * fluff
        angle = torch.atan2(y + 0.2, u)
        wave = curl * (0.020 * torch.sin(17 * angle) + 0.012 * torch.sin(29 * angle + 1)) + (
            1 - curl
        ) * 0.006 * torch.sin(23 * angle)
        above = HEAD_Y - 0.15 - y
        dome = ((u / half).square() + (above.clamp(min=0) / (crown - 0.15)).square() + 1e-6).sqrt() - 1
        # below the ears the hair hangs to its length, a little wider, and ends in a rounded, uneven line
        end = HEAD_Y + 0.02 + 1.13 * soft(0.05, 1.0, length) + 0.015 * torch.sin(31 * u + 3 * torch.sin(9 * u))
        flare = 0.04 * soft(0.0, 0.9, y) * (1 + curl)
        sides = u.abs() - half - flare - curl * 0.018 * torch.sin(19 * y)
        hang = torch.maximum(sides, y - end + 0.14 * soft(0.0, 0.25, u.abs() - g.half_width))
        self.outline = torch.where(above > 0, dome * half, hang) + wave * (above > -0.25)
        self.back = cover(self.outline, canvas)

    def colour(self, tuft: Tensor) -> Tensor:
        """Shaded hair colour (N, 3, H, W): strands that flow from the parting, or curls that catch the light."""
        a, y = self.a, self.y
        u = self.u - 0.12 * a["parting"]
        flow = torch.where(y < 0.0, u / (y + 1.32).clamp(min=0.3) * 1.32, u)
        strands = (
            0.5 * torch.sin(38 * flow + 2 * torch.sin(3 * y))
            + 0.3 * torch.sin(83 * flow + 2)
            + 0.2 * torch.sin(147 * flow + 4 * y)
        )
        bend_x = self.u * 13 + 1.3 * torch.sin(11 * y) + 0.7 * torch.sin(23 * y)
        bend_y = y * 13 + 1.3 * torch.sin(12 * self.u + 1) + 0.7 * torch.sin(21 * self.u)
        ringlets = torch.sin(bend_x) * torch.sin(bend_y) + 0.45 * torch.sin(1.9 * bend_x + 2) * torch.sin(
            2.1 * bend_y + 1
        )
        side = (self.u - 0.35 * a["light"]) / (self.g.half_width + 0.15)
        form = 1.02 - 0.42 * side.square() - 0.22 * soft(-0.1, 0.9, y)
        band = torch.exp(-((y + 0.62 - 0.28 * self.u.square()) / 0.10).square()) * torch.exp(
            -((self.u - 0.3 * a["light"]) / 0.45).square()
        )
        straight = form + 0.13 * strands + 0.30 * band * (0.75 + 0.25 * strands)
        curly = form + 0.24 * ringlets + 0.10 * band
        light = straight + (curly - straight) * a["curl"]
        sheen = (0.05 + 0.10 * band * (0.6 + 0.4 * strands)) * (1 - 0.6 * a["curl"])
        return (tuft + sheen[:, None]) * light.clamp(0.25, 1.6)[:, None]

    def draw_front(self, canvas: Canvas, tuft: Tensor, skin: Tensor, head: Tensor) -> None:
        """Paint the hair that lies over the head: everything of the mane outside the face's opening."""
        a, g, y, u = self.a, self.g, self.y, self.u
        curl = a["curl"]
        lean = u + 0.06 * a["parting"]
        ragged = curl * (0.018 * torch.sin(37 * u + 2 * torch.sin(13 * u)) + 0.008 * torch.sin(71 * u)) + 0.006 * (
            1 - curl
        ) * torch.sin(64 * u)
        high = -0.56 + 0.05 * a["hairline"] + 0.10 * (lean / 0.5).square() + 0.05 * a["parting"] * u
        locks = 0.02 * (1 - curl) * torch.sin(27 * u + 1.5 * torch.sin(11 * u))
        low = -0.275 + 0.02 * a["hairline"] - 0.05 * (u / 0.5).square() + locks
        hairline = high + (low - high) * a["fringe"] + ragged
        temple = g.half_width - 0.045 - 0.02 * curl + 0.03 * soft(0.1, 0.6, y)
        long_ = soft(0.28, 0.55, a["length"])
        temple = temple + (1 - long_) * 0.05 * soft(-0.25, 0.05, y) + ragged * 0.5
        corner = 0.10
        inset_x, inset_y = u.abs() - temple + corner, hairline + corner - y
        opening = (
            (inset_x.clamp(min=0).square() + inset_y.clamp(min=0).square() + 1e-9).sqrt()
            - corner
            + torch.maximum(inset_x, inset_y).clamp(max=0)
        )
        mask = cover(-opening, canvas) * self.back
        visible = mask * (1 - a["bald"]) * (1 - a["mohawk"])
        shadow = soft(0.075, 0.0, -opening) * head * self.back * (1 - a["bald"]) * (1 - a["mohawk"])
        canvas.paint(skin * torch.tensor([0.45, 0.33, 0.30]).view(1, 3, 1, 1), 0.45 * shadow)
        rim = 1 - 0.28 * soft(0.05, 0.0, opening)
        canvas.paint(self.colour(tuft) * rim[:, None], visible, "hair")
        self._mohawk(canvas, tuft)

    def _mohawk(self, canvas: Canvas, tuft: Tensor) -> None:
        a, g, y, u = self.a, self.g, self.y, self.u
        half = 0.14 + 0.05 * a["volume"]
        crest = HEAD_Y - g.top - 0.10 + 0.05 * torch.sin(34 * u) * soft(-0.6, -0.8, y) + 0.5 * u.square()
        root = -0.52 + 0.04 * a["hairline"]
        strip = torch.maximum(
            u.abs() - half * (1 - 0.25 * soft(-0.6, root + 0.03, y)) - 0.03 * soft(-0.7, -0.95, y),
            torch.maximum(crest - y, y - root - 0.04 + 2.0 * u.square()),
        )
        strands = 0.6 * torch.sin(70 * u + 4 * torch.sin(5 * y)) + 0.4 * torch.sin(121 * u)
        light = 1.0 + 0.22 * strands - 0.3 * (u / half).square() + 0.2 * soft(-0.55, -0.8, y)
        canvas.paint(shade(tuft, light), a["mohawk"] * cover(strip, canvas), "hair")
