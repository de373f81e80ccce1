"""From CLIP's space to a generator's: how far a code lies from the mean one, told from a CLIP embedding (CSLA)."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.networks.layers import load_frozen


class ResidualMapper(nn.Module):
    """A linear map from `inputs` to `outputs` numbers, and what three layers of `width` add to it."""

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.straight = nn.Linear(inputs, outputs, bias=False)
        self.bent = nn.Sequential(
            nn.Linear(inputs, width), nn.LeakyReLU(0.2), nn.Linear(width, width), nn.LeakyReLU(0.2)
        )
        self.out = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """x (N, inputs) -> (N, outputs)."""
        return self.straight(x) + self.out(self.bent(x))


class StyleMixing(nn.Module):
    """Adaptive style mixing: a look at the whole step in S says how much of each channel's is to be kept."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.look, self.tell = nn.Linear(channels, width), nn.Linear(width, channels)

    def forward(self, step: Tensor) -> Tensor:
        """A step (N, C), in deviations -> the modulated step (N, C)."""
        return step * 2 * torch.sigmoid(self.tell(F.leaky_relu(self.look(step), 0.2)))


class Alignment(nn.Module):
    """The mappers of one family: residuals in CLIP's space, which count from `centre`, to residuals in W and in S.

    `whiten` makes the directions of a residual of CLIP's equally long, but for those in which faces hardly differ;
    residuals of W and S are in units of `w_std` and `s_std`.
    """

    def __init__(self, embed: int, style_dim: int, channels: int, width: int) -> None:
        """Sizes of CLIP's space, of W, of all vectors of S together, and of the hidden layers."""
        super().__init__()
        self.w_mapper = ResidualMapper(embed, style_dim, width)
        self.s_mapper = ResidualMapper(embed, channels, width)
        self.mixing = StyleMixing(channels, width // 2)
        self.register_buffer("centre", torch.zeros(embed))
        self.register_buffer("whiten", torch.eye(embed))
        self.register_buffer("w_std", torch.ones(style_dim))
        self.register_buffer("s_std", torch.ones(channels))

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor]) -> "Alignment":
        """A frozen network; every size is read off the shapes."""
        embed, style_dim, channels = (len(state[name]) for name in ("centre", "w_std", "s_std"))
        width = state["w_mapper.out.weight"].shape[1]
        return load_frozen(lambda: cls(embed, style_dim, channels, width), state)

    def to_w(self, features: Tensor) -> Tensor:
        """CLIP embeddings (N, E) -> how far the codes lie from the mean latent (N, D)."""
        return self.w_mapper((features - self.centre) @ self.whiten) * self.w_std

    def to_s(self, features: Tensor) -> Tensor:
        """CLIP embeddings (N, E) -> how far the styles lie from those of the mean latent (N, C)."""
        return self.mixing(self.s_mapper((features - self.centre) @ self.whiten)) * self.s_std
