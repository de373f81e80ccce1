"""The repository as a Space: its front matter, GPUs lent by ZeroGPU, and the app as a Space starts it."""

import inspect
import multiprocessing
import os
import pickle
import re
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import types
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from huggingface_hub import metadata_load
from PIL import Image

from pipeline import Latent, UserError
from webapp.backends.zero_gpu import on_gpu
from webapp.model_handle import ModelHandle

ROOT = Path(__file__).parents[1]
TIMEOUT = 60  # seconds; for what hangs, never for what is slow

# The front matter


def tracked() -> list[str]:
    """What a push would send."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [name for name in listed.split("\0") if name and (ROOT / name).exists()]


def test_the_front_matter_fits_the_repository():
    matter = metadata_load(ROOT / "README.md")
    assert matter["sdk"] == "gradio" and (ROOT / matter["app_file"]).exists()
    assert f"gradio=={matter['sdk_version']}\n" in (ROOT / "requirements.txt").read_text()
    assert len(matter["short_description"]) <= 60


def test_every_file_is_small_enough_to_push():
    assert [name for name in tracked() if (ROOT / name).stat().st_size >= 10_000_000] == []


# ZeroGPU


class FakeSpaces(types.ModuleType):
    """As much of the package `spaces` as is used, working as on ZeroGPU: a decorated function runs in a fork of this
    process, arguments and results are pickled, and of an exception the name of its class comes back."""

    def __init__(self) -> None:
        super().__init__("spaces")
        self.seconds = []  # asked for, one number a call
        self.unread = 0  # answers that came after the last caller had stopped listening

    def GPU(self, duration):
        def decorate(task):
            streams = inspect.isgeneratorfunction(task)

            def lent(*args):
                answers = self._forked(task if streams else lambda *args: iter([task(*args)]), duration(*args), args)
                return answers if streams else next(answers)

            return lent

        return decorate

    def _forked(self, task, seconds, args):
        self.seconds.append(seconds)
        fork = multiprocessing.get_context("fork")
        here, there = fork.Pipe(duplex=False)
        args, stop = pickle.dumps(args), fork.Event()

        def work():
            try:
                for answer in task(*pickle.loads(args)):
                    there.send(("answer", answer))
                    if stop.is_set():
                        break
                there.send(("end", None))
            except Exception as error:
                there.send(("error", type(error).__name__))

        def heard():
            assert here.poll(TIMEOUT), "the forked process hangs"
            return here.recv()

        process = fork.Process(target=work, daemon=True)
        process.start()
        kind, answer = heard()
        try:
            while kind == "answer":
                yield answer
                kind, answer = heard()
            if kind == "error":
                raise RuntimeError(answer)
        finally:
            stop.set()
            self.unread = 0
            while kind == "answer":
                kind, _ = heard()
                self.unread += 1
            process.join(TIMEOUT)


@pytest.fixture
def spaces(monkeypatch):
    fake = FakeSpaces()
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    monkeypatch.setitem(sys.modules, "spaces", fake)
    return fake


@pytest.fixture
def visit():
    """Runs a function where handlers run: not in the main thread."""
    with ThreadPoolExecutor(1) as thread:
        yield lambda function, *args: thread.submit(function, *args).result(TIMEOUT)


def values(result):
    """What can be compared of a result."""
    if isinstance(result, Latent):
        return result.digest()
    if isinstance(result, Image.Image):
        return result.tobytes()
    if hasattr(result, "recipe"):
        return values(result.image), values(result.latent), result.recipe, result.notes, result.channels
    return result


def test_elsewhere_the_studio_is_itself(studio, monkeypatch):
    monkeypatch.delenv("SPACES_ZERO_GPU", raising=False)
    assert on_gpu(studio) is studio


CALLS = {
    "invert": lambda studio, face, latent: studio.invert(face),
    "sample": lambda studio, face, latent: studio.sample(3, truncation=0.5),
    "image": lambda studio, face, latent: studio.image(latent, resolution=32),
    "map": lambda studio, face, latent: studio.map(latent, "levels", strength=0.2),
    "direct": lambda studio, face, latent: studio.direct(latent, "a red face", "a face", channels=5),
    "csla_edit": lambda studio, face, latent: studio.csla_edit(latent, "a red face", "a face"),
    "csla_generate": lambda studio, face, latent: studio.csla_generate("a red face"),
    "held": lambda studio, face, latent: studio.map(latent, "levels", 0.2, [Image.new("L", (64, 64), 99)]),
    "threshold": lambda studio, face, latent: studio.threshold("a red face", "a face", 5),
    "repeat": lambda studio, face, latent: studio.repeat(studio.map(latent, "levels").recipe, latent),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_gives_the_same_on_a_lent_gpu(aligned_studio, spaces, visit, drawn_faces, name):
    face, latent = drawn_faces[0][0], aligned_studio.sample(1)
    result = visit(CALLS[name], on_gpu(aligned_studio), face, latent)
    assert values(result) == values(CALLS[name](aligned_studio, face, latent))
    assert spaces.seconds


def test_the_gallery_of_mappers_is_drawn_in_one_call_of_a_lent_gpu(studio, spaces, visit):
    latent, known = studio.sample(1), {name: name for name in studio.mappers()}
    (drawn,) = visit(lambda: list(ModelHandle(on_gpu(studio)).thumbnails("mapper", latent, known)))
    one_by_one = list(ModelHandle(studio).thumbnails("mapper", latent, known))
    assert len(spaces.seconds) == 1 and [list(pictures) for pictures in one_by_one] == [[name] for name in known]
    assert [values(drawn[name]) for name in known] == [values(*pictures.values()) for pictures in one_by_one]


def test_an_optimization_streams_from_a_lent_gpu(studio, spaces, visit):
    latent = studio.sample(1)
    for method, args in [("optimize", (latent, "a red face")), ("generate", ("a red face",))]:
        steps = visit(
            lambda method=method, args=args: list(getattr(on_gpu(studio), method)(*args, steps=3, preview=16))
        )
        expected = list(getattr(studio, method)(*args, steps=3, preview=16))
        assert [step.losses for step in steps] == [step.losses for step in expected]
        assert [values(step.edit) for step in steps] == [values(step.edit) for step in expected]
        assert [step.image.width for step in steps] == [16, 16, 64]


def test_a_closed_optimization_gives_its_gpu_back(studio, spaces, visit):
    def two_steps():
        run = on_gpu(studio).optimize(studio.sample(1), "a red face", steps=500)
        taken = [step.index for step in islice(run, 2)]
        run.close()
        return taken

    assert visit(two_steps) == [1, 2]
    assert spaces.unread < 400


WRONG = {
    "are the same": lambda studio, latent: studio.direct(latent, "a face", "a face"),
    "no mapper “wings”": lambda studio, latent: studio.map(latent, "wings"),
    "another model": lambda studio, latent: studio.image(Latent(latent.w_plus[:, :2])),
    "a few words": lambda studio, latent: studio.optimize(latent, " "),
    "at least 1": lambda studio, latent: studio.generate("a red face", steps=0),
    "another face": lambda studio, latent: studio.repeat(studio.map(latent, "levels").recipe, studio.sample(2)),
}


@pytest.mark.parametrize("sentence", WRONG)
def test_what_a_visitor_can_mend_keeps_its_sentence(studio, spaces, visit, sentence):
    with pytest.raises(UserError, match=sentence):
        visit(WRONG[sentence], on_gpu(studio), studio.sample(1))


def test_a_wrong_prompt_costs_no_gpu(studio, spaces, visit):
    with pytest.raises(UserError):
        visit(WRONG["a few words"], on_gpu(studio), studio.sample(1))
    assert spaces.seconds == []


def test_a_sentence_from_within_a_run_arrives_too(studio, spaces, visit, monkeypatch):
    def failing(*args, **kwargs):
        def steps():
            yield 1
            raise UserError("Please mend this.")

        return steps()

    monkeypatch.setattr(studio, "generate", failing)
    with pytest.raises(UserError, match="Please mend this"):
        visit(lambda: list(on_gpu(studio).generate()))


def test_the_seconds_asked_for_grow_with_the_steps(studio, spaces, visit):
    def first(**steps):
        with_gpu = on_gpu(studio).optimize(studio.sample(1), "a red face", **steps)
        next(with_gpu)
        with_gpu.close()

    for steps in ({}, {"steps": 100}, {"steps": 10_000}):
        visit(lambda steps=steps: first(**steps))
    few, more, most = spaces.seconds
    assert few < more < most <= 120


def test_the_seconds_asked_for_are_those_of_the_usual_steps(studio, spaces, visit):
    def first(**steps):
        with_gpu = on_gpu(studio).paint(studio.sample(1), "an oil painting", "a photo", **steps)
        next(with_gpu)
        with_gpu.close()

    for steps in ({}, {"steps": studio.family.defaults.paint_steps}, {"steps": studio.family.defaults.steps}):
        visit(lambda steps=steps: first(**steps))
    usual, said, others = spaces.seconds
    assert usual == said != others


def test_the_page_is_built_without_a_gpu(studio, spaces):
    lent = on_gpu(studio)
    assert values(lent.image(lent.sample(1))) == values(studio.image(studio.sample(1)))
    assert lent.family is studio.family and lent.mappers() == studio.mappers()
    assert spaces.seconds == []


# The app, as a Space starts it

VISITOR = 1000  # the user of every Space
WORLD = [Path(folder) for folder in ("/tmp", "/var/tmp", "/dev/shm") if Path(folder).exists()]
# It may read what the tests may, wherever Python is installed, and write what is its own.
AS_VISITOR = [
    *("setpriv", f"--reuid={VISITOR}", f"--regid={VISITOR}", "--clear-groups"),
    *("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"),
]


@pytest.fixture(scope="module")
def space():
    """A folder with what a Space has: the repository, read-only, a home and a folder for temporary files."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        for file in tracked():
            (folder / "app" / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / file, folder / "app" / file)
        for path in [folder / "app", *(folder / "app").rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        for own in ("home", "tmp"):
            (folder / own).mkdir()
            if os.geteuid() == 0:
                os.chown(folder / own, VISITOR, VISITOR)
        yield folder
        for path in [folder / "app", *(folder / "app").rglob("*")]:
            if path.is_dir():
                path.chmod(0o755)


@pytest.fixture(scope="module")
def as_visitor():
    """The beginning of a command that an ordinary user shall run."""
    if os.geteuid() != 0:
        return []
    command = [*AS_VISITOR, sys.executable, "-c", "import gradio_client, os; assert not os.access('/etc', os.W_OK)"]
    if shutil.which("setpriv") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("an ordinary user cannot run this Python, and these tests run as root")
    return AS_VISITOR


def environment(space, **more):
    """What a Space sets, and nothing of what the tests run with but where programs are."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "OMP_NUM_THREADS") if name in os.environ}
    return kept | {
        "HOME": str(space / "home"),
        "TMPDIR": str(space / "tmp"),
        "HF_HOME": str(space / "home" / ".cache" / "huggingface"),
        "SYSTEM": "spaces",
        "SPACE_ID": "somebody/styleclip",
        "SPACE_HOST": "somebody-styleclip.hf.space",
        "SPACE_AUTHOR_NAME": "somebody",
        "SPACE_REPO_NAME": "styleclip",
        "SPACE_TITLE": "StyleCLIP Studio",
        "GRADIO_SERVER_NAME": "0.0.0.0",
        "GRADIO_NUM_PORTS": "1",
        "GRADIO_ALLOW_FLAGGING": "never",
        "GRADIO_THEME": "huggingface",
        "PYTHONUNBUFFERED": "1",
        "STYLECLIP_MODEL": "demo",  # photographed faces would be fetched first
        **more,
    }


def belongings(user) -> set[Path]:
    """Files of a user in the folders that everybody may write to."""
    found = set()
    for folder in WORLD:
        found |= {path for path in folder.iterdir() if path.lstat().st_uid == user}
    return found


def snapshot(folder) -> dict[Path, tuple[int, int]]:
    return {path: (path.lstat().st_mtime_ns, stat.S_IMODE(path.lstat().st_mode)) for path in folder.rglob("*")}


def test_the_app_starts_as_a_space_and_edits(space, as_visitor, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code, others = snapshot(space / "app"), belongings(VISITOR)
    process = subprocess.Popen(
        [*as_visitor, sys.executable, "app.py"],
        cwd=space / "app",
        env=environment(space, GRADIO_SERVER_PORT=str(port)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    end = threading.Timer(TIMEOUT, process.kill)
    end.start()
    try:
        said = []
        for line in process.stdout:
            said.append(line)
            if "Running on local URL" in line:
                break
        assert re.search(rf"http://0\.0\.0\.0:{port}", said[-1]), "".join(said)
        url = f"http://127.0.0.1:{port}"
        with urllib.request.urlopen(url, timeout=TIMEOUT) as page:
            assert "StyleCLIP Studio" in page.read().decode()
        visitor = Client(url, verbose=False, download_files=tmp_path, httpx_kwargs={"timeout": TIMEOUT})
        before, latent, _ = visitor.predict(1, 0.7, api_name="/sample")
        after, *_ = visitor.predict("smiling face", "face", latent=handle_file(latent), api_name="/direct")
        with Image.open(before) as one, Image.open(after) as other:
            assert one.size == other.size and one.width >= 256 and one.tobytes() != other.tobytes()
    finally:
        end.cancel()
        process.kill()
        process.communicate()
    assert snapshot(space / "app") == code
    if as_visitor:
        assert belongings(VISITOR) == others


def test_a_model_that_does_not_exist_ends_the_start_with_a_sentence(space, as_visitor):
    ended = subprocess.run(
        [*as_visitor, sys.executable, "app.py"],
        cwd=space / "app",
        env=environment(space, STYLECLIP_MODEL="ghosts"),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert ended.returncode != 0
    last = ended.stderr.strip().splitlines()[-1]
    assert last.startswith("There is no model “ghosts”; there are: demo, ")
    assert "Traceback" not in ended.stderr
