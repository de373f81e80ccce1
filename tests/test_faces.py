"""Photos in, aligned faces out."""

from types import SimpleNamespace

import dlib
import numpy as np
import pytest
from PIL import Image

from pipeline.faces.detection import crop_quad, face_quad
from tests.goldens import Goldens

GOLDENS = Goldens.from_environment()
CASES = ["mid", "corner_pad", "small", "big", "ffhq1024", "pad1024"]


@pytest.fixture(scope="module")
def golden_photo():
    blocks = GOLDENS.rng(60).integers(0, 256, (24, 30, 3)).astype(np.uint8)
    return Image.fromarray(blocks.repeat(50, 0).repeat(50, 1))


@pytest.mark.parametrize("case", CASES)
def test_alignment_golden(golden_photo, case):
    golden = {k.removeprefix(f"{case}/"): v for k, v in GOLDENS.load("alignment").arrays.items()}
    quad = face_quad(golden["landmarks"])
    np.testing.assert_allclose(quad, golden["after_quad/quad"], atol=1e-9)
    size, transform_size = golden["output_transform_size"].tolist()
    pixels = np.asarray(crop_quad(golden_photo, quad, size, transform_size), dtype=np.float64)
    assert pixels.shape == (size, size, 3)
    means = pixels.reshape(32, size // 32, 32, size // 32, 3).mean((1, 3))
    np.testing.assert_allclose(means, golden["result_ds32"], atol=1)  # Pillow's versions differ by less
    np.testing.assert_allclose(pixels.mean((0, 1)), golden["result_mean"], atol=0.2)


def test_a_face_is_found_and_aligned(studio, photo):
    (face,) = studio.align(photo)
    assert face.image.size == (256, 256)
    assert face.landmarks.shape == (68, 2)
    np.testing.assert_allclose(face.quad.mean(0), (500, 350), atol=25)  # where the drawn face, aligned itself, was put
    np.testing.assert_allclose(face.quad[2] - face.quad[0], (400, 400), atol=40)


def test_several_faces_come_largest_first(studio, drawn_faces):
    canvas = Image.new("RGB", (1100, 500), (90, 120, 150))
    for face, side, left in zip(drawn_faces[0], (220, 400, 300), (20, 260, 700), strict=False):
        canvas.paste(face.resize((side, side)), (left, 50))
    faces = studio.align(canvas)
    centres = [face.quad[:, 0].mean() for face in faces]
    assert centres == pytest.approx([460, 850, 130], abs=40)
    assert {f.image.size for f in faces} == {(256, 256)}


def test_a_small_doubtful_face_beside_a_sure_one_is_none(studio, photo, monkeypatch):
    """As a badge or a print on a shirt."""

    def found(*boxes, doubtful=True):
        answer = [dlib.rectangle(*box) for box, _ in boxes], [score for _, score in boxes], []
        detector = SimpleNamespace(run=lambda *_: answer)
        monkeypatch.setattr(studio.family.faces, "detector", detector)
        return [round(face.quad.mean(0)[0]) for face in studio.family.faces.find(photo, 256, doubtful)]

    face, badge, small = ((300, 150, 700, 550), 1.5), ((100, 600, 180, 680), 0.3), ((100, 100, 180, 180), 0.8)
    alone = found(face)
    assert found(badge, face) == alone
    assert len(found(badge, small, face)) == 2  # a sure one is a face, however small
    assert len(found(badge, ((300, 150, 700, 550), 0.4))) == 2  # where none is sure, the visitor chooses
    large = ((0, 150, 450, 600), 0.3)
    assert len(found(face, large)) == 2  # a large one, too
    assert found(large, face, doubtful=False) == found(face, badge, doubtful=False) == alone  # where nobody chooses
    assert len(found(large, doubtful=False)) == 1


@pytest.mark.parametrize("left", [-80, 280])
def test_a_face_cut_by_the_border_is_completed(studio, drawn_faces, left):
    canvas = Image.new("RGB", (600, 500), (90, 120, 150))
    canvas.paste(drawn_faces[0][1].resize((400, 400)), (left, 60))
    (face,) = studio.align(canvas)
    assert face.quad[:, 0].min() < -40 or face.quad[:, 0].max() > 640
    np.testing.assert_allclose(face.quad.mean(0), (left + 200, 260), atol=25)
    pixels = np.asarray(face.image, dtype=int)
    outside = pixels[:, :20] if left < 0 else pixels[:, -20:]
    assert outside.mean() > 40  # not black
    assert abs(np.diff(outside, axis=1)).mean() < 3  # but blurred


def test_a_large_photo_is_searched_at_a_smaller_size(studio, photo):
    small, large = studio.align(photo)[0], studio.align(photo.resize((4500, 3500)))[0]
    np.testing.assert_allclose(large.quad / 5, small.quad, atol=8)


def test_a_small_photo_is_enlarged_only_when_nothing_is_found(studio, drawn_faces):
    (face,) = studio.align(drawn_faces[0][0].resize((90, 90)))
    np.testing.assert_allclose(face.quad.mean(0), (45, 45), atol=6)
