"""The methods in one protocol: what each has to prepare, and its edit of a face at its own default.

Whatever a method does, its strengths lie on the straight way from the face to that edit, and beyond (`Latent.towards`):
factor 0 is the face, 1 the method's default.
"""

import json
import time
from abc import ABC, abstractmethod
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import torch
from filelock import FileLock
from safetensors.torch import load_file, save_file

from benchmarks.baselines import BASELINES, Baseline, StyleFlow
from benchmarks.targets import Target
from pipeline import Latent, StyleCLIP
from pipeline.methods.directions import MeasuredDirections, StyleDirections
from pipeline.methods.estimate import estimated_directions
from pipeline.methods.mapper import apply_mapper
from pipeline.models.family import Family
from pipeline.models.registry import Defaults
from pipeline.networks.mapper import mapper_from_state_dict
from pipeline.training.frozen import FrozenModels
from pipeline.training.mapper_recipe import MapperRecipe
from pipeline.training.mapper_training import STRENGTH, train
from pipeline.training.pairs import Pairs

PAPER = Defaults()


class Method(ABC):
    """An editing method at its default.

    `title` is what tables call it; `shipped`, whether a model or a text is prepared before by files that come with the
    family; `sources`, the files beside `pipeline`'s core that its edits depend on; `share`, the share of the faces that
    it is given, since some are slow; `guess`, the seconds of a cell before one was measured; `needs_pairs`, whether it
    learns from sampled faces; `spared`, the CPU seconds, of what it costs once a model, that an earlier run has spent.
    """

    title: str
    shipped: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    share, guess = 1.0, 7.0
    needs_pairs = False
    spared = 0.0

    def __init__(self, studio: StyleCLIP, shelf: Path, pairs: Pairs | None) -> None:
        """What it costs once a model. `shelf` is a folder for what takes long to make."""
        self.studio, self.shelf = studio, shelf

    @classmethod
    def offers(cls, pair: Target) -> bool:
        """Whether it can do this edit at all."""
        return True

    def prepare(self, pair: Target) -> float:
        """CPU seconds that it costs once a text."""
        begin = time.process_time()
        self.text(pair)
        return time.process_time() - begin

    def text(self, pair: Target) -> None:  # noqa: B027 - most have nothing to do
        """Get ready for a pair."""

    @abstractmethod
    def edit(self, latent: Latent, pair: Target) -> Latent:
        """The edit at the default."""


class Optimization(Method):
    """Latent optimization (section 4) at the family's defaults."""

    title, share, guess = "optimization", 0.03, 30.0
    sources = ("pipeline/methods/optimization.py",)

    def settings(self) -> Defaults:
        return self.studio.family.defaults

    def edit(self, latent: Latent, pair: Target) -> Latent:
        d = self.settings()
        options = {"l2": d.l2, "identity": d.identity, "lr": d.lr, "space": d.space, "noise": d.noise}
        *_, last = self.studio.optimize(latent, pair.prompt, d.steps, **options, neutral=d.prompt_neutral)
        return last.latent


class PaperOptimization(Optimization):
    """As the paper has it: 300 steps in W+, λ_L2 0.008, λ_ID 0.005."""

    title, share, guess = "optimization (paper)", 0.02, 48.0

    def settings(self) -> Defaults:
        return PAPER


class Mapper(Method):
    """The family's mappers (section 5); an edit without one is left out."""

    title, shipped = "mapper", ("text",)
    sources = ("pipeline/methods/mapper.py", "checkpoints/demo/mappers/*")

    @classmethod
    def offers(cls, pair: Target) -> bool:
        return pair.mapper is not None

    def edit(self, latent: Latent, pair: Target) -> Latent:
        family = self.studio.family
        return apply_mapper(family.mappers.load(pair.mapper), family.generator, latent, family.defaults.mapper_strength)


class PaperMapper(Method):
    """Mappers trained here as the family's are, but with the paper's λ_CLIP of 1 and no neutral text: four, since each
    takes a while."""

    title, guess = "mapper (paper)", 90.0
    sources = ("pipeline/methods/mapper.py", "pipeline/networks/mapper.py", "pipeline/training/mapper_training.py")
    PROMPTS = ("blonde_hair", "glasses", "smiling", "beard")

    @classmethod
    def offers(cls, pair: Target) -> bool:
        return pair.mapper in cls.PROMPTS

    def prepare(self, pair: Target) -> float:
        """Its training's seconds, also when that was before."""
        file = self.shelf / f"{pair.mapper}.safetensors"
        note = file.with_suffix(".json")
        if not note.exists():
            begin, recipe = time.process_time(), MapperRecipe(pair.prompt, clip=PAPER.mapper_clip)
            *_, last = train(FrozenModels.of(self.studio.family), self.studio.texts, recipe)
            self.shelf.mkdir(parents=True, exist_ok=True)
            save_file({name: value.contiguous() for name, value in last.mapper.state_dict().items()}, file)
            note.write_text(json.dumps(time.process_time() - begin))
        self.mapper = mapper_from_state_dict(load_file(file))
        return json.loads(note.read_text())

    def edit(self, latent: Latent, pair: Target) -> Latent:
        return apply_mapper(self.mapper, self.studio.family.generator, latent, STRENGTH)


class Global(Method):
    """Global directions (section 6) from the measured matrix."""

    title, shipped = "global directions", ("model",)
    sources = (
        "pipeline/methods/directions.py",
        "pipeline/methods/strength.py",
        "pipeline/methods/exchange.py",
        "checkpoints/demo/directions.safetensors",
        "checkpoints/demo/looks.safetensors",
    )
    options: dict[str, float] = {}

    def __init__(self, studio: StyleCLIP, shelf: Path, pairs: Pairs | None) -> None:
        super().__init__(StyleCLIP(replace(studio.family, directions=self.directions(studio.family))), shelf, pairs)

    def directions(self, family: Family) -> StyleDirections:
        return family.directions

    def text(self, pair: Target) -> None:
        self.edit(self.studio.family.mean, pair)  # finds the strength

    def edit(self, latent: Latent, pair: Target) -> Latent:
        return self.studio.direct(latent, pair.target, pair.neutral, **self.options).latent


class PaperGlobal(Global):
    """As the paper has it: α 3, 20 channels, none of toRGB's."""

    title = "global directions (paper)"
    options = {"strength": PAPER.strength, "channels": PAPER.channels, "limit": 0.0}

    def directions(self, family: Family) -> StyleDirections:
        whole = family.directions
        outside = torch.cat([torch.full((layer.channels,), not layer.is_to_rgb) for layer in whole.layers])
        relevance = whole.relevance[outside] if len(whole.relevance) == len(outside) else whole.relevance
        return MeasuredDirections(relevance, whole.style_std, whole.layers)


class Estimate(Global):
    """Global directions as long as no matrix was measured: relevance from gradients, of the same channels."""

    title, shipped = "global directions, estimated", ()
    sources = tuple(f"pipeline/methods/{name}.py" for name in ("directions", "strength", "exchange", "estimate"))

    def directions(self, family: Family) -> StyleDirections:
        to_rgb = len(family.directions.relevance) == sum(layer.channels for layer in family.generator.style_layers)
        return estimated_directions(family, to_rgb)


class CSLA(Method):
    """CSLA: the step between what two texts are in the generator's terms."""

    title, shipped = "CSLA", ("model",)
    sources = ("pipeline/methods/csla.py", "pipeline/networks/csla.py", "checkpoints/demo/alignment.safetensors")

    def text(self, pair: Target) -> None:
        mean = self.studio.family.mean
        self.step = self.studio.csla_edit(mean, pair.target, pair.neutral).latent.style_step

    def edit(self, latent: Latent, pair: Target) -> Latent:
        return latent.moved(list(self.step))


class BaselineMethod(Method):
    """One of `benchmarks.baselines`."""

    needs_pairs, kind = True, ""
    sources = ("benchmarks/baselines/*.py", "pipeline/training/pairs.py")

    def __init__(self, studio: StyleCLIP, shelf: Path, pairs: Pairs) -> None:
        super().__init__(studio, shelf, pairs)
        self.baseline = self.learned(pairs)

    def learned(self, pairs: Pairs) -> Baseline:
        """The baseline, ready for texts."""
        return BASELINES[self.kind](self.studio.family, pairs, self.studio.texts)

    def text(self, pair: Target) -> None:
        self.baseline.prepare(pair.target, pair.neutral)

    def edit(self, latent: Latent, pair: Target) -> Latent:
        return self.baseline.edit(latent, pair.target, pair.neutral)


class StyleFlowMethod(BaselineMethod):
    """StyleFlow, whose flow takes over a minute to train and is kept: one process trains it while others wait."""

    kind, title, guess = "styleflow", "StyleFlow", 20.0
    sources = (*BaselineMethod.sources, "benchmarks/targets.py")

    def learned(self, pairs: Pairs) -> StyleFlow:
        mark = sha256(b"".join(values.numpy().tobytes() for values in pairs)).hexdigest()[:16]
        file = self.shelf / f"flow-{mark}.safetensors"
        note = file.with_suffix(".json")
        self.shelf.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_suffix(".lock")):
            if note.exists():
                self.spared = json.loads(note.read_text())
                return StyleFlow(self.studio.family, pairs, self.studio.texts, load_file(file))
            begin = time.process_time()
            baseline = StyleFlow(self.studio.family, pairs, self.studio.texts)
            save_file(baseline.flow.state_dict(), file)
            note.write_text(json.dumps(time.process_time() - begin))
            return baseline


OURS: dict[str, type[Method]] = {
    "optimization": Optimization,
    "optimization-paper": PaperOptimization,
    "mapper": Mapper,
    "mapper-paper": PaperMapper,
    "directions": Global,
    "directions-paper": PaperGlobal,
    "estimate": Estimate,
    "csla": CSLA,
}
METHODS = OURS | {
    kind: type(c.__name__, (BaselineMethod,), {"kind": kind, "title": c.__name__}) for kind, c in BASELINES.items()
}
METHODS["styleflow"] = StyleFlowMethod
PAPERS = {"optimization-paper": "optimization", "mapper-paper": "mapper", "directions-paper": "directions"}
"""A paper's default -> ours."""
