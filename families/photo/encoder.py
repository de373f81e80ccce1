"""The photo family's encoder into W, trained on sampled faces that are disturbed as photographs are.

    python -m families.photo.encoder [--folder DIR] [--steps N]

The target is w, whitened by its own covariance; an error in a direction counts as much as the square root of how far
faces spread along it. Goes on where it stopped, and takes samples in that were made meanwhile. Every 24th sample is
held out. Prints the share of W's variance that is explained, and writes `encoder.safetensors` in half precision.
"""

import math
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from families.averaged import Averaged
from families.drawn.augment import photograph, placement
from families.photo.samples import SIZE, figures, picture_path, tell, train_command
from pipeline.files import written_whole
from pipeline.images import to_tensor
from pipeline.networks.w_encoder import WEncoder

BATCH, STEPS = 24, 12_000
MUON_RATE, ADAM_RATE, WARM_UP = 1e-3, 1e-3, 200
HELD_OUT, MEASURED = 24, 192  # every so many samples one is held out; how many of those are measured on the way
KEEP_EVERY = 250


class Samples:
    """The sampled faces that are there: `w` (N, D) by seed, the generator's `latent_avg` (D,), and the seeds for
    training and held out."""

    def __init__(self, folder: Path) -> None:
        codes = load_file(folder / "codes.safetensors")
        self.folder, self.w, self.latent_avg = folder, codes["w"], codes["latent_avg"]
        self.refresh()

    def refresh(self) -> None:
        """Take in what was made meanwhile."""
        there = [int(path.stem) for path in (self.folder / "images").glob("*.jpg")]
        seeds = torch.tensor(sorted(there))
        held = seeds % HELD_OUT == HELD_OUT - 1
        self.train, self.held = seeds[~held], seeds[held]

    def pictures(self, seeds: Tensor) -> Tensor:
        """(N, 3, 256, 256) in [-1, 1]."""
        return torch.cat([to_tensor(Image.open(picture_path(self.folder, s)), (SIZE, SIZE)) for s in seeds.tolist()])


class Whitening(nn.Module):
    """Between w and standardised coordinates (N, D) along the principal directions of sampled codes.

    A module, so that its numbers are kept with the encoder's: those of more samples may have other signs.
    """

    def __init__(self, w: Tensor) -> None:
        super().__init__()
        values, directions = torch.linalg.eigh((w - w.mean(0)).T.cov())
        for name, value in (
            ("mean", w.mean(0)),
            ("directions", directions),
            ("deviations", values.clamp(min=1e-8).sqrt()),
        ):
            self.register_buffer(name, value)

    def whiten(self, w: Tensor) -> Tensor:
        return (w - self.mean) @ self.directions / self.deviations

    def undo(self, y: Tensor) -> Tensor:
        return self.mean + (y * self.deviations) @ self.directions.T


def disturbed(pictures: Tensor, size: int, rng: torch.Generator) -> Tensor:
    """Pictures (N, 3, S, S) at `size`, moved as an alignment is off; of half of them light, colours, focus, noise and
    compression are those of photographs."""
    matrix = placement(len(pictures), rng, scale=(0.96, 1.04), turn=0.04, shift=0.03, stretch=0.01)
    pictures = F.interpolate(pictures, size=3 * size // 2, mode="bilinear", antialias=True)
    grid = F.affine_grid(matrix[:, :2], [len(pictures), 3, size, size], align_corners=False)
    pictures = F.grid_sample(pictures, grid, padding_mode="reflection", align_corners=False)
    half = len(pictures) // 2
    return torch.cat([pictures[:half], photograph(pictures[half:], rng, strength=0.4)])


class Fit(Averaged):
    """The encoder in training."""

    def __init__(self, whitening: Whitening) -> None:
        torch.manual_seed(0)
        model = WEncoder().to(memory_format=torch.channels_last)
        nn.init.zeros_(model.linear.weight)
        super().__init__(model, (MUON_RATE, ADAM_RATE), 0.998, decay=0.02, others={"whitening": whitening})
        self.whitening = whitening

    def step(self, pictures: Tensor, w: Tensor, rate: float) -> float:
        """One update; the weighted mean square of the whitened error."""
        with torch.autocast("cpu", torch.bfloat16):
            found = self.model(pictures.contiguous(memory_format=torch.channels_last))[:, 0]
        weights = self.whitening.deviations / self.whitening.deviations.mean()
        loss = ((found.float() - self.whitening.whiten(w)).square() * weights).mean()
        return self.update(loss, rate)

    @torch.no_grad()
    def explained(self, pictures: Tensor, w: Tensor) -> float:
        """The share of W's variance that the averaged encoder explains, for pictures at its size."""
        network = self.mean.module.eval()
        found = self.whitening.undo(torch.cat([network(part)[:, 0] for part in pictures.split(BATCH)]))
        self.model.train()
        return 1 - ((found - w).square().sum() / (w - self.whitening.mean).square().sum()).item()

    def export(self, path: Path, latent_avg: Tensor) -> None:
        """Write the averaged encoder, with the whitening undone by its last layer, in half precision."""
        state = {k: v.clone() for k, v in self.mean.module.state_dict().items() if not k.endswith("batches_tracked")}
        back = self.whitening.directions * self.whitening.deviations  # (D, D)
        offset = self.whitening.mean - latent_avg
        state["linear.weight"] = back @ state["linear.weight"]
        state["linear.bias"] = back @ state["linear.bias"] + offset
        with written_whole(path) as fresh:
            save_file({k: v.half().contiguous() for k, v in state.items()}, fresh)


def rate(done: float, steps: int) -> float:
    """The share of the peak rate after a share of the steps: a warm-up, then a cosine to 2 %."""
    return min(1.0, (done * steps + 1) / WARM_UP) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(done, 1))))


def measured(fit: Fit, samples: Samples) -> dict[str, float]:
    """The shares of W's variance that the averaged encoder explains on held-out samples."""
    held = samples.held[:MEASURED]
    pictures = samples.pictures(held)
    small = F.interpolate(pictures, size=fit.model.size, mode="bilinear", antialias=True)
    shown = disturbed(pictures, fit.model.size, torch.Generator().manual_seed(1))
    return {
        "explained share of W's variance": fit.explained(small, samples.w[held]),
        "the same of disturbed pictures": fit.explained(shown, samples.w[held]),
    }


def train(folder: Path, steps: int) -> None:
    """Train up to `steps` steps, on one core."""
    torch.set_num_threads(1)
    samples = Samples(folder)
    fit, kept = Fit(Whitening(samples.w)), folder / "encoder.pt"
    if kept.exists():
        fit.load(kept)
    size, rng, losses = fit.model.size, torch.Generator().manual_seed(fit.steps), []
    began = time.monotonic()
    while fit.steps < steps:
        if fit.steps % KEEP_EVERY == 0:
            samples.refresh()
        seeds = samples.train[torch.randint(len(samples.train), (BATCH,), generator=rng)]
        losses.append(
            fit.step(disturbed(samples.pictures(seeds), size, rng), samples.w[seeds], rate(fit.steps / steps, steps))
        )
        if fit.steps % KEEP_EVERY == 0 or fit.steps == steps:
            fit.save(kept)
            found = ", ".join(f"{name} {share:.3f}" for name, share in measured(fit, samples).items())
            print(
                f"{fit.steps} of {steps} steps, {len(samples.train)} samples, loss {sum(losses) / len(losses):.4f}, "
                f"{found}, {(time.monotonic() - began) / len(losses):.2f} s a step",
                flush=True,
            )
            fit.export(folder / "encoder.safetensors", samples.latent_avg)
            began, losses = time.monotonic(), []
    tell(folder, "encoder", figures(measured(fit, samples)))


def main() -> None:
    """The command line."""
    train_command(__doc__, train, STEPS)


if __name__ == "__main__":
    main()
