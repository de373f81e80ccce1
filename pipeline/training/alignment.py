"""Training of an alignment: from CLIP's space to W and to S, without data (CSLA, arXiv 2210.04506).

    python -m pipeline.training.alignment [--model NAME | --generator FILE] [--pairs N] [--steps N] [--output FILE]

Faces are sampled and drawn, and CLIP embeds the pictures. The mappers learn residuals from residuals: a code minus the
mean latent, from an embedding minus a centre. That centre moves with the faces it is trained on (the temporal relative
strategy). Sampling is the long part; started again after a cut, it goes on where it was.
"""

import argparse
import hashlib
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pipeline.downloads import asset
from pipeline.errors import UserError
from pipeline.networks.alignment import Alignment
from pipeline.networks.stylegan2 import Generator
from pipeline.optimization import Adam
from pipeline.registry import GENERATOR
from pipeline.training.command import GO_ON, own_device, run
from pipeline.training.judges import Judges, load_judges
from pipeline.training.pairs import Pairs, sample_pairs
from pipeline.training.partial import write
from pipeline.zoo import alignment_path, family_row

PAIRS, STEPS, BATCH = 40_000, 4_000, 256
RATE, WARM_UP = 2e-3, 50
MOMENTUM = 0.99  # of the centre, a step
HELD_OUT = 0.05  # share of the pairs that tells how much was learned
WIDTH = 256


class Learned(NamedTuple):
    """A trained network, and the shares of the held-out residuals' variance in W and in S that it explains."""

    network: Alignment
    w: float
    s: float


def new_alignment(generator: Generator, embed: int, rng: torch.Generator) -> Alignment:
    """An untrained network for a generator, on the CPU."""
    with torch.device("meta"):
        network = Alignment(embed, generator.style_dim, sum(la.channels for la in generator.style_layers), WIDTH)
    network.to_empty(device="cpu")
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.Linear):
                layer.weight.normal_(0, 1 / math.sqrt(layer.in_features), generator=rng)
                if layer.bias is not None:
                    layer.bias.zero_()
        for last in (network.w_mapper.out, network.s_mapper.out, network.mixing.tell):
            last.weight.mul_(0.1)
    return network


def learning_rate(step: int, steps: int) -> float:
    """The rate of step 0 ... steps - 1: a linear rise, then a cosine's fall to nothing."""
    return RATE * min(1, (step + 1) / WARM_UP) * math.cos(math.pi * step / steps / 2) ** 2


def align(
    generator: Generator,
    pairs: Pairs,
    steps: int = STEPS,
    seed: int = 0,
    progress: Callable[[int, float], None] = lambda done, loss: None,
) -> Learned:
    """Train an alignment on pairs. `progress` hears the steps done and the loss."""
    device = generator.input.input.device
    rng = torch.Generator().manual_seed(seed)

    def styles(w: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.cat(generator.styles(w.to(device)), 1)

    held = max(1, int(len(pairs.w) * HELD_OUT))
    w, features = pairs.w[:-held].to(device), pairs.features[:-held].to(device)
    mean = w.mean(0)
    mean_style = styles(mean[None])
    network = new_alignment(generator, features.shape[1], rng).to(device)
    network.centre.copy_(features[:BATCH].mean(0))
    network.spread.copy_((features - features.mean(0)).square().mean().sqrt())
    network.w_std.copy_(w.std(0).clamp(min=1e-6))
    network.s_std.copy_(styles(w[:10_000]).std(0).clamp(min=1e-6))
    parameters = list(network.parameters())
    adam = Adam(parameters)
    for step in range(steps):
        chosen = torch.randint(len(w), (BATCH,), generator=rng)
        f = features[chosen]
        network.centre.lerp_(f.mean(0), 1 - MOMENTUM)
        loss = _loss(network, f, w[chosen] - mean, styles(w[chosen]) - mean_style)
        adam.update(torch.autograd.grad(loss, parameters), learning_rate(step, steps))
        progress(step + 1, loss.item())
    network.eval().requires_grad_(False)
    w, f = (values[-held:].to(device) for values in pairs)
    explained = [
        1 - ((found - true).square().sum(0) / true.square().sum(0).clamp(min=1e-12)).mean().item()
        for found, true in ((network.to_w(f), w - mean), (network.to_s(f), styles(w) - mean_style))
    ]
    return Learned(network.cpu(), *explained)


def _loss(network: Alignment, features: Tensor, w: Tensor, s: Tensor) -> Tensor:
    """Mean squared errors in deviations, of W and of S."""
    in_w = ((network.to_w(features) - w) / network.w_std).square().mean()
    return in_w + ((network.to_s(features) - s) / network.s_std).square().mean()


def _digest(judges: Judges) -> str:
    """Names the networks that pairs are made with."""
    digest = hashlib.sha256()
    for network in (judges.generator, judges.clip.visual):
        for value in network.state_dict().values():
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="demo")
    parser.add_argument("--generator", metavar="FILE", help="your own StyleGAN2, as the model “custom”")
    parser.add_argument("--output", type=Path, help="the file to write; default: where the model looks for its own")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="sampled faces")
    parser.add_argument("--steps", type=int, default=STEPS, help="of training")
    options = parser.parse_args(arguments)
    if options.pairs < 2 or options.steps < 1:
        parser.error("at least two pairs, and one step")
    if options.generator:
        os.environ[GENERATOR], options.model = options.generator, "custom"
    return options


def alignment_command(arguments: list[str] | None = None) -> Path:
    """Train a family's alignment and write it; the file's path.

    Raises UserError, also when the family has one and no other file is named for this one.
    """
    options = _options(arguments)
    row = family_row(options.model)
    if "alignment" in row.files and not options.output:
        raise UserError(f"The model “{row.name}” has an alignment; name another file for this one with --output.")
    path = options.output or alignment_path(row)
    if path.suffix != ".safetensors" or path.is_dir():
        raise UserError(f"The alignment can't be written to {path}; please name a file that ends in .safetensors.")
    judges = load_judges(row.name, device=own_device())
    begin = told = time.monotonic()

    def tell(line: str, last: bool) -> None:
        nonlocal told
        if last or time.monotonic() - told > 10:
            told = time.monotonic()
            print(line, flush=True)

    kept = asset("alignment") / f"{row.name}-{_digest(judges)}.pairs"
    done = 0

    def sampled(count: int) -> None:
        nonlocal done
        done = count
        tell(f"{count} of {options.pairs} faces", count == options.pairs)

    try:
        pairs = sample_pairs(judges, options.pairs, progress=sampled, kept=kept)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"Stopped at {done} of {options.pairs} faces; {GO_ON}.") from None
    learned = align(
        judges.generator,
        pairs,
        options.steps,
        progress=lambda step, loss: tell(f"step {step} of {options.steps}  loss {loss:.4f}", step == options.steps),
    )
    write({name: value.half() for name, value in learned.network.state_dict().items()}, path)
    print(
        f"wrote {path}: explains {learned.w:.1%} of W and {learned.s:.1%} of S on held-out faces, "
        f"{time.monotonic() - begin:.0f} s"
    )
    use = f"name it as the alignment of [families.{row.name}.files] in a models file to use it"
    print(use if options.output else f"the model “{row.name}” uses it from its next start on")
    return path


def main() -> None:
    """The command line."""
    run(alignment_command)


if __name__ == "__main__":
    main()
