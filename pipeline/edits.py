"""What the methods hand back: a finished edit, and a step on the way to one."""

from dataclasses import dataclass
from typing import Any

from PIL import Image

from .latents import Latent


@dataclass(frozen=True, eq=False)
class Edit:
    """An edited face: its picture at full size and its latent.

    `recipe` is JSON: with the source latent it repeats the edit, see `StyleCLIP.repeat`. `notes` are sentences for the
    visitor. `channels` is the number of StyleSpace channels that a global direction moved.
    """

    image: Image.Image
    latent: Latent
    recipe: dict[str, Any]
    notes: tuple[str, ...] = ()
    channels: int | None = None


@dataclass(frozen=True, eq=False)
class Step:
    """A step of a long edit: `index` of `total` are done.

    `image` is the preview, or the full picture at the last step or where no preview was asked for. `losses` has the
    terms `clip`, `l2` and, where it counts, `identity`, as they are before weighting, and their weighted sum `total`.
    `edit` is the edit as far as it has come: stop at any step and keep it.
    """

    index: int
    total: int
    image: Image.Image
    losses: dict[str, float]
    edit: Edit

    @property
    def latent(self) -> Latent:
        return self.edit.latent

    @property
    def notes(self) -> tuple[str, ...]:
        return self.edit.notes
