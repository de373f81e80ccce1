"""The photo family's preview: pictures of 256 px from the generator's features at 128 px, for a fraction of the time.

    python -m families.photo.preview [--folder DIR] [--steps N]

It learns from sampled faces, and from faces whose S was moved as edits move it, what the full generator draws there.
Every 24th sample is held out: of those the PSNR against the full picture's area mean is printed, as sampled and moved.
Goes on where it stopped; writes `preview.safetensors` in half precision.
"""

import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from families.averaged import Averaged
from families.photo.encoder import Samples, rate
from families.photo.samples import figures, tell, train_command
from pipeline.files import written_whole
from pipeline.models.family import load_generator
from pipeline.models.registry import family_row
from pipeline.networks.mobilestylegan import MobileGenerator
from pipeline.networks.preview import Preview

FROM, WIDTH = 128, 96  # pixels a side of the features; channels of the preview
BATCH, STEPS, MUON_RATE, ADAM_RATE = 4, 4_000, 2e-3, 2e-3
ROWS, REACH = 32, 2  # of the features that a step looks at, and how far a picture's pixels depend on others
REUSED = 4  # steps on the same faces, each on other rows
MOVED = 1  # faces of a batch whose S is moved
STEP, CHANNELS = 4.0, 0.02  # how far, in deviations of S, and what share of its channels
MEASURED, KEEP_EVERY = 24, 250


class Fit(Averaged):
    """The preview in training."""

    def __init__(self, generator: MobileGenerator) -> None:
        torch.manual_seed(0)
        layer = next(la for la in generator.style_layers if la.resolution > FROM)
        later = sum(la.channels for la in generator.style_layers if la.resolution > FROM)
        model = Preview(layer.channels, WIDTH, FROM, later)
        for part in (model.conv1, model.conv2, model.to_image):
            nn.init.zeros_(part.modulation.weight)
            nn.init.ones_(part.modulation.bias)
        for conv in (model.conv1, model.conv2):
            conv.noise.zero_()
            nn.init.normal_(conv.depthwise, std=0.05)
            with torch.no_grad():
                conv.depthwise[:, 0, 1, 1] += 3.0  # features keep their size: the convolution divides by 3 sqrt(C)
        nn.init.zeros_(model.to_image.weight)
        super().__init__(model, (MUON_RATE, ADAM_RATE), 0.998)

    def step(self, features: Tensor, styles: Tensor, pictures: Tensor, first: int, share: float) -> float:
        """One update on the rows from the `first` on; the mean square of the error."""
        rows = slice(first, first + ROWS)
        with torch.autocast("cpu", torch.bfloat16):
            found = self.model(features[:, :, rows], styles, rows)
        inner = slice(2 * REACH, 2 * (ROWS - REACH))
        return self.update(F.mse_loss(found[:, :, inner].float(), pictures[:, :, 2 * first :][:, :, inner]), share)

    def export(self, path: Path, examples: "Examples") -> None:
        """Write the averaged preview, for S as it is, in half precision."""
        state = {k: v.clone() for k, v in self.mean.module.state_dict().items()}
        for part in ("conv1", "conv2", "to_image"):
            weight = state[f"{part}.modulation.weight"] / examples.spread
            state[f"{part}.modulation.bias"] -= weight @ examples.centre
            state[f"{part}.modulation.weight"] = weight
        with written_whole(path) as fresh:
            save_file({k: v.half().contiguous() for k, v in state.items()}, fresh)


@torch.no_grad()
def moved(styles: list[Tensor], deviations: list[Tensor], rng: torch.Generator) -> list[Tensor]:
    """S (N, C_i) with a few channels of each vector moved, as a direction moves them."""
    steps = []
    for s, deviation in zip(styles, deviations, strict=True):
        chosen = torch.rand(s.shape, generator=rng) < CHANNELS
        steps.append(s + STEP * deviation * torch.randn(s.shape, generator=rng) * chosen)
    return steps


def psnr(pictures: Tensor, truth: Tensor) -> float:
    """Of pictures (N, 3, R, R) in [-1, 1], in dB, the mean over pictures."""
    error = (pictures.clamp(-1, 1) - truth.clamp(-1, 1)).square().mean((1, 2, 3)) / 4
    return (-10 * error.log10()).mean().item()


class Examples:
    """Features, the styles after them, and full pictures. The styles are standardised, and divided by the square root
    of their number, so that one learning rate suits all layers."""

    def __init__(self, generator: MobileGenerator, samples: Samples) -> None:
        self.generator, self.samples = generator, samples
        with torch.no_grad():
            styles = generator.styles(samples.w[:2000])
        self.deviations, later = [s.std(0) for s in styles], generator.styles_after(styles, FROM)
        self.centre, self.spread = later.mean(0), later.std(0) * later.shape[1] ** 0.5

    @torch.no_grad()
    def draw(self, seeds: Tensor, move: int, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Of samples `seeds`, of which the last `move` are moved."""
        styles = self.generator.styles(self.samples.w[seeds])
        if move:
            edited = moved([s[-move:] for s in styles], self.deviations, rng)
            styles = [torch.cat([s[:-move], e]) for s, e in zip(styles, edited, strict=True)]
        features = torch.cat(
            [self.generator.features([s[i : i + 1] for s in styles], FROM, {}, strips=True) for i in range(len(seeds))]
        )
        full = self.generator.synthesize([s[-move:] for s in styles], 2 * FROM) if move else None
        plain = self.samples.pictures(seeds[: len(seeds) - move]) if move < len(seeds) else None
        pictures = torch.cat([part for part in (plain, full) if part is not None])
        return features, (self.generator.styles_after(styles, FROM) - self.centre) / self.spread, pictures


@torch.no_grad()
def measured(preview: Preview, examples: Examples) -> tuple[float, float]:
    """PSNR on held-out faces, in dB: as sampled, whose full pictures are kept as JPEG, and moved in S."""
    found = []
    for move in (0, 1):
        values = []
        for seed in examples.samples.held[:MEASURED]:
            features, styles, pictures = examples.draw(seed[None], move, torch.Generator().manual_seed(int(seed)))
            values.append(psnr(preview(features.float(), styles), pictures))
        found.append(sum(values) / len(values))
    return found[0], found[1]


def train(folder: Path, steps: int) -> None:
    """Train up to `steps` steps, on one core."""
    torch.set_num_threads(1)
    generator, _ = load_generator(family_row("photo"), torch.device("cpu"), torch.bfloat16)
    generator.preview = None  # one that is there already draws no examples
    samples = Samples(folder)
    examples, fit, kept = Examples(generator, samples), Fit(generator), folder / "preview.pt"
    if kept.exists():
        fit.load(kept)
    rng, losses, began = torch.Generator().manual_seed(fit.steps), [], time.monotonic()
    while fit.steps < steps:
        if fit.steps % REUSED == 0 or not losses:
            seeds = samples.train[torch.randint(len(samples.train), (BATCH,), generator=rng)]
            drawn = examples.draw(seeds, MOVED, rng)
        first = int(torch.randint(FROM - ROWS + 1, (), generator=rng))
        losses.append(fit.step(*drawn, first, rate(fit.steps / steps, steps)))
        if fit.steps % KEEP_EVERY == 0 or fit.steps == steps:
            fit.save(kept)
            fit.export(folder / "preview.safetensors", examples)
            seconds, loss = (time.monotonic() - began) / len(losses), sum(losses) / len(losses)
            print(f"{fit.steps} of {steps} steps, loss {loss:.5f}, {seconds:.2f} s a step", flush=True)
            began, losses = time.monotonic(), []
    plain, edited = measured(fit.mean.module, examples)
    tell(folder, "preview", figures({"PSNR, as sampled (dB)": plain, "PSNR, moved in S (dB)": edited}))


def main() -> None:
    """The command line."""
    train_command(__doc__, train, STEPS)


if __name__ == "__main__":
    main()
