"""How long a visitor waits, and how much memory the app takes.

    python -m benchmarks.speed [--model NAME] [--repeats 20]

Times are medians on this machine as it is: measure on a quiet one. The page is built in this process too, so that the
peak of its memory is that of the app at work. The picture uploaded is one face in a photo of 12 megapixels, as a file.
"""

import argparse
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image

from pipeline import StyleCLIP
from pipeline.methods.inversion import TUNE_STEPS
from pipeline.models.registry import DEFAULT

PROMPT = "a person with glasses"
PAIR = ("face with blonde hair", "face")
STEPS = 20


def seconds(work: Callable[[int], object], repeats: int) -> float:
    """Median time of `work(i)` for i = 1 ... repeats, after one call that does not count."""
    work(0)
    times = []
    for i in range(1, repeats + 1):
        start = time.perf_counter()
        work(i)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def first_page(model: str) -> float:
    """Seconds from starting the app in a fresh process to its first page."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"GRADIO_SERVER_PORT": str(port)}
    start = time.perf_counter()
    app = subprocess.Popen(
        [sys.executable, "app.py", "--model", model], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        while app.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as page:
                    page.read()
                return time.perf_counter() - start
            except urllib.error.URLError:
                time.sleep(0.05)
        raise RuntimeError(f"the app stopped: {app.stderr.read().decode()[-2000:]}")
    finally:
        app.kill()
        app.wait()


def uploaded_photo(studio: StyleCLIP, folder: Path) -> Path:
    """A photo of 4000 x 3000 pixels with a face in its middle."""
    face = studio.image(studio.sample(1))
    canvas = Image.new("RGB", (4000, 3000), (120, 130, 140))
    canvas.paste(face.resize((1600, 1600), Image.Resampling.LANCZOS), (1200, 700))
    canvas.save(folder / "photo.jpg", quality=92)
    return folder / "photo.jpg"


def measure(studio: StyleCLIP, repeats: int) -> dict[str, float]:
    """Row of the table -> seconds."""
    latent, generator = studio.sample(1), studio.family.generator
    with tempfile.TemporaryDirectory() as folder:
        photo = uploaded_photo(studio, Path(folder))
        face = studio.align(photo)[0]
        upload = seconds(lambda _: studio.invert(studio.align(photo)[0]), max(repeats // 4, 3))
        found = seconds(lambda _: studio.image(studio.invert(studio.align(photo)[0])), max(repeats // 4, 3))

    def directed(strength: float, size: int) -> Image.Image:
        return studio.image(studio.direct(latent, *PAIR, strength=strength).latent, size)

    def step(identity: float) -> float:
        run = studio.optimize(latent, PROMPT, steps=STEPS, identity=identity)
        next(run)
        start = time.perf_counter()
        for _ in run:
            pass
        return (time.perf_counter() - start) / (STEPS - 1)

    def tuning() -> float:
        start = time.perf_counter()
        for _ in studio.tune(latent, face):
            pass
        return time.perf_counter() - start

    step(0.005)
    mappers = {
        f"mapper edit, {name}": seconds(lambda i, name=name: studio.map(latent, name, i / 100).image, repeats)
        for name in list(studio.mappers())[:1]
    }
    return mappers | {
        "upload (12 megapixels) to code": upload,
        "… to the picture of the inverted face": found,
        "slider move to a small picture": seconds(lambda i: directed(i / 5, generator.working_size), repeats),
        "… to the whole picture": seconds(lambda i: directed(i / 5, generator.size), repeats),
        "optimization step": step(0.005),
        "… without identity": step(0.0),
        f"tuning to a face, {TUNE_STEPS} steps": tuning(),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=DEFAULT)
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    rows = {"app start to first page": first_page(options.model)}

    from webapp.page import build  # here, so that the memory of the app counts, but not its start

    studio = StyleCLIP.from_pretrained(options.model)
    build(studio)
    rows |= measure(studio, options.repeats)
    size = studio.family.generator.size
    print(f"{options.model}, {size} px, {torch.get_num_threads()} threads, {studio.family.device}")
    print("| | |\n|---|---|")
    for name, measured in rows.items():
        print(f"| {name} | " + (f"{measured:.1f} s |" if measured >= 1 else f"{1000 * measured:.0f} ms |"))
    print(f"| peak memory | {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB |")


if __name__ == "__main__":
    main()
