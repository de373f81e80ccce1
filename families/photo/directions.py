"""The photo family's directions: the estimate from gradients, taken once for every direction of CLIP's space.

    python -m families.photo.directions [--folder DIR]

For this generator the estimate does better than the measured relevance, whose rows of unit length give channels that do
something else on every face as much weight as those that do the same on all. Needs `clip` to be among the family's
files.
"""

from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F

from families.photo.samples import part_parser
from pipeline.losses import clip_features
from pipeline.methods.estimate import GradientDirections
from pipeline.models.measured import settings_of
from pipeline.models.registry import family_row
from pipeline.training.command import run
from pipeline.training.frozen import load_frozen_models
from pipeline.training.partial import write
from pipeline.training.relevance import embedding_basis

OUTPUT = Path("checkpoints/photo/directions.safetensors")
SAMPLES, BATCH = 24, 4  # faces, and pictures at a time


def make() -> None:
    """Estimate and write."""
    models = load_frozen_models("photo", dtype=torch.bfloat16)
    embed = partial(clip_features, models.clip, normalize=models.normalize_directions)
    with torch.inference_mode():
        basis = embedding_basis(models.generator, embed, models.clip.text_projection.shape[1], BATCH).clone()
    print(f"{len(basis)} directions, {SAMPLES} faces", flush=True)
    directions = GradientDirections(models.generator, embed, samples=SAMPLES, average=models.latent_avg)
    relevance = directions.matrix(basis)
    agreement, rows = relevance.norm(dim=1), F.normalize(relevance)
    state = {"relevance": rows.half(), "agreement": agreement.half(), "style_std": directions.style_std}
    write(state, OUTPUT, settings_of("directions", family_row("photo")))
    print(f"wrote {OUTPUT}: {len(relevance)} channels, agreement of up to {agreement.max():.2f}")


def main() -> None:
    """The command line."""
    part_parser(__doc__).parse_args()
    run(make)


if __name__ == "__main__":
    main()
