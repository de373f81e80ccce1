"""Remake the built-in demo models from nothing, resumably.

    python -m families.drawn [PART ...]

Without arguments every part is made in turn; each keeps its own progress in `.cache/demo/` and can be remade alone by
naming it. All parts run on one CPU core each; the whole takes some hours.
"""

import argparse
import subprocess
import sys

PROMPTS = {
    "blonde_hair": "a face with blonde hair",
    "purple_hair": "a face with purple hair",
    "curly_hair": "a face with curly hair",
    "bald": "a bald face",
    "smiling": "a smiling face",
    "surprised": "a surprised face",
    "angry": "an angry face",
    "glasses": "a face with glasses",
    "beard": "a face with a beard",
    "old": "an old face",
    "red_lipstick": "a face with red lipstick",
}
FURTHER = {  # changes that bring little at first, which the paper's λ_L2 of 0.8 holds back; and small ones
    "bald": ["--l2", "0.25", "--clip", "3", "--steps", "300"],
    "surprised": ["--l2", "0.25", "--clip", "3"],
    "angry": ["--clip", "4"],
    "old": ["--clip", "3"],
}

STEPS: dict[str, list[str]] = {
    "dataset": ["families.drawn.dataset"],
    "landmarks": ["families.drawn.landmarks"],
    "mapping": ["families.drawn.mapping"],
    "generator": ["families.drawn.generator"],
    "parts": ["families.drawn.parts"],
    "reader": ["families.drawn.reader"],
    "identity": ["families.drawn.identity"],
    "clip": ["families.drawn.clip"],
    "encoder": ["families.drawn.encoder"],
    "relevance": [
        *"pipeline.training.relevance --model demo --to-rgb".split(),
        *"--output checkpoints/demo/directions.safetensors".split(),
    ],
    "looks": "pipeline.training.looks --model demo --output checkpoints/demo/looks.safetensors".split(),
    "alignment": [
        *"pipeline.training.csla --model demo --pairs 7000".split(),
        *"--output checkpoints/demo/alignment.safetensors".split(),
    ],
    "mappers": [],
    "card": ["families.drawn.card"],
}


def main() -> None:
    """Run the parts named on the command line, or all of them, stopping at the first that fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *STEPS], metavar="PART", help=", ".join(STEPS))
    for part in parser.parse_args().parts or STEPS:
        print(f"== {part}", flush=True)
        for command in _commands(part):
            subprocess.run([sys.executable, "-m", *command], check=True)


def _commands(part: str) -> list[list[str]]:
    if part != "mappers":
        return [STEPS[part]]
    command = "pipeline.training.mapper --model demo --output checkpoints/demo/mappers --neutral".split()
    command.append("a face")
    return [[*command, "--prompt", prompt, "--name", name, *FURTHER.get(name, [])] for name, prompt in PROMPTS.items()]


if __name__ == "__main__":
    main()
