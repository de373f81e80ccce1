"""The demo's landmark model: dlib's regression trees, trained on drawn faces warped into scenes.

    python -m families.drawn.landmarks [--faces N]

The faces are found by dlib's stock detector. The trees see grey values, so colours do not matter; shapes, light, blur
and surroundings are varied strongly, because the model must also land on photographs.
"""

import argparse
from pathlib import Path

import dlib
import numpy as np
import torch
from torch import Tensor

from families.drawn.augment import Warp, photograph, placement, texture, uniform
from families.drawn.dataset import SIZE, Dataset

OUTPUT = Path("checkpoints/demo/landmarks.dat")
SCENE = 240
EYES = slice(36, 42), slice(42, 48)


def scenes(images: Tensor, landmarks: Tensor, rng: torch.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Grey faces (N, 1, S, S) in [-1, 1] with landmarks (N, 68, 2) in [-1, 1], photographed in larger surroundings.

    Returns grey pictures uint8 (N, SCENE, SCENE) and landmarks (N, 68, 2) in their pixels.
    """
    count = len(images)
    far = placement(count, rng, scale=(0.5, 0.95), turn=0.5, shift=0.12, stretch=0.08, tilt=0.12)
    near = placement(count, rng, scale=(0.75, 1.0), turn=0.15, shift=0.06)
    easy = torch.rand(count, generator=rng) < 0.35  # nearly as they are drawn
    warp = Warp(torch.where(easy[:, None, None], near, far), rng)
    warp.amplitude[easy], warp.scales[easy] = 0.0, 0.0
    rooms = texture(count, 1, SIZE, rng)
    axis = (torch.arange(SIZE) + 0.5) * (2 / SIZE) - 1
    # elsewhere than in the face the drawing gives way to noise, which stands for every hair and background there is
    mid_x, mid_y = uniform(-0.03, 0.03, (count, 1, 1), rng), uniform(0.0, 0.12, (count, 1, 1), rng)
    away = (((axis - mid_x) / 0.55).square() + ((axis[:, None] - mid_y) / 0.74).square()).sqrt()
    edge = uniform(0.03, 0.3, (count, 1, 1), rng)
    outside = ((away - 1) / edge + 0.5).clamp(0, 1) * (torch.rand(count, 1, 1, generator=rng) < 0.4)
    faces, seen = warp.sample(torch.lerp(images, rooms, outside[:, None]), SCENE)
    beyond = (seen.abs().amax(3) > 1) & (torch.rand(count, 1, 1, generator=rng) < 0.7)
    faces = torch.where(beyond[:, None], texture(count, 1, SCENE, rng), faces)
    pixels = ((photograph(faces, rng).squeeze(1) + 1) * 127.5).round().clamp(0, 255).byte().numpy()
    return pixels, ((warp.target(landmarks) + 1) * (SCENE / 2)).numpy()


def boxes(landmarks: np.ndarray, rng: np.random.Generator) -> dlib.rectangle:
    """A box as the stock detector would draw it around landmarks (68, 2), give or take."""
    left, right = (landmarks[eye].mean(0) for eye in EYES)
    distance, down = np.linalg.norm(right - left), landmarks[48:].mean(0) - (left + right) / 2
    centre = (left + right) / 2 + 0.46 * down + rng.normal(0, 0.09, 2) * distance
    half = 0.5 * 2.12 * max(distance, np.linalg.norm(down)) * np.exp(rng.normal(0, 0.13))
    return dlib.rectangle(*(int(round(v)) for v in (*(centre - half), *(centre + half))))


def found(detector: dlib.fhog_object_detector, image: np.ndarray, landmarks: np.ndarray) -> dlib.rectangle | None:
    """The detector's box around the face with these landmarks, if it has one."""
    middle = landmarks[27:48].mean(0)
    for box in detector(image, 0):
        if box.contains(dlib.point(int(middle[0]), int(middle[1]))):
            return box
    return None


def collect(data: Dataset, index: Tensor, seed: int) -> tuple[list[np.ndarray], list[list[dlib.full_object_detection]]]:
    """Scenes of these faces and their marked boxes: for half of them the detector's, where it finds the face."""
    rng, boxing, detector = (
        torch.Generator().manual_seed(seed),
        np.random.default_rng(seed),
        dlib.get_frontal_face_detector(),
    )
    pictures, objects = [], []
    for rows in index.split(32):
        points = torch.from_numpy(data.landmarks[rows.numpy()]) * (2 / SIZE) - 1
        for picture, marks in zip(*scenes(data.batch(rows).mean(1, keepdim=True), points, rng), strict=True):
            box = found(detector, picture, marks) if boxing.random() < 0.5 else None
            parts = dlib.points([dlib.point(round(float(x)), round(float(y))) for x, y in marks])
            pictures.append(picture)
            objects.append([dlib.full_object_detection(box or boxes(marks, boxing), parts)])
    return pictures, objects


def train(pictures: list[np.ndarray], objects: list[list[dlib.full_object_detection]]) -> dlib.shape_predictor:
    """The regression trees; their count is what a file of 8 MB holds."""
    options = dlib.shape_predictor_training_options()
    options.cascade_depth, options.tree_depth, options.num_trees_per_cascade_level = 10, 4, 58
    options.oversampling_amount, options.nu, options.num_test_splits = 4, 0.25, 80
    options.feature_pool_size, options.feature_pool_region_padding = 400, 0.05
    options.num_threads, options.random_seed, options.be_verbose = 1, "1", False
    return dlib.train_shape_predictor(pictures, objects, options)


def error(predictor: dlib.shape_predictor, image: np.ndarray, box: dlib.rectangle, landmarks: np.ndarray) -> float:
    """Mean distance of the 68 points from the truth, in per cent of the distance between the eyes."""
    marks = np.array([(p.x, p.y) for p in predictor(image, box).parts()])
    left, right = (landmarks[eye].mean(0) for eye in EYES)
    return 100 * np.linalg.norm(marks - landmarks, axis=1).mean() / np.linalg.norm(right - left)


def measure(data: Dataset, path: Path = OUTPUT, count: int = 1000) -> dict[str, float]:
    """Held-out figures: the detector's rate on plain drawings, and the landmarks' error there and in scenes."""
    predictor, detector = dlib.shape_predictor(str(path)), dlib.get_frontal_face_detector()
    index = torch.arange(data.train, data.train + count)
    plain = []
    for i in index.tolist():
        image, marks = np.ascontiguousarray(data.images[i]), np.array(data.landmarks[i])
        box = found(detector, image, marks)
        if box is not None:
            plain.append(error(predictor, image, box, marks))
    pictures, objects = collect(data, index[:300], seed=3)
    hard = [
        error(predictor, picture, marked.rect, np.array([(p.x, p.y) for p in marked.parts()]))
        for picture, (marked,) in zip(pictures, objects, strict=True)
    ]
    return {
        "stock detector rate, held-out drawings": len(plain) / count,
        "landmark error, held-out drawings (% of eye distance)": float(np.mean(plain)),
        "landmark error, 95th percentile": float(np.percentile(plain, 95)),
        "landmark error, held-out warped scenes": float(np.mean(hard)),
    }


def main() -> None:
    """Train and write the model, and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=int, default=8000)
    faces = parser.parse_args().faces
    torch.set_num_threads(1)
    data = Dataset()
    chosen = torch.randperm(data.train, generator=torch.Generator().manual_seed(4))[:faces]
    predictor = train(*collect(data, chosen, seed=5))
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    predictor.save(str(OUTPUT))
    for name, value in measure(data).items():
        print(f"{name}: {value:.3f}")


if __name__ == "__main__":
    main()
