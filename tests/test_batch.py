"""Many photos at once: the call and the command, with files of every kind, stopped, killed and started again."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline import edit_photos
from pipeline.batch import rows as batch_rows
from pipeline.batch import stages
from pipeline.batch.__main__ import batch_command
from pipeline.batch.workers import DIED, Workers
from pipeline.errors import UserError
from tests.hostile import png

ASKED = {"target": "a smiling face", "neutral": "a face"}
COMMAND = [sys.executable, "-m", "pipeline.batch"]
DRIVER = """
import sys
from pipeline import StyleCLIP
from pipeline import edit_photos
studio = StyleCLIP.from_pretrained("seeded", device="cpu", registry=sys.argv[1])
left = int(sys.argv[4])
def seen(done):
    global left
    for row in done.rows:
        print(row["input"], flush=True)
        left -= 1
    if done.rows and not left:
        sys.stdin.read()  # until it is killed
edit_photos(studio, sys.argv[2], sys.argv[3], mapper="levels", workers=1, progress=seen)
"""


@pytest.fixture(scope="module")
def one_worker():
    """The environment of commands."""
    return os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


@pytest.fixture(scope="module")
def group(drawn_faces) -> Image.Image:
    """A picture with two faces, the right one larger."""
    canvas = Image.new("RGB", (900, 500), (90, 120, 150))
    for index, side, place in ((1, 260, (40, 120)), (2, 380, (460, 60))):
        canvas.paste(drawn_faces[0][index].resize((side, side), Image.Resampling.LANCZOS), place)
    return canvas


def rows_in(folder):
    return [json.loads(line) for line in (folder / "results.jsonl").read_text("utf-8").splitlines()]


def contents(folder):
    """What a run leaves, without what differs from run to run."""
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in rows_in(folder)]
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.png")}
    return rows, files, sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_good_photos_become_pictures_and_bad_ones_rows_with_a_sentence(studio, photo, tmp_path):
    photos, good = tmp_path / "photos", tmp_path / "photos" / "deep" / "good.jpg"
    good.parent.mkdir(parents=True)
    photo.save(good, quality=95)
    photo.resize((20, 16)).save(photos / "small.png")
    Image.effect_noise((300, 300), 80).save(photos / "nobody.png")
    (photos / "cut.jpg").write_bytes(good.read_bytes()[:9000])
    (photos / "empty.jpg").touch()
    (photos / "text.png").write_text("A face, in words only.")
    (photos / "bomb.png").write_bytes(png(100_000, 100_000, b""))
    (photos / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    frames = [Image.new("L", (64, 64), shade) for shade in range(9)]
    frames[0].save(photos / "moving.gif", save_all=True, append_images=frames[1:])
    (photos / "gone.jpg").symlink_to("nowhere.jpg")
    os.mkfifo(photos / "pipe.jpg")
    (photos / "folder.jpg").mkdir()
    (photos / "readme.md").write_text("no photo")
    done = edit_photos(studio, photos, tmp_path / "out", **ASKED)
    rows = {Path(row["input"]).name: row for row in rows_in(tmp_path / "out")}
    assert (done.edited, done.failed, done.done_before) == (1, 10, 0) and len(rows) == 11
    sentences = {
        "small.png": "too small",
        "nobody.png": "No face",
        "cut.jpg": "could not be read",
        "empty.jpg": "could not be read",
        "text.png": "could not be read",
        "bomb.png": "too large",
        "phone.heic": "HEIC",
        "moving.gif": "No face",
        "gone.jpg": "no file",
        "pipe.jpg": "no file",
    }
    for name, words in sentences.items():
        row = rows[name]
        assert words in row["error"] and row["error"].endswith("."), row
        assert row["output"] is None and row["input"] == str(photos / name)
    row, face = rows["good.jpg"], studio.align(good)[0]
    latent = studio.invert(face)
    edit = studio.direct(latent, **ASKED)
    with Image.open(tmp_path / "out" / row["output"]) as picture:
        assert picture.tobytes() == edit.image.tobytes()
    assert (row["face"], row["faces"], row["error"], row["edit"]) == (1, 1, None, ASKED)
    assert row["identity_before"] == pytest.approx(studio.likeness(latent, face), abs=1e-3)
    assert row["identity_after"] == pytest.approx(studio.likeness(edit.latent, face), abs=1e-3)
    assert row["seconds"] > 0


def test_only_what_is_new_changed_or_failed_is_done_again(studio, photo, drawn_faces, tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for name in ("a.png", "b.png", "c.png"):
        photo.save(photos / name, compress_level=1)
    (photos / "d.png").write_bytes(b"not yet")

    def again(**changes):
        finished = []
        asked = ASKED | changes
        done = edit_photos(studio, photos, out, **asked, workers=1, progress=lambda done: finished.extend(done.rows))
        assert done.edited + done.failed == len(finished)
        assert [Path(row["input"]).name for row in rows_in(out)] == sorted(p.name for p in photos.iterdir())
        return sorted(Path(row["input"]).name for row in finished)

    assert again() == ["a.png", "b.png", "c.png", "d.png"]
    photo.save(photos / "d.png")
    (out / "b.png").unlink()
    canvas = photo.copy()
    canvas.paste(drawn_faces[0][1].resize((400, 400)), (300, 150))
    canvas.save(photos / "c.png")
    whole = (out / "results.jsonl").read_bytes()
    (out / "results.jsonl").write_bytes(whole + b"no row\n" + whole.splitlines()[0][:90])  # as a full disk leaves it
    assert again() == ["b.png", "c.png", "d.png"]
    assert again() == []
    assert again(target="an angry face") == ["a.png", "b.png", "c.png", "d.png"]
    assert all(row["error"] is None for row in rows_in(out)) and len(list(out.glob("*.png"))) == 4


def test_a_run_that_was_killed_goes_on_to_the_same_result(studio, seeded_registry, photo, one_worker, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(5):
        photo.resize((700 + number, 560)).save(photos / f"{number}.jpg")
    (photos / "broken.jpg").touch()

    def killed_after(rows):
        """The photos that a run finishes before it is killed."""
        command = [sys.executable, "-c", DRIVER, str(seeded_registry), str(photos), str(tmp_path / "killed"), str(rows)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, env=one_worker, start_new_session=True, **pipes) as process:
            names = [process.stdout.readline().strip() for _ in range(rows)]
            os.killpg(process.pid, signal.SIGKILL)
        return [Path(name).name for name in names if "broken" not in name]

    seen = killed_after(1) + killed_after(3)
    edit_photos(studio, photos, tmp_path / "undisturbed", mapper="levels", workers=1)
    done = edit_photos(studio, photos, tmp_path / "killed", mapper="levels", workers=1)
    assert (done.edited, done.failed, done.done_before) == (5 - len(seen), 1, len(seen)) and len(set(seen)) == len(seen)
    assert contents(tmp_path / "killed") == contents(tmp_path / "undisturbed")


def test_photos_of_the_same_name_and_odd_names_get_pictures_of_their_own(studio, photo, tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    names = [
        "one/face.jpg",
        "two/face.jpg",
        "two/FACE.png",
        "new\nline.jpg",
        "a..face2.jpg",
        "été.jpg",
        "x" * 250 + ".jpg",
    ]
    if sys.platform == "linux":
        names.append(os.fsdecode(b"latin-\xe9.jpg"))
    for name in names:
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        photo.resize((450, 350)).save(photos / name, "JPEG")
    done = edit_photos(studio, [photos, photos / "one" / "face.jpg"], out, **ASKED, format="jpg", size=64, workers=1)
    rows = rows_in(out)
    assert done.edited == len(rows) == len(names) and {row["input"] for row in rows} == {str(photos / n) for n in names}
    outputs = {row["output"] for row in rows}
    assert len({name.casefold() for name in outputs}) == len(names) and {"face.jpg", "été.jpg"} <= outputs
    assert outputs == {path.name for path in out.glob("*.jpg")}
    for path in out.glob("*.jpg"):
        with Image.open(path) as picture:
            assert (picture.format, picture.size) == ("JPEG", (64, 64))


def test_all_faces_are_cut_out_or_put_back_into_the_photo(studio, group, photo, tmp_path):
    group.save(tmp_path / "group.png")
    (tmp_path / "none.png").touch()
    photos = [tmp_path / "group.png", tmp_path / "none.png"]
    done = edit_photos(studio, photos, tmp_path / "crops", **ASKED, faces="all", workers=1)
    rows = [row for row in rows_in(tmp_path / "crops") if row["output"]]
    assert done.failed == 1 and [(row["face"], row["faces"]) for row in rows] == [(1, 2), (2, 2)]
    assert [row["output"] for row in rows] == ["group.face1.png", "group.face2.png"]
    done = edit_photos(studio, photos, tmp_path / "whole", **ASKED, faces="all", paste=True, workers=1)
    rows = [row for row in rows_in(tmp_path / "whole") if row["output"]]
    assert [row["output"] for row in rows] == ["group.png"] * 2
    expected = group
    for face in studio.align(group):
        expected = studio.paste(expected, face, studio.direct(studio.invert(face), **ASKED).image)
    with Image.open(tmp_path / "whole" / "group.png") as picture:
        assert picture.tobytes() == expected.tobytes()
        changed = (np.asarray(picture) != np.asarray(group)).any(2)
    assert changed[:, :400].any() and changed[:, 500:].any()
    again = edit_photos(studio, photos, tmp_path / "whole", **ASKED, faces="all", paste=True, workers=1)
    assert (again.edited, again.failed, again.done_before) == (0, 1, 1)


def test_rows_of_a_list_may_have_texts_of_their_own(studio, photo, tmp_path):
    photo.save(tmp_path / "a.png")
    rows = [
        {"photo": "a.png", "target": "an angry face", "neutral": "a face", "id": 7},
        {"photo": "a.png", "mapper": "levels"},
        {"photo": "a.png"},
        {"photo": "a.png", "prompt": "a hat", "steps": 2},
        {"photo": "a.png", "paint": "an oil painting", "steps": 1},
        {"photo": "a.png", "mapper": "none of these"},
        {"photo": "a.png", "words": 5},
        {"photo": "a.png", "target": "a hat", "prompt": "a hat"},
        {"picture": "a.png"},
        {"photo": "missing.png", "mapper": "levels"},
    ]
    lines = [*map(json.dumps, rows), "", "{broken", "[" * 5000, '"a.png"']
    (tmp_path / "list.jsonl").write_text("\n".join(lines))
    edit_photos(studio, tmp_path / "list.jsonl", tmp_path / "out", **ASKED, workers=1)
    assert len(found := rows_in(tmp_path / "out")) == len(rows) + 3
    assert [bool(row["error"]) for row in found] == [False] * 5 + [True] * 8
    latent = studio.invert(studio.align(photo)[0])
    edits = [
        studio.direct(latent, "an angry face", "a face"),
        studio.map(latent, "levels"),
        studio.direct(latent, **ASKED),
        list(studio.optimize(latent, "a hat", steps=2))[-1].edit,
        list(studio.paint(latent, "an oil painting", "photo", steps=1))[-1].edit,
    ]
    for row, edit in zip(found, edits, strict=False):
        with Image.open(tmp_path / "out" / row["output"]) as picture:
            assert picture.tobytes() == edit.image.tobytes(), row
    assert "none of these" in found[5]["error"] and "text" in found[6]["error"] and "several" in found[7]["error"]
    assert "no photo" in found[8]["error"] and found[10]["input"].endswith("list.jsonl, line 12")


def test_a_saved_recipe_is_applied_to_every_photo(studio, photo, tmp_path):
    photo.save(tmp_path / "a.png")
    latent = studio.invert(studio.align(photo)[0])
    first = studio.map(studio.sample(1), "levels")
    second = studio.adjust(studio.sample(2), studio.direct(studio.sample(2), **ASKED), 0.5)
    saved = {"format": "StyleCLIP Studio recipe", "version": 1, "edits": [first.recipe, second.recipe]}
    (tmp_path / "recipe.json").write_text(json.dumps(saved))
    edit_photos(studio, tmp_path / "a.png", tmp_path / "out", recipe=tmp_path / "recipe.json")
    expected = studio.repeat(first.recipe, latent, anywhere=True)
    expected = studio.repeat(second.recipe, expected.latent, anywhere=True)
    with Image.open(tmp_path / "out" / "a.png") as picture:
        assert picture.tobytes() == expected.image.tobytes()
    (tmp_path / "recipe.json").write_text(json.dumps({"edits": [first.recipe]}))
    assert edit_photos(studio, tmp_path / "a.png", tmp_path / "out", recipe=tmp_path / "recipe.json").edited == 1
    assert len(rows_in(tmp_path / "out")) == 1
    done = edit_photos(studio, tmp_path / "a.png", tmp_path / "out", recipe=tmp_path / "recipe.json")
    assert (done.edited, done.done_before) == (0, 1)


def test_faces_are_tuned_first_where_that_is_asked(studio, photo, tmp_path, monkeypatch):
    photo.save(tmp_path / "a.png")
    tune = studio.tune
    monkeypatch.setattr(studio, "tune", lambda latent, face, preview: tune(latent, face, 2, preview))
    edit_photos(studio, tmp_path / "a.png", tmp_path / "out", mapper="levels", tune=True, workers=1)
    face = studio.align(photo)[0]
    tuned = list(tune(studio.invert(face), face, 2))[-1].latent
    (row,) = rows_in(tmp_path / "out")
    assert row["identity_before"] == pytest.approx(studio.likeness(tuned, face), abs=1e-3)
    with Image.open(tmp_path / "out" / row["output"]) as picture:
        assert picture.tobytes() == studio.map(tuned, "levels").image.tobytes()


def test_an_edit_that_no_photo_can_get_is_refused_before_anything_is_written(studio, photo, tmp_path):
    photo.save(tmp_path / "a.png")
    generated = next(studio.generate("a hat", steps=1)).edit.recipe
    other = studio.map(studio.sample(1), "levels").recipe | {"model": "other"}
    for name, content in (("generated", generated), ("other", other), ("wrong", {"edits": []}), ("list", [])):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    for asked, sentence in (
        ({}, "what should change"),
        ({"words": "a hat", "mapper": "levels"}, "several"),
        ({"neutral": "a face"}, "what should change"),
        ({"mapper": "levels", "steps": 5}, "“steps” goes with “prompt” or “paint”"),
        ({"mapper": "beard"}, "no mapper"),
        ({"mapper": tmp_path / "none.safetensors"}, "no mapper"),
        ({"mapper": "nul\0.safetensors"}, "no mapper"),
        ({"recipe": "nul\0.json"}, "can't be read"),
        ({"target": "", "neutral": "a face"}, "words"),
        ({"prompt": "a hat", "steps": 0}, "steps"),
        ({"recipe": tmp_path / "none.json"}, "can't be read"),
        ({"recipe": tmp_path / "a.png"}, "no recipe|too large"),
        ({"recipe": tmp_path / "wrong.json"}, "no recipe"),
        ({"recipe": tmp_path / "list.json"}, "no recipe"),
        ({"recipe": tmp_path / "generated.json"}, "from words"),
        ({"recipe": tmp_path / "other.json"}, "model “other”"),
        (ASKED | {"faces": "most"}, "faces"),
        (ASKED | {"format": "tif"}, "format"),
        (ASKED | {"size": 3}, "size"),
        (ASKED | {"workers": 0}, "workers"),
    ):
        with pytest.raises(UserError, match=sentence):
            edit_photos(studio, tmp_path / "a.png", tmp_path / "out", **asked)
    assert not (tmp_path / "out").exists()
    for out in (tmp_path, tmp_path / "a.png", tmp_path / "a.png" / "out"):
        with pytest.raises(UserError):
            edit_photos(studio, tmp_path / "a.png", out, **ASKED)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.png").write_bytes(b"mine")
    with pytest.raises(UserError, match="other files"):
        edit_photos(studio, tmp_path / "a.png", tmp_path / "full", **ASKED)
    assert (tmp_path / "full" / "a.png").read_bytes() == b"mine"
    (tmp_path / "full" / "results.jsonl").write_bytes(b'{"of": "somebody else"}')
    with pytest.raises(UserError, match="other files"):
        edit_photos(studio, tmp_path / "a.png", tmp_path / "full", **ASKED)
    assert (tmp_path / "full" / "results.jsonl").read_bytes() == b'{"of": "somebody else"}'


def test_a_worker_that_dies_takes_one_photo_along(studio, photo, tmp_path, monkeypatch):
    from tests import mortal

    monkeypatch.setattr(stages, "find_faces", mortal.find_faces)
    (tmp_path / "photos").mkdir()
    for name in ("a.jpg", "deadly.jpg", "z.jpg"):
        photo.resize((450, 350)).save(tmp_path / "photos" / name)
    done = edit_photos(studio, tmp_path / "photos", tmp_path / "out", **ASKED, workers=1)
    assert (done.edited, done.failed) == (2, 1)
    assert [row["error"] for row in rows_in(tmp_path / "out")] == [None, DIED, None]


def test_a_full_disk_ends_the_run_and_another_goes_on(studio, photo, tmp_path, monkeypatch):
    from tests import mortal

    (tmp_path / "photos").mkdir()
    for name in ("a.jpg", "b.jpg"):
        photo.resize((450, 350)).save(tmp_path / "photos" / name)
    with monkeypatch.context() as patch, pytest.raises(UserError, match="No space left.*start the same command again"):
        patch.setattr(batch_rows, "write_picture", mortal.write_picture)
        edit_photos(studio, tmp_path / "photos", tmp_path / "out", **ASKED, workers=1)
    assert rows_in(tmp_path / "out") == []
    assert edit_photos(studio, tmp_path / "photos", tmp_path / "out", **ASKED, workers=1).edited == 2


def test_workers_do_without_the_models():
    with Workers(1) as workers:
        assert workers(eval, "'torch' in __import__('sys').modules") is False
        assert workers(eval, "__import__('os').environ['OMP_NUM_THREADS']") == "1"
        with pytest.raises(UserError, match="ZeroDivisionError"):
            workers(eval, "1 / 0")


def test_a_folder_has_one_run_at_a_time(studio, photo, tmp_path):
    photo.save(tmp_path / "a.png")

    def meanwhile(_):
        with pytest.raises(UserError, match="Another run"):
            edit_photos(studio, tmp_path / "a.png", tmp_path / "out", **ASKED, workers=1)

    assert edit_photos(studio, tmp_path / "a.png", tmp_path / "out", **ASKED, workers=1, progress=meanwhile).edited == 1


def test_the_command_tells_what_failed_and_ends_with_a_status(seeded_registry, photo, tmp_path, monkeypatch, capsys):
    photo.resize((450, 350)).save(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STYLECLIP_MODELS", str(seeded_registry))
    common = ["--out", "out", "--model", "seeded", "--device", "cpu", "--workers", "1"]
    with pytest.raises(SystemExit) as status:
        batch_command(["a.jpg", "b.jpg", *common, "--mapper", "levels"])
    told = capsys.readouterr()
    assert status.value.code == 3 and "\nb.jpg: This file could not be read" in told.err.replace("\r", "\n")
    assert told.out == "1 edited, 1 not, 0 done before: out/results.jsonl\n"
    batch_command(["a.jpg", *common, "--mapper", "levels"])
    assert capsys.readouterr().out == "0 edited, 0 not, 1 done before: out/results.jsonl\n"
    with pytest.raises(UserError, match="what should change"):
        batch_command(["a.jpg", *common])


def test_an_interrupted_command_ends_at_once_with_a_sentence(seeded_registry, photo, one_worker, tmp_path):
    (tmp_path / "a.jpg").touch()  # whose sentence tells that the work is under way
    photo.resize((450, 350)).save(tmp_path / "b.jpg")
    environment = one_worker | {"STYLECLIP_MODELS": str(seeded_registry)}
    asked = ["--model", "seeded", "--prompt", "a hat", "--steps", "500000", "--workers", "1"]
    command = [*COMMAND, str(tmp_path / "a.jpg"), str(tmp_path / "b.jpg"), "--out", str(tmp_path / "out"), *asked]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, start_new_session=True, **pipes) as process:
        while "could not be read" not in (line := process.stderr.readline()):
            assert line, "it ended"
        os.killpg(process.pid, signal.SIGINT)
        told = process.stderr.read()
        assert process.wait() == 130 and "Stopped with 1 of 2 photos finished; start the same command again" in told
    assert "Traceback" not in told and [row["error"] is None for row in rows_in(tmp_path / "out")] == [False]
