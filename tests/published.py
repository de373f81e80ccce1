"""Files of exactly the published names, keys, shapes and dtypes, with seeded values: at full size, or small ones."""

import argparse
import copy
import json
import pickle
import warnings
from collections import OrderedDict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.networks.arcface import IRSE
from pipeline.networks.clip import CLIP, clip
from pipeline.networks.e4e import Encoder
from pipeline.networks.mapper import LevelsMapper
from pipeline.networks.stylegan2 import Generator
from tests.goldens import Goldens

FORMATS = Path(__file__).parent / "formats"
State = dict[str, Tensor]


def published_format(name: str) -> dict[str, Any]:
    """What is known of a published file: its keys with shapes and dtypes."""
    return json.loads((FORMATS / f"{name}.json").read_text())


def filled(shapes: dict[str, Any], prefix: str = "") -> State:
    """Tensors of the shapes and dtypes that a format tells, with the goldens' values."""
    goldens, state = Goldens(), {}
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    kernel = torch.outer(taps, taps) / 16
    for name, (shape, dtype) in shapes.items():
        if name.endswith("kernel"):
            state[name] = kernel.clone()
            continue
        empty = torch.zeros(shape, dtype=getattr(torch, dtype))
        state[name] = goldens.value(name.removeprefix(prefix), empty).to(empty.dtype)
    return state


class Sizes:
    """The networks of a family, as state dicts under the published names."""

    def __init__(self, small: bool) -> None:
        self.small = small
        if small:
            goldens = Goldens()
            narrow = {"widths": (8, 12, 16, 24), "depths": (1, 1, 2, 1), "reduction": 4}
            generator = Generator(64, style_dim=32, n_mlp=8, channels={4: 16, 8: 16, 16: 16, 32: 12, 64: 8})
            self.generator = goldens.fill(generator.state_dict())
            self.encoder = goldens.fill(Encoder(generator.num_rows, 32, head_width=16, **narrow).state_dict())
            self.identity = goldens.fill(IRSE(embedding=32, **narrow).state_dict())
            self.mapper = goldens.fill(LevelsMapper(32, ("course", "medium")).state_dict())
            self.latent_avg = torch.zeros(generator.num_rows, 32)
            self.clip = CLIP(32, 64, 2, 64, 16, 77, 49408, 64, 1, 2)
            channels = sum(layer.channels for layer in generator.style_layers if not layer.is_to_rgb)
            self.relevance = np.random.default_rng(0).standard_normal((channels, 32), dtype=np.float32)
        else:
            e4e = published_format("e4e_ffhq_encode.pt")["top_level"]["state_dict"]
            parts = {
                part: filled({k: v for k, v in e4e.items() if k.startswith(f"{part}.")}, f"{part}.")
                for part in ("encoder", "decoder")
            }
            self.encoder, self.generator = (
                {k.removeprefix(f"{part}."): v for k, v in parts[part].items()} for part in ("encoder", "decoder")
            )
            self.identity = filled(published_format("model_ir_se50.pth")["state_dict"])
            mapper = filled(published_format("styleclip_mapper.pt")["state_dict_mapper_without_fine"], "mapper.")
            self.mapper = {k.removeprefix("mapper."): v for k, v in mapper.items() if k.startswith("mapper.")}
            self.latent_avg = torch.zeros(18, 512)
            self.clip = CLIP(*published_format("clip_ViT-B-32.pt")["config"].values())
            self.relevance = np.random.default_rng(0).standard_normal((6048, 512), dtype=np.float32)
        self.relevance /= np.linalg.norm(self.relevance, axis=1, keepdims=True)


def write_family(folder: Path, small: bool) -> Sizes:
    """Write the files of `ffhq` into a folder, each as its publisher did, without the landmark model."""
    sizes = Sizes(small)
    decoder = {f"decoder.{k}": v for k, v in sizes.generator.items()}
    encoder = {f"encoder.{k}": v for k, v in sizes.encoder.items()}
    options = {"encoder_type": "Encoder4Editing", "start_from_latent_avg": True, "stylegan_size": 1024}
    e4e = {"state_dict": encoder | decoder, "latent_avg": sizes.latent_avg, "opts": options}
    torch.save(e4e, folder / "e4e_ffhq_encode.pt")
    old = folder / "model_ir_se50.pth"  # in the format from before PyTorch 1.6
    torch.save(OrderedDict(sizes.identity), old, _use_new_zipfile_serialization=False)
    mapper = {f"mapper.{k}": v for k, v in sizes.mapper.items()}
    options = argparse.Namespace(mapper_type="LevelsMapper", no_fine_mapper=True, description="afro")
    torch.save({"state_dict": mapper | decoder, "opts": options}, folder / "afro.pt")
    np.save(folder / "fs3.npy", sizes.relevance)
    write_torchscript(sizes.clip, folder / "ViT-B-32.pt")
    return sizes


def write_torchscript(model: CLIP, path: Path) -> None:
    """CLIP as OpenAI publishes it: a TorchScript archive, half precision, with three scalars as buffers."""
    model = copy.deepcopy(model).eval()
    clip.model.convert_weights(model)
    size = model.visual.input_resolution
    for name, value in (("input_resolution", size), ("context_length", 77), ("vocab_size", 49408)):
        if name in vars(model):
            delattr(model, name)
        model.register_buffer(name, torch.tensor(value))

    class Images(torch.nn.Module):
        """Only what keeps the parameters: the code in the archive is not looked at."""

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        model.forward = lambda image: image
        torch.jit.save(torch.jit.trace(model, torch.zeros(1), check_trace=False), path)


# NVIDIA's pickles: of objects whose classes exist nowhere here


def _foreign(module: str, name: str) -> type:
    """A class that pickles as `module.name`."""
    return type(name, (), {"__module__": module, "__qualname__": name})


def ada_state(state: State, average: Tensor) -> State:
    """The state dict of a generator as stylegan2-ada-pytorch has it."""
    theirs = {v: k for k, v in published_format("ada_pytorch_to_rosinality")["rosinality_from_ada_pytorch"].items()}
    tensors = {name: state[ours] for name, ours in theirs.items() if ours in state}
    for name in tensors:
        if name.endswith((".const", "conv0.weight", "conv1.weight", "torgb.weight")):
            tensors[name] = tensors[name].squeeze(0)
        elif name.endswith("noise_const"):
            tensors[name] = tensors[name][0, 0]
        elif name.endswith("noise_strength"):
            tensors[name] = tensors[name][0]
        elif name.endswith("torgb.bias"):
            tensors[name] = tensors[name].flatten()
    return tensors | {"mapping.w_avg": average}


def write_ada_pickle(state: State, average: Tensor, path: Path, tensors: State | None = None) -> None:
    """A generator as stylegan2-ada-pytorch saves it: every module with its source code and its attributes; of the
    `tensors` given, else those of the state."""
    tensors = tensors or ada_state(state, average)
    with _modules("torch_utils.persistence", "dnnlib.util") as (persistence, util):
        util.EasyDict = type("EasyDict", (dict,), {"__module__": "dnnlib.util"})
        persistence._reconstruct_persistent_obj = _reconstruct_persistent_obj
        network = _persistent(util.EasyDict, tensors)
        content = {"G": None, "D": None, "G_ema": network, "training_set_kwargs": util.EasyDict(path="dogs.zip")}
        path.write_bytes(pickle.dumps(content))


def _reconstruct_persistent_obj(meta: dict) -> None: ...


_reconstruct_persistent_obj.__module__ = "torch_utils.persistence"


class _Persistent:
    def __init__(self, meta: dict) -> None:
        self.meta = meta

    def __reduce__(self) -> tuple:
        return _reconstruct_persistent_obj, (self.meta,)


def _persistent(easy_dict: type, tensors: State) -> _Persistent:
    own = {k: v for k, v in tensors.items() if "." not in k}
    buffers = ("noise_const", "w_avg")
    children: dict[str, State] = {}
    for name, value in tensors.items():
        if "." in name:
            head, rest = name.split(".", 1)
            children.setdefault(head, {})[rest] = value
    state = {
        "training": False,
        "_parameters": OrderedDict((k, torch.nn.Parameter(v)) for k, v in own.items() if k not in buffers),
        "_buffers": OrderedDict((k, v) for k, v in own.items() if k in buffers),
        "_modules": OrderedDict((k, _persistent(easy_dict, v)) for k, v in children.items()),
    }
    source = "raise SystemExit('the source code in a pickle was run')"
    return _Persistent(easy_dict(type="class", version=6, module_src=source, class_name="Generator", state=state))


def tensorflow_state(state: State, average: Tensor) -> State:
    """The variables of a generator as NVIDIA's TensorFlow code names them."""
    rules = published_format("tf_stylegan2_to_rosinality")["rosinality_from_tf_stylegan2"]
    variables = {"dlatent_avg": average}
    for ours, (name, rule) in rules.items():
        if ours not in state:
            continue
        value = state[ours]
        if rule == "+1":
            value = value - 1
        elif rule == "transpose(1,0)":
            value = value.T
        elif rule == "reshape [1]":
            value = value[0]
        elif rule.startswith("reshape"):
            value = value.flatten()
        elif rule.startswith("transpose(3,2,0,1)"):
            value = value[0].flip(2, 3) if "flip" in rule else value[0]
            value = value.permute(2, 3, 1, 0)
        variables[name] = value.contiguous()
    return variables


def write_tensorflow_pickle(state: State, average: Tensor, path: Path, more: State | None = None) -> None:
    """A generator as NVIDIA's TensorFlow code saves it: (G, D, Gs), with the variables as arrays, and `more`."""
    parts: dict[str, list] = {"mapping": [], "synthesis": []}
    for name, value in (tensorflow_state(state, average) | (more or {})).items():
        if "/" in name:
            part, name = name.split("/", 1)
            parts[part.removeprefix("G_")].append((name, value.numpy().copy()))
    with _modules("dnnlib.tflib.network") as (module,):
        module.Network = _foreign("dnnlib.tflib.network", "Network")

        def network(variables: list, **components: Any) -> Any:
            made = module.Network()
            made.__dict__.update(version=4, variables=variables, components=components, build_module_src="raise 1")
            return made

        whole = network(
            [("dlatent_avg", average.numpy().copy())], **{name: network(values) for name, values in parts.items()}
        )
        path.write_bytes(pickle.dumps((None, None, whole)))


class _modules:
    """Modules that exist while a pickle is written, and not when it is read."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def __enter__(self) -> list[ModuleType]:
        import sys

        parents = {".".join(n.split(".")[:i]) for n in self.names for i in range(1, n.count(".") + 2)}
        self.added = [name for name in parents if name not in sys.modules]
        for name in self.added:
            sys.modules[name] = ModuleType(name)
        return [sys.modules[name] for name in self.names]

    def __exit__(self, *_: object) -> None:
        import sys

        for name in self.added:
            del sys.modules[name]
