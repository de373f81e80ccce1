"""Files of all kinds, read as photos."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, features

from pipeline.errors import UserError
from pipeline.faces.decode import FORMATS, MAX_PIXELS
from pipeline.faces.photos import open_photo
from webapp.api.faces import Faces

SKY = (90, 120, 150)  # around the face in `photo`


def saved(image: Image.Image, file_format: str, **options) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    file.seek(0)
    return file


def animated(image: Image.Image, file_format: str) -> io.BytesIO:
    """A file whose second frame is white."""
    return saved(image, file_format, save_all=True, append_images=[Image.new("RGB", image.size, "white")])


def png(width: int, height: int, depth: int, rows: bytes) -> io.BytesIO:
    """An RGB picture, each of whose rows starts with a zero. Pillow reads 16 bits, but does not write them."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0))
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b""))


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_16(image: Image.Image) -> io.BytesIO:
    rows = (np.asarray(image).astype(">u2") * 257).reshape(image.height, -1)
    return png(*image.size, 16, b"".join(b"\0" + row.tobytes() for row in rows))


def grey_16(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)


def without_sky(image: Image.Image) -> Image.Image:
    """RGBA, and nothing where the sky was, not even its colour."""
    pixels = np.asarray(image.convert("RGBA")).copy()
    pixels[(pixels[..., :3] == SKY).all(2)] = 0
    return Image.fromarray(pixels)


KINDS = {
    "jpeg": lambda p: saved(p, "JPEG", quality=95),
    "jpeg grey": lambda p: saved(p.convert("L"), "JPEG"),
    "jpeg cmyk": lambda p: saved(p.convert("CMYK"), "JPEG", quality=95),
    "jpeg of two pictures": lambda p: saved(p, "MPO", save_all=True, append_images=[p.resize((64, 64))]),
    "png": lambda p: saved(p, "PNG", compress_level=1),
    "png alpha": lambda p: saved(without_sky(p), "PNG", compress_level=1),
    "png grey alpha": lambda p: saved(without_sky(p).convert("LA"), "PNG", compress_level=1),
    "png palette": lambda p: saved(p.quantize(256), "PNG", compress_level=1),
    "png palette alpha": lambda p: saved(without_sky(p).quantize(256), "PNG", compress_level=1),
    "png 16 bits": png_16,
    "png grey 16 bits": lambda p: saved(grey_16(p), "PNG", compress_level=1),
    "tiff": lambda p: saved(p, "TIFF"),
    "tiff cmyk": lambda p: saved(p.convert("CMYK"), "TIFF"),
    "tiff grey 16 bits": lambda p: saved(grey_16(p), "TIFF"),
    "tiff grey 0 to 1": lambda p: saved(Image.fromarray(np.asarray(p.convert("L"), dtype=np.float32) / 255), "TIFF"),
    "bmp": lambda p: saved(p, "BMP"),
    "gif": lambda p: saved(p, "GIF"),
    "gif animated": lambda p: animated(p, "GIF"),
    "webp": lambda p: saved(p, "WEBP", method=0),
    "webp alpha": lambda p: saved(without_sky(p), "WEBP", method=0),
    "webp animated": lambda p: animated(p, "WEBP"),
    "avif": lambda p: saved(p, "AVIF", speed=10),
    "a grey image of 32 bits": lambda p: p.convert("I"),
    "a grey image of floats": lambda p: p.convert("F"),
}


@pytest.fixture(scope="module")
def quad(studio, photo) -> np.ndarray:
    """Where the face is."""
    return studio.align(photo)[0].quad


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_face_is_found_in_any_kind_of_file(studio, photo, quad, kind):
    if kind.startswith("avif") and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    file = KINDS[kind](photo)
    rgb = open_photo(file)
    assert (rgb.mode, rgb.size) == ("RGB", photo.size)
    wanted = photo.convert("L" if "grey" in kind else "RGB")
    around, inside = (50, 50, 250, 650), (420, 250, 580, 450)
    pixels, truth = (np.asarray(p.convert("RGB").crop(inside), dtype=float) for p in (rgb, wanted))
    assert abs(pixels.mean((0, 1)) - truth.mean((0, 1))).max() < 4  # as bright, and of the same colour
    expected = (255,) * 3 if "alpha" in kind else wanted.convert("RGB").getpixel((60, 60))
    np.testing.assert_allclose(np.asarray(rgb.crop(around)).mean((0, 1)), expected, atol=3)
    assert studio.align(file)[0].quad == pytest.approx(quad, abs=8)


def test_a_picture_of_black_and_white(photo):
    pixels = np.asarray(open_photo(saved(photo.convert("1"), "PNG")))
    assert set(np.unique(pixels)) == {0, 255}
    assert pixels.mean() == pytest.approx(np.asarray(photo.convert("L")).mean(), abs=2)


def test_a_dark_picture_of_16_bits_stays_dark(photo):
    dark = Image.fromarray((np.asarray(photo.convert("L")).astype(np.uint16) * 257) // 4)
    np.testing.assert_allclose(np.asarray(open_photo(dark)).mean(), np.asarray(photo.convert("L")).mean() / 4, atol=1)


TURNS = [None, *(Image.Transpose[name] for name in ("FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM"))]
TURNS += [Image.Transpose[name] for name in ("TRANSPOSE", "ROTATE_90", "TRANSVERSE", "ROTATE_270")]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_that_the_camera_noted_is_heeded(photo, orientation):
    upright, turn, exif = photo.resize((90, 70)), TURNS[orientation - 1], Image.Exif()
    exif[0x0112] = orientation
    lying = upright if turn is None else upright.transpose(turn)
    np.testing.assert_array_equal(open_photo(saved(lying, "PNG", exif=exif)), upright)


def test_a_face_in_a_turned_photo_is_found_where_one_sees_it(studio, photo, quad):
    exif = Image.Exif()
    exif[0x0112] = 6
    file = saved(photo.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif, quality=95)
    assert studio.align(file)[0].quad == pytest.approx(quad, abs=8)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_notes_of_the_camera_that_are_damaged_do_no_harm(photo):
    for notes in (b"Exif\0\0no such thing", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12\0\x09\xff\xff\xff\xff"):
        assert open_photo(saved(photo, "JPEG", exif=notes)).size == photo.size


def test_opening_leaves_the_callers_picture_alone(photo):
    copy = photo.copy()
    open_photo(photo).paste("red", (0, 0, 50, 50))
    assert photo == copy


def test_the_largest_photo_that_is_allowed(studio, drawn_faces):
    canvas = Image.new("L", (10_000, MAX_PIXELS // 10_000), 120)
    canvas.paste(drawn_faces[0][0].resize((5000, 5000)).convert("L"), (2500, 1500))
    (face,) = studio.align(saved(canvas, "JPEG"))
    np.testing.assert_allclose(face.quad.mean(0), (5000, 4000), atol=300)


def closed():
    picture = Image.new("RGB", (90, 90))
    picture.close()
    return picture


@pytest.mark.parametrize(
    ("picture", "sentence"),
    [
        (Image.new("RGB", (300, 300), "white"), "No face"),
        (Image.new("RGB", (1, 1)), "too small"),
        (Image.new("1", (20_000, 40)), "too large"),
        # Without rows they could not be decoded; so that is not tried.
        (png(10_000, MAX_PIXELS // 10_000 + 1, 8, b""), "too large"),
        (png(100_000, 100_000, 8, b""), "too large"),
        (io.BytesIO(b"This is a text file named photo.jpg"), "could not be read"),
        (io.BytesIO(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n%%EndComments\n"), "could not be read"),
        (io.BytesIO(b""), "could not be read"),
        (io.BytesIO(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"), "HEIC.*save it as JPEG"),
        (closed(), "could not be read"),
        ("no such file.jpg", "is no file"),
    ],
    ids="no-face one-pixel too-wide too-many bomb text a-program empty heic closed missing".split(),
)
def test_what_cannot_be_used_is_said_in_a_sentence(studio, picture, sentence):
    with pytest.raises(UserError, match=sentence) as error:
        studio.align(picture)
    assert str(error.value).endswith(".")


def test_the_formats_that_are_opened_are_named_where_a_file_is_refused_and_in_the_endpoints():
    with pytest.raises(UserError) as error:
        open_photo(io.BytesIO(b"A face, in words only."))
    assert [name for name in FORMATS if name not in str(error.value) or name not in Faces.align.__doc__] == []


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("file_format", FORMATS)
def test_a_broken_file_is_said_in_a_sentence(photo, file_format):
    if file_format == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    whole = saved(photo.resize((90, 70)), file_format).getvalue()
    rng = np.random.default_rng(0)
    for share in (0.1, 0.5, 0.8):
        with pytest.raises(UserError, match="could not be read"):
            open_photo(io.BytesIO(whole[: int(share * len(whole))]))
    for _ in range(30 if file_format in ("JPEG", "PNG") else 6):  # a file with a few wrong bytes opens, or is refused
        altered = bytearray(whole)
        for place in rng.integers(0, min(len(whole), 300), 5):
            altered[place] = rng.integers(256)
        try:
            assert open_photo(io.BytesIO(bytes(altered))).mode == "RGB"
        except UserError as error:
            assert str(error).endswith(".")
