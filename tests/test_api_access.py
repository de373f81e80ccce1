"""Who may call the endpoints for programs: --auth and --mcp."""

import io
import sys

import gradio as gr
import httpx
import pytest
from gradio_client import Client

import app
from tests.programs import MAKER, posted, served


def started(monkeypatch, demo, *arguments):
    """What app.py launches with: its page is one of endpoints only, and left running."""
    launched = {}

    def launch(page, **options):
        launched.update(options)

    with gr.Blocks() as page:
        pass
    monkeypatch.setattr(app.StyleCLIP, "from_pretrained", lambda *_: demo)
    monkeypatch.setattr(app, "build", lambda *_: page)
    monkeypatch.setattr(gr.Blocks, "launch", launch)
    monkeypatch.setattr(sys, "argv", ["app.py", *arguments])
    app.main()
    return launched


def test_the_name_and_the_password(monkeypatch, demo):
    assert started(monkeypatch, demo)["auth"] is None and not started(monkeypatch, demo)["mcp_server"]
    assert started(monkeypatch, demo, "--auth", "maker:se:cret")["auth"] == ("maker", "se:cret")
    monkeypatch.setenv("STYLECLIP_AUTH", "maker:secret")
    assert started(monkeypatch, demo)["auth"] == MAKER
    assert started(monkeypatch, demo, "--auth", "other:word")["auth"] == ("other", "word")


@pytest.mark.parametrize(
    "arguments", [("--auth", "secret"), ("--auth", ":secret"), ("--mcp", "--auth", "maker:secret")]
)
def test_a_command_line_that_would_not_protect_is_refused(monkeypatch, demo, capsys, arguments):
    with pytest.raises(SystemExit):
        started(monkeypatch, demo, *arguments)
    said = capsys.readouterr().err
    assert "error:" in said and "secret" not in said.replace("maker:secret", "").partition("error:")[2]


def test_mcp_is_only_there_when_asked_for(monkeypatch, demo, capsys):
    assert started(monkeypatch, demo, "--mcp")["mcp_server"] is True
    monkeypatch.setattr(app.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        started(monkeypatch, demo, "--mcp")
    assert "requirements-mcp.txt" in capsys.readouterr().err


def test_who_has_no_password_gets_nothing(demo, raw):
    with served(demo, auth=MAKER) as url:
        with pytest.raises(ValueError, match="login"):
            Client(url, verbose=False)
        assert raw.get(f"{url}config").status_code == 401
        assert posted(raw, url, "mappers")[0] == "401"
        assert raw.post(f"{url}gradio_api/upload", files={"files": io.BytesIO(b"x")}).status_code == 401
        with httpx.Client(base_url=url) as wrong:
            assert wrong.post("login", data={"username": "maker", "password": "wrong"}).status_code == 400
