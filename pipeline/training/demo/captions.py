"""Captions for drawn faces."""

from pipeline.training.captions import Captions
from pipeline.training.demo.attributes import CATEGORIES

CAPTIONS = Captions(CATEGORIES)
