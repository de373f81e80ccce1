"""Train a small CLIP, OpenAI's architecture, on faces of which it is known what they show, and on captions.

The joint space is built first and both towers are fitted to it, which is far quicker than contrast between captions and
gives every attribute its own directions. The space has one *neutral* axis, that all faces and texts share, and for each
category a block of axes of its own, with one vector for each value. A face is the sum of what it shows; a text, of what
it states. All faces have a *gap* axis besides, as pictures have in CLIPs trained on photographs (Liang et al. 2022):
without it a face resembles a text most when it shows nothing else at all, and that is what latent optimization then
aims at. Images are shown as the CLIP loss shows them: pooled to CLIP's resolution, in [-1, 1], without CLIP's mean and
deviation.
"""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from families.captions import Captions
from families.muon import Muon
from pipeline.checks import has_bfloat16
from pipeline.errors import UserError
from pipeline.files import written_whole
from pipeline.losses import clip_features
from pipeline.networks.clip import CLIP, VOCABULARY, WORD_ROWS, WORD_TOKENS, encode_text, tokenize

EMBED, LAYERS = 128, (2, 2, 2, 1)  # the image tower is OpenAI's residual network
TEXT_WIDTH, TEXT_LAYERS, CONTEXT = 64, 3, 77
BATCH, TEXTS = 64, 160
LISTED = 20_000  # captions, whose words are the model's
MUON_RATE, ADAM_RATE, WORD_RATE = 2.5e-3, 1.5e-3, 8e-3
NEUTRAL, GAP = 1.6, 8.0  # a face: NEUTRAL · neutral axis + its values + GAP · gap axis
STATED = 1.2  # a text: neutral axis + STATED · its values
ATTACK = 2.0  # how far pictures are moved against the model, at most, from the middle of the training on
SLOPE = 0.5  # share of the numbers behind the values: colours, age, strength of a smile


class Faces(NamedTuple):
    """What N faces show."""

    shares: Mapping[str, Tensor]
    """Category -> how much of each of its K values, (N, K), summing to 1, or to less where it is partly hidden."""
    numbers: Tensor
    """(N, M), centred: numbers that some of the values stand for."""
    truth: Mapping[str, Tensor]
    """Category -> which value, (N,); -1 where that is not clear."""

    def of(self, index: Tensor) -> "Faces":
        """Some of the faces."""
        shares, truth = ({name: value[index] for name, value in part.items()} for part in (self.shares, self.truth))
        return Faces(shares, self.numbers[index], truth)


def joint_axes() -> Tensor:
    """The orthonormal axes (EMBED, EMBED) of all families' joint spaces, in rows."""
    rng = torch.Generator().manual_seed(3)
    return torch.linalg.qr(torch.randn(EMBED, EMBED, generator=rng, dtype=torch.float64))[0].float()


class Space:
    """The joint embedding space: orthonormal axes, and one unit vector for each value of each category."""

    def __init__(self, captions: Captions, numbers_of: Sequence[str], faces: Faces) -> None:
        """`numbers_of`: the category of each of the M numbers; `faces`: from which the values' typical numbers are
        taken. Raises UserError for a value that no face is known to have."""
        self.names = ("neutral", *(category for category, _ in captions.values), *numbers_of, "gap")
        self.axes = joint_axes()[: len(self.names)]
        codes, rows = self._codes(faces), []
        for category, value in captions.values:
            own = [i for i, name in enumerate(self.names[1:-1]) if name == category]
            row = torch.zeros(codes.shape[1])
            chosen = faces.truth[category] == captions.categories[category].index(value)
            if not chosen.any():
                raise UserError(f"No face is known to be “{category}: {value}”, so CLIP can't learn it.")
            row[own] = codes[chosen][:, own].mean(0)
            rows.append(F.normalize(row, dim=0))
        self.values = torch.stack(rows)

    @staticmethod
    def _codes(faces: Faces) -> Tensor:
        centred = []
        for share in faces.shares.values():
            k = share.shape[1]
            centred.append((share - share.sum(1, keepdim=True) / k) * (k / (k - 1)) ** 0.5)
        return torch.cat([*centred, SLOPE * faces.numbers], 1)

    def faces(self, faces: Faces) -> Tensor:
        """Unit embeddings (N, EMBED)."""
        codes = F.pad(F.pad(self._codes(faces), (1, 0), value=NEUTRAL), (0, 1), value=GAP)
        return F.normalize(codes @ self.axes)

    def texts(self, meanings: Tensor) -> Tensor:
        """Unit embeddings (N, EMBED) of texts with meanings (N, len(captions.values))."""
        codes = STATED * meanings @ self.values
        return F.normalize(F.pad(F.pad(codes, (1, 0), value=1.0), (0, 1)) @ self.axes)


def used_tokens(captions: Captions) -> Tensor:
    """The vocabulary's rows (K,) that captions use, in ascending order, so that the end of text stays the highest."""
    random_ = random.Random(0)
    return tokenize([captions.caption(random_)[0] for _ in range(LISTED)]).unique()


def new_clip(words: int, resolution: int, width: int) -> CLIP:
    """An untrained model for `words` words; word 0 is any other word, has a zero row and keeps it."""
    torch.manual_seed(0)
    model = CLIP(EMBED, resolution, LAYERS, width, None, CONTEXT, words + 1, TEXT_WIDTH, TEXT_WIDTH // 64, TEXT_LAYERS)
    nn.init.normal_(model.token_embedding.weight, std=0.3)
    model.token_embedding.weight.data[0] = 0
    model.token_embedding.padding_idx = 0
    model.logit_scale.data.fill_(3.0)
    return model.to(memory_format=torch.channels_last)


def augment(images: Tensor, rng: torch.Generator) -> Tensor:
    """Pictures as generators and cameras might give them: place, size, mirror, light, tint, softness, noise."""
    n = len(images)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.empty(shape).uniform_(low, high, generator=rng)

    mirror, zoom, shift = uniform(-1, 1, n).sign(), uniform(0.96, 1.04, n), uniform(-0.05, 0.05, n, 2)
    zero = torch.zeros(n)
    rows = torch.stack([zoom * mirror, zero, shift[:, 0], zero, zoom, shift[:, 1]], 1).view(n, 2, 3)
    grid = F.affine_grid(rows, list(images.shape), align_corners=False)
    images = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    soft = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
    images = images + (soft - images) * uniform(-0.6, 0.8, n, 1, 1, 1)
    gain = 1 + uniform(-0.08, 0.08, n, 1, 1, 1) + uniform(-0.03, 0.03, n, 3, 1, 1)
    lift = uniform(-0.06, 0.06, n, 1, 1, 1) + uniform(-0.02, 0.02, n, 3, 1, 1)
    noise = torch.randn(images.shape, generator=rng) * uniform(0, 0.04, n, 1, 1, 1)
    return (images * gain + lift + noise).clamp(-1, 1)


def encode_short(model: CLIP, tokens: Tensor) -> Tensor:
    """Text embeddings (N, EMBED), exact, without computing what follows the last end of text in the batch."""
    with sdpa_kernel(SDPBackend.MATH):  # for short sequences several times faster on a CPU
        return encode_text(model, tokens)


class Fit:
    """The state of the training of a model; subclasses say what it learns from: `some_faces` and `some_texts`.

    `used` (K,): the vocabulary's rows that the model shall know, in ascending order; `lures` (L, EMBED): texts that
    attacks move pictures towards; `disturb`: what happens to pictures before they are shown.
    """

    def __init__(
        self, model: CLIP, used: Tensor, lures: Tensor, disturb: Callable[[Tensor, torch.Generator], Tensor]
    ) -> None:
        self.model, self.lures, self.disturb, self.steps, self.seconds = model, lures, disturb, 0, 0.0
        self.row = torch.zeros(VOCABULARY, dtype=torch.long)
        self.row[used] = torch.arange(len(used)) + 1
        no_block = ("embedding", "text_projection")
        blocks = [
            p for n, p in self.model.named_parameters() if p.ndim >= 2 and not any(word in n for word in no_block)
        ]
        words = self.model.token_embedding.weight
        chosen = {id(p) for p in (*blocks, words, self.model.logit_scale)}
        rest = [p for p in self.model.parameters() if id(p) not in chosen]
        self.optimizers = [
            Muon(blocks, MUON_RATE),
            torch.optim.Adam(rest, ADAM_RATE, betas=(0.9, 0.98)),
            torch.optim.Adam([words], WORD_RATE, betas=(0.9, 0.98)),
        ]
        self.rates = [o.param_groups[0]["lr"] for o in self.optimizers]

    def some_faces(self, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """BATCH pictures (N, 3, R, R) in [-1, 1] and their targets (N, EMBED)."""
        raise NotImplementedError

    def some_texts(self, random_: random.Random) -> tuple[Sequence[str], Tensor]:
        """TEXTS captions and their unit targets (N, EMBED)."""
        raise NotImplementedError

    def emphasised(self, error: Tensor) -> Tensor:
        """Errors (N, EMBED) of pictures, some of them made larger."""
        return error

    def save(self, path: Path) -> None:
        """Everything that is needed to go on."""
        state = {
            "model": self.model.state_dict(),
            "optimizers": [o.state_dict() for o in self.optimizers],
            "steps": self.steps,
            "seconds": self.seconds,
        }
        with written_whole(path) as fresh:
            torch.save(state, fresh)

    def load(self, path: Path) -> None:
        """Go on from `save`."""
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.steps, self.seconds = state["steps"], state["seconds"]

    def attack(self, images: Tensor, strength: float, rng: torch.Generator) -> Tensor:
        """Images moved by up to `strength` (Euclidean, in [-1, 1]) towards what the model takes for texts of one value.

        Who learns to see through this has gradients that mean something to the eye too (Santurkar et al. 2019), and
        those are what latent optimization and mappers climb.
        """
        reach = strength * torch.rand(len(images), 1, 1, 1, generator=rng)
        start = torch.randn(images.shape, generator=rng)
        start = images + start * (0.3 * reach / start.flatten(1).norm(dim=1).view(-1, 1, 1, 1))
        other = self.lures[torch.randint(len(self.lures), (len(images),), generator=rng)]
        start.requires_grad_()
        score = (F.normalize(self.model.encode_image(start).float()) * other).sum()
        (slope,) = torch.autograd.grad(score, start)
        moved = start.detach() + slope * (reach / slope.flatten(1).norm(dim=1).clamp(min=1e-12).view(-1, 1, 1, 1))
        return moved.clamp(-1, 1)

    def image_loss(self, rng: torch.Generator, strength: float) -> Tensor:
        """Distance of faces' embeddings from what they show. Half of them are blends, so that scores rise smoothly."""
        pixels, targets = self.some_faces(rng)
        half, share = BATCH // 2, torch.rand(BATCH // 2, generator=rng)[:, None]
        pixels = torch.cat([pixels[:half].lerp(pixels[half:], share[..., None, None]), pixels[half:]])
        targets = torch.cat([targets[:half].lerp(targets[half:], share), targets[half:]])
        with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16(torch.device("cpu"))):
            shown = self.disturb(pixels, rng).contiguous(memory_format=torch.channels_last)
            if strength:
                shown = self.attack(shown, strength, rng)
            features = self.model.encode_image(shown)
        error = self.emphasised(F.normalize(features.float()) - F.normalize(targets))
        return error.square().sum(1).mean()

    def text_loss(self, random_: random.Random) -> Tensor:
        """Distance of captions' embeddings from what they state."""
        texts, targets = self.some_texts(random_)
        tokens = self.row[tokenize(texts)]
        if random_.random() < 0.2:
            tokens = _with_unknown(tokens, random_)
        with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16(torch.device("cpu"))):
            features = encode_short(self.model, tokens)
        return (F.normalize(features.float()) - targets).square().sum(1).mean()

    def step(self, rate: float, strength: float) -> tuple[float, float]:
        """One batch of faces and one of captions; `rate` scales all learning rates. Returns both losses."""
        rng, random_ = torch.Generator().manual_seed(self.steps), random.Random(self.steps)
        losses = [self.image_loss(rng, strength), self.text_loss(random_)]
        sum(losses).backward()
        for optimizer, base in zip(self.optimizers, self.rates, strict=True):
            optimizer.param_groups[0]["lr"] = base * rate
            optimizer.step()
            optimizer.zero_grad()
        self.steps += 1
        return losses[0].item(), losses[1].item()

    def export(self, path: Path) -> None:
        """Write the model in float16, as `build_clip` reads it, with the rows of the words that it knows."""
        state = {name: value.detach().half().contiguous() for name, value in self.model.state_dict().items()}
        state |= {WORD_ROWS: state[WORD_ROWS][1:].contiguous(), WORD_TOKENS: self.row.nonzero()[:, 0].int()}
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as fresh:
            save_file(state, fresh)


class SpaceFit(Fit):
    """`Fit` from nothing: images uint8 (N, 3, R, R) whose embeddings in `space` are `targets` (N, EMBED), and captions.

    `train` (T,): the indices of the faces to learn from; `weights`: of some categories' errors, where they are hard to
    see.
    """

    def __init__(
        self, captions: Captions, space: Space, images: Tensor, targets: Tensor, train: Tensor,
        width: int, weights: Mapping[str, float], disturb: Callable[[Tensor, torch.Generator], Tensor] = augment,
    ) -> None:  # fmt: skip
        self.captions, self.space, self.images, self.targets, self.train = captions, space, images, targets, train
        weight = torch.tensor([weights.get(name, 1.0) for name in space.names])
        self.weighted_axes = space.axes * (weight[:, None].sqrt() - 1)
        used, lures = used_tokens(captions), space.texts(torch.eye(len(captions.values)))
        super().__init__(new_clip(len(used), images.shape[-1], width), used, lures, disturb)

    def some_faces(self, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Pictures that training learns from, and what they show."""
        index = self.train[torch.randint(len(self.train), (BATCH,), generator=rng)]
        return self.images[index].float() / 127.5 - 1, self.targets[index]

    def some_texts(self, random_: random.Random) -> tuple[Sequence[str], Tensor]:
        """Random captions, and what they state."""
        texts, meanings = zip(*(self.captions.caption(random_) for _ in range(TEXTS)), strict=True)
        return texts, self.space.texts(torch.stack(meanings))

    def emphasised(self, error: Tensor) -> Tensor:
        """Errors along the axes of categories that are hard to see count more."""
        return error + error @ self.weighted_axes.T @ self.space.axes


def _with_unknown(tokens: Tensor, random_: random.Random) -> Tensor:
    """Put an unknown word, 0, into each text (N, 77), at a random place after the start: it shall say nothing."""
    out = tokens.clone()
    for row, length in zip(out, tokens.argmax(1).tolist(), strict=True):
        place = random_.randint(1, length)
        row[place + 1 :] = row[place:-1].clone()
        row[place] = 0
    return out


@torch.inference_mode()
def zero_shot(
    model: CLIP, captions: Captions, images: Tensor, truth: Mapping[str, Tensor]
) -> dict[str, dict[str, float]]:
    """Share of faces found by the plain text of their value among those of its category: category -> value -> share.

    `images` (N, 3, R, R) in [-1, 1]; `truth` as in `Faces`, what is
    not clear does not count. The mean over a category's values is its balanced accuracy.
    """
    features = torch.cat([clip_features(model, chunk, normalize=False) for chunk in images.split(100)])
    shares: dict[str, dict[str, float]] = {}
    for category, texts in captions.prompts.items():
        found = (features @ F.normalize(model.encode_text(tokenize(list(texts)))).T).argmax(1)
        shares[category] = {
            value: (found == i)[truth[category] == i].float().mean().item()
            for i, value in enumerate(captions.categories[category])
        }
    return shares


def table(shares: Mapping[str, Mapping[str, float]]) -> str:
    """What `zero_shot` gives, as a table; means are over values that there were."""
    means = {category: np.nanmean([*values.values()]) for category, values in shares.items()}
    rows = [
        f"| {category} | {means[category]:.3f} | {', '.join(f'{v} {s:.2f}' for v, s in values.items())} |"
        for category, values in shares.items()
    ]
    mean = f"| mean | {sum(means.values()) / len(means):.3f} | |"
    return "\n".join(["| category | balanced accuracy | each value |", "|---|---|---|", *rows, mean])


def train(fit: Fit, kept: Path, minutes: float) -> None:
    """Go on from the file `kept` until `minutes` in all are spent, and keep the state there."""
    if kept.exists():
        fit.load(kept)
    while (t := fit.seconds / (60 * minutes)) < 1:
        begin = time.process_time()
        losses = fit.step(min(1, (fit.steps + 1) / 100, 0.02 + 1.4 * (1 - t)), ATTACK * min(1, 2 * t))
        fit.seconds += time.process_time() - begin
        if fit.steps % 50 == 0:
            done = f"{fit.steps} steps  {t * minutes:.1f} of {minutes:g} min"
            print(f"{done}  image {losses[0]:.4f}  text {losses[1]:.4f}", flush=True)
        if fit.steps % 100 == 0:
            fit.save(kept)
    fit.save(kept)
