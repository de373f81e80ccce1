"""What `StyleCLIP` does with the parts of a picture: it finds them, and holds edits to them."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from PIL import Image
from torch import Tensor

from pipeline.checks import latent_of, of_type
from pipeline.edits import Edit
from pipeline.errors import UserError
from pipeline.latents import Latent
from pipeline.methods.regions import MASK_SIZE, checked_regions, held_within, region_mask
from pipeline.models.family import Family

Place = str | Image.Image | Tensor
"""Where an edit may change a picture: a name of `methods.regions.REGIONS`, or a mask, white where it may."""

OTHER_FACE = "This edit was made from another face; please take the face that it was made from."


class RegionEdits:
    """The methods of `StyleCLIP` that are about regions; `REGIONS` of `methods.regions` has their names."""

    family: Family

    def region(self, latent: Latent, *regions: Place) -> Tensor:
        """Where regions are in the picture of a latent: a mask (1, 1, 64, 64) from 0 to 1.

        Raises UserError for an unknown region, and where the model can't find parts.
        """
        latent_of("latent", latent, self.family.generator)
        return region_mask(self.family, (latent,), checked_regions(regions, self.family.rows(MASK_SIZE)))

    def within(self, latent: Latent, edit: Edit, regions: Sequence[Place]) -> Edit:
        """A finished edit of `latent`, held to regions: names ("hair", "face", ...), or masks, white where it may
        change the picture (PIL, or tensors (1, 1, R, R) from 0 to 1). Without any it is the edit as it is.

        A named region is where it was before the edit, or is after it, so that hair can grow. Features are blended, so
        there is no seam; see `methods.regions`. `adjust` changes the strength of what was held. Raises UserError for an
        edit of another face, an unknown region, an empty mask, and an edit that is held already.
        """
        latent_of("latent", latent, self.family.generator)
        of_type("edit", edit, Edit, "an edit, as the methods make them")
        if not (regions := checked_regions(regions, self.family.rows(MASK_SIZE))):
            return edit
        if edit.recipe["source"] != latent.digest():
            raise UserError(OTHER_FACE)
        held = held_within(self.family, latent, edit.latent, regions)
        weights = {kind: self.family.digests[kind] for kind in ("generator", "parts") if kind in self.family.digests}
        recipe = edit.recipe | {"within": {"regions": regions}, "weights": edit.recipe["weights"] | weights}
        if "share" in recipe:  # which `adjust` counts anew
            recipe["within"]["share"] = recipe.pop("share")
        return replace(edit, draw=partial(self.image, held), latent=held, recipe=recipe)
