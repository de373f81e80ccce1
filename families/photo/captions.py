"""Captions for photographed faces: the attributes that CLIP learns."""

from families.captions import Captions

CATEGORIES: dict[str, tuple[str, ...]] = {
    "hair_colour": ("black", "brown", "red", "blonde", "grey"),
    "hairstyle": ("bald", "hair"),
    "hair_texture": ("straight", "curly"),
    "hair_length": ("short", "long"),
    "fringe": ("no", "yes"),
    "skin": ("pale", "tanned", "dark"),
    "gender": ("woman", "man"),
    "age": ("young", "old"),
    "beard": ("no", "yes"),
    "moustache": ("no", "yes"),
    "eyewear": ("none", "glasses", "sunglasses"),
    "expression": ("sad", "neutral", "smiling", "surprised", "angry"),
    "lips": ("bare", "painted"),
    "makeup": ("no", "yes"),
    "earrings": ("no", "yes"),
    "hat": ("no", "yes"),
}
CAPTIONS = Captions(CATEGORIES)
