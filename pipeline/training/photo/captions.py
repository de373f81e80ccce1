"""What photographed faces are said to have: the attributes that CLIP learns, and the plain texts that tell them."""

from pipeline.training.captions import Captions

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
# One plain text for each value, in the order of CATEGORIES, for zero-shot classification.
PROMPTS: dict[str, tuple[str, ...]] = {
    "hair_colour": tuple(f"face with {colour} hair" for colour in CATEGORIES["hair_colour"]),
    "hairstyle": ("bald face", "face with a full head of hair"),
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
    "lips": ("face without lipstick", "face with lipstick"),
    "makeup": ("face without makeup", "face with makeup"),
    "earrings": ("face without earrings", "face with earrings"),
    "hat": ("face without a hat", "face with a hat"),
}
