"""Channel relevance and StyleSpace statistics, once a generator: what global directions read (StyleCLIP, section 6).

    python -m pipeline.training.relevance [--model NAME | --generator FILE] [--codes N] [--to-rgb]
    torchrun --nproc-per-node N -m pipeline.training.relevance ...

Codes are sampled with ψ = 0.7. Each channel of S, without those of the toRGB layers unless asked for, is moved by ±5
standard deviations around every sample's own value, one at a time. CLIP embeds both pictures; the difference of the
unit embeddings, itself of unit length, is averaged over the samples. Started again after a cut, it goes on where it
was; several processes share the channels. Either way the file is the same.

Most steps are small to CLIP: only the tenth of the channels that move the picture farthest is drawn, code by code; of
the others the derivative is taken, for all at once, by one pass back for each dimension that CLIP uses of its space.
docs/results.md tells how near that comes to the loop of section 6. `--pictures 1` draws everything.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
import torch.distributed
import torch.nn.functional as F
from torch import Tensor

from pipeline.latents import truncated
from pipeline.losses import clip_features
from pipeline.methods.directions import TRUNCATION, mean_codes, style_statistics
from pipeline.methods.estimate import Embed, derivatives
from pipeline.models.measured import settings_of
from pipeline.models.sources import asset
from pipeline.networks.generator import StyleGenerator
from pipeline.training.command import GO_ON, family_and_file, family_parser, process_device, run
from pipeline.training.frozen import load_frozen_models
from pipeline.training.partial import Partial, partial_files, write

Part = tuple[int, Tensor]  # a layer of S, and some of its channels
REACHED = 1 - 1e-6  # of the spread of sampled faces' embeddings: the rest is CLIP's rounding
PART = 128  # channels
PROBES = 4  # random sums of pixels, whose derivatives tell how much a channel moves the picture


def channel_parts(generator: StyleGenerator, to_rgb: bool) -> list[Part]:
    """The channels of S in S order, a few at a time, which are measured and kept together: layer, and its channels."""
    return [
        (p, channels)
        for p, layer in enumerate(generator.style_layers)
        if to_rgb or not layer.is_to_rgb
        for channels in torch.arange(layer.channels).split(PART)
    ]


def batches(generator: StyleGenerator, part: Part, batch: int) -> list[Part]:
    """A part in pieces whose pictures are drawn together: `batch` of them up to 256 px, above as many as take the same
    memory."""
    p, channels = part
    at_once = max(1, batch // 2 * 256**2 // max(256, generator.style_layers[p].resolution) ** 2)
    return [(p, piece) for piece in channels.split(at_once) if len(piece)]


def perturbed(
    generator: StyleGenerator, w: Tensor, std: list[Tensor], sigmas: float, parts: Sequence[Part]
) -> Iterator[Tensor]:
    """For one code w (1, L, D): yields pictures (2 K, 3, R, R) with the K channels of each part down, then the same up.

    Layers before that of the part are computed once.
    """
    styles = generator.styles(w)
    _, trace = generator.traced(styles)
    for p, channels in parts:
        n = 2 * len(channels)
        moved = [s.expand(n, -1) for s in styles]
        moved[p] = moved[p].clone()
        step = (sigmas * std[p][channels]).to(w.device)
        moved[p][torch.arange(n), channels.repeat(2)] += torch.cat([-step, step])
        yield generator.draw_from(p, moved, trace)


def unit_change(before: Tensor, after: Tensor) -> Tensor:
    """Δi_c (..., E), of unit length, from CLIP embeddings (..., E) of images with channel c lowered and raised."""
    before, after = (F.normalize(x, dim=-1) for x in (before, after))
    return F.normalize(after - before, dim=-1)


def embedding_basis(generator: StyleGenerator, embed: Embed, width: int, batch: int) -> Tensor:
    """Directions (K, E), E the `width`, in which embeddings of sampled faces differ: all, or as many as CLIP uses."""
    z = torch.randn(width, generator.style_dim, generator=torch.Generator().manual_seed(2))
    pictures = (
        generator(generator.mapping(part), generator.working_size) for part in z.to(generator.device).split(batch)
    )
    seen = torch.cat([embed(picture.clamp(-1, 1)).float() for picture in pictures])
    _, lengths, basis = torch.linalg.svd(seen - seen.mean(0), full_matrices=False)
    spread = lengths.square().cumsum(0) / lengths.square().sum()
    return basis[: int((spread < REACHED).sum()) + 1]


def slopes(generator: StyleGenerator, embed: Embed, w: Tensor, std: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
    """For one code w (1, L, D) and every channel of S: the direction (C_all, E) in which CLIP sees a small step move,
    and how far (C_all,) the picture moves."""
    seen = derivatives(generator, embed, w, basis)[:, 0].T @ basis
    probes = torch.randn(PROBES, 3 * generator.working_size**2, generator=torch.Generator().manual_seed(3))
    moved = derivatives(generator, lambda pictures: pictures.flatten(1), w, probes)[:, 0]
    return F.normalize(seen, dim=-1).cpu(), moved.square().mean(0).sqrt().cpu() * std


def measure_relevance(
    generator: StyleGenerator,
    embed: Embed,
    std: Tensor,
    codes: int,
    seed: int = 1,
    sigmas: float = 5.0,
    batch: int = 4,
    to_rgb: bool = False,
    pictures: float = 1.0,
    progress: Callable[[float], None] = lambda done: None,
    path: Path | None = None,
    average: Tensor | None = None,
) -> Tensor:
    """The relevance matrix (C, E): rows of unit length for the channels of S, without toRGB's or with, in S order.

    `embed` turns pictures (N, 3, R, R) in [-1, 1] into CLIP embeddings (N, E); `std` is (C_all,) of `style_statistics`;
    `pictures` is the share of the channels to draw, for each code those that move the picture farthest; for the others
    derivatives are taken. `progress` is called with the share done; `average` is the mean latent (L, D)
    towards which the sampled codes are truncated, as in `style_statistics`. What is done is saved under `path`, which
    names the work, and a later run goes on from there. Processes of `torch.distributed` share the work, and all get the
    whole matrix.
    """
    layers, device = generator.style_layers, generator.device
    stds = list(std.split([layer.channels for layer in layers]))
    distributed = torch.distributed.is_initialized()
    ranks = (torch.distributed.get_rank(), torch.distributed.get_world_size()) if distributed else (0, 1)
    rng = torch.Generator().manual_seed(seed)
    with torch.inference_mode():
        average = mean_codes(generator) if average is None else average
        parts = channel_parts(generator, to_rgb)
        rows = torch.arange(sum(len(channels) for _, channels in parts)).split([len(part[1]) for part in parts])
        width = embed(torch.zeros(1, 3, generator.size, generator.size, device=device)).shape[1]
        basis = embedding_basis(generator, embed, width, batch) if pictures < 1 else None
        kinds = torch.cat([torch.full((layer.channels,), to_rgb or not layer.is_to_rgb) for layer in layers])
        partial, count = Partial(path, rows, width, *ranks), int(kinds.sum())
        for code in range(codes):
            z = torch.randn(1, generator.style_dim, generator=rng).to(device)
            w = truncated(generator.mapping(z), average, TRUNCATION)
            pending = [part for part in partial.own_parts if partial.done[part] == code]
            changes, drawn = torch.zeros(count, width), torch.ones(count, dtype=torch.bool)
            if basis is not None and pending:
                changes, far = (x[kinds] for x in slopes(generator, embed, w, std, basis))
                drawn[far.argsort(descending=True)[round(pictures * count) :]] = False
            chosen = [rows[part][drawn[rows[part]]] for part in pending]
            steps = [
                batches(generator, (parts[part][0], parts[part][1][indices - rows[part][0]]), batch)
                for part, indices in zip(pending, chosen, strict=True)
            ]
            ends = perturbed(generator, w, stds, sigmas, sum(steps, []))
            for part, indices, pieces in zip(pending, chosen, steps, strict=True):
                for piece in indices.split([len(channels) for _, channels in pieces]):
                    down, up = embed(next(ends).clamp(-1, 1)).float().unflatten(0, (2, -1))
                    changes[piece] = unit_change(down, up).cpu()
                partial.add(part, changes[rows[part]])
                progress(partial.share(codes))
        partial.save()
        sums = _of_all_processes(partial.sums, [rows[part] for part in partial.own_parts], device)
    return F.normalize(sums.cpu(), dim=-1)


def _of_all_processes(sums: Tensor, own_rows: Sequence[Tensor], device: torch.device) -> Tensor:
    """The sums (C, E) of all processes, each of which has computed its own rows to the end."""
    if torch.distributed.is_initialized():
        indices = torch.cat([*own_rows, torch.arange(0)])
        sums = torch.zeros_like(sums).index_copy(0, indices, sums[indices]).to(device)
        torch.distributed.all_reduce(sums)
    return sums


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = family_parser(__doc__.splitlines()[0])
    parser.add_argument("--codes", type=int, default=100, help="sampled faces; the paper's 100 unless told otherwise")
    parser.add_argument("--to-rgb", action="store_true", help="toRGB layers too, which the paper leaves out")
    parser.add_argument("--pictures", type=float, default=0.1, help="share of channels to draw; 1: the paper's loop")
    parser.add_argument("--batch", type=int, help="pictures at a time; default: 4, on a GPU 32")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32", help="of generator and CLIP")
    options = parser.parse_args(arguments)
    if options.codes < 1 or (options.batch or 2) < 2:
        parser.error("at least one code, and a batch of two")
    if not 0 <= options.pictures <= 1:
        parser.error("the share of channels to draw lies between 0 and 1")
    return options


def relevance_command(arguments: list[str] | None = None) -> Path:
    """Measure a family's relevance matrix and write it; the file's path.

    Raises UserError, also when the family has a matrix and no other file is named for this one.
    """
    options = _options(arguments)
    row, path, use = family_and_file(options, "directions", "a relevance matrix")
    device, dtype = process_device(), getattr(torch, options.dtype)
    batch = options.batch or (4 if device.type == "cpu" else 32)
    models = load_frozen_models(row.name, device=device, dtype=dtype)
    generator = models.generator
    rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
    begin = printed = time.monotonic()
    first, share = None, 0.0

    def progress(done: float) -> None:
        nonlocal printed, first, share
        share, now = done, time.monotonic()
        if rank or (first is not None and now - printed < 10):
            return
        if first is None:
            first, printed = (done, now), now
            print(f"{done:.1%} done, {len(generator.style_layers)} layers, {options.codes} codes", flush=True)
        elif done > first[0]:
            printed = now
            left = (now - first[1]) * (1 - done) / (done - first[0])
            print(f"{done:.1%}, {left / 60:.1f} min left", flush=True)

    _, std = style_statistics(generator, average=models.latent_avg)
    settings = {"codes": options.codes, "batch": batch, "to_rgb": options.to_rgb, "pictures": options.pictures}
    partial = asset("relevance") / f"{row.name}-{models.digest(settings, TRUNCATION, dtype, device.type)}"
    try:
        relevance = measure_relevance(
            generator,
            lambda pictures: clip_features(models.clip, pictures, models.normalize_directions),
            std,
            average=models.latent_avg,
            progress=progress,
            path=partial,
            **settings,
        )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"Stopped at {share:.1%}; {GO_ON}.") from None
    if rank == 0:  # the others have ended too: they gave their rows
        write({"relevance": relevance.half(), "style_std": std}, path, settings_of("directions", row))
        for file in partial_files(partial):
            file.unlink()
        print(f"wrote {path}: {len(relevance)} channels, {options.codes} codes, {time.monotonic() - begin:.0f} s")
        print(use)
    return path


def main() -> None:
    """The command line."""
    run(relevance_command)


if __name__ == "__main__":
    main()
