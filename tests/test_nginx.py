"""Two page processes behind the nginx that is shipped: visitors stay with one, and outlive the other."""

import contextlib
import json
import os
import secrets
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
from gradio_client import Client

from benchmarks.sessions import Page
from tests.programs import uploaded
from tests.test_start import running
from tests.visits import free_port
from webapp.limits import MAPPER_BYTES
from webapp.visits import OVER

CONFIGURATION = Path(__file__).parents[1] / "deploy" / "nginx.conf"

pytestmark = pytest.mark.skipif(
    not shutil.which("nginx") or os.getuid() != 0, reason="nginx is not installed, or can't be started as root"
)


def proxied(folder, *ports):
    """Start nginx with the shipped configuration, for pages at these ports; its process and its address."""
    port, text = free_port(), CONFIGURATION.read_text()
    text = text.replace("listen 80;", f"listen 127.0.0.1:{port};").replace("/tmp/nginx.pid", str(folder / "nginx.pid"))
    for number, page in enumerate(ports, 1):
        assert f"page{number}:7860" in text
        text = text.replace(f"page{number}:7860", f"127.0.0.1:{page}")
    (folder / "nginx.conf").write_text("daemon off;\n" + text)
    nginx = subprocess.Popen(["nginx", "-c", str(folder / "nginx.conf"), "-p", str(folder)], stderr=subprocess.PIPE)
    return nginx, f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The processes by their `app_id`, each with its own address, and the address of nginx."""
    with contextlib.ExitStack() as stack:
        pages = []
        for number in (1, 2):
            folder = tmp_path_factory.mktemp(f"page{number}")
            pages.append(stack.enter_context(running(folder, GRADIO_SERVER_PORT=str(free_port()))))
        ports = [int(httpx.URL(url).port) for _, url in pages]
        nginx, address = proxied(tmp_path_factory.mktemp("nginx"), *ports)
        stack.callback(nginx.wait)
        stack.callback(nginx.terminate)
        known = {httpx.get(f"{url}config", timeout=60).json()["app_id"]: (app, url) for app, url in pages}
        assert len(known) == 2
        yield known, address


class Browser(Page):
    """A browser that opens the page, keeps its cookie, and has a visit with one picture."""

    def __init__(self, address):
        super().__init__(address)
        self.client.cookies.clear()  # it was given to a program, by its address
        self.client.get("/").raise_for_status()
        self.visit = secrets.token_hex(6)
        self.call(self.loaded(), self.visit)
        assert self.call(self.event("random", "click"), self.visit)

    def served_by(self):
        return self.client.get("/config").json()["app_id"]


@pytest.fixture(scope="module")
def browsers(site):
    """A browser of each process, by its `app_id`."""
    known, address = site
    found = {}
    for _ in range(60):
        browser = Browser(address)
        found.setdefault(browser.served_by(), browser)
        if found.keys() == known.keys():
            return found
    pytest.fail("all visitors came to one process")


def test_a_visitor_stays_with_one_process(browsers):
    for app_id, browser in browsers.items():
        for _ in range(10):
            assert browser.served_by() == app_id
        assert browser.pictures(browser.visit) == 1
        strip = browser.redrawn()
        shown = browser.call(strip, browser.visit)[strip["outputs"].index(browser.ids["strip"])]["value"]
        picture = browser.client.get(httpx.URL(shown[0]["image"]["url"]).path)
        assert picture.status_code == 200 and picture.headers["content-type"].startswith("image/")


def test_programs_without_a_cookie_stay_too(site):
    program = Client(site[1], verbose=False, httpx_kwargs={"timeout": 60})
    for seed in (1, 2, 3):
        assert program.predict(seed=seed, api_name="/sample")


def test_files_pass_up_to_the_size_that_the_studio_takes(browsers):
    browser = next(iter(browsers.values()))
    assert uploaded(browser.client, "/", bytes(MAPPER_BYTES - 2**16))["path"]
    files = {"files": ("large.png", bytes(41 * 2**20))}
    assert browser.client.post("/gradio_api/upload", files=files).status_code == 413


def test_events_are_told_while_they_run(site, browsers):
    app_id, browser = next(iter(browsers.items()))
    event = browser.event("optimize", "click")
    data = ["a person with glasses", "This face", 300, 0.00015, 0.001, None]
    assert len(data) == len(event["inputs"])
    body = {"fn_index": event["id"], "session_hash": browser.visit, "data": data}
    browser.client.post("/gradio_api/queue/join", json=body).raise_for_status()
    heard = []
    with browser.client.stream("GET", "/gradio_api/queue/data", params={"session_hash": browser.visit}) as lines:
        for line in lines.iter_lines():
            heard.append(json.loads(line.removeprefix("data:")) if line else {"msg": ""})
            assert heard[-1]["msg"] != "process_completed", heard[-1]
            if sum(message["msg"] == "process_generating" for message in heard) == 2:
                running_now = httpx.get(f"{site[0][app_id][1]}metrics", timeout=60).text
                break
    assert 'styleclip_running{group="long"} 1.0' in running_now


def test_metrics_are_not_seen_from_outside(site):
    assert httpx.get(f"{site[1]}/metrics", timeout=60).status_code == 404
    assert httpx.get(f"{site[1]}/ready", timeout=60).json() == {"replicas": 1}


def test_a_process_that_dies_leaves_its_visitors_to_the_other(site, browsers):
    (dies, lost), (lives, kept) = browsers.items()
    process, _ = site[0][dies]
    process.kill()
    process.wait()
    undo = lost.event("undo", "click")
    body = {"fn_index": undo["id"], "session_hash": lost.visit, "data": [None] * len(undo["inputs"])}
    told = lost.client.post("/gradio_api/run/predict", json=body)
    assert told.status_code == 500 and told.json()["error"] == OVER
    assert lost.client.get("/").status_code == 200 and lost.served_by() == lives  # as the sentence says
    lost.visit = secrets.token_hex(6)
    lost.call(lost.loaded(), lost.visit)
    assert lost.call(lost.event("random", "click"), lost.visit) and lost.pictures(lost.visit) == 1
    assert kept.served_by() == lives and kept.pictures(kept.visit) == 1
    assert Browser(site[1]).served_by() == lives
