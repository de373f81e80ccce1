"""Getting files: the real client of the Hub, and plain addresses, against a server of our own that can fail."""

import hashlib
import shutil
import threading
from collections import namedtuple

import gdown
import pytest
import requests
from gdown.exceptions import FileURLRetrievalError
from huggingface_hub import constants

from pipeline.errors import UserError
from pipeline.models import downloads
from pipeline.models.downloads import fetch, flaw, verify
from pipeline.models.sources import Source
from pipeline.models.weights import known_flaw
from tests.hub import Hub

CONTENT = bytes(range(256)) * 20_000  # 5 MB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of the Hub."""
    for name, folder in (("HF_HOME", "."), ("HF_HUB_CACHE", "hub"), ("HF_ASSETS_CACHE", "assets")):
        monkeypatch.setattr(constants, name, str(tmp_path / "cache" / folder))
    return tmp_path / "cache"


@pytest.fixture
def hub(tmp_path, monkeypatch, cache):
    """A Hub with `someone/model/weights.pt`."""
    folder = tmp_path / "served"
    (folder / "someone" / "model").mkdir(parents=True)
    (folder / "someone" / "model" / "weights.pt").write_bytes(CONTENT)
    hub = Hub(folder)
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 2**16)  # of 10 MB, which no file here has
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the clients wait before they try again
    yield hub
    hub.close()


NAME = "someone/model/weights.pt"
SOURCES = {
    "hub": lambda hub: Source(repo="someone/model", file="weights.pt", sha256=SHA256, size=len(CONTENT)),
    "url": lambda hub: Source(url=f"{hub.url}/files/{NAME}", file="weights.pt", sha256=SHA256, size=len(CONTENT)),
    "drive": lambda hub: Source(drive="abc", file="weights.pt", sha256=SHA256, size=len(CONTENT)),
}


@pytest.fixture(params=SOURCES)
def source(request, hub, monkeypatch) -> Source:
    """The same file on the Hub, at a plain address, and on a Google Drive whose addresses lead here."""
    get = requests.Session.get

    def lead_here(session, url, **options):
        return get(session, url.replace("https://drive.google.com/uc?id=abc", f"{hub.url}/files/{NAME}"), **options)

    monkeypatch.setattr(requests.Session, "get", lead_here)
    return SOURCES[request.param](hub)


def test_a_file_is_fetched_once_and_its_progress_is_told(source, hub):
    told = []
    assert source.here() is None
    path = fetch(source, lambda name, done, total: told.append((name, done, total)))
    assert path.read_bytes() == CONTENT
    assert told[-1] == ("weights.pt", len(CONTENT), len(CONTENT))
    hub.close()
    assert fetch(source) == source.here() == path  # without the network


def started_at(hub):
    """The byte with which the last answer began."""
    _, _, span = [request for request in hub.requests if request[0] == "GET"][-1]
    return int(span.removeprefix("bytes=").split("-")[0])


def test_a_download_that_was_cut_goes_on_where_it_stopped(source, hub):
    hub.faults[NAME] = "cut"
    assert fetch(source, lambda *_: None).read_bytes() == CONTENT
    assert started_at(hub) > len(CONTENT) // 3


def test_a_download_that_was_cancelled_goes_on_where_it_stopped(source, hub):
    def cancel(name, done, total):
        if done > len(CONTENT) // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(source, cancel)
    assert source.here() is None
    assert fetch(source, lambda *_: None).read_bytes() == CONTENT
    assert started_at(hub) > len(CONTENT) // 3


def test_a_server_that_only_sends_whole_files_is_asked_for_one(source, hub):
    def cancel(name, done, total):
        if done > len(CONTENT) // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(source, cancel)
    hub.faults[NAME] = "no range"
    assert fetch(source, lambda *_: None).read_bytes() == CONTENT


def test_two_that_want_a_file_fetch_it_once(source, hub):
    got = []
    both = [threading.Thread(target=lambda: got.append(fetch(source, lambda *_: None))) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert got == [source.here()] * 2
    assert [method for method, *_ in hub.requests].count("GET") == 1


def test_the_hub_s_storage_is_read_without_xet_and_never_sees_the_token(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.faults[NAME] = "cdn"
    assert fetch(SOURCES["hub"](hub), lambda *_: None).read_bytes() == CONTENT
    assert not [path for _, path, _ in hub.requests if path != NAME]
    got = [token for (method, *_), token in zip(hub.requests, hub.tokens, strict=True) if method == "GET"]
    assert got == ["Bearer hf_secret", None]


def test_a_cache_that_cannot_be_written_is_named(source, hub, monkeypatch):
    def closed(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(downloads, "FileLock", closed)
    with pytest.raises(UserError, match=r"weights\.pt can't be kept in .*set HF_HOME"):
        fetch(source)


def test_a_cache_that_cannot_be_made_is_looked_into_and_named(source, hub, cache):
    cache.write_text("a file where the folder should be")
    assert source.here() is None
    with pytest.raises(UserError, match=r"weights\.pt can't be kept in .*set HF_HOME"):
        fetch(source)


def test_looking_for_a_file_makes_no_folder(source, cache):
    assert source.here() is None and not cache.exists()


def test_what_is_left_of_another_file_is_not_taken_for_the_beginning(hub):
    source = SOURCES["hub"](hub)
    part = downloads._blobs(source) / f"{source.download_path().name}.{SHA256}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"longer" * len(CONTENT))
    assert fetch(source, lambda *_: None).read_bytes() == CONTENT
    assert not part.exists()


@pytest.mark.parametrize(
    ("fault", "kinds", "words"),
    [
        ("flip", ("hub", "url"), "is not the file that was published"),
        ("short", ("hub", "url"), "bytes instead of"),
        (404, ("hub", "url"), "weights.pt"),
        (503, ("hub", "url"), "weights.pt"),
        ("EntryNotFound", ("hub",), "is not in"),
        ("RepoNotFound", ("hub",), "is gone or private"),
        ("GatedRepo", ("hub",), "agree to its terms"),
        (401, ("hub",), "hf auth login"),
    ],
)
def test_what_goes_wrong_is_said_in_one_sentence_and_leaves_nothing(hub, fault, kinds, words):
    for kind in kinds:
        source = SOURCES[kind](hub)
        hub.faults[NAME] = fault
        with pytest.raises(UserError, match=words) as error:
            fetch(source, lambda *_: None)
        assert "weights.pt" in str(error.value)
        assert source.here() is None
        hub.faults.clear()
        assert fetch(source, lambda *_: None).read_bytes() == CONTENT  # and a later try succeeds


def test_no_network(source, hub):
    hub.close()
    with pytest.raises(UserError, match=r"weights\.pt .*can't be reached"):
        fetch(source, lambda *_: None)


def test_a_full_disk_is_noticed_before_the_download(source, hub, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 10, 0))
    with pytest.raises(UserError, match=r"no room for weights\.pt \(5 MB\)"):
        fetch(source)
    assert not hub.requests


def test_the_rest_of_another_file_of_the_repository_saves_no_room(hub, monkeypatch):
    def cancel(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(SOURCES["hub"](hub), cancel)
    (part,) = downloads._parts(SOURCES["hub"](hub))
    other = SOURCES["hub"](hub).model_copy(update={"file": "other.pt", "sha256": None})
    assert part.is_file() and not downloads._parts(other)


def test_a_disk_that_fills_up_meanwhile(source, hub):
    kept = source.download_path()
    begun = downloads._folder(source) / f"{kept.name}{f'.{SHA256}' if source.repo else 'abcdefgh'}.part"
    begun.parent.mkdir(parents=True, exist_ok=True)
    begun.symlink_to("/dev/full")  # where every write finds no space left
    with pytest.raises(UserError, match=r"no room for weights\.pt"):
        fetch(source, lambda *_: None)
    begun.unlink()
    assert fetch(source, lambda *_: None).read_bytes() == CONTENT


def test_without_a_known_checksum_the_first_download_counts(hub):
    source = SOURCES["url"](hub).model_copy(update={"sha256": None, "size": None})
    path = fetch(source, lambda *_: None)
    verify(source, path)
    for spoilt in (CONTENT[:-1], CONTENT):  # another file, and the right one again once that was removed
        path.write_bytes(spoilt[::-1])
        with pytest.raises(UserError, match="not the file that was published"):
            verify(source, path)
        assert fetch(source, lambda *_: None).read_bytes() == CONTENT
    path.unlink()
    (hub.folder / NAME).write_bytes(CONTENT[::-1])  # its publisher has mended it
    assert fetch(source, lambda *_: None).read_bytes() == CONTENT[::-1]


def test_a_page_to_log_in_is_not_taken_for_the_file(hub):
    source = SOURCES["url"](hub).model_copy(update={"sha256": None, "size": None})
    (hub.folder / NAME).write_bytes(b"\n<!DOCTYPE html><html>Please log in</html>")
    with pytest.raises(UserError, match=r"weights\.pt is a web page, so it was removed"):
        fetch(source, lambda *_: None)
    (hub.folder / NAME).write_bytes(CONTENT)
    assert fetch(source, lambda *_: None).read_bytes() == CONTENT


def test_the_hub_s_own_checksum_counts_where_the_registry_has_none(hub):
    source = SOURCES["hub"](hub).model_copy(update={"sha256": None, "size": None})
    hub.faults[NAME] = "flip"
    with pytest.raises(UserError, match="not the file that was published"):
        fetch(source, lambda *_: None)


def test_git_knows_a_file_by_its_blob(hub):
    blob = hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT).hexdigest()
    source = SOURCES["url"](hub).model_copy(update={"sha256": None, "git_blob": blob})
    fetch(source, lambda *_: None)
    with pytest.raises(UserError, match="not the file that was published"):
        verify(source.model_copy(update={"git_blob": "0" * 40}), source.here())


def test_google_drive_that_refuses_is_explained(cache, monkeypatch):
    def refuse(**_):
        raise FileURLRetrievalError("quota")

    monkeypatch.setattr(gdown, "download", refuse)
    with pytest.raises(UserError, match=r"afro\.pt .*uc\?id=abc"):
        fetch(Source(drive="abc", file="afro.pt"))


def test_a_local_file_that_is_missing_or_wrong_is_named_and_kept(tmp_path):
    source = Source(path=tmp_path / "own.pt", sha256="0" * 64)
    with pytest.raises(UserError, match=r"own\.pt is missing"):
        fetch(source)
    source.path.write_bytes(b"mine")
    with pytest.raises(UserError, match="put the original there"):
        verify(source, fetch(source))
    assert source.path.read_bytes() == b"mine"


@pytest.mark.parametrize(
    "start", [b"<!DOCTYPE html>", b"\n<HTML>", b"<?xml version='1.0'?>", b"<Error>", b'{"error": 1}']
)
def test_what_a_server_says_in_the_place_of_a_file_is_told_in_one_way(start, tmp_path):
    path = tmp_path / "weights.pt"
    path.write_bytes(start + b" sorry")
    assert flaw(Source(path=path), path)[1] == "is a web page"
    assert "a web page" in known_flaw(path)
