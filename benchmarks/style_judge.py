"""A small network that tells styles apart, which no method uses: it learned them from the filters' pictures.

    python -m benchmarks.style_judge --model photo

Needs the pictures of `families.styles`. Prints how often it is right on faces that it did not learn from; writes
`.cache/styles/NAME/judge.pt`, which `benchmarks.styles` reads.
"""

import argparse

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from families.style_filters import FILTERS
from families.styles import CACHE, FACES, HELD_OUT, VARIANTS, plain_and_styled
from pipeline.losses import clip_pool
from pipeline.training.command import run

NAMES = (*FILTERS, "photo")
WIDTHS, BATCH, EPOCHS, LR = (24, 48, 96, 160), 64, 5, 2e-3


class StyleJudge(nn.Sequential):
    """Pictures (N, 3, R, R) in [-1, 1] -> scores of `NAMES` (N, K)."""

    def __init__(self) -> None:
        layers: list[nn.Module] = []
        for channels, width in zip((3, *WIDTHS), WIDTHS, strict=False):
            layers += [nn.Conv2d(channels, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU()]
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTHS[-1], len(NAMES)))


def judge_of(name: str, resolution: int) -> "Judged":
    """The judge of a family, which was trained before; it looks at pictures of this many pixels a side."""
    model = StyleJudge()
    model.load_state_dict(torch.load(CACHE / name / "judge.pt", weights_only=True))
    return Judged(model.eval(), resolution)


class Judged:
    """A judge and the size at which it looks."""

    def __init__(self, model: StyleJudge, resolution: int) -> None:
        self.model, self.resolution = model, resolution

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> list[str]:
        """The style of each of some pictures (N, 3, R, R)."""
        found = self.model(clip_pool(pictures.clamp(-1, 1), self.resolution)).argmax(1)
        return [NAMES[k] for k in found.tolist()]


def learn(name: str, count: int) -> None:
    """Train the judge on whole pictures, plain and in all styles."""
    torch.manual_seed(0)
    faces = plain_and_styled(name, count, CACHE / name)
    held = torch.arange(count) % HELD_OUT == HELD_OUT - 1
    pictures = torch.cat([faces["plain"][:, :1], faces["styled"][:, :, 0]], 1)  # (N, 1 + VARIANTS, 3, R, R)
    truth = torch.cat([torch.full((count, 1), len(FILTERS)), faces["which"]], 1)
    pixels, styles = pictures[~held].flatten(0, 1), truth[~held].flatten()
    weight = torch.ones(len(NAMES))
    weight[-1] = len(FILTERS) / VARIANTS  # plain pictures are as many as those of so few styles
    model = StyleJudge()
    optimizer = torch.optim.AdamW(model.parameters(), LR)
    steps = EPOCHS * len(pixels) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=steps)
    for step in range(steps):
        index = torch.randint(len(pixels), (BATCH,))
        shown = pixels[index].float() / 127.5 - 1
        shown = (shown + 0.05 * torch.randn(()) + 0.03 * torch.randn_like(shown)).clamp(-1, 1)
        loss = F.cross_entropy(model(shown), styles[index], weight)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step} of {steps}  loss {loss.item():.3f}", flush=True)
    torch.save(model.state_dict(), CACHE / name / "judge.pt")
    judge = judge_of(name, pixels.shape[-1])
    found = judge(pictures[held].flatten(0, 1).float() / 127.5 - 1)
    right = [NAMES[k] == one for k, one in zip(truth[held].flatten().tolist(), found, strict=True)]
    print(f"right on {sum(right)} of {len(right)} pictures of other faces")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="photo")
    parser.add_argument("--faces", type=int, default=FACES)
    options = parser.parse_args()
    run(lambda: learn(options.model, options.faces))


if __name__ == "__main__":
    main()
