"""The command that trains a mapper, and what it leaves in a run's folder.

    python -m pipeline.training.mapper --model NAME --prompt "a person with purple hair"    (see --help)

losses.csv has a row a step; step_000020.jpg shows held-out faces before and after; checkpoint.safetensors is what a run
that was cut off, however hard, goes on from, to the same file as if nothing had happened.
"""

import argparse
import json
import os
import time
from dataclasses import asdict, fields
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
import torch.distributed
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pipeline.errors import UserError
from pipeline.files import written_whole
from pipeline.images import to_pil
from pipeline.models.downloads import fetch
from pipeline.models.family import load_family
from pipeline.models.registry import DEFAULT, GENERATOR, Row, family_row
from pipeline.models.weights import kind_of_file, metadata, read_weights
from pipeline.networks.mapper import MAPPER_ROWS
from pipeline.styleclip import StyleCLIP
from pipeline.text import Texts, check_goal
from pipeline.training.command import GO_ON, chosen_name, named_file, process_device, run
from pipeline.training.frozen import load_frozen_models
from pipeline.training.mapper_recipe import VARIANTS, MapperRecipe, family_recipe, recipe_rate
from pipeline.training.mapper_training import MapperTraining, TrainingState

TERMS = ("clip", "l2", "identity", "total")
COLUMNS = ("step", "rate", *TERMS, *(f"validation {term}" for term in TERMS))
OF_THE_MODEL = ("clip", "l2", "steps", "start", "neutral", "truncation")  # fields whose default it chooses
PHOTOS = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".avif"}


def save_mapper(mapper: nn.Module, path: Path, recipe: MapperRecipe, losses: dict[str, float], **notes: str) -> None:
    """Write the published keys `mapper.*` in half precision, with the recipe as JSON in the file's metadata."""
    record = notes | asdict(recipe) | {"losses": {name: round(value, 4) for name, value in losses.items()}}
    state = {f"mapper.{name}": value.half().cpu().contiguous() for name, value in mapper.state_dict().items()}
    _write(state, path, {"recipe": json.dumps(record)})


def retitle(path: Path, copy: Path, title: str) -> None:
    """Copy a mapper's file that `Mappers.load_own` has accepted, of any form, as training writes it, under another
    title."""
    recipe = json.loads(metadata(path).get("recipe", "{}"))
    state = {f"mapper.{name}": value.contiguous().clone() for name, value in read_weights("mapper", path).items()}
    _write(state, copy, {"recipe": json.dumps((recipe if isinstance(recipe, dict) else {}) | {"title": title})})


def _write(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    with written_whole(path) as fresh:
        save_file(tensors, fresh, metadata)


def read_codes(path: Path) -> Tensor:
    """Codes (M, L, D) of a safetensors file with `w_plus`, or of a .pt file that holds one tensor, as the paper's.

    Raises UserError for any other file.
    """
    try:
        if kind_of_file(path) == "safetensors":
            codes = load_file(path)["w_plus"]
        else:
            codes = torch.load(path, map_location="cpu", weights_only=True)
        if codes.ndim != 3 or not len(codes):
            raise ValueError
    except (OSError, EOFError, SafetensorError, UnpicklingError, RuntimeError) as error:
        raise UserError(f"The file {path} can't be read; please name another.") from error
    except (ValueError, LookupError, AttributeError) as error:
        raise UserError(f"The file {path} holds no latents (M, rows, features); please name another.") from error
    return codes.float().clone()  # where in memory a file is mapped can change the last bits of products


def invert_photos(studio: StyleCLIP, folder: Path) -> Tensor:
    """Codes (M, L, D) of the foremost faces of a folder's photos; says which had none. Raises UserError if all."""
    codes = []
    for path in _photos(folder):
        try:
            codes.append(studio.invert(studio.align(path)[0]).w_plus)
        except UserError as error:
            print(f"{path.name}: {error}")
    if not codes:
        raise UserError(f"There is no photo with a face in {folder}; please name another folder.")
    return torch.cat(codes)


def _photos(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("*") if p.suffix.lower() in PHOTOS and p.is_file())


class TrainingRun:
    """A training with its folder: goes on from the checkpoint in it, if there is one.

    In several processes the first alone writes.
    """

    def __init__(self, training: MapperTraining, folder: Path) -> None:
        """Raises UserError when the folder holds an unfinished training of another recipe, model or faces."""
        self.training, self.folder = training, folder
        self.checkpoint, self.table = folder / "checkpoint.safetensors", folder / "losses.csv"
        dtype = training.models.generator.compute_dtype or torch.float32
        self.recipe = json.dumps(asdict(training.recipe) | {"dtype": str(dtype).removeprefix("torch.")})
        self.writes = training.rank == 0
        if self.checkpoint.is_file():
            self._restore()
        if self.writes:
            folder.mkdir(parents=True, exist_ok=True)
            rows = self.table.read_text().splitlines()[1 : training.step + 1] if self.table.is_file() else []
            self.table.write_text("".join(f"{row}\n" for row in (",".join(COLUMNS), *rows)))
        self.board = _tensorboard(folder, training.step) if self.writes else None

    def _restore(self) -> None:
        try:
            with safe_open(self.checkpoint, "pt") as file:
                notes = file.metadata()
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            saved, numbers = json.loads(notes["recipe"]), json.loads(notes["numbers"])
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"{self.checkpoint} is damaged; delete it to begin the training anew.") from error
        saved = {"neutral": "", "truncation": 1.0, "start": 0.0} | saved  # which older ones lack
        asked = json.loads(self.recipe)
        if differing := [name for name in asked if saved.get(name) != asked[name]]:
            differences = ", ".join(f"{name} {saved.get(name)} instead of {asked[name]}" for name in differing)
            raise UserError(
                f"{self.folder} holds another unfinished training ({differences}); delete it, or name a folder with "
                "--folder."
            )
        self.training.restore(tensors, numbers)
        if self.writes:
            print(f"Going on at step {self.training.step} of {self.training.recipe.steps}", flush=True)

    def finish(self) -> tuple[nn.Module, dict[str, float]]:
        """Train to the end; the mapper and its losses on the held-out faces."""
        begin, first = time.monotonic(), self.training.step
        try:
            with self.table.open("a") if self.writes else open(os.devnull, "w") as table:  # noqa: PTH123
                while not self.training.finished:
                    state = self.training.advance()
                    if self.writes:
                        table.write(self._record(state))
                        if state.validation is not None:
                            table.flush()
                            self._save_checkpoint(state)
                            left = (time.monotonic() - begin) / (state.step - first) * (state.steps - state.step)
                            values = "  ".join(f"{name} {value:.4f}" for name, value in state.validation.items())
                            print(f"step {state.step} of {state.steps}  {values}  {left:.0f} s left", flush=True)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"Stopped at step {self.training.step}; {GO_ON}.") from None
        if self.board is not None:
            self.board.close()
        return self.training.mapper, self.training.lowest

    def _record(self, state: TrainingState) -> str:
        rate = recipe_rate(state.step - 1, self.training.recipe)
        values = [state.losses.get(term, "") for term in TERMS]
        values += [(state.validation or {}).get(term, "") for term in TERMS]
        if self.board is not None:
            for name, value in zip(COLUMNS[2:], values, strict=True):
                if value != "":
                    self.board.add_scalar(name.replace(" ", "/"), value, state.step)
        return ",".join(str(v) for v in (state.step, f"{rate:.6g}", *values)) + "\n"

    def _save_checkpoint(self, state: TrainingState) -> None:
        sheet(state.pictures).save(self.folder / f"step_{state.step:06}.jpg", quality=90)
        tensors, numbers = self.training.state()
        tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        _write(tensors, self.checkpoint, {"recipe": self.recipe, "numbers": json.dumps(numbers)})


def sheet(pictures: Tensor) -> Image.Image:
    """Pictures (2, n, 3, R, R), before and after, as two rows."""
    rows = [torch.cat(list(row), 2) for row in pictures]
    return to_pil(torch.cat(rows, 1)[None])


def _tensorboard(folder: Path, step: int) -> Any:
    """A writer, where TensorBoard is installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(folder / "tensorboard", purge_step=step + 1)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.training.mapper",
        description="Train a latent mapper; started again after a cut, it goes on. Several GPUs: torchrun.",
    )
    parser.add_argument("--model", default=DEFAULT)
    parser.add_argument("--generator", metavar="FILE", help="your own StyleGAN2, as the model “custom”")
    parser.add_argument("--prompt", required=True, help="what the mapper is to make of a face")
    parser.add_argument("--name", help="of the mapper's file; default: the prompt's words")
    faces = parser.add_mutually_exclusive_group()
    faces.add_argument("--photos", type=Path, help="folder of photos to train on; default: sampled faces")
    faces.add_argument("--latents", type=Path, help="safetensors with `w_plus` (M, L, D), or .pt with such a tensor")
    parser.add_argument(
        "--variant", choices=VARIANTS, help="default: levels; narrow, where a latent of the model is a single row"
    )
    levels = parser.add_mutually_exclusive_group()
    spelt = {level.replace("course", "coarse"): level for level in MAPPER_ROWS}
    levels.add_argument("--levels", nargs="+", choices=spelt, default=list(spelt))
    levels.add_argument("--no-fine", action="store_true", help="leave out the fine part, so that colours stay")
    parser.add_argument("--folder", type=Path, help="the run's folder; default: .cache/mappers/MODEL-NAME")
    parser.add_argument("--output", type=Path, help="folder of the finished file; default: one in the Hub's cache")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="of generator and CLIP")
    for field in fields(MapperRecipe):
        if field.name not in ("prompt", "variant", "levels"):
            kind = int if field.name == "resolution" else type(field.default)
            default = None if field.name in OF_THE_MODEL else field.default
            parser.add_argument(f"--{field.name}", type=kind, default=default)
    options = parser.parse_args(arguments)
    levels = [level for level in options.levels if not (options.no_fine and level == "fine")]
    options.levels = tuple(level for name, level in spelt.items() if name in levels)
    options.name = chosen_name(options.name, options.prompt, "mapper")
    if options.generator:
        os.environ[GENERATOR], options.model = options.generator, "custom"
    return options


def _made_from(photos: Path, row: Row) -> str:
    """Names the photos of a folder, and the files that read them."""
    models = [fetch(row.files[kind]).resolve() for kind in ("generator", "encoder", "landmarks") if kind in row.files]
    files = [*models, *_photos(photos.resolve())]
    return json.dumps([(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files])


def _codes(options: argparse.Namespace, row: Row, folder: Path, device: torch.device) -> Tensor | None:
    """The codes to train on; those of photos are kept in the run's folder, and made anew when the photos change."""
    if not options.photos:
        return read_codes(options.latents) if options.latents else None
    codes_file = folder / "latents.safetensors"
    distributed = torch.distributed.is_initialized()
    if not (distributed and torch.distributed.get_rank()):
        made_from = _made_from(options.photos, row)
        if not _is_of(codes_file, made_from):
            studio = StyleCLIP(load_family(row, device, torch.float32))
            _write({"w_plus": invert_photos(studio, options.photos)}, codes_file, {"made_from": made_from})
    if distributed:
        torch.distributed.barrier()
    return read_codes(codes_file)


def _is_of(codes_file: Path, made_from: str) -> bool:
    try:
        with safe_open(codes_file, "pt") as file:
            return (file.metadata() or {}).get("made_from") == made_from
    except (SafetensorError, OSError):
        return False


def train_command(arguments: list[str] | None = None) -> Path:
    """Train one mapper as the command line says; the path of its file. Raises UserError."""
    options = _options(arguments)
    row = family_row(options.model)
    path = named_file(options.name, "mapper", row, options.output)
    device = process_device()
    recipe = family_recipe(row, **{field.name: getattr(options, field.name) for field in fields(MapperRecipe)})
    check_goal(recipe.prompt, recipe.neutral)
    folder = options.folder or Path(".cache/mappers") / f"{row.name}-{options.name}"
    codes = _codes(options, row, folder, device)
    more = ("preview", "directions") if recipe.start else ("preview",)
    models = load_frozen_models(row.name, device=device, dtype=getattr(torch, options.dtype), more=more)
    work = TrainingRun(MapperTraining(models, Texts(models.clip), recipe, codes), folder)
    mapper, losses = work.finish()
    if work.writes:
        title = options.name.replace("_", " ").capitalize()
        save_mapper(mapper, path, work.training.recipe, losses, title=title, dtype=options.dtype)
        work.checkpoint.unlink()
        print("CLIP sees clearly more of the text in {} of {} held-out faces".format(*work.training.reached()))
        print(f'wrote {path}; use it with studio.map(latent, Path("{path}")), or load it in the page (Your own words)')
    return path


def main() -> None:
    """The command line."""
    run(train_command)


if __name__ == "__main__":
    main()
