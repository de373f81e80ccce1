"""Which part of a face is where, for the photo family: clusters of the generator's features, named by eye.

    python -m families.photo.parts [--folder DIR] [--steps N]

Features of 32 and 64 px of some samples are grouped by k-means; `CLUSTERS` names each group, as the sheet
`clusters.jpg` shows it, and groups that straddle a border are left out. Mouth and eyes are where face-api's landmarks
have them. A small network learns the parts from the features at 64 px alone, also where nothing was named. The centres
are kept in `clusters.safetensors`: remove them to group anew, and then name the groups anew. Writes
`parts.safetensors`, and prints how far it agrees with the names in held-out samples.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save_file
from torch import Tensor

from families.parts import fit, overlap, write
from families.photo.encoder import Samples
from families.photo.face_labels import read_face_labels
from families.photo.samples import SIZE, figures, picture_path, tell, train_command
from pipeline.files import written_whole
from pipeline.models.family import load_generator
from pipeline.models.registry import family_row
from pipeline.networks.generator import StyleGenerator
from pipeline.networks.parts import PARTS

FACES, HELD, GROUPED = 320, 40, 160  # samples to learn from and held out; so many of the first are grouped
SCALED = 16  # samples that say how features are standardised
COARSE, FINE = 32, 64  # resolutions of the features
PLACES = 400  # of a sample
GROUPS, ROUNDS, STEPS = 40, 25, 1_500
# The part that each group of features is of: background, clothes, hair or skin; d, whatever is dark, which is clothes
# below the chin and may be anything above it; -, where it straddles a border.
CLUSTERS = "sh----bshs sbbs--bssh sdss-sssss ssh-scchsh".replace(" ", "")
LETTERS = {"b": "background", "c": "clothes", "h": "hair", "s": "skin"}
NOTHING = -1
CHIN, MOUTH, EYES = 8, slice(48, 60), (slice(36, 42), slice(42, 48))  # of the 68 landmarks
SHOWN, TILE = 8, 88  # samples on the sheet, and pixels of each


class Drawn:
    """The generator's features of samples."""

    def __init__(self, generator: StyleGenerator, samples: Samples) -> None:
        self.generator, self.samples = generator, samples
        begin = [self.of(seed) for seed in samples.train[:SCALED].tolist()]
        self.scales = [
            (torch.stack(f).mean((0, 2, 3)), torch.stack(f).std((0, 2, 3))) for f in zip(*begin, strict=True)
        ]

    @torch.no_grad()
    def of(self, seed: int) -> list[Tensor]:
        """The features (C, R, R) of one sample at both resolutions."""
        styles = self.generator.styles(self.samples.w[seed][None])
        return [self.generator.features_at(styles, resolution)[0].float() for resolution in (COARSE, FINE)]

    def places(self, features: list[Tensor]) -> Tensor:
        """Both standardised and side by side, of unit length at each place (R * R, 2C) of the finer."""
        both = [
            F.interpolate(((f - mean[:, None, None]) / std[:, None, None])[None], (FINE, FINE), mode="bilinear")
            for f, (mean, std) in zip(features, self.scales, strict=True)
        ]
        return F.normalize(torch.cat(both, 1)[0].flatten(1).T, dim=1)


def grouped(x: Tensor) -> Tensor:
    """The centres (K, C) of `GROUPS` groups of unit vectors x (M, C): k-means by cosine, begun far apart."""
    rng = torch.Generator().manual_seed(0)
    centres, nearest = x[:1], 1 - x @ x[0]
    for _ in range(GROUPS - 1):
        new = x[torch.multinomial(nearest.clamp(min=0).square(), 1, generator=rng)]
        centres, nearest = torch.cat([centres, new]), torch.minimum(nearest, 1 - x @ new[0])
    for _ in range(ROUNDS):
        group = (x @ centres.T).argmax(1)
        sums = torch.zeros_like(centres).index_add_(0, group, x)
        centres = torch.where(sums.any(1, keepdim=True), F.normalize(sums, dim=1), centres)
    return centres


def outlined(landmarks: np.ndarray) -> tuple[Tensor, Tensor]:
    """Mouth and eyes (R, R) at the finer resolution, from 68 points (68, 2) in pixels of a sample's picture."""
    masks = []
    for outlines in ((MOUTH,), EYES):
        mask = Image.new("L", (SIZE, SIZE))
        for outline in outlines:
            ImageDraw.Draw(mask).polygon([tuple(point) for point in landmarks[outline].tolist()], fill=255, outline=255)
        masks.append(torch.from_numpy(np.array(mask.reduce(SIZE // FINE))) > 127)
    return masks[0], masks[1]


def labelled(group: Tensor, landmarks: np.ndarray) -> Tensor:
    """The parts (R, R) of a sample whose places are in groups (R * R,): numbers in `PARTS`, or `NOTHING`."""
    named = torch.tensor([PARTS.index(LETTERS[c]) if c in LETTERS else NOTHING for c in CLUSTERS])
    parts, group = named[group].view(FINE, FINE), group.view(FINE, FINE)
    below_chin = torch.arange(FINE)[:, None] > landmarks[CHIN, 1] * FINE / SIZE
    parts[(group == CLUSTERS.index("d")) & below_chin] = PARTS.index("clothes")
    for name, mask in zip(("mouth", "eyes"), outlined(landmarks), strict=True):
        parts[mask] = PARTS.index(name)
    return parts


def sheet(drawn: Drawn, centres: Tensor, path: Path) -> None:
    """A row a group, two side by side: where it is in some samples."""
    out = Image.new("RGB", (2 * (SHOWN + 1) * TILE, (len(centres) + 1) // 2 * TILE))
    for column, seed in enumerate(drawn.samples.train[:SHOWN].tolist()):
        group = (drawn.places(drawn.of(seed)) @ centres.T).argmax(1).view(FINE, FINE).numpy()
        with Image.open(picture_path(drawn.samples.folder, seed)) as picture:
            pixels = np.asarray(picture.resize((TILE, TILE)), np.float32)
        for k in range(len(centres)):
            mask = np.asarray(Image.fromarray(((group == k) * 255).astype(np.uint8)).resize((TILE, TILE)))[..., None]
            shown = pixels * (0.3 + 0.4 * (mask / 255)) + np.float32([255, 0, 255]) * 0.3 * (mask / 255)
            x, y = (k % 2 * (SHOWN + 1) + 1 + column) * TILE, k // 2 * TILE
            out.paste(Image.fromarray(shown.clip(0, 255).astype(np.uint8)), (x, y))
            ImageDraw.Draw(out).text((x - (column + 1) * TILE + 8, y + 24), str(k), fill="white", font_size=32)
    out.save(path, quality=90)


def learn(folder: Path, steps: int) -> None:
    """Group the features, unless that was done; train the network on the names, on one core, and write it."""
    torch.set_num_threads(1)
    generator, _ = load_generator(family_row("photo"), torch.device("cpu"), torch.float32)
    samples, rng = Samples(folder), torch.Generator().manual_seed(0)
    drawn, landmarks = Drawn(generator, samples), read_face_labels(folder)["landmarks"]
    if not (kept := folder / "clusters.safetensors").exists():
        chosen = [torch.randint(FINE * FINE, (PLACES,), generator=rng) for _ in range(GROUPED)]
        seeds = samples.train[:GROUPED].tolist()
        centres = grouped(torch.cat([drawn.places(drawn.of(s))[c] for s, c in zip(seeds, chosen, strict=True)]))
        sheet(drawn, centres, folder / "clusters.jpg")
        with written_whole(kept) as fresh:
            save_file({"centres": centres}, fresh)
    centres = load_file(kept)["centres"]

    def places(seeds: Tensor) -> tuple[Tensor, Tensor]:
        """Features at some named places of samples (M, C), and their parts (M,)."""
        features, parts = [], []
        for seed in seeds.tolist():
            both = drawn.of(seed)
            part = labelled((drawn.places(both) @ centres.T).argmax(1), landmarks[seed]).flatten()
            there = (part != NOTHING).nonzero()[:, 0]
            there = there[torch.randperm(len(there), generator=rng)[:PLACES]]
            features.append(both[1].flatten(1).T[there])
            parts.append(part[there])
        return torch.cat(features), torch.cat(parts)

    reader = fit(*places(samples.train[:FACES]), FINE, steps)
    write(reader, folder / "parts.safetensors")
    features, truth = places(samples.held[:HELD])
    found = reader.logits(features).argmax(1)
    tell(
        folder,
        "parts",
        figures({f"{name}, intersection over union": overlap(found == i, truth == i) for i, name in enumerate(PARTS)}),
    )


def main() -> None:
    """The command line."""
    train_command(__doc__, learn, STEPS)


if __name__ == "__main__":
    main()
