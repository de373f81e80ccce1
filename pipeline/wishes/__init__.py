"""Words as people type them, read as pairs of texts for an edit."""

from pipeline.wishes.answers import Reading, Wish
from pipeline.wishes.reader import read_wishes

__all__ = ["Reading", "Wish", "read_wishes"]
