"""Make what the photo family has beside its generator, resumably.

    python -m families.photo [PART ...] [--folder DIR]

Without parts all are made in turn; each goes on where it stopped, in the folder, `.cache/photo` unless told otherwise.
`files` copies what was trained there into `checkpoints/photo`, where directions and CSLA find it. `face_labels` needs
node 20. All parts run on one CPU core; the whole takes about twelve hours.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from families.photo.samples import FOLDER
from pipeline.errors import UserError
from pipeline.training.command import run

CHECKPOINTS = Path("checkpoints/photo")
LABELS = ("face_labels", "labels")
TRAINED = ("preview", "parts", "clip", "reader", "identity", "landmarks", "encoder")  # each leaves a file
FAMILY = ("files", "directions", "looks", "csla", "mappers", "card")
STEPS = ("samples", *LABELS, "edited", *LABELS, *TRAINED, "likeness", *FAMILY)


def copy_files(folder: Path) -> None:
    """Copy what was trained in `folder` into `CHECKPOINTS`. Raises UserError for what is missing."""
    CHECKPOINTS.mkdir(parents=True, exist_ok=True)
    for part in TRAINED:
        name = "landmarks.dat" if part == "landmarks" else f"{part}.safetensors"
        if not (folder / name).is_file():
            raise UserError(f"{folder / name} is missing; make it with the part {part}.")
        shutil.copyfile(folder / name, CHECKPOINTS / name)


def make(parts: list[str], folder: str) -> None:
    """Run the parts one after the other, stopping at the first that fails."""
    for part in parts:
        print(f"== {part}", flush=True)
        if part == "files":
            copy_files(Path(folder))
            continue
        subprocess.run([sys.executable, "-m", f"families.photo.{part}", "--folder", folder], check=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *STEPS], metavar="PART", help=", ".join(dict.fromkeys(STEPS)))
    parser.add_argument("--folder", default=str(FOLDER))
    options = parser.parse_args()
    run(lambda: make(options.parts or [*STEPS], options.folder))


if __name__ == "__main__":
    main()
