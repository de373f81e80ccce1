"""From an aligned face x to a latent: by e4e, then closer to the photo by refining the code or tuning the generator.

    w = w̄ + E(x)                                                                 e4e (Tov et al. 2021)
    argmin over w of   Σ_k λ_k · L_k(G(w), x)  +  λ_L2 · ‖w − w_0‖²              refining, from w_0
    argmin over θ of   Σ_k λ_k · L_k(G(w; θ), x)                                 tuning (Roich et al. 2021)

w̄ is the mean latent and E the encoder. The terms L_k are pixels, contrast, identity and what CLIP sees (`photo_terms`).
θ are low-rank differences of the generator's weights (`low_rank`).
"""

from collections.abc import Iterator
from dataclasses import replace

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from pipeline.errors import UserError
from pipeline.images import to_tensor
from pipeline.latents import Latent
from pipeline.losses import clip_features, identity_distance, identity_features
from pipeline.methods.low_rank import LowRank, as_tuning, detached
from pipeline.methods.optimization import (
    Adam,
    Codes,
    DescentState,
    Loss,
    Terms,
    Variable,
    clip_loss,
    descend,
    identity_loss,
    learning_rate,
)
from pipeline.models.family import Family
from pipeline.networks.generator import Factors, StyleGenerator

LIKE_THE_PHOTO = 0.6  # of `likeness`, from which on a picture counts as like the photo
PHOTO_SIZE = 256  # pixels a side, at most, at which a picture is compared with the photo
# The comparison is made on the picture itself, and averaged over blocks of 4 and 16 pixels a side.
SCALES = (1, 4, 16)
PIXELS, CONTRAST, IDENTITY, CLIP = 1.0, 0.02, 0.1, 0.1  # weights of the terms
CELL, LEAST_CONTRAST = 8, 0.02  # pixels a side of the areas whose contrast is compared, and what counts as none
REFINE_STEPS, REFINE_LR, REFINE_L2 = 40, 0.05, 1e-4
TUNE_STEPS, TUNE_LR, PREVIEW_LR = 80, 0.01, 0.02  # the rates are shares of the weights' root mean square
TUNED_UP_TO = 128  # pixels a side: what finer layers learn shows as a pattern, on hair and skin first


@torch.no_grad()
def invert(family: Family, image: Image.Image) -> Latent:
    """The code of an aligned picture by e4e: the encoder's offsets, added to the mean latent unless the encoder has a
    start of its own. Rows of its answer that the generator does not have are left out.

    Raises UserError for a family without an encoder, and for a picture of another shape.
    """
    encoder = family.encoder
    if encoder is None:
        raise UserError(f"The model “{family.title}” can't read photos; please start from a random picture.")
    rows, count = family.rows(encoder.size), len(family.latent_avg)
    check_shape(image, encoder.size, rows)
    pixels = to_tensor(image, (encoder.size, rows)).to(next(encoder.parameters()))
    offsets = encoder(pixels).float()
    start = family.latent_avg if encoder.start is None else encoder.start[:count].to(family.latent_avg)
    return Latent((offsets[:, :count] + start).cpu())


def check_shape(image: Image.Image, size: int, rows: int) -> None:
    """Raises UserError for a picture that is not `size` to `rows` pixels in shape."""
    if abs(image.width * rows - image.height * size) > size:
        shape = "a square picture" if rows == size else f"{size}:{rows} wide"
        raise UserError(f"An aligned picture is {shape}; please let the studio align this one first.")


def photo_square(family: Family, image: Image.Image) -> Tensor:
    """An aligned picture as the family's generator would draw it, at most `PHOTO_SIZE` wide: (1, 3, S, S), black above
    and below its rows. Raises UserError for a picture of another shape."""
    size = min(family.generator.size, PHOTO_SIZE)
    rows = family.rows(size)
    check_shape(image, size, rows)
    above = (size - rows) // 2
    return F.pad(to_tensor(image, (size, rows)), (0, 0, above, size - rows - above), value=-1.0).to(family.device)


def pixel_distance(images: Tensor, photo: Tensor) -> Tensor:
    """Mean absolute difference of images (N, 3, R, R) and a photo (1, 3, S, S), at several scales, summed."""
    difference = F.adaptive_avg_pool2d(images.float(), photo.shape[-1]) - photo
    return sum((F.avg_pool2d(difference, scale) if scale > 1 else difference).abs().mean() for scale in SCALES)


def _contrasts(images: Tensor) -> list[Tensor]:
    """Logarithms of the mean contrast of areas of images (N, 3, R, R), at the two finest scales."""
    contrasts = []
    for _ in range(2):
        small = F.avg_pool2d(images, 2)
        detail = images - F.interpolate(small, scale_factor=2, mode="bilinear", align_corners=False)
        contrasts.append((F.avg_pool2d(detail.abs().mean(1, keepdim=True), CELL) + LEAST_CONTRAST).log())
        images = small
    return contrasts


def contrast_distance(photo: Tensor) -> Loss:
    """The mean absolute difference of the contrasts of images and a photo (1, 3, S, S), at two scales, summed.

    Where details can't be met pixel by pixel, `pixel_distance` is lowest for hair and skin that are blurred.
    """
    size, target = photo.shape[-1], _contrasts(photo)

    def distance(images: Tensor) -> Tensor:
        contrasts = _contrasts(F.adaptive_avg_pool2d(images.float(), size))
        return sum((a - b).abs().mean() for a, b in zip(contrasts, target, strict=True))

    return distance


@torch.no_grad()
def photo_terms(photo: Tensor, clip: nn.Module, normalize: bool, identity: nn.Module | None) -> Terms:
    """What makes a picture like a photo (1, 3, S, S): name -> (weight, loss of images). No `identity`, no such term."""
    terms = {
        "pixels": (PIXELS, lambda images: pixel_distance(images, photo)),
        "contrast": (CONTRAST, contrast_distance(photo)),
        "clip": (CLIP, clip_loss(clip, normalize, clip_features(clip, photo, normalize))),
    }
    if identity is not None:
        terms["identity"] = (IDENTITY, identity_loss(identity, photo))
    return terms


@torch.no_grad()
def likeness(family: Family, latent: Latent, photo: Tensor) -> float | None:
    """The cosine of the identity embeddings of a photo (1, 3, S, S) and a latent's picture; None without a network."""
    if family.identity is None:
        return None
    image = latent.draw(family.generator, latent.working_size(family.generator))
    person, other = (identity_features(family.identity, faces) for faces in (photo, image.clamp(-1, 1)))
    return 1 - identity_distance(person, other).item()


def towards_photo(family: Family, method: str, source: Latent, photo: Tensor, steps: int) -> Iterator[DescentState]:
    """Towards a photo (1, 3, S, S) of the face: "refine" moves the code in W+, "tune" the generator around it, the
    pivot; both without the style and the paint of the source, which no photo has. Yields as `descend` does. Raises
    ValueError for any other method."""
    source = replace(source, adaptation=None, paint=None)
    terms = photo_terms(photo, family.clip, family.row.clip_normalize, family.identity)
    if method == "refine":
        code = Codes(family.generator, source, rows=True)
        return descend(code, terms, steps=steps, lr=REFINE_LR, l2=REFINE_L2)
    if method == "tune":
        return descend(Tuned(family.generator, source), terms, steps=steps, lr=TUNE_LR)
    raise ValueError(f"“{method}” is no way towards a photo")


class Tuned(Variable):
    """The generator's weights around a pivot: W+ and S stay, and a low-rank difference of each layer's weight moves,
    but for layers above `TUNED_UP_TO`. A preview network, where the generator has one, is trained along so that small
    pictures match."""

    def __init__(self, generator: StyleGenerator, source: Latent) -> None:
        super().__init__(generator, source)
        with torch.no_grad():
            self.styles = source.styles(generator)
        self.before = self.tuning or {}
        self.tuned = LowRank(coarse_weights(generator), self.before)
        self.preview = LowRank(generator.preview_weights(), self.before)
        self.preview_adam = Adam(self.preview.values)
        self.values = self.tuned.values
        self.drawn: dict[str, Factors] = {}

    def image(self, noise: Tensor | None = None) -> Tensor:
        factors = self.before | self.tuned.factors()
        self.drawn = detached(factors)
        return self.generator.synthesize(self.styles, tuning=factors, regions=self.regions)

    def latent(self) -> Latent:
        factors = self.drawn | detached(self.preview.factors())
        return replace(self.source, tuning=as_tuning(factors))

    def updated(self, image: Tensor, t: float) -> None:
        """The preview's step down: its picture towards the whole one, which was drawn before the weights' step."""
        if not self.preview.values:
            return
        size = self.generator.working_size
        small = self.generator.synthesize(self.styles, size, self.drawn | self.preview.factors(), self.regions)
        loss = F.mse_loss(small, F.adaptive_avg_pool2d(image.float(), size))
        self.preview_adam.update(torch.autograd.grad(loss, self.preview.values), learning_rate(t, PREVIEW_LR))


def coarse_weights(generator: StyleGenerator) -> dict[str, Tensor]:
    """The tunable weights of layers that work at up to `TUNED_UP_TO`."""
    resolutions = {layer.name: layer.resolution for layer in generator.style_layers}
    weights = generator.tunable_weights()
    return {name: weight for name, weight in weights.items() if resolutions[name] <= TUNED_UP_TO}
