"""The photo family's alignment (CSLA), trained on the samples that are there instead of faces drawn for it alone.

    python -m families.photo.csla [--folder DIR]

Otherwise as `python -m pipeline.training.csla`. Runs on one core; needs `clip` to be among the family's files.
"""

import time
from pathlib import Path

import torch

from families.photo.encoder import Samples
from families.photo.samples import figures, part_parser, tell
from pipeline.losses import clip_features
from pipeline.models.measured import settings_of
from pipeline.models.registry import family_row
from pipeline.text import Texts
from pipeline.training.command import run
from pipeline.training.csla import train_csla
from pipeline.training.frozen import FrozenModels, load_frozen_models
from pipeline.training.pairs import Pairs
from pipeline.training.partial import write

OUTPUT = Path("checkpoints/photo/alignment.safetensors")
BATCH, TOLD_EVERY = 16, 30.0  # pictures at a time; seconds between two lines


@torch.no_grad()
def embedded(folder: Path, models: FrozenModels, count: int | None = None) -> Pairs:
    """Codes and CLIP embeddings of all samples, those held out last, or of the first `count`."""
    samples = Samples(folder)
    seeds, told, features = torch.cat([samples.train, samples.held])[:count], time.monotonic(), []
    for part in seeds.split(BATCH):
        features.append(clip_features(models.clip, samples.pictures(part), models.normalize_directions))
        if time.monotonic() - told > TOLD_EVERY:
            told = time.monotonic()
            print(f"{len(features) * BATCH} of {len(seeds)} pictures", flush=True)
    return Pairs(samples.w[seeds], torch.cat(features))


def learn(folder: Path) -> None:
    """Train, write the file, and keep how much it explains."""
    torch.set_num_threads(1)
    row, models = family_row("photo"), load_frozen_models("photo")
    learned = train_csla(models.generator, embedded(folder, models), Texts(models.clip).averaged(row.defaults.neutral))
    state = {name: value.half().contiguous() for name, value in learned.network.state_dict().items()}
    write(state, OUTPUT, settings_of("alignment", row))
    tell(folder, "csla", figures({"explained share of W's variance": learned.w, "of S's": learned.s}))


def main() -> None:
    """The command line."""
    options = part_parser(__doc__).parse_args()
    run(lambda: learn(options.folder))


if __name__ == "__main__":
    main()
