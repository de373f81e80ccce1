"""Training of an alignment: from CLIP's space to W and to S, without data (CSLA, arXiv 2210.04506).

    python -m pipeline.training.csla [--model NAME | --generator FILE] [--pairs N] [--steps N] [--output FILE]

Faces are sampled and drawn, and CLIP embeds the pictures. The mappers learn residuals from residuals: a code minus the
mean of the sampled ones, from an embedding minus a centre. That centre moves with the faces it is trained on (the
temporal relative strategy). Sampling is the long part; started again after a cut, it goes on where it was.
"""

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.methods.optimization import Adam
from pipeline.models.measured import settings_of
from pipeline.models.sources import asset
from pipeline.networks.csla import CSLA
from pipeline.networks.generator import StyleGenerator
from pipeline.text import Texts
from pipeline.training.command import GO_ON, family_and_file, family_parser, process_device, run
from pipeline.training.frozen import load_frozen_models
from pipeline.training.pairs import Pairs, sample_pairs
from pipeline.training.partial import write

PAIRS, STEPS, BATCH, WIDTH = 20_000, 300, 256, 64
RATE, WARM_UP = 1e-3, 50
MOMENTUM = 0.99  # of the moving centre, a step
NOISE = 0.17  # on embeddings, in their deviations; without it the mappers rely on what CLIP hardly sees
HELD_OUT = 0.05  # share of the pairs that tells how much was learned
FEWEST = 40  # pairs
BLIND = 100.0  # variance, where an embedding's is below 1
SAMPLES = 10_000  # pairs from which covariances and deviations are known


class Learned(NamedTuple):
    """A trained network, and the shares of the held-out codes' variance in W and in S that it explains."""

    network: CSLA
    w: float
    s: float


class _Faces(NamedTuple):
    """A batch: codes (N, D), styles (N, C) and embeddings (N, E)."""

    w: Tensor
    s: Tensor
    features: Tensor


def train_csla(
    generator: StyleGenerator,
    pairs: Pairs,
    neutral: Tensor,
    steps: int = STEPS,
    progress: Callable[[int, float], None] = lambda done, loss: None,
) -> Learned:
    """Train the mappers on pairs. `neutral` is the unit embedding (E,) of a text that says nothing of a face but that
    it is one; `progress` is called with the steps done and the loss."""
    device, rng = generator.device, torch.Generator().manual_seed(0)
    count = len(pairs.w) - max(FEWEST // 4, int(len(pairs.w) * HELD_OUT))  # of pairs to learn from
    mean = pairs.w[:count].mean(0).to(device)

    def faces(index: slice | Tensor) -> _Faces:
        """Residuals: codes and styles minus those of the mean face."""
        w = pairs.w[index].to(device)
        with torch.no_grad():
            s, mean_s = (torch.cat(generator.styles(codes), 1) for codes in (w, mean[None]))
        return _Faces(w - mean, s - mean_s, pairs.features[index].to(device))

    some = faces(slice(0, min(SAMPLES, count)))
    # How S follows from W: the affine layers of the generator.
    rows = torch.cat([mean[None], mean + torch.eye(len(mean), device=device)])
    with torch.no_grad():
        base, *moved = torch.cat(generator.styles(rows), 1)
    network = _initial(some, torch.stack(moved) - base, neutral.to(device), rng)
    # The linear maps are solved; what they leave is learned by the rest.
    trained = [
        value
        for mapper in (network.w_mapper, network.s_mapper)
        for layer in (mapper.mlp, mapper.out)
        for value in layer.parameters()
    ]
    trained += network.mixing.parameters()
    adam, noise = Adam(trained), NOISE * _spread(some)
    for step in range(steps):
        batch = faces(torch.randint(count, (BATCH,), generator=rng))
        # The temporal relative strategy: the centre of CLIP's residuals follows the batches.
        network.centre.lerp_(batch.features.mean(0), 1 - MOMENTUM)
        noisy = batch.features + noise * torch.randn(batch.features.shape, generator=rng).to(device)
        loss = _loss(network, batch, noisy)
        rate = RATE * min(1, (step + 1) / WARM_UP) * math.cos(math.pi * step / steps / 2) ** 2
        adam.update(torch.autograd.grad(loss, trained), rate)
        progress(step + 1, loss.item())
    network.eval().requires_grad_(False)
    held_out = faces(slice(count, None))
    w_share = _explained(network.to_w(held_out.features), held_out.w)
    s_share = _explained(network.to_s(held_out.features), held_out.s)
    return Learned(network.cpu(), w_share, s_share)


def _initial(faces: _Faces, styles: Tensor, neutral: Tensor, rng: torch.Generator) -> CSLA:
    """A network whose linear maps are solved by least squares under noise, and the rest untrained; `styles` (D, C) is
    how S follows from W."""
    device, embed = faces.features.device, faces.features.shape[1]
    with torch.device("meta"):
        network = CSLA(embed, faces.w.shape[1], faces.s.shape[1], WIDTH)
    network.to_empty(device="cpu")
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.Linear):
                layer.weight.normal_(0, 1 / math.sqrt(layer.in_features), generator=rng)
                if layer.bias is not None:
                    layer.bias.zero_()
        for last in (network.w_mapper.out, network.s_mapper.out, network.mixing.fc2):
            last.weight.mul_(0.01)
        network.to(device)
        network.centre.copy_(faces.features.mean(0))
        residuals = faces.features - network.centre
        # What all pictures have in common, and all texts: the mappers see nothing along these directions.
        common = torch.stack([neutral, F.normalize(faces.features.mean(0), dim=0)])
        network.whiten.copy_(_whitening(residuals, NOISE * _spread(faces), common))
        network.w_std.copy_(faces.w.std(0).clamp(min=1e-6))
        network.s_std.copy_(faces.s.std(0).clamp(min=1e-6))
        inputs = residuals @ network.whiten
        linear_w = _linear_map(inputs, faces.w - faces.w.mean(0))
        for mapper, codes, std, linear in (
            (network.w_mapper, faces.w, network.w_std, linear_w),
            (network.s_mapper, faces.s, network.s_std, linear_w @ styles),
        ):
            mapper.linear.weight.copy_((linear / std).T)
            mapper.out.bias.copy_((codes - inputs @ linear).mean(0) / std)
    return network


def _whitening(values: Tensor, noise: Tensor | float = 0.0, blind: Tensor | None = None) -> Tensor:
    """The map (K, K) that gives values (N, K), with noise of this deviation, the same variance in all directions, and
    nearly none along `blind`, unit vectors (M, K)."""
    values = values.double()
    moments = values.T @ values / len(values)
    if blind is not None:
        moments += BLIND * blind.double().T @ blind.double()
    variances, axes = torch.linalg.eigh(moments)
    floor = 1e-6 * values.square().mean()
    return (axes / (variances.clamp(min=0) + floor + noise**2).sqrt()).float()


def _linear_map(inputs: Tensor, codes: Tensor) -> Tensor:
    """The least squares' map (E, D) from whitened inputs (N, E) to codes (N, D), of the canonical correlations above
    those that chance alone gives: a face and a backdrop go together a little in any sample."""
    count, whiten = len(codes), _whitening(codes)
    left, correlations, right = torch.linalg.svd(inputs.T @ (codes @ whiten) / count, full_matrices=False)
    chance = sum(math.sqrt(values.shape[1] / count) for values in (inputs, codes))
    correlations = torch.where(correlations > chance, correlations, 0)
    return left * correlations @ right @ torch.linalg.inv(whiten)


def _spread(faces: _Faces) -> Tensor:
    """The embeddings' deviation, the same for all directions."""
    return (faces.features - faces.features.mean(0)).square().mean().sqrt()


def _loss(network: CSLA, faces: _Faces, features: Tensor) -> Tensor:
    """Mean squared errors of codes and of styles, in deviations, from noisy `features` (N, E)."""
    in_w = ((network.to_w(features) - faces.w) / network.w_std).square().mean()
    return in_w + ((network.to_s(features) - faces.s) / network.s_std).square().mean()


def _explained(found: Tensor, true: Tensor) -> float:
    """Share of the variance (of N, K), averaged over the K numbers."""
    unexplained = (found - true).square().sum(0) / (true - true.mean(0)).square().sum(0).clamp(min=1e-12)
    return 1 - unexplained.mean().item()


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = family_parser(__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=PAIRS, help="sampled faces")
    parser.add_argument("--steps", type=int, default=STEPS, help="of training")
    options = parser.parse_args(arguments)
    if options.pairs < FEWEST or options.steps < 1:
        parser.error(f"at least {FEWEST} pairs, of which an alignment learns little, and one step")
    return options


def csla_command(arguments: list[str] | None = None) -> Path:
    """Train a family's alignment and write it; the file's path.

    Raises UserError, also when the family has one and no other file is named for this one.
    """
    options = _options(arguments)
    row, path, use = family_and_file(options, "alignment", "an alignment")
    models = load_frozen_models(row.name, device=process_device())
    begin = printed = time.monotonic()

    def report(line: str, last: bool) -> None:
        nonlocal printed
        if last or time.monotonic() - printed > 10:
            printed = time.monotonic()
            print(line, flush=True)

    pairs_file = asset("alignment") / f"{row.name}-{models.digest()}.pairs"
    done = 0

    def sampled(count: int) -> None:
        nonlocal done
        done = count
        report(f"{count} of {options.pairs} faces", count == options.pairs)

    try:
        pairs = sample_pairs(models, options.pairs, progress=sampled, path=pairs_file)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"Stopped at {done} of {options.pairs} faces; {GO_ON}.") from None

    def trained(step: int, loss: float) -> None:
        report(f"step {step} of {options.steps}  loss {loss:.4f}", step == options.steps)

    neutral = Texts(models.clip).averaged(row.defaults.neutral)
    learned = train_csla(models.generator, pairs, neutral, options.steps, progress=trained)
    write(
        {name: value.half().contiguous() for name, value in learned.network.state_dict().items()},
        path,
        settings_of("alignment", row),
    )
    pairs_file.unlink()
    print(
        f"wrote {path}: explains {learned.w:.1%} of W and {learned.s:.1%} of S on held-out faces, "
        f"{time.monotonic() - begin:.0f} s"
    )
    print(use)
    return path


def main() -> None:
    """The command line."""
    run(csla_command)


if __name__ == "__main__":
    main()
