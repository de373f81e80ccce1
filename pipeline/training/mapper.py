"""Training of a latent mapper: one network for one description (StyleCLIP, section 5).

    python -m pipeline.training.mapper --name NAME --prompt "a person with purple hair" [--model NAME] [--no-fine]

Codes w are sampled, or read from a file of latents; the mapper's step, scaled by 0.1, is added; generator, CLIP and
identity network judge the picture. The loss is the paper's: λ_CLIP·D_CLIP + λ_L2·mean|Δw|² + λ_ID·D_ID.
"""

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from pipeline.downloads import asset
from pipeline.losses import clip_distance, clip_features, identity_distance, identity_features
from pipeline.networks.mapper import LEVELS, LevelsMapper
from pipeline.networks.stylegan2 import Generator
from pipeline.text import Texts
from pipeline.training.judges import Judges, load_judges
from pipeline.zoo import family_row

STRENGTH = 0.1  # what a mapper's step is multiplied with, in training as in use


@dataclass(frozen=True)
class Recipe:
    """How a mapper is trained; it is stored in the mapper's file.

    `resolution`: the running RGB that the losses see. `jitter`: deviation of the noise added to each row of W+, so
    that the mapper also knows codes whose rows differ, as an encoder's do.
    """

    prompt: str
    levels: tuple[str, ...] = tuple(LEVELS)
    clip: float = 1.0
    l2: float = 0.8
    identity: float = 0.1
    steps: int = 220
    batch: int = 3
    rate: float = 1.5
    jitter: float = 0.1
    resolution: int = 128
    seed: int = 0


def sample_codes(generator: Generator, count: int, jitter: float, rng: torch.Generator) -> Tensor:
    """W+ codes (count, L, D): sampled w in every row, plus a little noise of each row's own."""
    with torch.no_grad():
        w = generator.mapping(torch.randn(count, generator.style_dim, generator=rng))
        rows = w[:, None].expand(-1, generator.num_rows, -1)
        return rows + jitter * w.std() * torch.randn(rows.shape, generator=rng)


def train(
    judges: Judges,
    text: Tensor,
    recipe: Recipe,
    codes: Tensor | None = None,
    progress: Callable[[int, dict[str, float]], None] = lambda step, losses: None,
) -> tuple[LevelsMapper, dict[str, float]]:
    """A mapper trained towards the text embedding `text` (1, E), and its mean losses over the last tenth of the steps.

    `codes` (M, L, D) are the faces trained on; sampled anew at each step when None. `progress` hears of each step.
    """
    generator = judges.generator
    rng = torch.Generator().manual_seed(recipe.seed)
    torch.manual_seed(recipe.seed)
    mapper = LevelsMapper(generator.style_dim, recipe.levels)
    optimizer = torch.optim.Adam(mapper.parameters(), lr=recipe.rate, betas=(0.9, 0.99))
    history: list[dict[str, float]] = []
    for step in range(recipe.steps):
        t = step / recipe.steps
        optimizer.param_groups[0]["lr"] = recipe.rate * min(1, (step + 1) / 20, 0.02 + math.cos(math.pi * t / 2) ** 2)
        if codes is None:
            w = sample_codes(generator, recipe.batch, recipe.jitter, rng)
        else:
            w = codes[torch.randint(len(codes), (recipe.batch,), generator=rng)]
        move = STRENGTH * mapper(w)
        image = generator(w + move, recipe.resolution)
        losses = {
            "clip": clip_distance(clip_features(judges.clip, image, judges.normalize), text).mean(),
            "l2": move.square().mean(),
        }
        if recipe.identity:
            with torch.no_grad():
                source = identity_features(judges.identity, generator(w, recipe.resolution))
            losses["identity"] = identity_distance(identity_features(judges.identity, image), source).mean()
        total = sum(getattr(recipe, name) * value for name, value in losses.items())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        history.append({name: value.item() for name, value in losses.items()})
        progress(step + 1, history[-1])
    tail = history[-max(1, recipe.steps // 10) :]
    return mapper.eval().requires_grad_(False), {name: sum(h[name] for h in tail) / len(tail) for name in tail[0]}


def save_mapper(mapper: LevelsMapper, path: Path, recipe: Recipe, losses: dict[str, float], **notes: str) -> None:
    """Write the published keys `mapper.*` in half precision, with the recipe as JSON in the file's metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    about = notes | asdict(recipe) | {"losses": {name: round(value, 4) for name, value in losses.items()}}
    state = {f"mapper.{name}": value.half().contiguous() for name, value in mapper.state_dict().items()}
    save_file(state, path, {"recipe": json.dumps(about)})


def train_file(
    name: str, judges: Judges, recipe: Recipe, folder: Path, title: str, codes: Tensor | None = None
) -> Path:
    """Train one mapper, telling how it goes, and write it to `folder`/NAME.safetensors."""
    text = Texts(judges.clip).embedding(recipe.prompt)
    begin = time.monotonic()

    def progress(step: int, losses: dict[str, float]) -> None:
        if step % 100 == 0:
            left = (time.monotonic() - begin) / step * (recipe.steps - step)
            values = "  ".join(f"{name} {value:.3f}" for name, value in losses.items())
            print(f"{name}: step {step} of {recipe.steps}  {values}  {left:.0f} s left", flush=True)

    mapper, losses = train(judges, text, recipe, codes, progress)
    path = folder / f"{name}.safetensors"
    save_mapper(mapper, path, recipe, losses, title=title)
    return path


def main() -> None:
    """Train one mapper and write it beside the family's other mappers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="demo")
    parser.add_argument("--name", required=True)
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--latents", type=Path, help="safetensors file with `w_plus` (M, L, D); else codes are sampled")
    parser.add_argument(
        "--no-fine", action="store_true", help="leave out the fine part, for edits that must keep colours"
    )
    numbers = {"clip", "l2", "identity", "steps", "batch", "rate", "jitter", "resolution", "seed"}
    for f in (f for f in fields(Recipe) if f.name in numbers):
        parser.add_argument(f"--{f.name}", type=type(f.default), default=f.default)
    options = parser.parse_args()
    torch.set_num_threads(1)
    levels = tuple(level for level in LEVELS if not (options.no_fine and level == "fine"))
    recipe = Recipe(options.prompt, levels, **{name: getattr(options, name) for name in numbers})
    codes = load_file(options.latents)["w_plus"] if options.latents else None
    generator = family_row(options.model).files["generator"]
    folder = generator.path.parent / "mappers" if generator.path else asset("mappers")
    path = train_file(options.name, load_judges(options.model), recipe, folder, options.name.replace("_", " "), codes)
    print(f"wrote {path}; name it under [families.{options.model}.mappers] in checkpoints/models.toml to offer it")


if __name__ == "__main__":
    main()
