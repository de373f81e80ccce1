"""A complete, tiny model family with random weights, so that every path of the library runs in the fast tests."""

import atexit
import os
import shutil
import signal
import tempfile
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["STYLECLIP_MODEL"] = "demo"  # what the tests start as a process of its own needs no download

import dlib
import httpx
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from families.drawn.attributes import attributes, sample_z
from families.drawn.renderer import render
from pipeline import StyleCLIP
from pipeline.models.openvino_ir import read_mobile_generator
from pipeline.networks.arcface import IRSE
from pipeline.networks.clip import CLIP
from pipeline.networks.csla import CSLA
from pipeline.networks.e4e import Encoder
from pipeline.networks.mapper import LevelsMapper, StyleSpaceMapper
from pipeline.networks.stylegan2 import Generator
from pipeline.networks.w_encoder import WEncoder
from tests.wheels import STYLE_DIM, members, write_wheel

# Of this run alone: a studio that ends, in another run of the tests too, clears the folder that its account shares.
os.environ["GRADIO_TEMP_DIR"] = tempfile.mkdtemp(prefix="studio-tests-")
atexit.register(shutil.rmtree, os.environ["GRADIO_TEMP_DIR"], ignore_errors=True)
# Tests that are started in the background, or by nohup, ignore these, and so would the commands that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Of the two processes of `make test` one begins with all of the browser's tests, the other with the files beside
    them; whichever is done takes the next file. Some files clear away what all pages of their process have shown, so
    none of them runs in one process with the browser's tests until those are done."""
    from xdist.scheduler import LoadScopeScheduling

    class BrowserFirst(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "browser" if "browser/" in file else file

    config.option.loadscopereorder = False  # as they are collected: the folder of the browser's tests comes first
    return BrowserFirst(config, log)


NARROW = {"widths": (8, 12, 16, 24), "depths": (1, 1, 2, 1), "reduction": 4}
REGISTRY = """
[families.seeded]
title = "Random weights"
clip_normalize = false

[families.seeded.files]
generator = { path = "generator.safetensors" }
encoder = { path = "encoder.safetensors" }
identity = { path = "identity.safetensors" }
clip = { path = "clip.safetensors" }
directions = { path = "directions.safetensors" }
landmarks = { path = "landmarks.dat" }

[families.seeded.defaults]
steps = 4
strength = 3.0
prompt_neutral = "a face"

[families.seeded.mappers.levels]
title = "Levels"
path = "levels.safetensors"

[families.seeded.mappers.stylespace]
title = "StyleSpace"
path = "stylespace.safetensors"

[families.seeded.styles.rough]
title = "Rough"
path = "rough.safetensors"
"""


@pytest.fixture(scope="session")
def drawn_faces() -> tuple[list[Image.Image], np.ndarray]:
    """Eight drawn faces of 256 px, aligned, with their landmarks (8, 68, 2)."""
    images, landmarks = render(attributes(sample_z(8, seed=5)), 256)
    pixels = ((images + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(p) for p in pixels], landmarks.numpy()


@pytest.fixture(scope="session")
def photo(drawn_faces) -> Image.Image:
    """A large picture with one face in it."""
    canvas = Image.new("RGB", (900, 700), (90, 120, 150))
    canvas.paste(drawn_faces[0][0].resize((400, 400), Image.Resampling.LANCZOS), (300, 150))
    return canvas


@pytest.fixture(scope="session")
def seeded_registry(tmp_path_factory, drawn_faces) -> Path:
    """The registry (models.toml) of the family "seeded"; its files lie beside it."""
    folder = tmp_path_factory.mktemp("checkpoints")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = Generator(64, style_dim=32, n_mlp=2, channels={4: 16, 8: 16, 16: 16, 32: 12, 64: 8})
        channels = {i: layer.channels for i, layer in enumerate(generator.style_layers)}
        moving = {i: c for i, c in channels.items() if not generator.style_layers[i].is_to_rgb}
        parts = {
            "generator": generator.state_dict() | {"latent_avg": torch.randn(32)},
            "encoder": Encoder(generator.num_rows, 32, head_width=16, **NARROW).state_dict(),
            "identity": IRSE(embedding=32, **NARROW).state_dict(),
            "clip": CLIP(32, 64, 2, 64, 16, 77, 49408, 64, 1, 2).half().state_dict(),
            "directions": {
                "relevance": torch.nn.functional.normalize(torch.randn(sum(moving.values()), 32)),
                "style_std": torch.rand(sum(channels.values())) + 0.2,
            },
            "levels": LevelsMapper(32, ("course", "medium")).state_dict(),
            "stylespace": StyleSpaceMapper(moving).state_dict(),
            "rough": {
                f"style.{name}.{side}": torch.randn(size) / 2
                for name, weight in generator.tunable_weights().items()
                for side, size in (("left", (len(weight), 2)), ("right", (2, weight[0].numel())))
            },
        }
    for name, state in parts.items():
        save_file({k: v.contiguous() for k, v in state.items()}, folder / f"{name}.safetensors")
    train_landmarks(*drawn_faces, folder / "landmarks.dat")
    (folder / "models.toml").write_text(REGISTRY)
    return folder / "models.toml"


def train_landmarks(images: list[Image.Image], landmarks: np.ndarray, path: Path) -> None:
    """The smallest landmark model that lands near the face: eight pictures, a second."""
    options = dlib.shape_predictor_training_options()
    options.cascade_depth, options.num_trees_per_cascade_level, options.tree_depth = 4, 20, 2
    options.oversampling_amount = 5
    options.num_threads = 1
    options.random_seed = "0"
    detector, pictures, truth = dlib.get_frontal_face_detector(), [], []
    for image, points in zip(map(np.asarray, images), landmarks, strict=True):
        parts = dlib.points([dlib.point(round(float(x)), round(float(y))) for x, y in points])
        for box in detector(image):
            pictures.append(image)
            truth.append([dlib.full_object_detection(box, parts)])
    predictor = dlib.train_shape_predictor(pictures, truth, options)
    predictor.save(str(path))


@pytest.fixture(scope="session")
def studio(seeded_registry) -> StyleCLIP:
    """The library with the family "seeded", on the CPU."""
    return StyleCLIP.from_pretrained("seeded", device="cpu", registry=seeded_registry)


@pytest.fixture(scope="session")
def demo() -> StyleCLIP:
    """The library with the drawn family that comes along, on the CPU."""
    return StyleCLIP.from_pretrained("demo", device="cpu")


@pytest.fixture(scope="session")
def one_row_registry(seeded_registry, tmp_path_factory) -> Path:
    """The registry of the family "one-row": a small MobileStyleGAN and an encoder into its W, of random weights, beside
    the other networks of "seeded"."""
    folder = tmp_path_factory.mktemp("one-row")
    state = read_mobile_generator(write_wheel(folder, members()[0])[0])
    save_file({k: v.contiguous() for k, v in state.items()}, folder / "generator.safetensors")
    with torch.random.fork_rng():
        torch.manual_seed(2)
        encoder = WEncoder((4, 6, 8), (1, 1), 3, STYLE_DIM).state_dict()
    save_file({k: v.half() for k, v in encoder.items() if "tracked" not in k}, folder / "encoder.safetensors")
    paths = {kind: folder / f"{kind}.safetensors" for kind in ("generator", "encoder")}
    paths |= {kind: seeded_registry.parent / f"{kind}.safetensors" for kind in ("identity", "clip")}
    rows = "\n".join(f'{kind} = {{ path = "{path}" }}' for kind, path in paths.items())
    registry = folder / "models.toml"
    registry.write_text(f'[families.one-row]\ntitle = "One row"\n[families.one-row.files]\n{rows}\n')
    return registry


@pytest.fixture(scope="session")
def one_row_studio(one_row_registry) -> StyleCLIP:
    """The library with the family "one-row", on the CPU."""
    return StyleCLIP.from_pretrained("one-row", device="cpu", registry=one_row_registry)


@pytest.fixture(scope="session")
def aligned_studio(studio) -> StyleCLIP:
    """The same family with an alignment, of random weights too."""
    channels = sum(layer.channels for layer in studio.family.generator.style_layers)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        alignment = CSLA(embed=32, style_dim=32, channels=channels, width=8).requires_grad_(False)
    return StyleCLIP(replace(studio.family, alignment=alignment))


@pytest.fixture(scope="module")
def url(studio):
    """The address of a page of that family that has nothing but the endpoints for programs."""
    from tests.programs import served

    with served(studio) as url:
        yield url


@pytest.fixture(scope="module")
def raw():
    """A client without the manners of gradio_client."""
    with httpx.Client(timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def program(url):
    """A client of that page."""
    from gradio_client import Client

    return Client(url, verbose=False, httpx_kwargs={"timeout": 60})


@pytest.fixture(scope="module")
def latent(program):
    """A face of that page, as its endpoints take one."""
    from gradio_client import handle_file

    _, latent, _ = program.predict(seed=3, api_name="/sample")
    return handle_file(latent)


@pytest.fixture(scope="module")
def small_paintings():
    """Pictures are painted at the size of `studio`'s, by few patches."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.paint.SIDE", 64)
        for name, value in (("SIDE", 64), ("PATCHES", 3), ("START_BLOCK", 1)):
            patch.setattr(f"pipeline.methods.clipstyler.{name}", value)
        patch.setattr("families.painter.PART", 16)
        yield
