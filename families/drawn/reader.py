"""The attribute reader: a small convolutional classifier of faces, a head for each category of what is drawn.

    python -m families.drawn.reader [--minutes N]

It judges edits from outside: benchmarks and tests use it, no editing method ever does, and the studio never loads it.
So that it says what it sees and not what usually goes together, some of its faces have attributes exchanged between
them, which also makes combinations that the generator's training never shows (a woman with a beard).
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from families.drawn.attributes import CATEGORIES, Attributes, attributes, labels, sample_z
from families.drawn.dataset import CACHE, Dataset
from families.drawn.renderer import render

SIZE = 128
OUTPUT = Path("checkpoints/demo/reader.safetensors")
EXCHANGED, SEED, BATCH, RATE = 4000, 300, 48, 3e-3
# What is exchanged together. The rest (gender, skin, shapes, pose, light) stays with its face.
SINGLE = "bald mohawk curl length fringe beard moustache lipstick eyeshadow earrings freckles age"
GROUPS = (
    *((name,) for name in SINGLE.split()),
    ("hair_r", "hair_g", "hair_b", "hair_weights"),
    ("glasses", "sunglasses"),
    ("expression_weights", "smile", "sad", "surprise", "anger", "open"),
    ("eye_r", "eye_g", "eye_b", "eye_weights"),
)


class Reader(nn.Module):
    """Eight convolutions and a linear layer over what is where: faces are aligned, so places matter."""

    def __init__(self, categories: Mapping[str, Sequence[str]] = CATEGORIES) -> None:
        """`categories`: name -> its classes."""
        super().__init__()
        self.classes = {name: len(values) for name, values in categories.items()}
        widths = ((3, 24, 2), (24, 32, 2), (32, 48, 1), (48, 64, 2), (64, 64, 1), (64, 96, 2), (96, 96, 1), (96, 96, 2))
        self.body = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU(inplace=True))
                for i, o, stride in widths
            )
        )
        self.heads = nn.Linear(96 * (SIZE // 32) ** 2, sum(self.classes.values()))

    @classmethod
    def from_file(cls, path: Path = OUTPUT, categories: Mapping[str, Sequence[str]] = CATEGORIES) -> "Reader":
        """The trained reader of these categories, frozen."""
        model = cls(categories)
        model.load_state_dict({name: value.float() for name, value in load_file(path).items()})
        return model.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Images (N, 3, 128, 128) in [-1, 1] -> category -> logits (N, classes)."""
        logits = self.heads(self.body(images).flatten(1)).float()
        parts = logits.split(list(self.classes.values()), 1)
        return dict(zip(self.classes, parts, strict=True))


@torch.inference_mode()
def probabilities(model: Reader, images: Tensor) -> dict[str, Tensor]:
    """Images (N, 3, H, W) in [-1, 1], any size from 128 px -> category -> probability (N, classes)."""
    small = F.adaptive_avg_pool2d(images.float().clamp(-1, 1), SIZE)
    return {name: logits.softmax(1) for name, logits in model(small).items()}


def read(model: Reader, images: Tensor) -> dict[str, Tensor]:
    """Images (N, 3, H, W) in [-1, 1], any size from 128 px -> category -> index (N,) of the most likely class."""
    return {name: p.argmax(1) for name, p in probabilities(model, images).items()}


def visible(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Readings -> category -> whether it can be seen at all (N,): hair under none, eyes behind dark glasses cannot."""
    style, dark = found["hairstyle"], found["eyewear"] == CATEGORIES["eyewear"].index("sunglasses")
    hair, bald = (style == CATEGORIES["hairstyle"].index(name) for name in ("hair", "bald"))
    seen = {name: torch.ones_like(dark) for name in CATEGORIES} | {"hair_colour": ~bald}
    seen |= dict.fromkeys(("hair_texture", "hair_length", "fringe"), hair)
    seen |= dict.fromkeys(("eye_colour", "eyeshadow"), ~dark)
    return seen | {"moustache": found["beard"] == CATEGORIES["beard"].index("no")}


def exchanged(count: int, seed: int) -> Attributes:
    """Attributes of `count` faces among whom each group of `GROUPS` was dealt anew."""
    a, rng = attributes(sample_z(count, seed)), torch.Generator().manual_seed(seed)
    for group in GROUPS:
        order = torch.randperm(count, generator=rng)
        a |= {name: a[name][order] for name in group}
    a["mohawk"] = a["mohawk"] * (1 - a["bald"])
    a["moustache"] = torch.maximum(a["moustache"], a["beard"])
    return a


def augment(images: Tensor, rng: torch.Generator) -> Tensor:
    """What an honest picture of a face may differ in: place, size, tilt, mirror, blur, light, tint, noise."""
    n = len(images)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.empty(shape).uniform_(low, high, generator=rng)

    angle, zoom = uniform(-0.07, 0.07, n), uniform(0.94, 1.06, n)
    mirror = torch.where(uniform(0, 1, n) < 0.5, -1.0, 1.0)
    cos, sin, shift = zoom * angle.cos(), zoom * angle.sin(), uniform(-0.06, 0.06, n, 2)
    rows = torch.stack([cos * mirror, -sin, shift[:, 0], sin * mirror, cos, shift[:, 1]], 1).view(n, 2, 3)
    grid = F.affine_grid(rows, list(images.shape), align_corners=False)
    images = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    sigma = uniform(-1.5, 2.0, 1).item()
    if sigma > 0.2:
        taps = torch.exp(-((torch.arange(-4, 5) / sigma) ** 2) / 2)
        kernel = (taps / taps.sum()).view(1, 1, 1, 9).expand(3, 1, 1, 9)
        images = F.conv2d(F.conv2d(images, kernel, padding=(0, 4), groups=3), kernel.mT, padding=(4, 0), groups=3)
    gain = 1 + uniform(-0.15, 0.15, n, 1, 1, 1) + uniform(-0.05, 0.05, n, 3, 1, 1)
    lift = uniform(-0.10, 0.10, n, 1, 1, 1) + uniform(-0.04, 0.04, n, 3, 1, 1)
    noise = torch.randn(images.shape, generator=rng) * uniform(0, 0.06, n, 1, 1, 1)
    return (images * gain + lift + noise).clamp(-1, 1)


def loss(logits: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> Tensor:
    """Mean cross entropy of the categories; ambiguous labels (-1) do not count."""
    terms = [F.cross_entropy(logits[name], truth[name], ignore_index=-1, reduction="sum") for name in logits]
    seen = [(truth[name] >= 0).sum().clamp(min=1) for name in logits]
    return sum(term / count for term, count in zip(terms, seen, strict=True)) / len(terms)


def accuracy(model: Reader, images: Tensor, truth: Mapping[str, Tensor]) -> dict[str, float]:
    """Share of right readings among the unambiguous ones, a category."""
    found = [read(model, chunk) for chunk in images.split(100)]
    merged = {name: torch.cat([f[name] for f in found]) for name in truth}
    return {name: (merged[name] == truth[name])[truth[name] >= 0].float().mean().item() for name in truth}


def training_set(data: Dataset) -> tuple[Tensor, dict[str, Tensor]]:
    """Images uint8 (N, 3, 128, 128) and labels: the set's training part, and faces with exchanged attributes."""
    kept = CACHE / "exchanged.pt"
    a = exchanged(EXCHANGED, SEED)
    if not kept.exists():
        numbers = {name: value for name, value in a.items() if value.ndim == 1}
        chunks = []
        with torch.inference_mode():
            for start in range(0, EXCHANGED, 20):
                batch, _ = render({name: v[start : start + 20] for name, v in numbers.items()}, SIZE)
                chunks.append(to_bytes(batch))
        torch.save(torch.cat(chunks), kept)
    chunks = [
        to_bytes(data.batch(index, SIZE))
        for index in torch.arange(data.train).split(100)
        if data.done[index // 8].all()
    ]
    if sum(map(len, chunks)) < data.train:
        raise SystemExit("the rendered set is incomplete: python -m families.drawn.dataset")
    extra = labels(a)
    truth = {name: torch.cat([data.labels[name][: data.train], extra[name]]) for name in CATEGORIES}
    return torch.cat([*chunks, torch.load(kept, weights_only=True)]), truth


def to_bytes(images: Tensor) -> Tensor:
    """Images in [-1, 1] as uint8, same shape."""
    return ((images + 1) * 127.5).round().byte()


def main() -> None:
    """Train for `--minutes`, print the accuracy on held-out faces, write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    minutes = parser.parse_args().minutes
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = Dataset()
    images, truth = training_set(data)
    model = Reader().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.02)
    rng, begin, steps = torch.Generator().manual_seed(1), time.monotonic(), 0
    while (t := (time.monotonic() - begin) / (60 * minutes)) < 1:
        optimizer.param_groups[0]["lr"] = RATE * min(1, steps / 100, 1.02 - t)
        index = torch.randint(len(images), (BATCH,), generator=rng)
        batch = augment(images[index].float() / 127.5 - 1, rng).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(batch)
        value = loss(logits, {name: truth[name][index] for name in CATEGORIES})
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        steps += 1
        if steps % 200 == 0:
            print(f"{steps} steps  {t * minutes:.1f} of {minutes:g} min  loss {value.item():.3f}", flush=True)
    model.eval()
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.half().contiguous() for name, value in model.state_dict().items()}, OUTPUT)

    model, held = Reader.from_file(), torch.arange(data.train, len(data.images))
    sharp = torch.cat([data.batch(index, SIZE) for index in held.split(100)])
    blurred = F.interpolate(F.adaptive_avg_pool2d(sharp, 64), scale_factor=2.0, mode="bilinear")
    dealt = exchanged(500, SEED + 1)
    drawn, _ = render({name: value for name, value in dealt.items() if value.ndim == 1}, SIZE)
    held_truth = {name: data.labels[name][held] for name in CATEGORIES}
    sets = ((sharp, held_truth), (blurred, held_truth), (drawn, labels(dealt)))
    columns = [accuracy(model, pictures, t) for pictures, t in sets]
    print("| category | held out | at 64 px | exchanged attributes |\n|---|---|---|---|")
    for name in CATEGORIES:
        print(f"| {name} | " + " | ".join(f"{column[name]:.3f}" for column in columns) + " |")


if __name__ == "__main__":
    main()
