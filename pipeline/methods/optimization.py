"""Latent optimization (StyleCLIP, section 4): gradient descent on a code until CLIP agrees with a text.

    argmin over w of   D_CLIP(G(w), t)  +  λ_L2 · ‖w − w_s‖²  +  λ_ID · L_ID(w)                  (equation 1)

w_s is the code of the source face, G(w) the picture of a code, and L_ID (equation 2) compares persons. The distances
are in losses.py; the paper's values (300 steps, λ_L2 0.008, λ_ID 0.005, W+) are in models/registry.py, and a family's
row in models.toml may have others. A family without an identity network goes without L_ID.

Four options are not in the paper. Steps in W move all rows of the code alike; steps in S move StyleSpace. Noisy copies
of the code, which are judged in its place, guard against changes that CLIP alone sees. With a neutral text, the
embedding of t is replaced by that of the source face, moved by the difference of the two texts
(`losses.directional_target`).

`descend` is the loop. Free generation (only D_CLIP, from the mean face), refining and tuning (inversion.py) use it too.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pipeline.latents import Latent
from pipeline.losses import (
    clip_distance,
    clip_features,
    directional_target,
    identity_distance,
    identity_features,
    l2_distance,
)
from pipeline.models.family import Family
from pipeline.networks.generator import StyleGenerator
from pipeline.text import Texts

RAMP_UP, RAMP_DOWN = 0.05, 0.25  # shares of the run over which the learning rate rises and falls
NOISY = 0.75  # share of the run in which copies with noise are judged
BETAS, EPS = (0.9, 0.999), 1e-8  # Adam's usual constants

Loss = Callable[[Tensor], Tensor]
Terms = Mapping[str, tuple[float, Loss]]
"""Name -> weight λ, and loss of images (1, 3, R, R)."""


class DescentState(NamedTuple):
    """After `index` updates: image (1, 3, R, R), loss terms with their weighted sum as `total`, and latent.

    R is the generator's working size, in tuning its full size. While there is noise, the losses are those of the noisy
    copy.
    """

    index: int
    image: Tensor
    losses: dict[str, float]
    latent: Latent


class Variable(ABC):
    """What of a face a descent changes: the leaf tensors `values`, and the face that they make."""

    values: list[Tensor]

    def __init__(self, generator: StyleGenerator, source: Latent) -> None:
        self.generator, self.source = generator, source
        self.tuning = source.weights_on(generator.device)
        self.regions = source.regions_on(generator.device)

    @abstractmethod
    def image(self, noise: Tensor | None = None) -> Tensor:
        """The face (1, 3, R, R), differentiable with respect to `values`; with `noise` (D,) in W, that of a copy."""

    @abstractmethod
    def latent(self) -> Latent:
        """A copy of the latent as it is now."""

    def updated(self, image: Tensor, t: float) -> None:
        """Called after each update, with the picture from before it, at t in (0, 1) of the run. Hook for
        `inversion.Tuned`, which trains its preview here."""
        return None


class Anchored(Variable):
    """A variable whose distance from the source counts: its `values` begin as `start`."""

    start: list[Tensor]

    def distance(self) -> Tensor:
        """The L2 term: the squared distance from the source."""
        return sum(l2_distance(value, start) for value, start in zip(self.values, self.start, strict=True))


class Codes(Anchored):
    """A code in W+: each row moves ("w+"), or all rows take the same step ("w").

    A step in W stays among the codes that the generator was trained on, and changes less than was not asked for; the
    paper's W+ reaches more.
    """

    def __init__(self, generator: StyleGenerator, source: Latent, rows: bool) -> None:
        super().__init__(generator, source)
        w_s = source.w_plus.to(generator.device)  # (1, L, D)
        self.base, start = (torch.zeros_like(w_s), w_s) if rows else (w_s, torch.zeros_like(w_s[:, :1]))
        self.start, self.values = [start], [start.clone().requires_grad_()]

    @property
    def w_plus(self) -> Tensor:
        return self.base + self.values[0]

    def image(self, noise: Tensor | None = None) -> Tensor:
        w_plus = self.w_plus if noise is None else self.w_plus + noise
        styles = replace(self.source, w_plus=w_plus).styles(self.generator)
        return self.generator.synthesize(styles, self.generator.working_size, self.tuning, self.regions)

    def distance(self) -> Tensor:
        # In W the one step counts once for each of the L rows, so λ_L2 means the same as in W+.
        return super().distance() * (self.base.shape[1] / self.values[0].shape[1])

    def latent(self) -> Latent:
        return replace(self.source, w_plus=self.w_plus.detach().cpu().clone())


class StyleSteps(Anchored):
    """Steps in StyleSpace S ("s"), but for the layers toRGB, which would only recolour the picture."""

    def __init__(self, generator: StyleGenerator, source: Latent) -> None:
        super().__init__(generator, source)
        self.w_plus = source.w_plus.to(generator.device)
        with torch.no_grad():
            self.base = generator.styles(self.w_plus)
        steps = source.style_step or tuple(torch.zeros_like(s) for s in self.base)
        self.steps = [s.to(generator.device) for s in steps]
        self.moving = [i for i, layer in enumerate(generator.style_layers) if not layer.is_to_rgb]
        self.start = [self.steps[i] for i in self.moving]
        self.values = [step.clone().requires_grad_() for step in self.start]

    def _moved(self) -> list[Tensor]:
        steps = list(self.steps)
        for i, value in zip(self.moving, self.values, strict=True):
            steps[i] = value
        return steps

    def image(self, noise: Tensor | None = None) -> Tensor:
        base = self.base if noise is None else self.generator.styles(self.w_plus + noise)
        styles = [s + step for s, step in zip(base, self._moved(), strict=True)]
        return self.generator.synthesize(styles, self.generator.working_size, self.tuning, self.regions)

    def latent(self) -> Latent:
        return replace(self.source, style_step=tuple(s.detach().cpu().clone() for s in self._moved()))


class Adam:
    """Adam (Kingma & Ba 2015). The first step of torch.optim's loads torch's compiler: 2.3 s and 77 MB."""

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


def learning_rate(t: float, peak: float) -> float:
    """Learning rate at t in (0, 1) of the run: a linear rise, a plateau and a cosine fall."""
    fall = 0.5 - 0.5 * math.cos(math.pi * min(1.0, (1 - t) / RAMP_DOWN))
    return peak * fall * min(1.0, t / RAMP_UP)


def noise_level(t: float, peak: float) -> float:
    """Deviation of the noise at t in [0, 1) of the run: it fades, and the last quarter has none."""
    return peak * math.sqrt(max(0.0, 1 - t / NOISY))


def descend(
    variable: Variable, terms: Terms, *, steps: int, lr: float, l2: float | None = None, deviation: Tensor | None = None
) -> Iterator[DescentState]:
    """Minimise the weighted sum of `terms`, and of `l2` times the distance from the source (of an `Anchored` variable)
    unless that is None.

    With a `deviation` (D,) of noise in W, the losses are those of noisy copies of the latent, against adversarial
    edits, which raise CLIP's score without being seen. Yields the state after each of the `steps` updates, and does the
    next one only when asked to.
    """
    adam, rng = Adam(variable.values), torch.Generator().manual_seed(0)
    weights = {name: weight for name, (weight, _) in terms.items()} | ({} if l2 is None else {"l2": l2})
    for index in range(steps + 1):
        # Gradients are on inside this block alone, never across a yield, where they would leak to the caller.
        with torch.set_grad_enabled(index < steps):
            # The face, or a noisy copy of it.
            level = 0.0 if deviation is None else noise_level(index / steps, 1.0)
            noise = level * deviation * torch.randn(len(deviation), generator=rng).to(deviation) if level else None
            image = variable.image(noise)
            # Equation 1.
            losses = {name: loss(image) for name, (_, loss) in terms.items()}
            if l2 is not None:
                losses["l2"] = variable.distance()
            total = sum(weights[name] * loss for name, loss in losses.items())
            if noise is not None:
                with torch.no_grad():
                    image = variable.image()
            values = {name: value.item() for name, value in losses.items()} | {"total": total.item()}
            state = DescentState(index, variable.source.painted(image.detach()), values, variable.latent())
            # One step down.
            if index < steps:
                t = (index + 0.5) / steps
                adam.update(torch.autograd.grad(total, variable.values), learning_rate(t, lr))
                variable.updated(image.detach(), t)
        del image, losses, total  # not held while the caller looks
        if index:
            yield state


def clip_loss(model: nn.Module, normalize: bool, target: Tensor) -> Loss:
    """D_CLIP of images and the unit embedding (1, E) of a text or a picture."""
    return lambda images: clip_distance(clip_features(model, images, normalize), target).sum()


@torch.no_grad()
def identity_loss(network: nn.Module, image: Tensor) -> Loss:
    """L_ID of images and one image (1, 3, R, R) (equation 2)."""
    person = identity_features(network, image)
    return lambda images: identity_distance(identity_features(network, images), person).sum()


@torch.no_grad()
def text_terms(family: Family, texts: Texts, source: Latent, prompt: str, neutral: str, identity: float) -> Terms:
    """D_CLIP towards the prompt, and L_ID with the weight `identity`, for a source face."""
    generator, goal = family.generator, texts.embedding(prompt)
    bare = replace(source, paint=None)  # as the pictures on the way are
    image = bare.draw(generator, generator.working_size) if neutral or identity else None
    if neutral:
        source_features = clip_features(family.clip, image, family.row.clip_normalize)
        goal = directional_target(source_features, goal - texts.embedding(neutral))
    terms = {"clip": (1.0, clip_loss(family.clip, family.row.clip_normalize, goal))}
    return terms | ({"identity": (identity, identity_loss(family.identity, image))} if identity else {})


def towards_text(
    family: Family,
    texts: Texts,
    source: Latent,
    *,
    prompt: str,
    steps: int,
    lr: float,
    space: str,
    noise: float,
    l2: float = 0.0,
    identity: float = 0.0,
    neutral: str = "",
) -> Iterator[DescentState]:
    """Equation 1, in `space` "w", "w+" or "s"; `l2` is λ_L2, `identity` λ_ID, and `noise` is in deviations of W.

    Free generation is this from the mean face with l2 = identity = 0 and neutral = "". Yields as `descend` does.
    """
    generator = family.generator
    terms = text_terms(family, texts, source, prompt, neutral, 0.0 if family.identity is None else identity)
    variable = StyleSteps(generator, source) if space == "s" else Codes(generator, source, rows=space == "w+")
    deviation = noise * generator.code_deviation() if noise else None
    return descend(variable, terms, steps=steps, lr=lr, l2=l2, deviation=deviation)
