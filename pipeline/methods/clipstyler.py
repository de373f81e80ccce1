"""CLIPstyler (Kwon & Ye 2022): one picture painted in the style of a text, by a small network fitted to it.

    I_cs  = f(I_c)                                                        the picture I_c through the network f
    L_dir = 1 − ΔI · ΔT / (‖ΔI‖ ‖ΔT‖),   ΔI = i(I_cs) − i(I_c),   ΔT = t_style − t_source               (equation 2)
    L_patch: the same of N patches of I_cs, turned in perspective; those below τ count as 0             (equations 4, 5)
    L_c   = ‖F(I_cs) − F(I_c)‖²  of the features F of a network;   L_tv, total variation
    argmin over f of   λ_d L_dir + λ_p L_patch + λ_c L_c + λ_tv L_tv                                      (equation 6)

The paper takes features of VGG. Here F are those of the first layers of the network that tells persons apart, which is
at hand for every family of faces and knows what makes the face; a family without one keeps the picture itself, at an
eighth of its size. Other departures: a patch is compared with the same patch of the content, not with all of it; there
are fewer and larger ones; a patch that is hardly moved costs, because the direction of a change that nobody sees counts
as much as of one that is seen; τ is lower, for small CLIPs find more of a direction than OpenAI's; f is smaller, sees
blocks of 2 × 2 pixels and begins as the identity, and what it changes may be the picture in strokes or in tiles; the
weights were set for these features, not taken over; and there are steps and rates of our own.

Small CLIPs say little of what a free network should draw: fitted to them, it paints tints and noise that they alone
take for a style. A family may therefore have a painter, networks that learned from filters what some styles look like.
Then f is a mixture of those in each layer, which begins near the one with the least λ_d L_dir + λ_p L_patch, and the
mixture is fitted.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.functional import pdist

from pipeline.latents import Latent
from pipeline.losses import clip_features, directional_cosine
from pipeline.methods.nada import FACES, seen_in_faces
from pipeline.methods.optimization import Adam, DescentState, learning_rate
from pipeline.models.family import Family
from pipeline.networks.arcface import IRSE
from pipeline.networks.stylenet import Mixture, StyleNet, views
from pipeline.paint import SIDE, Paint, resized
from pipeline.text import Texts

LR = 1e-2
START_BLOCK = 2  # pixels a side of the blocks whose means are the picture by which the painter's are compared
MIXTURE_LR, FIRST_SHARE = 0.03, 0.95  # of a mixture of styles, and the share of the best one that it begins with
PATCHES, SHARES = 16, (0.2, 0.5)  # a step, and how wide they are, of the picture's shorter side
TURNED = 0.3  # how far corners are moved, at most, of half a patch
REJECTED = 0.2  # τ
NEAREST = 0.5  # ‖ΔI‖ below which a patch is hardly moved, as a share of how far two faces are apart in CLIP's space
WEIGHTS = {"direction": 0.3, "patches": 1.0, "content": 0.15, "variation": 0.02}  # λ
MIXTURE_WEIGHTS = WEIGHTS | {"content": 0.03}  # its styles leave what is in the picture in its place by themselves
CONTENT_SIZE, CONTENT_LAYERS = 256, 3  # pixels a side of what F is shown, and how many units of the network it is

Features = Callable[[Tensor], Sequence[Tensor]]


class PaintState(NamedTuple):
    """After `index` updates: the picture (1, 3, H, W) as it was before the last one, the loss terms of that picture and
    their weighted sum as `total`, and the network as it is now."""

    index: int
    image: Tensor
    losses: dict[str, float]
    paint: Paint


def patches(picture: Tensor, count: int, size: int, rng: torch.Generator) -> Tensor:
    """`count` random patches (count, 3, size, size) of one picture (1, 3, H, W), each turned in perspective."""
    height, width = picture.shape[2:]
    side = min(height, width) * (SHARES[0] + (SHARES[1] - SHARES[0]) * torch.rand(count, generator=rng))
    middle = torch.stack(
        [(side / 2 + torch.rand(count, generator=rng) * (n - side)) / n * 2 - 1 for n in (width, height)], 1
    )
    half = torch.stack([side / width, side / height], 1)
    # Corners, moved; between them the grid is bilinear, which is close to a perspective for small turns.
    corners = torch.tensor([[-1.0, -1], [1, -1], [-1, 1], [1, 1]])
    corners = corners + TURNED * (2 * torch.rand(count, 4, 2, generator=rng) - 1)
    places = middle[:, None] + corners * half[:, None]  # (count, 4, 2)
    places = places.view(count, 2, 2, 2).permute(0, 3, 1, 2)
    grid = F.interpolate(places, (size, size), mode="bilinear", align_corners=True).permute(0, 2, 3, 1)
    source = picture.expand(count, -1, -1, -1)
    return F.grid_sample(source, grid.to(picture), padding_mode="reflection", align_corners=False)


def styled_loss(before: Tensor, after: Tensor, delta_t: Tensor, spread: float) -> Tensor:
    """Equation 2, of unit embeddings (N, E) and a unit ΔT (1, E), (N,); more for those that are hardly moved."""
    length = (after - before).norm(dim=1) / spread
    return 1 - directional_cosine(before, after, delta_t) + F.relu(1 - length / NEAREST).square()


def variation(picture: Tensor) -> Tensor:
    """Mean squared difference of neighbouring pixels of a picture (1, 3, H, W)."""
    return picture.diff(dim=2).square().mean() + picture.diff(dim=3).square().mean()


def content_features(identity: IRSE | None) -> Features:
    """F: pictures (N, 3, H, W) -> features that say what is in them."""

    def features(picture: Tensor) -> list[Tensor]:
        if identity is None:
            return [F.avg_pool2d(picture, 8)]
        small = F.interpolate(picture, (CONTENT_SIZE, CONTENT_SIZE), mode="bilinear", antialias=True)
        found = [identity.input_layer(small)]
        for unit in identity.body[:CONTENT_LAYERS]:
            found.append(unit(found[-1]))
        return found[1:]

    return features


def paint(
    family: Family, texts: Texts, picture: Tensor, *, target: str, neutral: str, steps: int
) -> Iterator[PaintState]:
    """Paint a picture (1, 3, H, W) in [-1, 1] along the difference of two texts. Yields the state after each of the
    steps, and does the next one only when asked to."""
    losses, rng = _Losses(family, texts, picture, target, neutral), torch.Generator().manual_seed(0)
    network, rate = losses.network_to_fit()
    adam = Adam(values := list(network.parameters()))
    for index in range(1, steps + 1):
        with torch.enable_grad():
            styled = network(losses.views)
            terms = losses(styled, rng)
            total = losses.total(terms)
            gradients = torch.autograd.grad(total, values)
        adam.update(gradients, learning_rate((index - 0.5) / steps, rate))
        told = {name: term.item() for name, term in terms.items()} | {"total": total.item()}
        image, state = styled.detach(), {name: v.detach().cpu().clone() for name, v in network.weights().items()}
        del styled, terms, total
        yield PaintState(index, image, told, Paint(state))


class _Losses:
    """The terms of equation 6 for one picture (1, 3, H, W) and two texts."""

    def __init__(self, family: Family, texts: Texts, picture: Tensor, target: str, neutral: str) -> None:
        self.clip, self.normalize = family.clip, family.row.clip_normalize
        self.resolution, self.content = self.clip.visual.input_resolution, content_features(family.identity)
        self.picture, self.views, self.painter = picture, views(picture), family.painter
        with torch.no_grad():
            self.delta_t = F.normalize(texts.embedding(target) - texts.embedding(neutral))
            self.wanted, self.whole = self.content(picture), self._seen(_square(picture))
            self.spread = pdist(seen_in_faces(family, None, FACES)).mean().item()
        self.scale = [feature.square().mean() for feature in self.wanted]

    def _seen(self, pictures: Tensor) -> Tensor:
        return clip_features(self.clip, pictures, self.normalize)

    def _patches(self, picture: Tensor, rng: torch.Generator) -> Tensor:
        return self._seen(patches(picture, PATCHES, self.resolution, rng))

    def _directions(self, picture: Tensor, styled: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
        """What CLIP says of a picture and the same, painted."""
        places = rng.get_state()
        with torch.no_grad():
            frozen = self._patches(picture, rng)
        rng.set_state(places)
        # Equations 4 and 5, of the same patches before and after; and equation 2.
        each = styled_loss(frozen, self._patches(styled, rng), self.delta_t, self.spread)
        return {
            "direction": styled_loss(self.whole, self._seen(_square(styled)), self.delta_t, self.spread)[0],
            "patches": torch.where(each > REJECTED, each, 0).mean(),
        }

    def __call__(self, styled: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
        """The terms of the painted picture."""
        kept = zip(self.content(styled), self.wanted, self.scale, strict=True)
        return self._directions(self.picture, styled, rng) | {
            "content": sum(F.mse_loss(a, b) / s for a, b, s in kept),
            "variation": variation(styled),
        }

    def total(self, terms: dict[str, Tensor]) -> Tensor:
        """Equation 6, of as many terms as are given."""
        weights = WEIGHTS if self.painter is None else MIXTURE_WEIGHTS
        return sum(weights[name] * term for name, term in terms.items())

    @torch.no_grad()
    def network_to_fit(self) -> tuple[nn.Module, float]:
        """The network that is fitted, as it begins, and the rate: a mixture of the painter's styles, mostly of the one
        whose picture CLIP finds nearest to the words, or a network that changes nothing."""
        if self.painter is None:
            return StyleNet.fresh().to(self.picture.device), LR
        small, seen = (F.avg_pool2d(one, START_BLOCK) for one in (self.picture, self.views))
        rngs = [torch.Generator().manual_seed(0) for _ in self.painter]  # the same patches of all
        each = [self._directions(small, one(seen), rng) for one, rng in zip(self.painter, rngs, strict=True)]
        totals = [self.total(terms).item() for terms in each]
        return Mixture(self.painter, totals.index(min(totals)), FIRST_SHARE), MIXTURE_LR


def paint_face(
    family: Family, texts: Texts, source: Latent, *, target: str, neutral: str, steps: int
) -> Iterator[DescentState]:
    """Paint the face of a latent, at `SIDE` pixels; a paint that was there before is replaced. Yields as `descend`
    does."""
    with torch.no_grad():
        picture = resized(replace(source, paint=None).draw(family.generator).float().clamp(-1, 1), SIDE)
    for state in paint(family, texts, picture, target=target, neutral=neutral, steps=steps):
        yield DescentState(state.index, state.image, state.losses, replace(source, paint=state.paint))


def _square(picture: Tensor) -> Tensor:
    """The middle of a picture (1, 3, H, W), as high as wide."""
    height, width = picture.shape[2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return picture[..., top : top + side, left : left + side]
