"""Captions for drawn faces, and the plain texts by which each of their attributes is told."""

from pipeline.training.captions import Captions
from pipeline.training.demo.attributes import CATEGORIES

CAPTIONS = Captions(CATEGORIES)
# One plain text for each value, in the order of CATEGORIES, for zero-shot classification.
PROMPTS: dict[str, tuple[str, ...]] = {
    "hair_colour": tuple(f"face with {colour} hair" for colour in CATEGORIES["hair_colour"]),
    "hairstyle": ("bald face", "face with a full head of hair", "face with a mohawk"),
    "hair_texture": ("face with straight hair", "face with curly hair"),
    "hair_length": ("face with short hair", "face with long hair"),
    "fringe": ("face without a fringe", "face with a fringe"),
    "skin": ("face with pale skin", "face with tanned skin", "face with dark skin"),
    "gender": ("face of a woman", "face of a man"),
    "age": ("young face", "old face"),
    "beard": ("face without a beard", "face with a beard"),
    "moustache": ("face without a moustache", "face with a moustache"),
    "eyewear": ("face without glasses", "face with glasses", "face with sunglasses"),
    "expression": ("sad face", "face with a neutral expression", "smiling face", "surprised face", "angry face"),
    "eye_colour": tuple(f"face with {colour} eyes" for colour in CATEGORIES["eye_colour"]),
    "lips": ("face without lipstick", "face with red lipstick", "face with pink lipstick"),
    "eyeshadow": ("face without eyeshadow", "face with eyeshadow"),
    "earrings": ("face without earrings", "face with earrings"),
    "freckles": ("face without freckles", "face with freckles"),
}
