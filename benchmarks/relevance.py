"""How much faster relevance is measured than by the paper's loop, and what an estimate from gradients is worth.

    python -m benchmarks.relevance [--codes 20] [--every 16] [--pictures 0.1 0 ...] [--dtype ...]
    python -m benchmarks.relevance --estimate [--faces 16] | --full-size

Without a switch: the loop of section 6 (one picture at a time, float32, full synthesis) on every 16th channel, against
the whole matrix of the same codes in other ways; what is done once is shared out over 100 codes. `--estimate`:
directions from gradients beside those of the demo family's matrix. `--full-size`: random weights of the published
sizes, one batch in every layer, and from it the hours for 100 codes. Times are of this process's CPU, on a machine that
may be busy: they count as ratios.
"""

import argparse
import time
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from torch import Tensor

from benchmarks.judging import Score, direct, faces
from benchmarks.targets import PAIRS
from families.drawn.reader import Reader
from pipeline import StyleCLIP
from pipeline.latents import truncated
from pipeline.losses import clip_features
from pipeline.methods.directions import TRUNCATION, StyleDirections, mean_codes, style_statistics
from pipeline.methods.estimate import estimated_directions
from pipeline.networks.clip import CLIP
from pipeline.networks.stylegan2 import Generator
from pipeline.training.frozen import FrozenModels, load_frozen_models
from pipeline.training.relevance import batches, embedding_basis, measure_relevance, perturbed, unit_change

CODES, SIGMAS = 100, 5.0


def embedded(models: FrozenModels, pictures: Tensor) -> Tensor:
    """CLIP's unit embeddings (N, E) of pictures (N, 3, R, R)."""
    return clip_features(models.clip, pictures.clamp(-1, 1), models.normalize_directions)


@torch.inference_mode()
def plain_changes(models: FrozenModels, std: Tensor, channels: Sequence[int], codes: int) -> Tensor:
    """The paper's loop: the directions (N, K, E) in which CLIP sees those channels of S move, code by code."""
    generator, rng, changes = models.generator, torch.Generator().manual_seed(1), []
    sizes = [layer.channels for layer in generator.style_layers]
    for _ in range(codes):
        z = torch.randn(1, generator.style_dim, generator=rng)
        s = torch.cat(generator.styles(truncated(generator.mapping(z), models.latent_avg, TRUNCATION)), 1)
        for channel in channels:
            ends = []
            for sign in (-1, 1):
                moved = s.clone()
                moved[0, channel] += sign * SIGMAS * std[channel]
                ends.append(embedded(models, generator.synthesize(moved.split(sizes, 1))))
            changes.append(unit_change(*ends))
    return torch.cat(changes).unflatten(0, (codes, -1))


def speed(model: str, every: int, codes: int, ways: Sequence[tuple[torch.dtype, float]]) -> None:
    """Print what the matrix takes in each way (precision, share drawn), and how far it is the loop's."""
    models = load_frozen_models(model)
    std = style_statistics(models.generator, 10_000, average=models.latent_avg)[1]
    chosen = list(range(every // 2, len(std), every))
    begin = time.process_time()
    changes = plain_changes(models, std, chosen, codes)
    each = (time.process_time() - begin) / len(chosen) / codes
    plain, whole = changes.mean(0), each * len(std)
    halves = F.cosine_similarity(changes[::2].mean(0), changes[1::2].mean(0), dim=-1)
    print(f"The loop: {each:.4f} s a channel and code, so {whole:.0f} s a code for {len(std):,} channels.")
    print(
        f"{codes} codes, {len(chosen)} channels compared; the loop's own rows from either half: {halves.mean():.3f}.\n"
    )
    print("| precision | share drawn | s a code | times faster | mean cosine | median | least |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for dtype, share in ways:
        models = load_frozen_models(model, dtype=dtype)

        def embed(pictures: Tensor, models: FrozenModels = models) -> Tensor:
            return embedded(models, pictures)

        begin = time.process_time()
        if share < 1:
            embedding_basis(models.generator, embed, changes.shape[-1], 4)
        once, begin = time.process_time() - begin, time.process_time()
        options = {"to_rgb": True, "pictures": share, "average": models.latent_avg}
        fast = measure_relevance(models.generator, embed, std, codes, **options)
        seconds = (time.process_time() - begin - once) / codes + once / CODES
        cosines = F.cosine_similarity(fast[chosen], plain)
        print(
            f"| {str(dtype)[6:]} | {share:.0%} | {seconds:.1f} | {whole / seconds:.1f} "
            f"| {cosines.mean():.4f} | {cosines.median():.4f} | {cosines.min():.3f} |",
            flush=True,
        )


def shared(one: Tensor, other: Tensor, count: int) -> float:
    """The share of the `count` largest scores that two have in common."""
    first, second = (set(scores.abs().topk(count).indices.tolist()) for scores in (one, other))
    return len(first & second) / count


def estimate(count: int, words: Sequence[str]) -> None:
    """Print how alike the scores of estimate and matrix are, and what edits by both become."""
    studio, reader = StyleCLIP.from_pretrained("demo"), Reader.from_file()
    family = studio.family
    begin = time.process_time()
    gradients = estimated_directions(family, to_rgb=True)
    gradients.scores(studio.texts.direction("face", "car"))
    ready, begin = time.process_time() - begin, time.process_time()
    gradients.scores(studio.texts.direction("old face", "face"))
    print(f"Ready after {ready:.1f} s with the first text; {time.process_time() - begin:.1f} s for another.")
    print(f"Edits of {count} faces: target appeared · identity cosine · other attributes changed.\n")
    print("| target | matrix | estimate | rank correlation | top 20 | top 100 |\n|---|---|---|---|---|---|")
    supply, pool = faces(studio, reader), []
    kinds: dict[str, StyleDirections] = {"matrix": family.directions, "estimate": gradients}
    totals: dict[str, list[list[float]]] = {kind: [] for kind in kinds}
    alike = []
    for pair in PAIRS:
        if words and not any(word in pair.target for word in words):
            continue
        chosen = [face for face in pool if pair.lacking(face.found)]
        while len(chosen) < count:
            pool.append(next(supply))
            chosen += [pool[-1]] if pair.lacking(pool[-1].found) else []
        cells = []
        for kind, directions in kinds.items():
            family.directions, score = directions, Score(studio, reader, pair)
            for face in chosen[:count]:
                score.add(face, direct(studio, face.latent, pair))
            cells.append(str(score))
            totals[kind].append([sum(v) / len(v) for v in (score.hits, score.identity, score.changed)])
        text = studio.texts.direction(pair.target, pair.neutral)
        one, other = (directions.scores(text) for directions in kinds.values())
        alike.append([spearmanr(one.abs(), other.abs())[0], shared(one, other, 20), shared(one, other, 100)])
        print(f"| {pair.target} | " + " | ".join([*cells, *(f"{x:.2f}" for x in alike[-1])]) + " |", flush=True)
    means = [torch.tensor(rows).mean(0).tolist() for rows in totals.values()]
    cells = [f"{hits:.1%} · {identity:.3f} · {changed:.1%}" for hits, identity, changed in means]
    cells += [f"{x:.2f}" for x in torch.tensor(alike).mean(0).tolist()]
    print("| mean | " + " | ".join(cells) + " |")


def full_size(batch: int, dtype: torch.dtype) -> None:
    """Print the time of one batch in every layer of a 1024 px generator with ViT-B/32, and the hours for 100 codes."""
    torch.manual_seed(0)
    generator = Generator(1024).eval().requires_grad_(False)
    generator.compute_dtype = dtype
    clip = CLIP(512, 224, 12, 768, 32, 77, 49408, 512, 8, 12).eval().requires_grad_(False)
    models = FrozenModels(generator, mean_codes(generator), clip, None, False, True)
    layers = generator.style_layers
    std = list(torch.ones(sum(layer.channels for layer in layers)).split([layer.channels for layer in layers]))
    whole = [(p, torch.arange(layer.channels)) for p, layer in enumerate(layers) if not layer.is_to_rgb]
    parts = [batches(generator, part, batch)[0] for part in whole]
    print("| layer | px | pictures | s |\n|---|---|---|---|")
    total = 0.0
    with torch.inference_mode():
        pictures = perturbed(generator, models.latent_avg[None], std, SIGMAS, [parts[0], *parts])
        embedded(models, next(pictures))  # draws the unmoved code too
        for p, channels in parts:
            begin = time.process_time()
            embedded(models, next(pictures))
            seconds = time.process_time() - begin
            total += seconds / len(channels) * layers[p].channels
            print(f"| {layers[p].name} | {layers[p].resolution} | {2 * len(channels)} | {seconds:.2f} |", flush=True)
    count = sum(layer.channels for layer in layers if not layer.is_to_rgb)
    print(f"\n{total:.0f} s for the {count} channels of one code; {CODES * total / 3600:.1f} h for {CODES} codes.")


def main() -> None:
    """Print the tables asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="demo")
    parser.add_argument("--codes", type=int, default=20)
    parser.add_argument("--every", type=int, default=16, help="which channels the loop measures")
    parser.add_argument("--pictures", type=float, nargs="+", default=[0.1, 0], help="shares of channels drawn")
    parser.add_argument("--estimate", action="store_true")
    parser.add_argument("--faces", type=int, default=16)
    parser.add_argument("--targets", nargs="+", default=[], help="only pairs whose target has one of these words")
    parser.add_argument("--full-size", action="store_true")
    parser.add_argument("--batch", type=int, default=32, help="pictures at a time at full size")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], help="bfloat16 at full size, else float32")
    options = parser.parse_args()
    if options.estimate:
        estimate(options.faces, options.targets)
    elif options.full_size:
        full_size(options.batch, getattr(torch, options.dtype or "bfloat16"))
    else:
        dtype = getattr(torch, options.dtype or "float32")
        ways = [(dtype, share) for share in options.pictures]
        speed(options.model, options.every, options.codes, ways)


if __name__ == "__main__":
    main()
