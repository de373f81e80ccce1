"""What must not cost anybody anything: a killed process, a full disk, no memory, a visitor who is gone; and what stays
of visitors on the server."""

import errno
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
import weakref
from dataclasses import replace
from pathlib import Path

import gradio as gr
import httpx
import pytest
import torch
from gradio.utils import get_upload_folder
from PIL import Image
from safetensors import SafetensorError

from pipeline import Edit, Latent, StyleCLIP
from pipeline.latents import Tuning
from pipeline.networks.stylegan2 import Generator
from tests.programs import posted, served, uploaded
from tests.visits import free_port, launch, open_page
from webapp import cleanup, jobs, process
from webapp.error_messages import guard
from webapp.files import new_file, on_screen
from webapp.history import DetectedFace, HistoryItem, StepPreview
from webapp.jobs import LongJob, Scheduler
from webapp.page import build
from webapp.pictures import MOST_ITEMS
from webapp.session import Session
from webapp.visits import begin

ROOT = Path(__file__).parents[1]
FULL = "disk is full"


def failing_once(method, error, call=1):
    """`method`, of which one call fails."""
    calls = []

    def work(*args, **kwargs):
        calls.append(1)
        if len(calls) == call:
            raise error
        return method(*args, **kwargs)

    return work


# The process is killed


def test_a_killed_app_leaves_nothing_that_harms_the_next(tmp_path, raw, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    environment = os.environ | {"GRADIO_SERVER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    url, before = f"http://127.0.0.1:{port}/", _weights()
    with subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=environment, stdout=subprocess.PIPE) as app:
        try:
            while b"Running on" not in (line := app.stdout.readline()):
                assert line, "the app ended"
            asked = raw.post(f"{url}gradio_api/call/v2/generate", json={"prompt": "smiling face", "steps": 500})
            with raw.stream("GET", f"{url}gradio_api/call/generate/{asked.json()['event_id']}") as told:
                assert any("preview.jpg" in line for line in told.iter_lines())
        finally:
            app.kill()
    left = list(tmp_path.rglob("*.jpg"))
    assert left and _weights() == before
    with served(StyleCLIP.from_pretrained("demo", device="cpu"), server_port=port) as url:
        assert posted(raw, url, "generate", prompt="smiling face", steps=1)[0] == "complete"
    cleanup.clear(tmp_path, -1)
    assert not [path for path in left if path.exists()]  # what it left goes with the rest


def _weights():
    return {path: path.stat().st_mtime_ns for path in (ROOT / "checkpoints" / "demo").rglob("*")}


# The disk is full


def number_of(caplog) -> str:
    """The number of the one error that was logged; a line of each event may stand beside it."""
    (logged,) = [record for record in caplog.records if record.name == "webapp.error_messages"]
    return logged.args[0]


@pytest.mark.parametrize(
    ("place", "error"),
    [
        ((Image.Image, "save"), OSError(errno.ENOSPC, "No space left on device")),
        ((Latent, "save"), SafetensorError("Error while serializing: I/O error: No space left (os error 28)")),
    ],
)
def test_a_full_disk_costs_one_visitor_one_answer(url, raw, monkeypatch, caplog, place, error):
    monkeypatch.setattr(*place, failing_once(getattr(*place), error))
    event, said = posted(raw, url, "sample", seed=1)
    assert event == "error" and FULL in said and number_of(caplog) in said
    assert posted(raw, url, "sample", seed=1)[0] == "complete"


def test_a_full_disk_ends_a_run_and_frees_its_place(url, raw, monkeypatch):
    monkeypatch.setattr(Image.Image, "save", failing_once(Image.Image.save, OSError(errno.ENOSPC, "No space left")))
    event, said = posted(raw, url, "generate", prompt="smiling face", steps=2)
    assert event == "error" and FULL in said
    assert posted(raw, url, "generate", prompt="smiling face", steps=2)[0] == "complete"


def test_a_full_disk_leaves_no_half_picture(monkeypatch, tmp_path):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    write = Path.write_bytes

    def half(path, data):
        write(path, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    picture = Image.new("RGB", (64, 64), "red")
    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(gr.Error, match=FULL):
        guard(on_screen)(picture)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    monkeypatch.setattr(Path, "write_bytes", write)
    assert Image.open(on_screen(picture)).size == (64, 64)


# Memory runs out

OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: f"{type(error).__name__} {error}"[:24])
def test_a_job_without_memory_is_told_so_and_the_next_one_runs(url, raw, monkeypatch, caplog, error):
    monkeypatch.setattr(Generator, "synthesize", failing_once(Generator.synthesize, error))
    event, said = posted(raw, url, "sample", seed=1)
    assert event == "error" and "out of memory" in said and "try again" in said
    assert "allocate" not in said and number_of(caplog) in said
    assert posted(raw, url, "sample", seed=1)[0] == "complete"


def test_a_run_without_memory_makes_room_for_the_one_behind_it(url, raw, monkeypatch):
    asked, told = threading.Event(), []

    def failing(*args, **kwargs):
        monkeypatch.undo()
        asked.wait(10)
        raise OUT_OF_MEMORY[0]

    def run():
        told.append(posted(raw, url, "generate", prompt="smiling face", steps=3))

    monkeypatch.setattr(Generator, "synthesize", failing)
    first = threading.Thread(target=run)
    first.start()
    body = {"prompt": "old face", "steps": 3}
    with httpx.Client(timeout=60) as other:
        event = other.post(f"{url}gradio_api/call/v2/generate", json=body).json()["event_id"]
        asked.set()
        assert "event: complete" in other.get(f"{url}gradio_api/call/generate/{event}").text
    first.join(60)
    assert told[0][0] == "error" and "out of memory" in told[0][1]


@pytest.mark.parametrize("error", OUT_OF_MEMORY[:2])
def test_what_a_failed_job_computed_is_let_go(error, monkeypatch):
    held, emptied = [], []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(True))

    def inner():
        large = torch.zeros(1000)
        held.append(weakref.ref(large))
        raise error

    def steps():
        try:
            inner()
        except Exception:
            raise RuntimeError("out of memory while cleaning up") from None
        yield

    with pytest.raises(gr.Error, match="out of memory"):
        next(guard(steps)())
    assert held[0]() is None and emptied


# Visitors who wait, and who leave


def test_twenty_who_wait_are_served_in_order_without_those_who_left(monkeypatch):
    monkeypatch.setattr(jobs, "LOOK_EVERY", 0.0)
    scheduler, order = Scheduler(), []

    def job(number):
        def steps():
            order.append(number)
            yield number

        return LongJob(scheduler, steps())

    first = iter(job(-1))
    next(first)
    others = [job(number) for number in range(20)]
    assert [next(waiting.places()) for waiting in others] == list(range(1, 21))
    for number in (3, 11):
        others[number].close()
    stay = [waiting for number, waiting in enumerate(others) if number not in (3, 11)]
    assert [next(waiting.places()) for waiting in stay] == list(range(1, 19))
    threads = [threading.Thread(target=list, args=(waiting,), daemon=True) for waiting in reversed(stay)]
    for thread in threads:
        thread.start()
    first.close()
    for thread in threads:
        thread.join(10)
    assert order == [-1, *(number for number in range(20) if number not in (3, 11))]
    with scheduler.background():  # nobody is in line any more
        pass


def test_who_hangs_up_frees_the_line(url, raw, monkeypatch):
    """One while computing, one while waiting behind; each had asked for five hundred steps."""
    drawn, synthesize = [], Generator.synthesize
    monkeypatch.setattr(Generator, "synthesize", lambda *args, **kwargs: drawn.append(1) or synthesize(*args, **kwargs))
    body = {"prompt": "smiling face", "steps": 500}
    with httpx.Client(timeout=60) as one, httpx.Client(timeout=60) as two:
        events = [c.post(f"{url}gradio_api/call/v2/generate", json=body).json()["event_id"] for c in (one, two)]
        with one.stream("GET", f"{url}gradio_api/call/generate/{events[0]}") as computing:
            lines = computing.iter_lines()  # kept, because a stream whose lines are let go is closed
            assert any("preview.jpg" in line for line in lines)
            with two.stream("GET", f"{url}gradio_api/call/generate/{events[1]}") as waiting:
                assert any('"waiting": 1' in line for line in waiting.iter_lines())
    assert posted(raw, url, "generate", prompt="old face", steps=1)[0] == "complete"
    assert len(drawn) < 400


# What visitors hold


CONVOLUTIONS = [512] * 10 + [256, 256, 128, 128, 64, 64, 32]  # input channels at 1024 px, config F
TO_RGB = [512] * 5 + [256, 128, 64, 32]
RANK = 8


def code(step):
    w_plus = torch.randn(1, 18, 512)
    return (
        Latent(w_plus).moved([torch.randn(1, channels) for channels in CONVOLUTIONS + TO_RGB])
        if step
        else Latent(w_plus)
    )


def tuned(latent):
    """With a difference of every layer, as pivotal tuning leaves it."""
    shapes = zip(CONVOLUTIONS[1:] + [32], CONVOLUTIONS, strict=True)
    factors = {f"{n}": (torch.randn(o, RANK), torch.randn(RANK, 9 * i)) for n, (o, i) in enumerate(shapes)}
    return Latent(latent.w_plus, latent.style_step, Tuning(factors))


def crowded(tunings=1):
    """A visit at 1024 px that has everything, each edit adjusted once."""
    session, picture, words = Session(), Image.new("RGB", (8, 8)), "a person with purple hair" * 20
    crop, landmarks, quad = str(new_file("face.png")), torch.rand(68, 2).numpy(), torch.rand(4, 2).numpy()
    detected = DetectedFace("photo.jpg", crop, landmarks, quad)
    photo = HistoryItem.of(picture, "Photo", code(step=False), detected=detected)
    session.start_from(photo, [detected] * 10)
    for _ in range(tunings):
        session.add(HistoryItem.of(picture, "Tuned", tuned(session.current.latent)))
    for number in range(MOST_ITEMS):
        method = ("direct", "optimize")[number % 2]
        numbers = {"neutral": "", "strength": 1.0, "l2": 1.0, "identity": 1.0}
        told = {"target": f"{words} {number}", "prompt": f"{words} {number}"} | numbers
        recipe = {"method": method, "parameters": told, "taken": 1}
        source, other = session.base(method, target=f"{number}"), code(step=False).w_plus
        step = [torch.randn(1, channels) for channels in CONVOLUTIONS + TO_RGB]
        latent = source.moved(step) if method == "direct" else Latent(other, source.style_step, source.tuning)
        session.keep(source, Edit(lambda: picture, latent, recipe, (words,)))
        session.redraw(session.current, 0.5, source.towards(latent, 0.5), picture)
    moment = Latent(code(False).w_plus, latent.style_step)
    session.previews = [StepPreview(moment, recipe, "/a/path") for _ in range(12)]
    return session


@pytest.mark.parametrize("tunings", [0, 1, 3])
def test_a_visitor_holds_less_than_five_megabytes_on_the_cpu(tunings, monkeypatch, tmp_path):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    session = crowded(tunings)
    assert len(pickle.dumps(session)) < 5e6
    assert len(session.strip) >= (15 if tunings else MOST_ITEMS) and session.before in session.strip
    assert all(item.latent.w_plus.device.type == "cpu" for item in session.strip)


def test_going_to_and_fro_is_not_remembered_for_ever(monkeypatch, tmp_path):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    session, picture = Session(), Image.new("RGB", (8, 8))
    session.start_from(HistoryItem.of(picture, "One", code(step=False)))
    session.add(HistoryItem.of(picture, "Other", code(step=False)))
    for number in range(1000):
        session.go(session.strip[number % 2])
    assert len(session.undo_keys) <= MOST_ITEMS


@pytest.fixture
def page(studio, monkeypatch, tmp_path):
    """A whole page being served, with files of its own, whose age is what `os.utime` says."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(cleanup, "_idle", lambda path: time.time() - path.lstat().st_mtime)
    with open_page(build(studio)) as page:
        yield page


def test_what_visitors_left_an_hour_ago_is_gone_and_nothing_else(page, raw):
    state = next(block for block in page.blocks.values() if isinstance(block, gr.State))
    everybodys = {Path(path) for path in Path(get_upload_folder()).rglob("*") if path.is_file()}
    upload = Path(uploaded(raw, page.local_url, b"a photo of nobody else")["path"])
    answer = posted(raw, page.local_url, "sample", seed=1)[1]
    written = {path for path in Path(get_upload_folder()).rglob("*") if path.is_file()} - everybodys
    assert upload in written and len(written) == 3 and "picture.png" in answer
    visits = page.app.state_holder
    gone, here = (begin(state.value) for _ in range(2))
    for name, session in (("gone", gone), ("here", here)):
        session.page = name
        visits[name][state._id] = session
    for session in (gone, here):
        session.shelves["mapper"].thumbs["own"] = on_screen(
            Image.new("RGB", (9, 9), "red" if session is gone else "blue")
        )
    foreign = Path(get_upload_folder()) / "notes" / "mine.txt"
    foreign.parent.mkdir()
    foreign.write_text("mine")
    for path in Path(get_upload_folder()).rglob("*"):
        os.utime(path, (time.time() - 4000,) * 2)
    here.touch()
    for name in list(visits.used):
        visits.used[name] -= 0 if name == "here" else 4000
    held = weakref.ref(gone)
    del gone, session
    cleanup.tidy(page.app, cleanup.AN_HOUR)
    assert "gone" not in visits and held() is None and visits["here"][state._id] is here
    assert set(visits.session_data) == {"here"} and not page._queue.pending_event_ids_session
    assert not [path for path in written if path.exists()] and not upload.parent.exists()
    assert all(path.exists() for path in (*everybodys, Path(here.shelves["mapper"].thumbs["own"]), foreign))
    assert not any(str(path) in known for path in written for known in page.temp_file_sets)
    assert raw.get(page.local_url).status_code == 200


def test_another_studio_that_ends_takes_no_picture_of_this_one(page, studio, raw):
    """Both show the example faces from one folder; the other one has changed its model meanwhile."""
    other = build(studio)
    launch(other, free_port())
    other.successor = build(StyleCLIP(replace(studio.family, encoder=None)))
    process.succeeded(other, launch).close(verbose=False)
    ours = [path for block in page.blocks.values() for path in block.keep_in_cache]
    assert len(ours) >= 8
    assert {raw.get(f"{page.local_url}gradio_api/file={path}").status_code for path in ours} == {200}


def test_clearing_away_goes_on_while_the_app_runs(studio, monkeypatch):
    rounds, two = [], threading.Event()

    def failing(app, age):
        rounds.append(age)
        if len(rounds) == 2:
            two.set()
        raise RuntimeError("Set changed size during iteration")

    monkeypatch.setattr(cleanup, "EVERY", 0.0)
    monkeypatch.setattr(cleanup, "tidy", failing)
    with served(studio, app_kwargs={"lifespan": cleanup.tidying}):
        assert two.wait(10) and rounds[0] == cleanup.AN_HOUR
