"""What one visitor has on the server."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from pipeline import Edit, Face, Latent


@dataclass
class Session:
    """One visitor's face and newest edit: small, on the CPU, and gone an hour after they leave.

    Gradio gives every visitor a copy of the one made at start, so that a first visit finds an example face in place.
    The handlers change it where it stands; nobody else holds it.
    """

    face: Face | None = None
    """The aligned crop, where the face came from a photo."""
    latent: Latent | None = None
    """The code of the face: what every edit starts from."""
    picture: Image.Image | None = None
    """The picture of that code."""
    edit: Edit | None = None
    """The newest edit."""
    before: Image.Image | None = None
    """What the newest edit is compared with: the face's picture, or the average face for words alone."""
    mappers: dict[str, Path] = field(default_factory=dict)
    """Files of the mappers that this visitor trained or brought, by name."""
    thumbs: dict[str, str] = field(default_factory=dict)
    """Files of their pictures in the gallery."""
    stop: bool = False
    """Set by the Stop button, read between two steps of an optimization."""
    cancel: bool = False
    """Set by the Cancel button of a download, read while it runs."""
    cancel_training: bool = False
    """The same of a training."""

    def start_from(self, latent: Latent, picture: Image.Image, face: Face | None = None) -> None:
        """Take another face; the edit of the one before goes with it."""
        self.latent, self.picture, self.face = latent, picture, face
        self.edit, self.before = None, picture

    def keep(self, edit: Edit, before: Image.Image | None = None) -> None:
        """Take an edit as the newest, compared with the face unless another picture is given."""
        self.edit, self.before = edit, before or self.picture
