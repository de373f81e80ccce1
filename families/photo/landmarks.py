"""The photo family's landmark model: dlib's regression trees, trained on sampled faces warped into scenes.

    python -m families.photo.landmarks [--folder DIR] [--faces N]

Where the 68 points are in a sample says face-api. The trees and the scenes are those of the drawn family's model, see
`demo.landmarks`. Writes `landmarks.dat`, and prints how far the points are off in scenes of held-out samples.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from families.drawn.landmarks import collect, error, train
from families.photo.encoder import Samples
from families.photo.face_labels import read_face_labels
from families.photo.samples import figures, part_parser, tell
from pipeline.training.command import run

FACES, MEASURED = 8_000, 300


class Marked:
    """Samples with their `landmarks` (N, 68, 2) in pixels, as `collect` reads them."""

    def __init__(self, folder: Path) -> None:
        """Raises UserError before face-api has looked at the samples."""
        self.samples, self.landmarks = Samples(folder), read_face_labels(folder)["landmarks"]

    def batch(self, index: Tensor) -> Tensor:
        """Pictures (len(index), 3, 256, 256) in [-1, 1]."""
        return self.samples.pictures(index)


def learn(folder: Path, faces: int) -> None:
    """Train on so many faces, on one core, write the model and print its error."""
    torch.set_num_threads(1)
    marked = Marked(folder)
    order = torch.randperm(len(marked.samples.train), generator=torch.Generator().manual_seed(4))[:faces]
    predictor = train(*collect(marked, marked.samples.train[order], seed=5))
    predictor.save(str(folder / "landmarks.dat"))
    pictures, objects = collect(marked, marked.samples.held[:MEASURED], seed=3)
    off = [
        error(predictor, picture, box.rect, np.array([(p.x, p.y) for p in box.parts()]))
        for picture, (box,) in zip(pictures, objects, strict=True)
    ]
    tell(
        folder,
        "landmarks",
        figures({"error in scenes of held-out samples, % of the eye distance": float(np.mean(off))}),
    )


def main() -> None:
    """The command line."""
    parser = part_parser(__doc__)
    parser.add_argument("--faces", type=int, default=FACES, help="as many scenes (%(default)s)")
    options = parser.parse_args()
    run(lambda: learn(options.folder, options.faces))


if __name__ == "__main__":
    main()
