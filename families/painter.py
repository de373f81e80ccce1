"""Teach the network that CLIPstyler fits what styles look like, so that a painting begins with one that is near.

    python -m families.painter [--faces N] [--minutes N]

Faces are sampled and shown in each style by its filter (`style_filters`). They have most convolutions of a
`StyleNet` in common; the scale and shift of the norms (Dumoulin et al. 2017), two blocks and the last layer are each
style's own, and so is the view of the picture that its changes start from.
What a filter draws at random can't be foretold, so beside the pixels the statistics of features are compared. Goes on
where it stopped; writes `painter.safetensors` of the cache.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.func import functional_call

from families.drawn.reader import to_bytes
from families.style_filters import FILTERS
from pipeline import StyleCLIP
from pipeline.errors import UserError
from pipeline.files import written_whole
from pipeline.methods.clipstyler import Features, content_features
from pipeline.networks.stylenet import StyleNet, base_of, views
from pipeline.paint import SIDE
from pipeline.training.command import run

CACHE = Path(".cache/painter")
FACES, MINUTES = 60, 70
OWN = ("down.1.", "up.1.", "out.")  # blocks and layers that each style has for itself
FIRST_SEED, PSI = 5_000_000, 0.9
LR, OWN_LR = 2e-3, 6e-3  # of what the styles share, and of their own
WARM_UP, KEPT_EVERY = 50, 100  # steps
AT_ONCE = 2  # styles of one face in a step
FILTERS_SEED = 2  # of what filters draw at random: one way of each style, so that pixels can be compared
PIXELS_SEED = 38  # the same of pixel art, which then has squares as large as the tiles of `views`
BASES = {  # the view from which a style starts, where that isn't the picture
    "oil painting": "strokes",
    "watercolour": "strokes",
    "cartoon": "strokes",
    "pixel art": "tiles",
    "mosaic": "tiles",
}
PART = 256  # pixels a side of what features are compared of: no more, so that they see each stroke
COARSE = 4  # pixels a side of the blocks whose means are compared
FEATURES, STATISTICS = 0.3, 0.3  # λ


def faces_in_styles(count: int, folder: Path) -> tuple[Tensor, Tensor]:
    """Sampled faces (N, 3, SIDE, SIDE), uint8, and the same in each style (N, K, 3, SIDE, SIDE). Kept in `folder`."""
    kept = folder / f"faces-{count}-{FILTERS_SEED}-{PIXELS_SEED}.pt"
    if not kept.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        studio, plain, styled = StyleCLIP.from_pretrained("photo", device="cpu"), [], []
        for seed in range(FIRST_SEED, FIRST_SEED + count):
            face = np.asarray(studio.image(studio.sample(seed, PSI), SIDE), np.float32) / 255
            seeds = {name: PIXELS_SEED if name == "pixel art" else FILTERS_SEED for name in FILTERS}
            shown = [face, *(draw(face.copy(), np.random.default_rng(seeds[n])) for n, draw in FILTERS.items())]
            pictures = to_bytes(torch.from_numpy(np.stack(shown).astype(np.float32)).permute(0, 3, 1, 2) * 2 - 1)
            plain.append(pictures[0])
            styled.append(pictures[1:])
            print(f"{len(plain)} of {count} faces", flush=True)
        with written_whole(kept) as fresh:
            torch.save((torch.stack(plain), torch.stack(styled)), fresh)
    return torch.load(kept, weights_only=True)


class PainterFit:
    """The state of a training on faces and styles as `faces_in_styles` gives them. `bases` are the views from which
    the styles start."""

    def __init__(self, plain: Tensor, styled: Tensor, features: Features, bases: Sequence[str]) -> None:
        self.plain, self.styled, self.features, self.steps, self.seconds = plain, styled, features, 0, 0.0
        self.network = StyleNet.fresh()
        self.names, self.bases = [*bases], {"base.weight": torch.stack([base_of(view) for view in bases])}
        start = {name: value.detach().clone() for name, value in self.network.named_parameters()}
        del start["base.weight"]
        # In the network's order, by which the optimizer knows them when a training goes on.
        own = [name for name in start if name.startswith(OWN) or self._is_norm(name.rpartition(".")[0])]
        repeated = {name: start[name].repeat(styled.shape[1], *[1] * start[name].ndim) for name in own}
        self.shared = {name: value.requires_grad_() for name, value in start.items() if name not in own}
        self.own = {name: value.requires_grad_() for name, value in repeated.items()}
        groups = [{"params": [*v.values()], "lr": lr} for v, lr in ((self.shared, LR), (self.own, OWN_LR))]
        self.optimizer = torch.optim.Adam(groups, betas=(0.9, 0.98))

    def _is_norm(self, layer: str) -> bool:
        return isinstance(self.network.get_submodule(layer), nn.InstanceNorm2d)

    def painted(self, seen: Tensor, style: int) -> Tensor:
        """A picture, given by its `views`, in one style."""
        weights = self.shared | {name: value[style] for name, value in (self.own | self.bases).items()}
        return functional_call(self.network, weights, (seen,))

    def loss(self, picture: Tensor, wanted: Tensor, rng: torch.Generator) -> Tensor:
        """How far a picture is from another one: pixels, means of blocks, features of a part and their statistics."""
        top, left = (int(torch.randint(n - PART + 1, (), generator=rng)) for n in picture.shape[2:])
        part = (..., slice(top, top + PART), slice(left, left + PART))
        with torch.no_grad():
            there = self.features(wanted[part])
        pairs = [*zip(self.features(picture[part]), there, strict=True)]
        features = sum(F.l1_loss(a, b) / b.abs().mean() for a, b in pairs)
        statistics = sum(F.l1_loss(_gram(a), _gram(b)) / _gram(b).abs().mean() for a, b in pairs)
        blocks = F.l1_loss(F.avg_pool2d(picture, COARSE), F.avg_pool2d(wanted, COARSE))
        return F.l1_loss(picture, wanted) + blocks + FEATURES * features + STATISTICS * statistics

    def step(self, rate: float) -> float:
        """One face in some styles; `rate` scales the learning rates. Returns the mean loss."""
        rng, losses = torch.Generator().manual_seed(self.steps), []
        face = int(torch.randint(len(self.plain), (), generator=rng))
        seen = views(_in_numbers(self.plain[face]))
        for style in torch.randperm(self.styled.shape[1], generator=rng)[:AT_ONCE].tolist():
            loss = self.loss(self.painted(seen, style), _in_numbers(self.styled[face, style]), rng)
            loss.backward()
            losses.append(loss.item())
        for group, lr in zip(self.optimizer.param_groups, (LR, OWN_LR), strict=True):
            group["lr"] = lr * rate
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.steps += 1
        return sum(losses) / len(losses)

    def save(self, path: Path) -> None:
        """Everything that is needed to go on."""
        state = {"shared": self.shared, "own": self.own, "optimizer": self.optimizer.state_dict()}
        with written_whole(path) as fresh:
            torch.save(state | {"bases": self.names, "steps": self.steps, "seconds": self.seconds}, fresh)

    def load(self, path: Path) -> None:
        """Go on from `save`. Raises UserError for a training with other bases."""
        state = torch.load(path, weights_only=True)
        if state.get("bases") != self.names:
            raise UserError(f"{path} is of another training; please move it away to begin anew.")
        with torch.no_grad():
            for name, value in (self.shared | self.own).items():
                value.copy_((state["shared"] | state["own"])[name])
        self.optimizer.load_state_dict(state["optimizer"])
        self.steps, self.seconds = state["steps"], state["seconds"]

    def export(self, path: Path) -> None:
        """Write what `pipeline.networks.stylenet.painters` reads, in half precision."""
        with written_whole(path) as fresh:
            weights = self.shared | self.own | self.bases
            save_file({name: value.detach().half() for name, value in weights.items()}, fresh)


def _in_numbers(picture: Tensor) -> Tensor:
    """A picture (3, H, W), uint8, as (1, 3, H, W) in [-1, 1]."""
    return picture[None].float() / 127.5 - 1


def _gram(features: Tensor) -> Tensor:
    flat = features.flatten(2)
    return flat @ flat.mT / flat.shape[2]


def learn(count: int, minutes: float, folder: Path = CACHE) -> None:
    """Train until `minutes` of one core in all are spent, and write the styles."""
    torch.set_num_threads(1)
    features = content_features(StyleCLIP.from_pretrained("photo", device="cpu").family.identity)
    bases = [BASES.get(name, "picture") for name in FILTERS]
    fit, kept = PainterFit(*faces_in_styles(count, folder), features, bases), folder / "painter.pt"
    if kept.exists():
        fit.load(kept)
    while (t := fit.seconds / (60 * minutes)) < 1:
        begin = time.process_time()
        loss = fit.step(min(1, (fit.steps + 1) / WARM_UP, 1 - t))
        fit.seconds += time.process_time() - begin
        if fit.steps % KEPT_EVERY == 0:
            fit.save(kept)
            print(f"{fit.steps} steps  {t * minutes:.1f} of {minutes:g} min  loss {loss:.3f}", flush=True)
    fit.save(kept)
    fit.export(folder / "painter.safetensors")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faces", type=int, default=FACES, help="to sample (%(default)s)")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="in all, of one core (%(default)s)")
    options = parser.parse_args()
    run(lambda: learn(options.faces, options.minutes))


if __name__ == "__main__":
    main()
