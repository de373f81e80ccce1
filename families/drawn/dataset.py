"""The rendered training set, kept as memory-mapped files under `.cache/demo/` and made once, resumably.

python -m families.drawn.dataset [--count N] [--workers N]
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from families.drawn.attributes import attributes, labels, sample_z, w_from_attributes
from families.drawn.renderer import render

CACHE = Path(".cache/demo")
SIZE = 256
COUNT, HELD_OUT = 21_000, 1_000  # the last 1,000 faces are never trained on
SEED = 100
CHUNK = 8


class Dataset:
    """Rendered faces: `images` uint8 (N, 256, 256, 3), `landmarks` float32 (N, 68, 2) in pixels, `z`, `w`, `labels`.

    Faces [0, `train`) are for training; the rest are held out.
    """

    def __init__(self, count: int = COUNT, folder: Path = CACHE) -> None:
        """Open the set in `folder`, or prepare an empty one there of `count` faces."""
        folder.mkdir(parents=True, exist_ok=True)
        self.images = memory_map(folder / "images.u8", np.uint8, (count, SIZE, SIZE, 3))
        self.landmarks = memory_map(folder / "landmarks.f32", np.float32, (count, 68, 2))
        self.done = memory_map(folder / "done.u8", np.uint8, (count // CHUNK,))
        self.z = sample_z(count, SEED)
        self.attributes = attributes(self.z)
        self.w = w_from_attributes(self.attributes)
        self.labels = labels(self.attributes)
        self.train = count - HELD_OUT

    def batch(self, index: Tensor, size: int = SIZE) -> Tensor:
        """Images (len(index), 3, size, size) in [-1, 1]; smaller sizes are exact area means."""
        pixels = torch.from_numpy(self.images[index.numpy()]).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
        return pixels if size == SIZE else torch.nn.functional.adaptive_avg_pool2d(pixels, size)


def memory_map(path: Path, dtype: type, shape: tuple[int, ...]) -> np.memmap:
    expected = int(np.prod(shape)) * np.dtype(dtype).itemsize
    fresh = not path.exists() or path.stat().st_size != expected
    return np.memmap(path, dtype, "w+" if fresh else "r+", shape=shape)


def _work(worker: int, workers: int, count: int) -> None:
    torch.set_num_threads(1)
    data = Dataset(count)
    draw = torch.compile(lambda batch: render(batch, SIZE), dynamic=False)
    numbers = {name: value for name, value in data.attributes.items() if value.ndim == 1}
    with torch.inference_mode():
        for chunk in range(worker, len(data.done), workers):
            if data.done[chunk]:
                continue
            rows = slice(chunk * CHUNK, (chunk + 1) * CHUNK)
            images, landmarks = draw({name: value[rows] for name, value in numbers.items()})
            data.images[rows] = ((images + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
            data.landmarks[rows] = landmarks.numpy()
            data.done[chunk] = 1
            if chunk % 50 == worker:
                print(f"rendered {int(data.done.sum()) * CHUNK} of {count}", flush=True)


def main() -> None:
    """Render what is missing of the set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--workers", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    Dataset(options.count)
    torch.multiprocessing.spawn(_work, (options.workers, options.count), options.workers)


if __name__ == "__main__":
    main()
