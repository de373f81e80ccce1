"""StyleFlow (Abdal et al. 2021): a flow takes a face's code to noise under the attributes that the face has, and back
under those that it is to have."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchdiffeq import odeint

from benchmarks.baselines.baseline import Baseline, principal_directions
from benchmarks.baselines.interfacegan import ends
from benchmarks.targets import PAIRS
from pipeline.latents import Latent
from pipeline.losses import clip_features
from pipeline.models.family import Family
from pipeline.text import Texts
from pipeline.training.pairs import Pairs

LAYERS, WIDTH = 2, 256
PARTS = 5  # of the time in a layer, each a step of the Runge-Kutta method of order 4
STEPS, BATCH, RATE = 800, 128, 3e-3
LONGEST = 5.0  # norm of a step's gradient
NOISE = 0.1  # deviations that codes are moved by in training: the likelihood of codes on a surface has no bound


class Layer(nn.Module):
    """dx/dt at codes x: a network with one hidden layer; time and attributes scale and shift what each layer gives."""

    def __init__(self, size: int, attributes: int) -> None:
        """`size` of a code, number of `attributes`."""
        super().__init__()
        self.inner, self.outer = nn.Linear(size, WIDTH), nn.Linear(WIDTH, size, bias=False)
        self.condition = nn.Linear(1 + attributes, 2 * (WIDTH + size))
        nn.init.zeros_(self.outer.weight)  # the untrained flow only shifts

    def forward(self, time: Tensor, x: Tensor, attributes: Tensor) -> tuple[Tensor, Tensor]:
        """The change (N, K) of codes x (N, K) at `time` () under attributes (N, A), and the trace (N,) of its Jacobian
        in x, exactly."""
        condition = self.condition(torch.cat([time.expand(len(x), 1), attributes], 1))
        gates, shifts = condition.chunk(2, 1)
        (gate_in, gate_out), (shift_in, shift_out) = (c.split([WIDTH, x.shape[1]], 1) for c in (gates, shifts))
        gate_in, gate_out = gate_in.sigmoid(), gate_out.sigmoid()
        hidden = torch.tanh(self.inner(x) * gate_in + shift_in)
        change = self.outer(hidden) * gate_out + shift_out
        through = gate_out @ (self.outer.weight * self.inner.weight.T)  # (N, WIDTH)
        return change, ((1 - hidden.square()) * gate_in * through).sum(1)


class Flow(nn.Module):
    """Codes x (N, K) and noise (N, K), each the other's under attributes (N, A)."""

    def __init__(self, size: int, attributes: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(size, attributes) for _ in range(LAYERS))

    def encode(self, x: Tensor, attributes: Tensor) -> tuple[Tensor, Tensor]:
        """Noise, and the logarithm (N,) of how much the flow stretches volumes on the way to it."""
        stretch = torch.zeros(len(x))
        for layer in self.layers:
            x, stretch = passed(layer, x, stretch, attributes, torch.linspace(0, 1, PARTS + 1))
        return x, stretch

    def decode(self, noise: Tensor, attributes: Tensor) -> Tensor:
        """The codes whose noise this is."""
        x, stretch = noise, torch.zeros(len(noise))
        for layer in reversed(self.layers):
            x, stretch = passed(layer, x, stretch, attributes, torch.linspace(1, 0, PARTS + 1))
        return x

    def log_likelihood(self, x: Tensor, attributes: Tensor) -> Tensor:
        """Of codes given attributes (N,): that of their noise, standard normal, and how much volumes were stretched."""
        noise, stretch = self.encode(x, attributes)
        return stretch - (noise.square() + math.log(2 * math.pi)).sum(1) / 2


def passed(layer: Layer, x: Tensor, stretch: Tensor, attributes: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
    """Codes (N, K) and stretch (N,) at the last of the `times`, from those at the first."""
    states = odeint(lambda time, state: layer(time, state[0], attributes), (x, stretch), times, method="rk4")
    return states[0][-1], states[1][-1]


class Space:
    """Coordinates x (N, K) of codes w (N, D) along the principal directions of samples, in deviations of the samples.

    What a code has beside these directions, an edit leaves as it is.
    """

    def __init__(self, samples: Tensor) -> None:
        self.mean = samples.mean(0)
        deviations, directions = principal_directions(samples)
        self.steps = (deviations[:, None] * directions).float()  # (K, D)
        self.inverse = (directions.T / deviations).float()  # (D, K)

    def coordinates(self, w: Tensor) -> Tensor:
        """Of codes (N, D)."""
        return (w - self.mean) @ self.inverse

    def step(self, change: Tensor) -> Tensor:
        """The change in W (N, D) that a change of coordinates is."""
        return change @ self.steps


class Attributes:
    """Values of attributes: how much alike a text of each CLIP finds a picture, in deviations of samples from their
    mean."""

    def __init__(self, features: Tensor, directions: Tensor) -> None:
        """CLIP's embeddings of samples (N, E), Δt of each attribute (A, E)."""
        self.directions, scores = directions, features @ directions.T
        self.mean, self.deviation = scores.mean(0), scores.std(0)

    def of(self, features: Tensor) -> Tensor:
        """Values (N, A) of pictures with embeddings (N, E)."""
        return (features @ self.directions.T - self.mean) / self.deviation


class Change(NamedTuple):
    """A flow and its attributes; the indices of those that change, and the values (G,) that they take."""

    flow: Flow
    attributes: Attributes
    changing: list[int]
    values: Tensor


class StyleFlow(Baseline[Change]):
    """Attributes are the benchmark's targets, and their values CLIP's, as InterFaceGAN's labels are.

    The paper's 17 values come from trained networks: a face API and an estimate of light. A target, and what excludes
    it (other colours of hair), get the values that they have on the faces which are labelled with it for InterFaceGAN;
    all other attributes keep theirs. A pair that is no target costs a flow of its own, with one attribute more. The
    paper's edits hold to rows that a person chose for each; here they go to all rows, as InterFaceGAN's. The codes are
    standardised before the flow, so there is no batch norm in it.
    """

    def __init__(self, family: Family, pairs: Pairs, texts: Texts, kept: Mapping[str, Tensor] | None = None) -> None:
        """`kept`: the weights of the flow, where it was trained on these pairs before."""
        super().__init__(family, pairs, texts)
        self.space = Space(pairs.w)
        directions = torch.stack([self._direction(pair.target, pair.neutral) for pair in PAIRS])
        self.attributes = Attributes(pairs.features, directions)
        if kept is None:
            self.flow = self._trained(self.attributes)
        else:
            self.flow = Flow(len(self.space.steps), len(directions)).requires_grad_(False)
            self.flow.load_state_dict(kept)

    def _trained(self, attributes: Attributes) -> Flow:
        return trained(self.space.coordinates(self.pairs.w), attributes.of(self.pairs.features))

    def _search(self, target: str, neutral: str) -> Change:
        direction, flow, attributes = self._direction(target, neutral), self.flow, self.attributes
        index = next((i for i, p in enumerate(PAIRS) if (p.target, p.neutral) == (target, neutral)), len(PAIRS))
        if index < len(PAIRS):
            changing = [i for i, pair in enumerate(PAIRS) if pair.category == PAIRS[index].category]
        else:
            attributes = Attributes(self.pairs.features, torch.cat([attributes.directions, direction[None]]))
            flow, changing = self._trained(attributes), [index]
        values = attributes.of(self.pairs.features)
        labelled, _ = ends(values[:, index])
        return Change(flow, attributes, changing, values[labelled][:, changing].mean(0))

    @torch.no_grad()
    def _whole(self, latent: Latent, found: Change) -> Latent:
        family = self.family
        picture = latent.draw(family.generator, latent.working_size(family.generator)).clamp(-1, 1)
        features = clip_features(family.clip, picture, family.row.clip_normalize_directions).cpu()
        # Joint reverse encoding and conditional forward editing, with each row of W+ as a code.
        x = self.space.coordinates(latent.w_plus[0])
        before = found.attributes.of(features).repeat(len(x), 1)
        after = before.clone()
        after[:, found.changing] = found.values
        noise, _ = found.flow.encode(x, before)
        step = self.space.step(found.flow.decode(noise, after) - x)
        return replace(latent, w_plus=latent.w_plus + step)


def trained(x: Tensor, attributes: Tensor) -> Flow:
    """The flow under which codes x (N, K) with attributes (N, A) are likeliest."""
    rng = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        flow = Flow(x.shape[1], attributes.shape[1])
    optimizer = torch.optim.Adam(flow.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        chosen = torch.randint(len(x), (BATCH,), generator=rng)
        codes = x[chosen] + NOISE * torch.randn(BATCH, x.shape[1], generator=rng)
        loss = -flow.log_likelihood(codes, attributes[chosen]).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(flow.parameters(), LONGEST)
        optimizer.step()
        schedule.step()
    return flow.requires_grad_(False)
