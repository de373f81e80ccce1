"""StyleGAN-NADA (Gal et al. 2022): a generator adapted to a style by two texts, without a picture of that style.

    Δt    = t_style − t_source                                                                  (section 4.1)
    Δi(w) = i(G(w; θ)) − i(G(w))                  the adapted generator and the frozen one, on one sampled w
    argmin over θ of   E_w [ 1 − Δi(w) · Δt / (‖Δi(w)‖ ‖Δt‖) ]                                  (directional loss)

i is CLIP's embedding of the whole picture, and of `CROPS` parts of it, where a style's texture is seen. θ are not all
weights but low-rank differences of them (`low_rank`): they load in a moment, a slider scales them, and they add up with
the tuning for one face.

Not in the paper are the parts of the picture, and four more things. At the start Δi is zero and has no direction;
until it is `FAR` long, pictures are drawn towards i + Δt instead (`losses.directional_target`). Beyond `FARTHEST` it
costs: the direction alone asks for ever more, and bronze became black and yellow. So does what of a picture is brighter
than white or darker than black, which CLIP would see and nobody else. Where the generator has a preview network, nine
of ten steps are of its pictures, which take a tenth of the time; the tenth is of the whole picture, which is to be like
the preview besides.

Adaptive layer freezing (section 4.2): for a style that is texture alone, only the k layers are trained whose styles
move most when sampled codes are optimized towards the text. The paper chooses them anew at each step, in W+; here they
are chosen once, in S, and layers toRGB may be among them.
"""

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.functional import pdist

from pipeline.latents import Latent, sampled, truncated
from pipeline.losses import clip_distance, clip_features, directional_cosine, directional_target
from pipeline.methods.low_rank import LowRank, as_tuning
from pipeline.methods.optimization import Adam, DescentState, learning_rate
from pipeline.models.family import Family
from pipeline.networks.generator import Factors, StyleGenerator
from pipeline.text import Texts
from pipeline.tuning import Tuning

STEPS, LR = 120, 0.01  # of whole pictures; the rate is a share of the weights' root mean square
QUICK_STEPS = 300  # where there is a preview network
WHOLE_EVERY = 10  # of how many of these one is of the whole picture
TRUNCATION = 0.8  # ψ of the sampled faces
CROPS, SIDES = 4, (0.25, 0.5)  # a picture, and how wide they are, of its width
FAR, FARTHEST = 0.1, 0.83  # ‖Δi‖ from which its direction counts, and from which its length costs: shares of `spread`
WEIGHTS = {"clip": 1.0, "range": 10.0, "preview": 3.0}  # λ; of the last, what parts whole pictures from previews
FACES = 4  # sampled to find the spread
JUDGED = range(10_000, 10_008)  # seeds of the faces by which it is told whether a style was reached
FREEZING_PICTURES, FREEZING_STEPS, FREEZING_LR = 2, 4, 0.1  # of the styles, in deviations of each layer's


class Adapted:
    """A generator's weights, judged on sampled faces: a low-rank difference of the weights of `layers` moves, and one
    of the preview network's, where the generator has one."""

    def __init__(self, family: Family, layers: Collection[str]) -> None:
        self.family, self.generator, self.rng = family, family.generator, torch.Generator().manual_seed(0)
        weights = {name: weight for name, weight in self.generator.tunable_weights().items() if name in layers}
        self.whole, self.preview = LowRank(weights, {}), LowRank(self.generator.preview_weights(), {})
        self.values = self.whole.values + self.preview.values

    def factors(self) -> dict[str, Factors]:
        """Of all weights, differentiable with respect to `values`."""
        return self.whole.factors() | self.preview.factors()

    def next_face(self) -> None:
        """Samples a face: its `styles`, and `frozen`, its picture by the generator as it was, of the working size."""
        generator = self.generator
        with torch.no_grad():
            z = torch.randn(1, generator.style_dim, generator=self.rng).to(generator.device)
            w_plus = truncated(generator.mapping(z), self.family.latent_avg, TRUNCATION)
            self.styles = generator.styles(w_plus)
            self.frozen = generator.synthesize(self.styles, generator.working_size)

    def small(self) -> Tensor:
        """The adapted picture of the face, of the working size."""
        return self.generator.synthesize(self.styles, self.generator.working_size, self.factors())

    def large(self) -> Tensor:
        """The same of the generator's size, without the preview network."""
        return self.generator.synthesize(self.styles, tuning=self.whole.factors())


def by_previews(generator: StyleGenerator, layers: int = 0) -> bool:
    """Whether most steps are of the preview network's pictures: not where a few layers learn, of which it may have
    none."""
    return bool(generator.preview_weights()) and not layers


def usual_steps(generator: StyleGenerator, layers: int = 0) -> int:
    """How many steps a style takes."""
    return QUICK_STEPS if by_previews(generator, layers) else STEPS


def crops(images: Tensor, places: Tensor, size: int) -> Tensor:
    """Parts (K, 3, size, size) of an image (1, 3, R, R): `places` (K, 3) are the middle's x and y, and half the side,
    where the image goes from -1 to 1."""
    zero = torch.zeros(len(places), device=places.device)
    x, y, half = places.unbind(1)
    rows = torch.stack([half, zero, x, zero, half, y], 1).view(-1, 2, 3)
    grid = F.affine_grid(rows, [len(places), 3, size, size], align_corners=False)
    return F.grid_sample(images.expand(len(places), -1, -1, -1), grid.to(images), align_corners=False)


def some_places(count: int, rng: torch.Generator) -> Tensor:
    """`count` random places, as `crops` takes them."""
    half = SIDES[0] + (SIDES[1] - SIDES[0]) * torch.rand(count, 1, generator=rng)
    return torch.cat([(2 * torch.rand(count, 2, generator=rng) - 1) * (1 - half), half], 1)


def directional_loss(frozen: Tensor, adapted: Tensor, delta_t: Tensor, spread: float) -> Tensor:
    """The loss of section 4.1, of unit embeddings (N, E) and a unit Δt (1, E): (N,). `spread` is how far two faces are
    apart in CLIP's space."""
    length = (adapted - frozen).norm(dim=1) / spread
    direction = 1 - directional_cosine(frozen, adapted, delta_t)
    towards = 1 - (adapted * directional_target(frozen, delta_t)).sum(1)
    beyond = F.relu(length / FARTHEST - 1).square()
    return torch.where(length > FAR, direction, 1 + towards) + beyond  # 1 more, so that going back is no way down


@torch.no_grad()
def chosen_layers(family: Family, goal: Tensor, count: int) -> set[str]:
    """The `count` layers whose styles move most, in deviations, when sampled codes are optimized towards a text's unit
    embedding (1, E) (section 4.2)."""
    generator = family.generator
    z = torch.randn(FREEZING_PICTURES, generator.style_dim, generator=torch.Generator().manual_seed(1))
    styles = generator.styles(generator.mapping(z.to(generator.device)))
    steps = [torch.zeros_like(s, requires_grad=True) for s in styles]
    adam, scales = Adam(steps), [s.std().clamp(min=1e-3) for s in styles]
    for _ in range(FREEZING_STEPS):
        with torch.enable_grad():
            moved = [s + scale * step for s, scale, step in zip(styles, scales, steps, strict=True)]
            seen = clip_features(family.clip, generator.synthesize(moved), family.row.clip_normalize)
            gradients = torch.autograd.grad(clip_distance(seen, goal).sum(), steps)
        adam.update(gradients, FREEZING_LR)
    weights = generator.tunable_weights()
    change = {
        layer.name: s.abs().mean().item()
        for layer, s in zip(generator.style_layers, steps, strict=True)
        if layer.name in weights
    }
    return set(sorted(change, key=change.get, reverse=True)[:count])


@torch.no_grad()
def seen_in_faces(family: Family, style: Tuning | None, count: int = len(JUDGED)) -> Tensor:
    """What CLIP sees in sampled faces in a style: unit embeddings (N, E)."""
    generator, average = family.generator, family.latent_avg
    faces = [replace(sampled(generator, average, seed, TRUNCATION), adaptation=style) for seed in JUDGED[:count]]
    pictures = torch.cat([face.draw(generator, face.working_size(generator)) for face in faces])
    return clip_features(family.clip, pictures.clamp(-1, 1), family.row.clip_normalize)


def reached(family: Family, texts: Texts, style: Tuning, target: str, neutral: str) -> tuple[int, int]:
    """In how many of how many sampled faces in a style CLIP finds the text `target` rather than `neutral`."""
    said = torch.cat([texts.embedding(target), texts.embedding(neutral)])
    found = (seen_in_faces(family, style) @ said.T).argmax(1)
    return int((found == 0).sum()), len(found)


def adapt(
    family: Family, texts: Texts, source: Latent, *, target: str, neutral: str, steps: int, layers: int
) -> Iterator[DescentState]:
    """Adapt a family's generator from the style of the text `neutral` to that of `target`: `layers` of them, 0 for all.

    Yields as `descend` does: pictures of sampled faces, and the latent `source` in the style so far.
    """
    generator, normalize = family.generator, family.row.clip_normalize
    goal = texts.embedding(target)
    delta_t = F.normalize(goal - texts.embedding(neutral))
    names = chosen_layers(family, goal, layers) if layers else generator.tunable_weights().keys()
    adapted, rng = Adapted(family, names), torch.Generator().manual_seed(0)
    every = WHOLE_EVERY if by_previews(generator, layers) else 1
    resolution, spread = family.clip.visual.input_resolution, pdist(seen_in_faces(family, None, FACES)).mean().item()

    def embeddings(picture: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """What CLIP sees in a picture, and in its parts."""
        parts = crops(picture, places, resolution)
        return clip_features(family.clip, picture, normalize), clip_features(family.clip, parts, normalize)

    adam = Adam(adapted.values)
    for index in range(1, steps + 1):
        adapted.next_face()
        places = some_places(CROPS, rng).to(generator.device)
        with torch.no_grad():
            frozen = embeddings(adapted.frozen, places)
        with torch.enable_grad():
            # The picture that is judged: the preview network's, or in its turn the whole one.
            whole = index % every == 0 or index == steps
            picture = drawn = adapted.large() if whole else adapted.small()
            if whole:
                picture = F.adaptive_avg_pool2d(drawn.float(), adapted.frozen.shape[-1])
            shown = embeddings(picture, places)
            terms = {
                "clip": sum(directional_loss(a, b, delta_t, spread).mean() for a, b in zip(frozen, shown, strict=True)),
                # What CLIP would see and nobody else: a picture ends at -1 and 1.
                "range": F.relu(drawn.float().abs() - 1).square().mean(),
            }
            if whole and every > 1:
                with torch.no_grad():
                    preview = adapted.small()
                terms["preview"] = F.mse_loss(picture, preview)
            total = sum(WEIGHTS[name] * term for name, term in terms.items())
            gradients = torch.autograd.grad(total, adapted.values, materialize_grads=True)
        losses = {name: term.item() for name, term in terms.items()} | {"total": total.item()}
        picture = picture.detach()
        del drawn, shown, terms, total  # not held while the caller looks
        adam.update(gradients, learning_rate((index - 0.5) / steps, LR))
        yield DescentState(index, picture, losses, replace(source, adaptation=as_tuning(adapted.factors())))


def adapt_and_draw(family: Family, texts: Texts, source: Latent, **given: Any) -> Iterator[DescentState]:
    """`adapt`, with pictures of the `source` instead."""
    generator = family.generator
    for state in adapt(family, texts, source, **given):
        yield state._replace(image=state.latent.draw(generator, generator.working_size))
