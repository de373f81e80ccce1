"""What one visitor has on the server: the strip of pictures, and where in it they are."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from PIL import Image

from pipeline import Latent
from pipeline.errors import UserError
from webapp.choices import Choices
from webapp.files import on_screen
from webapp.shots import (
    LONGEST_TITLE,
    Found,
    Frame,
    Mixture,
    Shot,
    at_full_strength,
    kind,
    one_line,
    thumbnail,
)

MOST_SHOTS = 30  # on the strip; the oldest edits leave it first
MOST_BYTES = 4 * 2**20  # of latents: those of 30 shots at 1024 px and a tuning; what else is held is small
CHOSEN = "Another picture was chosen meanwhile, so this edit was left out."


@dataclass
class Session:
    """One visitor's photo and strip of pictures: small, on the CPU, and gone an hour after they leave.

    `webapp.visits` gives every visitor a copy of the one made at start, so that a first visit finds an example face in
    place. The handlers change it where it stands; nobody else holds it.
    """

    model: str = ""
    """The model that made its latents."""
    secret: str = ""
    """What the visitor's browser knows, and nobody else: with it the visit goes on when the page is loaded again."""
    page: str = ""
    """The page that it is shown in, by Gradio's session hash."""
    address: str = ""
    """Where the visitor came from."""
    photos: list[list[Found]] = field(default_factory=list)
    """The faces in each photo that a picture of the strip began with, and in the newest; the largest first."""
    example: bool = False
    """Whether all there is was there before the visitor came."""
    shots: list[Shot] = field(default_factory=list)
    at: Shot | None = None
    """The picture that is shown as "after", and which the next edit starts from."""
    compared: Shot | None = None
    """What it is compared with, where the visitor chose that."""
    back: list[Shot] = field(default_factory=list)
    forth: list[Shot] = field(default_factory=list)
    """Where Undo and Redo lead, the nearest last."""
    gone: dict[Shot, int] = field(default_factory=dict)
    """Deleted pictures, which Undo brings back, and their places on the strip."""
    linked: dict[str, Any] = field(default_factory=dict)
    """The parameters of a run that a link has filled in; those without a field count as long as its words stand."""
    run: dict[str, Any] | None = None
    """The method and the fields of an optimization that runs, or did when its page was left."""
    why_ended: tuple[Shot, str] | None = None
    """Why the newest optimization has ended, and the picture seen since, until fields and notes follow once more."""
    frames: list[Frame] = field(default_factory=list)
    """Moments of the newest optimization."""
    mappers: dict[str, Path] = field(default_factory=dict)
    """Files of the mappers that this visitor trained or brought, by name."""
    thumbs: dict[str, str] = field(default_factory=dict)
    """Files of their pictures in the gallery."""
    mixing: bool = False
    """Whether the visitor looks at what the picture can be mixed with."""
    choices: Choices = field(default_factory=Choices)
    """The faces, mixtures and other pictures that the visitor asked for, of which the newest is shown."""
    uploaded: Found | None = None
    """The face of a new photo, until the generator is tuned to it, in families that are."""
    optimized: tuple[Latent, Shot] | None = None
    """What the newest optimization began with, and a copy of its picture on the strip as it was then."""
    stop: bool = False
    """Set by the Stop button, read between two steps of an optimization."""
    likeness_runs: int = 0
    """How many runs of refining and tuning have begun; the number of the newest."""
    likeness_stopped: int = 0
    """The number of the newest run when Stop was pressed: it and those before it are to end."""
    cancel: bool = False
    """Set by the Cancel button of a download, read while it runs."""
    cancel_training: bool = False
    """The same of a training."""
    ended: bool = False
    """Whether the visitor has started over: what a handler still makes of this session is dropped."""

    @property
    def faces(self) -> list[Found]:
        """The faces in the photo that the current picture began with, the largest first."""
        found = self.at.origin.found if self.at else None
        return next((faces for faces in self.photos if found in faces), [])

    @property
    def before(self) -> Shot:
        """What the current picture is compared with."""
        return self.compared or self.here.beside or self.here.origin

    @property
    def here(self) -> Shot:
        """The current picture. Raises UserError while there is none."""
        if self.at is None:
            raise UserError("Choose a face first.")
        return self.at

    def start_from(
        self,
        latent: Latent,
        picture: Image.Image,
        title: str,
        said: str,
        found: Found | None = None,
        faces: list[Found] | None = None,
    ) -> None:
        """Take another face. Those before stay on the strip if anything was made of them, or they were refined or
        tuned. `faces` are all in the photo that it came from, with each of which the visitor can start."""
        # Made first: other threads ask for the current picture meanwhile, and there always is one.
        shot = Shot(latent, title[:LONGEST_TITLE], on_screen(picture), thumbnail(picture), "", said, found=found)
        here = self.at
        if self.example:
            self.shots, self.back, self.forth, self.at = [], [], [], shot
        elif here is not None and not self._was_worked_on(here):
            self._forget(here)
            self.at = shot
        self.compared, self.frames = None, []
        self._append(shot)
        begun = [shot.found for shot in (*self.shots, *self.gone)]
        others = [known for known in self.photos if known is not faces and any(face in begun for face in known)]
        self.photos = [*others, faces] if faces else others

    def _was_worked_on(self, face: Shot) -> bool:
        """Whether a face is an edit, refined or tuned, or anything on the strip was made of it."""
        made = any(other.made_of(face) or other.beside is face for other in self.shots)
        return bool(face.line or face.beside or face.latent.tuning or made)

    def add(
        self,
        latent: Latent,
        picture: Image.Image,
        title: str,
        said: str,
        details: str = "",
        found: Found | None = None,
        beside: Shot | None = None,
    ) -> None:
        """Another face, with which edits can begin: of a photo, refined, tuned, or brought. `beside` is what it is
        compared with until the visitor chooses."""
        shot = Shot(latent, title[:LONGEST_TITLE], on_screen(picture), thumbnail(picture), details, said, found=found)
        if beside:
            shot.beside, self.compared = beside, None
        self._append(shot)

    def begin(
        self, source: Latent, latent: Latent, recipe: dict[str, Any], picture: Image.Image, title: str, details: str
    ) -> None:
        """A face made from words alone: an edit of the mean face, `source`, with which others can begin. It is compared
        with that one at first, where it is on the strip."""
        beside = next((shot for shot in reversed(self.shots) if shot.latent.digest() == source.digest()), None)
        if beside:
            self.compared = None
        self._append(
            Shot(
                latent,
                title[:LONGEST_TITLE],
                on_screen(picture),
                thumbnail(picture),
                details,
                "From words alone.",
                (recipe,),
                source,
                at_full_strength(source, latent, recipe),
                beside=beside,
            )
        )

    def mix(self, mixture: Mixture, latent: Latent, picture: Image.Image) -> None:
        """Put a mixture of the current picture with another one on the strip and show it, compared with the current."""
        here, faces = self.here, (mixture.one, mixture.other)
        again = any(shot.mixture and shot.latent in faces for shot in self.shots)
        title = "Mixture" if again else " + ".join(mixture.names)
        said = "A mixture of “{}” and “{}”.".format(*mixture.names)
        self.add(latent, picture, title, said, mixture.in_words, here.origin.found, beside=here)
        self.here.mixture = mixture
        self._make_room()

    def base(self, method: str, **words: str) -> Latent:
        """What an edit starts from: the current picture; where that is of the same kind, what it was made from."""
        here = self.here
        same = here.recipes and kind(here.recipes[-1]) == kind({"method": method, "parameters": words})
        source = here.source if same else here.latent
        if method == "optimize":
            self.optimized = source, replace(here)
        return source

    def keep(
        self, source: Latent, latent: Latent, recipe: dict[str, Any], picture: Image.Image, title: str, details: str
    ) -> None:
        """Put an edit of `source`, which `base` gave, on the strip and show it.

        Another try of the current edit takes its place, so that a slider leaves one picture and not a hundred; but not
        an optimization, whose result is worth keeping beside the next.
        """
        here, again = self._made_from(source)
        again = again and recipe["method"] != "optimize"
        if again and "name" in here.recipes[-1]:
            recipe = recipe | {"name": here.recipes[-1]["name"]}
        recipes = (*(here.recipes[:-1] if here.source is source else here.recipes), recipe)
        shot = Shot(
            latent=latent,
            title=title[:LONGEST_TITLE],
            picture=on_screen(picture),
            thumb=thumbnail(picture),
            details=details,
            recipes=recipes,
            source=source,
            whole=at_full_strength(source, latent, recipe),
            root=here.origin,
        )
        if again:
            vars(here).update(vars(shot) | {"title": here.title, "key": here.key})
            self._make_room()
        else:
            self._append(shot)

    def _made_from(self, source: Latent) -> tuple[Shot, bool]:
        """The picture that an edit of `source` goes behind, and whether it is another try of that one.

        Raises UserError when the visitor has another face by now.
        """
        here = self.here
        if source is here.source:
            return here, True
        shot = next((shot for shot in [here, *self.shots] if source is shot.latent), None)
        if shot is None and self.optimized and self.optimized[0] is source:
            shot = self.optimized[1]  # a slider changed it while the optimization waited or ran
        if shot is None or {shot.key, shot.origin.key}.isdisjoint(other.key for other in self.shots):
            raise UserError(CHOSEN)
        return shot, False

    def rename(self, name: str) -> None:
        """Call the current picture something else; in its recipe, and those of edits made of it, the edit too."""
        here, name = self.here, one_line(name)
        if not name or name == here.title:
            return
        here.title = name
        if here.recipes:
            old, new = here.recipes[-1], here.recipes[-1] | {"name": name}
            for shot in self.shots:
                shot.recipes = tuple(new if recipe is old else recipe for recipe in shot.recipes)

    def redraw(self, shot: Shot, share: float, latent: Latent, picture: Image.Image) -> None:
        """An edit at another strength, or a mixture with another share."""
        if shot.mixture:
            shot.mixture = replace(shot.mixture, share=share)
            shot.details = shot.mixture.in_words
        else:
            shot.recipes = (*shot.recipes[:-1], shot.recipes[-1] | {"share": share})
        shot.latent, shot.picture, shot.thumb = latent, on_screen(picture), thumbnail(picture)
        self._make_room()

    def touch(self) -> None:
        """Make the files young again: those of a visitor who is still here are not to be cleared away."""
        paths = [path for shot in (*self.shots, *self.gone) for path in (shot.picture, shot.thumb)]
        found = [face for faces in self.photos for face in faces]
        paths += [path for face in found for path in (face.crop, face.photo, face.shown)]
        paths += [frame.picture for frame in self.frames]
        paths += [*self.mappers.values(), *self.thumbs.values()]
        for path in paths:
            with contextlib.suppress(OSError):
                os.utime(path)

    def _append(self, shot: Shot) -> None:
        self.example = False
        self.shots.append(shot)
        self.go(shot)
        self._make_room()

    def _make_room(self) -> None:
        """Let the oldest pictures go while there are too many, but never the current one and its face: deleted ones
        first, then edits; where it is their size, those of another tuning, which is as large as forty edits."""
        while (large := self._bytes() > MOST_BYTES) or len(self.shots) + len(self.gone) > MOST_SHOTS:
            if self.gone:
                self._forget(next(iter(self.gone)))
                continue
            others = [shot for shot in self.shots if shot not in (self.at, self.at.root)]
            if not others:
                break
            tunings = (None, self.at.latent.tuning)
            elsewhere = [shot for shot in others if large and shot.latent.tuning not in tunings]
            self._forget((elsewhere or [shot for shot in others if shot.source] or others)[0])

    def _bytes(self) -> int:
        """What the latents take, each tensor once."""
        shots = [*self.shots, *self.gone]
        shots += [shot.root for shot in shots if shot.root]
        latents = [latent for shot in shots for latent in (shot.latent, shot.source, *(shot.line or ())) if latent]
        tensors = [t for latent in latents for t in (latent.w_plus, *(latent.style_step or ()))]
        tensors += [t for latent in latents if latent.tuning for pair in latent.tuning.factors.values() for t in pair]
        return sum({id(t): t.nbytes for t in tensors}.values())

    def _forget(self, shot: Shot) -> None:
        self.shots = [other for other in self.shots if other is not shot]
        self.gone.pop(shot, None)
        self.back, self.forth = ([s for s in way if s is not shot] for way in (self.back, self.forth))
        if self.compared is shot:
            self.compared = None
        for other in self.shots:
            if other.beside is shot:
                other.beside = None

    def delete(self) -> None:
        """Take the current picture off the strip and show its neighbour; Undo brings it back. Raises UserError where it
        is the only one."""
        others = [shot for shot in self.shots if shot is not self.here]
        if not others:
            raise UserError("This is the only picture; choose another face, or start over.")
        gone = self.here
        place = self.shots.index(gone) if gone in self.shots else 0
        self._forget(gone)
        self.example, self.at, self.forth = False, others[max(0, place - 1)], []
        self.back = [*(shot for shot in self.back if shot is not self.at), gone]
        self.gone[gone] = place

    def go(self, shot: Shot) -> None:
        """Show a picture of the strip."""
        if self.at is not None and self.at is not shot:
            self.back = [*self.back, self.at][-MOST_SHOTS:]
        self.forth = []
        self.at = shot

    def resume(self, face: Shot) -> None:
        """Show the face again that edits were made of meanwhile. Raises UserError where the visitor let it go."""
        if not self.holds(face):
            raise UserError(CHOSEN)
        if face not in self.shots:  # it was deleted, and an edit of it was not
            self.gone.pop(face, None)
            self.shots.insert(0, face)
        self.go(face)

    def holds(self, face: Shot) -> bool:
        """Whether the visitor still has a face, or looks at an edit of it."""
        return face in (self.here.origin, *self.shots)

    def undo(self) -> None:
        """Back to what was shown before; a picture that was deleted since is on the strip again."""
        if not self.back:
            return
        shot = self.back.pop()
        if shot in self.gone:
            self.shots.insert(self.gone.pop(shot), shot)
        else:
            self.forth.append(self.here)
        self.at = shot

    def redo(self) -> None:
        """Forward again."""
        if self.forth:
            self.back.append(self.here)
            self.at = self.forth.pop()
