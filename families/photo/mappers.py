"""The photo family's mappers, one for each change that people ask for first.

    python -m families.photo.mappers [--folder DIR]

Each begins as the global direction of its words and learns from there what each face needs. Needs the family's other
files; what is there already is left as it is, and what was cut off goes on.
"""

from pathlib import Path
from typing import NamedTuple

from families.photo.samples import part_parser
from pipeline.training.command import run
from pipeline.training.mapper import train_command

OUTPUT = Path("checkpoints/photo/mappers")
LONG = ("--steps", "100")


class Change(NamedTuple):
    """What a mapper is trained for: the words, α of the direction that it begins as, and what differs from the family's
    recipe."""

    prompt: str
    start: float
    further: tuple[str, ...] = ()


# By the mappers' names. Age changes a person, so the identity network counts for less there; what is hard to begin gets
# more steps.
MAPPERS = {
    "smiling": Change("a smiling face", 2.0),
    "surprised": Change("a surprised face", 3.5, (*LONG, "--l2", "0.004", "--identity", "0.2")),
    "old": Change("an old face", 2.1, ("--identity", "0.05")),
    "young": Change("a young face", 2.0, ("--identity", "0.05")),
    "blonde_hair": Change("a face with blonde hair", 2.5),
    "black_hair": Change("a face with black hair", 2.5),
    "grey_hair": Change("a face with grey hair", 3.2),
    "curly_hair": Change("a face with curly hair", 3.5),
    "bangs": Change("a face with bangs", 2.2, ("--steps", "80")),
    "beard": Change("a man with a beard", 2.2, (*LONG, "--l2", "0.001", "--neutral", "man")),
    "glasses": Change("a face with glasses", 3.0, (*LONG, "--l2", "0.001")),
    "makeup": Change("a face with makeup", 2.5),
}


def make(folder: Path) -> None:
    """Train those that are not there."""
    for name, change in MAPPERS.items():
        if not (OUTPUT / f"{name}.safetensors").is_file():
            options = ["--model", "photo", "--dtype", "bfloat16", "--name", name, "--prompt", change.prompt]
            options += ["--start", str(change.start), *change.further]
            train_command([*options, "--folder", str(folder / "mappers" / name), "--output", str(OUTPUT)])


def main() -> None:
    """The command line."""
    options = part_parser(__doc__).parse_args()
    run(lambda: make(options.folder))


if __name__ == "__main__":
    main()
