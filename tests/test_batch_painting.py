"""Photos painted by the batch command."""

from PIL import Image

from pipeline import edit_photos
from tests.test_batch import group, rows_in  # noqa: F401  # group is a fixture


def test_a_photo_is_painted_whole(studio, photo, tmp_path):
    photo.save(tmp_path / "a.png")
    asked = {"paint": "an oil painting", "neutral": "a photo", "steps": 1}
    edit_photos(studio, tmp_path / "a.png", tmp_path / "out", **asked, paste=True, workers=1)
    face = studio.align(photo)[0]
    (last,) = studio.paint(studio.invert(face), "an oil painting", "a photo", steps=1)
    with Image.open(tmp_path / "out" / "a.png") as picture:
        assert picture.tobytes() == studio.paste(photo, face, last.latent.paint).tobytes()
        corner = (0, 0, 50, 50)  # far from the face
        assert picture.crop(corner).tobytes() != photo.crop(corner).tobytes()


def test_a_photo_of_several_faces_is_painted_once(studio, group, tmp_path):  # noqa: F811
    group.save(tmp_path / "group.png")
    asked = {"paint": "an oil painting", "neutral": "a photo", "steps": 1}
    edit_photos(studio, tmp_path / "group.png", tmp_path / "out", **asked, faces="all", paste=True, workers=1)
    ((face, faces),) = [(row["face"], row["faces"]) for row in rows_in(tmp_path / "out")]
    assert (face, faces) == (1, 1)
    largest, _ = studio.align(group)
    (last,) = studio.paint(studio.invert(largest), "an oil painting", "a photo", steps=1)
    with Image.open(tmp_path / "out" / "group.png") as picture:
        assert picture.tobytes() == studio.paste(group, largest, last.latent.paint).tobytes()
