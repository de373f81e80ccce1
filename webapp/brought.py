"""Latents that visitors and programs bring as files."""

from __future__ import annotations

from io import BytesIO

import torch

from pipeline import Latent
from pipeline.errors import UserError
from pipeline.networks.stylegan2 import Generator

LATENT_BYTES = 4 * 2**20  # a code with a step in S is 73 KB at 1024 px; one with a tuned generator up to 4 MB


TOO_LARGE = "This file is too large for a latent; please choose one that was saved by this studio."


def read_latent(file: bytes, generator: Generator) -> Latent:
    """A latent that fits the generator, from the content of a file. Raises UserError for any other content."""
    if len(file) > LATENT_BYTES:
        raise UserError(TOO_LARGE)
    latent = Latent.load(BytesIO(file))
    if not latent.fits(generator):
        raise UserError("This latent was made with another model; start the studio with that model to use it.")
    tuned = latent.tuning.tensors().values() if latent.tuning else ()
    if not all(bool(torch.isfinite(values).all()) for values in (latent.w_plus, *(latent.style_step or ()), *tuned)):
        raise UserError("This latent holds numbers that are none; please choose one that was saved by this studio.")
    return latent
