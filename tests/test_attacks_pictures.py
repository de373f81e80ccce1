"""Slow and huge pictures: they cost seconds and a bounded memory, and whoever comes next is served."""

import io
import json
import subprocess
import sys
import threading
import time

import httpx
import pytest
from PIL import Image

from pipeline.errors import UserError
from pipeline.faces import decode, photos
from pipeline.faces.photos import open_photo
from tests.pictures import EXAMPLES
from tests.programs import posted, uploaded
from tests.slow_pictures import MEGAPIXELS, PICTURES, png, saved

SMALL_FILES = [name for name in PICTURES if "megapixels" not in name or name.endswith("scans")]


@pytest.fixture(scope="module")
def many_scans() -> bytes:
    return PICTURES["jpeg, 12 megapixels, 20,500 scans"]()


@pytest.mark.parametrize("name", SMALL_FILES)
def test_no_file_that_could_be_slow_is_decoded_in_the_servers_process(monkeypatch, name):
    """Where nothing could end it; and what does get out of the other process is a picture or a sentence."""
    monkeypatch.setattr(photos, "_converted", lambda image: pytest.fail("decoded here"))
    monkeypatch.setattr(photos, "SECONDS", 2.0)
    try:
        assert open_photo(io.BytesIO(PICTURES[name]())).mode == "RGB"
    except UserError as error:
        assert str(error).endswith(".")


@pytest.mark.parametrize(
    ("size", "depth", "plain"), [(MEGAPIXELS[12], 8, True), (MEGAPIXELS[12], 16, False), (MEGAPIXELS[50], 8, False)]
)
def test_only_usual_pictures_are_decoded_in_the_servers_process(size, depth, plain):
    assert photos.is_plain(io.BytesIO(png(size, depth, 0))) == plain


def test_ordinary_photos_need_no_other_process(monkeypatch, photo):
    monkeypatch.setattr(photos, "Popen", lambda *_, **__: pytest.fail("another process"))
    exif = Image.Exif()
    exif[0x0112] = 6
    for options in ({"quality": 90}, {"progressive": True}, {"exif": exif}, {"optimize": True}):
        assert open_photo(io.BytesIO(saved(photo, "JPEG", **options))).mode == "RGB"
    assert open_photo(io.BytesIO(saved(photo, "PNG", compress_level=1))).size == photo.size


def test_a_picture_that_takes_too_long_is_given_up(monkeypatch, many_scans):
    monkeypatch.setattr(photos, "SECONDS", 1.0)
    with pytest.raises(UserError, match="takes too long"):
        open_photo(io.BytesIO(many_scans))


def test_a_decoder_that_crashes_costs_nobody_else_anything(monkeypatch, tmp_path, photo):
    crashing = tmp_path / "crashing.py"
    crashing.write_text("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    monkeypatch.setattr(decode, "__file__", str(crashing))
    with pytest.raises(UserError, match="could not be read"):
        open_photo(io.BytesIO(saved(photo, "TIFF")))


MEASURE = """
import io, resource, sys
from PIL import Image
from pipeline.faces.photos import open_photo
most = lambda who: resource.getrusage(who).ru_maxrss // 1024
before = most(resource.RUSAGE_SELF)
open_photo(sys.argv[1])
print(most(resource.RUSAGE_SELF) - before, most(resource.RUSAGE_CHILDREN))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted in other units elsewhere")
@pytest.mark.parametrize("name", ["png, 50 megapixels, grey of 16 bits", "jpeg, 50 megapixels, progressive"])
def test_a_huge_picture_takes_less_than_500_megabytes(monkeypatch, tmp_path, name):
    """The one process's most is over before the other's begins; even together the pixels are there twice only."""
    (tmp_path / "huge").write_bytes(PICTURES[name]())
    told = subprocess.run(
        [sys.executable, "-c", MEASURE, tmp_path / "huge"], capture_output=True, text=True, check=True
    ).stdout
    here, there = map(int, told.split())
    pixels = 4 * MEGAPIXELS[50][0] * MEGAPIXELS[50][1] // 2**20
    assert there < 500 and here < 1.3 * pixels and here + pixels < 500


def test_two_slow_pictures_hold_the_others_up_for_seconds_only(url, raw, monkeypatch, many_scans):
    """Both places for photos are taken at once; the third visitor is served when they are given up."""
    monkeypatch.setattr(photos, "SECONDS", 1.0)
    told = []

    def attack():
        with httpx.Client(timeout=60) as client:
            told.append(posted(client, url, "align", photo=uploaded(client, url, many_scans, "a.jpg")))

    attackers = [threading.Thread(target=attack) for _ in range(4)]
    for attacker in attackers:
        attacker.start()
    photo = uploaded(raw, url, EXAMPLES[0].read_bytes())
    event, said = posted(raw, url, "align", photo=photo)
    assert event == "complete" and '"faces": 1' in said
    for attacker in attackers:
        attacker.join(60)
    assert len(told) == 4 and all("takes too long" in json.loads(said)["error"] for _, said in told)


@pytest.mark.skipif(sys.platform == "win32", reason="it has no such limits")
@pytest.mark.parametrize("stricter", ["-d 400000", "-t 5"])
def test_pictures_are_read_where_the_system_has_stricter_limits_or_none(tmp_path, stricter):
    """A program may not raise a limit, and macOS refuses some of them."""
    Image.new("RGB", (90, 70)).save(tmp_path / "a.tif")
    command = ["sh", "-c", f'ulimit {stricter} && exec "$@"', "sh", sys.executable, "-P", decode.__file__]
    with (tmp_path / "a.tif").open("rb") as file:
        assert subprocess.run(command, stdin=file, capture_output=True).stdout.startswith(b"90 70\n")


def test_no_program_is_left_behind(monkeypatch, many_scans):
    begun, start = [], photos.Popen
    monkeypatch.setattr(photos, "SECONDS", 0.5)
    monkeypatch.setattr(photos, "Popen", lambda *args, **kwargs: begun.append(start(*args, **kwargs)) or begun[-1])
    before = threading.active_count()
    for content in (many_scans, saved(Image.new("RGB", (90, 70)), "TIFF"), b"II*\0nothing"):
        try:
            open_photo(io.BytesIO(content))
        except UserError as error:
            assert str(error).endswith(".")
    assert len(begun) == 3 and all(program.poll() is not None for program in begun)
    for _ in range(100):
        if threading.active_count() <= before:
            break
        time.sleep(0.05)
    assert threading.active_count() <= before
