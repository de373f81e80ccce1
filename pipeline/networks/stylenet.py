"""The small network that CLIPstyler fits to one picture: a U-Net that begins as the identity."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS = (16, 32, 64)
BLOCK = 2  # pixels a side that the finest layers see as one: a quarter of the time of a layer for each pixel
STEP = 4 * BLOCK  # sizes that pass through the layers without a rest are multiples of it


class StyleNet(nn.Module):
    """Pictures (N, 3, H, W) in [-1, 1] in and out, H and W multiples of `STEP`."""

    def __init__(self) -> None:
        super().__init__()
        a, b, c = WIDTHS
        self.down = nn.ModuleList([_convs(3 * BLOCK**2, a), _convs(a, b), _convs(b, c)])
        self.up = nn.ModuleList([_convs(c + b, b), _convs(b + a, a)])
        self.out = nn.Conv2d(a, 3, 1)

    @classmethod
    def fresh(cls) -> "StyleNet":
        """A network that changes nothing yet, always the same one, whatever else draws random numbers."""
        network, rng = cls(), torch.Generator().manual_seed(0)
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, 5**0.5, generator=rng)
                nn.init.zeros_(module.bias)
        nn.init.zeros_(network.out.weight)
        return network

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor]) -> "StyleNet":
        """A frozen network of its weights."""
        with torch.device("meta"):
            network = cls()
        network.load_state_dict(dict(state), assign=True)
        return network.eval().requires_grad_(False)

    def forward(self, picture: Tensor) -> Tensor:
        fine = self.down[0](F.pixel_unshuffle(picture, BLOCK))
        middle = self.down[1](F.avg_pool2d(fine, 2))
        coarse = self.down[2](F.avg_pool2d(middle, 2))
        middle = self.up[0](torch.cat([F.interpolate(coarse, scale_factor=2), middle], 1))
        fine = self.up[1](torch.cat([F.interpolate(middle, scale_factor=2), fine], 1))
        change = F.interpolate(self.out(fine), scale_factor=BLOCK, mode="bilinear")
        return torch.tanh(torch.atanh(picture.clamp(-0.98, 0.98)) + change)


def _convs(channels: int, out: int) -> nn.Sequential:
    first, second = nn.Conv2d(channels, out, 3, padding=1), nn.Conv2d(out, out, 3, padding=1)
    return nn.Sequential(first, nn.InstanceNorm2d(out, affine=True), nn.LeakyReLU(0.2), second, nn.LeakyReLU(0.2))
