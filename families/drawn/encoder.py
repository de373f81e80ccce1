"""The demo's e4e encoder: a narrow copy of the published network, fitted to the codes w* of drawn faces.

    python -m families.drawn.encoder [--minutes N]

Half of every batch is disturbed as photographs are, on other backgrounds, so that a real photograph becomes a
plausible, similar face. As in the paper the base row learns first and the offsets of the other rows later, then with
pictures and identities compared as well. The first stage looks at small pictures, through a network with fewer strides.
A linear *guide*, thrown away afterwards, reads the same semantics off the coarse feature map: through it the body
learns geometry that the heads, with their many strides, find only much later.
"""

import argparse
import math
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from families.drawn.attributes import CATEGORIES, SEMANTICS, W_DIM, standardisation
from families.drawn.augment import Warp, photograph, placement, texture
from families.drawn.dataset import CACHE, SIZE, Dataset
from families.drawn.narrow import fix_slopes, published, set_strides
from families.drawn.reader import Reader, read, visible
from families.muon import Muon
from pipeline.files import written_whole
from pipeline.losses import identity_distance, identity_features
from pipeline.networks.arcface import IRSE
from pipeline.networks.e4e import Encoder
from pipeline.networks.stylegan2 import Generator

CHECKPOINTS = Path("checkpoints/demo")
OUTPUT = CHECKPOINTS / "encoder.safetensors"
ROWS, HEAD_WIDTH, WIDTHS, DEPTHS, REDUCTION = 14, 64, (16, 32, 64, 96), (1, 1, 3, 2), 8
STAGES = ((128, 0.55), (256, 0.15), (256, 0.3))  # size, share of the time; in the last all rows, on pictures
BATCH, PICTURES, MUON_RATE, ADAM_RATE, GUIDE_RATE = 16, 4, 1e-3, 2e-3, 2e-4

# How much an error counts, where it is not 1: by the area and contrast of what it changes, and by what prompts name.
IMPORTANCE = {
    **dict.fromkeys(("skin_r", "skin_g", "skin_b", "hair_r", "hair_g", "hair_b", "back_r", "back_g", "back_b"), 3.0),
    **dict.fromkeys(("bald", "mohawk", "length", "curl", "volume", "fringe", "masculine", "beard", "moustache"), 2.0),
    **dict.fromkeys(("glasses", "sunglasses", "smile", "sad", "open", "surprise", "anger", "age", "lipstick"), 2.0),
    **dict.fromkeys(("light", "face_width", "jaw", "chin", "yaw"), 1.5),
}
# What cannot be seen (or hardly) where something else is as it is: semantic -> (the other, the value that shows it).
SHOWN_BY = {
    **dict.fromkeys(("frame_r", "frame_g", "frame_b", "frame_round", "frame_size"), ("glasses", 1)),
    **dict.fromkeys(("eye_r", "eye_g", "eye_b", "eyeshadow"), ("sunglasses", 0)),
    **dict.fromkeys(("curl", "volume", "length", "fringe", "parting", "hairline"), ("bald", 0)),
    "lip_hue": ("lipstick", 1),
    "shadow_hue": ("eyeshadow", 1),
    "moustache": ("beard", 0),
    "mohawk": ("bald", 0),
}


class Semantics:
    """The standardised semantics (N, D) of faces and of codes, and the error between them."""

    def __init__(self, data: Dataset) -> None:
        mean, deviation, rotation = standardisation()
        self.values = (torch.stack([data.attributes[name] for name in SEMANTICS], 1) - mean) / deviation
        self.mean, self.deviation, self.rotation = mean, deviation, rotation
        self.inverse = rotation.T / rotation.square().sum(1)
        weights = torch.tensor([IMPORTANCE.get(name, 1.0) for name in SEMANTICS]).repeat(len(self.values), 1)
        for name, (other, value) in SHOWN_BY.items():
            hidden = (data.attributes[other] - value).abs()
            weights[:, SEMANTICS.index(name)] *= 1 - 0.97 * hidden.clamp(0, 1)
        self.weights = weights
        self.back = [SEMANTICS.index(f"back_{c}") for c in "rgb"]

    def error(self, codes: Tensor, values: Tensor, weights: Tensor) -> Tensor:
        """Weighted mean square of codes (N, L, D) against values (N, S), plus what of the codes means nothing."""
        found = codes @ self.inverse
        nothing = codes - found @ self.rotation
        wrong = (found - values[:, None]).square() * weights[:, None]
        return wrong.sum() / (weights.sum() * codes.shape[1]) + 0.3 * nothing.square().mean()


def replace_background(images: Tensor, data: Dataset, index: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Faces (N, 3, S, S) before random surfaces, and the backgrounds (N, 3) in [0, 1] nearest to those."""
    count, _, size, _ = images.shape
    a = {name: data.attributes[name][index].view(-1, 1, 1) for name in ("back_r", "back_g", "back_b", "light")}
    axis = (torch.arange(size) + 0.5) * (2 / size) - 1
    glow = 1.12 - 0.38 * ((axis - 0.4 * a["light"]).square() + (axis[:, None] + 0.15).square())
    drawn = torch.stack([a["back_r"], a["back_g"], a["back_b"]], 1) * glow.clamp(0.3, 1.12)[:, None]
    mask = ((images + 1) / 2 - drawn.clamp(0, 1)).abs().amax(1, keepdim=True)
    mask = ((0.04 - mask) / 0.03).clamp(0, 1)
    rooms = texture(count, 3, size, rng)
    colour = ((rooms + 1) / 2 * mask).sum((2, 3)) / (glow[:, None] * mask).sum((2, 3)).clamp(min=1)
    return torch.lerp(images, rooms, mask), colour


def batch(data: Dataset, meaning: Semantics, size: int, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Images (BATCH, 3, size, size), the first half clean, with their semantics and weights (BATCH, S)."""
    index = torch.randint(data.train, (BATCH,), generator=rng)
    images, values, weights = data.batch(index, size), meaning.values[index], meaning.weights[index]
    half = BATCH // 2
    wild, colour = replace_background(images[half:], data, index[half:], rng)
    values[half:, meaning.back] = (colour - meaning.mean[meaning.back]) / meaning.deviation[meaning.back]
    warp = Warp(placement(BATCH - half, rng), rng, strength=0.4)
    return torch.cat([images[:half], photograph(warp.sample(wild, size)[0], rng)]), values, weights


class Fit:
    """The encoder, its optimizers, the average of its weights that is shipped, and the networks that judge it."""

    def __init__(self, meaning: Semantics) -> None:
        torch.manual_seed(0)
        self.meaning = meaning
        self.model = Encoder(ROWS, W_DIM, HEAD_WIDTH, SIZE, WIDTHS, DEPTHS, REDUCTION)
        self.slopes = fix_slopes(self.model)
        for row, head in enumerate(self.model.styles):
            for layer in head.convs[::2]:  # a head normalises nothing: PyTorch's own start would lose the signal
                nn.init.kaiming_normal_(layer.weight)
                nn.init.zeros_(layer.bias)
            nn.init.ones_(head.convs[-2].bias)  # signed values through units that pass only positive ones
            if row:
                nn.init.zeros_(head.linear.weight)
        features = nn.Sequential(nn.BatchNorm2d(WIDTHS[-1]), nn.AdaptiveAvgPool2d(8), nn.Flatten())
        self.guide = nn.Sequential(features, nn.Linear(WIDTHS[-1] * 64, len(SEMANTICS)))
        nn.init.zeros_(self.guide[1].weight)
        matrices = [p for p in self.model.parameters() if p.ndim == 4 and p.shape[2] == 3]
        linear = [head.linear.weight for head in self.model.styles]  # of unit variance, so larger steps
        taken = {id(p) for p in matrices + linear}
        rest = [p for p in self.model.parameters() if id(p) not in taken]
        self.muon = Muon(matrices, MUON_RATE)
        groups = [{"params": rest}, {"params": linear}, {"params": self.guide.parameters()}]
        self.adam = torch.optim.Adam(groups, ADAM_RATE, betas=(0.9, 0.99))
        average = torch.optim.swa_utils.get_ema_multi_avg_fn(0.995)
        self.mean = torch.optim.swa_utils.AveragedModel(self.model, multi_avg_fn=average, use_buffers=True)
        self.steps, self.seconds = 0, 0.0
        self.generator, self.identity, self.latent_avg = judges()

    def base(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The base row alone, (N, 1, D), and the guide's semantics (N, S), from images of 128 or 256 px."""
        set_strides(self.model.body, DEPTHS, (SIZE // images.shape[-1]).bit_length() - 1)
        coarse = self.model.body(self.model.input_layer(images))
        return self.model.styles[0](coarse)[:, None], self.guide(coarse)

    def step(self, images: Tensor, values: Tensor, weights: Tensor, stage: int, rate: float) -> float:
        """One update on a batch; in the last stage all rows, and some pictures and identities compared as well."""
        self.muon.param_groups[0]["lr"] = MUON_RATE * rate
        for group, base in zip(self.adam.param_groups, (ADAM_RATE, 5 * ADAM_RATE, GUIDE_RATE), strict=True):
            group["lr"] = base * rate
        self.model.train()
        images = images.contiguous(memory_format=torch.channels_last)
        last = stage == len(STAGES) - 1
        with torch.autocast("cpu", torch.bfloat16):
            codes, guided = (self.model(images), None) if last else self.base(images)
        codes = codes.float() + self.latent_avg
        total = loss = self.meaning.error(codes, values, weights)
        if guided is not None:
            total = loss + ((guided - values).square() * weights).sum() / weights.sum()
        if last and self.generator is not None:
            total = total + self.picture_error(codes[:PICTURES], images[:PICTURES])
        self.muon.zero_grad(set_to_none=True)
        self.adam.zero_grad(set_to_none=True)
        total.backward()
        self.muon.step()
        self.adam.step()
        self.mean.update_parameters(self.model)
        self.steps += 1
        return loss.item()

    def picture_error(self, codes: Tensor, images: Tensor) -> Tensor:
        """What the generator makes of codes (N, L, D) against the images, at half size, and the identities."""
        with torch.autocast("cpu", torch.bfloat16):
            drawn = self.generator(codes, SIZE // 2).float()
        true = F.avg_pool2d(images, 2)
        with torch.no_grad():
            source = identity_features(self.identity, true)
        likeness = identity_distance(identity_features(self.identity, drawn), source)
        return 2 * F.mse_loss(drawn, true) + 0.3 * F.l1_loss(drawn, true) + 0.2 * likeness.mean()

    def parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        """What has a state."""
        return {"model": self.model, "guide": self.guide, "mean": self.mean, "muon": self.muon, "adam": self.adam}

    def save(self, path: Path) -> None:
        """Keep everything that a later run needs."""
        state = {name: part.state_dict() for name, part in self.parts().items()}
        with written_whole(path) as fresh:
            torch.save(state | {"steps": self.steps, "seconds": self.seconds}, fresh)

    def load(self, path: Path) -> None:
        """Go on from a file that `save` wrote."""
        state = torch.load(path, weights_only=True)
        for name, part in self.parts().items():
            part.load_state_dict(state[name])
        self.steps, self.seconds = state["steps"], state["seconds"]

    def export(self, path: Path = OUTPUT) -> None:
        """Write the published layout in half precision."""
        half = {f"encoder.{k}": v for k, v in published(self.mean.module, self.slopes).items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as fresh:
            save_file(half, fresh)


def judges() -> tuple[Generator | None, IRSE | None, Tensor]:
    """The generator and identity network, where both have been made, and the mean code (D,)."""
    files = [CHECKPOINTS / f"{name}.safetensors" for name in ("generator", "identity")]
    if not all(file.exists() for file in files):
        return None, None, torch.zeros(W_DIM)
    state, identity = (load_file(file) for file in files)
    average = state.pop("latent_avg").float()
    return Generator.from_state_dict(state), IRSE.from_state_dict(identity), average


@torch.no_grad()
def measure(data: Dataset, count: int = 200, path: Path = OUTPUT) -> dict[str, float]:
    """How well `count` held-out faces come back: codes, and where the judges exist, pictures, identity, attributes."""
    encoder, meaning, (generator, identity, average) = (
        Encoder.from_state_dict(load_file(path)),
        Semantics(data),
        judges(),
    )
    reader = Reader.from_file()
    found, errors, likeness, kept = [], [], [], []
    for index in torch.arange(data.train, data.train + count).split(20):
        images = data.batch(index)
        codes = encoder(images) + average
        found.append(codes[:, 0] @ meaning.inverse)
        if generator is None:
            continue
        drawn = generator(codes).clamp(-1, 1)
        errors.append((drawn - images).square().mean((1, 2, 3)) / 4)
        features = [identity_features(identity, x) for x in (images, drawn)]
        likeness.append(1 - identity_distance(*features))
        before, after = read(reader, images), read(reader, drawn)
        seen = visible(before)
        kept.append(
            torch.stack([torch.where(seen[n], (before[n] == after[n]).float(), torch.nan) for n in CATEGORIES], 1)
        )
    index = slice(data.train, data.train + count)
    wrong = (torch.cat(found) - meaning.values[index]).square() * meaning.weights[index]
    figures = {"encoder: explained share of visible semantics": 1 - (wrong.sum() / meaning.weights[index].sum()).item()}
    if errors:
        shares = torch.cat(kept).nanmean(0)
        figures |= {
            "encoder: PSNR of held-out drawings (dB)": (-10 * torch.cat(errors).log10()).mean().item(),
            "encoder: identity cosine": torch.cat(likeness).mean().item(),
            "encoder: attributes kept": shares.mean().item(),
            **{f"encoder: kept, {name}": share for name, share in zip(CATEGORIES, shares.tolist(), strict=True)},
        }
    return figures


def _schedule(done: float) -> tuple[int, float]:
    """Stage and rate at a share of the time in [0, 1): in each stage a short warm-up, then a cosine to 5 %."""
    begin = 0.0
    for stage, (_, share) in enumerate(STAGES):
        t = (done - begin) / share
        if t < 1:
            peak = 1.0 if stage == 0 else 0.5
            return stage, peak * min(1, t / 0.02 + 0.02) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * t)))
        begin += share
    return len(STAGES) - 1, 0.02


def main() -> None:
    """Fit for `--minutes` of computing time, counted over all runs, then write the file and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=40)
    total = parser.parse_args().minutes * 60
    torch.set_num_threads(1)
    data = Dataset()
    meaning, kept = Semantics(data), CACHE / "encoder.pt"
    fit = Fit(meaning)
    if kept.exists():
        fit.load(kept)
    rng, losses = torch.Generator().manual_seed(fit.steps), []
    while fit.seconds < total:
        start = time.process_time()
        stage, rate = _schedule(fit.seconds / total)
        losses.append(fit.step(*batch(data, meaning, STAGES[stage][0], rng), stage, rate))
        fit.seconds += time.process_time() - start
        if fit.steps % 100 == 0:
            error = sum(losses[-100:]) / len(losses[-100:])
            print(f"{fit.steps} steps  {fit.seconds / 60:.1f} min  stage {stage}  error {error:.4f}", flush=True)
            fit.save(kept)
    fit.save(kept)
    fit.export()
    for name, value in measure(data).items():
        print(f"{name}: {value:.4f}")


if __name__ == "__main__":
    main()
