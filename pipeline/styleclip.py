"""StyleCLIP: the three methods of the paper (Patashnik et al. 2021) and latent alignment behind one object."""

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from pipeline.batching import MicroBatcher
from pipeline.checks import (
    aligned,
    device_of,
    files_of,
    has_bfloat16,
    latent_of,
    number,
    of_type,
    one_of,
    resolution_of,
    text,
)
from pipeline.edits import Edit, Step, steps_of
from pipeline.errors import UserError
from pipeline.faces.detection import Face, centred, turned
from pipeline.faces.paste import paste
from pipeline.faces.photos import Photo, opened
from pipeline.images import to_pil
from pipeline.latents import Latent, draw_together, truncated
from pipeline.methods.csla import check_levels, csla_edit, invert_through_clip
from pipeline.methods.directions import StyleDirections
from pipeline.methods.estimate import estimated_directions
from pipeline.methods.inversion import (
    PHOTO_SIZE,
    REFINE_STEPS,
    TUNE_STEPS,
    invert,
    likeness,
    photo_square,
    towards_photo,
)
from pipeline.methods.mapper import apply_mapper
from pipeline.methods.optimization import State, towards_text
from pipeline.models.downloads import Progress
from pipeline.models.family import Family, load_family
from pipeline.models.registry import DEFAULT, REGISTRY, family_row
from pipeline.recipes import Recipe, new_recipe, run_parameters
from pipeline.text import Texts

BATCH = 8  # pictures of several threads that a GPU draws together; a CPU gains little, and stays exact to the bit
ENCODER_SIZE = 256  # aligned faces have at least this many pixels a side


class StyleCLIP:
    """One model family, ready to edit. Made once and shared: it keeps models and the embeddings of texts, nothing of a
    visitor.

    Everything a method needs is an argument, and its answers live on the CPU, so calls from several threads do not
    disturb each other. What a visitor can mend is raised as a `UserError`, whose message can be shown as it is; an
    argument of a wrong type as a TypeError that names it. `checks.LIMITS` has the limits of the numbers.
    """

    def __init__(self, family: Family) -> None:
        self.family = family
        self.texts = Texts(family.clip, family.row.vocabulary.split())
        self._estimate: StyleDirections | None = None
        self._lock = threading.Lock()
        self._draw = MicroBatcher(
            partial(draw_together, family.generator), BATCH if family.device.type == "cuda" else 1
        )

    @classmethod
    def from_pretrained(
        cls,
        name: str = DEFAULT,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
        registry: str | Path = REGISTRY,
        files: Mapping[str, str | Path] | None = None,
        progress: Progress | None = None,
    ) -> "StyleCLIP":
        """The family `name` of a registry, see `available_models`; what of it is not on this machine is downloaded.

        `device` is CUDA where there is one, else the CPU. `dtype`, float32 or bfloat16, is what the generator's
        convolutions, the encoder and CLIP compute in: float32 unless told otherwise, here or by the family's row.
        `files`, kind -> path, are the user's own for the family "custom". `progress` hears of downloads, which else
        draw a bar in the terminal. Raises UserError for an unknown name, and for a file that cannot be had or read.
        """
        row = family_row(text("name", name), registry, None if files is None else files_of(files))
        of_type("progress", progress, (Callable, type(None)), "a function of a name, bytes and all bytes")
        of_type("dtype", dtype, (torch.dtype, type(None)), "a dtype of PyTorch")
        device = device_of(device)
        if dtype is None:
            dtype = torch.bfloat16 if row.bfloat16 and has_bfloat16(device) else torch.float32
        dtype = one_of("dtype", dtype, (torch.float32, torch.bfloat16))
        return cls(load_family(row, device, dtype, progress))

    # Faces in and out

    def align(self, photo: Photo) -> list[Face]:
        """The faces of a photo (a PIL image, a path or an open file), the largest and surest first, at most twelve.

        The photo is taken as `open_photo` of `pipeline.faces.photos` gives it, and turned where its faces are not
        upright, see `Face.turn`.
        A model of other things than faces looks for none: the middle of the photo is its one answer. Raises UserError
        when there is no face, or the picture is too small, too large or not readable.
        """
        photo, size = opened(photo), max(ENCODER_SIZE, self.family.generator.size)
        if self.family.faces is None:
            return [centred(photo, size, self._rows(size))]
        return self.family.faces.find(photo, size)

    def paste(self, photo: Photo, face: Face, image: Image.Image) -> Image.Image:
        """The photo in which `align` found `face`, with an edited `image` of that face in its place (RGB in sRGB).

        It is upright, also where `align` had to turn it.
        """
        of_type("face", face, Face, "a face that align found")
        of_type("image", image, Image.Image, "a picture of PIL")
        return paste(turned(opened(photo), face.turn), face, image)

    def view(self, photo: Photo, side: int, turn: int = 0) -> Image.Image:
        """A photo as `align` and `paste` see it, at most `side` pixels a side. `turn` is that of its faces."""
        photo, side, turn = opened(photo), number("side", side), number("turn", turn)
        photo = photo.resize([max(1, round(s * min(1, side / max(photo.size)))) for s in photo.size], reducing_gap=2)
        return turned(photo, turn)

    def invert(self, face: Face | Image.Image, through: str = "encoder") -> Latent:
        """The code in W+ of a face, or of a picture that is aligned already (e4e).

        With `through` "clip" the code is of a face that looks like what CLIP saw in the picture. Raises UserError for
        a picture of another shape, and where the model has no encoder, or no alignment.
        """
        image = aligned(face)
        if one_of("through", through, ("encoder", "clip")) == "clip":
            return invert_through_clip(self.family, self._photo(image))
        if self.family.encoder is None:
            raise UserError(f"The model “{self.family.title}” can't read photos; please start from a random picture.")
        return invert(self.family.encoder, self.family.latent_avg, image, self._rows(self.family.encoder.size))

    @torch.no_grad()
    def likeness(self, latent: Latent, face: Face | Image.Image) -> float | None:
        """How much the picture of a latent is the person of an aligned face: the cosine of their identity embeddings.

        None where the model has no identity network, because its pictures are not of persons.
        """
        self._check(latent)
        photo, network, generator = self._photo(face), self.family.identity, self.family.generator
        if network is None:
            return None
        return likeness(network, photo, latent.draw(generator, latent.working_size(generator)))

    def refine(
        self, latent: Latent, face: Face | Image.Image, steps: int = REFINE_STEPS, preview: int | None = None
    ) -> Iterator[Step]:
        """Move the code of a face closer to its photo, in W+: its pixels, its contrast, the person, and what CLIP sees.

        Otherwise as `optimize`. Refining and tuning make a new source rather than an edit: `repeat` knows their
        recipes, but can't follow them without the photo.
        """
        return self._closer("refine", latent, face, steps, preview)

    def tune(
        self, latent: Latent, face: Face | Image.Image, steps: int = TUNE_STEPS, preview: int | None = None
    ) -> Iterator[Step]:
        """Pivotal tuning (Roich et al. 2021): the latent stays, and the generator is tuned to the photo around it.

        The difference is kept in the latent's `tuning` and goes along with all edits of it; the studio's generator is
        what it was. Otherwise as `refine`.
        """
        return self._closer("tune", latent, face, steps, preview)

    def _closer(
        self, method: str, latent: Latent, face: Face | Image.Image, steps: int, preview: int | None
    ) -> Iterator[Step]:
        self._check(latent)
        steps, preview = number("steps", steps), number("preview", preview, None)
        begin = partial(towards_photo, self.family, method, latent, self._photo(face), steps)
        return self._steps(begin, new_recipe(self.family, method, latent, {"steps": steps}), preview)

    def _photo(self, face: Face | Image.Image) -> Tensor:
        """An aligned face as the generator would draw it, (1, 3, S, S)."""
        size = min(self.family.generator.size, PHOTO_SIZE)
        return photo_square(aligned(face), size, self._rows(size)).to(self.family.device)

    @torch.no_grad()
    def sample(self, seed: int | None = None, truncation: float = 0.7) -> Latent:
        """A random face, another one at each call without a `seed`. `truncation` ψ is 0 for the mean face, 1 for the
        generator's whole variety."""
        generator, rng = self.family.generator, torch.Generator()
        truncation, seed = number("truncation", truncation), number("seed", seed, rng.seed())
        z = torch.randn(1, generator.style_dim, generator=rng.manual_seed(seed))
        w = generator.mapping(z.to(self.family.device))
        return Latent(truncated(w, self.family.latent_avg, truncation).cpu())

    @torch.no_grad()
    def image(self, latent: Latent, resolution: int | None = None) -> Image.Image:
        """The face of a latent, square, at full size or at a lower `resolution` (4, 8, ...), which is quicker. Small
        pictures of a family with a preview are nearly the same, not exactly.

        Raises UserError for a latent of another model, and for a resolution that the generator does not have.
        """
        self._check(latent)
        return self.picture(self._draw((latent, resolution_of(resolution, self.family.generator))))

    def _rows(self, size: int) -> int:
        """How many rows of a square of `size` pixels are the picture: not all, where it is wider than high."""
        return size * (self.family.row.crop_rows or self.family.generator.size) // self.family.generator.size

    def picture(self, square: Tensor) -> Image.Image:
        """The rows of a generator's image (1, 3, R, R) that are the picture, as an image of PIL."""
        return to_pil(square, self._rows(square.shape[2]))

    # Latent optimization (section 4)

    def optimize(
        self,
        latent: Latent,
        prompt: str,
        steps: int | None = None,
        l2: float | None = None,
        identity: float | None = None,
        lr: float | None = None,
        space: str | None = None,
        noise: float | None = None,
        neutral: str | None = None,
        preview: int | None = None,
    ) -> Iterator[Step]:
        """Change a face until CLIP finds that it looks like `prompt`, in `space` "w", "w+" or "s".

        With a `neutral` text the goal is the face as CLIP sees it, moved by the difference of the two texts. With "" it
        is `prompt` alone (equation 1); what that doesn't name goes towards the average. λ_L2 `l2` holds the latent,
        λ_ID `identity` the person; `noise`, in deviations of W, blurs the latent while it is judged. What is None takes
        the family's default. Yields after each of the `steps`; `preview` is the size in pixels of the pictures on the
        way. Closing the iterator stops the work. Raises UserError for texts that are empty, too long or the same.
        """
        self._check(latent)
        usual = self.family.defaults
        numbers = {"steps": steps, "l2": l2, "identity": identity, "lr": lr, "space": space, "noise": noise}
        parameters = run_parameters(usual, prompt, numbers)
        parameters["neutral"] = usual.prompt_neutral if neutral is None else text("neutral", neutral).strip()
        return self._run("optimize", latent, parameters, preview)

    def generate(
        self,
        prompt: str,
        steps: int | None = None,
        lr: float | None = None,
        preview: int | None = None,
        space: str | None = None,
        noise: float | None = None,
    ) -> Iterator[Step]:
        """A face from text alone: optimization from the mean face with CLIP's term only. Otherwise as `optimize`."""
        numbers = {"steps": steps, "lr": lr, "space": space, "noise": noise}
        return self._run("generate", self._mean(), run_parameters(self.family.defaults, prompt, numbers), preview)

    def _run(self, method: str, source: Latent, parameters: dict[str, Any], preview: int | None) -> Iterator[Step]:
        notes = self.texts.goal_notes(parameters["prompt"], parameters.get("neutral", ""))
        recipe, preview = new_recipe(self.family, method, source, parameters), number("preview", preview, None)
        begin = partial(towards_text, self.family, self.texts, source, parameters)
        return self._steps(begin, recipe, preview, notes)

    def _steps(
        self,
        begin: Callable[[], Iterator[State]],
        recipe: dict[str, Any],
        preview: int | None,
        notes: tuple[str, ...] = (),
    ) -> Iterator[Step]:
        return steps_of(begin, recipe, self.picture, self.image, self.family.generator.size, preview, notes)

    # Latent mapper (section 5)

    def mappers(self) -> dict[str, str]:
        """The mappers of this family: name -> title."""
        return {name: title for name, (title, _) in self.family.row.mappers.items()}

    def map(self, latent: Latent, mapper: str | Path, strength: float | None = None) -> Edit:
        """One of the edits that a mapper was trained for, in one forward pass; the paper's strength is 0.1.

        `mapper` is the name of one of the family's, or the path of a file of one's own (pipeline.training.mapper).
        Raises UserError for an unknown mapper, and for a file that holds none for this model.
        """
        self._check(latent)
        strength = number("strength", strength, self.family.defaults.mapper_strength)
        of_type("mapper", mapper, (str, Path), "the name of a mapper, or the path of its file (pathlib.Path)")
        if isinstance(mapper, Path):
            name, network = self.family.own_mapper(mapper)
            known_by = {"file": hashlib.sha256(mapper.read_bytes()).hexdigest()}
        else:
            name, network, known_by = mapper, self.family.mapper(mapper), {}
        edited = apply_mapper(network, self.family.generator, latent, strength)
        recipe = new_recipe(self.family, "map", latent, {"mapper": name, "strength": strength} | known_by)
        return Edit(partial(self.image, edited), edited, recipe)

    # Global directions (section 6)

    def direct(
        self,
        latent: Latent,
        target: str,
        neutral: str,
        strength: float | None = None,
        threshold: float | None = None,
        channels: int | None = None,
    ) -> Edit:
        """Move StyleSpace channels the way from the `neutral` to the `target` text.

        `strength` is α, `threshold` β: channels less relevant than β stay. Without β the `channels` most relevant ones
        move, the family's default number when that is None too. The edit says how many channels were kept. Raises
        UserError for texts that are empty, too long or the same, and for a β that keeps no channel.
        """
        self._check(latent)
        notes = self.texts.pair_notes(text("target", target), text("neutral", neutral))
        notes += (self.directions_note,) if self.directions_note else ()
        strength = number("strength", strength, self.family.defaults.strength)
        if threshold is not None and channels is not None:
            raise UserError("Please give either `threshold` (β) or `channels`, not both.")
        channels = number("channels", channels, self.family.defaults.channels)
        threshold = number("threshold", threshold, None)
        directions = self._directions()
        parameters = {"target": target, "neutral": neutral, "strength": strength}
        parameters |= {"channels": channels} if threshold is None else {"threshold": threshold}
        text_direction = self.texts.direction(target, neutral).cpu()
        if threshold is None:
            threshold = directions.threshold(text_direction, channels)
        step, kept = directions.step(text_direction, threshold)
        edited = latent.moved([strength * s for s in step])
        recipe = new_recipe(self.family, "direct", latent, parameters)
        return Edit(partial(self.image, edited), edited, recipe, notes, kept)

    def threshold(self, target: str, neutral: str, channels: int | None = None) -> float:
        """The β that keeps `channels` channels, or the family's default number, for a pair of texts."""
        self.texts.pair_notes(text("target", target), text("neutral", neutral))
        channels = number("channels", channels, self.family.defaults.channels)
        return self._directions().threshold(self.texts.direction(target, neutral).cpu(), channels)

    @property
    def directions_note(self) -> str | None:
        """What a visitor should know of this family's directions: that they are only estimated, if so."""
        if self.family.directions is not None:
            return None
        return (
            "Which channels matter is estimated from gradients; "
            f"python -m pipeline.training.relevance --model {self.family.name} measures it."
        )

    def _directions(self) -> StyleDirections:
        with self._lock:
            if self.family.directions is None and self._estimate is None:
                self._estimate = estimated_directions(self.family)
        return self.family.directions or self._estimate

    # Latent alignment (CSLA)

    def csla_edit(
        self,
        latent: Latent,
        target: str,
        neutral: str,
        strength: float | None = None,
        levels: Sequence[str] | None = None,
    ) -> Edit:
        """Move a face by what lies between the `neutral` and the `target` text, in one forward pass.

        `levels`, of "coarse", "medium" and "fine", are what may move: all when None. Raises UserError for texts that
        are empty, too long or the same, and where the model has no alignment.
        """
        self._check(latent)
        notes, levels = self.texts.pair_notes(text("target", target), text("neutral", neutral)), check_levels(levels)
        strength = number("strength", strength, self.family.defaults.csla_strength)
        edited = csla_edit(self.family, self.texts, latent, target, neutral, strength, levels)
        parameters = {"target": target, "neutral": neutral, "strength": strength, "levels": levels}
        return Edit(
            partial(self.image, edited), edited, new_recipe(self.family, "csla_edit", latent, parameters), notes
        )

    def csla_generate(self, prompt: str, strength: float | None = None, neutral: str | None = None) -> Edit:
        """A face from text alone, in one forward pass from the mean face, which the `neutral` text describes.

        Raises UserError for texts that are empty or too long, and where the model has no alignment.
        """
        mean, usual = self._mean(), self.family.defaults
        neutral = usual.neutral if neutral is None else text("neutral", neutral)
        notes = self.texts.pair_notes(text("prompt", prompt), neutral)
        strength = number("strength", strength, usual.csla_strength)
        edited = csla_edit(self.family, self.texts, mean, prompt, neutral, strength)
        recipe = new_recipe(
            self.family, "csla_generate", mean, {"prompt": prompt, "neutral": neutral, "strength": strength}
        )
        return Edit(partial(self.image, edited), edited, recipe, notes)

    # Finished edits

    def adjust(self, latent: Latent, edit: Edit, share: float) -> Edit:
        """A finished edit of `latent` at another strength: 0 is the source, 1 the edit, more goes beyond.

        Shares multiply: adjust what was adjusted before and it is that share of it. Raises UserError for an edit of
        another face.
        """
        self._check(latent)
        of_type("edit", edit, Edit, "an edit, as the methods make them")
        share = number("share", share)
        if edit.recipe["source"] != latent.digest():
            raise UserError("This edit was made from another face; please adjust it from the face it was made from.")
        moved = latent.towards(edit.latent, share)
        recipe = edit.recipe | {"share": share * edit.recipe.get("share", 1.0)}
        return replace(edit, draw=partial(self.image, moved), latent=moved, recipe=recipe)

    def repeat(self, recipe: dict[str, Any], latent: Latent | None = None, anywhere: bool = False) -> Edit:
        """The edit that a recipe describes, to the bit on the same machine, from the latent that it was made from.

        With `anywhere` its words and numbers are applied to another face, and the edit's recipe names that one. Recipes
        of `generate` and `imagine` need no latent. A note of the edit says where the weights are other ones. Raises
        UserError when recipe, model and latent do not belong together.
        """
        known = Recipe.read(recipe)
        latent = self._mean() if known.from_mean else latent
        if known.model != self.family.name:
            raise UserError(f"This recipe was made with the model “{known.model}”; start the studio with that model.")
        if latent is None:
            raise UserError("This recipe is applied to a face; please give the latent that was saved with it as well.")
        self._check(latent)
        if not (known.from_mean or anywhere or latent.digest() == known.source):
            raise UserError("This recipe was made from another face; please load the latent that was saved with it.")
        source = () if known.from_mean else (latent,)
        made = getattr(self, known.method)(*source, **known.parameters)
        edit = made if isinstance(made, Edit) else next(islice(made, known.taken - 1, None)).edit
        edit = known.noted(edit)
        return edit if known.share is None else self.adjust(latent, edit, known.share)

    def _mean(self) -> Latent:
        return Latent(self.family.latent_avg[None].cpu())

    def _check(self, latent: Latent) -> Latent:
        return latent_of("latent", latent, self.family.generator)
