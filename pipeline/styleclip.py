"""StyleCLIP: the three methods of the paper (Patashnik et al. 2021) and latent alignment behind one object."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from pipeline.attributes import Pair, colours, known_names, pairs_of
from pipeline.batching import MicroBatcher
from pipeline.checks import number, of_type, resolution_of, text
from pipeline.edits import Edit, Step, steps_of
from pipeline.errors import UserError
from pipeline.finished_edits import FinishedEdits, Place
from pipeline.images import to_pil
from pipeline.latents import Latent, draw_together, sampled
from pipeline.losses import clip_features
from pipeline.methods.csla import csla_edit
from pipeline.methods.directions import combine, direct, text_direction
from pipeline.methods.estimate import ESTIMATED_NOTE, directions_of
from pipeline.methods.exchange import exchange
from pipeline.methods.mapper import apply_mapper
from pipeline.methods.optimization import towards_text
from pipeline.methods.regions import region_of
from pipeline.methods.strength import Strengths
from pipeline.models.downloads import Progress
from pipeline.models.family import Family, load_pretrained
from pipeline.models.registry import DEFAULT, REGISTRY
from pipeline.parameters import checked, completed
from pipeline.photo_methods import PhotoMethods
from pipeline.recipes import new_recipe
from pipeline.style_methods import StyleMethods
from pipeline.text import Texts
from pipeline.wishes import Reading, Wish, read_wishes

BATCH = 8  # pictures of several threads that a GPU draws together; a CPU gains little, and stays exact to the bit


class StyleCLIP(PhotoMethods, StyleMethods, FinishedEdits):
    """One model family, ready to edit. Made once and shared: it keeps models and the embeddings of texts, nothing of a
    visitor.

    Everything a method needs is an argument, and its answers live on the CPU, so calls from several threads do not
    disturb each other. Errors that the user can fix are `UserError`s, whose message can be shown as it is: for a latent
    of another model, a number beyond `checks.LIMITS`, texts that are empty, too long or the same, and what a method
    names. An argument of a wrong type raises a TypeError that names it.
    """

    def __init__(self, family: Family) -> None:
        self.family = family
        self.texts = Texts(family.clip, family.row.vocabulary.split(), family.row.seldom.split())
        self.strengths = Strengths(family, self.texts)
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
        `files`, kind -> path, are the user's own for the family "custom". `progress` is called during downloads; the
        default draws a bar in the terminal. Raises UserError for an unknown name and for a file that can't be read.
        """
        return cls(load_pretrained(name, device, dtype, registry, files, progress))

    # Latents and their pictures

    def sample(self, seed: int | None = None, truncation: float = 0.7) -> Latent:
        """A random face, another one at each call without a `seed`. `truncation` ψ is 0 for the mean face, 1 for the
        generator's whole variety."""
        truncation, seed = number("truncation", truncation), number("seed", seed, torch.Generator().seed())
        return sampled(self.family.generator, self.family.latent_avg, seed, truncation)

    @torch.no_grad()
    def image(self, latent: Latent, resolution: int | None = None) -> Image.Image:
        """The face of a latent, square, at full size or at a lower `resolution` (4, 8, ...), which is quicker. Small
        pictures of a family with a preview are nearly the same, not exactly. Raises UserError for a resolution that the
        generator does not have."""
        self._check(latent)
        return self.picture(self._draw((latent, resolution_of(resolution, self.family.generator))))

    def picture(self, square: Tensor) -> Image.Image:
        """The rows of a generator's image (1, 3, R, R) that are the picture, as an image of PIL."""
        return to_pil(square, self.family.rows(square.shape[2]))

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
        way. Closing the iterator stops the work.
        """
        self._check(latent)
        numbers = {"steps": steps, "l2": l2, "identity": identity, "lr": lr, "space": space, "noise": noise}
        return self._run("optimize", latent, {"prompt": prompt, "neutral": neutral} | numbers, preview)

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
        given = {"prompt": prompt, "steps": steps, "lr": lr, "space": space, "noise": noise}
        return self._run("generate", self.family.mean, given, preview)

    def _run(self, method: str, source: Latent, given: dict[str, Any], preview: int | None) -> Iterator[Step]:
        parameters = completed(method, self.family.defaults, given)
        notes = self.texts.goal_notes(parameters["prompt"], parameters.get("neutral", ""))
        begin = partial(towards_text, self.family, self.texts, source, **parameters)
        recipe, preview = new_recipe(self.family, method, source, parameters), number("preview", preview, None)
        return steps_of(begin, recipe, self.picture, self.image, self.family.generator.size, preview, notes)

    # Latent mapper (section 5)

    def mappers(self) -> dict[str, str]:
        """The mappers of this family: name -> title."""
        return {name: title for name, (title, _) in self.family.row.mappers.items()}

    def map(
        self, latent: Latent, mapper: str | Path, strength: float | None = None, regions: Sequence[Place] = ()
    ) -> Edit:
        """One of the edits that a mapper was trained for, in one forward pass; the paper's strength is 0.1. `mapper` is
        the name of one of the family's, or the path of a file of one's own (pipeline.training.mapper). The edit is held
        to `regions`, if there are any, see `within`. Raises UserError for an unknown mapper, and for a file that holds
        none for this model."""
        self._check(latent)
        of_type("mapper", mapper, (str, Path), "the name of a mapper, or the path of its file (pathlib.Path)")
        name, network, file = self.family.mappers.find(mapper)
        parameters = completed("map", self.family.defaults, {"mapper": name, "strength": strength})
        edited = apply_mapper(network, self.family.generator, latent, parameters["strength"])
        return self._edit("map", latent, parameters | file, edited, regions)

    # Global directions (section 6)

    def direct(
        self,
        latent: Latent,
        target: str,
        neutral: str,
        strength: float | None = None,
        threshold: float | None = None,
        channels: int | None = None,
        limit: float | None = None,
        keep: Sequence[str] | None = None,
        regions: Sequence[Place] = (),
    ) -> Edit:
        """Move StyleSpace channels the way from the `neutral` to the `target` text.

        `strength` is α, as suits the texts where it is None (`Strengths`). Channels less relevant than `threshold` β
        stay; without β the `channels` most relevant ones move, or the family's default number. `limit`: how many
        deviations from the mean they may go, 0 for any. `keep`: the `attributes` that should stay. The edit is held to
        `regions`, if there are any, see `within`. Raises UserError for a β that keeps no channel, and for a `keep` that
        the model does not know, or that leaves nothing of the target.
        """
        self._check(latent)
        given = {"target": target, "neutral": neutral, "strength": strength}
        given |= {"threshold": threshold, "channels": channels, "limit": limit, "keep": keep or None}
        parameters = completed("direct", self.family.defaults, given)
        notes = (*self.texts.pair_notes(target, neutral), *filter(None, [self.directions_note]))
        kept = self._kept(parameters.get("keep", ()))
        if strength is None:
            limit = parameters["limit"]
            parameters["strength"] = self.strengths.of(target, neutral, threshold, channels, limit, kept)
        models = directions_of(self.family), self.texts, self.family.generator, self.family.latent_avg
        numbers = {name: value for name, value in parameters.items() if name != "keep"}
        edited, moved = direct(*models, latent, **numbers, kept=kept)
        return self._edit("direct", latent, parameters, edited, regions, notes=notes, channels=moved)

    def combine(
        self,
        latent: Latent,
        sliders: Sequence[Any],
        channels: int | None = None,
        limit: float | None = None,
        regions: Sequence[Place] = (),
    ) -> Edit:
        """Several global directions at once; their order makes no difference. Each of `sliders` is (target, neutral,
        strength), `strength` being its α; without any nothing changes. Otherwise as `direct`. Raises UserError for the
        same pair twice."""
        self._check(latent)
        given = {"sliders": sliders, "channels": channels, "limit": limit}
        parameters = completed("combine", self.family.defaults, given)
        pairs = [(slider["target"], slider["neutral"]) for slider in parameters["sliders"]]
        notes = tuple(dict.fromkeys(note for pair in pairs for note in self.texts.pair_notes(*pair)))
        models = directions_of(self.family), self.texts, self.family.generator, self.family.latent_avg
        edited = combine(*models, latent, **parameters)
        return self._edit("combine", latent, parameters, edited, regions, notes=notes)

    def exchange(self, latent: Latent, target: str, neutral: str, regions: Sequence[Place] = ()) -> Edit:
        """Give hair or eyes another colour in place of theirs, as sampled faces have it; what else CLIP sees stays. The
        edit is held to `regions`, if there are any, see `within`. Raises UserError for texts that are about no such
        colour, and where the model has no `looks`."""
        self._check(latent)
        parameters = completed("exchange", self.family.defaults, {"target": target, "neutral": neutral})
        notes, known = self.texts.pair_notes(target, neutral), self._colours(target, neutral)
        if not known:
            raise UserError(f"“{target}” is no colour that can be exchanged here; please use a global direction.")
        family = self.family
        embed = partial(clip_features, family.clip, normalize=family.row.clip_normalize_directions)
        edited = exchange(family.looks, self.texts, family.generator, embed, latent, **parameters, colours=known)
        return self._edit("exchange", latent, parameters, edited, regions, notes=notes)

    def _colours(self, target: str, neutral: str) -> tuple[Pair, ...]:
        if self.family.looks is None:
            return ()
        return colours(target, neutral, self.texts.vocabulary, self.family.defaults.neutral)

    def strength(self, target: str, neutral: str) -> float:
        """The α of `direct` for a pair of texts where none is given."""
        self.texts.pair_notes(text("target", target), text("neutral", neutral))
        return self.strengths.of(target, neutral)

    def threshold(
        self, target: str, neutral: str, channels: int | None = None, keep: Sequence[str] | None = None
    ) -> float:
        """The β that keeps `channels` channels, or the family's default number, for a pair of texts and the attributes
        to `keep`."""
        given = checked("direct", {"target": target, "neutral": neutral, "keep": keep or None})
        self.texts.pair_notes(target, neutral)
        channels = number("channels", channels, self.family.defaults.channels)
        delta_t = text_direction(self.texts, target, neutral, self._kept(given.get("keep", ())))
        return directions_of(self.family).beta_keeping(delta_t, channels)

    def attributes(self) -> tuple[str, ...]:
        """The names of the attributes that `keep` takes, such as "glasses"; none where pictures are not of faces."""
        return known_names(self.texts.vocabulary, self.family.defaults.neutral)

    def _kept(self, names: Sequence[str]) -> tuple[Pair, ...]:
        return pairs_of(names, self.texts.vocabulary, self.family.defaults.neutral)

    @property
    def directions_note(self) -> str | None:
        """What a visitor should know of this family's directions: that they are only estimated, if so."""
        return None if self.family.directions else ESTIMATED_NOTE.format(name=self.family.name)

    # Wishes in words

    def wishes(self, text: str) -> Reading:
        """What a text in English asks for, such as "remove the glasses and make her smile", see `Reading`. A style is
        no wish, and the note says so."""
        reading = read_wishes(text, self.texts.vocabulary, self.family.defaults.neutral)
        note = "" if reading.wishes else self._style_note(text)
        return replace(reading, notes=(note,), offers=()) if note else reading

    def change(self, latent: Latent, wish: Wish, share: float = 1.0, regions: Sequence[Place] | None = None) -> Edit:
        """Fulfil a wish at `share` times its strength: a colour of hair or eyes by an exchange; what else a mapper on
        this machine learned to add, by that mapper, of whose edits more appear (docs/results.md); and what is left by a
        global direction, also where something is taken away or `share` is below 0.

        The edit is held to `regions` (see `within`): to those that the words are `about` when None, to none when empty.
        """
        of_type("wish", wish, Wish, "a wish, as `wishes` reads it")
        share = number("share", wish.share * number("share", share))
        if share > 0 and self._colours(wish.target, wish.neutral):
            edit = self.adjust(latent, self.exchange(latent, wish.target, wish.neutral), share)
        elif share > 0 and (mapper := self.family.mappers.adding(wish.target, wish.neutral)):
            edit = self.map(latent, mapper, share * self.family.defaults.mapper_strength)
        else:
            edit = self.adjust(latent, self.direct(latent, wish.target, wish.neutral), share)
        return self.within(latent, edit, self.about(wish) if regions is None else regions)

    def about(self, wish: Wish) -> tuple[str, ...]:
        """The regions that a wish is about; none for the whole picture, or where the model can't find parts."""
        return region_of(f"{wish.target} {wish.neutral}") if self.family.parts else ()

    # Latent alignment (CSLA)

    def csla_edit(
        self,
        latent: Latent,
        target: str,
        neutral: str,
        strength: float | None = None,
        levels: Sequence[str] | None = None,
        regions: Sequence[Place] = (),
    ) -> Edit:
        """Move a face by what lies between the `neutral` and the `target` text, in one forward pass. `levels`, of
        "coarse", "medium" and "fine", are what may move: all when None. The edit is held to `regions`, if there are
        any, see `within`. Raises UserError where the model has no alignment."""
        self._check(latent)
        given = {"target": target, "neutral": neutral, "strength": strength, "levels": levels}
        parameters = completed("csla_edit", self.family.defaults, given)
        notes = self.texts.pair_notes(target, neutral)
        edited = csla_edit(self.family, self.texts, latent, **parameters)
        return self._edit("csla_edit", latent, parameters, edited, regions, notes=notes)

    def csla_generate(self, prompt: str, strength: float | None = None, neutral: str | None = None) -> Edit:
        """A face from text alone, in one forward pass from the mean face, which the `neutral` text describes. Raises
        UserError where the model has no alignment."""
        given = {"prompt": prompt, "neutral": neutral, "strength": strength}
        parameters = completed("csla_generate", self.family.defaults, given)
        mean, notes = self.family.mean, self.texts.pair_notes(prompt, parameters["neutral"])
        edited = csla_edit(self.family, self.texts, mean, prompt, parameters["neutral"], parameters["strength"])
        return self._edit("csla_generate", mean, parameters, edited, notes=notes)

    def _edit(
        self,
        method: str,
        source: Latent,
        parameters: dict[str, Any],
        edited: Latent,
        regions: Sequence[Place] = (),
        **told: Any,
    ) -> Edit:
        recipe = new_recipe(self.family, method, source, parameters)
        return self.within(source, Edit(partial(self.image, edited), edited, recipe, **told), regions)
