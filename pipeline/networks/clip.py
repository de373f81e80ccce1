"""CLIP from the `clip` package (Radford et al. 2021). The only place that imports it."""

import importlib
import sys
import warnings
from collections.abc import Mapping, Sequence
from functools import cache, partial
from types import ModuleType
from typing import Any

import torch
from torch import Tensor


def _import_clip() -> ModuleType:
    """Imports `clip` without torchvision, which only `clip.load` uses: importing it takes two seconds and 100 MB."""
    transforms = ModuleType("torchvision.transforms")
    for name in ("Compose", "Resize", "CenterCrop", "ToTensor", "Normalize"):
        setattr(transforms, name, partial(_transform, name))
    stand_ins = {"torchvision": ModuleType("torchvision"), "torchvision.transforms": transforms}
    if "torchvision" in sys.modules:
        stand_ins = {}
    sys.modules |= stand_ins
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
            import clip
    finally:
        for name in stand_ins:
            del sys.modules[name]
    return clip


def _transform(name: str, *args: Any, **options: Any) -> Any:
    """One of torchvision's transforms."""
    return getattr(_transforms(), name)(*args, **options)


@cache
def _transforms() -> ModuleType:
    """torchvision's, whose CUDA wheel fails beside a CPU build of torch. Only the schemas of its two compiled operators
    are missed there, and CLIP uses neither: declaring them is enough."""
    try:
        return importlib.import_module("torchvision.transforms")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _transforms.library = library  # the schemas live as long as this object
        return importlib.import_module("torchvision.transforms")


clip = _import_clip()
CLIP = clip.model.CLIP
VOCABULARY = 49408  # tokens
# In a state dict: the embedding's rows, and, where it has few of them, the tokens whose rows they are.
WORD_ROWS, WORD_TOKENS = "token_embedding.weight", "token_embedding.tokens"


def with_all_words(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict with a row for each token of the vocabulary: zero for those that a small model does not know, where
    the file names the tokens that it knows (K,) and has their rows (K, D) alone. Raises ValueError for tokens that are
    not K different ones of the vocabulary."""
    state = dict(state_dict)
    if WORD_TOKENS in state:
        tokens, rows = state.pop(WORD_TOKENS).long(), state[WORD_ROWS]
        if tokens.shape != rows.shape[:1] or len(tokens.unique()) < len(tokens) or tokens.min() < 0:
            raise ValueError("these are no tokens")
        state[WORD_ROWS] = rows.new_zeros(VOCABULARY, rows.shape[1])
        state[WORD_ROWS][tokens] = rows
    return state


def build_clip(state_dict: Mapping[str, Tensor]) -> CLIP:
    """OpenAI's model from its state dict, with every size read off the shapes: frozen, in eval mode, float32.

    Extra scalars of the published archives (input_resolution, context_length, vocab_size) are ignored.
    """
    scalars = {"input_resolution", "context_length", "vocab_size"}
    state = {k: v.float() for k, v in with_all_words(state_dict).items() if k not in scalars}
    with torch.device("meta"), warnings.catch_warnings():  # the package's own loading would draw and round the weights
        warnings.filterwarnings("ignore", message=".*is a no-op")
        model = clip.model.build_model(dict(state)).float()
    model.load_state_dict(state, assign=True)
    for block in model.transformer.resblocks:
        block.attn_mask = model.build_attention_mask()  # neither parameter nor buffer, so it is still on "meta"
    return model.eval().requires_grad_(False)


def narrow_clip(model: CLIP) -> None:
    """Put the large weights into bfloat16; the norms stay float32, as in OpenAI's half precision."""
    exact = {name: p.data for name, p in model.named_parameters()}
    clip.model.convert_weights(model)
    for name, p in model.named_parameters():
        if p.dtype == torch.float16:
            p.data = exact.pop(name).to(torch.bfloat16)


def tokenize(texts: str | Sequence[str]) -> Tensor:
    """Texts -> (N, 77) long. Texts that are too long are cut."""
    return clip.tokenize([texts] if isinstance(texts, str) else list(texts), truncate=True)


def is_too_long(text: str) -> bool:
    """Whether `tokenize` would cut a text."""
    try:
        clip.tokenize(text)
    except RuntimeError:
        return True
    return False


def is_word(text: str) -> bool:
    """Whether CLIP reads a text as one word that it knows, not as pieces."""
    return int(tokenize(text).count_nonzero()) == 3  # with start and end


def encode_text(model: CLIP, tokens: Tensor) -> Tensor:
    """Tokens (N, 77) -> embeddings (N, E), float32, not normalised. Columns after the longest text are left out."""
    return model.encode_text(tokens[:, : int(tokens.argmax(1).max()) + 1]).float()
