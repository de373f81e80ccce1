"""Files without end, sent over HTTP: an address gets a sentence in time, and everybody else goes on."""

import itertools
from pathlib import Path

import httpx
import pytest

from tests.programs import posted
from webapp import request_limits

MEBIBYTE = 2**20
HOST = itertools.count(10)


@pytest.fixture
def small(monkeypatch):
    """An address may send 8 MiB an hour, of which each file takes 1 MiB and its size."""
    monkeypatch.setattr(request_limits, "SENT", 8 * MEBIBYTE)


@pytest.fixture
def arrive(url):
    """Clients that come from addresses of their own. Each sends files, and gets the answer."""
    clients = []

    def arrive():
        transport = httpx.HTTPTransport(local_address=f"127.0.0.{next(HOST)}")
        clients.append(client := httpx.Client(base_url=url, timeout=60, transport=transport))
        return client

    yield arrive
    for client in clients:
        client.close()


def send(client, *sizes):
    """Send files of these sizes in one request, each with a content of its own."""
    files = [("files", (f"{number}.png", bytes([number % 256]) * size)) for number, size in enumerate(sizes)]
    return client.post("/gradio_api/upload", files=files)


def refused(answer):
    return answer.status_code == 429 and answer.json()["detail"] == request_limits.TOO_MANY_FILES


def test_an_address_that_sends_files_without_end_is_refused_for_an_hour(arrive, url, small, monkeypatch):
    attacker, visitor = arrive(), arrive()
    answers = [send(attacker, 3 * MEBIBYTE) for _ in range(4)]
    assert [answer.status_code for answer in answers[:2]] == [200, 200] and all(map(refused, answers[2:]))
    assert send(visitor, MEBIBYTE).status_code == 200
    assert posted(attacker, url, "sample", seed=1)[0] == "complete"  # words and numbers go on
    later = request_limits.seconds() + request_limits.AN_HOUR + 1
    monkeypatch.setattr(request_limits, "seconds", lambda: later)
    assert send(attacker, MEBIBYTE).status_code == 200


def test_many_small_files_count_too(arrive, small):
    attacker = arrive()
    assert send(attacker, *[1] * 9).status_code == 200 and refused(send(attacker, 1))


def test_files_of_no_announced_length_are_cut_off(arrive, small):
    attacker, paths = arrive(), []
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'

    def pieces():
        yield head
        yield from [b"1" * MEBIBYTE] * 5
        yield b"\r\n--x--\r\n"

    for _ in range(3):
        answer = attacker.post(
            "/gradio_api/upload", content=pieces(), headers={"content-type": "multipart/form-data; boundary=x"}
        )
        if answer.status_code == 200:
            paths += answer.json()
    assert len(paths) == 1 and Path(paths[0]).stat().st_size == 5 * MEBIBYTE and refused(answer)


def test_a_class_of_sixty_with_ten_photos_each_is_not_refused():
    assert 60 * 10 * (5 * MEBIBYTE + request_limits.EACH) <= request_limits.SENT
