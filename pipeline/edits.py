"""What the methods hand back: a finished edit, and a step on the way to one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from PIL import Image
from torch import Tensor

from pipeline.latents import Latent
from pipeline.methods.optimization import DescentState


@dataclass(frozen=True, eq=False)
class Edit:
    """An edited face: its picture at full size, which `draw` makes, and its latent.

    `recipe` is JSON: with the source latent it repeats the edit, see `StyleCLIP.repeat`. `notes` are sentences for the
    visitor. `channels` is the number of StyleSpace channels that a global direction moved.
    """

    draw: Callable[[], Image.Image]
    latent: Latent
    recipe: dict[str, Any]
    notes: tuple[str, ...] = ()
    channels: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "draw", cache(self.draw))

    @property
    def image(self) -> Image.Image:
        """The picture, which is drawn when it is first asked for."""
        return self.draw()

    def __reduce__(self) -> tuple[Any, ...]:  # another process gets the picture instead of what draws it
        return Edit, (self.image.copy, self.latent, self.recipe, self.notes, self.channels)


@dataclass(frozen=True, eq=False)
class Step:
    """A step of a long edit: `index` of `total` are done.

    `image` is the preview, or the edit's full picture at the last step or where no preview was asked for. `losses` has
    the terms, as they are before weighting, and their weighted sum `total`: `clip`; `l2`, but in tuning; where it
    counts, `identity`; in refining and tuning `pixels` and `contrast`; what else there is, `methods.nada` and
    `methods.clipstyler` say.
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


def steps_of(
    begin: Callable[[], Iterator[DescentState]],
    recipe: dict[str, Any],
    picture: Callable[[Tensor], Image.Image],
    draw: Callable[[Latent], Image.Image],
    size: int,
    preview: int | None,
    notes: tuple[str, ...] = (),
) -> Iterator[Step]:
    """The states of long work as steps. `begin` starts the work, when the first step is asked for; pictures are
    `preview` pixels wide, at most, until the last step, unless that is None.

    `picture` makes an image (1, 3, R, R) a picture of PIL, `draw` draws a latent's whole one, of `size` pixels."""
    total = recipe["parameters"]["steps"]
    for state in begin():
        image = picture(state.image)
        full = image.copy if state.image.shape[3] == size else partial(draw, state.latent)
        edit = Edit(full, state.latent, recipe | {"taken": state.index}, notes)
        small = preview and state.index < total
        image = image if small else edit.image
        if small and preview < image.width:
            image = image.resize((preview, preview * image.height // image.width), Image.Resampling.BOX)
        yield Step(state.index, total, image, state.losses, edit)
