"""The folder for visitors' files: whose it is, who reads it, and what stays in it; and which addresses are fetched."""

import asyncio
import os
import socket
import stat
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.errors import UserError
from webapp import addresses, cleanup
from webapp.files import OWN_FOLDER, make_private


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_folder_is_the_accounts_alone(tmp_path):
    folder = tmp_path / f"{OWN_FOLDER}-7"
    make_private(folder)
    assert mode(folder) == 0o700
    folder.chmod(0o755)  # as an older version left it
    make_private(folder)
    assert mode(folder) == 0o700


@pytest.mark.parametrize("kind", ["link", "file", "somebody else's"])
def test_a_folder_that_others_laid_out_is_refused_in_a_sentence(tmp_path, monkeypatch, kind):
    folder = tmp_path / f"{OWN_FOLDER}-7"
    if kind == "link":
        (tmp_path / "elsewhere").mkdir()
        folder.symlink_to(tmp_path / "elsewhere")
    elif kind == "file":
        folder.write_text("")
    else:
        folder.mkdir()
        monkeypatch.setattr(os, "getuid", lambda: 4711)
    with pytest.raises(UserError, match="GRADIO_TEMP_DIR") as error:
        make_private(folder)
    assert str(error.value).count(".") >= 1 and str(error.value).endswith(".")


def filled(folder):
    """Everything that visits leave: an upload, a broken-off one, a shared link, and what is of no known kind."""
    paths = ["ab" * 16 + "/photo.png", "tmp0a1b_2c3", "deep_links/x/state.json", "notes/mine.txt"]
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("")
    return [folder / path for path in paths]


@pytest.mark.parametrize(("name", "kept"), [(f"{OWN_FOLDER}-7", 0), ("chosen", 1)])
def test_nothing_of_a_visitor_stays_longer_than_an_hour(tmp_path, monkeypatch, name, kept):
    monkeypatch.setattr(cleanup, "_idle", lambda path: time.time() - path.lstat().st_mtime)
    paths = filled(tmp_path / name)
    cleanup.clear(tmp_path / name, cleanup.AN_HOUR)
    assert all(path.exists() for path in paths)
    for path in (tmp_path / name).rglob("*"):
        os.utime(path, (time.time() - 4000,) * 2)
    cleanup.clear(tmp_path / name, cleanup.AN_HOUR)
    for _ in range(3):  # a folder's age is that of the last change in it
        for path in (tmp_path / name).rglob("*"):
            os.utime(path, (time.time() - 4000,) * 2)
        cleanup.clear(tmp_path / name, cleanup.AN_HOUR)
    left = [path for path in (tmp_path / name).rglob("*") if path.is_file()]
    assert left == paths[4 - kept :] and len(list((tmp_path / name).iterdir())) == kept


def test_links_in_it_are_not_followed(tmp_path, monkeypatch):
    monkeypatch.setattr(cleanup, "_idle", lambda path: 1e6)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("")
    folder = tmp_path / OWN_FOLDER
    folder.mkdir()
    (folder / "link").symlink_to(outside)
    cleanup.clear(folder, cleanup.AN_HOUR)
    assert (outside / "kept").exists() and not list(folder.iterdir())


INSIDE = [
    *("127.0.0.1", "10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "192.0.2.1"),
    *("198.18.0.1", "224.0.0.1", "255.255.255.255", "::1", "fe80::1%eth0", "fc00::1", "ff02::1", "::"),
    *("::ffff:127.0.0.1", "::ffff:100.64.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:db8::1"),
]


def resolved(monkeypatch, *answers):
    """What `public_address` gives for a host with those addresses."""
    found = [(socket.AF_INET6 if ":" in a else socket.AF_INET, 1, 6, "", (a, 0)) for a in answers]

    async def ask():
        async def getaddrinfo(*_, **__):
            return found

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
        return await addresses.public_address("photos.example")

    # In a thread of its own: after a browser test, Playwright's loop still runs in this one.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, ask()).result()


@pytest.mark.parametrize("address", INSIDE)
def test_only_global_addresses_are_fetched(monkeypatch, address):
    with pytest.raises(ValueError, match="public"):
        resolved(monkeypatch, address)
    with pytest.raises(ValueError, match="public"):  # not the one public one of several either
        resolved(monkeypatch, "93.184.216.34", address)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34"])
def test_public_addresses_are_fetched(monkeypatch, address):
    assert resolved(monkeypatch, address) == address
