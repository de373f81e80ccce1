"""Channel relevance and StyleSpace statistics, once a generator: what global directions read (StyleCLIP, section 6).

    python -m pipeline.training.relevance [--model NAME] [--codes N] [--to-rgb]

Each channel of S, without those of the toRGB layers unless asked for, is moved by ±5 standard deviations around every
sample's own value, one at a time. CLIP embeds both pictures; the difference of the unit embeddings, itself of unit
length, is averaged over the samples.
"""

import argparse
import time
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from pipeline.directions import channel_relevance, style_statistics
from pipeline.losses import clip_features
from pipeline.networks.stylegan2 import Generator
from pipeline.training.judges import load_judges
from pipeline.zoo import family_row, relevance_path

Embed = Callable[[Tensor], Tensor]
Prefix = dict[int, tuple[Tensor, Tensor | None]]


def synthesize_from(
    generator: Generator, styles: list[Tensor], prefix: Prefix, start: int, resolution: int, keep: bool = False
) -> Tensor:
    """The image (N, 3, R, R) of `styles`, computed from S layer `start` on. `prefix` holds what enters each layer.

    With `keep` what enters the layers is written into `prefix`, of which entry `start` must be there. A change that
    starts in a toRGB layer reaches no convolution: their results are taken from `prefix`.
    """
    x, rgb = prefix[start]
    only_rgb = generator.style_layers[start].is_to_rgb
    convolutions = [p for p, layer in enumerate(generator.style_layers) if not layer.is_to_rgb]
    for p in range(start, len(styles)):
        layer = generator.style_layers[p]
        if layer.resolution > resolution:
            break
        if keep:
            prefix[p] = (x, rgb)
        module = generator.get_submodule(layer.name)
        if layer.is_to_rgb:
            rgb = module(x, styles[p], rgb)
        elif only_rgb:
            x = prefix[p + 1][0]
        else:
            x = module(x, styles[p], getattr(generator.noises, f"noise_{convolutions.index(p)}"))
    return rgb


def perturbed(
    generator: Generator, z: Tensor, std: list[Tensor], sigmas: float, lowest: int, batch: int, to_rgb: bool
) -> Iterator[Tensor]:
    """For one code z (1, D): yields pictures (2 K, 3, R, R) with K channels down, then the same up, through S in order.

    Layers that work below `lowest` px are drawn at `lowest` px only: the running RGB, plus what the higher layers add
    to the picture of the unmoved code.
    """
    styles = generator.styles(generator.mapping(z))
    dtype = generator.compute_dtype or torch.float32
    prefix: Prefix = {0: (generator.input.input.to(dtype), None)}
    full = synthesize_from(generator, styles, prefix, 0, generator.size, keep=True)
    for p, layer in enumerate(generator.style_layers):
        if layer.is_to_rgb and not to_rgb:
            continue
        resolution = max(layer.resolution, lowest)
        rest = 0.0
        if resolution < generator.size:
            rest = F.adaptive_avg_pool2d(full, resolution) - synthesize_from(generator, styles, prefix, 0, resolution)
        for channels in torch.arange(layer.channels).split(batch // 2):
            n = 2 * len(channels)
            moved = [s.expand(n, -1) for s in styles]
            moved[p] = moved[p].clone()
            step = sigmas * std[p][channels]
            moved[p][torch.arange(n), channels.repeat(2)] += torch.cat([-step, step])
            shared = {q: tuple(None if t is None else t.expand(n, -1, -1, -1) for t in prefix[q]) for q in prefix}
            yield synthesize_from(generator, moved, shared, p, resolution) + rest


def measure_relevance(
    generator: Generator,
    embed: Embed,
    std: Tensor,
    codes: int,
    seed: int = 1,
    sigmas: float = 5.0,
    lowest: int | None = None,
    batch: int = 32,
    to_rgb: bool = False,
    progress: Callable[[float], None] = lambda done: None,
) -> Tensor:
    """The relevance matrix (C, E): rows of unit length for the channels of S, without toRGB's or with, in S order.

    `embed` turns pictures (N, 3, R, R) in [-1, 1] into CLIP embeddings (N, E); `std` is (C_all,) of `style_statistics`;
    `lowest`: see `perturbed`, the generator's size when None; `progress` hears the share done.
    """
    layers = generator.style_layers
    stds = list(std.split([layer.channels for layer in layers]))
    total = sum(layer.channels for layer in layers if to_rgb or not layer.is_to_rgb)
    rng = torch.Generator().manual_seed(seed)
    before, after = [], []
    with torch.inference_mode():
        for code in range(codes):
            z = torch.randn(1, generator.style_dim, generator=rng)
            ends: list[Tensor] = []
            for pictures in perturbed(generator, z, stds, sigmas, lowest or generator.size, batch, to_rgb):
                ends.append(embed(pictures.clamp(-1, 1)).float().unflatten(0, (2, -1)))
                progress((code + sum(e.shape[1] for e in ends) / total) / codes)
            down, up = torch.cat(ends, 1)
            before.append(down)
            after.append(up)
    return channel_relevance(torch.stack(before, 1), torch.stack(after, 1))


def main() -> None:
    """Measure and write the file that the family's row in the registry names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="demo")
    parser.add_argument("--codes", type=int, default=24, help="sampled faces")
    parser.add_argument("--to-rgb", action="store_true", help="toRGB layers too, which the paper leaves out")
    parser.add_argument("--lowest", type=int, help="draw no layer's effect smaller than this; default: full size")
    options = parser.parse_args()
    torch.set_num_threads(1)
    judges, path = load_judges(options.model), relevance_path(family_row(options.model))
    begin = told = time.monotonic()

    def progress(done: float) -> None:
        nonlocal told
        if (now := time.monotonic()) - told > 10:
            told = now
            print(f"{done:.0%}, {(now - begin) * (1 / done - 1):.0f} s left", flush=True)

    mean, std = style_statistics(judges.generator)
    relevance = measure_relevance(
        judges.generator,
        lambda pictures: clip_features(judges.clip, pictures, judges.normalize),
        std,
        options.codes,
        lowest=options.lowest,
        to_rgb=options.to_rgb,
        progress=progress,
    )
    save_file({"relevance": relevance.half(), "style_mean": mean, "style_std": std}, path)
    print(f"wrote {path}: {len(relevance)} channels, {options.codes} codes, {time.monotonic() - begin:.0f} s")


if __name__ == "__main__":
    main()
