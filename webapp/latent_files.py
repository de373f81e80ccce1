"""Latents that visitors and programs bring as files."""

from __future__ import annotations

from io import BytesIO

from pipeline import Latent
from pipeline.checks import latent_of
from pipeline.errors import UserError
from pipeline.networks.generator import StyleGenerator

LATENT_BYTES = 8 * 2**20  # a code with a step in S is 73 KB at 1024 px; a tuning or a style is up to 2 MB each


TOO_LARGE = "This file is too large for a latent; please choose one that was saved by this studio."


def read_latent(file: bytes, generator: StyleGenerator) -> Latent:
    """A latent that fits the generator, from the content of a file. Raises UserError for any other content."""
    if len(file) > LATENT_BYTES:
        raise UserError(TOO_LARGE)
    return latent_of("latent", Latent.load(BytesIO(file)), generator)
