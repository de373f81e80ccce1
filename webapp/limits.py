"""How much one visitor may ask for: the longest run, and the numbers that links and recipes may bring."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.errors import UserError

LARGEST = 10**300  # whole numbers beyond it are too long for a sentence
MOST_STEPS = 500  # of one run
MAX_BYTES = 20 * 2**20  # of an upload; pixels are looked at by pipeline.faces.decode, before it decodes them
MAPPER_BYTES = 24 * 2**20  # of an upload: a mapper of StyleSpace at 1024 px has 21.4 MiB
LIMITS: dict[str, tuple[float, float]] = {
    "strength": (-20, 20),
    "threshold": (0, 1),
    "channels": (1, 20_000),
    "steps": (1, MOST_STEPS),
    "l2": (0, 1),
    "identity": (0, 1),
    "lr": (0, 1),
    "noise": (0, 3),
    "share": (-20, 20),
}


def check(parameters: Mapping[str, Any]) -> None:
    """Raises UserError for a number that no edit of this page has."""
    for slider in parameters.get("sliders", ()):
        check({"strength": slider["strength"]})
    for name, (low, high) in LIMITS.items():
        if name in parameters and not low <= (given := parameters[name]) <= high:
            told = "" if isinstance(given, int) and abs(given) > LARGEST else f"{given:g} "
            raise UserError(f"The number {told}for {name} is out of range ({low:g} to {high:g}).")
