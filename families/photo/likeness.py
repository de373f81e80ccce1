"""The photo family's encoder once more, by what its answers look like: pictures, persons and its own features.

    python -m families.photo.likeness [--folder DIR] [--steps N]

Goes on from the encoder that `encoder` has trained on codes: w is as near as before, but errors that nobody sees count
less than those that change the face. The generator draws each answer by its preview; the picture is compared with the
sample as it was before it was disturbed, the person by the identity network, and both as the encoder itself sees them.
Every 24th sample is held out. Goes on where it stopped, and writes `encoder.safetensors` anew.
"""

import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from families.photo.encoder import Fit, Samples, Whitening, disturbed, rate
from families.photo.samples import figures, tell, train_command
from pipeline.errors import UserError
from pipeline.losses import identity_distance, identity_features
from pipeline.methods.inversion import pixel_distance
from pipeline.models.family import load_generator
from pipeline.models.registry import family_row
from pipeline.networks.arcface import IRSE
from pipeline.networks.mobilestylegan import MobileGenerator
from pipeline.networks.preview import Preview

BATCH, STEPS, PEAK, KEEP_EVERY, MEASURED = 8, 800, 0.25, 50, 48
PIXELS, IDENTITY, FEATURES, CODE = 1.0, 1.0, 1.0, 0.5  # weights of the terms


class LikenessLosses:
    """What an encoder is told of its codes: how their pictures differ from those that it was shown."""

    def __init__(self, folder: Path, encoder: nn.Module) -> None:
        """`encoder` and the others are frozen. Raises UserError where preview or identity network is missing."""
        for name in ("preview", "identity"):
            if not (folder / f"{name}.safetensors").is_file():
                raise UserError(f"The encoder is shown pictures by the part {name}; please make that first.")
        generator, _ = load_generator(family_row("photo"), torch.device("cpu"), torch.bfloat16)
        assert isinstance(generator, MobileGenerator)
        generator.preview = Preview.from_state_dict(load_file(folder / "preview.safetensors"))
        self.generator, self.size = generator, generator.preview.size
        self.identity = IRSE.from_state_dict(load_file(folder / "identity.safetensors"))
        self.encoder = encoder.eval().requires_grad_(False)

    def losses(self, w: Tensor, pictures: Tensor) -> dict[str, Tensor]:
        """Of codes w (N, D) found for pictures (N, 3, 256, 256), which are not disturbed."""
        images = self.generator.synthesize(self.generator.styles(w), self.size)
        with torch.no_grad():
            person, seen = identity_features(self.identity, pictures), self._features(pictures)
        return {
            "pixels": pixel_distance(images, pictures),
            "identity": identity_distance(identity_features(self.identity, images), person).mean(),
            "features": 1 - (self._features(images) * seen).sum(1).mean(),
        }

    def _features(self, pictures: Tensor) -> Tensor:
        """Unit vectors (N, F): what the encoder's last layer reads."""
        x, e = F.interpolate(pictures.float(), size=self.encoder.size, mode="bilinear", antialias=True), self.encoder
        with torch.autocast("cpu", torch.bfloat16):
            y = e.reduce(F.relu(e.norm(e.units(e.stem(x.contiguous(memory_format=torch.channels_last))))))
        return F.normalize(F.relu(y.float()).flatten(1))


def step(
    fit: Fit, likeness: LikenessLosses, pictures: Tensor, w: Tensor, rng: torch.Generator, share: float
) -> dict[str, float]:
    """One update of the encoder; the terms of the loss."""
    shown = disturbed(pictures, fit.model.size, rng).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        found = fit.model(shown)[:, 0]
    found = found.float()
    terms = likeness.losses(fit.whitening.undo(found), pictures)
    weights = fit.whitening.deviations / fit.whitening.deviations.mean()
    terms["code"] = ((found - fit.whitening.whiten(w)).square() * weights).mean()
    total = sum(
        weight * terms[name]
        for name, weight in (("pixels", PIXELS), ("identity", IDENTITY), ("features", FEATURES), ("code", CODE))
    )
    fit.update(total, share)
    return {name: value.item() for name, value in terms.items()}


@torch.no_grad()
def measured(fit: Fit, likeness: LikenessLosses, samples: Samples) -> dict[str, float]:
    """The terms of the averaged encoder on held-out samples, and the share of W's variance that it explains."""
    network, totals, held = fit.mean.module.eval(), {}, samples.held[:MEASURED]
    for seeds in held.split(BATCH):
        pictures = samples.pictures(seeds)
        small = F.interpolate(pictures, size=network.size, mode="bilinear", antialias=True)
        w = fit.whitening.undo(network(small)[:, 0])
        found = {name: value.item() for name, value in likeness.losses(w, pictures).items()}
        totals = {name: totals.get(name, 0.0) + value * len(seeds) / len(held) for name, value in found.items()}
    pictures = F.interpolate(samples.pictures(held), size=network.size, mode="bilinear", antialias=True)
    return totals | {"explained": fit.explained(pictures, samples.w[held])}


def learn(folder: Path, steps: int) -> None:
    """Train up to `steps` steps, on one core."""
    torch.set_num_threads(1)
    samples = Samples(folder)
    begun, kept = Fit(Whitening(samples.w)), folder / "likeness.pt"
    if not (folder / "encoder.pt").is_file():
        raise UserError("The encoder has not learned codes yet; please make the part encoder first.")
    begun.load(folder / "encoder.pt")
    fit = Fit(Whitening(samples.w))  # with optimizers of its own
    fit.model.load_state_dict(begun.mean.module.state_dict())
    fit.mean.module.load_state_dict(begun.mean.module.state_dict())
    fit.whitening.load_state_dict(begun.whitening.state_dict())
    likeness = LikenessLosses(folder, begun.mean.module)
    if kept.exists() and kept.stat().st_mtime > (folder / "encoder.pt").stat().st_mtime:
        fit.load(kept)  # else it was trained from another encoder
    fit.model.eval()  # the statistics of batch norm stay: batches are small
    rng, sums, began, done = torch.Generator().manual_seed(fit.steps), {}, time.monotonic(), 0
    while fit.steps < steps:
        seeds = samples.train[torch.randint(len(samples.train), (BATCH,), generator=rng)]
        share = PEAK * rate(fit.steps / steps, steps)
        found = step(fit, likeness, samples.pictures(seeds), samples.w[seeds], rng, share)
        sums, done = {name: sums.get(name, 0.0) + value for name, value in found.items()}, done + 1
        if fit.steps % KEEP_EVERY == 0 or fit.steps == steps:
            fit.save(kept)
            terms = " ".join(f"{name} {value / done:.4f}" for name, value in sums.items())
            print(
                f"{fit.steps} of {steps} steps, {terms}, {(time.monotonic() - began) / done:.2f} s a step", flush=True
            )
            sums, began, done = {}, time.monotonic(), 0
    fit.export(folder / "encoder.safetensors", samples.latent_avg)
    tell(folder, "likeness", figures(measured(fit, likeness, samples)))


def main() -> None:
    """The command line."""
    train_command(__doc__, learn, STEPS)


if __name__ == "__main__":
    main()
