"""The photo family's identity network: a narrow IR-SE that tells people apart as face-api's descriptor does.

    python -m families.photo.identity [--folder DIR] [--steps N]

The descriptors of the sampled faces, less their mean and of unit length, are what it learns to give, so that the cosine
of two of its answers tells what the distance of two descriptors does. Every 24th sample is held out. Goes on where it
stopped; writes `identity.safetensors` and prints how well it agrees with the descriptors.
"""

import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from families.averaged import Averaged
from families.drawn.identity import disturb
from families.drawn.narrow import fix_slopes, published
from families.photo.encoder import KEEP_EVERY, Samples, rate
from families.photo.face_labels import read_face_labels
from families.photo.samples import figures, tell, train_command
from pipeline.files import written_whole
from pipeline.losses import identity_crop, identity_features
from pipeline.networks.arcface import IRSE

WIDTHS, DEPTHS, EMBEDDING, REDUCTION = (16, 48, 96, 160), (1, 2, 3, 1), 128, 4
BATCH, STEPS, MUON_RATE, ADAM_RATE = 32, 6_000, 2e-3, 2e-3
SAME = 0.6  # distance of descriptors below which two pictures are of one person


class Fit(Averaged):
    """The network in training."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        model = IRSE(WIDTHS, DEPTHS, EMBEDDING, reduction=REDUCTION)
        self.slopes = fix_slopes(model)
        model.output_layer[1].p = 0.1
        super().__init__(model, (MUON_RATE, ADAM_RATE), 0.998)

    def step(self, pictures: Tensor, targets: Tensor, share: float) -> float:
        """One update on pictures (N, 3, S, S), for answers as `targets` (N, EMBEDDING); the mean of 1 - cosine."""
        self.model.train()
        with torch.autocast("cpu", torch.bfloat16):
            found = self.model(identity_crop(pictures, self.model.size))
        return self.update((1 - (found.float() * targets).sum(1)).mean(), share)

    def export(self, path: Path) -> None:
        """Write the averaged network."""
        with written_whole(path) as fresh:
            save_file(published(self.mean.module, self.slopes), fresh)


def goals(descriptors: Tensor) -> Tensor:
    """Descriptors (N, 128) -> what is to be learned, (N, 128) of unit length."""
    return F.normalize(descriptors - descriptors.mean(0))


@torch.inference_mode()
def agreement(network: torch.nn.Module, pictures: Tensor, descriptors: Tensor) -> dict[str, float]:
    """How the cosines of the network's answers to pictures (N, 3, S, S) go with the distances of their descriptors
    (N, 128): the correlation over all pairs, and the cosine above which as many pairs lie as are of one person by the
    descriptors, with the share of these that the network finds too."""
    features = torch.cat([identity_features(network, part) for part in pictures.split(BATCH)])
    pairs = torch.triu_indices(len(features), len(features), 1)
    cosine, distance = (features @ features.T)[*pairs], torch.cdist(descriptors, descriptors)[*pairs]
    same = distance < SAME
    bound = cosine.quantile(1 - same.float().mean())
    return {
        "correlation with the descriptors' distances": -torch.corrcoef(torch.stack([cosine, distance]))[0, 1].item(),
        "cosine that parts people": bound.item(),
        "pairs of one person that are found": (cosine[same] >= bound).float().mean().item(),
    }


def train(folder: Path, steps: int) -> None:
    """Train up to `steps` steps, on one core."""
    torch.set_num_threads(1)
    samples, fit, kept = Samples(folder), Fit(), folder / "identity.pt"
    descriptors = torch.from_numpy(read_face_labels(folder)["descriptor"])
    targets = goals(descriptors)
    if kept.exists():
        fit.load(kept)
    rng, losses, began = torch.Generator().manual_seed(fit.steps), [], time.monotonic()
    while fit.steps < steps:
        seeds = samples.train[torch.randint(len(samples.train), (BATCH,), generator=rng)]
        pictures = disturb(samples.pictures(seeds), rng)
        losses.append(fit.step(pictures, targets[seeds], rate(fit.steps / steps, steps)))
        if fit.steps % KEEP_EVERY == 0 or fit.steps == steps:
            fit.save(kept)
            seconds = (time.monotonic() - began) / len(losses)
            print(
                f"{fit.steps} of {steps} steps, loss {sum(losses) / len(losses):.4f}, {seconds:.2f} s a step",
                flush=True,
            )
            began, losses = time.monotonic(), []
    fit.export(folder / "identity.safetensors")
    found = agreement(fit.mean.module.eval(), samples.pictures(samples.held), descriptors[samples.held])
    tell(folder, "identity", figures(found))


def main() -> None:
    """The command line."""
    train_command(__doc__, train, STEPS)


if __name__ == "__main__":
    main()
