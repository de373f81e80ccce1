"""The small network that CLIPstyler fits to one picture, and what it is shown of that."""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

WIDTHS = (16, 32, 64)
VIEWS = ("picture", "strokes", "tiles")
STROKES = (7, 4)  # pixels, the radii of Kuwahara's filter, which is applied twice
TILE = 16  # pixels a side
BLOCK = 2  # pixels a side that the finest layers see as one: a quarter of the time of a layer for each pixel
STEP = 4 * BLOCK  # sizes that pass through the layers without a rest are multiples of it


@torch.no_grad()
def views(picture: Tensor) -> Tensor:
    """A picture (N, 3, H, W) as it is, in strokes of one colour each, and in tiles: (N, 9, H, W). A network as small as
    `StyleNet` takes long to learn what lays areas of one colour."""
    strokes = picture
    for radius in STROKES:
        strokes = _kuwahara(strokes, radius)
    tiles = F.interpolate(F.avg_pool2d(picture, TILE, ceil_mode=True), scale_factor=TILE)
    return torch.cat([picture, strokes, tiles[..., : picture.shape[2], : picture.shape[3]]], 1)


def _kuwahara(picture: Tensor, radius: int) -> Tensor:
    """Each pixel gets the mean of the most even of the four squares, of `radius` + 1 pixels a side, that it is a corner
    of."""
    height, width = picture.shape[2:]
    padded = F.pad(picture, (radius,) * 4, mode="replicate")
    both = F.avg_pool2d(torch.cat([padded, padded.square()], 1), (radius + 1, 1), 1)
    means, squares = F.avg_pool2d(both, (1, radius + 1), 1).chunk(2, 1)
    uneven = (squares - means.square()).sum(1, keepdim=True)
    corners = [(..., slice(y, y + height), slice(x, x + width)) for y in (0, radius) for x in (0, radius)]
    best, made = uneven[corners[0]], means[corners[0]]
    for corner in corners[1:]:
        chosen = uneven[corner] < best
        best, made = torch.where(chosen, uneven[corner], best), torch.where(chosen, means[corner], made)
    return made


class StyleNet(nn.Module):
    """A U-Net: `views` of pictures in [-1, 1] in, pictures (N, 3, H, W) out, H and W multiples of `STEP`.

    It changes its base, a sum of the views; the U-Net sees the picture itself.
    """

    def __init__(self) -> None:
        super().__init__()
        a, b, c = WIDTHS
        self.base = nn.Linear(len(VIEWS), 1, bias=False)
        self.down = nn.ModuleList([_convs(3 * BLOCK**2, a), _convs(a, b), _convs(b, c)])
        self.up = nn.ModuleList([_convs(c + b, b), _convs(b + a, a)])
        self.out = nn.Conv2d(a + 3 * BLOCK**2, 4 * BLOCK**2, 1)  # of each pixel: its change, and what is kept of it

    @classmethod
    def fresh(cls) -> "StyleNet":
        """A network that changes nothing yet, always the same one, whatever else draws random numbers."""
        network, rng = cls(), torch.Generator().manual_seed(0)
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, 5**0.5, generator=rng)
                nn.init.zeros_(module.bias)
        nn.init.zeros_(network.out.weight)
        network.base.weight.data = base_of("picture")
        return network

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor]) -> "StyleNet":
        """A frozen network of its weights."""
        with torch.device("meta"):
            network = cls()
        network.load_state_dict(dict(state), assign=True)
        return network.eval().requires_grad_(False)

    def weights(self) -> dict[str, Tensor]:
        """Its weights by their names."""
        return dict(self.named_parameters())

    def forward(self, seen: Tensor) -> Tensor:
        each = torch.atanh(seen.clamp(-0.98, 0.98)).unflatten(1, (len(VIEWS), 3))
        base = torch.einsum("v,nvchw->nchw", self.base.weight[0], each)
        blocks = F.pixel_unshuffle(each[:, 0], BLOCK)
        del each
        fine = self.down[0](blocks)
        middle = self.down[1](F.avg_pool2d(fine, 2))
        coarse = self.down[2](F.avg_pool2d(middle, 2))
        middle = self.up[0](torch.cat([F.interpolate(coarse, scale_factor=2), middle], 1))
        fine = self.up[1](torch.cat([F.interpolate(middle, scale_factor=2), fine], 1))
        made = F.pixel_shuffle(self.out(torch.cat([fine, F.pixel_unshuffle(base, BLOCK)], 1)), BLOCK)
        return torch.tanh(base * (1 + made[:, 3:]) + made[:, :3])


def base_of(view: str) -> Tensor:
    """The weight of a base that is one of the `VIEWS`."""
    return torch.tensor([[float(name == view) for name in VIEWS]])


def painters(state: Mapping[str, Tensor]) -> nn.ModuleList:
    """A frozen `StyleNet` for each of K styles. In a file the weights that they have in common are as in `SHAPES`, and
    the others, that of the last layer at least, (K, …). Raises ValueError for any other file, and for a single style.
    """
    count = len(state["out.bias"])
    own = {name for name, value in state.items() if value.shape != SHAPES[name]}
    if count < 2 or "out.bias" not in own or any(state[name].shape != (count, *SHAPES[name]) for name in own):
        raise ValueError("these are no styles")
    return nn.ModuleList(
        StyleNet.from_state_dict({name: value[k] if name in own else value for name, value in state.items()})
        for k in range(count)
    )


class Mixture(nn.Module):
    """A `StyleNet` between several: how much of each there is, for each layer in which they differ. The base is one
    network's: between a photo and its strokes lies a blurred photo.
    """

    def __init__(self, networks: nn.ModuleList, first: int, share: float) -> None:
        """`share` of `first`, whose base it has, and the rest of the others in equal parts. They stay as they are."""
        super().__init__()
        self.of_all = {n: torch.stack([dict(one.named_parameters())[n] for one in networks]) for n in SHAPES}
        self.of_all["base.weight"] = networks[first].base.weight.detach()[None]
        with torch.device("meta"):
            self.network = [StyleNet()]  # in a list, as its weights are no parameters of this
        start = networks[0].out.bias.new_full((len(networks),), math.log((1 - share) / (len(networks) - 1)))
        start[first] = math.log(share)
        layers = {_layer(name) for name, value in self.of_all.items() if (value != value[0]).any()}
        self.logits = nn.ParameterDict({layer: start.clone() for layer in sorted(layers)})

    def weights(self) -> dict[str, Tensor]:
        """Those of the `StyleNet`."""
        shares = {layer: logits.softmax(0) for layer, logits in self.logits.items()}
        return {
            name: torch.tensordot(shares[_layer(name)], value, 1) if _layer(name) in shares else value[0]
            for name, value in self.of_all.items()
        }

    def forward(self, seen: Tensor) -> Tensor:
        return functional_call(self.network[0], self.weights(), (seen,))


def _layer(name: str) -> str:
    """The layer of a weight, without the dots that a ParameterDict can't have."""
    return name.rpartition(".")[0].replace(".", "-")


def _convs(channels: int, out: int) -> nn.Sequential:
    first, second = (nn.Conv2d(n, out, 3, padding=1, padding_mode="replicate") for n in (channels, out))
    return nn.Sequential(first, nn.InstanceNorm2d(out, affine=True), nn.LeakyReLU(0.2), second, nn.LeakyReLU(0.2))


with torch.device("meta"):
    SHAPES = {name: value.shape for name, value in StyleNet().named_parameters()}
