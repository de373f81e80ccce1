"""Colours and turns: a photo means the same whatever its file says about itself, and the result looks like it."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pipeline.faces.detection import CERTAIN, MOST_FACES, crop_quad
from pipeline.faces.photos import browsers_show, open_photo
from tests import profiles

P3, ADOBE = profiles.rgb(profiles.DISPLAY_P3, 2.2), profiles.rgb(profiles.ADOBE_RGB, 2.2)
LINEAR = profiles.grey(1.0)


def file(image: Image.Image, file_format: str, **options) -> io.BytesIO:
    content = io.BytesIO()
    image.save(content, file_format, **options)
    return content


# Mode, colour, profile, and the same colour in sRGB, by the spaces' definitions.
COLOURS = [
    ("RGB", (234, 51, 35), P3, (255, 0, 0)),
    ("RGB", (128, 128, 128), P3, (128, 128, 128)),
    ("RGB", (200, 100, 50), ADOBE, (227, 100, 42)),
    ("L", 100, LINEAR, (168, 168, 168)),
    ("LA", (100, 255), LINEAR, (168, 168, 168)),
    ("RGBA", (234, 51, 35, 255), P3, (255, 0, 0)),
    ("RGBA", (234, 51, 35, 0), P3, (255, 255, 255)),
    ("CMYK", (0, 0, 0, 0), profiles.inks(), (255, 255, 255)),
    ("RGB", (200, 100, 50), profiles.inks(), (200, 100, 50)),
    ("RGB", (200, 100, 50), b"no profile", (200, 100, 50)),
    ("RGB", (200, 100, 50), P3[:200], (200, 100, 50)),
]


@pytest.mark.parametrize(
    ("mode", "colour", "profile", "wanted", "kind"),
    [(*row, kind) for row in COLOURS for kind in ("image", "PNG", "TIFF") if (row[0], kind) != ("CMYK", "PNG")],
)
def test_colours_are_converted_to_srgb(mode, colour, profile, wanted, kind):
    if kind == "image":
        image = Image.new(mode, (64, 64), colour)
        image.info["icc_profile"] = profile
        opened = open_photo(image)
    else:
        opened = open_photo(file(Image.new(mode, (64, 64), colour), kind, icc_profile=profile))
    assert opened.mode == "RGB" and not opened.info
    np.testing.assert_allclose(opened.getpixel((9, 9)), wanted, atol=2)


def test_inks_with_a_profile_are_what_it_says_and_leave_none():
    """A full cyan is a grey by this profile."""
    opened = open_photo(file(Image.new("CMYK", (64, 64), (255, 0, 0, 0)), "JPEG", icc_profile=profiles.inks()))
    red, green, blue = opened.getpixel((9, 9))
    assert max(red, green, blue) - min(red, green, blue) <= 3 and not opened.info


@pytest.mark.parametrize(("mode", "profile"), [("RGB", P3), ("CMYK", profiles.inks())])
def test_crop_and_pasted_photo_carry_the_photos_colours_and_no_profile(studio, photo, mode, profile, tmp_path):
    """An unedited face pasted back gives the photo, converted: what the page shows and what is saved look the same."""
    content = file(photo.convert(mode), "TIFF", icc_profile=profile)
    (face,) = studio.align(content)
    whole = studio.paste(content, face, face.image)
    for number, picture in enumerate((face.image, whole)):
        picture.save(tmp_path / f"{number}.png")
        assert "icc_profile" not in Image.open(tmp_path / f"{number}.png").info
    difference = np.abs(np.asarray(whole, dtype=int) - np.asarray(open_photo(content), dtype=int))
    assert difference.max() <= 2 and studio.view(content, 9999) == open_photo(content)


@pytest.mark.parametrize(
    ("file_format", "mode", "shown"),
    [
        ("PNG", "RGB", True),
        ("JPEG", "RGB", True),
        ("WEBP", "RGB", True),
        ("JPEG", "CMYK", False),
        ("TIFF", "RGB", False),
    ],
)
def test_which_files_a_browser_shows_as_they_are(file_format, mode, shown):
    assert browsers_show(file(Image.new(mode, (64, 64)), file_format).getvalue()) == shown


@pytest.mark.parametrize("turn", range(4))
def test_a_face_that_is_not_upright_is_turned_and_pasted_back_upright(studio, drawn_faces, turn):
    """Without a note of the camera. `turn` quarter turns clockwise make it upright."""
    upright = Image.new("RGB", (900, 700), (90, 120, 150))
    face_image = max((image for image in drawn_faces[0]), key=lambda image: score(studio, image))
    upright.paste(face_image.resize((400, 400), Image.Resampling.LANCZOS), (300, 150))
    lying = upright.rotate(90 * turn, expand=True)
    (wanted,), (face,) = studio.align(upright), studio.align(lying)
    assert (wanted.turn, face.turn) == (0, turn)
    assert face.quad == pytest.approx(wanted.quad, abs=2)
    red = Image.new("RGB", (256, 256), "red")
    assert studio.paste(lying, face, red) == studio.paste(upright, replace(face, turn=0), red)
    assert studio.view(lying, 9999, face.turn) == upright


def score(studio, image: Image.Image) -> float:
    return max(studio.family.faces.detector.run(np.asarray(image), 0, 0.0)[1], default=0.0)


def test_a_doubtful_face_is_not_turned(studio, drawn_faces):
    """Drawn faces get low scores; those upright stay so."""
    scores = [score(studio, image) for image in drawn_faces[0]]
    assert min(scores) < CERTAIN
    for image in drawn_faces[0]:
        canvas = Image.new("RGB", (600, 500), (90, 120, 150))
        canvas.paste(image.resize((400, 400)), (100, 50))
        assert all(face.turn == 0 for face in studio.align(canvas))


def test_a_crowd_is_cropped_up_to_a_dozen_and_small_faces_as_fine_as_they_are(studio, drawn_faces, monkeypatch):
    crowd, small = Image.new("RGB", (1000, 800), (90, 120, 150)), drawn_faces[0][0].resize((180, 180))
    for place in range(20):
        crowd.paste(small, (10 + 200 * (place % 5), 10 + 200 * (place // 5)))
    sampled = []

    def crop(photo, quad, size, samples):
        sampled.append(samples)
        return crop_quad(photo, quad, size, samples)

    monkeypatch.setattr("pipeline.faces.detection.crop_quad", crop)
    faces = studio.family.faces.find(crowd, 1024)
    assert len(faces) == MOST_FACES == 12 and all(face.image.size == (1024, 1024) for face in faces)
    assert sampled == [1024] * 12  # four times as many for a large face
    sampled.clear()
    studio.family.faces.find(crowd.crop((0, 0, 200, 200)), 64)
    assert sampled == [256]
