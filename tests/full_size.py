"""Run by a test in a process of its own: the family `ffhq` at 1024 px on seeded files; prints times and memory.

python -m tests.full_size FOLDER float32|bfloat16
"""

import os
import sys
import time
from pathlib import Path

import torch

from pipeline import StyleCLIP
from pipeline.models.registry import REGISTRY

FILES = {
    "e4e-ffhq": "e4e_ffhq_encode.pt",
    "ir-se50": "model_ir_se50.pth",
    "clip-vit-b-32": "ViT-B-32.pt",
    "relevance-ffhq": "fs3.npy",
}


def peak() -> float:
    """The most memory that this process has had so far, in GiB; what getrusage says counts its parent's too."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 2**20


def main() -> None:
    folder, dtype = Path(sys.argv[1]), getattr(torch, sys.argv[2])
    sources = [f'[sources.{name}]\npath = "{folder / file}"\n' for name, file in FILES.items()]
    sources.append(f'[sources.landmarks-68]\npath = "{REGISTRY.parent / "demo" / "landmarks.dat"}"\n')
    sources.append(f'[families.ffhq.mappers]\nafro = {{ title = "Afro", path = "{folder / "afro.pt"}" }}\n')
    (folder / "own.toml").write_text("".join(sources))
    os.environ["STYLECLIP_MODELS"] = str(folder / "own.toml")
    rows = []

    def timed(name: str, call):
        begin = time.perf_counter()
        result = call()
        rows.append((name, time.perf_counter() - begin, peak()))
        return result

    def load() -> StyleCLIP:
        return StyleCLIP.from_pretrained("ffhq", device="cpu", dtype=dtype)

    if not any(Path(os.environ["HF_HOME"]).rglob("*.safetensors")):  # the memory of this is not counted for the rest
        timed("load, the first time", load)
        return print_rows(rows)
    studio = timed("load, from slim copies", load)
    faces = timed("align", lambda: studio.align(folder / "photo.png"))
    latent = timed("invert", lambda: studio.invert(faces[0]))
    timed("draw, 1024 px", lambda: studio.image(latent))
    steps = timed("optimize, 3 steps", lambda: list(studio.optimize(latent, "a person with purple hair", steps=3)))
    mapped = timed("map", lambda: studio.map(latent, "afro"))
    directed = timed("direct", lambda: studio.direct(latent, "face with blonde hair", "face"))
    timed("direct, again", lambda: studio.direct(latent, "face with blonde hair", "face", strength=2.0))
    for edit in (steps[-1].edit, mapped, directed):
        assert edit.image.size == (1024, 1024)
        assert edit.image.tobytes() != studio.image(latent).tobytes()
    assert directed.channels == studio.family.defaults.channels
    print_rows(rows)


def print_rows(rows: list[tuple[str, float, float]]) -> None:
    for name, seconds, gib in rows:
        print(f"{sys.argv[2]:9} {name:24} {seconds:7.2f} s   peak {gib:.2f} GiB", flush=True)


if __name__ == "__main__":
    main()
