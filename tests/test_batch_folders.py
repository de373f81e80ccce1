"""What a batch leaves of files that it finds, where results may be, and what makes it do photos again."""

import json
import shutil

import fsspec
import pytest

from pipeline import StyleCLIP, edit_photos
from pipeline.batch import run as batch_run
from pipeline.batch import stages, workers
from pipeline.batch.edits import UNLIKE
from pipeline.batch.workers import Workers
from pipeline.errors import UserError
from tests.test_batch import rows_in


def test_a_file_of_somebody_else_is_left_alone_and_pictures_of_old_rows_go(studio, photo, tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for name in ("a.jpg", "b.jpg"):
        photo.resize((450, 350)).save(photos / name)
    edit_photos(studio, photos / "a.jpg", out, mapper="levels", workers=1)
    (out / "b.png").write_bytes(b"mine")
    edit_photos(studio, photos, out, mapper="levels", workers=1)
    assert [row["output"] for row in rows_in(out)] == ["a.png", "b-2.png"] and (out / "b.png").read_bytes() == b"mine"
    rows = (out / "results.jsonl").read_text()
    (out / "results.jsonl").write_text(rows + rows.replace('"b-2.png"', '"../photos/b.jpg"'))  # somebody's own
    edit_photos(studio, photos, out, mapper="levels", format="webp", workers=1)
    left = sorted(path.name for path in out.iterdir() if path.suffix != ".lock")
    assert left == ["a.webp", "b-2.webp", "b.png", "results.jsonl"] and (out / "b.png").read_bytes() == b"mine"
    assert (photos / "b.jpg").exists()


def test_a_mapper_that_was_trained_again_makes_photos_anew(studio, seeded_registry, photo, tmp_path):
    folder = tmp_path / "models"
    shutil.copytree(seeded_registry.parent, folder)
    photo.resize((450, 350)).save(tmp_path / "a.jpg")

    def done():
        fresh = StyleCLIP.from_pretrained("seeded", device="cpu", registry=folder / "models.toml")
        return edit_photos(fresh, tmp_path / "a.jpg", tmp_path / "out", mapper="levels", workers=1).done_before

    assert (done(), done()) == (0, 1)
    shutil.copyfile(folder / "stylespace.safetensors", folder / "levels.safetensors")
    assert done() == 0


def test_a_face_that_the_model_makes_unlike_the_photo_gets_a_note(studio, photo, tmp_path, monkeypatch):
    photo.save(tmp_path / "a.png")
    monkeypatch.setattr(studio.family, "row", studio.family.row.model_copy(update={"likeness": "photographs"}))
    for likeness, notes in ((0.59, [UNLIKE]), (0.61, [])):
        monkeypatch.setattr(studio, "likeness", lambda *_, value=likeness: value)
        edit_photos(studio, tmp_path / "a.png", tmp_path / f"{likeness}", mapper="levels", workers=1)
        assert rows_in(tmp_path / f"{likeness}")[0]["notes"] == notes


def test_photos_and_results_may_be_at_an_address(studio, photo, tmp_path, monkeypatch):
    memory = fsspec.filesystem("memory")
    photo.save(tmp_path / "a.png")
    memory.pipe_file("/photos/a.png", (tmp_path / "a.png").read_bytes())
    memory.pipe_file("/photos/b.jpg", b"no picture")
    memory.pipe_file("/out/results.jsonl", b"")

    class Here:
        """Workers of this process, which share its memory."""

        def __init__(self, count):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def __call__(self, work, *arguments):
            return stages.in_this_process(work, *arguments)

        def end(self):
            pass

    monkeypatch.setattr(batch_run, "Workers", Here)
    done = edit_photos(studio, "memory://photos", "memory://out", mapper="levels", paste=True)
    assert (done.edited, done.failed, done.results) == (1, 1, "memory://out/results.jsonl")
    edit_photos(studio, tmp_path / "a.png", tmp_path / "here", mapper="levels", paste=True, workers=1)
    assert memory.cat_file("/out/a.png") == (tmp_path / "here" / "a.png").read_bytes()
    rows = [json.loads(line) for line in memory.cat_file("/out/results.jsonl").splitlines()]
    assert [row["output"] for row in rows] == ["a.png", None] and "could not be read" in rows[1]["error"]
    done = edit_photos(studio, "memory://photos", "memory://out", mapper="levels", paste=True, format="jpg")
    assert sorted(memory.ls("/out", detail=False)) == ["/out/a.jpg", "/out/results.jsonl"]
    memory.rm("/photos", recursive=True)
    memory.rm("/out", recursive=True)


def test_workers_that_do_not_begin_are_told_and_leave_no_process(monkeypatch):
    begun, begin = [], Workers._begun
    monkeypatch.setattr(workers, "SERVE", "import sys; sys.exit()")
    monkeypatch.setattr(Workers, "_begun", lambda self: begun.append(begin(self)) or begun[-1])
    with pytest.raises(UserError, match="can't be started"):
        Workers(3)
    assert len(begun) == 3 and all(process.returncode is not None for process in begun)
