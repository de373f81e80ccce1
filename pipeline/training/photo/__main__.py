"""Make what the photo family has beside its generator, resumably.

    python -m pipeline.training.photo [PART ...] [--folder DIR]

Without parts all are made in turn; each goes on where it stopped, in the folder, `.cache/photo` unless told otherwise.
`files` copies what was trained there into `checkpoints/photo`, where relevance, alignment and mappers find it.
`face_labels` needs node 20. All parts run on one CPU core; the whole takes about ten hours.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from pipeline.errors import UserError
from pipeline.training.command import run
from pipeline.training.photo.samples import FOLDER

CHECKPOINTS = Path("checkpoints/photo")
LABELS = ("face_labels", "labels")
TRAINED = ("preview", "clip", "reader", "identity", "landmarks", "encoder")  # each leaves a file
FAMILY = ("files", "relevance", "alignment", "mappers", "card")
PARTS = ("samples", *LABELS, "edited", *LABELS, *TRAINED, "likeness", *FAMILY)

OTHERS: dict[str, list[str]] = {
    "relevance": [
        *"pipeline.training.relevance --model photo --codes 100 --pictures 0".split(),
        *"--output checkpoints/photo/directions.safetensors".split(),
    ],
    "alignment": [
        *"pipeline.training.alignment --model photo --pairs 7000".split(),
        *"--output checkpoints/photo/alignment.safetensors".split(),
    ],
}
PROMPTS = {
    "smiling": "a smiling face",
    "surprised": "a surprised face",
    "angry": "an angry face",
    "old": "an old face",
    "young": "a young face",
    "blonde_hair": "a face with blonde hair",
    "black_hair": "a face with black hair",
    "grey_hair": "a face with grey hair",
    "curly_hair": "a face with curly hair",
    "bangs": "a face with bangs",
    "beard": "a face with a beard",
    "glasses": "a face with glasses",
    "makeup": "a face with makeup",
}


def copy_files(folder: Path) -> None:
    """Copy what was trained in `folder` into `CHECKPOINTS`. Raises UserError for what is missing."""
    CHECKPOINTS.mkdir(parents=True, exist_ok=True)
    for part in TRAINED:
        name = "landmarks.dat" if part == "landmarks" else f"{part}.safetensors"
        if not (folder / name).is_file():
            raise UserError(f"{folder / name} is missing; make it with the part {part}.")
        shutil.copyfile(folder / name, CHECKPOINTS / name)


def commands(part: str, folder: str) -> list[list[str]]:
    """The modules of a part, each with its arguments."""
    if part == "mappers":
        command = "pipeline.training.mapper --model photo --output checkpoints/photo/mappers --neutral".split()
        command.append("a face")
        return [[*command, "--prompt", prompt, "--name", name] for name, prompt in PROMPTS.items()]
    return [OTHERS.get(part, [f"pipeline.training.photo.{part}", "--folder", folder])]


def make(parts: list[str], folder: str) -> None:
    """Run the parts one after the other, stopping at the first that fails."""
    for part in parts:
        print(f"== {part}", flush=True)
        if part == "files":
            copy_files(Path(folder))
            continue
        for command in commands(part, folder):
            subprocess.run([sys.executable, "-m", *command], check=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], metavar="PART", help=", ".join(dict.fromkeys(PARTS)))
    parser.add_argument("--folder", default=str(FOLDER))
    options = parser.parse_args()
    run(lambda: make(options.parts or [*PARTS], options.folder))


if __name__ == "__main__":
    main()
