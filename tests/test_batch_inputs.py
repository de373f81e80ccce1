"""Which photos a batch takes, and what their pictures are called."""

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
