"""StyleCLIP as a library: edit faces by text, without the web page.

>>> from pipeline import StyleCLIP
>>> studio = StyleCLIP.from_pretrained()
>>> latent = studio.invert(studio.align("photo.jpg")[0])
>>> studio.direct(latent, target="smiling face", neutral="face").image.show()
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.batch.run import edit_photos
    from pipeline.edits import Edit, Step
    from pipeline.errors import UserError
    from pipeline.faces.detection import Face
    from pipeline.latents import Latent
    from pipeline.models.family import available_models
    from pipeline.styleclip import StyleCLIP

_HOMES = {
    "Edit": "edits",
    "Face": "faces.detection",
    "Latent": "latents",
    "Step": "edits",
    "StyleCLIP": "styleclip",
    "UserError": "errors",
    "available_models": "models.family",
    "edit_photos": "batch.run",
}
__all__ = ["Edit", "Face", "Latent", "Step", "StyleCLIP", "UserError", "available_models", "edit_photos"]


def __getattr__(name: str) -> Any:
    """Imports on first use: training, which needs `pipeline.networks` alone, runs without dlib and clip."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
