"""Texts in CLIP's space: single prompts, and directions between prompts (StyleCLIP, section 6.1)."""

from collections.abc import Collection
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.errors import UserError
from pipeline.networks.clip import encode_text, is_too_long, tokenize
from pipeline.vocabulary import seldom_note, unknown_note

# ImageNet templates of CLIP's authors, without "a photo of many {}." as published with StyleCLIP. @ is "a" and "the".
_WITH_ARTICLE = """
a bad photo of @ {}. a sculpture of @ {}. a photo of @ hard to see {}. a low resolution photo of @ {}.
a rendering of @ {}. graffiti of @ {}. a cropped photo of @ {}. a tattoo of @ {}. @ embroidered {}.
a bright photo of @ {}. a photo of @ clean {}. a photo of @ dirty {}. a dark photo of @ {}. a drawing of @ {}.
@ plastic {}. a photo of @ cool {}. a close-up photo of @ {}. a black and white photo of @ {}. a painting of @ {}.
a pixelated photo of @ {}. a jpeg corrupted photo of @ {}. a blurry photo of @ {}. a photo of @ {}.
a good photo of @ {}. @ {} in a video game. a doodle of @ {}. @ origami {}. a sketch of @ {}. @ toy {}.
a rendition of @ {}. a photo of @ large {}. a photo of @ nice {}. a photo of @ weird {}. @ cartoon {}. art of @ {}.
@ plushie {}. itap of @ {}. a photo of @ small {}.
"""
_PLAIN = [f"{template.strip()}." for template in _WITH_ARTICLE.split(".")[:-1]]
TEMPLATES = tuple(template.replace("@", article) for template in _PLAIN for article in ("a", "the"))
TEMPLATES += ("a photo of my {}.", "a photo of one {}.", "itap of my {}.")
LONGEST_TEMPLATE = max(TEMPLATES, key=len)

MAX_CHARACTERS = 1000
CUT_NOTE = "The description is longer than CLIP can read; its end was left out."
SIGNS_NOTE = "This description has no words in it; words are understood better than signs."


def check_prompt(text: str, in_templates: bool = False) -> list[str]:
    """Notes about a prompt that is usable. Raises UserError for one that is not."""
    if not text.strip():
        raise UserError("Please describe the face in a few words first.")
    if any("\ud800" <= c <= "\udfff" for c in text):
        raise UserError("Please use other signs: half of one is missing in this description.")
    if len(text) > MAX_CHARACTERS:
        raise UserError(f"Please use a shorter description, of at most {MAX_CHARACTERS:,} characters.")
    notes = [] if any(c.isalnum() for c in text) else [SIGNS_NOTE]
    return notes + ([CUT_NOTE] if is_too_long(LONGEST_TEMPLATE.replace("{}", text) if in_templates else text) else [])


def check_goal(prompt: str, neutral: str) -> list[str]:
    """Notes about a prompt, and a neutral text or "", that are usable. Raises UserError when they are not."""
    notes = check_prompt(prompt)
    if neutral:
        notes += check_prompt(neutral)
        if torch.equal(tokenize(prompt), tokenize(neutral)):  # CLIP reads the same
            raise UserError(f"“{prompt.strip()}” is what there is already; please say what should change.")
    return list(dict.fromkeys(notes))


def check_pair(target: str, neutral: str) -> list[str]:
    """Notes about two prompts that have a direction between them. Raises UserError when they have none."""
    notes = check_prompt(target, in_templates=True) + check_prompt(neutral, in_templates=True)
    if torch.equal(tokenize(target), tokenize(neutral)):
        raise UserError("The target and the neutral description are the same; please say what should change.")
    return list(dict.fromkeys(notes))


class Texts:
    """Embeddings of texts by one CLIP model. The latest are remembered, so that moving a slider computes none.

    `vocabulary`: the words that the model was taught, where they can be listed. `seldom`: those of what its pictures
    seldom show after an edit.
    """

    def __init__(self, model: nn.Module, vocabulary: Collection[str] = (), seldom: Collection[str] = ()) -> None:
        self.model, self.vocabulary, self.seldom = model, frozenset(vocabulary), frozenset(seldom)
        self.device = model.text_projection.device
        self.embedding = lru_cache(maxsize=256)(self._embedding)
        self.averaged = lru_cache(maxsize=256)(self._averaged)

    def pair_notes(self, target: str, neutral: str) -> tuple[str, ...]:
        """`check_pair`, and notes that name the words which the model was never taught, and what it seldom manages."""
        seldom = seldom_note(self.seldom, target, neutral)
        return (*check_pair(target, neutral), *self._unknown(target, neutral), *([seldom] if seldom else []))

    def goal_notes(self, prompt: str, neutral: str, more: Collection[str] = ()) -> tuple[str, ...]:
        """`check_goal`, and the same of the prompt, in which the words `more` are known besides."""
        return (*check_goal(prompt, neutral), *self._unknown(prompt, more=more))

    def _unknown(self, *texts: str, more: Collection[str] = ()) -> list[str]:
        vocabulary = self.vocabulary.union(more) if self.vocabulary else self.vocabulary
        return [note] if (note := unknown_note(vocabulary, " ".join(texts))) else []

    @torch.no_grad()
    def _encode(self, texts: list[str]) -> Tensor:
        return F.normalize(encode_text(self.model, tokenize(texts).to(self.device)))

    def _embedding(self, text: str) -> Tensor:
        """Unit embedding (1, E) of one text as it is."""
        return self._encode([text])

    def _averaged(self, text: str) -> Tensor:
        """Unit mean (E,) of the unit embeddings of a text in all templates."""
        return F.normalize(self._encode([template.replace("{}", text) for template in TEMPLATES]).mean(0), dim=0)

    def direction(self, target: str, neutral: str) -> Tensor:
        """Δt (E,), of unit norm (section 6.1). Raises UserError when CLIP cannot tell the texts apart."""
        difference = self.averaged(target) - self.averaged(neutral)
        if difference.norm() < 1e-4:
            raise UserError("This model sees no difference between the two descriptions; please use other words.")
        return F.normalize(difference, dim=0)
