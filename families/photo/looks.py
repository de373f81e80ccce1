"""The photo family's looks, from the samples that are there instead of faces drawn for them alone.

    python -m families.photo.looks [--folder DIR]

Otherwise as `python -m pipeline.training.looks`. Needs `clip` to be among the family's files.
"""

from pathlib import Path

import torch

from families.photo.csla import embedded
from families.photo.samples import part_parser
from pipeline.methods.exchange import looks_of
from pipeline.models.registry import family_row
from pipeline.training.command import run
from pipeline.training.frozen import load_frozen_models
from pipeline.training.looks import FACES, write_looks

OUTPUT = Path("checkpoints/photo/looks.safetensors")


def make(folder: Path) -> None:
    """Embed the samples, on one core, and write the file."""
    torch.set_num_threads(1)
    models = load_frozen_models("photo")
    pairs = embedded(folder, models, FACES)
    write_looks(looks_of(models.generator, pairs.w, pairs.features), OUTPUT, family_row("photo"))
    print(f"wrote {OUTPUT}: {len(pairs.w)} faces")


def main() -> None:
    """The command line."""
    options = part_parser(__doc__).parse_args()
    run(lambda: make(options.folder))


if __name__ == "__main__":
    main()
