"""What is edited: a code in W+ and, after edits in StyleSpace, a step in S; and how the generator's weights differ."""

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from pipeline.errors import UserError
from pipeline.networks.generator import Factors, Region, StyleGenerator
from pipeline.paint import Paint, between
from pipeline.tuning import Tuning, added, digest, mixed

MOST_REGIONS = 32  # of a latent: each makes drawing slower
LARGEST_MASK = 256  # pixels a side
NO_FACE = "This latent holds numbers that no face has; please use one that was saved by this studio."
TOO_MANY = (
    f"A picture holds edits in at most {MOST_REGIONS} regions; please go on from an earlier picture, or edit the whole "
    "picture."
)


@dataclass(frozen=True, eq=False)
class Latent:
    """One face in the generator's terms, float32 on the CPU.

    `w_plus` is (1, L, D), one row per layer. `style_step` holds one (1, C_i) tensor per vector of StyleSpace S, or is
    None: the face is drawn from styles(w_plus) + style_step, so edits in W+ and edits in S follow one another in any
    order. `tuning` (to one face) and `adaptation` (to a style) are added to the weights of the generator; `paint`
    is a network that the drawn picture goes through at last; each may be None. In each of the `regions` the styles of S
    are a further step away, see `StyleGenerator.synthesize`.
    """

    w_plus: Tensor
    style_step: tuple[Tensor, ...] | None = None
    tuning: Tuning | None = None
    regions: tuple[Region, ...] = ()
    adaptation: Tuning | None = None
    paint: Paint | None = None

    def __post_init__(self) -> None:
        of_regions = [("regions", values) for mask, step in self.regions for values in (mask, *step)]
        for name, values in (("w_plus", self.w_plus), *(("style_step", s) for s in self.style_step or ()), *of_regions):
            if not isinstance(values, Tensor):
                raise TypeError(f"`{name}` holds tensors, not {type(values).__name__}.")
        for name, tuning in (("tuning", self.tuning), ("adaptation", self.adaptation)):
            if not isinstance(tuning, Tuning | None):
                raise TypeError(f"`{name}` is a Tuning, not {type(tuning).__name__}.")
        if not isinstance(self.paint, Paint | None):
            raise TypeError(f"`paint` is a Paint, not {type(self.paint).__name__}.")

    @property
    def space(self) -> str:
        """ "w+", or "s" when a step in StyleSpace is part of it."""
        return "s" if self.style_step or self.regions else "w+"

    def styles(self, generator: StyleGenerator) -> list[Tensor]:
        """Its coordinates in StyleSpace S outside its regions, on the generator's device: one (1, C_i) tensor per
        vector."""
        device = generator.device
        styles = generator.styles(self.w_plus.to(device))
        if self.style_step is None:
            return styles
        return [s + step.to(device) for s, step in zip(styles, self.style_step, strict=True)]

    def draw(self, generator: StyleGenerator, resolution: int | None = None) -> Tensor:
        """The face (1, 3, R, R) in [-1, 1], on the generator's device, see `StyleGenerator.synthesize`."""
        weights, regions = self.weights_on(generator.device), self.regions_on(generator.device)
        return self.painted(generator.synthesize(self.styles(generator), resolution, weights, regions))

    def painted(self, image: Tensor) -> Tensor:
        """An image (1, 3, R, R) of the generator as this latent shows it."""
        return image if self.paint is None else self.paint.over(image)

    def weights_on(self, device: torch.device) -> dict[str, Factors]:
        """What its tuning and its adaptation add to the weights, as `StyleGenerator.synthesize` takes it."""
        return added(*(part.on(device) for part in (self.tuning, self.adaptation) if part))

    def regions_on(self, device: torch.device) -> list[Region]:
        """Its regions, as `StyleGenerator.synthesize` takes them."""
        return [Region(mask.to(device), tuple(s.to(device) for s in step)) for mask, step in self.regions]

    def working_size(self, generator: StyleGenerator) -> int:
        """The generator's `working_size`, or `size` where its small pictures don't show what the weights changed."""
        shown = all(part is None or part.previews(generator) for part in (self.tuning, self.adaptation))
        return generator.working_size if shown else generator.size

    def fits(self, generator: StyleGenerator) -> bool:
        """Whether it was made with a generator of these sizes."""
        layers = generator.style_layers
        steps = [(1, layer.channels) for layer in layers]
        if self.w_plus.shape != (1, generator.num_rows, generator.style_dim):
            return False
        for step in (self.style_step, *(region.step for region in self.regions)):
            if step is not None and [tuple(s.shape) for s in step] != steps:
                return False
        if len(self.regions) > MOST_REGIONS or not all(_is_mask(mask) for mask, _ in self.regions):
            return False
        if self.paint is not None and not self.paint.fits():
            return False
        return all(part is None or part.fits(generator) for part in (self.tuning, self.adaptation))

    def towards(self, other: "Latent", share: float) -> "Latent":
        """The latent at `share` of the way to `other`: this one at 0, the other at 1, beyond them outside.

        Its tuning is that of both; where only one is tuned, its share of that; two styles are mixed. Raises UserError
        where the two are of different models, or tuned differently, and where both together have more than
        `MOST_REGIONS` regions, or too many styles.
        """
        if not isinstance(other, Latent):
            raise TypeError(f"`other` is a latent, not {type(other).__name__}.")
        if not math.isfinite(share):
            raise UserError(f"`share` is a number, 0 for this latent and 1 for the other, not {share}.")
        moved = [latent.style_step for latent in (self, other) if latent.style_step]
        steps = [[s.shape for s in step] for step in (*moved, *(r.step for r in (*self.regions, *other.regions)))]
        if self.w_plus.shape != other.w_plus.shape or any(shapes != steps[0] for shapes in steps):
            raise UserError("These two latents were made with different models; please take two of the same model.")
        if not self.tuned_like(other):
            raise UserError("The generator was tuned differently for these two faces; please take two of one face.")
        step = None
        if moved:
            starts, ends = (
                latent.style_step or [torch.zeros_like(s) for s in self.style_step or other.style_step]
                for latent in (self, other)
            )
            step = tuple(_between(a, b, share) for a, b in zip(starts, ends, strict=True))
        w_plus = _between(self.w_plus, other.w_plus, share)
        tuning = self.tuning
        if tuning is None or other.tuning is None:
            tuning = tuning.scaled(1 - share) if tuning else other.tuning and other.tuning.scaled(share)
        regions = _not_too_many(_regions_between(self.regions, other.regions, share))
        adaptation, paint = mixed(self.adaptation, other.adaptation, share), between(self.paint, other.paint, share)
        return Latent(w_plus, step, tuning, regions, adaptation, paint)

    def same_regions(self, other: "Latent") -> bool:
        """Whether the two move in the same regions, and there by the same steps."""
        one, two = _with_steps(self.regions), _with_steps(other.regions)
        return len(one) == len(two) and all(
            torch.equal(a.mask, b.mask) and all(map(torch.equal, a.step, b.step)) for a, b in zip(one, two, strict=True)
        )

    def in_style_of(self, other: "Latent") -> "Latent":
        """This face as the generator draws it with the adaptation of another latent."""
        return replace(self, adaptation=other.adaptation)

    def same_weights(self, other: "Latent") -> bool:
        """Whether the two are tuned, adapted and painted alike."""
        pairs = [(getattr(self, name), getattr(other, name)) for name in ("tuning", "adaptation", "paint")]
        return all(
            a is b or (a and b and digest(a.tensors().values()) == digest(b.tensors().values())) for a, b in pairs
        )

    def tuned_like(self, other: "Latent") -> bool:
        """Whether the two are tuned for one face, or one of them for none, as `towards` wants it."""
        one, two = self.tuning, other.tuning
        return one is None or two is None or one is two or one.digest() == two.digest()

    def moved(self, step: list[Tensor]) -> "Latent":
        """The latent a step in StyleSpace further, `step` being one (1, C_i) tensor per vector of S."""
        step = tuple(s.cpu() for s in step)
        if self.style_step is not None:
            step = tuple(a + b for a, b in zip(self.style_step, step, strict=True))
        return replace(self, style_step=step)

    def moved_within(self, mask: Tensor, step: list[Tensor]) -> "Latent":
        """The latent a step in StyleSpace further where the mask (1, 1, R, R) is, see `moved`.

        Regions whose steps are zero are left out. Raises UserError for more than `MOST_REGIONS` regions.
        """
        mask, step, regions = mask.cpu(), tuple(s.cpu() for s in step), list(self.regions)
        same = next((i for i, region in enumerate(regions) if torch.equal(region.mask, mask)), None)
        if same is None:
            regions.append(Region(mask, step))
        else:
            regions[same] = Region(mask, tuple(a + b for a, b in zip(regions[same].step, step, strict=True)))
        return replace(self, regions=_not_too_many(_with_steps(regions)))

    def tensors(self) -> dict[str, Tensor]:
        """All values, by the names that they have in a file: `w_plus`; `style_step.0`, ... where there is a step in S;
        `tuning.LAYER.left` and `.right`, and `adaptation.…` alike; `paint.…`; of each region `region.0.mask`,
        `region.0.step.0`, ..."""
        tensors = {"w_plus": self.w_plus}
        tensors |= {f"style_step.{i}": s for i, s in enumerate(self.style_step or ())}
        for kind, part in (("tuning", self.tuning), ("adaptation", self.adaptation)):
            tensors |= {f"{kind}.{name}": t for name, t in (part.tensors() if part else {}).items()}
        tensors |= {f"paint.{name}": t for name, t in (self.paint.tensors() if self.paint else {}).items()}
        for k, (mask, step) in enumerate(self.regions):
            tensors |= {f"region.{k}.mask": mask} | {f"region.{k}.step.{i}": s for i, s in enumerate(step)}
        return tensors

    def digest(self) -> str:
        """SHA-256 of all values, by which a recipe knows its source."""
        return digest(self.tensors().values())

    def save(self, path: str | Path) -> None:
        """Writes a safetensors file of all `tensors`."""
        tensors = self.tensors()
        if not isinstance(path, str | Path):
            raise TypeError(f"`path` is a path, not {type(path).__name__}.")
        try:
            save_file({k: v.contiguous() for k, v in tensors.items()}, path)
        except (SafetensorError, OSError) as error:
            there = os.path.isdir(os.path.dirname(path) or ".")  # noqa: PTH112, PTH120  # which never raises
            why = error if there else "there is no such folder"
            raise UserError(f"No latent can be saved at {path} ({why}); please choose another place.") from error

    @classmethod
    def load(cls, file: str | Path | BinaryIO) -> "Latent":
        """Reads what `save` wrote, to the bit, from a path or an open file. Raises UserError for any other file, and
        where there is none."""
        if isinstance(file, str | Path) and not os.path.isfile(file):  # noqa: PTH113  # false for what can be no path
            raise UserError(f"There is no latent at {file}; please check the path.")
        if not isinstance(file, str | Path) and not hasattr(file, "read"):
            raise TypeError(f"`file` is a path or an open file, not {type(file).__name__}.")
        try:
            content = file.read() if hasattr(file, "read") else Path(file).read_bytes()
            tensors = load(content.encode() if isinstance(content, str) else content)
            if any(tensor.dtype != torch.float32 for tensor in tensors.values()):
                raise ValueError("not float32")
            if not all(tensor.isfinite().all() for tensor in tensors.values()):
                raise UserError(NO_FACE)
            w_plus = tensors.pop("w_plus")
            tuning, adaptation = (Tuning.popped(tensors, f"{kind}.") for kind in ("tuning", "adaptation"))
            paint = Paint.popped(tensors, "paint.")
            masks = sum(name.startswith("region.") and name.endswith(".mask") for name in tensors)
            if masks > MOST_REGIONS:  # each looks at all names
                raise UserError(TOO_MANY)
            regions = [
                Region(tensors.pop(f"region.{k}.mask"), _popped(tensors, f"region.{k}.step.")) for k in range(masks)
            ]
            step = _popped(tensors, "style_step.")
            if tensors:
                raise ValueError("unknown tensors")
        except (SafetensorError, KeyError, ValueError, RuntimeError, OSError):  # the fourth of 65 dimensions and more
            raise UserError("This file holds no latent; please choose one that was saved by this studio.") from None
        return cls(w_plus, step or None, tuning, tuple(regions), adaptation, paint)


def truncated(w: Tensor, average: Tensor, truncation: float) -> Tensor:
    """w (N, D) -> W+ (N, L, D), moved towards the mean latent `average` (L, D); with ψ `truncation` 1 it stays."""
    return average + truncation * (w[:, None] - average)


@torch.no_grad()
def sampled(generator: StyleGenerator, average: Tensor, seed: int, truncation: float) -> Latent:
    """The face of a seed, moved towards the mean latent `average` (L, D) by ψ `truncation`."""
    z = torch.randn(1, generator.style_dim, generator=torch.Generator().manual_seed(seed))
    return Latent(truncated(generator.mapping(z.to(generator.device)), average, truncation).cpu())


def _between(a: Tensor, b: Tensor, share: float) -> Tensor:
    """What both share is not copied: the strip of a visitor is full of latents that differ in a part."""
    return a if a is b else torch.lerp(a, b, share)


def _regions_between(a: Sequence[Region], b: Sequence[Region], share: float) -> tuple[Region, ...]:
    """The regions at `share` of the way from one latent's to another's: a step of one alone is its share of it."""
    regions, left = [], list(b)
    for mask, step in a:
        same = next((region for region in left if torch.equal(region.mask, mask)), None)
        left = [region for region in left if region is not same]
        ends = same.step if same else [torch.zeros_like(s) for s in step]
        regions.append(Region(mask, tuple(_between(s, e, share) for s, e in zip(step, ends, strict=True))))
    regions += [Region(mask, tuple(share * s for s in step)) for mask, step in left]
    return _with_steps(regions)


def _with_steps(regions: Iterable[Region]) -> tuple[Region, ...]:
    """The regions in which a latent moves: those whose steps aren't all zero."""
    return tuple(region for region in regions if any(s.any() for s in region.step))


def _not_too_many(regions: tuple[Region, ...]) -> tuple[Region, ...]:
    if len(regions) > MOST_REGIONS:
        raise UserError(TOO_MANY)
    return regions


def _is_mask(mask: Tensor) -> bool:
    """Whether a tensor has the shape of a mask, (1, 1, R, R)."""
    size = mask.shape[-1] if mask.ndim == 4 else 0
    return mask.shape == (1, 1, size, size) and 1 <= size <= LARGEST_MASK


def _popped(tensors: dict[str, Tensor], prefix: str) -> tuple[Tensor, ...]:
    """The tensors `prefix`0, `prefix`1, ..., which are taken out."""
    return tuple(tensors.pop(f"{prefix}{i}") for i in range(sum(name.startswith(prefix) for name in tensors)))


def draw_together(generator: StyleGenerator, wanted: Sequence[tuple[Latent, int | None]]) -> list[Tensor]:
    """The faces (1, 3, R, R) of several latents, each at its resolution, as `Latent.draw` draws them: those of one
    resolution as a batch, which differs from one by one in the last bits only; ones with other weights or regions
    alone."""
    batches: dict[object, list[int]] = {}
    for index, (latent, resolution) in enumerate(wanted):
        alone = latent.tuning or latent.adaptation or latent.paint or latent.regions
        batches.setdefault((index,) if alone else resolution, []).append(index)
    images: list[Tensor] = [torch.empty(0)] * len(wanted)
    for indices in batches.values():
        latents, resolution = [wanted[i][0] for i in indices], wanted[indices[0]][1]
        if len(latents) == 1:
            images[indices[0]] = latents[0].draw(generator, resolution)
            continue
        styles = zip(*(latent.styles(generator) for latent in latents), strict=True)
        batch = generator.synthesize([torch.cat(vectors) for vectors in styles], resolution)
        for index, image in zip(indices, batch.split(1), strict=True):
            images[index] = image
    return images
