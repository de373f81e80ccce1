"""A picture in the style of a text (CLIPstyler): the small network that was fitted to it, which later edits keep."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from pipeline.images import to_pil, to_tensor
from pipeline.networks.stylenet import SHAPES, STEP, StyleNet, views

SIDE = 512  # pixels a side at which pictures are painted: strokes have one size, whatever the size of the picture
LONGEST = 1536  # pixels of the longer side, at most, at which whole photos are painted: 0.7 GB
SHARE = "share"


@dataclass(frozen=True, eq=False)
class Paint:
    """What a drawn face goes through at last: `state` are the weights of a `StyleNet`, float32 on the CPU, and `share`
    from 0 to 1 is how much of what it makes is seen."""

    state: dict[str, Tensor]
    share: float = 1.0

    def __reduce__(self) -> tuple[Any, ...]:  # another process makes its own network
        return Paint, (self.state, self.share)

    @cached_property
    def _networks(self) -> dict[torch.device, StyleNet]:
        return {}

    def network_on(self, device: torch.device) -> StyleNet:
        """A frozen copy of the network, one for each device."""
        if device not in self._networks:
            self._networks[device] = StyleNet.from_state_dict(self.state).to(device)
        return self._networks[device]

    def over(self, image: Tensor) -> Tensor:
        """An image (N, 3, R, R), painted at `SIDE` pixels and brought back to its size."""
        network, size, image = self.network_on(image.device), image.shape[-1], image.float().clamp(-1, 1)
        with torch.no_grad():
            painted = network(views(resized(image, SIDE)))
        return torch.lerp(image, resized(painted, size), self.share)

    def over_photo(self, photo: Image.Image, side: float) -> Image.Image:
        """A photo in which a face is `side` pixels wide, painted all over, of its size: at a scale at which the face is
        as large as when it was painted alone, or at `LONGEST` pixels where that is less."""
        scale = min(SIDE / side, LONGEST / max(photo.size))
        width, height = (STEP * max(1, round(scale * n / STEP)) for n in photo.size)
        with torch.no_grad():
            painted = to_pil(self.network_on(torch.device("cpu"))(views(to_tensor(photo, (width, height)))))
        painted = painted.resize(photo.size, Image.Resampling.BICUBIC)
        return painted if self.share == 1 else Image.blend(photo, painted, self.share)

    def scaled(self, share: float) -> "Paint | None":
        """This share of it, at most all of it; None at 0."""
        share = min(1.0, max(0.0, self.share * share))
        return replace(self, share=share) if share else None

    def fits(self) -> bool:
        """Whether it holds the weights of a `StyleNet`."""
        return {name: value.shape for name, value in self.state.items()} == SHAPES

    def tensors(self) -> dict[str, Tensor]:
        """All values by their names."""
        return dict(sorted(self.state.items())) | {SHARE: torch.tensor(self.share)}

    @classmethod
    def popped(cls, tensors: dict[str, Tensor], prefix: str) -> "Paint | None":
        """What `tensors` gave, with a prefix before each name; those are taken out. None where there are none. Raises
        KeyError where its share is missing, and ValueError where that is no number from 0 to 1."""
        state = {name: tensors.pop(name) for name in [name for name in tensors if name.startswith(prefix)]}
        if not state:
            return None
        share = state.pop(prefix + SHARE)
        if share.numel() != 1 or not 0 < share <= 1:
            raise ValueError("no share")
        return cls({name.removeprefix(prefix): value for name, value in state.items()}, share.item())


def resized(image: Tensor, size: int) -> Tensor:
    """Square images (N, 3, R, R) at another size: area means, or smooth between their pixels."""
    if image.shape[-1] == size:
        return image
    if image.shape[-1] > size:
        return F.adaptive_avg_pool2d(image, size)
    return F.interpolate(image, (size, size), mode="bicubic", align_corners=False).clamp(-1, 1)


def between(a: Paint | None, b: Paint | None, share: float) -> Paint | None:
    """At `share` of the way from one to the other: of two, the first goes before the second comes."""
    if a is b:
        return a
    if a is None or b is None:
        return a.scaled(1 - share) if a else b.scaled(share)
    if a.state.keys() == b.state.keys() and all(torch.equal(a.state[name], value) for name, value in b.state.items()):
        return replace(a, share=1.0).scaled(a.share + share * (b.share - a.share))
    return a.scaled(1 - 2 * share) if share < 0.5 else b.scaled(2 * share - 1)
