"""What `StyleCLIP` does with styles: it shows a face in one, learns one from two texts, and paints one picture."""

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from pipeline.checks import number, of_type, text
from pipeline.edits import Edit, Step, steps_of
from pipeline.errors import UserError
from pipeline.latents import Latent
from pipeline.methods.clipstyler import paint_face
from pipeline.methods.nada import adapt_and_draw, usual_steps
from pipeline.models.family import Family
from pipeline.parameters import completed
from pipeline.recipes import new_recipe
from pipeline.text import Texts, check_prompt
from pipeline.vocabulary import enumerated, never_taught, telling_words, unknown_words

NO_STYLES = "The CLIP of this model was not taught styles, so these words may lead to something else."


class StyleMethods:
    """The methods of `StyleCLIP` that change how all of a picture looks."""

    family: Family
    texts: Texts

    def styles(self) -> dict[str, str]:
        """The styles of this family: name -> title."""
        return {name: title for name, (title, _) in self.family.row.styles.items()}

    def style(self, latent: Latent, style: str | Path, strength: float | None = None) -> Edit:
        """A face in a style, such as a pencil sketch: `strength` 0 is the generator as it is, 1 the style as it was
        learned; a style that was there before is replaced. `style` is the name of one of the family's, or the path of a
        file of one's own (pipeline.training.style). The difference of weights is kept in the latent's `adaptation` and
        goes along with all edits. Raises UserError for an unknown style, and for a file that holds none for this model.
        """
        self._check(latent)
        of_type("style", style, (str, Path), "the name of a style, or the path of its file (pathlib.Path)")
        name, adaptation, file = self.family.styles.find(style)
        parameters = completed("style", self.family.defaults, {"style": name, "strength": strength})
        styled = replace(latent, adaptation=adaptation.scaled(parameters["strength"]))
        recipe = new_recipe(self.family, "style", latent, parameters | file)
        return Edit(partial(self.image, styled), styled, recipe)

    def adapt(
        self,
        latent: Latent,
        target: str,
        neutral: str,
        steps: int | None = None,
        layers: int = 0,
        preview: int | None = None,
    ) -> Iterator[Step]:
        """Learn a style from two texts, such as "pencil sketch" and "photo", and show a face in it (StyleGAN-NADA).

        The generator is adapted on sampled faces, without a picture of the style: so many of its `layers`, as suits a
        style that is texture alone, or all of them with 0; in 120 steps, or in 300 where most are of small pictures.
        Otherwise as `optimize`. `models.styles.save_style` keeps
        the `adaptation` of the latent for `style`; `repeat` can't follow this recipe. Raises UserError for texts that
        are the same.
        """
        self._check(latent)
        given = {"target": text("target", target), "neutral": text("neutral", neutral)}
        given |= {"layers": number("layers", layers)}
        given |= {"steps": number("steps", steps, None) or usual_steps(self.family.generator, layers)}
        notes, preview = self.style_notes(target, neutral), number("preview", preview, None)
        begin = partial(adapt_and_draw, self.family, self.texts, latent, **given)
        recipe = new_recipe(self.family, "adapt", latent, given)
        return steps_of(begin, recipe, self.picture, self.image, self.family.generator.size, preview, notes)

    def paint(
        self, latent: Latent, target: str, neutral: str, steps: int | None = None, preview: int | None = None
    ) -> Iterator[Step]:
        """Paint the picture of a face as a text says, such as "oil painting", from "photo" (CLIPstyler): strokes and
        colours change, and the face stays where it is. The small network that does it is kept in the latent's `paint`;
        later edits of the face are painted too, and `paste` paints all of a photo with it. As many `steps` as suit the
        family, if left out. Otherwise as `optimize`. Raises UserError for texts that are the same.
        """
        self._check(latent)
        parameters = completed("paint", self.family.defaults, {"target": target, "neutral": neutral, "steps": steps})
        notes, preview = self.style_notes(target, neutral), number("preview", preview, None)
        begin = partial(paint_face, self.family, self.texts, latent, **parameters)
        recipe = new_recipe(self.family, "paint", latent, parameters)
        return steps_of(begin, recipe, self.picture, self.image, 0, preview, notes)

    def _style_note(self, words: str) -> str:
        """What to do with words that name a style, one that is there or one that CLIP was taught; "" for others."""
        vocabulary, styles = self.texts.vocabulary, self.family.row.style_words.split()
        if unknown_words(vocabulary.union(styles), words):
            return ""
        said = " ".join(re.findall(r"[^\W_]+", words.lower()))
        for title in self.styles().values():
            if f" {title.lower()} " in f" {said} ":
                return f"“{title}” is a style: choose it in the tab Styles, or paint the picture so there."
        known = " ".join(word for word in said.split() if word in styles)
        return f"“{known}” is a style: paint the picture so, or learn it, in the tab Styles." if known else ""

    def style_notes(self, target: str, neutral: str) -> tuple[str, ...]:
        """Sentences for the visitor on the two texts of `adapt`, or of `paint`. Raises UserError where one is empty, or
        they are the same, and where CLIP knows none of the target's words."""
        check_prompt(neutral)
        row = self.family.row
        vocabulary, words = self.texts.vocabulary, row.style_words.split()
        notes = self.texts.goal_notes(target, neutral, words)
        if row.known_styles and vocabulary and (unknown := unknown_words(vocabulary.union(words), target)):
            known = f"The styles that it knows: {enumerated(row.known_styles)}."
            if unknown == telling_words(target):
                raise UserError(f"{never_taught(unknown, '; please use others')} {known}")
            notes += (known,)
        return notes if row.styles_in_words else (*notes, NO_STYLES)
