"""Training of an alignment: from CLIP's space to W and to S, without data (CSLA, arXiv 2210.04506).

    python -m pipeline.training.csla [--model NAME | --generator FILE] [--pairs N] [--steps N] [--output FILE]

Faces are sampled and drawn, and CLIP embeds the pictures. The mappers learn residuals from residuals: a code minus the
mean latent, from an embedding minus a centre. That centre moves with the faces it is trained on (the temporal relative
strategy). Sampling is the long part; started again after a cut, it goes on where it was.
"""

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.methods.optimization import Adam
from pipeline.models.measured import alignment_path, alignment_settings
from pipeline.models.sources import asset
from pipeline.networks.csla import Alignment
from pipeline.networks.generator import StyleGenerator
from pipeline.text import Texts
from pipeline.training.command import GO_ON, family_and_file, family_parser, own_device, run
from pipeline.training.frozen import load_frozen_models
from pipeline.training.pairs import Pairs, sample_pairs
from pipeline.training.partial import write

PAIRS, STEPS, BATCH, WIDTH = 20_000, 300, 256, 64
RATE, WARM_UP = 1e-3, 50
MOMENTUM = 0.99  # of the moving centre, a step
HELD_OUT = 0.05  # share of the pairs that tells how much was learned
FEWEST = 40  # pairs
BLIND = 100.0  # variance, where an embedding's is below 1
SAMPLES = 10_000  # pairs from which covariances and deviations are known


@dataclass(frozen=True)
class Form:
    """What is trained: CSLA unless told otherwise; the rest is for comparison (docs/alignment.md).

    `residuals`: codes and embeddings count from their centres, else they are taken as they are. `centre`, in CLIP's
    space: the one that moves with the training's faces when None, else a fixed one (E,). `mixing`: adaptive style
    mixing. `differences`: the difference of two faces at a time, not that of a face and the centre (DeltaEdit).
    `noise`, in deviations of embeddings: what texts and faces differ by besides their meaning, and what keeps the
    mappers from relying on what CLIP hardly sees. `gap`: whether they see along what all pictures, or all
    texts, have in common. `chance`: whether the linear maps keep what goes together by chance.
    """

    residuals: bool = True
    centre: Tensor | None = None
    mixing: bool = True
    differences: bool = False
    noise: float = 0.17
    gap: bool = False
    chance: bool = False


class Learned(NamedTuple):
    """A trained network, and the shares of the held-out codes' variance in W and in S that it explains."""

    network: Alignment
    w: float
    s: float


class _Faces(NamedTuple):
    """A batch: codes (N, D), styles (N, C) and embeddings (N, E)."""

    w: Tensor
    s: Tensor
    features: Tensor


def align(
    generator: StyleGenerator,
    pairs: Pairs,
    neutral: Tensor,
    steps: int = STEPS,
    form: Form = Form(),  # noqa: B008  # it is frozen
    progress: Callable[[int, float], None] = lambda done, loss: None,
) -> Learned:
    """Train an alignment on pairs. `neutral` is the unit embedding (E,) of a text that says nothing of a face but that
    it is one; `progress` hears the steps done and the loss."""
    device, rng = generator.device, torch.Generator().manual_seed(0)
    held = max(FEWEST // 4, int(len(pairs.w) * HELD_OUT))
    mean = pairs.w[:-held].mean(0).to(device)
    from_zero = not form.residuals

    def faces(index: slice | Tensor) -> _Faces:
        w = pairs.w[index].to(device)
        with torch.no_grad():
            s, middle = (torch.cat(generator.styles(codes), 1) for codes in (w, mean[None]))
        return _Faces(*((w, s) if from_zero else (w - mean, s - middle)), pairs.features[index].to(device))

    some = faces(slice(0, min(SAMPLES, len(pairs.w) - held)))
    rows = torch.cat([mean[None], mean + torch.eye(len(mean), device=device)])
    with torch.no_grad():
        base, *moved = torch.cat(generator.styles(rows), 1)
    network = _started(some, torch.stack(moved) - base, neutral.to(device), form, rng)
    trained = [
        value
        for mapper in (network.w_mapper, network.s_mapper)
        for layer in (mapper.bent, mapper.out)
        for value in layer.parameters()
    ]
    trained += network.mixing.parameters() if form.mixing else []
    adam, blur = Adam(trained), form.noise * _spread(some)
    for step in range(steps):
        batch = faces(torch.randint(len(pairs.w) - held, (BATCH,), generator=rng))
        if form.residuals and form.centre is None:
            network.centre.lerp_(batch.features.mean(0), 1 - MOMENTUM)
        seen = batch.features + blur * torch.randn(batch.features.shape, generator=rng).to(device)
        if form.differences:
            w, s, seen = (values - values.roll(1, 0) for values in (batch.w, batch.s, seen))
            batch, seen = _Faces(w, s, batch.features), seen + network.centre
        loss = _loss(network, batch, seen)
        rate = RATE * min(1, (step + 1) / WARM_UP) * math.cos(math.pi * step / steps / 2) ** 2
        adam.update(torch.autograd.grad(loss, trained), rate)
        progress(step + 1, loss.item())
    network.eval().requires_grad_(False)
    rest = faces(slice(len(pairs.w) - held, None))
    explained = (_explained(network.to_w(rest.features), rest.w), _explained(network.to_s(rest.features), rest.s))
    return Learned(network.cpu(), *explained)


def _started(faces: _Faces, styles: Tensor, neutral: Tensor, form: Form, rng: torch.Generator) -> Alignment:
    """A network of which the linear maps are done, by least squares under the form's noise, and the rest untrained;
    `styles` (D, C) is how S follows from W."""
    device, embed = faces.features.device, faces.features.shape[1]
    with torch.device("meta"):
        network = Alignment(embed, faces.w.shape[1], faces.s.shape[1], WIDTH)
    network.to_empty(device="cpu")
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.Linear):
                layer.weight.normal_(0, 1 / math.sqrt(layer.in_features), generator=rng)
                if layer.bias is not None:
                    layer.bias.zero_()
        for last in (network.w_mapper.out, network.s_mapper.out, network.mixing.tell):
            last.weight.mul_(0.01)
        if not form.mixing:
            network.mixing.tell.weight.zero_()  # it keeps all of every channel
        network.to(device)
        centre = faces.features.mean(0) if form.centre is None else form.centre.to(device)
        network.centre.copy_(centre if form.residuals else torch.zeros_like(centre))
        residuals = faces.features - network.centre
        common = torch.stack([neutral, F.normalize(faces.features.mean(0), dim=0)])
        blind = torch.zeros_like(common) if form.gap else common
        network.whiten.copy_(_whitening(residuals, form.noise * _spread(faces), blind))
        network.w_std.copy_(faces.w.std(0).clamp(min=1e-6))
        network.s_std.copy_(faces.s.std(0).clamp(min=1e-6))
        inputs = residuals @ network.whiten
        straight = _common(inputs, faces.w - faces.w.mean(0), form.chance)
        for mapper, codes, std, linear in (
            (network.w_mapper, faces.w, network.w_std, straight),
            (network.s_mapper, faces.s, network.s_std, straight @ styles),
        ):
            mapper.straight.weight.copy_((linear / std).T)
            mapper.out.bias.copy_((codes - inputs @ linear).mean(0) / std)
    return network


def _whitening(values: Tensor, blur: Tensor | float = 0.0, blind: Tensor | None = None) -> Tensor:
    """What makes values (N, K), when blurred, equally long in all directions: (K, K); but short in those that are
    `blind`, unit vectors (M, K)."""
    values = values.double()
    moments = values.T @ values / len(values)
    if blind is not None:
        moments += BLIND * blind.double().T @ blind.double()
    lengths, axes = torch.linalg.eigh(moments)
    floor = 1e-6 * values.square().mean()
    return (axes / (lengths.clamp(min=0) + floor + blur**2).sqrt()).float()


def _common(inputs: Tensor, codes: Tensor, all_of_it: bool) -> Tensor:
    """The least squares' map (E, D) from whitened inputs (N, E) to codes (N, D), or, unless `all_of_it`,
    that part of it in which they go together more than chance makes them: a face and a backdrop do not."""
    count, whiten = len(codes), _whitening(codes)
    left, shared, right = torch.linalg.svd(inputs.T @ (codes @ whiten) / count, full_matrices=False)
    chance = sum(math.sqrt(values.shape[1] / count) for values in (inputs, codes))
    kept = shared if all_of_it else torch.where(shared > chance, shared, 0)
    return left * kept @ right @ torch.linalg.inv(whiten)


def _spread(faces: _Faces) -> Tensor:
    """The embeddings' deviation, the same for all directions."""
    return (faces.features - faces.features.mean(0)).square().mean().sqrt()


def _loss(network: Alignment, faces: _Faces, seen: Tensor) -> Tensor:
    """Mean squared errors of codes and of styles, in deviations, as `seen` (N, E) tells them."""
    in_w = ((network.to_w(seen) - faces.w) / network.w_std).square().mean()
    return in_w + ((network.to_s(seen) - faces.s) / network.s_std).square().mean()


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


def alignment_command(arguments: list[str] | None = None) -> Path:
    """Train a family's alignment and write it; the file's path.

    Raises UserError, also when the family has one and no other file is named for this one.
    """
    options = _options(arguments)
    row, path, use = family_and_file(options, "alignment", "an alignment", alignment_path)
    models = load_frozen_models(row.name, device=own_device())
    begin = told = time.monotonic()

    def tell(line: str, last: bool) -> None:
        nonlocal told
        if last or time.monotonic() - told > 10:
            told = time.monotonic()
            print(line, flush=True)

    kept = asset("alignment") / f"{row.name}-{models.digest()}.pairs"
    done = 0

    def sampled(count: int) -> None:
        nonlocal done
        done = count
        tell(f"{count} of {options.pairs} faces", count == options.pairs)

    try:
        pairs = sample_pairs(models, options.pairs, progress=sampled, kept=kept)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"Stopped at {done} of {options.pairs} faces; {GO_ON}.") from None

    def trained(step: int, loss: float) -> None:
        tell(f"step {step} of {options.steps}  loss {loss:.4f}", step == options.steps)

    neutral = Texts(models.clip).averaged(row.defaults.neutral)
    learned = align(models.generator, pairs, neutral, options.steps, progress=trained)
    write(
        {name: value.half().contiguous() for name, value in learned.network.state_dict().items()},
        path,
        alignment_settings(row),
    )
    kept.unlink()
    print(
        f"wrote {path}: explains {learned.w:.1%} of W and {learned.s:.1%} of S on held-out faces, "
        f"{time.monotonic() - begin:.0f} s"
    )
    print(use)
    return path


def main() -> None:
    """The command line."""
    run(alignment_command)


if __name__ == "__main__":
    main()
