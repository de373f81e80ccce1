"""Training of a latent mapper: one network for one description (StyleCLIP, section 5).

    Δw = 0.1 · M_t(w)
    L(w) = λ_CLIP · D_CLIP(G(w + Δw), t)  +  λ_L2 · mean |Δw|²  +  λ_ID · L_ID(w)                 (equations 4 and 5)

over sampled or inverted codes w; 0.1 and λ_CLIP are the published code's; the paper has no λ_CLIP. In S the means of
the vectors are summed. With a neutral text, the embedding of t is replaced by that of each face, moved by the
difference of the texts. The paper's Ranger needs 50,000 steps; Adam needs 220 (docs/results.md). Programs call `train`.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import torch
import torch.distributed
import torch.nn.functional as F
from torch import Tensor

from pipeline.checks import number, of_type, text
from pipeline.errors import UserError
from pipeline.losses import clip_features, directional_target, identity_distance, identity_features
from pipeline.methods.optimization import Adam
from pipeline.methods.strength import CLEAR
from pipeline.networks.generator import StyleGenerator
from pipeline.networks.layers import part
from pipeline.networks.mapper import LatentMapper, NarrowMapper, mapper_from_state_dict
from pipeline.text import Texts, check_goal
from pipeline.training.frozen import FrozenModels
from pipeline.training.mapper_recipe import NUMBERS, MapperRecipe, default_variant, new_mapper, recipe_rate

STRENGTH = 0.1  # what a mapper's step is multiplied with, in training as in use
GAIN = 2.0**16  # lifts the gradients, which equalised layers make as small as Adam's ε, well above it
HELD_OUT, SHOWN = 8, 4  # faces, at most, that the validation loss is measured on, and how many of them are shown


class Unedited(NamedTuple):
    """Of faces before the edit: what CLIP is to find after it, (N or 1, E), and who they are (N, E), if that counts."""

    goal: Tensor
    identity: Tensor | None


class TrainingState(NamedTuple):
    """After `step` of at most `steps` updates.

    `losses` are those of the step's batch, by name, and their weighted sum as `total`. Every so many steps there are
    also `validation`, the same for the held-out faces, and `pictures` (2, n, 3, R, R) of some, before and after.
    """

    step: int
    steps: int
    losses: dict[str, float]
    validation: dict[str, float] | None
    pictures: Tensor | None
    training: "MapperTraining"

    @property
    def mapper(self) -> LatentMapper:
        """A frozen copy of the mapper so far: that of the lowest validation loss, once there is one."""
        return self.training.mapper


def sample_codes(
    generator: StyleGenerator,
    count: int,
    jitter: float,
    rng: torch.Generator,
    average: Tensor | None = None,
    truncation: float = 1.0,
) -> Tensor:
    """W+ codes (count, L, D): sampled w in every row, moved to `average` (L, D) by ψ `truncation`, plus a little noise
    of each row's own."""
    with torch.no_grad():
        device = generator.device
        w = generator.mapping(torch.randn(count, generator.style_dim, generator=rng).to(device))
        rows = w[:, None].expand(-1, generator.num_rows, -1)
        rows = rows if average is None else average.lerp(rows, truncation)  # the same bits for ψ 1
        return rows + jitter * w.std() * torch.randn(rows.shape, generator=rng).to(device)


class MapperTraining:
    """One mapper in training, a step at a time; its whole state can be kept, and taken up again to the bit.

    In several processes of `torch.distributed` each takes its share of every batch, and all hold the same mapper. The
    models are only looked through: nothing about them is changed.
    """

    def __init__(self, models: FrozenModels, texts: Texts, recipe: MapperRecipe, codes: Tensor | None = None) -> None:
        """`texts` are the models' CLIP's; `codes` (M, L, D) are the faces to train on, sampled anew when None.

        Of given codes the last fifth, at most eight, are held out for the validation. Of fewer than five none is: then
        the validation loss is that of the faces which the mapper is trained on. Raises UserError for texts that are
        empty, too long or the same, codes of another model, a batch of fewer faces than processes, and a recipe that
        can't be followed.
        """
        check_goal(text("prompt", recipe.prompt), text("neutral", recipe.neutral))
        for name in NUMBERS:
            number(name, getattr(recipe, name))
        recipe = replace(recipe, variant=recipe.variant or default_variant(models.generator))
        self.models, self.recipe = models, recipe
        self.text = texts.embedding(recipe.prompt).to(models.device)
        self.neutral = texts.embedding(recipe.neutral).to(models.device) if recipe.neutral else None
        since = texts.embedding(recipe.neutral or recipe.noun).to(models.device)
        self.text_direction = F.normalize(self.text - since, dim=-1)
        generator = models.generator
        fitting = [layer.resolution for layer in generator.style_layers] + [generator.size]
        if recipe.resolution not in (None, *fitting):
            raise UserError(f"This generator draws at 4, 8, ... {generator.size} px; please choose one as resolution.")
        self.resolution = recipe.resolution or generator.working_size
        distributed = torch.distributed.is_initialized()
        self.rank = torch.distributed.get_rank() if distributed else 0
        self.world = torch.distributed.get_world_size() if distributed else 1
        if self.world > recipe.batch:
            raise UserError(f"A batch of {recipe.batch} is too small for {self.world} processes; make it larger.")
        self.rng = torch.Generator().manual_seed(recipe.seed)
        self.network = new_mapper(generator, recipe, self.rng, models.latent_avg).to(models.device)
        if recipe.start:
            self._begin_at_direction(texts)
        self.values = list(self.network.parameters())
        self.adam = Adam(self.values)
        if codes is None:
            self.codes, self.codes_digest = None, None
            self.held_out = self._sampled(HELD_OUT, torch.Generator().manual_seed(~recipe.seed))
        else:
            of_type("codes", codes, Tensor, "a tensor (M, L, D)")
            size = (generator.num_rows, generator.style_dim)
            if not len(codes) or codes.shape[1:] != size or not codes.isfinite().all():
                raise UserError("These latents were made with another model; please name some of this one.")
            count = min(HELD_OUT, len(codes) // 5)
            self.codes_digest = hashlib.sha256(codes.detach().float().cpu().contiguous().numpy()).hexdigest()[:16]
            self.codes = codes[:-count] if count else codes
            self.held_out = codes[-(count or HELD_OUT) :].clone()
        with torch.no_grad():
            self.before = generator(self.held_out.to(models.device), self.resolution)
            self.unedited = self._unedited(self.before)
        self.step = 0
        self.best: dict[str, Tensor] | None = None
        self.lowest: dict[str, float] = {}
        self.waited = 0

    @property
    def finished(self) -> bool:
        """Whether all steps are done, or the last ones brought nothing."""
        return self.step >= self.recipe.steps or self.waited >= self.recipe.patience

    @property
    def mapper(self) -> LatentMapper:
        """See `TrainingState.mapper`."""
        state = self.best or self.network.state_dict()
        return mapper_from_state_dict({name: value.detach().clone() for name, value in state.items()})

    def advance(self) -> TrainingState:
        """One update."""
        recipe, codes = self.recipe, self.codes
        if codes is None:
            w = self._sampled(recipe.batch, self.rng)
        else:
            w = codes[torch.randint(len(codes), (recipe.batch,), generator=self.rng)].to(self.models.device)
        w = w[self.rank :: self.world]
        with torch.no_grad():
            wanted = self._sees_identity or self.neutral is not None
            unedited = self._unedited(self.models.generator(w, self.resolution) if wanted else None)
        with torch.enable_grad():
            losses, _ = self._losses(w, unedited)
            gradients = torch.autograd.grad(GAIN * losses["total"], self.values)
        losses, gradients = self._averaged(losses, gradients, len(w) / recipe.batch)
        self.adam.update(gradients, recipe_rate(self.step, recipe))
        self.step += 1
        due = self.step % recipe.every == 0 or self.step == recipe.steps
        validation, pictures = self._validate() if due else (None, None)
        return TrainingState(self.step, recipe.steps, losses, validation, pictures, self)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that the coming steps depend on: tensors, and what can be written as JSON."""
        tensors = {f"mapper.{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in (self.best or {}).items()}
        tensors |= {f"mean.{i}": value for i, value in enumerate(self.adam.mean)}
        tensors |= {f"square.{i}": value for i, value in enumerate(self.adam.square)}
        tensors |= {"rng": self.rng.get_state(), "text": self.text, "pictures": self.before, "held": self.held_out}
        numbers = {"step": self.step, "lowest": self.lowest, "waited": self.waited}
        given = {"codes": 0 if self.codes is None else len(self.codes), "codes_digest": self.codes_digest}
        return tensors, numbers | given

    def restore(self, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
        """Take up what `state` gave, of a training with the same recipe. Raises UserError when the networks or the
        codes are others than they were then."""
        current, current_numbers = self.state()
        same = current.keys() - {k for k in current if k.startswith("best.")} <= tensors.keys()
        for name in ("text", "held", "pictures"):
            now, saved = current[name], tensors.get(name)
            same = same and saved.shape == now.shape and torch.allclose(saved.to(now), now, atol=0.01)
        # Older checkpoints tell the number of the codes alone.
        same = same and all(numbers.get(k, current_numbers[k]) == current_numbers[k] for k in ("codes", "codes_digest"))
        if not same:
            raise UserError("This training was begun with other models or other faces; please begin it anew.")
        self.network.load_state_dict(part(tensors, "mapper."))
        for name, values in (("mean", self.adam.mean), ("square", self.adam.square)):
            for i, value in enumerate(values):
                value.copy_(tensors[f"{name}.{i}"])
        self.adam.steps = self.step = numbers["step"]
        self.rng.set_state(tensors["rng"].cpu())
        best = {k.removeprefix("best."): v.to(self.models.device) for k, v in tensors.items() if k.startswith("best.")}
        self.best, self.lowest, self.waited = best or None, numbers["lowest"], numbers["waited"]

    def _begin_at_direction(self, texts: Texts) -> None:
        """Section 6 as the first guess of section 5: from nothing, gradients take hundreds of steps to where the
        direction is."""
        recipe, directions = self.recipe, self.models.directions
        if not isinstance(self.network, NarrowMapper) or directions is None:
            raise UserError("Only a narrow mapper of a model with measured directions can start at one; leave it out.")
        text_direction = texts.direction(recipe.prompt, recipe.neutral or recipe.noun).cpu()
        step, _ = directions.step(text_direction, directions.beta_keeping(text_direction, self.models.channels))
        self.network.begin_at(recipe.start / STRENGTH * torch.cat(step, 1)[0].to(self.models.device))

    def _sampled(self, count: int, rng: torch.Generator) -> Tensor:
        """Codes (count, L, D) as the recipe samples them."""
        models, recipe = self.models, self.recipe
        return sample_codes(models.generator, count, recipe.jitter, rng, models.latent_avg, recipe.truncation)

    @property
    def _sees_identity(self) -> bool:
        return bool(self.recipe.identity) and self.models.identity is not None

    def _unedited(self, images: Tensor | None) -> Unedited:
        """Of pictures (N, 3, R, R), which only a neutral text and the identity loss need."""
        models, goal = self.models, self.text
        if self.neutral is not None:
            goal = directional_target(clip_features(models.clip, images, models.normalize), self.text - self.neutral)
        return Unedited(goal, identity_features(models.identity, images) if self._sees_identity else None)

    def _losses(self, w: Tensor, unedited: Unedited) -> tuple[dict[str, Tensor], Tensor]:
        """The losses of codes (N, L, D), equations 4 and 5, and the edited pictures."""
        models = self.models
        image, l2 = self._edited(self.network, w)
        features = clip_features(models.clip, image, models.normalize)
        losses = {"clip": 1 - (features * unedited.goal).sum(1).mean(), "l2": l2}
        if unedited.identity is not None:
            people = identity_features(models.identity, image)
            losses["identity"] = identity_distance(people, unedited.identity).mean()
        recipe = self.recipe
        weights = {"clip": recipe.clip, "l2": recipe.l2, "identity": recipe.identity}  # λ_CLIP, λ_L2, λ_ID
        losses["total"] = sum(weights[name] * value for name, value in losses.items())
        return losses, image

    def _edited(self, network: LatentMapper, w: Tensor) -> tuple[Tensor, Tensor]:
        """The pictures (N, 3, R, R) that a mapper makes of codes (N, L, D), and the mean square of its steps."""
        generator = self.models.generator
        if network.in_style_space:
            styles = generator.styles(w)
            steps = [STRENGTH * step for step in network(styles)]
            l2 = sum(step.square().mean() for step in steps)  # as in the reference
            styles = [style + step for style, step in zip(styles, steps, strict=True)]
        else:
            step = STRENGTH * network(w)
            l2 = step.square().mean()
            styles = generator.styles(w + step)
        return generator.synthesize(styles, self.resolution), l2

    @torch.no_grad()
    def reached(self) -> tuple[int, int]:
        """In how many pictures of held-out faces CLIP sees clearly more of the text with the mapper so far than without
        it, counted from the neutral text, or else from the noun; and how many held-out faces there are."""
        device, models = self.models.device, self.models
        after, _ = self._edited(self.mapper.to(device), self.held_out.to(device))
        before, after = (clip_features(models.clip, images, models.normalize) for images in (self.before, after))
        gains = (after - before) @ self.text_direction.flatten()
        return int((gains > CLEAR).sum()), len(gains)

    def _averaged(
        self, losses: dict[str, Tensor], gradients: tuple[Tensor, ...], share: float
    ) -> tuple[dict[str, float], tuple[Tensor, ...]]:
        """Means over all processes, of which this one did `share` of the batch."""
        if self.world > 1:
            parts = [*gradients, *losses.values()]
            joined = torch.cat([v.detach().flatten() for v in parts]) * share
            torch.distributed.all_reduce(joined)
            parts = [v.view_as(p) for v, p in zip(joined.split([p.numel() for p in parts]), parts, strict=True)]
            gradients, losses = tuple(parts[: len(gradients)]), dict(zip(losses, parts[len(gradients) :], strict=True))
        return {name: value.item() for name, value in losses.items()}, gradients

    @torch.no_grad()
    def _validate(self) -> tuple[dict[str, float], Tensor]:
        losses, after = self._losses(self.held_out.to(self.models.device), self.unedited)
        losses, _ = self._averaged(losses, (), 1 / self.world)  # so that all processes stop at the same step
        if not self.lowest or losses["total"] < self.lowest["total"]:
            self.best = {name: value.clone() for name, value in self.network.state_dict().items()}
            self.lowest, self.waited = losses, 0
        else:
            self.waited += 1
        return losses, torch.stack([self.before[:SHOWN], after[:SHOWN]]).cpu()


def train(
    models: FrozenModels, texts: Texts, recipe: MapperRecipe, codes: Tensor | None = None
) -> Iterator[TrainingState]:
    """Train a mapper for the recipe's prompt, see `MapperTraining`.

    Yields the state after each update, and does the next one only when asked to; closing the iterator ends the work.
    The last state's `mapper` is the result. The same arguments give the same mapper.
    """
    training = MapperTraining(models, texts, recipe, codes)
    while not training.finished:
        yield training.advance()
