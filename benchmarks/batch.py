"""How the command for many photos does: broken files, being killed, the machine's time, and on Ray.

    python -m benchmarks.batch [--model NAME] [--photos 500]

The photographs are sampled faces on larger canvases; one in twenty is broken, in ten ways. Rates are of this machine as
it is: measure on a quiet one. The stages are measured before the command runs and after it, for other work comes and
goes. Memory is read from /proc, which Linux has.
"""

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import torch
from PIL import Image

from benchmarks.tables import table
from pipeline import StyleCLIP
from pipeline.batch.edits import Editor
from pipeline.batch.rows import ON_CPU, available_cores
from pipeline.batch.run import search_of
from pipeline.batch.stages import find_faces, write_picture
from pipeline.batch.workers import Workers
from pipeline.styleclip import BATCH

ASKED = {"target": "smiling face", "neutral": "face"}
SIZES = ((1600, 1200), (1200, 1600), (2400, 1800), (1000, 1000))
EVERY = 20  # of the photos is one broken
ALONE = 32  # photos by which the stages are measured one by one
KILLS = 3


def photograph(studio: StyleCLIP, number: int) -> Image.Image:
    """A sampled face on a canvas of one of `SIZES`, somewhere in it."""
    rng = random.Random(number)
    width, height = SIZES[number % len(SIZES)]
    side = int(min(width, height) * rng.uniform(0.45, 0.8))
    canvas = Image.linear_gradient("L").resize((width, height)).convert("RGB")
    face = studio.image(studio.sample(number)).resize((side, side), Image.Resampling.LANCZOS)
    canvas.paste(face, (rng.randrange(width - side), rng.randrange(height - side)))
    return canvas


def jpeg(image: Image.Image, **options: bool) -> bytes:
    """The content of a file."""
    file = BytesIO()
    image.save(file, "JPEG", quality=92, **options)
    return file.getvalue()


def broken(way: int, image: Image.Image) -> bytes | None:
    """One of ten files that can't be edited, 0 to 9; None for a link that leads nowhere."""
    if way == 0:
        return jpeg(image)[: len(jpeg(image)) // 2]
    if way == 1:
        return b""
    if way == 2:
        return b"Dear all, the photo will follow."
    if way == 3:
        return b"<!doctype html><title>404</title>"
    if way == 4:
        return jpeg(Image.effect_noise((900, 700), 60).convert("RGB"))
    if way == 5:  # says that it is huge
        return jpeg(image.resize((48, 40))).replace(b"\x00\x28\x00\x30", b"\xff\xff\xff\xff")
    if way == 6:  # is small, and takes minutes to decode
        file = jpeg(Image.new("RGB", (4000, 3000), 90), progressive=True)
        last = file.rindex(b"\xff\xda")
        return file[:last] + file[last:-2] * 20_000 + b"\xff\xd9"
    if way == 7:
        return jpeg(image.resize((20, 16)))
    if way == 8:
        return b"\0\0\0\x18ftypheic" + bytes(2000)
    return None


def make_photos(studio: StyleCLIP, folder: Path, count: int) -> int:
    """Write the photographs; how many of them are broken."""
    bad = 0
    for number in range(count):
        path, image = folder / f"{number:04}.jpg", photograph(studio, number)
        if number % EVERY < EVERY - 1:
            path.write_bytes(jpeg(image))
            continue
        content, bad = broken(bad % 10, image), bad + 1
        path.symlink_to("nowhere.jpg") if content is None else path.write_bytes(content)
    return bad


class Command:
    """The command, while it runs and once it has ended."""

    def __init__(self, model: str, photos: Path, out: Path, *more: str) -> None:
        self.rows, self.times, self.memory = out / "results.jsonl", [], {}
        command = [sys.executable, "-m", "pipeline.batch", str(photos), "--out", str(out), "--model", model, *more]
        self.process = subprocess.Popen([*command, "--target", ASKED["target"], "--neutral", ASKED["neutral"]])

    def follow(self, until: float = float("inf")) -> int | None:
        """Note when rows come and how much memory there is, until there are so many new rows, or it ends; its status
        then."""
        start = before = self._count()
        while (status := self.process.poll()) is None:
            if (count := self._count()) > before:
                self.times.append((time.perf_counter(), count))
                self.memory[count] = self._megabytes()
                before = count
            if count - start >= until:
                return None
            time.sleep(0.02)
        return status

    def rate(self) -> float:
        """Photos a second, from the first row on."""
        (begin, first), (end, last) = self.times[0], self.times[-1]
        return (last - first) / (end - begin)

    def _count(self) -> int:
        return self.rows.read_bytes().count(b"\n") if self.rows.exists() else 0

    def _megabytes(self) -> tuple[float, float]:
        """Memory of the process, and of its workers together, without what is mapped from files."""
        process = Path(f"/proc/{self.process.pid}")
        try:
            workers = (process / "task" / process.name / "children").read_text().split()
        except OSError:
            workers = []
        return _own_megabytes(process), sum(_own_megabytes(process.parent / worker) for worker in workers)


def _own_megabytes(process: Path) -> float:
    try:
        lines = (process / "status").read_text().splitlines()
    except OSError:  # it has ended
        return 0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon")), 0)


def result(out: Path) -> tuple[set[str], dict[str, str]]:
    """The rows without their seconds, and the pictures' digests."""
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text("utf-8").splitlines()]
    told = {json.dumps({k: v for k, v in row.items() if k != "seconds"}, sort_keys=True) for row in rows}
    return told, {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in out.glob("*.png")}


def alone(work: Callable[[int], object], count: int, threads: int, *begin: object) -> float:
    """Photos a second of a stage that has the machine for itself."""
    with ThreadPoolExecutor(threads, "alone", *begin) as pool:
        list(pool.map(work, range(min(count, threads))))
        start = time.perf_counter()
        list(pool.map(work, range(count)))
        return count / (time.perf_counter() - start)


def core_seconds(work: Callable[[int], object], count: int) -> float:
    """Seconds of a core that a stage takes for a photo."""
    start = time.process_time()
    for i in range(count):
        work(i)
    return (time.process_time() - start) / count


def stages(studio: StyleCLIP, photos: Sequence[Path], folder: Path) -> list[tuple[str, float, float]]:
    """Name, photos a second alone, and seconds of a core a photo, of each stage."""
    cores, search, editor, count = available_cores(), search_of(studio, False), Editor(studio), len(photos)
    torch.set_num_threads(max(1, cores // 2))
    threads = BATCH if studio.family.device.type == "cuda" else ON_CPU, torch.set_num_threads, (max(1, cores // 2),)
    found = [find_faces(str(photo), search) for photo in photos]
    latents = [studio.invert(one.faces[0]) for one in found]
    pictures = [studio.image(latent) for latent in latents]
    editor(found[0].faces[0], ASKED)  # which finds the strength of the direction

    def find(i: int) -> object:
        return find_faces(str(photos[i]), search)

    def draw(i: int) -> object:
        return studio.image(latents[i])

    def edit(i: int) -> object:
        return editor(found[i].faces[0], ASKED)

    def write(i: int) -> object:
        return write_picture(pictures[i], str(folder / f"{i}.png"), None)

    with Workers(cores) as workers:
        finding = alone(lambda i: workers(find_faces, str(photos[i]), search), count, cores)
        writing = alone(lambda i: workers(write_picture, pictures[i], str(folder / f"{i}.png"), None), count, cores)
    return [
        ("decode and align", finding, core_seconds(find, count)),
        ("generator: the edited picture", alone(draw, count, *threads), core_seconds(draw, count)),
        (
            "all of the model: invert, edit, draw, compare twice",
            alone(edit, count, *threads),
            core_seconds(edit, count),
        ),
        ("write", writing, core_seconds(write, count)),
    ]


def of_runs(model: str, photos: Path, folder: Path, count: int) -> tuple[list[tuple[str, str]], float]:
    """Rows of the table for the command undisturbed, killed, and on Ray; and its rate undisturbed."""
    whole, cut, ray = folder / "undisturbed", folder / "killed", folder / "ray"
    command = Command(model, photos, whole)
    status = command.follow()
    told, pictures = result(whole)
    failed = sum(json.loads(row)["error"] is not None for row in told)
    rows = [("pictures, rows with a sentence, status", f"{len(pictures)}, {failed}, {status}")]
    by_ray = Command(model, photos, ray, "--ray", "--workers", "2")
    by_ray.follow()
    left = []
    for _ in range(KILLS):
        killed = Command(model, photos, cut)
        killed.follow(count // (KILLS + 1))
        killed.process.kill()
        killed.process.wait()
        left.append(str(len(list(cut.glob("*.png")))))
    Command(model, photos, cut).follow()
    rows.append((f"killed {KILLS} times, with so many pictures there", ", ".join(left)))
    rows.append(("rows and pictures after the last start", same(result(cut), (told, pictures))))
    rows.append(("rows and pictures of --ray --workers 2", same(result(ray), (told, pictures))))
    points = [next(k for k in command.memory if k >= count * share // 5) for share in range(1, 5)]
    main, workers = zip(*(command.memory[point] for point in points), strict=True)
    rows.append(("photos done", ", ".join(map(str, points))))
    rows.append(("… MB of the main process", ", ".join(f"{megabytes:.0f}" for megabytes in main)))
    rows.append(("… MB of its workers", ", ".join(f"{megabytes:.0f}" for megabytes in workers)))
    rate = command.rate()
    rows.append(("photos a second: the command", f"{rate:.2f}"))
    rows.append(("… --ray --workers 2", f"{by_ray.rate():.2f} ({by_ray.rate() / rate:.0%})"))
    return rows, rate


def same(one: object, other: object) -> str:
    """In a word."""
    return "the same" if one == other else "NOT the same"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="demo")
    parser.add_argument("--photos", type=int, default=500)
    options = parser.parse_args()
    studio = StyleCLIP.from_pretrained(options.model)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos = folder / "photos"
        photos.mkdir()
        bad = make_photos(studio, photos, options.photos)
        good = [photos / f"{n:04}.jpg" for n in range(options.photos) if n % EVERY < EVERY - 1][:ALONE]
        before = stages(studio, good, folder)
        rows, rate = of_runs(options.model, photos, folder, options.photos)
        after = stages(studio, good, folder)
    alones = [(name, (a + b) / 2, (c + d) / 2) for (name, a, c), (_, b, d) in zip(before, after, strict=True)]
    cores = available_cores()
    rows.insert(0, ("photographs, of them broken", f"{options.photos}, {bad}"))
    for (name, alone, cpu), (_, first, _), (_, last, _) in zip(alones, before, after, strict=True):
        rows.append((f"{name} alone", f"{alone:.2f} ({first:.2f}, {last:.2f}); {cpu:.2f} s of a core"))
    slowest, used = min(alone for _, alone, _ in alones), sum(alones[i][2] for i in (0, 2, 3))
    rows.append(("the command beside the slowest of them", f"{rate / slowest:.0%}"))
    rows.append((f"… beside all of them together on {cores} cores", f"{rate * used / cores:.0%}"))
    print(table([f"{options.model}, {cores} cores, {studio.family.device}, load {os.getloadavg()[0]:.1f}", ""], rows))


if __name__ == "__main__":
    main()
