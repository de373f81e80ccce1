"""The endpoints that take faces out of photos, make them up, mix them, and put them back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import gradio as gr

from pipeline import Latent
from pipeline.errors import UserError
from webapp.api.values import (
    PREVIEW,
    Endpoints,
    Picture,
    Result,
    chosen,
    flag,
    number,
    png,
    streamed,
    uploaded,
)
from webapp.limits import MOST_STEPS
from webapp.panels.photo import TRUNCATION


class Faces(Endpoints):
    """Their docstrings and type hints are what programs and MCP clients read of them."""

    def align(self, photo: gr.FileData, which: int = 0) -> Picture:
        """Find the faces in a photo and crop one of them, upright. Gives the crop (PNG), and `faces`, how many there
        are.

        Args:
            photo: A picture file (JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF), at most 20 MB and 52 megapixels.
            which: Which of the faces, 0 for the largest.
        """
        faces = self.studio.align(uploaded(photo))
        return png(chosen(faces, which).image), {"faces": len(faces)}

    def invert(
        self,
        photo: gr.FileData,
        which: int = 0,
        aligned: bool = False,
        through: Literal["encoder", "clip"] = "encoder",
    ) -> Result:
        """Turn a face into a latent code of the model. Gives the model's picture of it (PNG), the latent
        (safetensors), `faces`, how many the photo has, and `likeness`, the cosine of the identities of photo and
        picture: it means something only for the kind of pictures that `likeness` in the model's row names.

        Args:
            photo: A photo with a face, or the crop that align gave.
            which: Which of the faces, 0 for the largest.
            aligned: True when the photo is a crop of align already.
            through: encoder for the code closest to the face; clip for a face that looks like what CLIP understood.
        """
        if through not in ("encoder", "clip"):
            raise UserError("`through` is encoder or clip.")
        face, count = self._face(photo, which, aligned)
        latent = self.studio.invert(face, through)
        return self._drawn(latent, {"faces": count, "likeness": self.studio.likeness(latent, face)})

    def refine(
        self,
        photo: gr.FileData,
        latent: gr.FileData = None,
        which: int = 0,
        aligned: bool = False,
        tune: bool = False,
        steps: int | None = None,
    ) -> Iterator[Result]:
        """Bring the picture of a latent closer to its photo. Streams as optimize does; the last answer has the
        `likeness` too.

        Args:
            photo: A photo with the face, or the crop that align gave.
            latent: The latent to begin with; that of invert if left out.
            which: Which of the faces, 0 for the largest.
            aligned: True when the photo is a crop of align already.
            tune: False to move the latent; True to tune the generator to this one face, which the latent file carries.
            steps: How many, 1 to 500; the usual number if left out.
        """
        given = {} if steps is None else {"steps": number("steps", steps, 1, MOST_STEPS)}
        face, _ = self._face(photo, which, aligned)
        start = self.studio.invert(face) if latent is None else self._source(None, latent)
        closer = self.studio.tune if flag("tune", tune) else self.studio.refine
        for picture, code, fields in streamed(closer(start, face, preview=PREVIEW, **given)):
            if code is not None:
                fields["likeness"] = self.studio.likeness(Latent.load(code.path), face)
            yield picture, code, fields

    def sample(self, seed: int, truncation: float = TRUNCATION) -> Result:
        """Make up a face that belongs to nobody. Gives its picture (PNG) and its latent (safetensors).

        Args:
            seed: Which one, 0 to 4294967295.
            truncation: How far from the average face, 0 to 1.
        """
        seed = number("seed", seed, 0, 2**32 - 1)
        truncation = number("truncation", truncation, 0, 1)
        return self._drawn(self.studio.sample(seed, truncation), {"seed": seed})

    def interpolate(self, latent: gr.FileData, other: gr.FileData, share: float = 0.5) -> Result:
        """Mix two faces. Gives the picture (PNG) and the latent (safetensors) of the mixture.

        Args:
            latent: The latent of the one.
            other: The latent of the other.
            share: How much of the other, 0 to 1.
        """
        share = number("share", share, 0, 1)
        one, other = self._source(None, latent), self._source(None, other)
        return self._drawn(one.towards(other, share), {"share": share})

    def paste(
        self, photo: gr.FileData, edited: gr.FileData = None, which: int = 0, latent: gr.FileData = None
    ) -> Picture:
        """Put an edited face back into its photo, at the photo's size. Gives the photo (PNG).

        Args:
            photo: The photo that the face came from.
            edited: The edited picture, as the other functions give it; or give its latent.
            which: Which of the photo's faces, 0 for the largest.
            latent: The latent of the edited picture; of one that is painted, all of the photo is painted.
        """
        if (edited is None) == (latent is None):
            raise UserError("Please give either the edited picture or its latent file, not both.")
        photo_file = uploaded(photo)
        picture = self.studio.open(uploaded(edited)) if latent is None else self._source(None, latent)
        faces = self.studio.align(photo_file)
        face = chosen(faces, which)
        return png(self.studio.paste(photo_file, face, picture)), {"faces": len(faces)}
