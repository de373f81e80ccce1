"""How edits are judged from outside: by an attribute reader that no method uses, and by the identity network."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from benchmarks.targets import Target
from families.drawn.attributes import CATEGORIES
from families.drawn.reader import SIZE, Reader, read, visible
from pipeline import Latent, StyleCLIP
from pipeline.latents import draw_together
from pipeline.losses import identity_features

FIRST_SEED = 1_000_000
BATCH = 4  # pictures at a time: as fast as a CPU gets


@dataclass
class Seen:
    """What is seen in N pictures.

    `found`, category -> index (N,) of the class that is read; `odds`, category -> log-odds (N, classes) of each class
    against all others; unit identity embeddings `identity` (N, E); the reader's last features, averaged over the
    picture, `pooled` (N, 96).
    """

    found: dict[str, Tensor]
    odds: dict[str, Tensor]
    identity: Tensor
    pooled: Tensor

    def __len__(self) -> int:
        return len(self.pooled)

    def __getitem__(self, index: Tensor) -> "Seen":
        """Some of the pictures."""
        return self._each([self], lambda parts: parts[0][index])

    @classmethod
    def joined(cls, parts: Sequence["Seen"]) -> "Seen":
        """One after the other."""
        return cls._each(parts, torch.cat)

    @classmethod
    def _each(cls, parts: Sequence["Seen"], work) -> "Seen":  # noqa: ANN001
        def one(name: str) -> Tensor | dict[str, Tensor]:
            values = [getattr(part, name) for part in parts]
            if isinstance(values[0], Tensor):
                return work(values)
            return {key: work([value[key] for value in values]) for key in values[0]}

        return cls(*(one(field.name) for field in fields(cls)))


def log_odds(logits: Tensor) -> Tensor:
    """Logits (N, K) -> log of each class's probability over that of all others (N, K)."""
    alone = torch.eye(logits.shape[1], dtype=torch.bool)
    others = logits[:, None].expand(-1, logits.shape[1], -1).masked_fill(alone, -torch.inf)
    return logits - others.logsumexp(2)


@dataclass(frozen=True)
class Judge:
    """Looks at pictures: `reader`, and the family's generator and identity network."""

    studio: StyleCLIP
    reader: Reader

    @torch.inference_mode()
    def look(self, images: Tensor) -> Seen:
        """Pictures (N, 3, R, R) in [-1, 1], as they would be saved: in 256 steps."""
        images = (images.clamp(-1, 1) * 127.5 + 127.5).round() / 127.5 - 1
        features = self.reader.body(F.adaptive_avg_pool2d(images, SIZE))
        logits = self.reader.heads(features.flatten(1)).split([len(names) for names in CATEGORIES.values()], 1)
        named = dict(zip(CATEGORIES, logits, strict=True))
        return Seen(
            {name: values.argmax(1) for name, values in named.items()},
            {name: log_odds(values) for name, values in named.items()},
            identity_features(self.studio.family.identity, images),
            features.mean((2, 3)),
        )

    @torch.inference_mode()
    def faces(self, latents: Sequence[Latent]) -> Seen:
        """What is seen in the pictures of latents."""
        parts = []
        for start in range(0, len(latents), BATCH):
            wanted = [(latent, None) for latent in latents[start : start + BATCH]]
            parts.append(self.look(torch.cat(draw_together(self.studio.family.generator, wanted))))
        return Seen.joined(parts)


class Verdict(NamedTuple):
    """Of N edits: `hits` (N,), whether the target is read; `identity` (N,), cosine with the face before; `changed`
    (N,), share of the other attributes, visible before and after, that are read differently; `rise` (N,) of the
    target's log-odds; `others`, category -> (N,) whether it changed."""

    hits: Tensor
    identity: Tensor
    changed: Tensor
    rise: Tensor
    others: dict[str, Tensor]


def verdict(pair: Target, before: Seen, after: Seen) -> Verdict:
    """What became of N edits of a pair."""
    shown, still = visible(before.found), visible(after.found)
    names = [name for name in CATEGORIES if name != pair.category]
    comparable = torch.stack([shown[name] & still[name] for name in names])
    differs = torch.stack([before.found[name] != after.found[name] for name in names]) & comparable
    rise = after.odds[pair.category] - before.odds[pair.category]
    return Verdict(
        (after.found[pair.category] == pair.index).float(),
        (before.identity * after.identity).sum(1),
        differs.sum(0) / comparable.sum(0),
        rise[:, pair.index],
        dict(zip(names, differs, strict=True)),
    )


# One picture at a time, for the smaller benchmarks


class LabelledFace(NamedTuple):
    """A held-out face: code, picture, readings (each a tensor (1,))."""

    latent: Latent
    image: Image.Image
    found: dict[str, Tensor]


def tensor(image: Image.Image) -> Tensor:
    """RGB picture -> (1, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 127.5 - 1


def faces(studio: StyleCLIP, reader: Reader) -> Iterator[LabelledFace]:
    """Held-out faces without end."""
    seed = FIRST_SEED
    while True:
        latent = studio.sample(seed, truncation=1.0)
        image = studio.image(latent)
        yield LabelledFace(latent, image, read(reader, tensor(image)))
        seed += 1


def direct(studio: StyleCLIP, latent: Latent, pair: Target) -> Image.Image:
    """Global direction at the default α and β."""
    return studio.direct(latent, pair.target, pair.neutral).image


def map_(studio: StyleCLIP, latent: Latent, pair: Target) -> Image.Image:
    """The shipped mapper."""
    return studio.map(latent, pair.mapper).image


class Score:
    """What became of the edits of one pair by one method."""

    def __init__(self, studio: StyleCLIP, reader: Reader, pair: Target) -> None:
        self.judge, self.pair = Judge(studio, reader), pair
        self.hits: list[float] = []
        self.identity: list[float] = []
        self.changed: list[float] = []

    def add(self, before: LabelledFace, after: Image.Image) -> None:
        """Judge one edit."""
        found = verdict(self.pair, self.judge.look(tensor(before.image)), self.judge.look(tensor(after)))
        for name in ("hits", "identity", "changed"):
            getattr(self, name).append(getattr(found, name).item())

    def __str__(self) -> str:
        if not self.hits:
            return "–"
        hits, identity, changed = (sum(v) / len(v) for v in (self.hits, self.identity, self.changed))
        return f"{hits:.0%} · {identity:.2f} · {changed:.0%}"
