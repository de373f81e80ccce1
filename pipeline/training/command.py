"""What the commands that train have in common: their family and file, their device, and how they end."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed

from pipeline.errors import UserError
from pipeline.models.measured import own_path
from pipeline.models.registry import DEFAULT, GENERATOR, Row, family_row
from pipeline.models.sources import asset

LONGEST_NAME = 60  # characters of a trained file
GO_ON = "start the same command again to go on"


def family_parser(description: str) -> argparse.ArgumentParser:
    """The options of a command that measures or trains something for a family, once."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--model", default=DEFAULT)
    parser.add_argument("--generator", metavar="FILE", help="your own StyleGAN2, as the model “custom”")
    parser.add_argument("--output", type=Path, help="the file to write; default: where the model looks for its own")
    return parser


def family_and_file(options: argparse.Namespace, kind: str, what: str) -> tuple[Row, Path, str]:
    """The family of a command, the file to write, and how it will come to use. `kind` is the file's name in a row, and
    `what` the thing, with its article.

    Raises UserError when the family has one and no other file is named, and for a file that can't be written.
    """
    if options.generator:
        os.environ[GENERATOR], options.model = options.generator, "custom"
    row = family_row(options.model)
    if kind in row.files and not options.output:
        raise UserError(f"The model “{row.name}” has {what}; name another file for this one with --output.")
    path = options.output or own_path(kind, row)
    if path.suffix != ".safetensors" or path.is_dir():
        thing = what.split()[-1]
        raise UserError(f"The {thing} can't be written to {path}; please name a file that ends in .safetensors.")
    if options.output:
        return row, path, f"name it as the {kind} of [families.{row.name}.files] in a models file to use it"
    return row, path, f"the model “{row.name}” uses it from its next start on"


def chosen_name(given: str | None, words: str, otherwise: str) -> str:
    """The name of a file that is trained: as given, or of its words, in letters that any system takes."""
    plain = "".join(c if c.isalnum() else " " for c in words).lower().split()
    return (given or "_".join(plain))[:LONGEST_NAME] or otherwise


def named_file(name: str, kind: str, row: Row, output: Path | None) -> Path:
    """Where a trained mapper or style of this name goes. Raises UserError for a name with slashes, and for one that the
    family has where no folder is named."""
    if any(sign in name for sign in "/\\"):
        raise UserError(f"The name of a {kind} has no slashes; name a folder for it with --output.")
    if name in getattr(row, f"{kind}s") and not output:
        raise UserError(f"The model has a {kind} “{name}”; choose another --name, or an --output folder.")
    return (output or asset(f"{kind}s") / row.name) / f"{name}.safetensors"


def process_device() -> torch.device:
    """This process's own GPU, or the CPU; joins the other processes when there are any (torchrun)."""
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    if "WORLD_SIZE" in os.environ:
        torch.distributed.init_process_group("nccl" if cuda else "gloo")
    return device


def run(command: Callable[[], object]) -> None:
    """Run a command: a UserError becomes one line and exit status 1, Ctrl-C one line and 130.

    The line of an interrupt is the KeyboardInterrupt's own, where it has one.
    """
    try:
        command()
    except UserError as error:
        raise SystemExit(str(error)) from None
    except KeyboardInterrupt as stop:
        print(str(stop) or f"Stopped; {GO_ON}.", file=sys.stderr)
        raise SystemExit(130) from None
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
