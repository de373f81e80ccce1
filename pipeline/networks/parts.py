"""Which part of a face is where in a picture, as the generator's own features tell."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pipeline.networks.layers import load_frozen

PARTS = ("background", "clothes", "hair", "skin", "mouth", "eyes")  # skin: of face, ears and neck, beards too
HIDDEN = 64


class PartReader(nn.Module):
    """Features of one resolution (N, C, R, R) -> the probability of each of `PARTS` at each place (N, P, R, R)."""

    def __init__(self, channels: int, resolution: int, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.hidden = nn.Linear(channels, hidden)
        self.parts = nn.Linear(hidden, len(PARTS))
        self.register_buffer("resolution", torch.tensor(resolution))

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor]) -> "PartReader":
        """A frozen reader from its state. Every size is read off the shapes."""
        hidden, channels = state["hidden.weight"].shape
        return load_frozen(lambda: cls(channels, int(state["resolution"]), hidden), state)

    def logits(self, features: Tensor) -> Tensor:
        """Features (..., C) -> (..., P)."""
        return self.parts(nn.functional.leaky_relu(self.hidden(features), 0.2))

    def forward(self, features: Tensor) -> Tensor:
        places = features.permute(0, 2, 3, 1).to(self.hidden.weight.dtype)
        return self.logits(places).softmax(-1).permute(0, 3, 1, 2)
