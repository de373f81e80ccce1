"""Latent optimization (StyleCLIP, section 4): gradient descent on a code until CLIP agrees with a text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from .latents import Latent
from .losses import clip_distance, clip_features, identity_distance, identity_features, l2_distance, shifted
from .networks.generator import StyleGenerator
from .text import Texts

if TYPE_CHECKING:
    from .zoo import Family

RAMP_UP, RAMP_DOWN = 0.05, 0.25  # shares of the run over which the learning rate rises and falls
NOISY = 0.75  # share of the run in which copies with noise are judged
BETAS, EPS = (0.9, 0.999), 1e-8  # Adam's usual constants

Loss = Callable[[Tensor], Tensor]


class State(NamedTuple):
    """After `index` updates: image (1, 3, R, R), loss terms with their weighted sum as `total`, and latent.

    R is the generator's working size, in tuning its full size. While there is noise, the losses are those of the noisy
    copy.
    """

    index: int
    image: Tensor
    losses: dict[str, float]
    latent: Latent


def clip_loss(model: nn.Module, normalize: bool, target: Tensor) -> Loss:
    """D_CLIP of images and the unit embedding (1, E) of a text or a picture."""
    return lambda images: clip_distance(clip_features(model, images, normalize), target).sum()


@torch.no_grad()
def identity_loss(network: nn.Module, image: Tensor) -> Loss:
    """D_ID of images and one image (1, 3, R, R)."""
    person = identity_features(network, image)
    return lambda images: identity_distance(identity_features(network, images), person).sum()


def learning_rate(t: float, peak: float) -> float:
    """Learning rate at t in (0, 1) of the run: a linear rise, a plateau and a cosine fall."""
    fall = 0.5 - 0.5 * math.cos(math.pi * min(1.0, (1 - t) / RAMP_DOWN))
    return peak * fall * min(1.0, t / RAMP_UP)


def noise_level(t: float, peak: float) -> float:
    """Deviation of the noise at t in (0, 1) of the run: it fades, and the last quarter has none."""
    return peak * math.sqrt(max(0.0, 1 - t / NOISY))


class Adam:
    """Adam (Kingma & Ba 2015). torch.optim's would load torch's compiler first, which takes seconds and 80 MB."""

    def __init__(self, values: list[Tensor]) -> None:
        self.values = values
        self.mean = [torch.zeros_like(v) for v in values]
        self.square = [torch.zeros_like(v) for v in values]
        self.steps = 0

    @torch.no_grad()
    def update(self, gradients: tuple[Tensor, ...], lr: float) -> None:
        self.steps += 1
        correction = [1 - beta**self.steps for beta in BETAS]
        for value, mean, square, gradient in zip(self.values, self.mean, self.square, gradients, strict=True):
            mean.lerp_(gradient, 1 - BETAS[0])
            square.lerp_(gradient.square(), 1 - BETAS[1])
            value.addcdiv_(mean, (square / correction[1]).sqrt_().add_(EPS), value=-lr / correction[0])


class Variable:
    """The part of a latent that moves: one step for all rows of W+ ("w"), each row ("w+"), or S but for toRGB ("s").

    A step in W stays among the codes that the generator was trained on, and changes less than was not asked for; the
    paper's W+ reaches more.
    """

    def __init__(self, generator: StyleGenerator, source: Latent, space: str) -> None:
        self.generator, self.source, self.space = generator, source, space
        device = generator.device
        self.w_plus = source.w_plus.to(device)
        self.tuning = source.tuning and source.tuning.on(device)
        if space == "s":
            with torch.no_grad():
                self.base = generator.styles(self.w_plus)
            steps = source.style_step or tuple(torch.zeros_like(s) for s in self.base)
            self.steps = [s.to(device) for s in steps]
            self.moving = [i for i, layer in enumerate(generator.style_layers) if not layer.is_to_rgb]
            self.start = [self.steps[i] for i in self.moving]
        else:
            self.start = [self.w_plus if space == "w+" else torch.zeros_like(self.w_plus[:, :1])]
        self.values = [v.clone().requires_grad_() for v in self.start]

    def _moved(self, values: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """The code in W+ and the steps in S at these values."""
        if self.space != "s":
            return values[0] if self.space == "w+" else self.w_plus + values[0], []
        steps = list(self.steps)
        for i, value in zip(self.moving, values, strict=True):
            steps[i] = value
        return self.w_plus, steps

    def styles(self, noise: Tensor | None = None) -> list[Tensor]:
        """StyleSpace coordinates of the latent, differentiable with respect to `values`; beside it with `noise` (D,) in
        W."""
        w_plus, steps = self._moved(self.values)
        if noise is not None:
            w_plus = w_plus + noise
        if self.space != "s":
            return replace(self.source, w_plus=w_plus).styles(self.generator)
        base = self.base if noise is None else self.generator.styles(w_plus)
        return [b + step for b, step in zip(base, steps, strict=True)]

    def image(self, noise: Tensor | None = None) -> Tensor:
        """The face (1, 3, R, R) drawn from `styles`, at the generator's working size."""
        return self.generator.synthesize(self.styles(noise), self.generator.working_size, self.tuning)

    def distance(self) -> Tensor:
        """The L2 term: squared distance from the source in W+, or in S."""
        distance = sum(l2_distance(v, start) for v, start in zip(self.values, self.start, strict=True))
        return distance * self.w_plus.shape[1] if self.space == "w" else distance

    def latent(self) -> Latent:
        """A copy of the latent as it is now."""
        w_plus, steps = self._moved([v.detach() for v in self.values])
        if self.space != "s":
            return replace(self.source, w_plus=w_plus.cpu().clone())
        return replace(self.source, style_step=tuple(s.cpu().clone() for s in steps))


def optimize(
    generator: StyleGenerator,
    source: Latent,
    terms: dict[str, tuple[float, Loss]],
    *,
    steps: int,
    lr: float,
    l2: float,
    space: str,
    noise: float = 0.0,
) -> Iterator[State]:
    """Minimise the weighted sum of `terms`, name -> (weight, loss of an image), plus `l2` times the distance from the
    source.

    With `noise`, in deviations of W, the losses are those of copies beside the latent, so that CLIP is asked for what
    is seen around it as well, and can't be won over by a change that nobody sees. Yields the state after each of the
    `steps` updates, and does the next one only when asked to.
    """
    variable = Variable(generator, source, space)
    adam, rng = Adam(variable.values), torch.Generator().manual_seed(0)
    deviation = generator.code_deviation() if noise else None

    def beside(level: float) -> Tensor:
        return level * deviation * torch.randn(generator.style_dim, generator=rng).to(deviation)

    # Gradients are switched on and off inside this function, never across a yield, where they would leak to the caller.
    def advance(index: int) -> State:
        level = noise_level(index / steps, noise)
        with torch.set_grad_enabled(index < steps):
            image = variable.image(beside(level) if level else None)
            losses = {name: loss(image) for name, (_, loss) in terms.items()}
            losses["l2"] = variable.distance()
            weights = {name: weight for name, (weight, _) in terms.items()} | {"l2": l2}
            total = sum(weights[name] * loss for name, loss in losses.items())
            if level:
                with torch.no_grad():
                    image = variable.image()
            state = State(index, image.detach(), {k: v.item() for k, v in losses.items()}, variable.latent())
            state.losses["total"] = total.item()
            if index < steps:
                rate = learning_rate((index + 0.5) / steps, lr)
                adam.update(torch.autograd.grad(total, variable.values), rate)
        return state

    advance(0)
    for index in range(1, steps + 1):
        yield advance(index)


def towards_text(family: Family, texts: Texts, source: Latent, parameters: dict[str, Any]) -> Iterator[State]:
    """`optimize` towards the prompt in `parameters`, which is moved by a neutral text where they have one (equation 1).

    `parameters` are those of the recipe; free generation has no more than prompt, steps and lr.
    """
    usual = {"l2": 0.0, "identity": 0.0, "space": family.defaults.space, "noise": family.defaults.noise, "neutral": ""}
    options = usual | parameters | ({"identity": 0.0} if family.identity is None else {})
    goal = texts.embedding(options.pop("prompt"))
    neutral, weight, terms = options.pop("neutral"), options.pop("identity"), {}
    with torch.no_grad():
        image = source.draw(family.generator, family.generator.working_size) if neutral or weight else None
        if neutral:
            seen = clip_features(family.clip, image, family.clip_normalize)
            goal = shifted(seen, goal - texts.embedding(neutral))
        terms["clip"] = (1.0, clip_loss(family.clip, family.clip_normalize, goal))
        if weight:
            terms["identity"] = (weight, identity_loss(family.identity, image))
    return optimize(family.generator, source, terms, **options)
