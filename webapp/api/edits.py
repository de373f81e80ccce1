"""The endpoints that change a face, or draw one from words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Literal

import gradio as gr

from pipeline.errors import UserError
from pipeline.wishes import Reading
from webapp.api.values import (
    PREVIEW,
    Endpoints,
    Fields,
    Result,
    finished,
    number,
    parameters,
    png,
    safetensors,
    streamed,
)


class Edits(Endpoints):
    """Their docstrings and type hints are what programs and MCP clients read of them."""

    def change(
        self,
        text: str,
        photo: gr.FileData = None,
        latent: gr.FileData = None,
        share: float | None = None,
        regions: list[str] | None = None,
    ) -> Result:
        """Change a face as somebody would say it, for example "make him smile and remove the glasses", one edit after
        the other: a colour of hair or eyes by an exchange, other words by a mapper that knows them, else by a global
        direction. Gives the picture (PNG), the latent (safetensors), `recipes`, one for each edit, `wishes`, how the
        words were read, and `notes`.

        Args:
            text: What should change.
            photo: A photo of the face; or give a latent.
            latent: The latent to edit; or give a photo.
            share: How strongly, 0 to 2; 1, as the words say, if left out.
            regions: Where the picture may change: hair, face, skin, mouth, eyes, background, clothes; or a mask as
                recipes have it, a grey PNG of 64 by 64 pixels, white where it may, as data:image/png;base64,...; [] for
                all of it; what the words are about if left out.
        """
        if regions is not None and not (isinstance(regions, list) and all(isinstance(r, str) for r in regions)):
            raise UserError("`regions` is a list of names, such as hair and face.")
        share = 1.0 if share is None else number("share", share, 0, 2)
        if not isinstance(text, str):
            raise UserError("`text` is what should change, in words.")
        reading = self.studio.wishes(text)
        if not reading.wishes:
            raise UserError(unread(reading))
        latent, recipes, notes = self._source(photo, latent), [], list(reading.notes)
        for wish in reading.wishes:
            edit = self.studio.change(latent, wish, share, regions)
            latent = edit.latent
            recipes.append(edit.recipe)
            notes += [note for note in edit.notes if note not in notes]
        wishes = [asdict(wish) for wish in reading.wishes]
        return png(edit.image), safetensors(latent), {"recipes": recipes, "wishes": wishes, "notes": notes}

    def optimize(
        self,
        prompt: str,
        photo: gr.FileData = None,
        latent: gr.FileData = None,
        steps: int | None = None,
        l2: float | None = None,
        identity: float | None = None,
        lr: float | None = None,
        space: Literal["w", "w+", "s"] | None = None,
        noise: float | None = None,
        neutral: str | None = None,
    ) -> Iterator[Result]:
        """Change a face until it fits the words (latent optimization). Streams previews (JPEG) with step and losses;
        the last answer is the picture (PNG), the latent (safetensors), and the recipe.

        Args:
            prompt: What the picture should show, for example "a person with purple hair".
            photo: A photo of the face; or give a latent.
            latent: The latent to start from; or give a photo.
            steps: How many, 1 to 500; the model's default if left out.
            l2: λ L2, how strongly the face stays where it is, 0 to 1; the model's default if left out.
            identity: λ ID, how strongly it stays the same person, 0 to 1; the model's default if left out.
            lr: The learning rate, 0 to 1; the model's default if left out.
            space: In which space the latent moves; the model's default if left out.
            noise: How far around the latent the words are asked for, in deviations of W, 0 to 3.
            neutral: What the face is now, for example "a person": the difference of the texts is asked for. "" asks for
                the prompt alone, as the paper does; the model's default if left out.
        """
        given = parameters(
            "optimize",
            prompt=prompt,
            steps=steps,
            l2=l2,
            identity=identity,
            lr=lr,
            space=space,
            noise=noise,
            neutral=neutral,
        )
        yield from streamed(self.studio.optimize(self._source(photo, latent), **given, preview=PREVIEW))

    def generate(self, prompt: str, steps: int | None = None, lr: float | None = None) -> Iterator[Result]:
        """Draw a face from the words alone, beginning with the average face. Streams as optimize does.

        Args:
            prompt: What the picture should show.
            steps: How many, 1 to 500; the model's default if left out.
            lr: The learning rate, 0 to 1; the model's default if left out.
        """
        given = parameters("generate", prompt=prompt, steps=steps, lr=lr)
        yield from streamed(self.studio.generate(**given, preview=PREVIEW))

    def map(
        self, mapper: str, photo: gr.FileData = None, latent: gr.FileData = None, strength: float | None = None
    ) -> Result:
        """Apply an edit that was learned beforehand (latent mapper). Gives the picture (PNG), the latent
        (safetensors), and the recipe.

        Args:
            mapper: A name from mappers.
            photo: A photo of the face; or give a latent.
            latent: The latent to edit; or give a photo.
            strength: How strongly, -20 to 20, 0.1 as it was trained by the paper; the model's default if left out.
        """
        self._known("mapper", mapper)
        given = parameters("map", mapper=mapper, strength=strength)
        return finished(self.studio.map(self._source(photo, latent), **given))

    def style(
        self, style: str, photo: gr.FileData = None, latent: gr.FileData = None, strength: float | None = None
    ) -> Result:
        """Show a face in a style of the generator, such as a pencil sketch (StyleGAN-NADA); it stays with later edits
        of the latent. Gives the picture (PNG), the latent (safetensors), and the recipe.

        Args:
            style: A name from styles.
            photo: A photo of the face; or give a latent.
            latent: The latent to edit; or give a photo.
            strength: How strongly, -20 to 20: 0 for none, 1, if left out, as it was learned.
        """
        self._known("style", style)
        given = parameters("style", style=style, strength=strength)
        return finished(self.studio.style(self._source(photo, latent), **given))

    def paint(
        self,
        target: str,
        neutral: str,
        photo: gr.FileData = None,
        latent: gr.FileData = None,
        steps: int | None = None,
    ) -> Iterator[Result]:
        """Paint the picture of a face as words say (CLIPstyler): strokes and colours change, and the face stays where
        it is. Later edits of the latent are painted too, and paste paints the whole photo. Streams as optimize does.

        Args:
            target: The style, for example "oil painting".
            neutral: What the picture is now, for example "photo".
            photo: A photo of the face; or give a latent.
            latent: The latent to paint; or give a photo.
            steps: How many, 1 to 500; the usual number if left out.
        """
        given = parameters("paint", target=target, neutral=neutral, steps=steps)
        yield from streamed(self.studio.paint(self._source(photo, latent), **given, preview=PREVIEW))

    def _known(self, kind: str, name: Any) -> None:
        if not isinstance(name, str) or name not in self.studio.family.named[kind].table:
            raise UserError(f"There is no {kind} of this name; /{kind}s lists those of this model.")

    def combine(
        self,
        sliders: list[list[str | float]],
        photo: gr.FileData = None,
        latent: gr.FileData = None,
        channels: int | None = None,
    ) -> Result:
        """Move a face along several global directions at once, whose order makes no difference. Gives the picture
        (PNG), the latent (safetensors), and the recipe.

        Args:
            sliders: For each direction its target text, its neutral text and its strength α, -20 to 20, for example
                [["smiling face", "face", 2], ["face with glasses", "face", 2]].
            photo: A photo of the face; or give a latent.
            latent: The latent to edit; or give a photo.
            channels: How many channels each direction moves, 1 to 20000; the model's default if left out.
        """
        given = parameters("combine", sliders=sliders, channels=channels)
        return finished(self.studio.combine(self._source(photo, latent), **given))

    def bridge(
        self,
        target: str,
        neutral: str | None = None,
        photo: gr.FileData = None,
        latent: gr.FileData = None,
        strength: float | None = None,
        levels: list[Literal["coarse", "medium", "fine"]] | None = None,
    ) -> Result:
        """Move a face by what lies between two texts, in one pass (latent alignment). Gives the picture (PNG), the
        latent (safetensors), and the recipe.

        Args:
            target: What the face should be, for example "face with blonde hair".
            neutral: What it is, for example "face"; the model's default if left out.
            photo: A photo of the face; or give a latent.
            latent: The latent to edit; or give a photo.
            strength: How far, -20 to 20; the model's default if left out.
            levels: What may change: coarse for the shape, medium for features, fine for lines and colours; all if left
                out.
        """
        neutral = self._neutral(neutral)
        given = parameters("csla_edit", target=target, neutral=neutral, strength=strength, levels=levels)
        return finished(self.studio.csla_edit(self._source(photo, latent), **given))

    def imagine(self, prompt: str, strength: float | None = None) -> Result:
        """Draw a face from the words alone, in one pass (latent alignment). Gives the picture (PNG), the latent
        (safetensors), and the recipe.

        Args:
            prompt: What the picture should show.
            strength: How strongly, -20 to 20; the model's default if left out.
        """
        return finished(self.studio.csla_generate(**parameters("csla_generate", prompt=prompt, strength=strength)))

    def mappers(self) -> Fields:
        """The edits that map can apply to this model: name and title of each."""
        return self.studio.mappers()

    def styles(self) -> Fields:
        """The styles that style can show faces of this model in: name and title of each."""
        return self.studio.styles()

    def direct(
        self,
        target: str,
        neutral: str | None = None,
        photo: gr.FileData = None,
        latent: gr.FileData = None,
        strength: float | None = None,
        threshold: float | None = None,
        channels: int | None = None,
        keep: list[str] | None = None,
    ) -> Result:
        """Move a face from a neutral to a target text (global direction). Gives the picture (PNG), the latent
        (safetensors), the recipe, and `channels`, how many were kept.

        Args:
            target: What the face should be, for example "face with blonde hair".
            neutral: What it is, for example "face"; the model's default if left out.
            photo: A photo of the face; or give a latent.
            latent: The latent to edit; or give a photo.
            strength: α, how far, -20 to 20; what suits the words, or the model's default, if left out.
            threshold: β, how relevant a channel must be to move, 0 to 1; or give channels.
            channels: How many channels move, 1 to 20000; the model's default if left out, or give threshold.
            keep: Attributes that should stay, for example ["glasses", "smiling"]; none if left out.
        """
        given = {"target": target, "neutral": self._neutral(neutral), "strength": strength}
        given = parameters("direct", **given, threshold=threshold, channels=channels, keep=keep)
        return finished(self.studio.direct(self._source(photo, latent), **given))

    def _neutral(self, neutral: str | None) -> str:
        return self.studio.family.defaults.neutral if neutral is None else neutral


def unread(reading: Reading) -> str:
    """Why words led to no edit, and what to say instead."""
    told = " ".join(reading.notes)
    offers = " or ".join(f"“{offer}”" for offer in reading.offers if f"“{offer}”" not in told)
    return f"{told} Please say {offers}." if offers else told
