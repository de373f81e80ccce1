"""Edited faces back in the photo."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from pipeline.faces.detection import Face, centred
from pipeline.faces.paste import paste


def difference(a: Image.Image, b: Image.Image) -> np.ndarray:
    """(H, W): the largest of the three colours."""
    return abs(np.asarray(a, dtype=np.int16) - np.asarray(b, dtype=np.int16)).max(2)


def depth(face: Face, size: tuple[int, int]) -> np.ndarray:
    """(H, W): how far a pixel of the photo lies inside the crop, in sides of the crop; negative outside."""
    u, v = np.tensordot(np.linalg.inv((face.quad[[3, 1]] - face.quad[0]).T), beside(face.quad[0], size), 1)
    return np.minimum(np.minimum(u, 1 - u), np.minimum(v, 1 - v))


def beside(point: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(2, H, W): from a point to the pixels of a photo."""
    x, y = np.meshgrid(*(np.arange(side, dtype=np.float32) + 0.5 for side in size))
    return np.stack([x - point[0], y - point[1]])


def aligned(photo: Image.Image, face: Face) -> Image.Image:
    """The crop of another photo at the place of that face."""
    corners = face.quad.ravel().tolist()
    large = photo.transform((1024, 1024), Image.Transform.QUAD, corners, Image.Resampling.BILINEAR)
    return large.resize((256, 256), Image.Resampling.BOX)


@pytest.fixture(scope="module")
def photos(studio, drawn_faces) -> dict[str, tuple[Image.Image, Face]]:
    """Photos, each with the drawn face in it, and grain that no crop of 256 pixels can keep."""
    face, rng = drawn_faces[0][0], np.random.default_rng(3)

    def around(side: int, size: tuple[int, int], left: int, top: int, turn: int = 0):
        photo = Image.new("RGB", size, (90, 120, 150))
        turned = face.resize((side, side), Image.Resampling.LANCZOS).convert("RGBA")
        turned = turned.rotate(turn, Image.Resampling.BICUBIC, expand=True)
        photo.paste(turned, (left, top), turned)
        grain = rng.integers(-12, 13, (256, 256, 1), dtype=np.int16)
        grain = np.tile(grain, (size[1] // 256 + 1, size[0] // 256 + 1, 1))[: size[1], : size[0]]
        photo = Image.fromarray((np.asarray(photo) + grain).clip(0, 255).astype(np.uint8))
        return photo, *studio.align(photo)

    return {
        "drawn": around(400, (900, 700), 300, 150),
        "12 megapixels": around(1800, (4000, 3000), 1500, 700),
        "small": around(110, (300, 200), 100, 40),
        "rotated": around(400, (900, 700), 250, 80, turn=18),
        "cut on the left": around(400, (600, 500), -80, 60),
        "cut at the top": around(400, (600, 500), 100, -70),
    }


CASES = ["drawn", "12 megapixels", "small", "rotated", "cut on the left", "cut at the top"]


@pytest.mark.parametrize("case", CASES)
def test_an_unedited_face_leaves_the_photo_as_it_was(studio, photos, case):
    photo, face = photos[case]
    pasted = studio.paste(photo, face, face.image)
    assert (pasted.mode, pasted.size) == ("RGB", photo.size)
    assert difference(pasted, photo).max() < 2  # on the seam as well
    # Nearly unedited: what a JPEG file in between does to it.
    file = io.BytesIO()
    face.image.save(file, "JPEG", quality=97, subsampling=0)
    assert difference(studio.paste(photo, face, Image.open(file)), photo).mean() < 2


@pytest.mark.parametrize("case", [case for case in CASES if case != "12 megapixels"])
def test_an_edit_lands_on_the_face_and_nowhere_else(studio, photos, case):
    photo, face = photos[case]
    pasted = studio.paste(photo, face, ImageOps.invert(face.image))
    inside = depth(face, photo.size)
    np.testing.assert_array_equal(difference(pasted, photo)[inside < 0], 0)
    # Aligned again at the same place, the photo shows the edit.
    again = aligned(pasted, face)
    middle = (64, 64, 192, 192)
    wanted = ImageOps.invert(face.image)
    assert difference(again.crop(middle), wanted.crop(middle)).mean() < 8


@pytest.mark.parametrize("case", ["drawn", "12 megapixels", "rotated"])
def test_what_was_drawn_on_the_crop_is_where_it_belongs_in_the_photo(studio, photos, case):
    photo, face = photos[case]
    edited = face.image.copy()
    ImageDraw.Draw(edited).ellipse((112, 80, 143, 111), "lime")
    pasted = studio.paste(photo, face, edited)
    changed = difference(pasted, photo)
    y, x = np.nonzero(changed > 60)
    centre = np.array([x.mean(), y.mean()]) + 0.5
    u, v = np.linalg.solve((face.quad[[3, 1]] - face.quad[0]).T, centre - face.quad[0]) * 256
    assert (u, v) == pytest.approx((128, 96), abs=1.5)
    distance = np.hypot(*beside(centre, photo.size)) / np.hypot(*(face.quad[3] - face.quad[0]))
    assert changed[distance > 0.125].max() < 2


@pytest.mark.parametrize("case", ["drawn", "rotated"])
def test_the_edge_of_the_edit_is_soft(photos, case):
    photo, face = photos[case]
    grey = Image.new("RGB", photo.size, (100, 100, 100))
    grey_face = Face(Image.new("RGB", (256, 256), (100, 100, 100)), face.landmarks, face.quad)
    pasted = np.asarray(paste(grey, grey_face, Image.new("RGB", (256, 256), "white")), dtype=int)[..., 0]
    assert pasted[depth(face, grey.size) > 0.2].min() > 250
    assert max(abs(np.diff(pasted, axis=axis)).max() for axis in (0, 1)) < 10


def test_an_edit_reaches_the_edge_of_the_photo_where_that_cuts_the_face(studio, photos):
    photo, face = photos["cut at the top"]
    pasted = studio.paste(photo, face, Image.new("RGB", (256, 256), "white"))
    assert np.asarray(pasted)[0, 280:320].mean() > 250


def test_detail_of_the_old_face_does_not_shine_through_a_new_one(studio, photos):
    photo, face = photos["12 megapixels"]
    plain = np.asarray(studio.paste(photo, face, Image.new("RGB", (256, 256), (180, 140, 120))), dtype=float)
    eyes = face.landmarks[36:48].mean(0).astype(int)
    eye = plain[eyes[1] - 100 : eyes[1] + 100, eyes[0] - 400 : eyes[0] + 400]
    assert abs(eye - (180, 140, 120)).max() < 45
    assert abs(eye - (180, 140, 120)).mean() < 8  # about as much as the grain


def test_a_new_colour_keeps_the_detail_that_the_crop_has_not(studio, photos):
    photo, face = photos["12 megapixels"]
    darker = Image.fromarray((np.asarray(face.image) * 0.8).astype(np.uint8))
    x, y = face.landmarks[30].astype(int)
    box = (x - 150, y - 150, x + 150, y + 150)
    before, after = (np.asarray(p.crop(box), dtype=float) for p in (photo, studio.paste(photo, face, darker)))
    assert after.mean() < 0.85 * before.mean()
    grain = [np.diff(p, axis=0).std() for p in (before, after)]
    assert grain[1] > 0.8 * grain[0]


@pytest.mark.parametrize("side", [64, 128, 512, 1024])
def test_an_edit_may_have_any_resolution(studio, photos, side):
    photo, face = photos["drawn"]
    pasted = studio.paste(photo, face, face.image.resize((side, side), Image.Resampling.LANCZOS))
    assert difference(pasted, photo).mean() < 2


def test_the_photo_is_opened_as_for_alignment(studio, photos, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    photo, _ = photos["drawn"]
    photo.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "photo.png", exif=exif)
    (face,) = studio.align(tmp_path / "photo.png")
    pasted = studio.paste(tmp_path / "photo.png", face, face.image)
    assert difference(pasted, photo).max() < 2


def test_a_picture_without_a_face_is_pasted_over_its_whole_height(photos):
    photo = photos["drawn"][0].crop((0, 0, 900, 600))
    middle = centred(photo, 256, 192)
    assert difference(paste(photo, middle, middle.image), photo).max() < 2
    pasted = np.asarray(paste(photo, middle, Image.new("RGB", (256, 192), "red")))
    assert (pasted[[0, -1], 450, 0] > 250).all()
    np.testing.assert_array_equal(pasted[:, :50], np.asarray(photo)[:, :50])
