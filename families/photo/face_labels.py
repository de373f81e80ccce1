"""What face-api sees in the sampled faces: age, sex, expression, landmarks and identity, for probes and for judging.

    python -m families.photo.face_labels [--folder DIR]

Needs node 20 and npm, which fetch the pinned packages of `faceapi/package.json` once. Goes on where it stopped; the
answers end up in `face_labels.npz`, one row for each seed: `age` (N,) in years, `female` (N,) the probability of a
woman, `expressions` (N, 7) in the order of `EXPRESSIONS`, `landmarks` (N, 68, 2) in pixels of the 256 px picture,
`descriptor` (N, 128).
"""

import json
import shutil
import subprocess
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image
from safetensors import safe_open

from families.photo.samples import SIZE, part_parser, picture_path
from pipeline.errors import UserError
from pipeline.training.command import run

TOOL = Path(__file__).parent / "faceapi"
EXPRESSIONS = ("neutral", "happy", "sad", "angry", "fearful", "disgusted", "surprised")


def install() -> None:
    """Fetch face-api with npm, once. Raises UserError without node and npm."""
    if not (shutil.which("node") and shutil.which("npm")):
        raise UserError("The labels are made by face-api, which needs node 20 and npm; please install them.")
    if not (TOOL / "node_modules").is_dir():
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=TOOL, check=True)


def face_labels(pictures: Iterable[Image.Image]) -> Iterator[dict[str, Any]]:
    """What face-api answers for aligned pictures of `SIZE` px, in order."""
    command = ["node", "label.js", str(SIZE)]
    with subprocess.Popen(command, cwd=TOOL, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        sender = threading.Thread(target=_send, args=(pictures, process.stdin), daemon=True)
        sender.start()
        for line in process.stdout:
            yield json.loads(line)
    if process.returncode:
        raise UserError(f"face-api stopped with status {process.returncode}.")


def _send(pictures: Iterable[Image.Image], pipe: IO[bytes]) -> None:
    with pipe:
        for picture in pictures:
            pipe.write(picture.convert("RGB").tobytes())
            pipe.flush()


def table(answers: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Answers of `face_labels` as arrays, as the module's text has them."""
    columns = {name: [answer[name] for answer in answers] for name in ("age", "female", "landmarks", "descriptor")}
    columns["expressions"] = [[answer["expressions"][name] for name in EXPRESSIONS] for answer in answers]
    return {name: np.array(column, np.float32) for name, column in columns.items()}


def read_face_labels(folder: Path) -> dict[str, np.ndarray]:
    """What face-api saw in the samples, as the module's text has it. Raises UserError before it has looked at all."""
    try:
        with np.load(folder / "face_labels.npz") as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise UserError("face-api has not looked at the samples yet; run the part face_labels.") from None


def label(folder: Path) -> None:
    """Label what is not yet labelled of the pictures in `folder`."""
    with safe_open(folder / "codes.safetensors", "pt") as file:
        count = file.get_slice("psi").get_shape()[0]
    kept = folder / "face_labels.jsonl"
    done = kept.read_text().splitlines() if kept.exists() else []
    done = [line for line in done if _whole(line)][:count]
    kept.write_text("".join(f"{line}\n" for line in done))
    with kept.open("a") as file:
        pictures = (Image.open(picture_path(folder, seed)) for seed in range(len(done), count))
        for number, answer in enumerate(face_labels(pictures), len(done) + 1):
            file.write(json.dumps(answer) + "\n")
            if number % 100 == 0:
                file.flush()
                print(f"{number} of {count} labelled", flush=True)
    answers = [json.loads(line) for line in kept.read_text().splitlines()]
    if len(answers) < count:
        raise UserError(f"Only {len(answers)} of {count} pictures are there; make the others with …photo.samples.")
    np.savez_compressed(folder / "face_labels.npz", **table(answers))


def _whole(line: str) -> bool:
    """Whether a line was written to its end, before an earlier run was stopped."""
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def main() -> None:
    """The command line."""
    parser = part_parser(__doc__)
    options = parser.parse_args()

    def command() -> None:
        install()
        label(options.folder)

    run(command)


if __name__ == "__main__":
    main()
