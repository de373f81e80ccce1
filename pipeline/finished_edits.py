"""What `StyleCLIP` does with edits that are made: more or less of one, its place in the picture, the same once more."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

from PIL import Image
from torch import Tensor

from pipeline.checks import latent_of, number, of_type
from pipeline.edits import Edit
from pipeline.errors import UserError
from pipeline.latents import Latent
from pipeline.methods.regions import MASK_SIZE, checked_regions, held_within, region_mask
from pipeline.models.family import Family
from pipeline.recipes import Recipe

Place = str | Image.Image | Tensor
"""Where an edit may change a picture: a name of `methods.regions.REGIONS`, or a mask, white where it may."""

OTHER_FACE = "This edit was made from another face; please take the face that it was made from."


class FinishedEdits:
    """The methods of `StyleCLIP` that take an edit or its recipe; `REGIONS` of `methods.regions` names the regions."""

    family: Family

    def adjust(self, latent: Latent, edit: Edit, share: float) -> Edit:
        """A finished edit of `latent` at another strength: 0 is the source, 1 the edit as it is, more goes beyond.
        Shares multiply: adjust what was adjusted before and it is that share of it. Raises UserError for an edit of
        another face, and for shares that are beyond `checks.LIMITS` together."""
        self._check(latent, edit)
        if (share := number("share", share)) == 1:
            return edit
        recipe = edit.recipe | {"share": number("share", share * edit.recipe.get("share", 1.0))}
        moved = latent.towards(edit.latent, share)
        return replace(edit, draw=partial(self.image, moved), latent=moved, recipe=recipe)

    def within(self, latent: Latent, edit: Edit, regions: Sequence[Place]) -> Edit:
        """A finished edit of `latent`, held to regions: names ("hair", "face", ...), or masks, white where it may
        change the picture (PIL, or tensors (1, 1, R, R) from 0 to 1). Without any it is the edit as it is.

        A named region is where it was before the edit, or is after it, so that hair can grow. Features are blended, so
        there is no seam; see `methods.regions`. `adjust` changes the strength of what was held. Raises UserError for an
        edit of another face, an unknown region, an empty mask, and an edit that is held already.
        """
        self._check(latent, edit)
        if not (regions := checked_regions(regions, self.family.rows(MASK_SIZE))):
            return edit
        held = held_within(self.family, latent, edit.latent, regions)
        weights = {kind: self.family.digests[kind] for kind in ("generator", "parts") if kind in self.family.digests}
        recipe = edit.recipe | {"within": {"regions": regions}, "weights": edit.recipe["weights"] | weights}
        if "share" in recipe:  # which `adjust` counts anew
            recipe["within"]["share"] = recipe.pop("share")
        return replace(edit, draw=partial(self.image, held), latent=held, recipe=recipe)

    def region(self, latent: Latent, *regions: Place) -> Tensor:
        """Where regions are in the picture of a latent: a mask (1, 1, 64, 64) from 0 to 1.

        Raises UserError for an unknown region, and where the model can't find parts.
        """
        self._check(latent)
        return region_mask(self.family, (latent,), checked_regions(regions, self.family.rows(MASK_SIZE)))

    def repeat(self, recipe: dict[str, Any], latent: Latent | None = None, anywhere: bool = False) -> Edit:
        """The edit that a recipe describes, to the bit on the same machine, from the latent that it was made from.

        With `anywhere` its words and numbers are applied to another face, and the edit's recipe names that one. Recipes
        of `generate` and `csla_generate` need no latent. A note of the edit says where the weights, or what the model
        computes in, are others. Raises UserError when recipe, model and latent do not belong together.
        """
        asked = Recipe.read(recipe)
        latent = self.family.mean if asked.from_mean else latent
        asked.check(self.family, latent, anywhere)
        made = getattr(self, asked.method)(*(() if asked.from_mean else (latent,)), **asked.parameters)
        edit = made if isinstance(made, Edit) else next(islice(made, asked.taken - 1, None)).edit
        return self.adjust(latent, asked.held(self, latent, edit), asked.share)

    def _check(self, latent: Latent, *edits: Edit) -> None:
        """Raises UserError for a latent of another model, and for edits of another face."""
        latent_of("latent", latent, self.family.generator)
        for edit in edits:
            of_type("edit", edit, Edit, "an edit, as the methods make them")
            if edit.recipe["source"] != latent.digest():
                raise UserError(OTHER_FACE)
