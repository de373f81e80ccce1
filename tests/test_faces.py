"""Photos in, aligned faces out."""

import io

import numpy as np
import pytest
from goldens import Goldens
from PIL import Image

from pipeline.errors import UserError
from pipeline.faces import crop_quad, face_quad, open_photo

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


def test_the_largest_face_comes_first(studio, drawn_faces):
    canvas = Image.new("RGB", (900, 500), (90, 120, 150))
    canvas.paste(drawn_faces[0][1].resize((220, 220)), (30, 200))
    canvas.paste(drawn_faces[0][0].resize((400, 400)), (400, 50))
    first, second = studio.align(canvas)
    assert first.quad[:, 0].mean() > second.quad[:, 0].mean()


def test_a_large_photo_is_searched_at_a_smaller_size(studio, photo):
    small, large = studio.align(photo)[0], studio.align(photo.resize((4500, 3500)))[0]
    np.testing.assert_allclose(large.quad / 5, small.quad, atol=8)


def test_a_small_photo_is_enlarged_only_when_nothing_is_found(studio, drawn_faces):
    (face,) = studio.align(drawn_faces[0][0].resize((90, 90)))
    np.testing.assert_allclose(face.quad.mean(0), (45, 45), atol=6)


def test_orientation_is_heeded(studio, photo):
    turned, file = photo.transpose(Image.Transpose.ROTATE_90), io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: shown, the picture is upright again
    turned.save(file, "JPEG", exif=exif, quality=95)
    file.seek(0)
    assert studio.align(file)[0].quad == pytest.approx(studio.align(photo)[0].quad, abs=8)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "I;16", "F", "1"])
def test_any_mode_becomes_rgb(photo, mode):
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(photo.convert("L")).astype(np.uint16) * 257)
    else:
        picture = photo.convert(mode)
    rgb = open_photo(picture)
    assert (rgb.mode, rgb.size) == ("RGB", photo.size)
    assert abs(np.asarray(rgb).mean() - np.asarray(photo).mean()) < 12


def test_transparent_parts_become_white():
    assert open_photo(Image.new("RGBA", (64, 64), (0, 0, 0, 0))).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("picture", "sentence"),
    [
        (Image.new("RGB", (300, 300), "white"), "No face"),
        (Image.new("RGB", (1, 1)), "too small"),
        (Image.new("1", (20_000, 40)), "too large"),
        (Image.new("1", (16_000, 16_000)), "too large"),
        (io.BytesIO(b"This is a text file named photo.jpg"), "could not be read"),
        (io.BytesIO(b""), "could not be read"),
    ],
    ids=["no face", "one pixel", "too wide", "too many pixels", "text", "empty"],
)
def test_what_cannot_be_used_is_said_in_a_sentence(studio, picture, sentence):
    with pytest.raises(UserError, match=sentence) as error:
        studio.align(picture)
    assert str(error.value).endswith(".")


def test_a_broken_file_is_said_in_a_sentence(studio, photo, tmp_path):
    file = io.BytesIO()
    photo.save(file, "JPEG")
    (tmp_path / "cut.jpg").write_bytes(file.getvalue()[:2000])
    with pytest.raises(UserError, match="could not be read"):
        studio.align(tmp_path / "cut.jpg")
