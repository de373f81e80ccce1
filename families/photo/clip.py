"""Train the photo family's CLIP on sampled faces, whose attributes the probes of `labels` tell.

    python -m families.photo.clip [--folder DIR] [--minutes N]

Where people labelled a face, their answer counts; else the probes' probabilities, and of the expression what face-api
saw. Every 24th sample is held out; the table of zero-shot accuracies is of those and of the answers of people alone,
but for the expression. Goes on where it stopped, and takes in samples that were made meanwhile; writes
`clip.safetensors`.
"""

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from families.clip import Faces, Space, SpaceFit, augment, table, train, zero_shot
from families.drawn.augment import photograph
from families.drawn.reader import to_bytes
from families.photo.captions import CAPTIONS, CATEGORIES
from families.photo.encoder import HELD_OUT
from families.photo.face_labels import EXPRESSIONS, read_face_labels
from families.photo.labels import EYE_LABELS
from families.photo.samples import SIZE, part_parser, picture_path, tell
from pipeline.errors import UserError
from pipeline.files import written_whole
from pipeline.images import to_tensor
from pipeline.losses import clip_pool
from pipeline.networks.clip import build_clip
from pipeline.training.command import run

RESOLUTION, WIDTH, MINUTES = 128, 16, 120
DRAWN, MOST_OFTEN = 60_000, 5  # draws of `balanced`, and how much likelier than the median one may be
WEIGHT = {"earrings": 2.0, "moustache": 2.0, "eyewear": 2.0}  # of the categories' errors, where they are hard to see


class Rule(NamedTuple):
    """How a category follows from an attribute that people label: of each answer, how much of each value."""

    attribute: str
    shares: dict[str, tuple[float, ...]]


def _either(*no: str, **partly: float) -> dict[str, tuple[float, float]]:
    """Shares of the values no and yes: none for the answers `no`, so much for the others."""
    return dict.fromkeys(no, (1.0, 0.0)) | {answer: (1 - share, share) for answer, share in partly.items()}


HAIR = ("black", "brown", "red", "blond", "grey")  # as people label it, in the order of CATEGORIES["hair_colour"]
RULES = {
    "hair_colour": Rule(
        "hair_color",
        {answer: tuple(float(answer == hair) for hair in HAIR) for answer in HAIR} | {"other": (0.2,) * len(HAIR)},
    ),
    "hairstyle": Rule("bald", {"yes": (1.0, 0.0), "receding": (0.4, 0.6), "no": (0.0, 1.0)}),
    "hair_texture": Rule("hair_curl", _either("straight", wavy=0.45, curly=1.0)),
    "hair_length": Rule("hair_length", _either("none", "short", medium=0.6, long=1.0)),
    "fringe": Rule("bangs", _either("no", yes=1.0)),
    "skin": Rule("skin", {"light": (1.0, 0, 0), "tan": (0, 1.0, 0), "brown": (0, 0.2, 0.8), "dark": (0, 0, 1.0)}),
    "gender": Rule("sex", _either("female", male=1.0)),
    "age": Rule("age", _either("child", "young", adult=0.4, old=1.0)),
    "beard": Rule("beard", _either("no", stubble=0.45, full=1.0)),
    "moustache": Rule("moustache", _either("no", yes=1.0)),
    "eyewear": Rule("glasses", {"no": (1.0, 0, 0), "eyeglasses": (0, 1.0, 0), "sunglasses": (0, 0, 1.0)}),
    "lips": Rule("lipstick", _either("no", yes=1.0)),
    "makeup": Rule("makeup", _either("no", yes=1.0)),
    "earrings": Rule("earrings", _either("no", yes=1.0)),
    "hat": Rule("hat", _either("no", yes=1.0)),
}
# face-api's expressions -> ours, in the order of CATEGORIES["expression"]
EXPRESSION = {"sad": 0, "neutral": 1, "happy": 2, "surprised": 3, "fearful": 3, "angry": 4, "disgusted": 4}
HIDDEN_BY_HAT = ("hair_colour", "hairstyle", "hair_texture", "fringe")


class Known(NamedTuple):
    """What is known of N samples in one attribute: probabilities (N, V) of `values`, and whether people said so, (N,)
    of booleans."""

    values: list[str]
    probabilities: Tensor
    by_people: Tensor


def known_attributes(folder: Path, count: int) -> dict[str, Known]:
    """Attribute -> what is known of samples 0 ... `count` - 1, by people where they did, else by the probes.

    Raises UserError where the probes know other samples.
    """
    if not (folder / "labels.npz").is_file():
        raise UserError("The samples have no labels yet; make them with the part labels.")
    with np.load(folder / "labels.npz") as file:
        probes = {name: file[name] for name in file.files}
    if len(probes["sex"]) != count:
        raise UserError(f"The labels are of {len(probes['sex'])} samples, and {count} are there; make the labels anew.")
    with EYE_LABELS.open(newline="") as file:
        faces = list(csv.DictReader(file))
    found = {}
    for name in (key.removesuffix(".values") for key in probes if key.endswith(".values")):
        values, p = probes[f"{name}.values"].tolist(), torch.from_numpy(probes[name]).clone()
        by_people = torch.zeros(count, dtype=torch.bool)
        for face in faces:
            if face.get(name) in values:
                seed = int(face["seed"])
                p[seed] = F.one_hot(torch.tensor(values.index(face[name])), len(values)).float()
                by_people[seed] = True
        found[name] = Known(values, p, by_people)
    return found


def known_faces(folder: Path, count: int) -> Faces:
    """What samples 0 ... `count` - 1 show. `truth` is clear only where people labelled; of the expression, where
    face-api is sure."""
    attributes, shares, truth = known_attributes(folder, count), {}, {}
    for category, values in CATEGORIES.items():
        if category == "expression":
            share = expressions(folder)
            sure = share.max(1).values > 0.9
        else:
            rule = RULES[category]
            answers, p, sure = attributes[rule.attribute]
            nothing = (0.0,) * len(values)
            share = p @ torch.tensor([rule.shares.get(answer, nothing) for answer in answers])
        shares[category] = share
        best, index = share.max(1)
        truth[category] = torch.where(sure & (best > 0.8), index, -1)
    bare = 1 - shares["hat"][:, 1:]
    for category in HIDDEN_BY_HAT:
        shares[category] = shares[category] * bare
    return Faces(shares, torch.zeros(count, 0), truth)


def expressions(folder: Path) -> Tensor:
    """Shares (N, 5) of the expressions, as face-api saw them."""
    seen = torch.from_numpy(read_face_labels(folder)["expressions"])
    shares = torch.zeros(len(seen), len(CATEGORIES["expression"]))
    for name, column in zip(EXPRESSIONS, seen.T, strict=True):
        shares[:, EXPRESSION[name]] += column
    return shares


def balanced(faces: Faces, seeds: Tensor) -> Tensor:
    """`DRAWN` draws from the samples `seeds` (N,).

    Two fifths of the draws are samples that people labelled, because the probes are less sure of the others. Samples of
    rare values are drawn more often, so that CLIP does not take a value for unlikely whatever a picture shows.
    """
    by_people, rng = faces.truth["gender"][seeds] >= 0, torch.Generator().manual_seed(6)
    chosen = []
    for part, count in ((seeds[by_people], 2 * DRAWN // 5), (seeds[~by_people], DRAWN - 2 * DRAWN // 5)):
        if not len(part):
            continue
        shares = faces.of(part).shares.values()
        weights = torch.stack([(share / share.mean(0).clamp(min=1e-3)).max(1).values for share in shares]).max(0).values
        weights = weights.clamp(max=MOST_OFTEN * weights.median().item())
        chosen.append(part[torch.multinomial(weights, count, replacement=True, generator=rng)])
    return torch.cat(chosen)


def pictures(folder: Path, seeds: Tensor) -> Tensor:
    """The samples `seeds`, uint8 (N, 3, RESOLUTION, RESOLUTION); kept, so that each is opened once."""
    kept = folder / f"clip-{RESOLUTION}.u8"
    count = int(seeds.max()) + 1
    shape = (3, RESOLUTION, RESOLUTION)
    old = np.fromfile(kept, np.uint8).reshape(-1, *shape) if kept.exists() else np.zeros((0, *shape), np.uint8)
    images = np.zeros((max(count, len(old)), *shape), np.uint8)
    images[: len(old)] = old
    for seed in seeds.tolist():
        if not images[seed].any():
            with Image.open(picture_path(folder, seed)) as picture:
                images[seed] = to_bytes(clip_pool(to_tensor(picture, (SIZE, SIZE)), RESOLUTION))[0]
    with written_whole(kept) as fresh:
        images.tofile(fresh)
    return torch.from_numpy(images)


def disturbed(images: Tensor, rng: torch.Generator) -> Tensor:
    """Pictures as generators and cameras might give them; a third of them as photographs."""
    third = len(images) // 3
    images = augment(images, rng)
    return torch.cat([photograph(images[:third], rng, strength=0.4), images[third:]])


def learn(folder: Path, minutes: float) -> None:
    """Train until `minutes` in all are spent, on one core; write the model and print its accuracies."""
    torch.set_num_threads(1)
    seeds = torch.tensor(sorted(int(path.stem) for path in (folder / "images").glob("*.jpg")))
    images = pictures(folder, seeds)
    faces = known_faces(folder, len(load_file(folder / "codes.safetensors")["w"]))
    held = seeds % HELD_OUT == HELD_OUT - 1
    space = Space(CAPTIONS, (), faces)
    train_on = balanced(faces, seeds[~held])
    fit = SpaceFit(CAPTIONS, space, images, space.faces(faces), train_on, WIDTH, WEIGHT, disturbed)
    train(fit, folder / "clip.pt", minutes)
    fit.export(folder / "clip.safetensors")
    model = build_clip(load_file(folder / "clip.safetensors"))
    shares = zero_shot(model, CAPTIONS, images[seeds[held]].float() / 127.5 - 1, faces.of(seeds[held]).truth)
    tell(folder, "clip", table(shares))


def main() -> None:
    """The command line."""
    parser = part_parser(__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES, help="in all, of one core (%(default)s)")
    options = parser.parse_args()
    run(lambda: learn(options.folder, options.minutes))


if __name__ == "__main__":
    main()
