"""A cell of the benchmark: one method on one target, at the strength that one rule finds for it."""

import inspect
import time
from collections.abc import Callable, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from benchmarks import methods
from benchmarks.judging import BATCH, FIRST_SEED, Judge, Seen, Verdict, log_odds, verdict
from benchmarks.methods import METHODS, Method
from benchmarks.realism import PALETTE, colour_error, drawn_outside
from benchmarks.targets import Target
from families.drawn.attributes import attributes, labels, sample_z
from families.drawn.reader import Reader
from families.drawn.renderer import render
from pipeline import Latent, StyleCLIP
from pipeline.images import to_pil
from pipeline.models.registry import Defaults, family_row
from pipeline.training.frozen import FrozenModels
from pipeline.training.pairs import Pairs, sample_pairs

ROOT = Path(__file__).parents[1]
FACTORS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)  # of a method's default
SHARE = 0.8  # of the way from faces without to faces with the target, in mean log-odds, that an edit is to go
REAL = 24  # faces a target of which it is measured how real they look
HAVING = 8  # faces that have a target, at least, behind its mean
CHUNK, TILE = 48, 128
# Faces that no training used, and on which no default was chosen either.
SEEDS = {"held": FIRST_SEED + 500_000, "calibration": FIRST_SEED + 700_000}
DRAWN_SEED, CANDIDATES = FIRST_SEED + 900_000, 20_000
CORE = (
    *(f"checkpoints/demo/{name}.safetensors" for name in ("generator", "clip", "identity", "reader")),
    *(f"pipeline/{name}.py" for name in ("styleclip", "latents", "losses", "text")),
    *(f"pipeline/networks/{name}.py" for name in ("stylegan2", "clip", "arcface")),
    "benchmarks/realism.py",
    *(f"families/drawn/{name}.py" for name in "attributes reader renderer hair geometry shapes".split()),
)


class Plan(NamedTuple):
    """How much is measured: faces a target, faces that find the strength, sampled pairs for the methods that learn from
    them, drawings a target."""

    faces: int = 100
    calibration: int = 12
    pairs: int = 6000
    drawings: int = 16


def digest(*parts: Any) -> str:
    """Of numbers, texts and the like."""
    return sha256(repr(parts).encode()).hexdigest()[:16]


@cache
def files_digest(patterns: tuple[str, ...]) -> str:
    """Of files, as glob patterns from the repository's root, as they are when it is first asked for."""
    sha = sha256()
    for file in sorted(file for pattern in patterns for file in ROOT.glob(pattern)):
        sha.update(file.read_bytes())
    return sha.hexdigest()


@cache
def core() -> str:
    """Digest of what every cell depends on."""
    return digest(files_digest(CORE), FACTORS, SHARE, HAVING, SEEDS, CODE["cell"], family_row("demo").defaults)


@cache
def method_digest(name: str) -> str:
    """Digest of what a method's edits depend on."""
    return digest(name, METHOD_CODE[name], files_digest(METHODS[name].sources), Defaults())


def key(name: str, pair: Target, plan: Plan, pairs: Sequence[Target]) -> str:
    """What a kept cell is known by: another model, text, rule, amount of faces or list of targets is another cell."""
    return digest(core(), method_digest(name), list(pair), plan, list(pairs))


def strength(factors: Sequence[float], rises: Sequence[float], amount: float) -> tuple[float, bool]:
    """The factor at which the mean rise of the target's log-odds reaches `amount`, and whether there is one.

    On the lines between the factors; else the factor of the largest rise.
    """
    low, below = 0.0, 0.0
    for factor, rise in zip(factors, rises, strict=True):
        if rise >= amount:
            return low + (factor - low) * (amount - below) / (rise - below), True
        low, below = factor, rise
    best = max(range(len(rises)), key=lambda i: rises[i])
    return factors[best], False


class Pool(NamedTuple):
    """Sampled faces as they are: codes (N, L, D), what is seen in them, and the labels that z says."""

    w_plus: Tensor
    seen: Seen
    truth: dict[str, Tensor]

    def latents(self, index: Tensor) -> list[Latent]:
        return [Latent(self.w_plus[i : i + 1]) for i in index.tolist()]


class Drawings(NamedTuple):
    """Drawings of faces that have a target, `plan.drawings` a pair, in their order: what is seen, what is true."""

    seen: Seen
    truth: dict[str, Tensor]


class Work:
    """What a worker needs: models, and the `shelf`, a folder for what the cells share."""

    def __init__(self, shelf: Path, plan: Plan, pairs: Sequence[Target]) -> None:
        torch.set_num_threads(1)
        self.shelf, self.plan, self.pairs = shelf, plan, tuple(pairs)
        self.studio = StyleCLIP.from_pretrained("demo", device="cpu")
        self.judge = Judge(self.studio, Reader.from_file())
        self.ready: dict[str, tuple[Method, float]] = {}
        self.pools: dict[str, Pool] = {}

    def kept(self, make: Callable[..., Any], *arguments: Any) -> Any:
        """What `make` gives, made once."""
        mark = digest(files_digest(CORE), CODE[make.__name__], CODE["judge"], SEEDS, self.plan, self.pairs)
        path = self.shelf / f"{'-'.join(map(str, (make.__name__.strip('_'), *arguments, mark)))}.pt"
        if not path.exists():
            self.shelf.mkdir(parents=True, exist_ok=True)
            torch.save(make(*arguments), path.with_suffix(".new"))
            path.with_suffix(".new").rename(path)
        return torch.load(path, weights_only=False)

    # What all cells share

    def pool(self, kind: str) -> Pool:
        """Enough faces, "held" or for "calibration", for every pair."""
        if kind not in self.pools:
            self.pools[kind] = self.kept(self._sampled, kind)
        return self.pools[kind]

    def _sampled(self, kind: str) -> Pool:
        codes, parts, z = [], [], []
        wanted = self.plan.faces if kind == "held" else self.plan.calibration
        while True:
            for seed in range(SEEDS[kind] + len(codes), SEEDS[kind] + len(codes) + CHUNK):
                codes.append(self.studio.sample(seed, truncation=1.0))
                z.append(sample_z(1, seed))
            parts.append(self.judge.faces(codes[-CHUNK:]))
            seen = Seen.joined(parts)
            enough = all(
                pair.lacking(seen.found).sum() >= wanted and pair.having(seen.found).sum() >= HAVING
                for pair in self.pairs
            )
            if enough:
                return Pool(torch.cat([c.w_plus for c in codes]), seen, labels(attributes(torch.cat(z))))

    def drawings(self) -> Drawings:
        """The renderer's own pictures of faces that have the targets."""
        return self.kept(self._drawn)

    @torch.inference_mode()
    def _drawn(self) -> Drawings:
        a = attributes(sample_z(CANDIDATES, DRAWN_SEED))
        truth, chosen = labels(a), []
        for i, pair in enumerate(self.pairs):
            having = (truth[pair.category] == pair.index).nonzero()[:, 0]
            chosen.append(having[i * self.plan.drawings :][: self.plan.drawings])  # hardly a face twice
        index = torch.cat(chosen)
        numbers = {name: value[index] for name, value in a.items() if value.ndim == 1}
        parts = []
        for start in range(0, len(index), BATCH):
            images, _ = render({name: v[start : start + BATCH] for name, v in numbers.items()}, 256)
            parts.append(self.judge.look(images))
        return Drawings(Seen.joined(parts), {name: value[index] for name, value in truth.items()})

    def half(self, number: int) -> tuple[Pairs, float]:
        """Half of the sampled pairs, and the CPU seconds that they took."""
        return self.kept(self._pairs, number)

    def _pairs(self, number: int) -> tuple[Pairs, float]:
        begin = time.process_time()
        pairs = sample_pairs(FrozenModels.of(self.studio.family), self.plan.pairs // 2, seed=number)
        return pairs, time.process_time() - begin

    def amount(self, pair: Target) -> float:
        """By how much the target's log-odds are to rise: `SHARE` of the difference between faces with and without."""
        seen = Seen.joined([self.pool(kind).seen for kind in SEEDS])
        odds = seen.odds[pair.category][:, pair.index]
        return SHARE * (odds[pair.having(seen.found)].mean() - odds[pair.lacking(seen.found)].mean()).item()

    def method(self, name: str) -> tuple[Method, float]:
        """A method that is ready, and the CPU seconds that it took once for the model."""
        if name not in self.ready:
            kind, pairs, spent = METHODS[name], None, 0.0
            if kind.needs_pairs:
                halves = [self.half(number) for number in (0, 1)]
                pairs = Pairs(*(torch.cat(parts) for parts in zip(*(pairs for pairs, _ in halves), strict=True)))
                spent = sum(seconds for _, seconds in halves)
            begin = time.process_time()
            method = kind(self.studio, self.shelf / f"prepared-{method_digest(name)}", pairs)
            self.ready[name] = method, spent + method.spared + time.process_time() - begin
        return self.ready[name]

    # A cell

    def cell(self, name: str, pair: Target, known: str) -> dict[str, Any]:
        """Measure a method on a pair; what is kept of it, as JSON, under the key `known`."""
        method, model_seconds = self.method(name)
        text_seconds = method.prepare(pair)
        slow, pool = method.share < 1, self.pool("held")
        count = max(2, round(self.plan.faces * method.share)) if slow else self.plan.faces
        index = pair.lacking(pool.seen.found).nonzero()[:count, 0]
        faces, before, (ends, seconds) = pool.latents(index), pool.seen[index], self._edited(method, pair, pool, index)
        if slow:  # each face's strength is found on the others
            tried, unedited, way = faces, before, ends
        else:
            other = self.pool("calibration")
            chosen = pair.lacking(other.seen.found).nonzero()[: self.plan.calibration, 0]
            tried, unedited = other.latents(chosen), other.seen[chosen]
            way = [method.edit(latent, pair) for latent in tried]
        curve = [
            verdict(pair, unedited, self.judge.faces([a.towards(b, factor) for a, b in zip(tried, way, strict=True)]))
            for factor in FACTORS
        ]
        rises, amount = torch.stack([v.rise for v in curve]), self.amount(pair)
        means = [rises.mean(1)]
        if slow:
            means = [rises[:, [j for j in range(count) if j != i]].mean(1) for i in range(count)]
        found = [strength(FACTORS, mean.tolist(), amount) for mean in means] * (1 if slow else count)
        edited = [a.towards(b, factor) for a, b, (factor, _) in zip(faces, ends, found, strict=True)]
        seen = self.judge.faces(edited)
        result = verdict(pair, before, seen)
        colours, outside = self._realism(pair, index[:REAL].tolist(), faces, edited)
        shown = self.pairs.index(pair) % 2  # not the same face everywhere
        self._tile(edited[shown]).save(self.tile(known))
        if not self.tile(pair.target).exists():
            self._tile(faces[shown]).save(self.tile(pair.target))
        return {
            "key": known,
            "method": name,
            "target": pair.target,
            "amount": amount,
            "factors": [factor for factor, _ in found][: count if slow else 1],
            "reached": sum(reached for _, reached in found) / len(found),
            "faces": index.tolist(),
            "tried": (index if slow else chosen).tolist(),
            "identity": rounded(result.identity),
            "hits": rounded(result.hits),
            "changed": rounded(result.changed),
            "rise": rounded(result.rise),
            "colours": colours,
            "outside": outside,
            "others": {name: int(value.sum()) for name, value in result.others.items() if value.any()},
            "pooled": [rounded(row, 3) for row in seen.pooled],
            "curve": [_point(v) for v in curve],
            "seconds": seconds,
            "model_seconds": model_seconds,
            "text_seconds": text_seconds,
        }

    def _realism(
        self, pair: Target, index: Sequence[int], faces: Sequence[Latent], edited: Sequence[Latent]
    ) -> tuple[list[float], list[float]]:
        """ΔE of the edits of some faces, where the target is a colour that is seen, and their change outside its part,
        where it has one; see `benchmarks.realism`."""
        colours, outside = [], []
        for number, face, edit in zip(index, faces, edited, strict=False):
            before, after = (self._picture(latent) for latent in (face, edit))
            if (pair.category, pair.value) in PALETTE:
                colours.append(colour_error(SEEDS["held"] + number, pair.category, pair.value, after))
            outside.append(drawn_outside(SEEDS["held"] + number, pair.target, before, after))
        seen = [error for error in colours if error is not None]
        return seen, [change.all for change in outside if change is not None]

    @torch.no_grad()
    def _picture(self, latent: Latent) -> Tensor:
        return latent.draw(self.studio.family.generator)[0].clamp(-1, 1) / 2 + 0.5

    def _edited(self, method: Method, pair: Target, pool: Pool, index: Tensor) -> tuple[list[Latent], float]:
        """The edits at the default, and the mean CPU seconds of one with its picture."""
        begin, ends = time.process_time(), []
        timed = len(index) if method.share < 1 else min(len(index), BATCH)
        faces = pool.latents(index)
        for latent in faces[:timed]:
            ends.append(method.edit(latent, pair))
            if method.share == 1:
                self._tile(ends[-1])
        seconds = (time.process_time() - begin) / timed
        return ends + [method.edit(latent, pair) for latent in faces[timed:]], seconds

    def tile(self, name: str) -> Path:
        """The picture of one of a cell's faces, by the cell's key, or of that face before, by its target."""
        return self.shelf / f"{digest(name)}.png"

    @torch.no_grad()
    def _tile(self, latent: Latent) -> Image.Image:
        picture = to_pil(latent.draw(self.studio.family.generator))
        return picture.resize((TILE, TILE), Image.Resampling.LANCZOS)


def rounded(values: Tensor, digits: int = 5) -> list[float]:
    """As JSON."""
    return [round(value, digits) for value in values.tolist()]


def _point(v: Verdict) -> dict[str, list[float]]:
    return {name: rounded(getattr(v, name)) for name in ("hits", "identity", "changed", "rise")}


def source(*parts: Any) -> str:
    """Source code."""
    return "\n".join(map(inspect.getsource, parts))


# Read together with the code itself: the files may change while a long run is on.
CODE = {
    "cell": source(
        Seen,
        Judge,
        log_odds,
        verdict,
        Target,
        strength,
        Work.cell,
        Work._realism,
        Work._edited,
        Work.amount,
        Work._sampled,
    ),
    "judge": source(Seen, Judge, log_odds),
} | {make.__name__: source(make) for make in (Work._sampled, Work._drawn, Work._pairs)}
METHOD_CODE = {
    name: source(*(base for base in kind.__mro__ if getattr(methods, base.__name__, None) is base))
    for name, kind in METHODS.items()
}
