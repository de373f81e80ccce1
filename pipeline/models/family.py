"""Loading a model family: `registry` knows its files, `downloads` gets them, `weights` reads them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from pipeline.checks import device_of, files_of, has_bfloat16, of_type, one_of, text
from pipeline.errors import UserError
from pipeline.faces.detection import FaceFinder
from pipeline.latents import Latent
from pipeline.methods.directions import TRUNCATION, MeasuredDirections, StyleDirections, style_statistics
from pipeline.methods.exchange import Looks
from pipeline.models.checkpoints import MOBILE_GENERATOR, W_ENCODER
from pipeline.models.downloads import Progress, fetch
from pipeline.models.generator_formats import StateDict
from pipeline.models.mappers import Mappers
from pipeline.models.measured import measured_source, warn_of_other_settings
from pipeline.models.named_networks import NamedNetworks
from pipeline.models.network_files import built, check, read_network, short_digest
from pipeline.models.registry import REGISTRY, Defaults, Row, family_row, read_registry
from pipeline.models.sources import Source
from pipeline.models.styles import Styles
from pipeline.models.weights import remembered
from pipeline.networks.arcface import IRSE
from pipeline.networks.clip import build_clip, narrow_clip
from pipeline.networks.csla import CSLA
from pipeline.networks.e4e import Encoder
from pipeline.networks.generator import StyleGenerator
from pipeline.networks.mobilestylegan import MobileGenerator
from pipeline.networks.parts import PartReader
from pipeline.networks.preview import Preview
from pipeline.networks.stylegan2 import Generator
from pipeline.networks.stylenet import painters
from pipeline.networks.w_encoder import WEncoder

# Kinds of files that edits depend on, beside what is measured.
EDITED_WITH = ("generator", "preview", "clip", "identity", "parts", "painter")
_NARROWED = {"encoder": nn.Module.bfloat16, "clip": narrow_clip}  # kind -> what makes it compute in bfloat16


@dataclass
class Family:
    """The loaded models of one row of the registry.

    What a family does not have is None: an encoder, where faces can only be made up; directions, before their relevance
    has been measured; an alignment or looks, before there are any; an identity network and a face finder, where the
    pictures are of other things; a reader of the parts of a face, before one has been trained.
    """

    row: Row
    generator: StyleGenerator
    latent_avg: Tensor  # (L, D)
    clip: nn.Module
    encoder: Encoder | WEncoder | None
    identity: IRSE | None
    directions: MeasuredDirections | None
    alignment: CSLA | None
    faces: FaceFinder | None
    device: torch.device
    digests: dict[str, str] = field(default_factory=dict)
    """Kind of file -> start of its SHA-256, of those that edits depend on."""
    parts: PartReader | None = None
    looks: Looks | None = None
    painter: nn.ModuleList | None = None
    """A `StyleNet` for each of some styles, from which a painting may begin."""
    estimate: StyleDirections | None = field(default=None, init=False)
    """The directions where none were measured, see `estimate.directions_of`."""
    mappers: Mappers = field(init=False)
    styles: Styles = field(init=False)

    def __post_init__(self) -> None:
        self.mappers = Mappers(self.row, self.generator, self.latent_avg)
        self.styles = Styles(self.row, self.generator)

    @property
    def named(self) -> dict[str, NamedNetworks]:
        """What is chosen by its name: "mapper" and "style" -> those of this family."""
        return {networks.kind: networks for networks in (self.mappers, self.styles)}

    @property
    def name(self) -> str:
        return self.row.name

    @property
    def title(self) -> str:
        return self.row.title

    @property
    def defaults(self) -> Defaults:
        return self.row.defaults

    @property
    def dtype(self) -> str:
        """What generator, encoder and CLIP compute in: "float32" or "bfloat16"."""
        return str(self.generator.compute_dtype or torch.float32).removeprefix("torch.")

    @property
    def mean(self) -> Latent:
        """The mean face."""
        return Latent(self.latent_avg[None].cpu())

    def rows(self, size: int) -> int:
        """How many rows of a square of `size` pixels are the picture: not all, where it is wider than high."""
        return size * (self.row.crop_rows or self.generator.size) // self.generator.size


def available_models(registry: Path | str = REGISTRY) -> list[str]:
    """The names that `StyleCLIP.from_pretrained` knows. Raises UserError for a registry that can't be read."""
    return list(read_registry(registry))


def load_pretrained(
    name: str,
    device: str | torch.device | None,
    dtype: torch.dtype | None,
    registry: str | Path,
    files: Mapping[str, str | Path] | None,
    progress: Progress | None,
) -> Family:
    """See `StyleCLIP.from_pretrained`: checks the arguments, and loads."""
    row = family_row(text("name", name), registry, None if files is None else files_of(files))
    of_type("progress", progress, (Callable, type(None)), "a function of a name, bytes and all bytes")
    of_type("dtype", dtype, (torch.dtype, type(None)), "a dtype of PyTorch")
    device = device_of(device)
    if dtype is None:
        dtype = torch.bfloat16 if row.bfloat16 and has_bfloat16(device) else torch.float32
    return load_family(row, device, one_of("dtype", dtype, (torch.float32, torch.bfloat16)), progress)


def load_family(row: Row, device: torch.device, dtype: torch.dtype, progress: Progress | None = None) -> Family:
    """The models of a family on a device; in `dtype`, float32 or bfloat16, compute generator, encoder and CLIP.

    Fetches what is not here; `progress` is called on the way. Raises UserError when a file cannot be had or read.
    """
    files = row.files
    if "generator" not in files:
        raise UserError(
            f"The model “{row.name}” needs a generator; name its file with --generator or in a models file."
        )
    if "clip" not in files:
        raise UserError(f"The model “{row.name}” needs a CLIP; name its file as `clip` in a models file.")
    for source in sorted(row.sources(), key=lambda source: source.path is None):  # a wrong path is told at once
        fetch(source, progress)

    generator, average = load_generator(row, device, dtype)
    if row.crop_rows and row.crop_rows > generator.size:
        raise UserError(
            f"The model “{row.name}” has crop_rows = {row.crop_rows}, and its generator draws {generator.size} rows; "
            "please mend this in the models file."
        )

    def network(kind: str, build: Callable[[StateDict], nn.Module]) -> nn.Module | None:
        if kind not in files:
            return None
        made = built(build, read_network(kind, files[kind]), files[kind])
        if dtype == torch.bfloat16 and kind in _NARROWED:
            _NARROWED[kind](made)
            _copy_views(made)
        return made.to(device)

    finder = None
    if "landmarks" in files:
        path = fetch(files["landmarks"])
        check(files["landmarks"], path)
        finder = FaceFinder.from_file(path, files["landmarks"].name)
    encoder = network("encoder", lambda state: (WEncoder if W_ENCODER in state else Encoder).from_state_dict(state))
    clip = network("clip", build_clip)
    directions = _directions(row, generator, average, clip)
    alignment, looks = _alignment(row, generator, clip, device), _looks(row, generator, clip)
    return Family(
        row=row,
        generator=generator,
        latent_avg=average,
        encoder=_fitting(encoder, generator, files),
        clip=clip,
        identity=network("identity", IRSE.from_state_dict),
        directions=directions,
        alignment=alignment,
        faces=finder,
        device=device,
        digests=_weight_digests(row, directions=directions, alignment=alignment, looks=looks),
        parts=_of_generator(network("parts", PartReader.from_state_dict), generator, files),
        looks=looks,
        painter=network("painter", painters),
    )


def _weight_digests(row: Row, **measured: object) -> dict[str, str]:
    """`Family.digests` of the files that edits depend on; of what is `measured` only what is not None."""
    sources = {kind: row.files[kind] for kind in EDITED_WITH if kind in row.files}
    sources |= {kind: measured_source(kind, row) for kind, there in measured.items() if there is not None}
    digests = {kind: short_digest(source) for kind, source in sources.items()}
    if "directions" in sources and not sources["directions"].name.endswith(".safetensors"):
        digests["directions"] += f"-psi{TRUNCATION}"  # published without deviations, which follow from the generator
    return {"directions": "estimated"} | digests


def load_generator(row: Row, device: torch.device, dtype: torch.dtype) -> tuple[StyleGenerator, Tensor]:
    """The generator of a family, as `load_family` loads it, and its mean latent (L, D)."""
    state = read_network("generator", row.files["generator"])
    average = state.pop("latent_avg", None)
    kind = MobileGenerator if MOBILE_GENERATOR in state else Generator
    generator = built(kind.from_state_dict, state, row.files["generator"])
    if "preview" in row.files:
        _add_preview(generator, row.files["preview"])
    generator = generator.to(device)
    generator.compute_dtype = dtype
    if average is None:
        average = generator.mean_latent()
    average = average.float().to(device)
    return generator, average.expand(generator.num_rows, -1) if average.ndim == 1 else average[: generator.num_rows]


def _add_preview(generator: StyleGenerator, source: Source) -> None:
    """Let a generator draw small pictures by a preview. Raises UserError where it is for another one."""
    preview = built(Preview.from_state_dict, read_network("preview", source), source)
    later = [layer.channels for layer in generator.style_layers if layer.resolution > preview.resolution]
    fits = isinstance(generator, MobileGenerator) and preview.size < generator.size
    if not fits or preview.conv1.modulation.weight.shape != (later[0], sum(later)):
        raise UserError(f"The preview {source.name} is for another generator: the sizes differ.")
    generator.preview = preview


def _fitting(
    encoder: Encoder | WEncoder | None, generator: StyleGenerator, files: Mapping[str, Source]
) -> Encoder | WEncoder | None:
    """The encoder. Raises UserError when it finds too few rows of a latent, more than one for a generator of a single
    row, or rows of another width."""
    if encoder is None:
        return None
    single, rows = generator.num_rows == 1, encoder.num_rows
    right = rows == 1 if single else rows >= generator.num_rows  # the first of several is not a code of W
    if not right or encoder.style_dim != generator.style_dim:
        raise UserError(
            f"The encoder {files['encoder'].name} is for another generator: it finds {rows} rows of "
            f"{encoder.style_dim} numbers, and this one has {generator.num_rows} of {generator.style_dim}."
        )
    return encoder


def _of_generator(
    reader: PartReader | None, generator: StyleGenerator, files: Mapping[str, Source]
) -> PartReader | None:
    """The reader of parts. Raises UserError where it is for other features than this generator's."""
    if reader is None:
        return None
    layers, size = generator.style_layers, int(reader.resolution)
    last = max((i for i, la in enumerate(layers[:-1]) if la.resolution == size and not la.is_to_rgb), default=-1)
    if last < 0 or layers[last + 1].channels != reader.hidden.in_features:  # what the next layer takes in
        raise UserError(f"The reader of parts {files['parts'].name} is for another generator: the sizes differ.")
    return reader


def _copy_views(network: nn.Module) -> None:
    """Copy what is small: each of these tensors is a view of the mapped file, and would keep all of it in memory."""
    for module in network.modules():
        for name, buffer in module._buffers.items():
            module._buffers[name] = buffer.clone()
        for parameter in module._parameters.values():
            if parameter is not None and parameter.dtype == torch.float32:
                parameter.data = parameter.data.clone()


def _directions(row: Row, generator: StyleGenerator, average: Tensor, clip: nn.Module) -> MeasuredDirections | None:
    if (source := measured_source("directions", row)) is None:
        return None
    state = {k: v.float() for k, v in read_network("directions", source).items()}
    channels, width = sum(layer.channels for layer in generator.style_layers), clip.text_projection.shape[1]
    moving = sum(layer.channels for layer in generator.style_layers if not layer.is_to_rgb)
    size, std = state["relevance"].shape, state.get("style_std", torch.empty(channels))
    right = len(size) == 2 and size[1] == width and (0 < size[0] <= moving or size[0] == channels)
    right &= state.get("agreement", torch.empty(size[:1])).shape == size[:1]
    if not right or std.shape != (channels,):
        if "directions" not in row.files:  # the row has had another generator or CLIP since: they are estimated
            return None
        raise UserError(
            f"The file {source.name} was not measured with this generator and CLIP: its size is "
            f"{tuple(size)}, which should be at most {moving} × {width}, or with the channels of toRGB "
            f"{channels} × {width}, and of its deviations {channels}."
        )
    if "style_std" not in state:  # published matrices come without: seconds, once for a generator
        path = fetch(row.files["generator"])
        stat = path.resolve().stat()
        stamp = f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns} {TRUNCATION}"
        state |= remembered(
            f"{path.stem}-statistics", stamp, lambda: {"style_std": style_statistics(generator, average=average)[1]}
        )
    else:
        warn_of_other_settings("directions", row, source)
    return MeasuredDirections(state["relevance"], state["style_std"], generator.style_layers, state.get("agreement"))


def _alignment(row: Row, generator: StyleGenerator, clip: nn.Module, device: torch.device) -> CSLA | None:
    if (source := measured_source("alignment", row)) is None:
        return None
    network = built(CSLA.from_state_dict, read_network("alignment", source), source)
    sizes = clip.text_projection.shape[1], generator.style_dim, sum(la.channels for la in generator.style_layers)
    if (len(network.centre), len(network.w_std), len(network.s_std)) != sizes:
        if "alignment" not in row.files:  # the row has had another generator or CLIP since
            return None
        raise UserError(f"The file {source.name} was not trained with this generator and CLIP: the sizes differ.")
    warn_of_other_settings("alignment", row, source)
    return network.to(device)


def _looks(row: Row, generator: StyleGenerator, clip: nn.Module) -> Looks | None:
    if (source := measured_source("looks", row)) is None:
        return None
    looks = built(
        lambda state: Looks(state["seen"].float(), state["styles"].float()), read_network("looks", source), source
    )
    width, channels = clip.text_projection.shape[1], sum(layer.channels for layer in generator.style_layers)
    if looks.embeddings.shape[1:] != (width,) or looks.regression.shape != (width, channels):
        if "looks" not in row.files:  # the row has had another generator or CLIP since
            return None
        raise UserError(f"The file {source.name} was not made with this generator and CLIP: the sizes differ.")
    warn_of_other_settings("looks", row, source)
    return looks
