"""Many photos on Ray: the same rows and pictures as without, also where processes die, the driver among them."""

import os
import signal
import subprocess
import sys

import pytest
from PIL import Image

from pipeline import edit_photos
from pipeline.batch import on_ray
from pipeline.errors import UserError
from tests import mortal
from tests.test_batch import contents, rows_in

ray = pytest.importorskip("ray")
ASKED = {"target": "a smiling face", "neutral": "a face"}
DRIVER = """
import sys
import pipeline.batch.__main__
assert "ray" not in sys.modules
from pipeline import StyleCLIP, edit_photos
assert "torchvision" not in sys.modules
registry, photos, out, address = sys.argv[1:]
def seen(done):
    if done.rows:
        print(done.rows[0]["input"], flush=True)
        sys.stdin.read()  # until it is killed
studio = StyleCLIP.from_pretrained("seeded", device="cpu", registry=registry)
edit_photos(studio, photos, out, target="a smiling face", neutral="a face", faces="all", ray=address, progress=seen)
"""
OF_ANOTHER_VERSION = """
import sys
import ray
ray.__version__ = "1.0.0"
from pipeline.batch.on_ray import connected
with connected(sys.argv[1]):
    pass
"""


@pytest.fixture(scope="module")
def cluster():
    """The address of Ray on this machine."""
    options = {"num_cpus": 2, "include_dashboard": False, "object_store_memory": 100 * 2**20, "log_to_driver": False}
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    context = ray.init("local", logging_level="ERROR", **options)
    yield context.address_info["address"]
    ray.shutdown()


@pytest.fixture(scope="module")
def photos(photo, drawn_faces, tmp_path_factory):
    """A folder of three photographs, one of them with two faces, and two files that are none."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(2):
        photo.resize((700 + number, 560)).save(folder / f"{number}.jpg")
    group = Image.new("RGB", (900, 500), (90, 120, 150))
    for index, side, place in ((1, 260, (40, 120)), (2, 380, (460, 60))):
        group.paste(drawn_faces[0][index].resize((side, side), Image.Resampling.LANCZOS), place)
    group.save(folder / "group.png")
    (folder / "empty.jpg").touch()
    (folder / "gone.jpg").symlink_to("nowhere.jpg")
    return folder


@pytest.fixture(scope="module")
def undisturbed(studio, photos, tmp_path_factory):
    """What the run without Ray leaves of them."""
    out = tmp_path_factory.mktemp("plain") / "out"
    edit_photos(studio, photos, out, **ASKED, faces="all", workers=1)
    return contents(out)


def test_rows_and_pictures_are_those_of_the_run_without_ray(studio, photos, undisturbed, cluster, tmp_path):
    done = edit_photos(studio, photos, tmp_path / "out", **ASKED, faces="all", ray=cluster)
    assert (done.edited, done.failed) == (3, 2)
    assert contents(tmp_path / "out") == undisturbed
    again = edit_photos(studio, photos, tmp_path / "out", **ASKED, faces="all", workers=1)
    assert (again.edited, again.failed, again.done_before) == (0, 2, 3)


def test_a_driver_that_was_killed_goes_on(studio, seeded_registry, photos, undisturbed, cluster, tmp_path):
    command = [sys.executable, "-c", DRIVER, str(seeded_registry), str(photos), str(tmp_path / "out"), cluster]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, start_new_session=True, **pipes) as process:
        assert process.stdout.readline().strip().startswith(str(photos))
        os.killpg(process.pid, signal.SIGKILL)
    assert rows_in(tmp_path / "out")
    edit_photos(studio, photos, tmp_path / "out", **ASKED, faces="all", ray=cluster)
    assert contents(tmp_path / "out") == undisturbed


def test_a_process_that_dies_takes_its_photo_along(studio, photo, cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(on_ray, "find_packed", mortal.find_packed)
    monkeypatch.setattr(on_ray, "ModelActor", mortal.ModelActor)
    (tmp_path / "photos").mkdir()
    for name in ("a.jpg", "deadly-to-draw.jpg", "deadly-to-find.jpg", "z.jpg"):
        photo.resize((450, 350)).save(tmp_path / "photos" / name)
    done = edit_photos(studio, tmp_path / "photos", tmp_path / "out", **ASKED, ray=cluster)
    assert (done.edited, done.failed) == (2, 2)
    assert [row["error"] for row in rows_in(tmp_path / "out")] == [None, on_ray.DIED, on_ray.DIED, None]


def test_a_full_disk_ends_the_run_with_a_sentence(studio, photo, cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(on_ray, "ModelActor", mortal.ActorOfFullDisk)
    photo.save(tmp_path / "a.png")
    with pytest.raises(UserError, match="No space left.*start the same command again"):
        edit_photos(studio, tmp_path / "a.png", tmp_path / "out", **ASKED, ray=cluster)
    assert rows_in(tmp_path / "out") == []


def test_an_address_at_which_nobody_answers_is_told_before_anything_is_written(studio, photo, tmp_path, monkeypatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    photo.save(tmp_path / "a.png")
    for address in ("127.0.0.1:1", "nowhere", "ray://127.0.0.1:1", "127.0.0.1:99999", ""):
        with pytest.raises(UserError, match="No Ray cluster answers"):
            edit_photos(studio, tmp_path / "a.png", tmp_path / "out", **ASKED, ray=address)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match="pip install -r requirements-ray.txt"):
        edit_photos(studio, tmp_path / "a.png", tmp_path / "out", **ASKED, ray="local")
    assert not (tmp_path / "out").exists()


def test_a_cluster_of_another_version_is_refused_with_a_sentence(cluster):
    told = subprocess.run([sys.executable, "-c", OF_ANOTHER_VERSION, cluster], capture_output=True, text=True)
    assert "UserError: The Ray cluster at" in told.stderr and "Ray: 1.0.0" in told.stderr and "Ray: 2.60" in told.stderr
