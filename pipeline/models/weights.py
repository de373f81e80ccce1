"""Published files of weights, read safely and reduced to what is needed; and the slim copies kept of that.

All tensors get the names of the published PyTorch checkpoints. The first bytes of a file tell what it is, its name does
not. Nothing in it is executed: files of PyTorch are loaded with `weights_only`, other pickles by `unpickling`.
"""

import argparse
import logging
import pickle
import re
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from pipeline.errors import UserError
from pipeline.files import written_whole
from pipeline.models.checkpoints import Unusable, find_network
from pipeline.models.generator_formats import StateDict
from pipeline.models.openvino_ir import is_wheel, read_mobile_generator
from pipeline.models.sources import asset
from pipeline.models.unpickling import RefusedPickle, read_archive, read_network_pickle, takes_for_ever

FORMAT = "5"  # of the slim copies: another number remakes them all
MOST_NAMES = 2**20  # bytes of the pickle beside the tensors; a whole training state has a tenth of it
WEB_PAGE = (b"<!doctype", b"<html", b"<?xml", b"<error", b'{"error')
PACKED = {  # how packed files begin
    b"PK\3\4": "ZIP",
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"7z\xbc\xaf\x27\x1c": "7-Zip",
    b"Rar!": "RAR",
}
NOT_ALLOWED = re.compile(r"GLOBAL (\S+) (?:was not an allowed|whose module)")
LEGACY = bytes.fromhex("8a0a6cfc9c46f9206aa850")  # the number with which PyTorch's files from before 1.6 begin
CUT = re.compile("central directory|truncated|out of input|EOF|incomplete|greater than file size", re.IGNORECASE)
# Modules that a pickle names to run code, beside the standard library: those of Python 2, and two that write files.
CODE_MODULES = {"__builtin__", "commands", "copy_reg", "torch", "numpy"}
# Classes of such modules that only hold data.
DATA_CLASSES = re.compile(
    r"numpy\.(_?core\.\w+\.)?(_reconstruct|scalar|dtype|ndarray|_frombuffer)|types\.SimpleNamespace|builtins\.bytearray"
)
# Modules of the standard library that only hold data: options and logs are made of them.
DATA_MODULES = {"pathlib", "datetime", "enum", "uuid", "collections", "typing", "decimal", "fractions"}

log = logging.getLogger(__name__)


def read_weights(kind: str, path: Path, name: str = "") -> StateDict:
    """The tensors of a file that a "generator", "preview", "encoder", "identity", "clip", "mapper", "style",
    "directions", "alignment", "looks", "parts" or "painter" needs, see `checkpoints.find_network`.

    Raises UserError for a file that is damaged, tries to run code, or holds something else; it names the file `name`,
    as it is called on this machine when empty.
    """
    name = name or path.name
    try:
        content = _load(kind, path)
    except RefusedPickle as error:
        raise _refused(name, error.named, path) from error
    except pickle.UnpicklingError as error:  # of PyTorch's own reader too
        if named := NOT_ALLOWED.search(str(error)):
            raise _refused(name, named[1], path) from error
        raise _unreadable(name, _what_is_wrong(path, error)) from error
    except Unusable as error:
        raise _unreadable(name, str(error)) from error
    except MemoryError as error:
        raise _unreadable(name, "there is too little memory for it") from error
    except OSError as error:
        raise _unreadable(name, f"it can't be opened ({error.strerror or error})") from error
    except Exception as error:  # readers raise nearly anything for a file of another format
        raise _unreadable(name, _what_is_wrong(path, error)) from error
    try:
        return find_network(kind, content, path.stat().st_size)
    except Unusable as error:
        raise UserError(f"The file {name} holds no {kind} that can be used here: {error}.") from error
    except Exception as error:
        raise UserError(f"The file {name} holds no {kind} in a format that this studio knows.") from error


def _unreadable(name: str, reason: str) -> UserError:
    return UserError(f"The file {name} can't be read as weights: {reason}.")


def is_web_page(start: bytes) -> bool:
    """Whether a file with these first bytes is a page, or an error, that a server sent in the file's place."""
    return start.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(WEB_PAGE)


def known_flaw(path: Path) -> str:
    """Why a file is certainly no model (empty, a web page, a Git LFS pointer, packed), and what to do; "" otherwise."""
    with path.open("rb") as file:
        start = file.read(512)
    if not start:
        return "it is empty; please delete it and fetch it anew"
    if is_web_page(start):
        return "it is a web page, which a server sent in its place; please delete it and fetch it anew"
    if start.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS and not the file itself; please fetch that with git lfs pull"
    packed = next((name for magic, name in PACKED.items() if start.startswith(magic)), "")
    packed = "tar" if start[257:262] == b"ustar" else packed
    if packed == "ZIP" and _is_of_pytorch(path):
        return ""
    return packed and f"it is packed ({packed}); please unpack it, and use what is in it"


def _is_of_pytorch(path: Path) -> bool:
    """Whether a zip is one of PyTorch's archives, whole or damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("data.pkl") for name in archive.namelist())
    except zipfile.BadZipFile:
        return False


def _what_is_wrong(path: Path, error: Exception) -> str:
    """Why a file could not be read. Only what is cut off, damaged, or no weights at all, is to be fetched anew."""
    if flaw := known_flaw(path):
        return flaw
    if CUT.search(str(error)) or isinstance(error, EOFError):
        return "it is cut off; please delete it and fetch it anew"
    if kind_of_file(path) == "zip":
        return "it is damaged, or PyTorch did not write it; please fetch it anew"
    return "it is in no format that this studio knows (safetensors, PyTorch, NumPy, NVIDIA's pickles)"


def _refused(name: str, named: str, path: Path) -> UserError:
    """The sentence about a file whose pickle names a class or function that is not looked up, `named`; "" where the
    pickle tried to change the reader itself."""
    top = named.split(".")[0]
    known = top in CODE_MODULES or top in sys.stdlib_module_names - DATA_MODULES
    harmless = (top == "torch" and _pickles_modules(path)) or DATA_CLASSES.fullmatch(named)
    if "." not in named or (known and not harmless):
        return UserError(
            f"The file {name} tries to run code, which no file of weights needs, so it was not opened; please get it "
            "from its publisher."
        )
    what = "a module pickled whole" if _pickles_modules(path) else "more than tensors"
    return _unreadable(name, f"it holds {what}, with the class {named}; please save its state_dict() alone")


def _pickles_modules(path: Path) -> bool:
    """Whether the pickle in a file has the attributes of PyTorch's modules."""
    if kind_of_file(path) == "zip":
        content = torch._C.PyTorchFileReader(str(path)).get_record("data.pkl")  # in which the class was found
    else:
        with path.open("rb") as file:
            content = file.read(2**26)
    return b"_modules" in content and b"_parameters" in content


def read_slim(
    kind: str, path: Path, expected: str = "", check: Callable[[], object] = lambda: None, name: str = ""
) -> StateDict:
    """As `read_weights`, but from a slim copy where there is one: memory-mapped, so it is there at once.

    `check` is called before the file itself is read, to verify it against the checksums `expected`. Files that are slim
    already are not copied.
    """

    def make() -> StateDict:
        check()
        return read_weights(kind, path, name)

    if kind_of_file(path) == "safetensors":
        return make()
    about = path.resolve().stat()
    return remembered(f"{path.stem}-{kind}", f"{path.resolve()} {about.st_size} {about.st_mtime_ns} {expected}", make)


def remembered(name: str, stamp: str, make: Callable[[], StateDict]) -> StateDict:
    """What `make` returns, kept under `name` until `stamp` changes."""
    stamp = f"{FORMAT} {stamp}"
    copy = asset("slim") / f"{name}.safetensors"
    if (state := _slim_copy(copy, stamp)) is not None:
        return state
    state = make()
    # In float32, as the networks hold them: so they can live in the mapped file. safetensors takes no two tensors that
    # share memory, as those of a published file may.
    slim = {k: (v.float() if v.is_floating_point() else v).contiguous().clone() for k, v in state.items()}
    try:
        with written_whole(copy) as fresh:
            save_file(slim, fresh, {"stamp": stamp})
    except (OSError, SafetensorError) as error:
        log.warning("no slim copy of %s was kept, so the next start will be as slow: %s", name, error)
    return _slim_copy(copy, stamp) or state


def _slim_copy(path: Path, stamp: str) -> StateDict | None:
    """The tensors of a slim copy, memory-mapped; None where there is none with this stamp, or it is cut off."""
    try:
        with safe_open(path, "pt") as file:
            if (file.metadata() or {}).get("stamp") == stamp:
                return {k: file.get_tensor(k) for k in file.offset_keys()}
    except (OSError, SafetensorError):
        pass
    return None


def metadata(path: Path) -> dict[str, str]:
    """What a safetensors file says beside its tensors; nothing for other files."""
    if kind_of_file(path) != "safetensors":
        return {}
    with safe_open(path, "pt") as file:
        return file.metadata() or {}


def kind_of_file(path: Path) -> str:
    """What the first bytes of a file say that it is: "safetensors", "npy", "zip", "legacy" or "pickle"."""
    with path.open("rb") as file:
        start = file.read(32)
    if start.startswith(b"\x93NUMPY"):
        return "npy"
    if start.startswith(b"PK\3\4"):
        return "zip"
    if start[8:9] == b"{":
        return "safetensors"
    return "legacy" if LEGACY in start else "pickle"


def _load(wanted: str, path: Path) -> Any:
    """What is in a file: tensors in dictionaries, lists and records. `wanted` is the kind of network, of which only a
    generator is read out of a wheel."""
    kind = kind_of_file(path)
    if kind == "safetensors":
        with path.open("rb") as file:
            if 8 + int.from_bytes(file.read(8), "little") > path.stat().st_size:
                raise Unusable("it is cut off; please delete it and fetch it anew")
        return load_file(path)
    if kind == "npy":
        return {"relevance": torch.from_numpy(np.lib.format.open_memmap(path, mode="r").astype(np.float32))}
    if kind == "pickle":
        return read_network_pickle(path)
    if kind == "zip" and is_wheel(path):
        if wanted != "generator":
            raise Unusable("it is a wheel, a package of Python, out of which this studio reads generators only")
        return read_mobile_generator(path)
    if kind == "zip":
        _check_packing(path)
        reader = torch._C.PyTorchFileReader(str(path))
        names = reader.get_record("data.pkl")
        if len(names) > MOST_NAMES or takes_for_ever(names):
            raise Unusable("what it says of its tensors is more than any network needs")
        later = names.startswith(pickle.PROTO) and names[1] > 2  # a protocol that PyTorch's reader does not know
        # It makes bytes of any number, and encodes in ways that take for ever.
        costly = b"bytearray" in names or b"_codecs" in names
        if later or costly or reader.has_record("constants.pkl"):  # the last: TorchScript
            return read_archive(path)
    with torch.serialization.safe_globals([argparse.Namespace, SimpleNamespace]):
        try:
            if path.suffix == ".safetensors":  # as which PyTorch would read it, whatever it is
                with path.open("rb") as file:
                    return torch.load(file, map_location="cpu", weights_only=True)
            return torch.load(path, map_location="cpu", weights_only=True, mmap=kind == "zip")
        except pickle.UnpicklingError as error:
            named = NOT_ALLOWED.search(str(error))
            if kind != "zip" or not named or not named[1].startswith("numpy."):
                raise
            return read_archive(path)  # numbers of NumPy among the options


def _check_packing(path: Path) -> None:
    """PyTorch stores tensors as they are; what is packed small could become anything in memory."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(about.file_size for about in archive.infolist())
    except zipfile.BadZipFile:
        raise Unusable("it is cut off; please delete it and fetch it anew") from None
    if unpacked > 2 * path.stat().st_size + 2**20:
        raise Unusable("its tensors are compressed, which PyTorch never does")
