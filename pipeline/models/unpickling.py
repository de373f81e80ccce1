"""Reading pickles of strangers without running a line of theirs.

A pickle is a program that may call any function it names. Here names are looked up in short lists only: what rebuilds
tensors and arrays, and classes of networks, which become inert records of what was stored in them. Everything else is
refused. For PyTorch's own files `torch.load(weights_only=True)` does the same; these are the kinds that it does not
read: NVIDIA's network pickles, TorchScript archives, and files of PyTorch that hold numbers of NumPy.
"""

import io
import pickle
import pickletools
import re
import warnings
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

MOST_REPEATED = 10_000_000  # parts; what no value holds twice takes one part at a time
MOST_UNUSUAL = 1000  # tuples in dictionaries, and whole numbers of more than 64 bits, as of a random generator's state
_KEEPS = {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"}
_REPEATS = {"GET", "BINGET", "LONG_BINGET", "DUP"}
_TUPLES = {"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "FROZENSET"}
_HASHES = {"SETITEM", "SETITEMS", "DICT", "ADDITEMS", "FROZENSET"}


class RefusedPickle(Exception):
    """A pickle names something that no file of weights needs, `named`, or does worse, and `named` is ""."""

    named = ""


class RefusedName(RefusedPickle):
    """Of a class or function that is not looked up."""

    def __init__(self, module: str, name: str) -> None:
        super().__init__(f"{module}.{name}")
        self.named = f"{module}.{name}"


class Record(dict):
    """Stands for an object of a class that is not looked up: what it was called with, its items and its state."""

    args: tuple = ()  # where a pickle makes one without a call
    state: Any = None

    def __init__(self, *args: Any) -> None:
        super().__init__()
        self.args = args

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Call:
    """One of our functions as a pickle gets it: it can be called, and nothing about it can be changed."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)

    def __setstate__(self, state: Any) -> None:
        raise RefusedPickle("a change of the reader")


class _Storage:
    """A storage class as a pickle gets it: nothing but its dtype."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype

    def __setstate__(self, state: Any) -> None:
        raise RefusedPickle("a change of the reader")


class _DType:
    """The dtype of an array: plain numbers only, whatever the pickle says besides."""

    def __init__(self, name: str, *_: Any) -> None:
        if not re.fullmatch(r"[<>|=]?[biufc]\d{1,2}", name):
            raise RefusedPickle(f"arrays of {name}")
        self.name, self.order = name.lstrip("<>|="), "="

    def __setstate__(self, state: tuple) -> None:
        self.order = state[1] if state[1] in ("<", ">") else "="

    def numpy(self) -> np.dtype:
        return np.dtype(self.order + self.name)


class Array:
    """An array, made from its bytes; `value` is the NumPy array."""

    value: np.ndarray

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, fortran, content = state
        flat = np.frombuffer(content, dtype.numpy())  # no copy: many arrays may have one content
        self.value = flat.reshape(tuple(map(int, shape)), order="F" if fortran else "C")


def _rebuild_tensor(storage: Any, offset: int, size: Any, stride: Any, *_: Any) -> Tensor:
    return torch._utils._rebuild_tensor(storage, offset, size, stride)


def _scalar(dtype: _DType, value: bytes) -> Any:
    return np.frombuffer(value, dtype.numpy())[0]


def _from_buffer(content: Any, dtype: _DType, shape: tuple, order: str) -> Array:
    array = Array()
    array.__setstate__((1, shape, dtype, order == "F", content))
    return array


def _encoded(text: str, encoding: str) -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise RefusedPickle(f"the encoding {encoding}")
    return text.encode("latin-1")


_COMMON = {
    ("collections", "OrderedDict"): _Call(OrderedDict),
    ("torch._utils", "_rebuild_tensor_v2"): _Call(_rebuild_tensor),
    ("torch._utils", "_rebuild_parameter"): _Call(lambda tensor, *_: tensor),
    ("_codecs", "encode"): _Call(_encoded),
}
_NUMPY = {
    "ndarray": None,  # only named, as an argument of _reconstruct
    "dtype": _Call(_DType),
    "_reconstruct": _Call(lambda *_: Array()),
    "scalar": _Call(_scalar),
    "_frombuffer": _Call(_from_buffer),
}
_STORAGES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_NUMPY_MODULES = (
    "numpy",
    *(f"numpy.{core}.{part}" for core in ("core", "_core") for part in ("multiarray", "numeric")),
)
_COMMON |= {(module, name): value for module in _NUMPY_MODULES for name, value in _NUMPY.items()}
OPTIONS = ("argparse", "Namespace")
_NETWORKS = ("dnnlib", "torch_utils", "training", "torch.nn.modules", "torch.nn.parameter")


class _NetworkUnpickler(pickle.Unpickler):
    """For NVIDIA's .pkl files, whose networks carry their own source code: it is kept as text and never run."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _COMMON:
            return _COMMON[module, name]
        if (module, name) == ("torch.storage", "_load_from_bytes"):
            return _Call(lambda content: torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
        if any(module == known or module.startswith(f"{known}.") for known in _NETWORKS):
            return Record
        raise RefusedName(module, name)


class _ArchiveUnpickler(pickle.Unpickler):
    """For the data of PyTorch's zip archives, TorchScript's among them, whose code is not looked at."""

    def __init__(self, reader: Any) -> None:
        super().__init__(io.BytesIO(reader.get_record("data.pkl")))
        self.reader = reader
        self.storages: dict[str, Any] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _COMMON:
            return _COMMON[module, name]
        if module == "torch" and name in _STORAGES:
            return _Storage(_STORAGES[name])
        if module.startswith("__torch__") or module == "torch.jit._pickle" or (module, name) == OPTIONS:
            return Record
        raise RefusedName(module, name)

    def persistent_load(self, reference: tuple[str, Any, str, str, int]) -> Any:
        _, kind, key, _, count = reference
        if key not in self.storages:
            with warnings.catch_warnings():  # of a class that PyTorch's own reader still hands out
                warnings.filterwarnings("ignore", message="TypedStorage is deprecated")
                content = self.reader.get_storage_from_record(f"data/{key}", count * kind.dtype.itemsize, torch.uint8)
                storage = content.untyped_storage()
            self.storages[key] = torch.storage.TypedStorage(wrap_storage=storage, dtype=kind.dtype, _internal=True)
        return self.storages[key]


def takes_for_ever(content: bytes) -> bool:
    """Whether reading a short pickle would take for ever, because of what it makes keys of a dictionary.

    A tuple may hold another twice, which holds another twice, and so on: as a key it takes a step for each part. And
    thousands of tuples, or of whole numbers of more than 64 bits, may be chosen so that Python gives one place to all.
    """
    stack: list[tuple[int, bool]] = []  # of how many parts each value is made, 0: a mark; and whether it is a tuple
    memo: dict[int, tuple[int, bool]] = {}
    repeated = unusual = 0
    for code, argument, _ in pickletools.genops(content):
        if code.name in _KEEPS:
            memo[len(memo) if argument is None else argument] = stack[-1]
            continue
        parts, is_tuple = 0 if code.name == "MARK" else 1, code.name in _TUPLES
        unusual += isinstance(argument, int) and argument.bit_length() > 64
        if code.name in _REPEATS:
            parts, is_tuple = stack[-1] if argument is None else memo[argument]
            repeated += parts
        else:
            taken: list[tuple[int, bool]] = []  # from the top of the stack down
            if pickletools.markobject in code.stack_before:
                while (top := stack.pop())[0]:
                    taken.append(top)
            for kind in code.stack_before:
                if kind not in (pickletools.markobject, pickletools.stackslice):
                    taken.append(stack.pop())
            parts += sum(size for size, _ in taken)
            if code.name in _HASHES:
                unusual += sum(known for _, known in taken)
        if code.stack_after:
            stack.append((parts, is_tuple))
        if repeated > MOST_REPEATED or unusual > MOST_UNUSUAL:
            return True
    return False


def read_network_pickle(path: Path) -> Any:
    """What an NVIDIA pickle holds, its networks as `Record`s. Raises RefusedPickle for names that it has no need of."""
    with path.open("rb") as file:
        return _NetworkUnpickler(file, encoding="latin1").load()


def read_archive(path: Path) -> Any:
    """What one of PyTorch's zip archives holds, its arrays as `Array`s and its objects as `Record`s."""
    return _ArchiveUnpickler(torch._C.PyTorchFileReader(str(path))).load()
