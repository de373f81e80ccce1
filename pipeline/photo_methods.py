"""What `StyleCLIP` does with photos: it finds their faces, inverts them, comes closer to them, and puts them back."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from PIL import Image

from pipeline.checks import aligned, number, of_type, one_of, paint_of
from pipeline.edits import Step, steps_of
from pipeline.faces.detection import Face, centred, turned
from pipeline.faces.paste import paste
from pipeline.faces.photos import Photo, opened, shrunk
from pipeline.latents import Latent
from pipeline.methods import inversion
from pipeline.methods.csla import invert_through_clip
from pipeline.methods.inversion import REFINE_STEPS, TUNE_STEPS, photo_square, towards_photo
from pipeline.models.family import Family
from pipeline.paint import Paint
from pipeline.recipes import new_recipe

ENCODER_SIZE = 256  # aligned faces have at least this many pixels a side


def put_back(photo: Photo, face: Face, picture: Image.Image | None, paint: Paint | None = None) -> Image.Image:
    """A photo with the picture of an edited face, where there is one, in the place of that face, and then painted; see
    `PhotoMethods.paste`, whose arguments are checked here."""
    of_type("face", face, Face, "a face that align found")
    paint_of("edited.paint", paint)
    whole = turned(opened(photo), face.turn)
    if picture is not None:
        whole = paste(whole, face, picture)
    return whole if paint is None else paint.over_photo(whole, face.width)


class PhotoMethods:
    """The methods of `StyleCLIP` that take a photo, or a face that was found in one."""

    family: Family

    def align(self, photo: Photo) -> list[Face]:
        """The faces of a photo (a PIL image, a path or an open file), the largest and surest first, at most twelve.

        The photo is taken as `open_photo` of `pipeline.faces.photos` gives it, and turned where its faces are not
        upright, see `Face.turn`. A model of other things than faces looks for none: the middle of the photo is its one
        answer. Raises UserError when there is no face, or the picture is too small, too large or not readable.
        """
        photo, size = opened(photo), max(ENCODER_SIZE, self.family.generator.size)
        if self.family.faces is None:
            return [centred(photo, size, self.family.rows(size))]
        return self.family.faces.find(photo, size)

    def paste(self, photo: Photo, face: Face, edited: Image.Image | Latent | Paint) -> Image.Image:
        """The photo in which `align` found `face`, with an edited picture of it in its place (RGB in sRGB), upright
        also where `align` had to turn it. `edited` is the picture, or the latent of it; with a latent that is painted,
        all of the photo is painted; with the `paint` of one alone the photo is painted as it is, the face in it too."""
        of_type("edited", edited, (Image.Image, Latent, Paint), "a picture of PIL, a latent or its paint")
        if isinstance(edited, Paint):
            return put_back(photo, face, None, edited)
        if isinstance(edited, Image.Image):
            return put_back(photo, face, edited)
        self._check(edited)
        return put_back(opened(photo), face, self.image(replace(edited, paint=None)), edited.paint)

    def view(self, photo: Photo, side: int, turn: int = 0) -> Image.Image:
        """A photo as `align` and `paste` see it, at most `side` pixels a side. `turn` is that of its faces."""
        return turned(shrunk(opened(photo), number("side", side)), number("turn", turn))

    def invert(self, face: Face | Image.Image, through: str = "encoder") -> Latent:
        """The code in W+ of a face, or of a picture that is aligned already (e4e); with `through` "clip" that of a face
        that looks like what CLIP saw in it. Raises UserError for a picture of another shape, and where the model has no
        encoder, or no alignment."""
        image = aligned(face)
        if one_of("through", through, ("encoder", "clip")) == "clip":
            return invert_through_clip(self.family, photo_square(self.family, image))
        return inversion.invert(self.family, image)

    def likeness(self, latent: Latent, face: Face | Image.Image) -> float | None:
        """How much the picture of a latent is the person of an aligned face: the cosine of their identity embeddings.
        None where the model has no identity network, because its pictures are not of persons."""
        self._check(latent)
        return inversion.likeness(self.family, latent, photo_square(self.family, aligned(face)))

    def refine(
        self, latent: Latent, face: Face | Image.Image, steps: int = REFINE_STEPS, preview: int | None = None
    ) -> Iterator[Step]:
        """Move the code of a face closer to its photo, in W+: its pixels, its contrast, the person, and what CLIP sees.

        Otherwise as `optimize`. Refining and tuning make a new source rather than an edit, without a style and
        paint: `repeat` knows their recipes, but can't follow them without the photo.
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
        begin = partial(towards_photo, self.family, method, latent, photo_square(self.family, aligned(face)), steps)
        recipe = new_recipe(self.family, method, latent, {"steps": steps})
        return steps_of(begin, recipe, self.picture, self.image, self.family.generator.size, preview)
