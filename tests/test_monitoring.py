"""What who runs the studio can ask and read: /health, /ready, /metrics, and the log's line for each event."""

import json
import logging
import threading

import httpx
import pytest

from pipeline import StyleCLIP
from tests.programs import MAKER, posted, served
from tests.visits import Visit, event_of, visited
from webapp import access, monitoring, queues

SECRET = "words that nobody else has"


@pytest.fixture(scope="module")
def page(studio):
    with pytest.MonkeyPatch.context() as monkeypatch, visited(studio, monkeypatch) as (page, _):
        yield page


@pytest.fixture
def lines(caplog):
    """What the log says of each event, once so many have ended."""
    caplog.set_level(logging.INFO, "webapp.events")

    def lines(count):
        for _ in range(3000):
            said = [json.loads(record.message) for record in caplog.records if record.name == "webapp.events"]
            if len(said) >= count:
                return said
            threading.Event().wait(0.01)
        pytest.fail(caplog.text)

    return lines


def scraped(page):
    """The metrics, by name and labels as Prometheus reads them."""
    answer = httpx.get(f"{page.local_url}metrics", timeout=60)
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/plain")
    rows = [row.rpartition(" ") for row in answer.text.splitlines() if not row.startswith("#")]
    return {name: float(value) for name, _, value in rows}


def moves(page, session, words=SECRET):
    visit = Visit(page, session)
    assert visit.join(event_of(page, "move"), words, "face", 2.0, [], 20, 0.1).is_success
    visit.listen()
    visit.hear("process_completed")
    return visit


def test_a_line_of_the_log_says_what_happened_and_nothing_of_the_visitor(page, lines, caplog):
    moves(page, "monitored")
    (said,) = lines(1)
    assert said.keys() == {"time", "what", "seconds", "outcome"}
    assert (said["what"], said["outcome"]) == ("move", "done") and 0 < said["seconds"] < 60
    assert not any(hidden in caplog.text for hidden in (SECRET, "127.0.0.1", "monitored"))


def test_how_an_event_ends_is_told(page, lines, monkeypatch):
    before = scraped(page)

    def fails(*args, **kwargs):
        raise OSError("a disk")

    with monkeypatch.context() as broken:
        broken.setattr(StyleCLIP, "direct", fails)
        moves(page, "fails")
    with page.studio.jobs.line():
        left = Visit(page, "leaves")
        assert left.join(event_of(page, "optimize"), "a hat", "This face", 4, 0.01, 0.01).is_success
        left.listen()
        left.hear("process_generating", 2)
        assert scraped(page)['styleclip_running{group="long"}'] == 1
        left.leave()
        assert [(line["what"], line["outcome"]) for line in lines(2)] == [("move", "failed"), ("optimize", "left")]
    monkeypatch.setattr(queues, "WAITING_OF_SESSION", 0)
    assert left_alone(page).status_code == 429
    assert lines(3)[2]["outcome"] == "refused"
    after = scraped(page)
    for key, more in {
        'styleclip_events_total{outcome="failed",what="move"}': 1,
        'styleclip_events_total{outcome="left",what="optimize"}': 1,
        'styleclip_events_total{outcome="refused",what="move"}': 1,
        "styleclip_faults_total": 1,
    }.items():
        assert after[key] == before.get(key, 0) + more


def left_alone(page):
    return Visit(page, "too many").join(event_of(page, "move"), SECRET, "face", 2.0, [], 20, 0.1)


def test_metrics_count_what_was_done_what_waits_and_who_is_there(page):
    key = 'styleclip_seconds_count{what="move"}'
    before = scraped(page).get(key, 0)
    moves(page, "counted", "old face")
    silent = left_alone(page)  # nobody listens to it
    found = scraped(page)
    assert silent.is_success and found['styleclip_waiting{group="edit"}'] == 1
    assert found[key] == before + 1 and found["styleclip_visits"] >= 1 and found["styleclip_replicas"] == 1
    assert not any(hidden in str(found) for hidden in (SECRET, "127.0.0.1", "counted"))


def test_metrics_are_closed_to_visitors_and_open_to_the_token(page, monkeypatch):
    url, proxied = f"{page.local_url}metrics", {"x-forwarded-for": "192.0.2.7"}
    elsewhere = {"host": "studio.example.org"}
    for headers in (proxied, elsewhere, proxied | {"authorization": "Bearer no"}):
        answer = httpx.get(url, headers=headers)
        assert answer.status_code == 403 and answer.json()["detail"] == monitoring.CLOSED
    monkeypatch.setenv(monitoring.TOKEN, "a long secret")
    assert httpx.get(url, headers=proxied | {"authorization": "Bearer a long secret"}).status_code == 200
    for wrong in ("Bearer a long", "a long secret", "Bearer é"):
        given = {b"x-forwarded-for": b"192.0.2.7", b"authorization": wrong.encode()}
        assert httpx.get(url, headers=list(given.items())).status_code == 403


def test_ready_follows_the_replicas_and_health_the_process(studio, monkeypatch):
    with visited(studio, monkeypatch) as (page, handle):
        ask = httpx.Client(base_url=page.local_url, timeout=60).get
        assert ask("/health").json() == {"status": "ok"} and ask("/ready").json() == {"replicas": 1}
        alive = [2]
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr(handle, "alive_replicas", lambda: alive[0], raising=False)
            assert ask("/ready").json() == {"replicas": 2} and scraped(page)["styleclip_replicas"] == 2
            alive[0] = 0
            assert ask("/ready").status_code == 503 and ask("/ready").json()["detail"] == monitoring.NOT_READY
        assert ask("/ready").status_code == 200
        handle.release()
        assert ask("/ready").status_code == 503 and ask("/health").status_code == 200
        assert scraped(page)["styleclip_replicas"] == 0


def test_a_health_check_needs_no_login(studio):
    access.hide_endpoints_before_login()
    with served(studio, auth=MAKER) as url:
        assert httpx.get(f"{url}health").status_code == 200
        assert httpx.get(f"{url}config").status_code == 401


def test_endpoints_of_programs_are_called_by_their_addresses(studio, lines):
    with served(studio) as url, httpx.Client(timeout=60) as client:
        assert posted(client, url, "sample", seed=1)[0] == "complete"
    assert lines(1)[0]["what"] == "sample"
