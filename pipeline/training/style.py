"""The command that teaches a generator a style by two texts (StyleGAN-NADA, `pipeline.methods.nada`).

    python -m pipeline.training.style --model NAME --target "pencil sketch"    (see --help)

Writes the style's file, and beside it, as it learns, a sheet of sampled faces before and after. Ctrl-C keeps what was
learned so far.
"""

import argparse
import time
from pathlib import Path

from PIL import Image

from pipeline.edits import Step
from pipeline.latents import Latent
from pipeline.models.registry import DEFAULT, family_row
from pipeline.models.styles import save_style
from pipeline.styleclip import StyleCLIP
from pipeline.training.command import chosen_name, named_file, run

EVERY = 30  # steps from one sheet to the next
SEEDS, TILE = (1, 2, 3, 4), 256


def sheet_of(studio: StyleCLIP, faces: list[Latent], adapted: Latent) -> Image.Image:
    """Faces, and below them the same in the style of `adapted`."""
    sheet = Image.new("RGB", (TILE * len(faces), 2 * TILE))
    for x, face in enumerate(faces):
        for y, latent in enumerate((face, face.in_style_of(adapted))):
            sheet.paste(studio.image(latent).resize((TILE, TILE), Image.Resampling.LANCZOS), (TILE * x, TILE * y))
    return sheet


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipeline.training.style", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=DEFAULT)
    parser.add_argument("--target", required=True, help="the style in words")
    parser.add_argument("--neutral", default="photo", help="what the pictures are without it (%(default)s)")
    parser.add_argument("--name", help="of the style's file; default: the target's words")
    parser.add_argument("--steps", type=int, help="default: 300, or 120 without a preview network")
    parser.add_argument("--layers", type=int, default=0, help="how many to train, for a texture; default: all of them")
    parser.add_argument("--output", type=Path, help="folder of the finished file; default: one in the Hub's cache")
    options = parser.parse_args(arguments)
    options.name = chosen_name(options.name, options.target, "style")
    return options


def train_command(arguments: list[str] | None = None) -> Path:
    """Teach one style as the command line says; the path of its file. Raises UserError."""
    options = _options(arguments)
    path = named_file(options.name, "style", family_row(options.model), options.output)
    path.parent.mkdir(parents=True, exist_ok=True)
    studio = StyleCLIP.from_pretrained(options.model)
    faces = [studio.sample(seed) for seed in SEEDS]
    steps = studio.adapt(studio.family.mean, options.target, options.neutral, options.steps, options.layers, preview=64)
    begin, step = time.monotonic(), None
    try:
        for step in steps:
            for note in step.notes if step.index == 1 else ():
                print(note, flush=True)
            if step.index % EVERY == 0 or step.index == step.total:
                sheet_of(studio, faces, step.latent).save(path.with_suffix(".jpg"), quality=92)
                left = (time.monotonic() - begin) / step.index * (step.total - step.index)
                losses = "  ".join(f"{name} {value:.3f}" for name, value in step.losses.items())
                print(f"step {step.index} of {step.total}  {losses}  {left:.0f} s left", flush=True)
    except KeyboardInterrupt:
        if step is None:
            raise KeyboardInterrupt("Stopped before anything was learned.") from None
        _save(step, path)
        raise KeyboardInterrupt(f"Stopped at step {step.index}; what was learned so far is {path}") from None
    _save(step, path)
    print(f'wrote {path}; use it with studio.style(latent, Path("{path}")), or load it in the page (Styles)')
    return path


def _save(step: Step, path: Path) -> None:
    title = path.stem.replace("_", " ").capitalize()
    recipe = {"title": title} | step.edit.recipe["parameters"] | {"taken": step.index, "losses": step.losses}
    save_style(step.latent.adaptation, path, recipe)


def main() -> None:
    """The command line."""
    run(train_command)


if __name__ == "__main__":
    main()
