"""Where the parts of a drawn face lie, in FFHQ-aligned coordinates, and the 68 landmarks that follow from it.

The picture is the square [-1, 1]², x to the right and y down. FFHQ's alignment puts the crop's half side at twice the
distance between the eyes, so an aligned face has its eyes at (±0.25, -0.05) and its mouth near (0, 0.45).
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from families.drawn.attributes import Attributes

EYE_X, EYE_Y, MOUTH_Y, HEAD_Y = 0.25, -0.05, 0.45, 0.05


@dataclass(frozen=True)
class Geometry:
    """Sizes and positions, each (N, 1, 1) so that it broadcasts over pixels."""

    head_x: Tensor  # centre of the head outline
    half_width: Tensor  # of the head at the cheeks
    top: Tensor  # height of the skull above HEAD_Y
    chin: Tensor  # depth of the chin below HEAD_Y
    jaw_power: Tensor  # superellipse exponent of the lower face: round to square
    eye_half: Tensor
    eye_up: Tensor  # height of the upper lid's arc
    eye_down: Tensor
    brow_y: Tensor
    brow_tilt: Tensor  # > 0: inner end lower (anger)
    brow_thick: Tensor
    nose_x: Tensor
    nose_y: Tensor  # base of the nose
    nose_half: Tensor
    mouth_x: Tensor
    mouth_half: Tensor
    mouth_bend: Tensor  # > 0: corners above the middle
    lip_gap_up: Tensor  # how far the mouth is open above and below its line
    lip_gap_down: Tensor
    lip_up: Tensor  # thickness of the lips
    lip_down: Tensor

    @classmethod
    def of(cls, attributes: Attributes) -> "Geometry":
        """Geometry of faces with these attributes."""
        a = {name: value.float().view(-1, 1, 1) for name, value in attributes.items() if value.ndim == 1}
        smile, sad, surprise, anger = a["smile"], a["sad"], a["surprise"], a["anger"]
        laugh = a["open"] * (1 - surprise).clamp(min=0)
        return cls(
            head_x=-0.03 * a["yaw"],
            half_width=0.52 + 0.035 * a["face_width"] + 0.015 * a["masculine"],
            top=torch.full_like(smile, 0.86),
            chin=0.76 + 0.04 * a["chin"] + 0.03 * surprise + 0.015 * a["masculine"],
            jaw_power=2.05 + 0.28 * a["masculine"] + 0.2 * a["jaw"],
            eye_half=0.117 * (1 + 0.08 * a["eye_size"]),
            eye_up=0.065 * (1 + 0.13 * a["eye_size"] + 0.45 * surprise - 0.34 * anger - 0.24 * smile - 0.12 * sad),
            eye_down=0.040 * (1 + 0.13 * a["eye_size"] + 0.35 * surprise - 0.2 * anger - 0.25 * smile),
            brow_y=-0.205 - 0.022 * a["brow_height"] - 0.075 * surprise + 0.03 * anger - 0.01 * sad,
            brow_tilt=0.065 * anger - 0.055 * sad - 0.01 * surprise,
            brow_thick=0.021 + 0.007 * a["brow_thick"] + 0.007 * a["masculine"],
            nose_x=0.045 * a["yaw"],
            nose_y=0.235 + 0.025 * a["nose_length"],
            nose_half=0.088 + 0.016 * a["nose_width"] + 0.008 * a["masculine"],
            mouth_x=0.02 * a["yaw"],
            mouth_half=0.165 + 0.05 * smile - 0.045 * surprise - 0.015 * sad - 0.005 * anger,
            mouth_bend=0.075 * smile - 0.06 * sad - 0.02 * anger - 0.01 * surprise,
            lip_gap_up=0.055 * surprise - 0.004 * laugh,
            lip_gap_down=0.1 * surprise + 0.075 * laugh,
            lip_up=(0.03 + 0.008 * a["lips"] - 0.004 * a["masculine"]) * (1 - 0.3 * anger),
            lip_down=(0.042 + 0.01 * a["lips"] - 0.005 * a["masculine"]) * (1 - 0.25 * anger),
        )

    def mouth_line(self, t: Tensor) -> Tensor:
        """y of the line between the lips at t = (x - mouth_x) / mouth_half in [-1, 1]."""
        return MOUTH_Y + self.mouth_bend * (0.55 - t.square().clamp(max=1.4))

    def landmarks(self) -> Tensor:
        """The 68 points of the iBUG scheme, (N, 68, 2) in [-1, 1]."""
        g = {f.name: getattr(self, f.name).view(-1, 1) for f in fields(self)}
        line = Geometry(**g)

        angle = torch.linspace(torch.pi, 0, 17)[None]
        drop, side = angle.sin(), angle.cos()
        reach = (side.abs() ** g["jaw_power"] + drop.abs() ** g["jaw_power"]) ** (-1 / g["jaw_power"])
        jaw = torch.stack([g["head_x"] + g["half_width"] * side * reach, HEAD_Y + g["chin"] * drop * reach], 2)

        def brow(sign: int) -> Tensor:
            t = (
                torch.linspace(-1, 1, 5)[None] * sign
            )  # -1 at the inner, 1 at the outer end, left to right in the picture
            across = (sign * (EYE_X + 0.01) + 0.13 * t * sign).expand(len(g["brow_y"]), -1)
            return torch.stack([across, line.brow_line(t)], 2)

        bridge_y = torch.linspace(0, 1, 4)[None] * (g["nose_y"] - 0.05 - EYE_Y) + EYE_Y
        bridge = torch.stack([g["nose_x"] * torch.linspace(0, 1, 4)[None], bridge_y], 2)
        across = torch.tensor([[-1.0, -0.5, 0.0, 0.5, 1.0]])
        base = torch.stack([g["nose_x"] + 0.75 * g["nose_half"] * across, g["nose_y"] + 0.03 - 0.025 * across.abs()], 2)

        def eye(sign: int) -> Tensor:
            t = torch.tensor([[-1.0, -0.4, 0.4, 1.0, 0.4, -0.4]])
            arc = 1 - t.square()
            height = torch.cat([-g["eye_up"].expand(-1, 4), g["eye_down"].expand(-1, 2)], 1) * arc
            return torch.stack([sign * EYE_X + g["eye_half"] * t, EYE_Y + height], 2)

        def lip(t: list[float], gap: Tensor, thick: Tensor) -> Tensor:
            t = torch.tensor([t])
            arc = 1 - t.square()
            return torch.stack([g["mouth_x"] + g["mouth_half"] * t, line.mouth_line(t) + (gap + thick) * arc], 2)

        none = torch.zeros_like(g["lip_up"])
        outer, inner = [-1, -0.67, -0.33, 0, 0.33, 0.67, 1], [-0.8, -0.4, 0, 0.4, 0.8]
        mouth = torch.cat(
            [
                lip(outer, -g["lip_gap_up"], -g["lip_up"]),
                lip(outer[-2:0:-1], g["lip_gap_down"], g["lip_down"]),
                lip(inner, -g["lip_gap_up"], none),
                lip(inner[-2:0:-1], g["lip_gap_down"], none),
            ],
            1,
        )
        return torch.cat([jaw, brow(-1), brow(1), bridge, base, eye(-1), eye(1), mouth], 1)

    def brow_line(self, t: Tensor) -> Tensor:
        """y of a brow's middle at t, from -1 at its inner to 1 at its outer end."""
        return self.brow_y - self.brow_tilt * t + 0.028 * t.square() - 0.018
