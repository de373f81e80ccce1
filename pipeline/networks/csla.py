"""CSLA's mappers (arXiv 2210.04506): from an embedding of CLIP to the distance of a code from the mean one."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.networks.layers import load_frozen

OLD_NAMES = {".straight.": ".linear.", ".bent.": ".mlp.", ".look.": ".fc1.", ".tell.": ".fc2."}  # in files


class ResidualMapper(nn.Module):
    """A linear map from `inputs` to `outputs` numbers, plus a network with two hidden layers of `width`."""

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs, bias=False)
        self.mlp = nn.Sequential(
            nn.Linear(inputs, width), nn.LeakyReLU(0.2), nn.Linear(width, width), nn.LeakyReLU(0.2)
        )
        self.out = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """x (N, inputs) -> (N, outputs)."""
        return self.linear(x) + self.out(self.mlp(x))


class StyleMixing(nn.Module):
    """Adaptive style mixing: the whole step in S decides by which factor, 0 to 2, each channel's step is multiplied."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(channels, width), nn.Linear(width, channels)

    def forward(self, step: Tensor) -> Tensor:
        """A step (N, C), in deviations -> the modulated step (N, C)."""
        return step * 2 * torch.sigmoid(self.fc2(F.leaky_relu(self.fc1(step), 0.2)))


class CSLA(nn.Module):
    """The mappers of one family: residuals in CLIP's space, from `centre`, to residuals in W and in S.

    `whiten` gives the residuals of CLIP's space the same variance in all directions in which faces differ; residuals of
    W and S are in units of `w_std` and `s_std`.
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
    def from_state_dict(cls, state: Mapping[str, Tensor]) -> "CSLA":
        """A frozen network; the shapes tell every size. Files from before layers were renamed are read too."""
        for old, new in OLD_NAMES.items():
            state = {name.replace(old, new): value for name, value in state.items()}
        embed, style_dim, channels = (len(state[name]) for name in ("centre", "w_std", "s_std"))
        width = state["w_mapper.out.weight"].shape[1]
        return load_frozen(lambda: cls(embed, style_dim, channels, width), state)

    def to_w(self, features: Tensor) -> Tensor:
        """M_W(f − c): CLIP embeddings f (N, E) -> Δw (N, D), from the mean latent."""
        return self.w_mapper((features - self.centre) @ self.whiten) * self.w_std

    def to_s(self, features: Tensor) -> Tensor:
        """M_S(f − c): CLIP embeddings f (N, E) -> Δs (N, C), from the styles of the mean latent."""
        return self.mixing(self.s_mapper((features - self.centre) @ self.whiten)) * self.s_std
