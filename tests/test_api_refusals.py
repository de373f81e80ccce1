"""What the endpoints for programs refuse: files of the server, latents that are none, addresses inside."""

import contextlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import safehttpx
from gradio_client import handle_file
from gradio_client.exceptions import AppError

from pipeline import Latent
from tests.pictures import EXAMPLES
from tests.programs import as_file, posted, served, uploaded
from webapp import addresses
from webapp.page import LAUNCH

HERE = str(Path(__file__).resolve())


@pytest.fixture(scope="module")
def url(demo):
    with served(demo) as url:
        yield url


@pytest.mark.parametrize("path", ["/etc/passwd", HERE, str(EXAMPLES[0]), "../../etc/passwd", "/proc/self/environ"])
def test_no_file_of_the_server_is_read(url, raw, path):
    for claimed in (as_file(path), {"path": path}, path, [path], as_file(f"{url}gradio_api/file={path}")):
        for name, fields in (("align", {"photo": claimed}), ("direct", {"target": "smiling face", "latent": claimed})):
            event, said = posted(raw, url, name, **fields)
            assert event == "error" and "root:" not in said
    shown = path == str(EXAMPLES[0])  # the page shows it to everybody
    assert shown or raw.get(f"{url}gradio_api/file={path}").status_code in (403, 404)


def test_a_latent_that_is_none_gets_a_sentence(url, raw, program, latent, tmp_path):
    code = Latent.load(latent["path"])
    bad = {
        "nan": Latent(code.w_plus * float("nan")),
        "infinite": Latent(code.w_plus / 0),
        "short": Latent(code.w_plus[:, :3]),
        "doubles": Latent(code.w_plus.double()),
        "steps": Latent(code.w_plus, (code.w_plus[:, 0].clone(),)),
        "large": Latent(code.w_plus.repeat(1, 2000, 1)),
    }
    for name, wrong in bad.items():
        wrong.save(tmp_path / name)
        file = uploaded(raw, url, (tmp_path / name).read_bytes())
        event, said = posted(raw, url, "direct", target="old face", latent=file)
        assert event == "error" and "latent" in said, (name, said)


def test_what_is_over_the_limit_is_refused_before_it_is_looked_at(url, raw):
    sent = raw.post(f"{url}gradio_api/upload", files={"files": ("a.png", bytes(LAUNCH["max_file_size"] + 1))})
    assert sent.status_code == 413


def test_both_a_photo_and_a_latent_are_one_too_many(program, latent):
    with pytest.raises(AppError, match="not both"):
        program.predict(mapper="smiling", photo=handle_file(EXAMPLES[0]), latent=latent, api_name="/map")
    with pytest.raises(AppError, match="not both"):
        program.predict(target="old face", latent=latent, threshold=0.1, channels=9, api_name="/direct")


def test_a_call_that_lacks_a_value_leaves_no_words_in_the_log(url, raw, capfd, caplog):
    asked = raw.post(f"{url}gradio_api/call/direct", json={"data": ["my own words"]})
    told = raw.get(f"{url}gradio_api/call/direct/{asked.json()['event_id']}").text
    assert "takes 8 values, of which 1 came" in told
    assert "my own words" not in capfd.readouterr().err + caplog.text


# Addresses instead of files


@pytest.fixture(scope="module")
def elsewhere():
    """A server that stands for one on the web."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(302 if self.path == "/inside" else 200)
            if self.path == "/inside":
                self.send_header("Location", "http://inside.example/")
            self.end_headers()
            content = EXAMPLES[0].read_bytes()
            with contextlib.suppress(OSError):
                self.wfile.write(content * 20_000 if self.path == "/large" else content)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://photos.example:{server.server_port}"
    server.shutdown()


def test_an_address_is_fetched_within_bounds(url, raw, elsewhere, monkeypatch):
    async def validate(host):
        if host != "photos.example":
            raise ValueError("not public")
        return "127.0.0.1"

    monkeypatch.setattr(safehttpx, "async_validate_url", validate)
    monkeypatch.setattr(addresses, "MAX_BYTES", 2**20)
    event, said = posted(raw, url, "align", photo=as_file(f"{elsewhere}/photo.png"))
    assert event == "complete" and '"faces": 1' in said
    for path, sentence in (("/large", "too large"), ("/inside", "Nothing could be fetched")):
        event, said = posted(raw, url, "align", photo=as_file(elsewhere + path))
        assert event == "error" and sentence in said


@pytest.mark.parametrize(
    "address", ["http://localhost:1/a.png", "http://127.0.0.1/", "http://169.254.169.254/", "http://"]
)
def test_an_address_inside_is_not_fetched(url, raw, address):
    event, said = posted(raw, url, "align", photo=as_file(address))
    assert event == "error" and ("Nothing could be fetched" in said or "send it again" in said)
