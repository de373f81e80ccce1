"""The demo's identity network: a narrow IR-SE with an ArcFace loss (Deng et al. 2019) over drawn persons.

    python -m families.drawn.identity [--minutes N]

A person is the geometry of the face with its skin, eyes and freckles; the views of one person differ in everything
else: expression, age, hair, beard, glasses, make-up, clothes, light and background. What makes a person is known, so
the centres of the classes are a learned linear image of it: that takes a tenth of the pictures that free ones would.
"""

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from families.averaged import Averaged
from families.drawn.attributes import FACTORS, Z_DIM, attributes, sample_z
from families.drawn.augment import Warp, photograph, placement
from families.drawn.dataset import CACHE, memory_map
from families.drawn.narrow import fix_slopes, published, set_strides
from families.drawn.renderer import render
from pipeline.losses import identity_crop, identity_features
from pipeline.networks.arcface import IRSE

OUTPUT = Path("checkpoints/demo/identity.safetensors")
PERSONS, HELD_OUT, VIEWS, SIZE, SEED = 1500, 150, 8, 128, 300  # the last 150 persons are held out
PERSONAL = (
    "skin gender eye_colour freckles face_width jaw chin eye_size nose_width nose_length lips brow_thick brow_height "
    "cheeks"
).split()
TRAITS = (
    "skin_r skin_g skin_b masculine eye_r eye_g eye_b freckles face_width jaw chin eye_size nose_width nose_length "
    "lips brow_thick brow_height cheeks"
).split()
WIDTHS, DEPTHS, EMBEDDING, REDUCTION = (8, 32, 64, 96), (1, 1, 2, 1), 128, 4
BATCH, MUON_RATE, ADAM_RATE, MARGIN, SCALE = 48, 0.004, 3e-3, 0.3, 24.0
SMALL = 0.6  # share of the time in which pictures of half the size train the network, without its first stride


def view_codes(persons: int, views: int, seed: int) -> Tensor:
    """Codes z (persons * views, Z_DIM): each person's views in a row, alike in the personal factors only."""
    personal = torch.tensor([name in PERSONAL for name in FACTORS] + [False] * (Z_DIM - len(FACTORS)))
    z = sample_z(persons * views, seed)
    who = sample_z(persons, seed + 1).repeat_interleave(views, 0)
    z = torch.where(personal, who, z)
    # the unused entries make up the length, so that the normalisation of z leaves the personal factors alone
    used = len(FACTORS)
    rest = (Z_DIM - z[:, :used].square().sum(1, keepdim=True)).clamp(min=1)
    z[:, used:] *= (rest / z[:, used:].square().sum(1, keepdim=True)).sqrt()
    return z


def views(path: Path = CACHE / "persons.u8", chunk: int = 20) -> np.memmap:
    """Drawn persons, uint8 (PERSONS, VIEWS, SIZE, SIZE, 3), drawn as far as they are missing."""
    images = memory_map(path, np.uint8, (PERSONS, VIEWS, SIZE, SIZE, 3))
    flat = images.reshape(-1, SIZE, SIZE, 3)
    numbers = {k: v for k, v in attributes(view_codes(PERSONS, VIEWS, SEED)).items() if v.ndim == 1}
    draw = torch.compile(lambda batch: render(batch, SIZE)[0], dynamic=False)
    with torch.inference_mode():
        for start in range(0, len(flat), chunk):
            if not flat[start].any():
                faces = draw({k: v[start : start + chunk] for k, v in numbers.items()})
                flat[start : start + chunk] = ((faces + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    return images


def _tensor(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1


class Fit(Averaged):
    """The network in training, with its class centres."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        model = IRSE(WIDTHS, DEPTHS, EMBEDDING, reduction=REDUCTION)
        self.slopes = fix_slopes(model)
        model.output_layer[1].p = 0.1
        a = attributes(view_codes(PERSONS, VIEWS, SEED))
        traits = torch.stack([a[name][::VIEWS] for name in TRAITS], 1)[:-HELD_OUT]
        self.traits = (traits - traits.mean(0)) / traits.std(0)
        self.centres = nn.Linear(len(TRAITS), EMBEDDING, bias=False)
        nn.init.orthogonal_(self.centres.weight)
        super().__init__(model, (MUON_RATE, ADAM_RATE), 0.98, others={"centres": self.centres})

    def step(self, images: Tensor, persons: Tensor, small: bool, rate: float) -> float:
        """One update on images (N, 3, SIZE, SIZE) of persons (N,); the margin grows over the first 300 steps."""
        self.model.train()
        set_strides(self.model.body, DEPTHS, int(small))
        crops = identity_crop(images, self.model.size >> int(small))
        with torch.autocast("cpu", torch.bfloat16):
            features = self.model(crops)
        cosine = (features.float() @ F.normalize(self.centres(self.traits)).T).clamp(-0.999, 0.999)
        own = cosine.gather(1, persons[:, None])
        harder = (own.acos() + MARGIN * min(1, self.steps / 300)).clamp(max=math.pi).cos()
        loss = F.cross_entropy(SCALE * cosine.scatter(1, persons[:, None], harder), persons)
        return self.update(loss, rate)


def disturb(images: Tensor, rng: torch.Generator) -> Tensor:
    """Small shifts for all; for half of them a camera as well, so that a generator's softness is no identity."""
    warp = Warp(placement(len(images), rng, (0.98, 1.02), 0.02, 0.015, 0.0), rng, strength=0.0)
    images = warp.sample(images, images.shape[-1])[0]
    half = len(images) // 2
    return torch.cat([images[:half], photograph(images[half:], rng, 0.4)])


def verification(features: Tensor) -> dict[str, float]:
    """Figures of unit features (persons, views, E): mean cosines and how well they tell same from different."""
    persons, count, _ = features.shape
    cosine = features.flatten(0, 1) @ features.flatten(0, 1).T
    who = torch.arange(persons).repeat_interleave(count)
    same, upper = who[:, None] == who, torch.ones_like(cosine, dtype=torch.bool).triu(1)
    alike, unlike = cosine[same & upper], cosine[~same & upper]
    rank = torch.searchsorted(unlike.sort().values, alike).float() / len(unlike)
    return {
        "identity: verification AUC, held-out persons": rank.mean().item(),
        "identity: cosine of two views of one person": alike.mean().item(),
        "identity: cosine of two persons": unlike.mean().item(),
        "identity: share of views accepted at 0.1 % false": (alike > unlike.quantile(0.999)).float().mean().item(),
    }


def measure(path: Path = OUTPUT) -> dict[str, float]:
    """Verification on the persons that were never trained on."""
    model = IRSE.from_state_dict(load_file(path))
    held = views()[-HELD_OUT:]
    with torch.inference_mode():
        features = [identity_features(model, _tensor(person)) for person in held]
    return verification(torch.stack(features))


def main() -> None:
    """Train for `--minutes` of computing time, counted over all runs, then write the file and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    total = parser.parse_args().minutes * 60
    torch.set_num_threads(1)
    images, fit, kept = views(), Fit(), CACHE / "identity.pt"
    flat = images[:-HELD_OUT].reshape(-1, SIZE, SIZE, 3)
    if kept.exists():
        fit.load(kept)
    rng = torch.Generator().manual_seed(fit.steps)
    while fit.seconds < total:
        start = time.process_time()
        chosen = torch.randint(len(flat), (BATCH,), generator=rng)
        done = fit.seconds / total
        rate = min(1, fit.steps / 50 + 0.02) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))
        loss = fit.step(disturb(_tensor(flat[chosen.numpy()]), rng), chosen // VIEWS, done < SMALL, rate)
        fit.seconds += time.process_time() - start
        if fit.steps % 200 == 0:
            print(f"{fit.steps} steps  {fit.seconds / 60:.1f} min  loss {loss:.3f}", flush=True)
            fit.save(kept)
    fit.save(kept)
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    save_file(published(fit.mean.module, fit.slopes), OUTPUT)
    for name, value in measure().items():
        print(f"{name}: {value:.4f}")


if __name__ == "__main__":
    main()
