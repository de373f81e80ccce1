"""A way past the last blocks of a MobileStyleGAN: a small picture for a fraction of the time."""

from collections.abc import Mapping

from torch import Tensor, nn

from .layers import load_frozen
from .mobilestylegan import StyledConv, ToImage


class Preview(nn.Module):
    """Features of one block (N, C, R, R) -> the picture (N, 3, 2R, 2R) that the blocks after it would draw.

    The styles of all layers that it stands in for, one after another, say how: each of its own layers is modulated by
    a linear function of them, so that an edit in S is seen in the preview, whichever layers it is of.
    """

    def __init__(self, channels: int, width: int, resolution: int, styles: int) -> None:
        """`channels` and `resolution` of the features, `width` of what is between, `styles`: numbers in S."""
        super().__init__()
        self.conv1 = StyledConv(channels, width, resolution, styles, separable=True)
        self.conv2 = StyledConv(width, width, resolution, styles, separable=True)
        self.to_image = ToImage(width, styles)

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor]) -> "Preview":
        """A frozen preview from its state. Every size and width is read off the shapes."""
        channels, styles = state["conv1.modulation.weight"].shape
        width, resolution = len(state["conv1.bias"]), state["conv1.noise"].shape[-1]
        return load_frozen(lambda: cls(channels, width, resolution, styles), state)

    @property
    def resolution(self) -> int:
        """Pixels a side of the features."""
        return self.conv1.noise.shape[-1]

    @property
    def size(self) -> int:
        """Pixels a side of the picture."""
        return 2 * self.resolution

    def forward(self, x: Tensor, styles: Tensor, rows: slice = slice(None)) -> Tensor:
        """x (N, C, R, R), or some `rows` of it, and styles (N, K) -> (N, 3, 2R, 2R), about [-1, 1],
        float32 or wider."""
        for conv in (self.conv1, self.conv2):
            x = conv(x, conv.modulation(styles), rows=rows)
        return self.to_image(x, self.to_image.modulation(styles), full=True)
