"""Checks of what callers give. A wrong type is a TypeError, a wrong value a UserError; both name the argument."""

import os
from collections.abc import Collection, Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from pipeline.errors import UserError
from pipeline.faces.detection import Face
from pipeline.faces.photos import open_photo
from pipeline.latents import NO_FACE, Latent
from pipeline.networks.generator import StyleGenerator
from pipeline.paint import Paint

# The least and the greatest value of each number that the methods take; None: no greatest one.
LIMITS: dict[str, tuple[float, float | None]] = {
    "strength": (-1000, 1000),
    "share": (-1000, 1000),
    "limit": (0, 1000),
    "truncation": (-10, 10),
    "l2": (0, 1000),
    "identity": (0, 1000),
    "lr": (0, 10),
    "noise": (0, 10),
    "threshold": (0, 1),
    "channels": (1, None),
    "steps": (1, None),
    "layers": (0, None),
    "preview": (8, None),
    "side": (1, None),
    "turn": (0, 3),
    "seed": (-(2**63), 2**63 - 1),
    "clip": (0, 1000),
    "rate": (0, 100),
    "jitter": (0, 10),
    "batch": (1, None),
    "every": (1, None),
    "patience": (1, None),
    "start": (0, 1000),
    "size": (32, None),
    "workers": (1, 1024),
}
WHOLE = set("channels steps layers preview side turn seed batch every patience which size workers".split())
LARGEST = 1e5  # no value of a face's latent is near this; far above it the networks' numbers overflow


def of_type(name: str, value: Any, kind: type | tuple[type, ...], what: str) -> Any:
    """`value`, which is of `kind`; `what` says so in words. True and False are no numbers."""
    if not isinstance(value, kind) or (isinstance(value, bool) and kind in (Real, Integral)):
        raise TypeError(f"`{name}` is {what}, not {type(value).__name__}.")
    return value


def text(name: str, value: Any) -> str:
    """A text, whatever it says."""
    return of_type(name, value, str, "a text")


def number(name: str, value: Any, *default: float | None, limits: tuple[float, float | None] | None = None) -> Any:
    """A number within its `LIMITS`, or narrower `limits`, as an int or a float of Python. `default` stands in for None,
    where it is given."""
    if value is None and default:
        return default[0]
    kind, what = (Integral, "a whole number") if name in WHOLE else (Real, "a number")
    of_type(name, value, kind, what)
    low, high = limits or LIMITS[name]
    if not low <= value <= (value if high is None else high):
        allowed = f"of at least {low:,}" if high is None else f"from {low:,} to {high:,}"
        raise UserError(f"`{name}` is {what} {allowed}, not {_shown(value)}.")
    return int(value) if isinstance(value, Integral) else float(value)


def one_of(name: str, value: Any, choices: Collection[Any]) -> Any:
    """One of the choices, which are all of one type."""
    if type(value) not in map(type, choices) or value not in choices:
        raise UserError(f"`{name}` is one of {', '.join(map(str, choices))}, not {_shown(value)}.")
    return value


def _shown(value: Any) -> str:
    """A value in a message, short; numbers of thousands of digits can't be written out."""
    try:
        return str(value)[:30]
    except ValueError:
        return "a larger one" if value > 0 else "a smaller one"


def resolution_of(value: Any, generator: StyleGenerator) -> int | None:
    """A size at which a generator draws; None for the full one."""
    if value is None:
        return None
    sizes = sorted({layer.resolution for layer in generator.style_layers})
    return one_of("resolution", int(of_type("resolution", value, Integral, "a whole number")), sizes)


def paint_of(name: str, paint: Any) -> Paint | None:
    """A paint whose network can be used, or None."""
    of_type(name, paint, (Paint, type(None)), "a Paint")
    if paint and not paint.fits():
        raise UserError("This paint is of another version of the studio; please paint the face again.")
    return paint


def latent_of(name: str, latent: Any, generator: StyleGenerator) -> Latent:
    """A latent of this generator, whose numbers can be drawn."""
    of_type(name, latent, Latent, "a latent, as invert and sample make them")
    paint_of(f"{name}.paint", latent.paint)
    if not latent.fits(generator):
        raise UserError("This latent was made with another model; start the studio with that model to use it.")
    numbers = latent.tensors().values()
    if any(values.dtype != torch.float32 for values in numbers):
        raise TypeError(f"`{name}` holds float32 numbers, and this one others.")
    drawable = all(bool((values.abs() <= LARGEST).all()) for values in numbers)
    if not drawable or not all(bool(((mask >= 0) & (mask <= 1)).all()) for mask, _ in latent.regions):
        raise UserError(NO_FACE)
    return latent


def aligned(face: Any) -> Image.Image:
    """The picture of an aligned face."""
    kinds = "a face that align found, or the picture of one (PIL)"
    if isinstance(face, (str, os.PathLike)):
        raise TypeError(f"`face` is {kinds}, not a path; please give studio.align(path)[0].")
    of_type("face", face, (Face, Image.Image), kinds)
    return face.image if isinstance(face, Face) else open_photo(face)


def device_of(device: Any) -> torch.device:
    """A device that this machine has; CUDA where there is one, else the CPU, for None."""
    of_type("device", device, (str, torch.device, type(None)), "a device of PyTorch or its name")
    try:
        made = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.zeros(1, device=made).item()  # which "meta", a device without memory, can't
    except (RuntimeError, AssertionError):  # the second of a PyTorch without CUDA
        raise UserError(f"`device` is one of this machine's, such as cpu, not {device}.") from None
    return made


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device computes in bfloat16 itself. Elsewhere it is emulated, which takes longer than float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    try:
        processor = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux
        return False
    return bool({"avx512_bf16", "amx_bf16", "bf16"} & set(processor.split()))


def files_of(files: Any) -> dict[str, Path]:
    """A user's own files, kind -> path."""
    of_type("files", files, Mapping, "a dictionary of kind and path")
    return {kind: Path(of_type(f"files[{kind!r}]", path, (str, os.PathLike), "a path")) for kind, path in files.items()}
