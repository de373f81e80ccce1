"""Paths that a caller has no business with, sent to every event and endpoint of the page and to the download route."""

import html
import json
import os
import stat
import sys
from pathlib import Path
from urllib.parse import quote

import gradio as gr
import pytest
from gradio.utils import get_upload_folder

from pipeline.errors import UserError
from tests.pictures import EXAMPLES
from tests.programs import as_file, uploaded
from tests.visits import Visit, open_page
from webapp import uploads
from webapp.files import new_file
from webapp.page import build

PHOTO = EXAMPLES[0].read_bytes()
REFUSED = (uploads.GONE, uploads.NO_FILE)


@pytest.fixture(scope="module")
def page(studio, tmp_path_factory):
    """The whole page, served, with an upload folder of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        with open_page(build(studio)) as page:
            yield page


@pytest.fixture(scope="module")
def attacks(page, raw, tmp_path_factory):
    """Paths by what is wrong with them. The server has another visitor's upload open, as while it reads it."""
    other = Path(uploaded(raw, page.local_url, PHOTO)["path"])
    outside = tmp_path_factory.mktemp("outside") / "photo.png"
    outside.write_bytes(PHOTO)
    linked, linked_outside, pipe, folder = (new_file(name) for name in ("a.png", "b.png", "pipe.png", "folder.png"))
    linked.symlink_to(other)
    linked_outside.symlink_to(outside)
    os.mkfifo(pipe)
    folder.mkdir()
    root = Path(get_upload_folder())
    (root / "0123456789abcdef").symlink_to(other.parent)
    unfinished = root / "tmp0a1b2c"
    unfinished.write_bytes(PHOTO)
    link = root / "deep_links" / "x" / "state.json"
    link.parent.mkdir(parents=True)
    link.write_text("{}")
    with other.open("rb") as held:
        yield {
            "absolute": str(outside),
            "password": "/etc/passwd",
            "relative": "../../../../../../../../etc/passwd",
            "out and in": f"{other.parent.parent}/../{root.name}/{other.parent.name}/{other.name}",
            "through another": f"{linked.parent}/../{other.parent.name}/{other.name}",
            "link": str(linked),
            "link outside": str(linked_outside),
            "linked folder": f"{root}/0123456789abcdef/{other.name}",
            "descriptor": f"/proc/self/fd/{held.fileno()}",
            "descriptor of the process": f"/proc/{os.getpid()}/fd/{held.fileno()}",
            "descriptor of /dev": f"/dev/fd/{held.fileno()}",
            "root of /proc": f"/proc/self/root{other}",
            "environment": "/proc/self/environ",
            "standard input": "/dev/stdin",
            "standard output": "/proc/self/fd/1",
            "device": "/dev/zero",
            "pipe": str(pipe),
            "folder": str(folder),
            "upload folder": str(root),
            "unfinished upload": str(unfinished),
            "deep link": str(link),
            "missing": f"{root}/{'ab' * 32}/photo.png",
            "nul": f"{other}\0",
            "twice": f"/{other}",
            "address of a file": f"file://{outside}",
            "empty": "",
            "long": "a" * 5000,
        }


OPENED = []
WATCHED = set()


def _watch(event, args):
    if event == "open" and WATCHED and str(args[0]) in WATCHED:
        OPENED.append(args[0])


sys.addaudithook(_watch)


@pytest.fixture
def opens_nothing(attacks):
    WATCHED.update(set(attacks.values()) - {"", attacks["upload folder"]})  # where uploads are written, so opened
    OPENED.clear()
    yield
    WATCHED.clear()
    assert not OPENED


def called(raw, page, number, data, visit) -> str | dict:
    """Have an event of the page run, as a browser does: what it gives, or the sentence that it says."""
    body = {"data": data, "fn_index": number, "session_hash": visit}
    raw.post(f"{page.local_url}gradio_api/queue/join", json=body).raise_for_status()
    with raw.stream("GET", f"{page.local_url}gradio_api/queue/data", params={"session_hash": visit}) as told:
        for line in told.iter_lines():
            message = json.loads(line.removeprefix("data: ")) if line else {}
            if message.get("msg") == "process_completed":
                return message["output"] if message["success"] else html.unescape(str(message["output"]["error"]))
    raise AssertionError("no answer")


def events(page):
    """(number, name, the inputs that come from outside) of every event that the browser or a program can start."""
    for event in page.config["dependencies"]:
        inputs = [page.blocks[number] for number in event["inputs"]]
        outer = [place for place, block in enumerate(inputs) if not isinstance(block, gr.State)]
        if event["backend_fn"] and outer:
            yield event["id"], event["api_name"], len(inputs), outer


def takes_files(page, number, place) -> bool:
    """Whether an input is a file: by the type of its component, or of an endpoint's parameter."""
    block = page.blocks[page.config["dependencies"][number]["inputs"][place]]
    return "FileData" in str(block.api_info()) or "ImageData" in str(block.api_info())


def test_the_harness_reaches_the_files_that_events_take(page, raw):
    """What is refused below is taken here: the visitor's own upload."""
    (number, *_), *others = [e for e in events(page) if e[1] == "take"]
    assert not others
    own = uploaded(raw, page.local_url, PHOTO)
    Visit(page, "own").leave()
    assert "'photo'" in str(called(raw, page, number, [own, None], "own"))
    taking = {name for number, name, _, outer in events(page) if any(takes_files(page, number, p) for p in outer)}
    assert {"take", "bring", "align", "invert", "direct", "paste", "interpolate"} <= taking


def test_no_event_opens_a_path_of_the_server(page, raw, attacks, opens_nothing):
    """In every input that takes a file, with and without the note that Gradio checks by: the two worst attacks, and in
    the first input of each event of its own kind all of them."""
    wrong, tried = [], 0
    for number, name, size, outer in events(page):
        for place in outer:
            if not takes_files(page, number, place):
                continue
            every = name in ("take", "bring", "align", "direct")
            for attack in attacks if every else ("descriptor", "absolute"):
                for claimed in (as_file(attacks[attack]), {"path": attacks[attack]}):
                    data = [None] * size
                    data[place] = claimed
                    said = called(raw, page, number, data, f"attack{tried}")
                    tried += 1
                    if said not in REFUSED:
                        wrong.append((name, place, attack, said))
    assert not wrong and tried > 10 * len(attacks)


def test_no_input_of_any_event_takes_a_path_in_another_shape(page, raw, attacks, opens_nothing):
    """In inputs that take no file as well, and in lists, in dictionaries, with a wrong note of what it is."""
    path, wrong = attacks["descriptor"], []
    inside = {"image": {"path": path}, "caption": None}
    shapes = [[as_file(path)], [inside], {"a": {"b": [as_file(path)]}}, {"path": path, "meta": "x"}, {"meta": {}}]
    for number, name, size, outer in events(page):
        for turn, shape in enumerate(shapes if any(takes_files(page, number, p) for p in outer) else shapes[:1]):
            data = [shape if place in outer else None for place in range(size)]
            said = called(raw, page, number, data, f"shape{number}-{turn}")
            if said not in REFUSED:
                wrong.append((name, shape, said))
    assert not wrong


def test_an_address_of_this_server_leads_to_uploads_only(page, raw, attacks, opens_nothing):
    number = next(number for number, name, *_ in events(page) if name == "align")
    for attack, path in attacks.items():
        file = as_file(f"{page.local_url}gradio_api/file={path}")
        said = called(raw, page, number, [file, 0], f"address {attack}")
        assert isinstance(said, str) and said.endswith("please send the file itself."), (attack, said)


def test_the_download_route_follows_no_links(page, raw, attacks, opens_nothing):
    own = uploaded(raw, page.local_url, PHOTO)["path"]
    assert raw.get(f"{page.local_url}gradio_api/file={own}").content == PHOTO
    for attack, path in attacks.items():
        if attack in ("out and in", "through another", "twice"):
            continue  # which is plainly the other's upload, once the address is put in order: who knows it has it
        with raw.stream("GET", f"{page.local_url}gradio_api/file={quote(path)}") as answer:
            assert answer.status_code in (400, 403, 404), attack


def test_no_component_lets_the_browser_call_its_functions(page):
    """`component_server` would be another way for paths to come in."""
    assert not any(
        getattr(getattr(type(block), name, None), "_is_server_fn", False)
        for block in page.blocks.values()
        for name in dir(type(block))
    )


@pytest.mark.parametrize("kind", ["pipe", "link", "folder"])
def test_a_file_that_is_swapped_after_the_check_is_not_read(page, attacks, monkeypatch, kind):
    path = Path(attacks[kind])
    assert not stat.S_ISREG(path.lstat().st_mode)
    monkeypatch.setattr(uploads, "find", lambda _: path)
    with pytest.raises(UserError, match="send it again"):
        uploads.read(path, 10**6, "")
