"""The photo family's mappers, one for each change that people ask for first.

    python -m families.photo.mappers [--folder DIR]

Each begins as the global direction of its words and learns from there what each face needs. Needs the family's other
files; what is there already is left as it is, and what was cut off goes on.
"""

from pathlib import Path

from families.photo.samples import part_parser
from pipeline.training.command import run
from pipeline.training.mapper import train_command

OUTPUT = Path("checkpoints/photo/mappers")
# Name -> the words, α of the direction that it begins as, and what differs from the family's recipe. Age changes a
# person, so the identity network counts for less there; what is hard to begin gets more steps and a smaller λ_L2.
LONG = ("--steps", "100")
MAPPERS = {
    "smiling": ("a smiling face", 2.0, ()),
    "surprised": ("a surprised face", 3.5, (*LONG, "--l2", "0.004", "--identity", "0.2")),
    "old": ("an old face", 2.1, ("--identity", "0.05")),
    "young": ("a young face", 2.0, ("--identity", "0.05")),
    "blonde_hair": ("a face with blonde hair", 2.5, ()),
    "black_hair": ("a face with black hair", 2.5, ()),
    "grey_hair": ("a face with grey hair", 3.2, ()),
    "curly_hair": ("a face with curly hair", 3.5, ()),
    "bangs": ("a face with bangs", 2.2, ("--steps", "80")),
    "beard": ("a man with a beard", 2.2, (*LONG, "--l2", "0.001", "--neutral", "man")),
    "glasses": ("a face with glasses", 3.0, (*LONG, "--l2", "0.001")),
    "makeup": ("a face with makeup", 2.5, ()),
}


def make(folder: Path) -> None:
    """Train those that are not there."""
    for name, (prompt, start, further) in MAPPERS.items():
        if not (OUTPUT / f"{name}.safetensors").is_file():
            options = ["--model", "photo", "--dtype", "bfloat16", "--name", name, "--prompt", prompt]
            options += ["--start", str(start), *further]
            train_command([*options, "--folder", str(folder / "mappers" / name), "--output", str(OUTPUT)])


def main() -> None:
    """The command line."""
    options = part_parser(__doc__).parse_args()
    run(lambda: make(options.folder))


if __name__ == "__main__":
    main()
