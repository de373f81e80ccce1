"""The photo family's attribute reader: a small classifier of faces that judges edits from outside.

    python -m families.photo.reader [--folder DIR] [--steps N]

Benchmarks use it, no editing method does, and the studio never loads it. It learns what the labels say of the samples:
people's answers where there are any, in a third of each batch, else the probabilities of the probes. Every 24th sample
is held out; the table printed at the end is of those of them that people labelled, and of the expression, of which
face-api was sure. Goes on where it stopped; writes `reader.safetensors` in half precision.
"""

import math
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from families.averaged import Averaged
from families.drawn.reader import Reader, augment, read
from families.photo.captions import CATEGORIES
from families.photo.clip import known_faces, pictures
from families.photo.encoder import KEEP_EVERY, Samples, rate
from families.photo.samples import tell, train_command
from pipeline.files import written_whole

BATCH, STEPS, MUON_RATE, ADAM_RATE = 48, 4_000, 2e-3, 2e-3
BY_PEOPLE = BATCH // 3  # of each batch


class Fit(Averaged):
    """The reader in training."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(Reader(CATEGORIES).to(memory_format=torch.channels_last), (MUON_RATE, ADAM_RATE), 0.998, 0.02)

    def step(self, images: Tensor, shares: dict[str, Tensor], share: float) -> float:
        """One update on images (N, 3, S, S) that show `shares` (N, K) of the K classes of each category."""
        self.model.train()
        with torch.autocast("cpu", torch.bfloat16):
            logits = self.model(images.contiguous(memory_format=torch.channels_last))
        terms = [-(shares[name] * F.log_softmax(found, 1)).sum(1).mean() for name, found in logits.items()]
        return self.update(sum(terms), share)

    def export(self, path: Path) -> None:
        """Write the averaged reader in half precision."""
        state = self.mean.module.state_dict()
        with written_whole(path) as fresh:
            save_file({name: value.half().contiguous() for name, value in state.items()}, fresh)


def recalls(model: Reader, images: Tensor, truth: dict[str, Tensor]) -> dict[str, list[float]]:
    """Category -> of each class, the share of the images (N, 3, S, S) that are read as it; `truth` (N,) is -1 where
    nothing is known. A class of which there are none is not a number."""
    parts = [read(model, part) for part in images.split(100)]
    found = {name: torch.cat([part[name] for part in parts]) for name in truth}
    return {
        name: [
            (found[name] == i)[truth[name] == i].float().mean().item() if (truth[name] == i).any() else math.nan
            for i in range(len(CATEGORIES[name]))
        ]
        for name in truth
    }


def table(found: dict[str, list[float]]) -> str:
    """What `recalls` gives, as a table; the balanced accuracy is the mean over classes that were there."""
    lines = ["| category | balanced accuracy | each value |", "|---|---|---|"]
    for name, shares in found.items():
        known = [share for share in shares if not math.isnan(share)]
        each = ", ".join(f"{v} {share:.2f}" for v, share in zip(CATEGORIES[name], shares, strict=True))
        lines.append(f"| {name} | {sum(known) / max(1, len(known)):.3f} | {each} |")
    return "\n".join(lines)


def learn(folder: Path, steps: int) -> None:
    """Train up to `steps` steps, on one core; write the reader and print the table."""
    torch.set_num_threads(1)
    samples = Samples(folder)
    train, held = samples.train, samples.held
    images = pictures(folder, torch.cat([train, held]))
    faces = known_faces(folder, len(samples.w))
    by_people = faces.truth["gender"] >= 0
    labelled = train[by_people[train]]
    fit, kept = Fit(), folder / "reader.pt"
    if kept.exists():
        fit.load(kept)
    rng, losses, began = torch.Generator().manual_seed(fit.steps), [], time.monotonic()
    while fit.steps < steps:
        chosen = torch.cat([
            part[torch.randint(len(part), (count,), generator=rng)]
            for part, count in ((labelled, BY_PEOPLE), (train, BATCH - BY_PEOPLE))
        ])  # fmt: skip
        shown = augment(images[chosen].float() / 127.5 - 1, rng)
        losses.append(fit.step(shown, faces.of(chosen).shares, rate(fit.steps / steps, steps)))
        if fit.steps % KEEP_EVERY == 0 or fit.steps == steps:
            fit.save(kept)
            seconds = (time.monotonic() - began) / len(losses)
            mean = sum(losses) / len(losses)
            print(f"{fit.steps} of {steps} steps, loss {mean:.3f}, {seconds:.2f} s a step", flush=True)
            began, losses = time.monotonic(), []
    fit.export(folder / "reader.safetensors")
    model = Reader.from_file(folder / "reader.safetensors", CATEGORIES)
    tell(folder, "reader", table(recalls(model, images[held].float() / 127.5 - 1, faces.of(held).truth)))


def main() -> None:
    """The command line."""
    train_command(__doc__, learn, STEPS)


if __name__ == "__main__":
    main()
