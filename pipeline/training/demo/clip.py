"""Train the demo CLIP: OpenAI's architecture, narrow, on drawn faces and the captions of `captions.py`.

    python -m pipeline.training.demo.clip [--minutes N]

What the faces show is known, so the joint space is built first and both towers are fitted to it, which is far quicker
than contrast between captions and gives every attribute its own directions. The space has one *neutral* axis, that all
faces and texts share, and for each category a block of axes of its own, with one vector for each value. A face is the
sum of what it shows; a text, of what it states. All faces have a *gap* axis besides, as pictures have in CLIPs trained
on photographs (Liang et al. 2022): without it a face resembles a text most when it shows nothing else at all, and that
is what latent optimization then aims at. Images are shown as the CLIP loss shows them: pooled to `RESOLUTION`, in
[-1, 1], without CLIP's mean and deviation. Work is kept in `.cache/demo/clip.pt` and goes on from there.
"""

import argparse
import random
import time
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from pipeline.losses import clip_features, clip_pool
from pipeline.networks.clip import CLIP, build_clip, encode_text, tokenize
from pipeline.training.demo.attributes import CATEGORIES, Attributes, labels
from pipeline.training.demo.captions import PROMPTS, VALUES, caption
from pipeline.training.demo.dataset import CACHE, Dataset
from pipeline.training.demo.reader import EXCHANGED, SEED, exchanged, to_bytes
from pipeline.training.demo.renderer import render
from pipeline.training.muon import Muon

OUTPUT = Path("checkpoints/demo/clip.safetensors")
EMBED, RESOLUTION, WIDTH, LAYERS = 128, 96, 16, (2, 2, 2, 1)  # the image tower is OpenAI's residual network
TEXT_WIDTH, TEXT_LAYERS, CONTEXT, VOCABULARY = 64, 3, 77, 49408
BATCH, CAPTIONS = 64, 160
MUON_RATE, ADAM_RATE, WORD_RATE = 2.5e-3, 1.5e-3, 8e-3
NEUTRAL, GAP = 1.6, 8.0  # a face: NEUTRAL · neutral axis + its values + GAP · gap axis
STATED = 1.2  # a text: neutral axis + STATED · its values
WEIGHT = {"freckles": 6.0, "moustache": 2.0, "eyeshadow": 2.0}  # of the categories' errors, where they are hard to see
ATTACK = 2.0  # how far pictures are moved against the model, at most, from the middle of the training on
SLOPE = 0.5  # share of the numbers behind the values: colours, age, strength of a smile


def _ramp(value: Tensor, low: float, high: float) -> Tensor:
    return ((value - low) / (high - low)).clamp(0, 1)


def weights(a: Attributes) -> dict[str, Tensor]:
    """How much of each value a face shows: category -> (N, K), summing to 1, or to less where it is partly hidden.

    Agrees with `attributes.labels` where that is not ambiguous, and is continuous between.
    """

    def pair(yes: Tensor, visible: Tensor | float = 1.0) -> Tensor:
        return torch.stack([(1 - yes) * visible, yes * visible], 1)

    haired = (1 - a["bald"]) * (1 - a["mohawk"])
    open_eyes = 1 - a["sunglasses"]
    pale, dark = _ramp(a["skin_g"], 0.66, 0.76), _ramp(a["skin_g"], 0.50, 0.36)
    red, pink = a["lipstick"] * (1 - a["lip_hue"]), a["lipstick"] * a["lip_hue"]
    return {
        "hair_colour": a["hair_weights"] * (1 - a["bald"])[:, None],
        "hairstyle": torch.stack([a["bald"], 1 - a["bald"] - a["mohawk"], a["mohawk"]], 1),
        "hair_texture": pair(a["curl"], haired),
        "hair_length": pair(_ramp(a["length"], 0.28, 0.55), haired),
        "fringe": pair(a["fringe"], haired),
        "skin": torch.stack([pale, 1 - pale - dark, dark], 1),
        "gender": pair(a["masculine"]),
        "age": pair(_ramp(a["age"], 0.5, 0.72)),
        "beard": pair(a["beard"]),
        "moustache": pair(a["moustache"], 1 - a["beard"]),
        "eyewear": torch.stack([1 - a["glasses"], a["glasses"] - a["sunglasses"], a["sunglasses"]], 1),
        "expression": a["expression_weights"],
        "eye_colour": a["eye_weights"] * open_eyes[:, None],
        "lips": torch.stack([1 - a["lipstick"], red, pink], 1),
        "eyeshadow": pair(a["eyeshadow"], open_eyes),
        "earrings": pair(a["earrings"]),
        "freckles": pair(a["freckles"]),
    }


def _numbers(a: Attributes) -> Tensor:
    """The numbers (N, 13) that some of the values stand for, centred; `_NUMBERS_OF` names their categories."""
    hair, eyes = 1 - a["bald"], 1 - a["sunglasses"]
    return torch.stack(
        [
            *((a[f"hair_{c}"] - mean) * hair * 2 for c, mean in zip("rgb", (0.45, 0.36, 0.36), strict=True)),
            (a["length"] - 0.45) * hair * (1 - a["mohawk"]) * 2,
            (a["skin_g"] - 0.6) * 4,
            (a["age"] - 0.5) * 2,
            *((a[name] - 0.19) * 1.5 for name in ("sad", "smile", "surprise", "anger")),
            *((a[f"eye_{c}"] - mean) * eyes * 2 for c, mean in zip("rgb", (0.26, 0.39, 0.44), strict=True)),
        ],
        1,
    )


_NUMBERS_OF = ("hair_colour",) * 3 + ("hair_length", "skin", "age") + ("expression",) * 4 + ("eye_colour",) * 3


class Space:
    """The joint embedding space: orthonormal axes, and one unit vector for each value of each category."""

    def __init__(self, a: Attributes, truth: Mapping[str, Tensor]) -> None:
        """`a` and `truth` are faces from which the values' typical numbers are taken."""
        size = 1 + len(VALUES) + len(_NUMBERS_OF) + 1
        rng = torch.Generator().manual_seed(3)
        self.axes = torch.linalg.qr(torch.randn(EMBED, EMBED, generator=rng, dtype=torch.float64))[0][:size].float()
        codes, rows = self._codes(a), []
        for category, value in VALUES:
            own = [i for i, (c, _) in enumerate(VALUES) if c == category]
            own += [len(VALUES) + i for i, c in enumerate(_NUMBERS_OF) if c == category]
            row = torch.zeros(codes.shape[1])
            row[own] = codes[truth[category] == CATEGORIES[category].index(value)][:, own].mean(0)
            rows.append(F.normalize(row, dim=0))
        self.values = torch.stack(rows)

    @staticmethod
    def _codes(a: Attributes) -> Tensor:
        centred = []
        for share in weights(a).values():
            k = share.shape[1]
            centred.append((share - share.sum(1, keepdim=True) / k) * (k / (k - 1)) ** 0.5)
        return torch.cat([*centred, SLOPE * _numbers(a)], 1)

    def faces(self, a: Attributes) -> Tensor:
        """Unit embeddings (N, EMBED) of faces with attributes `a`."""
        codes = F.pad(F.pad(self._codes(a), (1, 0), value=NEUTRAL), (0, 1), value=GAP)
        return F.normalize(codes @ self.axes)

    def texts(self, meanings: Tensor) -> Tensor:
        """Unit embeddings (N, EMBED) of texts with meanings (N, len(VALUES))."""
        codes = STATED * meanings @ self.values
        return F.normalize(F.pad(F.pad(codes, (1, 0), value=1.0), (0, 1)) @ self.axes)


def used_tokens() -> Tensor:
    """The vocabulary's rows (K,) that captions use, in ascending order, so that the end of text stays the highest."""
    random_ = random.Random(0)
    return tokenize([caption(random_)[0] for _ in range(20_000)]).unique()


def new_clip(words: int) -> CLIP:
    """An untrained model for `words` words; word 0 is any other word, has a zero row and keeps it."""
    torch.manual_seed(0)
    model = CLIP(EMBED, RESOLUTION, LAYERS, WIDTH, None, CONTEXT, words + 1, TEXT_WIDTH, TEXT_WIDTH // 64, TEXT_LAYERS)
    nn.init.normal_(model.token_embedding.weight, std=0.3)
    model.token_embedding.weight.data[0] = 0
    model.token_embedding.padding_idx = 0
    model.logit_scale.data.fill_(3.0)
    return model.to(memory_format=torch.channels_last)


def pictures(data: Dataset) -> tuple[Tensor, Attributes]:
    """Images uint8 (N, 3, RESOLUTION, RESOLUTION) and attributes: the rendered set, then exchanged attributes.

    The latter are there so that no attribute stands for another that usually goes with it.
    """
    kept = CACHE / f"clip-{RESOLUTION}.pt"
    dealt = exchanged(EXCHANGED, SEED)
    both = {name: torch.cat([data.attributes[name], dealt[name]]) for name in dealt}
    if not kept.exists():
        if not data.done.all():
            raise SystemExit("the rendered set is incomplete: python -m pipeline.training.demo.dataset")
        chunks = []
        for index in torch.arange(len(data.images)).split(100):
            chunks.append(to_bytes(clip_pool(data.batch(index), RESOLUTION)))
        numbers = {name: value for name, value in dealt.items() if value.ndim == 1}
        with torch.inference_mode():
            for start in range(0, EXCHANGED, 24):
                drawn, _ = render({name: v[start : start + 24] for name, v in numbers.items()}, 2 * RESOLUTION)
                chunks.append(to_bytes(clip_pool(drawn, RESOLUTION)))
        torch.save(torch.cat(chunks), kept)
    return torch.load(kept, weights_only=True), both


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
    """The state of the training."""

    def __init__(self, data: Dataset) -> None:
        self.used = used_tokens()
        self.row = torch.zeros(VOCABULARY, dtype=torch.long)
        self.row[self.used] = torch.arange(len(self.used)) + 1
        self.model, self.steps, self.seconds = new_clip(len(self.used)), 0, 0.0
        self.images, self.attributes = pictures(data)
        self.held_out = torch.arange(data.train, len(data.images))
        self.train = torch.cat([torch.arange(data.train), torch.arange(len(data.images), len(self.images))])
        self.space = Space(self.attributes, labels(self.attributes))
        self.targets = self.space.faces(self.attributes)
        names = ("neutral", *(category for category, _ in VALUES), *_NUMBERS_OF, "gap")
        weight = torch.tensor([WEIGHT.get(name, 1.0) for name in names])
        self.weighted_axes = self.space.axes * (weight[:, None].sqrt() - 1)
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

    def save(self, path: Path) -> None:
        """Everything that is needed to go on."""
        state = {
            "model": self.model.state_dict(),
            "optimizers": [o.state_dict() for o in self.optimizers],
            "steps": self.steps,
            "seconds": self.seconds,
        }
        torch.save(state, path.with_suffix(".part"))
        path.with_suffix(".part").rename(path)

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
        other = self.space.texts(torch.eye(len(VALUES))[torch.randint(len(VALUES), (len(images),), generator=rng)])
        start.requires_grad_()
        score = (F.normalize(self.model.encode_image(start).float()) * other).sum()
        (slope,) = torch.autograd.grad(score, start)
        moved = start.detach() + slope * (reach / slope.flatten(1).norm(dim=1).clamp(min=1e-12).view(-1, 1, 1, 1))
        return moved.clamp(-1, 1)

    def image_loss(self, rng: torch.Generator, strength: float) -> Tensor:
        """Distance of faces' embeddings from what they show. Half of them are blends, so that scores rise smoothly."""
        index = self.train[torch.randint(len(self.train), (BATCH,), generator=rng)]
        pixels, targets = self.images[index].float() / 127.5 - 1, self.targets[index]
        half, share = BATCH // 2, torch.rand(BATCH // 2, generator=rng)[:, None]
        pixels = torch.cat([pixels[:half].lerp(pixels[half:], share[..., None, None]), pixels[half:]])
        targets = torch.cat([targets[:half].lerp(targets[half:], share), targets[half:]])
        with torch.autocast("cpu", torch.bfloat16):
            shown = augment(pixels, rng).contiguous(memory_format=torch.channels_last)
            if strength:
                shown = self.attack(shown, strength, rng)
            features = self.model.encode_image(shown)
        error = F.normalize(features.float()) - F.normalize(targets)
        error = error + error @ self.weighted_axes.T @ self.space.axes
        return error.square().sum(1).mean()

    def text_loss(self, random_: random.Random) -> Tensor:
        """Distance of captions' embeddings from what they state."""
        texts, meanings = zip(*(caption(random_) for _ in range(CAPTIONS)), strict=True)
        tokens = self.row[tokenize(texts)]
        if random_.random() < 0.2:
            tokens = _with_unknown(tokens, random_)
        with torch.autocast("cpu", torch.bfloat16):
            features = encode_short(self.model, tokens)
        return (F.normalize(features.float()) - self.space.texts(torch.stack(meanings))).square().sum(1).mean()

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

    def export(self, path: Path = OUTPUT) -> None:
        """Write the model as OpenAI's state dict, float16; rows of words that no caption uses are zero."""
        state = {name: value.detach().half().contiguous() for name, value in self.model.state_dict().items()}
        state["token_embedding.weight"] = state["token_embedding.weight"][self.row]
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(state, path.with_suffix(".part"))
        path.with_suffix(".part").rename(path)


def _with_unknown(tokens: Tensor, random_: random.Random) -> Tensor:
    """Put an unknown word, 0, into each text (N, 77), at a random place after the start: it shall say nothing."""
    out = tokens.clone()
    for row, length in zip(out, tokens.argmax(1).tolist(), strict=True):
        place = random_.randint(1, length)
        row[place + 1 :] = row[place:-1].clone()
        row[place] = 0
    return out


@torch.inference_mode()
def zero_shot(model: CLIP, images: Tensor, truth: Mapping[str, Tensor]) -> dict[str, dict[str, float]]:
    """Share of faces found by the plain text of their value among those of its category: category -> value -> share.

    `images` (N, 3, R, R) in [-1, 1]; `truth` as `attributes.labels` gives it, -1 does not count. The mean over a
    category's values is its balanced accuracy.
    """
    features = torch.cat([clip_features(model, chunk, normalize=False) for chunk in images.split(100)])
    table: dict[str, dict[str, float]] = {}
    for category, texts in PROMPTS.items():
        found = (features @ F.normalize(model.encode_text(tokenize(texts))).T).argmax(1)
        table[category] = {
            value: (found == i)[truth[category] == i].float().mean().item()
            for i, value in enumerate(CATEGORIES[category])
        }
    return table


def load(path: Path = OUTPUT) -> CLIP:
    """The trained model, frozen."""
    return build_clip(load_file(path))


def _report(fit: Fit) -> None:
    fit.export()
    table = zero_shot(
        load(),
        fit.images[fit.held_out].float() / 127.5 - 1,
        labels({name: value[fit.held_out] for name, value in fit.attributes.items()}),
    )
    means = {category: sum(shares.values()) / len(shares) for category, shares in table.items()}
    print("| category | balanced accuracy | each value |\n|---|---|---|")
    for category, shares in table.items():
        print(f"| {category} | {means[category]:.3f} | {', '.join(f'{v} {s:.2f}' for v, s in shares.items())} |")
    print(f"| mean | {sum(means.values()) / len(means):.3f} | |", flush=True)


def main() -> None:
    """Train until `--minutes` in all are spent, then export and print the zero-shot table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=85)
    minutes = parser.parse_args().minutes
    torch.set_num_threads(1)
    fit, kept = Fit(Dataset()), CACHE / "clip.pt"
    if kept.exists():
        fit.load(kept)
    while (t := fit.seconds / (60 * minutes)) < 1:
        begin = time.monotonic()
        losses = fit.step(min(1, (fit.steps + 1) / 100, 0.02 + 1.4 * (1 - t)), ATTACK * min(1, 2 * t))
        fit.seconds += time.monotonic() - begin
        if fit.steps % 50 == 0:
            done = f"{fit.steps} steps  {t * minutes:.1f} of {minutes:g} min"
            print(f"{done}  image {losses[0]:.4f}  text {losses[1]:.4f}", flush=True)
        if fit.steps % 250 == 0:
            fit.save(kept)
    fit.save(kept)
    _report(fit)


if __name__ == "__main__":
    main()
