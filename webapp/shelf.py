"""What a visitor has learned or brought of one kind, mappers or styles, and the pictures in their gallery."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Shelf:
    """Of one visit; what it names are files."""

    files: dict[str, Path] = field(default_factory=dict)
    """Of what this visitor trained or brought, by name."""
    thumbs: dict[str, str] = field(default_factory=dict)
    """Files of the pictures in the gallery, by name, of those and of the model's; "" for one that can't be applied."""
    thumbs_of: str = ""
    """The key of the face that these show, but for those that are not drawn yet."""
    trainings: int = 0
    """How many trainings were asked for; the number of the newest."""
    trainings_cancelled: int = 0
    """The number of the newest training when Cancel was pressed: it and those before it are to end."""

    def paths(self) -> Iterator[str | Path]:
        """All its files."""
        yield from self.files.values()
        yield from self.thumbs.values()
