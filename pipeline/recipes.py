"""Recipes: what an edit was made with, written as JSON and read again; with the source latent they repeat the edit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from pipeline.checks import number, one_of, text
from pipeline.edits import Edit
from pipeline.errors import UserError
from pipeline.latents import Latent
from pipeline.models.family import Family
from pipeline.models.registry import Defaults

SPACES = ("w", "w+", "s")
RENAMED = {"bridge": "csla_edit", "imagine": "csla_generate"}  # methods in older recipes and links
FROM_WORDS = ("generate", "csla_generate")  # methods that begin with the mean face
# What the recipes of a method tell: parameter -> type.
PARAMETERS: dict[str, dict[str, type]] = {
    "optimize": dict.fromkeys(("l2", "identity", "lr", "noise"), float)
    | dict.fromkeys(("prompt", "neutral", "space"), str)
    | {"steps": int},
    "generate": {"prompt": str, "steps": int, "lr": float, "space": str, "noise": float},
    "map": {"mapper": str, "strength": float},
    "direct": {"target": str, "neutral": str, "strength": float, "channels": int, "threshold": float},
    "csla_edit": {"target": str, "neutral": str, "strength": float, "levels": list},
    "csla_generate": {"prompt": str, "neutral": str, "strength": float},
}
# What older recipes leave out: then the family's default counts, or for the optimization the prompt alone.
SINCE = {"optimize": {"neutral"}, "generate": {"space", "noise"}, "csla_generate": {"neutral"}}
# Which files' weights an edit depends on; a mapper's own comes to these.
WEIGHTS = {
    "optimize": ("generator", "preview", "clip", "identity"),
    "generate": ("generator", "preview", "clip"),
    "refine": ("generator", "preview", "clip", "identity"),
    "tune": ("generator", "clip", "identity"),
    "map": ("generator",),
    "direct": ("generator", "clip", "directions"),
    "csla_edit": ("generator", "clip", "alignment"),
    "csla_generate": ("generator", "clip", "alignment"),
}
# Methods that show CLIP pictures, and the setting of the family that says how. Estimated directions do so too; what was
# measured or trained is told by the digest of its file.
SHOWN = dict.fromkeys(("optimize", "generate", "refine", "tune"), "clip_normalize")
ONE_OF = {"channels", "threshold"}  # a direction was made with one or the other
LARGEST = 1e9  # no number of a recipe is larger


@dataclass(frozen=True)
class Recipe:
    """A recipe that was read again: `taken` is the step it is of, `share` the share of the edit that was kept.

    `weights` tell the files that it was made with, kind -> start of the SHA-256; None in older recipes.
    `clip_normalize` is how CLIP was shown the pictures, as the family's row has it; None in older recipes too, and
    where the edit doesn't depend on it.
    """

    method: str
    model: str
    source: str
    parameters: dict[str, Any]
    taken: int
    share: float | None
    weights: dict[str, str] | None
    clip_normalize: bool | None

    def noted(self, edit: Edit) -> Edit:
        """The edit that following it has made, with notes where weights or settings are not those of the recipe."""
        notes, weights, shown = [], edit.recipe["weights"], edit.recipe.get("clip_normalize")
        if self.weights is None:
            notes.append("This recipe doesn't say which weights it was made with")
        elif self.weights != weights:
            kinds = sorted(k for k in self.weights.keys() | weights if self.weights.get(k) != weights.get(k))
            notes.append(f"This recipe was made with other weights ({', '.join(kinds)})")
        if None not in (self.clip_normalize, shown) and self.clip_normalize != shown:
            told = {True: "true", False: "false"}
            notes.append(f"This recipe was made where the model's clip_normalize was {told[self.clip_normalize]}")
        return replace(edit, notes=(*edit.notes, *(f"{note}, so the edit may come out different." for note in notes)))

    @property
    def from_mean(self) -> bool:
        """Whether it starts from the mean face, and so needs no latent."""
        return self.method in FROM_WORDS

    @classmethod
    def read(cls, recipe: Any) -> Recipe:
        """Raises UserError for what is no recipe, and for one that can't be repeated from a latent alone."""
        try:
            method, model, source = (recipe[name] for name in ("method", "model", "source"))
            method = RENAMED.get(method, method)
            parameters, taken, share = recipe["parameters"], recipe.get("taken", 1), recipe.get("share")
            weights, shown = recipe.get("weights"), recipe.get("clip_normalize")
        except (KeyError, TypeError, AttributeError):
            raise _no_recipe() from None
        if not (isinstance(parameters, dict) and isinstance(method, str) and isinstance(model, str)):
            raise _no_recipe()
        if method in ("refine", "tune"):
            raise UserError("Refining and tuning need the photo; please do it again from there.")
        if method not in PARAMETERS:
            raise UserError(f"This recipe asks for “{method}”, which this studio cannot do.")
        if method == "map" and "file" in parameters:
            raise UserError(
                f"This edit was made with a mapper of one's own, “{parameters.get('mapper')}”; apply its file."
            )
        types = PARAMETERS[method]
        if method == "optimize":
            parameters = {"neutral": ""} | parameters
        right = (
            parameters.keys() <= types.keys() <= parameters.keys() | ONE_OF | SINCE.get(method, set())
            and all(_is(value, types[name]) for name, value in parameters.items())
            and parameters.get("space", "w") in SPACES
            and _is(taken, int)
            and 1 <= taken <= max(1, parameters.get("steps", 1))
            and (share is None or _is(share, float))
            and (weights is None or (isinstance(weights, dict) and all(_is(value, str) for value in weights.values())))
            and isinstance(shown, bool | None)
        )
        if not right:
            raise _no_recipe()
        return cls(method, model, source, parameters, taken, share, weights, shown)


def _is(value: Any, kind: type) -> bool:
    if kind is str:
        return isinstance(value, str)
    if kind is list:
        return isinstance(value, list) and all(isinstance(name, str) for name in value)
    return isinstance(value, (int, kind)) and not isinstance(value, bool) and abs(value) <= LARGEST


def _no_recipe() -> UserError:
    return UserError("This is no recipe of this studio; please use one that was saved with an edit.")


def run_parameters(defaults: Defaults, prompt: str, given: dict[str, Any]) -> dict[str, Any]:
    """The parameters of an optimization: the prompt, and the space and numbers `given`, in their order.

    What is None takes the family's default. Raises TypeError or UserError, which name the argument.
    """
    usual = {name: getattr(defaults, name) if value is None else value for name, value in given.items()}
    checked = {name: one_of(name, v, SPACES) if name == "space" else number(name, v) for name, v in usual.items()}
    return {"prompt": text("prompt", prompt)} | checked


def new_recipe(family: Family, method: str, source: Latent, parameters: dict[str, Any]) -> dict[str, Any]:
    """The recipe of an edit of `source`: JSON, see `StyleCLIP.repeat`."""
    unused = {"identity"} if parameters.get("identity") == 0 else set()
    kinds = [kind for kind in WEIGHTS[method] if kind in family.digests.keys() - unused]
    weights = {kind: family.digests[kind] for kind in kinds}
    if method == "map" and "file" not in parameters:
        weights["mapper"] = family.mapper_digest(parameters["mapper"])
    recipe = {"method": method, "model": family.name, "source": source.digest(), "parameters": parameters}
    estimated = weights.get("directions") == "estimated"
    setting = "clip_normalize_directions" if estimated else SHOWN.get(method)
    shown = {"clip_normalize": getattr(family, setting)} if setting else {}
    return recipe | {"weights": weights} | shown
