"""What a visitor can have the model learn: a mapper (paper, section 5), or a style (StyleGAN-NADA)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from pipeline import Latent
from pipeline.images import to_pil
from pipeline.methods.mapper import apply_mapper
from pipeline.methods.nada import adapt, reached, usual_steps
from pipeline.models.styles import retitle_style, save_style
from pipeline.training.frozen import FrozenModels
from pipeline.training.mapper import retitle, save_mapper
from pipeline.training.mapper_recipe import family_recipe
from pipeline.training.mapper_training import train
from webapp.model_handle import ModelHandle
from webapp.panels.gallery import MAPPER, STYLE, Kind

TILE = 128  # pixels of a picture in the preview


class Learner(ABC):
    """A training in a visitor's words; its states have `step`, `steps` and, where there is one to show, a `preview`."""

    kind: Kind
    label: str
    pictured: str
    """What the preview shows, in words."""

    def __init__(self, studio: ModelHandle) -> None:
        self.studio = studio

    @abstractmethod
    def notes(self, words: str, neutral: str) -> tuple[str, ...]:
        """Sentences for the visitor on the words. Raises UserError for words that nothing can be learned from."""

    @abstractmethod
    def states(self, words: str, neutral: str, face: Latent) -> Iterator[Any]:
        """The states of a training."""

    @abstractmethod
    def step(self, state: Any) -> tuple[int, int]:
        """Which step a state is of, and of how many."""

    @abstractmethod
    def preview(self, state: Any, face: Latent) -> Image.Image | None:
        """What it makes of a face so far, where that is to be shown."""

    @abstractmethod
    def reached(self, state: Any) -> tuple[int, int]:
        """In how many of how many other faces CLIP sees the words."""

    @abstractmethod
    def save(self, state: Any, file: Path, title: str) -> None:
        """Write what was learned."""

    @abstractmethod
    def retitle(self, upload: Path, copy: Path, title: str) -> None:
        """Copy a file that somebody brings, which is known to fit, under another title."""


class MapperLearner(Learner):
    """A mapper, which is trained on random faces."""

    kind, label = MAPPER, "Train a mapper for this text"
    pictured = "Above, faces as they were; below, what the mapper in training makes of them"

    def notes(self, words: str, neutral: str) -> tuple[str, ...]:
        return self.studio.texts.goal_notes(words, "")

    def states(self, words: str, neutral: str, face: Latent) -> Iterator[Any]:
        family = self.studio.family
        return train(FrozenModels.of(family), self.studio.texts, family_recipe(family.row, words))

    def step(self, state: Any) -> tuple[int, int]:
        return state.step, state.steps

    @torch.no_grad()
    def preview(self, state: Any, face: Latent) -> Image.Image | None:
        """The visitor's face and some of those held out, before and after the mapper so far."""
        if state.pictures is None:
            return None
        columns = [tuple(to_pil(image[None]) for image in pair) for pair in state.pictures.unbind(1)]
        generator, strength = self.studio.family.generator, self.studio.family.defaults.mapper_strength
        size, edited = state.pictures.shape[-1], apply_mapper(state.mapper, generator, face, strength)
        columns[0] = to_pil(face.draw(generator, size)), to_pil(edited.draw(generator, size))
        return sheet(columns)

    def reached(self, state: Any) -> tuple[int, int]:
        return state.training.reached()

    def save(self, state: Any, file: Path, title: str) -> None:
        losses = state.training.lowest or state.losses
        save_mapper(state.mapper, file, state.training.recipe, losses, title=title, dtype=self.studio.family.dtype)

    def retitle(self, upload: Path, copy: Path, title: str) -> None:
        retitle(upload, copy, title)


class StyleLearner(Learner):
    """A style, to which the generator is adapted on random faces."""

    kind, label = STYLE, "Learn a style in these words"
    pictured = "Your face before, and in the style that is being learned"
    shown_every = 10  # steps

    def notes(self, words: str, neutral: str) -> tuple[str, ...]:
        return self.studio.style_notes(words, neutral)

    def states(self, words: str, neutral: str, face: Latent) -> Iterator[Any]:
        self.words, self.neutral = words, neutral
        self.steps = usual_steps(self.studio.family.generator)
        family, texts = self.studio.family, self.studio.texts
        return adapt(family, texts, face, target=words, neutral=neutral, steps=self.steps, layers=0)

    def step(self, state: Any) -> tuple[int, int]:
        return state.index, self.steps

    @torch.no_grad()
    def preview(self, state: Any, face: Latent) -> Image.Image | None:
        if state.index % self.shown_every and state.index != self.steps:
            return None
        generator, styled = self.studio.family.generator, face.in_style_of(state.latent)
        size = styled.working_size(generator)
        return sheet([(to_pil(face.draw(generator, size)),), (to_pil(styled.draw(generator, size)),)])

    def reached(self, state: Any) -> tuple[int, int]:
        style = state.latent.adaptation
        return reached(self.studio.family, self.studio.texts, style, self.words, self.neutral)

    def save(self, state: Any, file: Path, title: str) -> None:
        recipe = {
            "title": title,
            "target": self.words,
            "neutral": self.neutral,
            "steps": self.steps,
            "taken": state.index,
        }
        save_style(state.latent.adaptation, file, recipe)

    def retitle(self, upload: Path, copy: Path, title: str) -> None:
        retitle_style(upload, copy, title)


def sheet(columns: list[tuple[Image.Image, ...]]) -> Image.Image:
    """Pictures side by side, each column from above."""
    whole = Image.new("RGB", (TILE * len(columns), TILE * len(columns[0])))
    for x, column in enumerate(columns):
        for y, picture in enumerate(column):
            whole.paste(picture.resize((TILE, TILE), Image.Resampling.LANCZOS), (TILE * x, TILE * y))
    return whole
