"""How calls and their answers go to another process: as bytes, because the queues of `spaces` and Ray would make of
each tensor an open file, or a place in shared memory, that both processes hold.

Tensors of float32 go as arrays. An edit leaves its picture behind where nobody wants it: the other side draws it from
the latent when it is asked for. A file goes along where the other process may have another disk.
"""

from __future__ import annotations

import io
import pickle
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from pipeline import Edit, Latent, StyleCLIP
from pipeline.errors import UserError
from webapp.backends import method_of

Draw = Callable[[Latent], Image.Image]


class _Packer(pickle.Pickler):
    def __init__(self, file: io.BytesIO, pictures: bool, files: bool) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._pictures, self._files = pictures, files

    def persistent_id(self, value: Any) -> tuple[Any, ...] | None:
        if isinstance(value, Edit) and not self._pictures:
            return Edit, value.latent, value.recipe, value.notes, value.channels
        if isinstance(value, Path) and self._files and value.is_file():
            return Path, value.name, value.read_bytes()
        return None

    def reducer_override(self, value: Any) -> Any:
        if type(value) is Tensor and value.dtype == torch.float32 and value.device.type == "cpu":
            return torch.from_numpy, (value.detach().contiguous().numpy(),)  # a view would bring all that it is of
        return NotImplemented


class _Unpacker(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, draw: Draw | None, folder: str) -> None:
        super().__init__(file)
        self._draw, self._folder = draw, folder

    def persistent_load(self, known: tuple[Any, ...]) -> Any:
        kind, *values = known
        if kind is Edit:
            latent, *told = values
            return Edit(partial(self._draw, latent), latent, *told)
        name, content = values
        path = Path(tempfile.mkdtemp(dir=self._folder)) / name  # two files may have one name
        path.write_bytes(content)
        return path


def packed(value: Any, pictures: bool = True, files: bool = False) -> bytes:
    """A value as bytes. Edits bring their `pictures`, which are drawn first if need be; or paths their `files`."""
    file = io.BytesIO()
    _Packer(file, pictures, files).dump(value)
    return file.getvalue()


def unpacked(content: bytes, draw: Draw | None = None) -> Any:
    """What `packed` has packed without files; `draw` draws the pictures that were left behind. Raises UserError where
    one was packed."""
    value = _Unpacker(io.BytesIO(content), draw, "").load()
    if isinstance(value, UserError):
        raise value
    return value


@contextmanager
def unpacked_request(content: bytes, studio: StyleCLIP) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Name and call of a request, as (name, args, kwargs) packed. The files that came along are there until the end of
    the block."""
    with tempfile.TemporaryDirectory(prefix="styleclip-") as folder:
        name, args, kwargs = _Unpacker(io.BytesIO(content), studio.image, folder).load()
        yield name, partial(method_of(studio, name), *args, **kwargs)


def answered(make: Callable[[], Any], pictures: bool = True) -> bytes:
    """The answer of a call, packed; in its place the sentence for a visitor, if there is one."""
    try:
        return packed(make(), pictures)
    except UserError as error:
        return packed(error)
