"""A way past the last blocks of a MobileStyleGAN: a small picture for a fraction of the time."""

from collections.abc import Mapping

from torch import Tensor, nn

from pipeline.networks.generator import Factors, LocalStyle
from pipeline.networks.layers import load_frozen
from pipeline.networks.mobilestylegan import StyledConv, ToImage


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

    def tunable_weights(self) -> dict[str, Tensor]:
        """The weights (out, in, 1, 1) that follow where the generator is tuned, by the names of their factors."""
        return {f"preview.{name}": self.get_submodule(name).weight for name in ("conv1", "conv2", "to_image")}

    def forward(
        self,
        x: Tensor,
        styles: Tensor | LocalStyle,
        rows: slice = slice(None),
        tuning: Mapping[str, Factors] | None = None,
    ) -> Tensor:
        """x (N, C, R, R), or some `rows` of it, and styles (N, K) -> (N, 3, 2R, 2R), about [-1, 1], float32 or wider.
        `tuning` as in `StyleGenerator.synthesize`."""
        tuning = tuning or {}
        for name, conv in (("conv1", self.conv1), ("conv2", self.conv2)):
            x = conv(x, _through(conv.modulation, styles), tuning.get(f"preview.{name}"), rows)
        return self.to_image(x, _through(self.to_image.modulation, styles), True, tuning.get("preview.to_image"), rows)


def _through(modulation: nn.Linear, styles: Tensor | LocalStyle) -> Tensor | LocalStyle:
    return styles.through(modulation) if isinstance(styles, LocalStyle) else modulation(styles)
