"""Which network a checkpoint holds, however deep it lies in it and whatever its names begin with.

Networks are known by one of their tensors. What stands before its name is the prefix of the whole network:
"g_ema.", "state_dict.decoder.", "params_ema.module.". What can't be used is named.
"""

import argparse
import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.models.generator_formats import StateDict, from_ada, from_tensorflow, whole_generator
from pipeline.models.unpickling import Array, Record

FileTensors = dict[str, Tensor | np.ndarray | np.generic]
"""What a file holds, as it is there: whatever its numbers are, and however often a tensor or array occurs."""
LONGEST_NAME = 300  # characters
MOST_TENSORS = 20_000  # of a file; a training's whole state has some thousands
EXPANDED = 10_000_000  # numbers of the tensors that may share memory, as those of an expanded one do

MOBILE_GENERATOR = "to_image.weight"  # of MobileStyleGAN, under our names: it comes out of a wheel as it is needed
W_ENCODER = "reduce.weight"
# kind -> the name of one of its tensors, and those of all
KNOWN_BY = {
    "encoder": (r"styles\.0\.linear\.weight", r"(input_layer|body|styles|latlayer\d)\..*"),
    "w_encoder": (re.escape(W_ENCODER), r"(stem|units|norm|reduce|linear)\..*"),
    "preview": (r"conv2\.depthwise", r"(conv1|conv2|to_image)\..*"),
    "identity": (r"output_layer\.3\.weight", r"(input_layer|body|output_layer)\..*"),
    "clip": (r"text_projection", r".*"),
    "mapper": (
        r"(?:(?:course|medium|fine)_mapping|mapping|mapper_\d+)\.mapping\.1\.weight|moved_std",
        r"((course|medium|fine)_mapping|mapping|mapper_\d+)\..*|mean|seen_std|moved_std",
    ),
    "style": (r"style\..+\.left", r"style\..+\.(left|right)"),
    "directions": (r"relevance", r"relevance|style_std|agreement"),
    "alignment": (r"w_mapper\.out\.weight", r".*"),
    "looks": (r"seen", r"seen|styles"),
    "parts": (r"parts\.weight", r"(hidden|parts)\..*|resolution"),
    "painter": (r"down\.0\.0\.weight", r"(base|down|up|out)\..*"),
}
ENCODERS = {"Encoder4Editing": "e4e", "GradualStyleEncoder": "pSp", "GradientStyleEncoder": "pSp"}
# The same of the forms of a generator: rosinality's, which is ours, stylegan2-ada-pytorch's and TensorFlow's.
FORMS = (
    (r"conv1\.conv\.modulation\.weight", r"(style|input|conv1|to_rgb1|convs|to_rgbs|noises)\..*", dict),
    (r"synthesis\.b4\.const", r"(mapping|synthesis)\..*", from_ada),
    (r"synthesis/4x4/Const/const", r"(mapping|synthesis)/.*", from_tensorflow),
)
PREFIX = r"|(?:.*[./])?G_|.*[./]"  # TensorFlow's names may begin with G_
GROUPS = ("_parameters", "_buffers", "_modules", "variables", "components")  # of a module: what tensors may lie in
AVERAGES = ("latent_avg", "w_avg", "dlatent_avg", "mean_latent")

CONDITIONAL = "a class-conditional generator, and this studio has no classes"
STYLEGAN1 = "a StyleGAN1 generator, and this studio draws with StyleGAN2"
# What else a file may hold, and what it is: the first whose names are there. They stand after a PREFIX.
OTHERS = {
    r"mapping\.embed\.weight|mapping/LabelConcat/.*": CONDITIONAL,
    r"synthesis\.input\.(freqs|weight)": "a StyleGAN3 generator, and this studio draws with StyleGAN2",
    r"(StyleMod/|style_mod\.|adain\d?\.|progression\.\d).*": STYLEGAN1,
    r"conv1\.conv\.modulation\.weight|synthesis\.b4\.const|4x4/Const/const": "a StyleGAN2 generator",
    re.escape(MOBILE_GENERATOR): "a MobileStyleGAN generator",
    KNOWN_BY["w_encoder"][0]: "an encoder into W",
    KNOWN_BY["preview"][0]: "a preview of a generator",
    r"styles\.0\.linear\.weight": "an encoder, as e4e or pSp",
    r"output_layer\.3\.weight": "an identity network",
    r"text_projection": "a CLIP",
    r"text_model\..*|text_projection\.weight": "a CLIP in the form of Hugging Face, and this studio reads OpenAI's",
    KNOWN_BY["mapper"][0]: "a latent mapper",
    KNOWN_BY["style"][0]: "a style",
    r"relevance": "a relevance matrix",
    r"w_mapper\.out\.weight": "an alignment",
    r"seen": "what CLIP sees in sampled faces",
    r"parts\.weight": "a reader of the parts of a face",
    r"w_plus": "a latent",
    KNOWN_BY["painter"][0]: "a painter",
    r"final_linear\.\d\.weight|b4\.out\.weight": "a discriminator",
}


class Unusable(Exception):
    """A file can't be used; the message is the reason, as the end of a sentence without its full stop."""


def find_network(kind: str, content: Any, size: int) -> StateDict:
    """The tensors of a network under the names of the published PyTorch checkpoints, float32 where they are no whole
    numbers. `content` is what was read from a file of `size` bytes.

    A "generator" comes with `latent_avg`, (D,) or (L, D), where the file has it. Raises Unusable where there is none,
    and for tensors that are larger than their file.
    """
    tensors = _found(content)
    if kind == "directions" and len(tensors) == 1:  # the matrix alone, whatever it is called
        tensors = {"relevance": next(iter(tensors.values()))}
    options = _options(content) if kind == "encoder" else {}
    if (encoder := options.get("encoder_type", "Encoder4Editing")) not in ENCODERS:
        raise Unusable(f"it is an encoder of the kind {encoder}, and this studio reads e4e and pSp")
    if kind == "encoder" and _prefix(tensors, KNOWN_BY[kind][0]) is None:
        kind = "w_encoder"
    if kind == "generator":
        state = _generator(tensors, size)
    else:
        known_by, names = KNOWN_BY[kind]
        if (prefix := _prefix(tensors, known_by)) is None:
            raise Unusable(what_is(tensors))
        state = _under(tensors, prefix, names, size)
    state = _encoder(state, options, tensors, size) if kind == "encoder" else state
    for name, value in state.items():
        fine = value > -math.inf if kind != "clip" else ~value.isnan()  # OpenAI's archives hold masks of -inf
        if not (fine & (value < math.inf)).all():
            raise Unusable(f"{name} holds numbers that are none")
    return state


def what_is(names: Mapping[str, Any]) -> str:
    """What a file holds, in words."""
    for pattern, words in OTHERS.items():
        if any(re.fullmatch(rf"(?:{PREFIX})(?:{pattern})", name) for name in names):
            return f"it is {words}"
    return "its tensors are of a network that this studio does not know" if names else "it holds no tensors"


def _generator(tensors: FileTensors, size: int) -> StateDict:
    if MOBILE_GENERATOR in tensors:
        return _plain(tensors, size)
    forms = [(prefix, *form) for form in FORMS if (prefix := _prefix(tensors, form[0])) is not None]
    if not forms:
        raise Unusable(what_is(tensors))
    prefix, _, names, convert = forms[0]
    found = _under(tensors, prefix, names, size)
    if any("embed" in name or "LabelConcat" in name for name in found):
        raise Unusable(f"it is {CONDITIONAL}")
    if any("StyleMod/" in name for name in found):
        raise Unusable(f"it is {STYLEGAN1}")
    inside = [name for name in tensors if name.startswith(prefix)]
    means = [name for name in (*inside, *tensors) if re.split("[./]", name)[-1] in AVERAGES]
    try:
        mean = _plain({means[0]: tensors[means[0]]}, size)[means[0]] if means else None
        return whole_generator(convert(found), mean)
    except KeyError as error:
        raise Unusable(f"its layers are not those of StyleGAN2 ({error.args[0]} is missing)") from error
    except ValueError as error:
        raise Unusable(str(error)) from error


def _encoder(state: StateDict, options: Mapping[str, Any], tensors: FileTensors, size: int) -> StateDict:
    """An encoder's tensors, and what its file says beside them: `absolute_rows` of a pSp encoder, whose rows don't
    count from row 0; `start` (L, D), what the rows are added to, where that isn't the generator's mean latent."""
    if options.get("learn_in_w"):
        raise Unusable("it is an encoder that was trained in W (learn_in_w), and this studio edits in W+")
    if (channels := state["input_layer.0.weight"].shape[1]) != 3:
        raise Unusable(f"it is an encoder for pictures of {channels} channels, and photos have 3")
    rows = len({k.split(".")[1] for k in state if k.startswith("styles.")})
    shape = rows, len(state["styles.0.linear.bias"])
    if ENCODERS[options.get("encoder_type", "Encoder4Editing")] == "pSp":
        state["absolute_rows"] = torch.tensor(True)
    if not options.get("start_from_latent_avg", True):
        state["start"] = torch.zeros(shape)
    elif means := [name for name in tensors if name.split(".")[-1] in AVERAGES]:
        mean = _plain({means[0]: tensors[means[0]]}, size)[means[0]]  # the one that it was trained with
        mean = mean.float().reshape(-1, shape[1])
        if len(mean) != 1 and len(mean) < rows:
            raise Unusable(f"its mean latent has {len(mean)} rows, and it finds {rows}")
        state["start"] = mean[:rows].expand(shape)
    return state


def _options(content: Any, depth: int = 5) -> Mapping[str, Any]:
    """The options that an encoder was trained with, wherever they lie in a file; none where it has none."""
    if isinstance(content, Record) and isinstance(content.state, Mapping):
        content = content.state
    if isinstance(content, argparse.Namespace | SimpleNamespace):
        content = vars(content)
    if isinstance(content, str):
        with suppress(ValueError, RecursionError):
            content = json.loads(content)
    if not isinstance(content, Mapping) or not depth:
        return {}
    if not content.keys().isdisjoint(("encoder_type", "learn_in_w", "start_from_latent_avg")):
        return content
    return next(filter(None, (_options(child, depth - 1) for child in content.values())), {})


def _prefix(tensors: FileTensors, known_by: str) -> str | None:
    """What stands before the name of the tensor that a network is known by; None where it is nowhere.

    Of several the moving average ("ema") goes first, then the shortest.
    """
    prefixes = [m[1] for name in tensors if (m := re.fullmatch(rf"({PREFIX})(?:{known_by})", name))]
    return min(prefixes, key=lambda prefix: ("ema" not in prefix.lower(), len(prefix)), default=None)


def _under(tensors: FileTensors, prefix: str, names: str, size: int) -> StateDict:
    """The tensors under a prefix, without it, whose names are of the network."""
    inside = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    return _plain({name: value for name, value in inside.items() if re.fullmatch(names, name)}, size)


def _plain(values: FileTensors, size: int) -> StateDict:
    """Tensors and arrays of a file of `size` bytes as tensors, float32 where they are no whole numbers."""
    numbers = sum(math.prod(value.shape) for value in values.values())
    if numbers > size + EXPANDED:  # no format stores a number in less than a byte
        raise Unusable(f"its tensors say that they have {numbers:,} numbers, which are not in the file")
    state: StateDict = {}
    for name, value in values.items():
        if not isinstance(value, Tensor):
            value = torch.from_numpy(np.array(value, value.dtype.newbyteorder("=")))
        if value.is_complex() or value.is_sparse or value.is_quantized:
            raise Unusable(f"{name} is of complex, sparse or quantised numbers")
        state[name] = value.float() if value.is_floating_point() else value
    return state


def _found(content: Any) -> FileTensors:
    """Every tensor and array of a file by its place. Raises Unusable for too many, and for names that are too long."""
    found = dict(islice(_tensors(content), MOST_TENSORS + 1))
    if len(found) > MOST_TENSORS:
        raise Unusable(f"it holds more than {MOST_TENSORS:,} tensors, more than any network needs")
    return found


def _tensors(content: Any) -> Iterator[tuple[str, Tensor | np.ndarray | np.generic]]:
    """Every tensor and array with its place in dictionaries, lists and modules, joined by dots; those of NVIDIA's
    TensorFlow networks by slashes. What holds others, and occurs twice, is looked into once."""
    seen: set[int] = set()

    def walk(value: Any, prefix: str) -> Iterator[tuple[str, Tensor | np.ndarray | np.generic]]:
        if isinstance(value, Array):
            value = value.value
        is_array = isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biufc"
        if not is_array and not isinstance(value, (Tensor, Mapping, list, tuple)):
            return
        too_long = len(prefix) > LONGEST_NAME + 1
        if is_array or isinstance(value, Tensor):
            if too_long:
                raise Unusable(f"the name of one of its tensors has more than {LONGEST_NAME} characters")
            yield prefix.removesuffix("."), value
        elif id(value) not in seen and not too_long:  # under so long a name lie options, no network
            seen.add(id(value))
            for name, child in _children(value):
                if not (isinstance(value, (list, tuple)) and isinstance(child, np.generic)):  # a list of losses
                    yield from walk(child, f"{prefix}{name}")

    return walk(content, "")


def _children(value: Any) -> Iterator[tuple[str, Any]]:
    """The parts of a dictionary, list or module with their names, which end in a dot or slash."""
    attributes = value.state if isinstance(value, Record) else None
    if attributes is None and isinstance(value, Record) and value.args and isinstance(value.args[0], Mapping):
        attributes = value.args[0].get("state")  # as `persistence` of stylegan2-ada-pytorch wraps modules
    if isinstance(attributes, Mapping):
        for group in GROUPS[:3]:
            yield from ((f"{name}.", child) for name, child in _items(attributes.get(group)))
        yield from ((f"{name}.", child) for name, child in _pairs(attributes.get("variables")))
        for name, child in _items(attributes.get("components")):
            variables = child.state.get("variables") if isinstance(child, Record) else None
            yield from ((f"{name}/{variable}.", array) for variable, array in _pairs(variables))
        if attributes.keys().isdisjoint(GROUPS):  # TorchScript's, which has all in one
            yield from ((f"{name}.", child) for name, child in _items(attributes))
    if isinstance(value, tuple) and len(value) == 3 and all(isinstance(v, Record) or v is None for v in value):
        yield from zip(("G.", "D.", "G_ema."), value, strict=True)  # TensorFlow's
    elif isinstance(value, (list, tuple)):
        yield from ((f"{i}.", child) for i, child in enumerate(value))
    else:
        yield from ((f"{name}.", child) for name, child in _items(value))


def _items(value: Any) -> list[tuple[str | int, Any]]:
    """The parts of a dictionary whose names are texts or numbers."""
    return [pair for pair in value.items() if isinstance(pair[0], (str, int))] if isinstance(value, Mapping) else []


def _pairs(value: Any) -> list[tuple[str, Any]]:
    """Names and arrays, which TensorFlow's networks keep as a list of pairs."""
    pairs = value if isinstance(value, list) else []
    return [pair for pair in pairs if isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str)]
