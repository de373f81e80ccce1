"""The drawn example faces of the page, as files."""

from webapp.example_faces import DRAWINGS

EXAMPLES = [example.path for example in DRAWINGS]
