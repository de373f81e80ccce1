"""Which photos a batch takes, and what their pictures are called."""

import json
import os
import zipfile
from pathlib import Path

import pytest

from pipeline.batch.inputs import Job, jobs_of
from pipeline.batch.results import harmless, names_of
from pipeline.errors import UserError


def test_lists_patterns_and_folders_name_photos(tmp_path):
    names = ["a.jpg", "b.JPG", "sub/c.png", "sub/deep/d.webp", ".hidden.jpg", "e.txt.md"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "list.txt").write_text("\ufeffa.jpg\r\n\n  sub/c.png\n/elsewhere/x.jpg\na.jpg\n")

    def named(*photos, out="out"):
        return [job.photo.removeprefix(f"{tmp_path}/") for job in jobs_of(photos, tmp_path / out)]

    assert named(tmp_path) == ["a.jpg", "b.JPG", "sub/c.png", "sub/deep/d.webp"]
    assert named(tmp_path, out="sub/deep") == ["a.jpg", "b.JPG", "sub/c.png"]  # what a run has written is no photo
    assert named(f"{tmp_path}/**/*.p*g", tmp_path / "a.jpg") == ["sub/c.png", "a.jpg"]
    assert named(tmp_path / "list.txt") == ["a.jpg", "sub/c.png", "/elsewhere/x.jpg"]
    for wrong, sentence in {
        "*.bmp": "no file or folder",
        "none": "no file or folder",
        "sub/deep/none": "no file or folder",
        "empty": "no photos",
        "latin.txt": "UTF-8",
        "rows.parquet": "Parquet",
    }.items():
        (tmp_path / "empty").mkdir(exist_ok=True)
        (tmp_path / "latin.txt").write_bytes(b"\xe9t\xe9.jpg")
        (tmp_path / "rows.parquet").write_bytes(b"PAR1")
        with pytest.raises(UserError, match=sentence):
            named(tmp_path / wrong)
    with pytest.raises(UserError, match="another folder"):
        named(tmp_path, out=".")
    with pytest.raises(UserError, match="another folder"):
        named(tmp_path / "a.jpg", out=".")


def test_no_name_leads_elsewhere():
    for name in ("../../x", "/etc/passwd", "..", ".", "", "a\0b", "CON:", "C:\\x", "-rf", "~", "\u202e", "é" * 300):
        clean = harmless(name)
        assert clean and Path(clean).name == clean and clean.isprintable() and len(clean.encode()) <= 120
        assert not set(clean) & set("/\\:.") and not clean.startswith(("-", "~"))
    jobs = [Job(f"/{folder}/same.jpg") for folder in range(12)]
    assert len(set(names_of(jobs, {}).values())) == 12


def test_a_list_has_paths_that_count_from_its_folder_also_of_mappers_and_values_of_any_kind(tmp_path):
    import datetime

    import pandas

    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "rows.jsonl").write_text(
        '{"photo": "../a.jpg", "mapper": "mine.safetensors"}\n{"photo": "/b.jpg", "mapper": "beard"}\n'
        '{"photo": "s3://bucket/c.jpg"}\n{"photo": "nul\\u0000.jpg"}\n'
    )
    one, two, three, four = jobs_of([tmp_path / "lists" / "rows.jsonl"], tmp_path / "out")
    assert (one.photo, one.texts) == (str(tmp_path / "a.jpg"), {"mapper": str(tmp_path / "lists" / "mine.safetensors")})
    assert (two.photo, two.texts) == ("/b.jpg", {"mapper": "beard"})
    assert three.photo == "s3://bucket/c.jpg" and not four.error
    rows = pandas.DataFrame({"photo": ["a.jpg", "b.jpg"], "words": [datetime.date(2026, 1, 1), datetime.date.max]})
    try:
        rows.to_parquet(tmp_path / "rows.parquet")
    except ImportError:
        pytest.skip("pandas has no package that writes Parquet")
    jobs = jobs_of([tmp_path / "rows.parquet"], tmp_path / "out")
    assert len({job.key for job in jobs}) == 2


def test_photos_in_the_folder_of_the_results_are_refused_by_any_path(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.jpg").touch()
    (tmp_path / "link").symlink_to("real")
    for photo, out in (("link/a.jpg", "real"), ("real/a.jpg", "link"), ("link", "real")):
        with pytest.raises(UserError, match="another folder"):
            jobs_of([tmp_path / photo], tmp_path / out)


def test_a_host_and_an_archive_stay_parts_of_an_address(tmp_path):
    import fsspec
    from fsspec.implementations.memory import MemoryFileSystem

    class OnHosts(MemoryFileSystem):
        protocol, store, pseudo_dirs = "hosts", {}, [""]

        @classmethod
        def _strip_protocol(cls, path):
            path = path.rstrip("/")
            return "/" + path.removeprefix("hosts://").partition("/")[2] if path.startswith("hosts://") else path

        @staticmethod
        def _get_kwargs_from_urls(address):
            return {"host": address.removeprefix("hosts://").partition("/")[0]}

    fsspec.register_implementation("hosts", OnHosts)
    fsspec.filesystem("hosts", host="one").pipe_file("/one/a.jpg", b"")
    for named in ("hosts://one/one", "hosts://one/one/", "hosts://one/one/*.jpg", "hosts://one/one/a.jpg"):
        assert jobs_of([named], "hosts://two/one") == [Job("hosts://one/one/a.jpg")]
    with pytest.raises(UserError, match="no photos"):
        jobs_of(["hosts://one/one"], "hosts://one/one")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("a.jpg", b"")
    for named in (f"zip://*.jpg::{tmp_path}/all.zip", f"zip://::{tmp_path}/all.zip"):
        assert jobs_of([named], tmp_path / "out") == [Job(f"zip://a.jpg::{tmp_path}/all.zip")]


def test_an_address_of_this_machine_is_a_path(tmp_path):
    (tmp_path / "My Photos").mkdir()
    os.mkfifo(tmp_path / "My Photos" / "pipe.jpg")
    (tmp_path / "list.jsonl").write_text(json.dumps({"photo": f"file://{tmp_path}/My%20Photos/pipe.jpg"}))
    wanted = [Job(str(tmp_path / "My Photos" / "pipe.jpg"))]
    for named in (tmp_path / "list.jsonl", f"file://{tmp_path}/My%20Photos", f"file://localhost{tmp_path}/My%20Photos"):
        assert jobs_of([named], tmp_path / "out") == wanted


def test_photos_at_an_address(tmp_path):
    import fsspec

    memory = fsspec.filesystem("memory")
    for name in ("/photos/a.jpg", "/photos/deep/b.png", "/photos/readme.md", "/photos/.c.jpg", "/photos/out/d.png"):
        memory.pipe_file(name, b"")
    memory.pipe_file("/photos/list.txt", b"a.jpg\nmemory://else/x.jpg\n")

    def named(photos, out="memory://photos/out"):
        return [job.photo.removeprefix("memory://").lstrip("/") for job in jobs_of([photos], out)]

    assert named("memory://photos") == ["photos/a.jpg", "photos/deep/b.png"]
    assert named("memory://photos/*.jpg") == ["photos/.c.jpg", "photos/a.jpg"]
    assert named("memory://photos/a.jpg") == ["photos/a.jpg"]
    assert named("memory://photos/list.txt") == ["photos/a.jpg", "else/x.jpg"]
    (tmp_path / "a.jpg").touch()
    assert jobs_of([f"file://{tmp_path}"], tmp_path / "out") == [Job(str(tmp_path / "a.jpg"))]
    for address, sentence in (
        ("memory://photos/none.jpg", "no file or folder"),
        ("memory://none/*.jpg", "no photos"),
        ("nothing://photos", "can't be used"),
    ):
        with pytest.raises(UserError, match=sentence):
            named(address)
    memory.rm("/photos", recursive=True)
