"""Fit the demo generator to the renderer: synthesis on the true codes w*; the mapping network is fitted apart.

    python -m families.drawn.generator [--minutes N]

Stages of 64, 128 and 256 px use the running RGB of one and the same network. Work is kept in `.cache/demo/generator.pt`
and goes on from there; the exponential average of the weights, with the mapping network of
`families.drawn.mapping`, is written to `checkpoints/demo/generator.safetensors`.
"""

import argparse
import math
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from families.drawn import mapping
from families.drawn.attributes import W_DIM, sample_z
from families.drawn.dataset import CACHE, Dataset
from families.muon import Muon
from pipeline.files import written_whole
from pipeline.networks.stylegan2 import Generator

CHANNELS = {4: 128, 8: 128, 16: 128, 32: 128, 64: 64, 128: 32, 256: 16}
STAGES = ((64, 0.22), (128, 0.30), (256, 0.48))  # resolution, share of the minutes
MUON_RATE, ADAM_RATE, NOISE_RATE = 0.008, 0.01, 0.06
BATCH = 8
OUTPUT = Path("checkpoints/demo/generator.safetensors")


def new_generator() -> Generator:
    """An untrained generator whose noise maps are parameters, as the fit wants them."""
    torch.manual_seed(0)
    model = Generator(256, W_DIM, mapping.LAYERS, CHANNELS)
    model.compute_dtype = torch.bfloat16
    for name, buffer in list(model.noises.named_buffers()):
        del model.noises._buffers[name]
        model.noises.register_parameter(name, nn.Parameter(0.1 * buffer))
    for name, p in model.named_parameters():
        if name.endswith("noise.weight"):
            nn.init.ones_(p)
        if "rgb" in name and name.endswith("conv.weight"):
            nn.init.zeros_(p)
    return model


def attention(size: int) -> Tensor:
    """Where errors count: weight 1, more in the face, at the eyes and at the mouth; (size, size), mean 1."""
    y, x = torch.meshgrid(*[(torch.arange(size) + 0.5) * (2 / size) - 1] * 2, indexing="ij")

    def box(cx: float, cy: float, half_x: float, half_y: float) -> Tensor:
        inside = torch.maximum((x - cx).abs() / half_x, (y - cy).abs() / half_y)
        return torch.sigmoid((1 - inside) * 8)

    weight = 1 + 2 * box(0, 0.1, 0.6, 0.75) + 5 * box(0, 0.45, 0.3, 0.22) + 3 * box(0, -0.08, 0.45, 0.2)
    return weight / weight.mean()


def band_loss(image: Tensor, target: Tensor) -> Tensor:
    """L1 over the bands of a Laplacian pyramid, each divided by (its usual size)^0.75, so that fine detail counts."""
    difference, loss = image - target, 0.0
    while True:
        size = target.shape[-1]
        if size <= 8:
            return loss + 0.1 * (difference.abs() * attention(size)).mean() / target.abs().mean() ** 0.75
        low_d, low_t = F.avg_pool2d(difference, 2), F.avg_pool2d(target, 2)
        band_d, band_t = (v - F.interpolate(low, scale_factor=2.0) for v, low in ((difference, low_d), (target, low_t)))
        loss = loss + 0.1 * (band_d.abs() * attention(size)).mean() / (band_t.abs().mean() + 1e-3) ** 0.75
        difference, target = low_d, low_t


def psnr(image: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, one an image, of (N, 3, H, W) in [-1, 1]."""
    return 10 * torch.log10(4 / (image.clamp(-1, 1) - target).square().mean((1, 2, 3)))


class Fit:
    """The state of the fit: model, average, optimizers, position in the schedule."""

    def __init__(self, data: Dataset) -> None:
        self.data, self.model = data, new_generator()
        synthesis = {n: p for n, p in self.model.named_parameters() if not n.startswith("style.")}
        matrices = [
            p for n, p in synthesis.items() if n.endswith(("conv.weight", "modulation.weight")) and "rgb" not in n
        ]
        noises = [p for n, p in synthesis.items() if n.startswith("noises.")]
        chosen = {id(p) for p in matrices + noises}
        rest = [p for p in synthesis.values() if id(p) not in chosen]
        self.optimizers = [
            Muon(matrices, MUON_RATE),
            torch.optim.Adam(
                [{"params": rest, "lr": ADAM_RATE}, {"params": noises, "lr": NOISE_RATE}], betas=(0.9, 0.99)
            ),
        ]
        self.rates = [[g["lr"] for g in o.param_groups] for o in self.optimizers]
        self.average = {n: p.detach().clone() for n, p in synthesis.items()}
        self.parameters = synthesis
        self.steps, self.seconds = 0, 0.0

    def save(self, path: Path) -> None:
        """Everything that is needed to go on."""
        state = {
            "model": {n: v for n, v in self.model.state_dict().items() if not n.startswith("style.")},
            "average": self.average,
            "optimizers": [o.state_dict() for o in self.optimizers],
            "steps": self.steps,
            "seconds": self.seconds,
        }
        with written_whole(path) as fresh:
            torch.save(state, fresh)

    def load(self, path: Path) -> None:
        """Go on from `save`."""
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"], strict=False)  # the mapping network is kept apart
        self.average = state["average"]
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.steps, self.seconds = state["steps"], state["seconds"]

    def step(self, resolution: int, rate: float) -> float:
        """One batch. `rate` scales all learning rates."""
        for optimizer, rates in zip(self.optimizers, self.rates, strict=True):
            for group, base in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = base * rate
        index = torch.randint(self.data.train, (BATCH,), generator=torch.Generator().manual_seed(self.steps))
        image = self.model.synthesize(self.model.styles(self.data.w[index]), resolution)
        loss = band_loss(image, self.data.batch(index, resolution))
        loss.backward()
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.steps += 1
        decay = min(0.995, self.steps / (self.steps + 20))
        with torch.no_grad():
            for name, p in self.parameters.items():
                self.average[name].lerp_(p, 1 - decay)
        return loss.item()

    def averaged(self) -> Generator:
        """The generator with averaged weights, frozen, float32."""
        state = self.model.state_dict() | self.average
        return Generator.from_state_dict({k: v.clone() for k, v in state.items()})


@torch.inference_mode()
def held_out_psnr(model: Generator, data: Dataset, resolution: int, codes: Tensor, count: int = 64) -> float:
    """Mean PSNR in dB over `count` held-out faces drawn from their codes (N, D)."""
    values = []
    for start in range(data.train, data.train + count, 8):
        index = torch.arange(start, start + 8)
        values.append(psnr(model(codes[index], resolution), data.batch(index, resolution)))
    return torch.cat(values).mean().item()


def export(model: Generator, path: Path) -> None:
    """Write the published layout in half precision, with `latent_avg`, the mean of w over 100,000 samples."""
    model.style.load_state_dict(torch.load(CACHE / "mapping.pt", weights_only=True)["average"])
    state = {name: value.detach().half().contiguous() for name, value in model.state_dict().items()}
    with torch.inference_mode():
        state["latent_avg"] = model.mapping(sample_z(100_000, 7)).mean(0).clone()
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as fresh:
        save_file(state, fresh)


def _schedule(seconds: float, total: float) -> tuple[int, float]:
    """Resolution and rate at a time: in each stage a short warm-up, a hold, a cosine to 2 %."""
    begin = 0.0
    for resolution, share in STAGES:
        t = (seconds / total - begin) / share
        if t < 1:
            warm = min(1.0, t / 0.02 + 0.02)
            fall = 1.0 if t < 0.3 else 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (t - 0.3) / 0.7))
            return resolution, warm * fall
        begin += share
    return STAGES[-1][0], 0.02


def main() -> None:
    """Fit for `--minutes` of computing time, counted over all runs, then write the checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=80)
    total = parser.parse_args().minutes * 60
    torch.set_num_threads(1)
    data = Dataset()
    fit, kept = Fit(data), CACHE / "generator.pt"
    if kept.exists():
        fit.load(kept)
    while fit.seconds < total:
        start = time.monotonic()
        resolution, rate = _schedule(fit.seconds, total)
        loss = fit.step(resolution, rate)
        fit.seconds += time.monotonic() - start
        if fit.steps % 250 == 0:
            value = held_out_psnr(fit.averaged(), data, resolution, data.w)
            print(
                f"{fit.steps} steps  {fit.seconds / 60:.1f} min  {resolution} px  loss {loss:.3f}  {value:.2f} dB",
                flush=True,
            )
            fit.save(kept)
    fit.save(kept)
    model = fit.averaged()
    export(model, OUTPUT)
    with torch.inference_mode():
        codes = model.mapping(data.z)
    true, mapped = (held_out_psnr(model, data, 256, code) for code in (data.w, codes))
    print(f"held-out PSNR at 256 px: {true:.2f} dB from w*, {mapped:.2f} dB from z")


if __name__ == "__main__":
    main()
