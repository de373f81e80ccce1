"""Mapper training: this project's recipe beside the paper's optimizer, and what a step costs at the published size.

    python -m benchmarks.mapper [--prompts purple glasses] [--steps 220] [--faces 50] [--folder docs/results]
    python -m benchmarks.mapper --full-size [--dtype bfloat16]

Both optimizers start from the same mapper, see the same faces, and minimise the same loss. Seconds are CPU time of this
process, so that other work on the machine hardly counts. Success is what benchmarks.edits means by it, on held-out
faces that lack the target. At full size the weights are seeded, since their values do not change the cost.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from benchmarks.judging import LabelledFace, Score, faces
from benchmarks.targets import PAIRS, Target
from families.drawn.reader import Reader
from pipeline import StyleCLIP
from pipeline.methods.directions import mean_codes
from pipeline.methods.mapper import apply_mapper
from pipeline.networks.arcface import IRSE
from pipeline.networks.clip import CLIP, narrow_clip
from pipeline.networks.stylegan2 import Generator
from pipeline.text import Texts
from pipeline.training.frozen import FrozenModels
from pipeline.training.mapper_recipe import MapperRecipe
from pipeline.training.mapper_training import GAIN, STRENGTH, MapperTraining

WIDTH, HEIGHT, MARGIN = 460, 320, 48
COLOURS = {"Adam 1.5": "#c0392b", "Ranger 0.5, as published": "#2c3e50", "Ranger 0.5, gradients lifted": "#2980b9"}
FACE_GFLOP = 3 * 150.8 + 2 * 8.7 + 3 * 12.6  # source, edit and gradient: generator at 1024 px, CLIP, identity network


class Ranger:
    """RAdam (Liu et al. 2019) under Lookahead (Zhang et al. 2019), gradients centred (Yong et al. 2020).

    The constants are those of the published Ranger; the rate stays what the paper says. Its ε of 1e-5 is far above a
    mapper's gradients, which therefore moved it hardly at all in 220 steps; `gain` multiplies them.
    """

    BETAS, EPS, LOOK, BLEND, RATE = (0.95, 0.999), 1e-5, 6, 0.5, 0.5

    def __init__(self, values: list[Tensor], gain: float = 1.0) -> None:
        self.values, self.gain = values, gain
        self.mean, self.square = ([torch.zeros_like(v) for v in values] for _ in range(2))
        self.slow = [v.detach().clone() for v in values]
        self.steps = 0

    @torch.no_grad()
    def update(self, gradients: tuple[Tensor, ...], lr: float) -> None:
        """One step; `lr` is our recipe's and not looked at."""
        self.steps += 1
        (first, second), t = self.BETAS, self.steps
        longest = 2 / (1 - second) - 1
        length = longest - 2 * t * second**t / (1 - second**t)  # of the approximated simple moving average
        trusted = length > 5
        rate = self.RATE / (1 - first**t)
        if trusted:
            share = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
            rate *= ((1 - second**t) * share) ** 0.5
        for value, mean, square, gradient in zip(self.values, self.mean, self.square, gradients, strict=True):
            gradient = gradient * (self.gain / GAIN)
            if gradient.ndim > 1:
                gradient = gradient - gradient.mean(1, keepdim=True)
            mean.lerp_(gradient, 1 - first)
            square.lerp_(gradient.square(), 1 - second)
            value.sub_(rate * (mean / (square.sqrt() + self.EPS) if trusted else mean))
        if t % self.LOOK == 0:
            for value, slow in zip(self.values, self.slow, strict=True):
                value.copy_(slow.lerp_(value, self.BLEND))


def trained(
    models: FrozenModels, texts: Texts, recipe: MapperRecipe, optimizer: Callable | None
) -> tuple[MapperTraining, list[tuple[int, float]], float]:
    """A finished training; its validation losses by step; CPU seconds a step, validation included."""
    training = MapperTraining(models, texts, recipe)
    if optimizer:
        training.adam = optimizer(training.values)
    curve, begin = [], time.process_time()
    while not training.finished:
        state = training.advance()
        if state.validation:
            curve.append((state.step, state.validation["total"]))
    return training, curve, (time.process_time() - begin) / training.step


def plot(curves: dict[str, dict[str, list[tuple[int, float]]]]) -> Image.Image:
    """Validation losses: a chart a prompt, a line an optimizer."""
    out = Image.new("RGB", (WIDTH * len(curves), HEIGHT), "white")
    draw, font = ImageDraw.Draw(out), ImageFont.load_default(13)
    for column, (prompt, lines) in enumerate(curves.items()):
        points = [point for line in lines.values() for point in line]
        steps, (low, high) = max(s for s, _ in points), (f(v for _, v in points) for f in (min, max))
        left, right, top, bottom = WIDTH * column + MARGIN, WIDTH * (column + 1) - 16, 40, HEIGHT - 32

        def place(step: float, loss: float, box: tuple = (left, right, top, bottom, steps, low, high)) -> tuple:
            left, right, top, bottom, steps, low, high = box
            return left + (right - left) * step / steps, bottom - (bottom - top) * (loss - low) / (high - low or 1)

        draw.line([(left, top), (left, bottom), (right, bottom)], "black")
        draw.text((left, 8), f"validation loss, “{prompt}”", "black", font)
        for value in (low, high):
            draw.text((left - 6, place(0, value)[1]), f"{value:.2f}", "black", font, "rm")
        draw.text((right, bottom + 6), f"{steps} steps", "black", font, "ra")
        for i, (name, line) in enumerate(lines.items()):
            draw.line([place(*point) for point in line], COLOURS[name], 2)
            draw.text((right, top + 60 + 16 * i), name, COLOURS[name], font, "ra")
    return out


def held_out(
    supply: Iterator[LabelledFace], pool: list[LabelledFace], pair: Target, count: int
) -> Iterator[LabelledFace]:
    """`count` faces without the target; `pool` grows as far as needed."""

    def every() -> Iterator[LabelledFace]:
        yield from pool
        for face in supply:
            pool.append(face)
            yield face

    return islice((face for face in every() if pair.lacking(face.found)), count)


def compare(prompts: list[str], steps: int, count: int, folder: Path) -> None:
    """Print the table; draw the curves."""
    studio, reader = StyleCLIP.from_pretrained("demo", device="cpu"), Reader.from_file()
    models, weight = FrozenModels.of(studio.family), studio.family.defaults.mapper_clip
    supply, pool, curves = faces(studio, reader), [], {}
    print("| prompt | optimizer | CPU s a step | in all | validation loss | appeared · identity · others changed |")
    print("|---|---|---|---|---|---|")
    for word in prompts:
        pair = next(pair for pair in PAIRS if word in pair.target)
        curves[pair.prompt] = {}
        for name, optimizer in zip(COLOURS, (None, Ranger, partial(Ranger, gain=GAIN)), strict=True):
            recipe = MapperRecipe(pair.prompt, clip=weight, steps=steps, every=10, patience=10**6)
            training, curve, seconds = trained(models, studio.texts, recipe, optimizer)
            curves[pair.prompt][name] = curve
            mapper, score = training.mapper, Score(studio, reader, pair)
            for face in held_out(supply, pool, pair, count):
                latent = apply_mapper(mapper, studio.family.generator, face.latent, STRENGTH)
                score.add(face, studio.image(latent))
            cells = (pair.prompt, name, f"{seconds:.2f}", f"{seconds * training.step:.0f} s")
            print("| " + " | ".join((*cells, f"{training.lowest['total']:.3f}", str(score))) + " |", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    plot(curves).save(folder / "optimizers.png")


def full_size(dtype: torch.dtype, batch: int, steps: int) -> None:
    """Print what a step of the published networks costs: 1024 px, ViT-B/32, IR-SE50."""
    torch.manual_seed(0)
    generator, clip, identity = (
        network.eval().requires_grad_(False)
        for network in (Generator(1024), CLIP(512, 224, 12, 768, 32, 77, 49408, 512, 8, 12), IRSE())
    )
    generator.compute_dtype = dtype
    if dtype == torch.bfloat16:
        narrow_clip(clip)
    recipe = MapperRecipe("a face", batch=batch, every=10**6)
    training = MapperTraining(
        FrozenModels(generator, mean_codes(generator), clip, identity, False, True), Texts(clip), recipe
    )
    training.advance()
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(steps):
        training.advance()
    cpu, wall = ((now - begin) / steps for now, begin in ((time.process_time(), cpu), (time.perf_counter(), wall)))
    work = FACE_GFLOP * batch
    print(
        f"{dtype}, {torch.get_num_threads()} thread(s), batch {batch}, losses at {training.resolution} px: {cpu:.2f} s "
        f"of CPU a step ({wall:.2f} s by the clock), {work:.0f} GFLOP, {work / cpu:.0f} GFLOP/s a core; 1,000 steps on "
        f"one core {1000 * cpu / 3600:.1f} h"
    )


def main() -> None:
    """Run the comparison, or measure the full size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--prompts", nargs="+", default=["purple", "glasses"], help="words of benchmarks.edits' targets"
    )
    parser.add_argument("--steps", type=int, default=220)
    parser.add_argument("--faces", type=int, default=50)
    parser.add_argument("--folder", type=Path, default=Path("docs/results"))
    parser.add_argument("--full-size", action="store_true")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    options = parser.parse_args()
    if options.full_size:
        return full_size(getattr(torch, options.dtype), batch=2, steps=2)
    compare(options.prompts, options.steps, options.faces, options.folder)


if __name__ == "__main__":
    main()
