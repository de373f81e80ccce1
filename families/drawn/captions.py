"""Captions for drawn faces."""

from families.captions import Captions
from families.drawn.attributes import CATEGORIES

CAPTIONS = Captions(CATEGORIES)
