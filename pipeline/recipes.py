"""Recipes: what an edit was made with, written as JSON and read again; with the source latent they repeat the edit."""

import json
from dataclasses import replace
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from pipeline.checks import latent_of
from pipeline.edits import Edit
from pipeline.errors import UserError
from pipeline.latents import Latent
from pipeline.models.family import Family
from pipeline.parameters import METHODS, OLDER, RENAMED

FROM_WORDS = ("generate", "csla_generate")  # methods that begin with the mean face
# Parameters a recipe may lack: one of two, and what is kept where nothing is; and those that older recipes don't have;
# the family's default is used.
OPTIONAL = {"channels", "threshold", "keep"}
NEWER = {"generate": {"space", "noise"}, "csla_generate": {"neutral"}}
# Which files' weights an edit depends on; a mapper's or a style's own comes to these.
WEIGHTS = {
    "optimize": ("generator", "preview", "clip", "identity"),
    "generate": ("generator", "preview", "clip"),
    "refine": ("generator", "preview", "clip", "identity"),
    "tune": ("generator", "clip", "identity"),
    "map": ("generator",),
    "direct": ("generator", "clip", "directions"),
    "combine": ("generator", "clip", "directions"),
    "exchange": ("generator", "preview", "clip", "looks"),
    "style": ("generator",),
    "adapt": ("generator", "preview", "clip"),
    "paint": ("generator", "clip", "identity", "painter"),
    "csla_edit": ("generator", "clip", "alignment"),
    "csla_generate": ("generator", "clip", "alignment"),
}
# Methods that apply a file which is chosen by its name, and the parameter that names it.
BY_NAME = {"map": "mapper", "style": "style"}
# Methods that show CLIP pictures, and the setting of the family that says how. Estimated directions do so too; what was
# measured or trained is told by the digest of its file.
SHOWN = dict.fromkeys(("optimize", "generate", "refine", "tune", "adapt", "paint"), "clip_normalize")
SHOWN["exchange"] = "clip_normalize_directions"
MOST_EDITS, MOST_BYTES = 20, 200_000  # of a saved recipe
NO_RECIPE = "This is no recipe of this studio; please use one that was saved with an edit."


class Within(BaseModel, strict=True, frozen=True, allow_inf_nan=False):
    """The regions that an edit is held to, see `StyleCLIP.within`, and its share (`StyleCLIP.adjust`) before that."""

    regions: list[str]
    share: float = 1.0


class Recipe(BaseModel, strict=True, frozen=True, allow_inf_nan=False):
    """A recipe that was read again: `taken` is the step it is of, `within` says where the edit was held to, and `share`
    how much of that was kept, see `StyleCLIP.adjust`.

    `weights` tell the files that it was made with, kind -> start of the SHA-256; None in older recipes.
    `clip_normalize` is how CLIP was shown the pictures, as the family's row has it; None in older recipes too, and
    where the edit doesn't depend on it. `dtype` is what the model computed in, "float32" or "bfloat16"; None in older
    recipes.
    """

    method: str
    model: str
    source: Any
    parameters: dict[str, Any]
    taken: Annotated[int, Field(ge=1)] = 1
    share: float = 1.0
    within: Within = Within(regions=[])
    weights: dict[str, str] | None = None
    clip_normalize: bool | None = None
    dtype: str | None = None

    def held(self, studio: Any, latent: Latent, edit: Edit) -> Edit:
        """The edit of `latent` that the method of this recipe has made, held to the recipe's regions, with notes where
        weights or settings are not those of the recipe; before `share` counts. `studio` is a `StyleCLIP`, or what has
        its `adjust` and `within`."""
        edit = studio.adjust(latent, edit, self.within.share)
        return self._noted(studio.within(latent, edit, self.within.regions))

    def _noted(self, edit: Edit) -> Edit:
        notes, weights, shown = [], edit.recipe["weights"], edit.recipe.get("clip_normalize")
        unused = set() if self.within.regions else {"parts"}  # of what was held to regions before and isn't here
        if self.weights is None:
            notes.append("This recipe doesn't say which weights it was made with")
        else:
            kinds = (self.weights.keys() | weights) - unused
            if others := sorted(kind for kind in kinds if self.weights.get(kind) != weights.get(kind)):
                notes.append(f"This recipe was made with other weights ({', '.join(others)})")
        if None not in (self.clip_normalize, shown) and self.clip_normalize != shown:
            notes.append(
                f"This recipe was made where the model's clip_normalize was {str(self.clip_normalize).lower()}"
            )
        if self.dtype not in (None, edit.recipe["dtype"]):
            notes.append(f"This recipe was made where the model computed in {self.dtype[:20]}")
        return replace(edit, notes=(*edit.notes, *(f"{note}, so the edit may come out different." for note in notes)))

    @property
    def from_mean(self) -> bool:
        """Whether it starts from the mean face, and so needs no latent."""
        return self.method in FROM_WORDS

    @classmethod
    def read(cls, recipe: Any) -> "Recipe":
        """Raises UserError for what is no recipe, and for one that can't be repeated from a latent alone."""
        try:
            known = cls.model_validate(recipe)
        except ValidationError:
            raise UserError(NO_RECIPE) from None
        method, parameters = RENAMED.get(known.method, known.method), known.parameters
        if method == "adapt":
            raise UserError("This style was learned for one edit; please apply its file, or learn it again.")
        if method in ("refine", "tune"):
            raise UserError("Refining and tuning need the photo; please do it again from there.")
        if method not in METHODS:
            raise UserError(f"This recipe asks for “{method}”, which this studio cannot do.")
        if (kind := BY_NAME.get(method)) and "file" in parameters:
            raise UserError(f"This edit was made with a {kind} of one's own, “{parameters.get(kind)}”; apply its file.")
        parameters = OLDER.get(method, {}) | parameters
        left_out = METHODS[method].model_fields.keys() - parameters
        try:
            parameters = METHODS[method](**parameters).model_dump(exclude_unset=True)
        except (ValidationError, TypeError):
            raise UserError(NO_RECIPE) from None
        if not left_out <= OPTIONAL | NEWER.get(method, set()) or known.taken > max(1, parameters.get("steps", 1)):
            raise UserError(NO_RECIPE)
        return known.model_copy(update={"method": method, "parameters": parameters})

    def check(self, family: Family, latent: Latent | None, anywhere: bool) -> None:
        """Raises UserError where model or latent are not those of the recipe; with `anywhere` any face will do."""
        if self.model != family.name:
            raise UserError(f"This recipe was made with the model “{self.model}”; start the studio with that model.")
        if latent is None:
            raise UserError("This recipe is applied to a face; please give the latent that was saved with it as well.")
        latent_of("latent", latent, family.generator)
        if not (self.from_mean or anywhere or latent.digest() == self.source):
            raise UserError("This recipe was made from another face; please load the latent that was saved with it.")


def new_recipe(family: Family, method: str, source: Latent, parameters: dict[str, Any]) -> dict[str, Any]:
    """The recipe of an edit of `source`: JSON, see `StyleCLIP.repeat`."""
    unused = {"identity"} if parameters.get("identity") == 0 else set()
    kinds = [kind for kind in WEIGHTS[method] if kind in family.digests.keys() - unused]
    weights = {kind: family.digests[kind] for kind in kinds}
    if (kind := BY_NAME.get(method)) and "file" not in parameters:
        weights[kind] = family.named[kind].digest(parameters[kind])
    recipe = {"method": method, "model": family.name, "source": source.digest(), "parameters": parameters}
    estimated = weights.get("directions") == "estimated"
    setting = "clip_normalize_directions" if estimated else SHOWN.get(method)
    shown = {"clip_normalize": getattr(family.row, setting)} if setting else {}
    return recipe | {"weights": weights} | shown | {"dtype": family.dtype}


def edits_of(text: str) -> list[dict[str, Any]]:
    """The edits of a recipe that the page has saved, or of one edit. Raises UserError for any other text."""
    try:
        recipe = json.loads(text.removeprefix("\ufeff"))  # the byte-order mark of a Windows editor
        edits = recipe.get("edits", [recipe])
        if edits and all(isinstance(edit, dict) and "method" in edit for edit in edits):
            if len(edits) > MOST_EDITS:
                raise UserError(f"This recipe has {len(edits)} edits; at most {MOST_EDITS} can be repeated.")
            return edits
    except (ValueError, TypeError, AttributeError, RecursionError):
        pass
    raise UserError(NO_RECIPE)
