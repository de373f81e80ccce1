"""Starting and stopping `python app.py`: whatever is wrong with its surroundings is one sentence, and it ends soon."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import gradio as gr
import httpx
import pytest

import app
from benchmarks.sessions import Page
from pipeline.errors import UserError
from tests.programs import served, uploaded
from webapp import access, process

ROOT = Path(__file__).parents[1]
PATIENCE = 400  # seconds, on a machine that has other work


def environment(tmp_path, **variables):
    """What a start finds, without the proxies and the settings of who runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GRADIO_", "STYLECLIP_"))}
    kept = {name: value for name, value in kept.items() if not name.lower().endswith("_proxy")}
    ours = {"GRADIO_TEMP_DIR": str(tmp_path / "files"), "GRADIO_SERVER_PORT": "7900", "STYLECLIP_MODEL": "demo"}
    return kept | ours | variables


@contextmanager
def running(tmp_path, *arguments, shell=None, **variables):
    """The app as a process of its own and its address, once it serves."""
    command = [sys.executable, "-u", "app.py", *arguments]
    process_ = subprocess.Popen(
        ["sh", "-c", shell, "sh", *command] if shell else command,
        cwd=ROOT,
        env=environment(tmp_path, **variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    timer = threading.Timer(PATIENCE, process_.kill)
    timer.start()
    said = []
    try:
        for line in process_.stdout:
            said.append(line)
            if "Running on local URL" in line:
                break
        else:
            pytest.fail("".join(said))
        yield process_, line.split()[-1] + "/"
    finally:
        timer.cancel()
        process_.kill()
        process_.communicate()


def refused(tmp_path, *arguments, **variables):
    """What a start says that comes to nothing."""
    ended = subprocess.run(
        [sys.executable, "app.py", *arguments],
        cwd=ROOT,
        env=environment(tmp_path, **variables),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert ended.returncode not in (0, -signal.SIGABRT)
    assert "Traceback" not in ended.stderr
    return ended.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("GRADIO_SERVER_PORT", "http", "GRADIO_SERVER_PORT is “http”; it must be a whole number from 1 to 65535."),
        ("GRADIO_SERVER_PORT", "70000", "GRADIO_SERVER_PORT is “70000”; it must be a whole number"),
        ("GRADIO_SERVER_PORT", "", "GRADIO_SERVER_PORT is “”; it must"),
        ("GRADIO_NUM_PORTS", "-3", "GRADIO_NUM_PORTS is “-3”; it must"),
        ("GRADIO_ANALYTICS_MAX_EVENTS", "many", "GRADIO_ANALYTICS_MAX_EVENTS is “many”; it must"),
        ("GRADIO_DEFAULT_CONCURRENCY_LIMIT", "1.5", "GRADIO_DEFAULT_CONCURRENCY_LIMIT is “1.5”; it must"),
        ("GRADIO_DEBUG", "yes", "GRADIO_DEBUG is “yes”; it must be a whole number from 0 to 1."),
        ("GRADIO_SERVER_NAME", "nowhere.invalid", "GRADIO_SERVER_NAME is “nowhere.invalid”, which is no IPv4 address"),
        ("GRADIO_SERVER_NAME", "192.0.2.1", "GRADIO_SERVER_NAME is “192.0.2.1”, which is no IPv4 address"),
    ],
)
def test_a_setting_that_gradio_cannot_use_is_named(monkeypatch, name, value, sentence):
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match=f"^{sentence}") as told, process.told_in_a_sentence():
        process.check_environment()
    assert str(told.value).endswith(".")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ModuleNotFoundError("No module", name="torch"), "The package torch is missing; pip install"),
        (PermissionError(13, "Permission denied", "/x"), "The studio can't start: /x: Permission denied."),
        (OSError("Cannot find empty port in range: 1-2."), "Port 7860 is taken, and so are all of the 100 from there;"),
        (KeyError("face\nof two lines"), "The studio can't start: KeyError, "),
        (ValueError(), "The studio can't start: ValueError."),
    ],
)
def test_whatever_stops_the_start_is_one_sentence(monkeypatch, error, sentence):
    monkeypatch.delenv("GRADIO_SERVER_PORT", raising=False)
    monkeypatch.delenv("GRADIO_NUM_PORTS", raising=False)
    with pytest.raises(SystemExit) as told, process.told_in_a_sentence():
        raise error
    said = str(told.value)
    assert said.startswith(sentence) and said.endswith(".") and "\n" not in said


def test_ctrl_c_at_the_start_says_nothing():
    with pytest.raises(SystemExit) as told, process.told_in_a_sentence():
        raise KeyboardInterrupt
    assert told.value.code == 130


@pytest.mark.parametrize("value", ["nan", "-1", "inf", "soon"])
def test_minutes_of_training_are_a_number(tmp_path, value):
    import app

    with pytest.raises(app.argparse.ArgumentTypeError, match="please give a number of minutes"):
        app.minutes(value)


def test_proxies_of_any_kind_leave_loopback_out(monkeypatch):
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("http_proxy", "http://192.0.2.1:3128")
    monkeypatch.setenv("ALL_PROXY", "socks4://192.0.2.1:1080")  # of a kind that httpx doesn't know
    monkeypatch.setenv("NO_PROXY", "example.org")
    process.prepare()
    assert os.environ["no_proxy"].split(",") == ["example.org", "localhost", "127.0.0.1", "::1"]
    with process.without_proxies():
        httpx.Client().close()
        assert "ALL_PROXY" not in os.environ
    assert os.environ["http_proxy"] == "http://192.0.2.1:3128" and "ALL_PROXY" in os.environ


def test_who_has_no_home_gets_one(monkeypatch):
    def homeless(_=None):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(process.Path, "home", homeless)
    process.prepare()
    assert Path(os.environ["HOME"]).is_dir()


def test_the_app_starts_behind_proxies_with_closed_streams_and_a_taken_port(tmp_path):
    """Its output goes into a file, because a closed one can't be read."""
    log = tmp_path / "log"
    taken = "GRADIO_NUM_PORTS"
    proxies = {"http_proxy": "http://192.0.2.1:9", "ALL_PROXY": "socks5://192.0.2.1:9"}
    with running(tmp_path, shell='exec "$@" <&- 2>&-', **proxies) as (first, url):
        assert httpx.get(url, trust_env=False).is_success
        port = url.rstrip("/").rpartition(":")[2]
        assert refused(tmp_path, GRADIO_SERVER_PORT=port, **{taken: "1"}).startswith(f"Port {port} is taken")
        ended = subprocess.run(
            ["sh", "-c", f'exec "$@" >&- 2>{log}', "sh", sys.executable, "app.py", "--model", "ghosts"],
            cwd=ROOT,
            env=environment(tmp_path),
            timeout=PATIENCE,
        )
        assert ended.returncode == 1 and log.read_text().startswith("There is no model “ghosts”")


@contextmanager
def half_upload(url):
    """An upload of which half has come; the connection stays open. Gives once the server has written it."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port)) as sent:
        head = b"--x\r\nContent-Disposition: form-data; name=files; filename=photo.png\r\n\r\n"
        lines = f"POST /gradio_api/upload HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: 8000000\r\n"
        lines += "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
        sent.sendall(lines.encode() + head + bytes(4_000_000))
        yield


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_stopped_app_tells_its_visitors_clears_their_files_and_goes(tmp_path, raw, number):
    files, elsewhere = tmp_path / "files", tmp_path / "elsewhere"
    elsewhere.mkdir()

    def left(folder):
        return [path for path in folder.rglob("*") if path.is_file()]

    with running(tmp_path, TMPDIR=str(elsewhere)) as (app, url), half_upload(url):
        visit = Page(url)
        visit.call(visit.loaded(), "a-visit")
        before = len(left(files))
        visit.call(visit.event("random", "click"), "a-visit")
        assert len(left(files)) > before
        photo = uploaded(raw, url, b"a photo")["path"]
        assert Path(photo) in left(files)
        while not any(path.stat().st_size > 1_000_000 for path in left(tmp_path)):  # the half upload
            assert app.poll() is None, app.stdout.read()
        asked = raw.post(f"{url}gradio_api/call/v2/generate", json={"prompt": "smiling face", "steps": 500})
        waits = raw.post(f"{url}gradio_api/call/v2/generate", json={"prompt": "smiling face", "steps": 500})
        told = []

        def listen(event):
            where = f"{url}gradio_api/call/generate/{event}"
            with contextlib.suppress(httpx.RemoteProtocolError), raw.stream("GET", where) as stream:  # it ends early
                for line in stream.iter_lines():
                    told.append(line)

        listening = [threading.Thread(target=listen, args=(a.json()["event_id"],)) for a in (asked, waits)]
        for thread in listening:
            thread.start()
        while not list(files.rglob("preview.jpg")):
            assert app.poll() is None, app.stdout.read()
        app.send_signal(number)
        said = app.communicate(timeout=30)[0]
        for thread in listening:
            thread.join(10)
    assert app.returncode == 0
    assert sum("The studio is being stopped" in line for line in told) == 2
    assert "Traceback" not in said and "terminate called" not in said
    assert not left(files) and not left(elsewhere)


def test_a_studio_that_starts_while_another_clears_waits_for_it(tmp_path, monkeypatch):
    """So that none of its files go, and the other one does not count as the last."""
    fcntl = pytest.importorskip("fcntl")
    other = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    monkeypatch.setattr(process.time, "sleep", lambda _: fcntl.flock(other, fcntl.LOCK_UN))
    with process.in_use(tmp_path) as alone:
        fcntl.flock(other, fcntl.LOCK_SH)
        assert not alone()
        os.close(other)
        assert alone()


def test_the_folder_is_held_before_the_first_file_is_written(tmp_path, monkeypatch):
    import app

    seen = []

    def launched(options):
        with process.in_use(tmp_path) as alone:
            seen.append(alone())
        raise KeyboardInterrupt

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(app, "launched", launched)
    with pytest.raises(KeyboardInterrupt):
        app.serve(SimpleNamespace(generator=None))
    assert seen == [False]


def request(client="127.0.0.1", **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    scope = {"type": "http", "client": (client, 1), "headers": []}
    scope["headers"] = [(name.encode(), value.encode()) for name, value in headers.items()]
    return gr.Request(httpx_request(scope))


def httpx_request(scope):
    from fastapi import Request

    return Request(scope)


@pytest.mark.parametrize(
    ("here", "client", "headers"),
    [
        (True, "127.0.0.1", {"host": "localhost:7860"}),
        (True, "127.0.0.1", {"host": "127.0.0.1:7860"}),
        (True, "::1", {"host": "[::1]:7860"}),
        (False, "192.168.0.7", {"host": "192.168.0.2:7860"}),
        (False, "192.168.0.7", {"host": "localhost:7860"}),
        (False, "127.0.0.1", {"host": "localhost:7860", "x_forwarded_for": "127.0.0.1"}),
        (False, "127.0.0.1", {"host": "localhost:7860", "forwarded": "for=127.0.0.1"}),
        (False, "127.0.0.1", {"host": "localhost:7860", "x_real_ip": "10.0.0.1"}),
        (False, "127.0.0.1", {"host": "studio.example.org"}),
        (False, "127.0.0.1", {"host": "localhost.example.org"}),
        (False, "127.0.0.1", {}),
        (True, "127.0.0.1", {"host": "127.0.0.1:7860", "origin": "http://127.0.0.1:7860"}),
        (True, "::1", {"host": "[::1]:7860", "origin": "http://[::1]:7860"}),
        (False, "127.0.0.1", {"host": "127.0.0.1:7860", "origin": "https://studio.example.org"}),  # nginx as it comes
        (False, "127.0.0.1", {"host": "127.0.0.1:7860", "origin": "null"}),
        (False, "127.0.0.1", {"host": "127.0.0.1:7860", "origin": "http://a:b"}),
        (False, "127.0.0.1", {"host": "127.0.0.1:7860", "origin": "http://["}),
    ],
)
def test_only_a_browser_on_this_machine_counts_as_here(here, client, headers):
    assert access.is_here(request(client, **headers)) is here


def test_the_login_page_shows_no_endpoint(studio, raw):
    access.hide_endpoints_before_login()
    with served(studio, auth=("maker", "secret")) as url:
        assert "interpolate" not in raw.get(url).text
        with httpx.Client(base_url=url) as guest:
            assert guest.post("/login", data={"username": "maker", "password": "secret"}).is_success
            assert "/interpolate" in guest.get("/gradio_api/info").text
    with served(studio) as url:
        assert "/interpolate" in raw.get(url).text


def test_without_a_package_index_the_studio_starts_with_drawn_faces(tmp_path, raw):
    index = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_CONFIG_FILE": os.devnull, "PIP_NO_CACHE_DIR": "1"}
    with running(tmp_path, STYLECLIP_MODEL="", HF_HOME=str(tmp_path / "empty"), **index) as (process_, url):
        assert "Drawn faces" in raw.get(url).text
        process_.terminate()


def test_without_the_files_of_the_default_the_built_in_family_is_there(monkeypatch, capsys):
    asked = []

    def from_pretrained(name):
        asked.append(name)
        if name == "photo":
            raise UserError("pip can't get it.")
        return name

    monkeypatch.setattr(app, "DEFAULT", "photo")
    monkeypatch.setattr(app.StyleCLIP, "from_pretrained", from_pretrained)
    monkeypatch.setattr(
        app, "family_row", lambda name: SimpleNamespace(title="Drawn faces", missing=lambda: ["a file"])
    )
    assert app.loaded(None) == "demo" and asked == ["photo", "demo"]
    assert capsys.readouterr().out == "pip can't get it. The studio starts with the model “Drawn faces” instead.\n"
    with pytest.raises(UserError):
        app.loaded("photo")  # who names a family wants that one
    monkeypatch.setattr(app, "family_row", lambda name: SimpleNamespace(missing=list))
    with pytest.raises(UserError):
        app.loaded(None)  # all files are there, and something else is wrong
