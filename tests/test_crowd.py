"""A crowd, or one client that asks for everything: nobody else is locked out."""

import asyncio
import contextlib
import io
import json
import threading
from collections import Counter
from functools import partial
from types import SimpleNamespace

import httpx
import pytest
from fastapi import Request
from gradio.queueing import Event, EventQueue
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from pipeline.faces import decode
from tests.pictures import EXAMPLES
from tests.visits import Visit, event_of, visited
from webapp import jobs, queues, request_limits
from webapp.api import Programs, faces, values
from webapp.model_handle import ModelHandle
from webapp.panels import training

ARGUMENTS = ("a face with glasses", "This face", 4, 0.01, 0.01)


@pytest.fixture(scope="module")
def shared(studio):
    """One page for this file's tests, and what lends it the studio."""
    with pytest.MonkeyPatch.context() as monkeypatch, visited(studio, monkeypatch) as (page, lent):
        yield page, lent


def slider(page, visit):
    return visit.join(event_of(page, "move"), "old face", "face", 2.0, [], 20, 0.1)


def test_visitors_who_wait_for_a_long_job_leave_the_slots_of_edits_free(shared):
    page, lent = shared
    crowd = [Visit(page, f"crowd{number}") for number in range(queues.EDIT["concurrency_limit"] + 4)]
    with lent.jobs.line():  # a job that takes long
        for visit in crowd:
            assert visit.join(event_of(page, "optimize"), *ARGUMENTS).is_success
            visit.listen()
        for visit in crowd:
            visit.hear("process_generating", 2)  # the second says how many are before
        late = Visit(page, "late")
        assert slider(page, late).is_success
        late.listen()
        assert late.hear("process_completed")["success"]
        assert not any(m["msg"] == "process_completed" for visit in crowd for m in visit.messages)
        for visit in crowd[1:]:
            visit.leave()
    assert crowd[0].hear("process_completed")["success"]


def test_edits_that_are_asked_for_at_once_build_on_each_other_in_their_order(shared):
    page, lent = shared
    visit, targets = Visit(page, "quick"), ["old face", "face with glasses", "smiling face"]
    with lent.jobs.interactive():
        for target in targets:
            assert visit.join(event_of(page, "move"), target, "face", 2.0, [], 20, 0.1).is_success
        visit.listen()  # all of them wait for it
        visit.hear("process_starts")
        waiting = page._queue.event_queue_per_concurrency_id["edit"].queue
        assert len(waiting) == 2 and not page._queue.get_events()
    visit.hear("process_completed", len(targets))
    recipes = page.app.state_holder["quick"].session.current.recipes
    assert [recipe["parameters"]["target"] for recipe in recipes[-3:]] == targets


def test_a_visitor_has_one_place_in_the_line(shared):
    page, lent = shared
    visit = Visit(page, "twice")
    with lent.jobs.line():
        assert visit.join(event_of(page, "optimize"), *ARGUMENTS).is_success
        visit.listen()
        visit.hear("process_generating", 2)
        assert visit.join(event_of(page, "optimize"), *ARGUMENTS).is_success
        told = visit.hear("process_completed")
        assert not told["success"] and told["output"]["error"] == jobs.TWICE
        assert slider(page, visit).is_success
        assert visit.hear("process_completed", 2)["success"]
    ended = visit.hear("process_completed", 3)
    assert ended["success"], ended["output"]


def asks_for_a_training(page, name):
    visit = Visit(page, name)
    began = {"fn_index": event_of(page, "begin"), "data": [None], "session_hash": name}
    visit.client.post(f"{visit.url}/run/predict", json=began).raise_for_status()
    assert visit.join(event_of(page, "run"), "a face with glasses", "", 0.1).is_success
    visit.listen()
    visit.hear("process_generating")
    return visit


def test_a_training_that_waits_can_be_cancelled_whatever_was_asked_for_since(shared):
    page, lent = shared
    with lent.jobs.training():
        visit = asks_for_a_training(page, "cancels")
        session = page.app.state_holder["cancels"].session
        session.shelves["mapper"].trainings_cancelled = session.shelves["mapper"].trainings
        session.shelves["mapper"].trainings += 1  # Enter in the words asks for another one
        told = visit.hear("process_completed")
    assert not told["success"] and "The training was stopped" in told["output"]["error"]


@pytest.mark.parametrize("busy", ["training", "line"])
def test_who_leaves_while_a_training_waits_makes_room(shared, monkeypatch, busy):
    """It waits for another training, or for a long job."""
    monkeypatch.setattr(jobs, "TELL_EVERY", 0.0)
    monkeypatch.setattr(training, "TELL_EVERY", 0.0)
    page, lent = shared
    with getattr(lent.jobs, busy)():
        asks_for_a_training(page, f"leaves while {busy}").leave()
        for _ in range(300):
            if len(lent.jobs._of("training", lent.jobs._waiting + lent.jobs._running)) == (busy == "training"):
                break
            threading.Event().wait(0.1)
        else:
            pytest.fail("its place is kept")


def test_what_nobody_listens_to_never_starts_and_is_bounded(shared):
    page, _ = shared
    queue = page._queue
    silent = [Visit(page, "silent").join(event_of(page, "optimize"), *ARGUMENTS) for _ in range(30)]
    refused = [answer for answer in silent if answer.status_code == 429]
    assert len(refused) == 10 and refused[0].json()["detail"] == queues.TOO_MANY
    many = [Visit(page, f"silent{number}") for number in range(queues.WAITING + 20)]
    assert all(visit.join(event_of(page, "optimize"), *ARGUMENTS).is_success for visit in many)
    assert len(queue._unheard) == queues.WAITING and not queue.get_events()
    many[0].listen()  # which has made room for another one
    assert many[0].hear("process_completed")["output"]["error"] == queues.BUSY
    late = Visit(page, "later")
    assert slider(page, late).is_success
    late.listen()
    assert late.hear("process_completed")["success"]
    for event in list(queue.event_ids_to_events.values()):  # as the clock does a minute later
        queue._drop(event._id)
        queue._forget(event)
    sessions = {visit.session for visit in many}
    assert sessions.isdisjoint(queue.pending_messages_per_session)
    assert sessions.isdisjoint(queue.pending_event_ids_session)


@pytest.mark.parametrize("told", [True, False])
def test_a_body_that_is_too_large_is_refused_before_it_is_read(shared, told):
    page, _ = shared
    visit, pieces = Visit(page, "large"), []

    def body():
        for _ in range(300):
            pieces.append(1)
            yield b"x" * 2**20

    headers = {"content-length": str(300 * 2**20)} if told else {}
    with contextlib.suppress(httpx.WriteError, httpx.ReadError):  # the connection may end before the answer is read
        answer = visit.client.post(f"{visit.url}/queue/join", content=body(), headers=headers)
        assert answer.status_code == 413 and answer.json()["detail"] == request_limits.TOO_LARGE
    assert len(pieces) < 50


def test_uploads_keep_a_limit_of_their_own_for_all_files_of_a_request(shared):
    page, _ = shared
    visit = Visit(page, "uploads")
    files = [("files", (f"{number}.png", bytes(8 * 2**20))) for number in range(4)]
    assert visit.client.post(f"{visit.url}/upload", files=files[:1]).is_success
    assert visit.client.post(f"{visit.url}/upload", files=files).status_code == 413


def test_words_stay_in_no_store_of_gradio(shared):
    page, _ = shared
    visit, secret = Visit(page, "secret"), "words that nobody else has"
    assert visit.join(event_of(page, "move"), secret, "face", 2.0, [], 20, 0.1).is_success
    visit.listen()
    assert visit.hear("process_completed")["success"]
    visit.hear("close_stream")
    state = page.server_app.state_holder["secret"]
    assert secret not in json.dumps(state.config_values, default=str)


def test_the_queue_cannot_be_passed_by_and_unused_routes_are_closed(shared):
    page, _ = shared
    visit = Visit(page, "direct")
    body = {"fn_index": event_of(page, "move"), "data": ["smiling face", "face", 2.0, [], 20, 0.1, None]}
    assert visit.client.post(f"{visit.url}/run/predict", json=body).status_code == 404
    for route in ("deep_link?session_hash=direct", "process_recording", "component_server"):
        assert visit.client.get(f"{visit.url}/{route}").status_code == 404


def event(session, address, group="edit"):
    request = Request({"type": "http", "client": (address, 1), "headers": []})
    fn = SimpleNamespace(concurrency_id=group, connection="sse", time_limit=None)
    return Event(session, fn, request, None)


def crowded(*waiting, group="edit"):
    """A queue in which these events wait."""
    with queues.Page() as page:
        pass
    queue = page.queue()._queue
    queue.active_jobs = [None] * queues.THREADS
    queue.event_queue_per_concurrency_id[group] = EventQueue(group, getattr(queues, group.upper())["concurrency_limit"])
    queue.event_queue_per_concurrency_id[group].queue = list(waiting)
    return queue


def starts(queue):
    """The event that starts next; None where all slots that it may have are taken."""
    if not (chosen := queue.get_events()):
        return None
    queue.active_jobs[queue.active_jobs.index(None)] = chosen[0]
    queue.event_queue_per_concurrency_id[chosen[2]].current_concurrency += 1
    return chosen[0][0]


@pytest.mark.parametrize("group", ["edit", "photo", "series", "long", "idle"])
def test_who_has_least_goes_first_and_one_address_never_has_all_slots(group):
    greedy = [event(f"greedy{number // 8}", "10.0.0.1", group) for number in range(2000)]
    queue = crowded(*greedy, event("other", "10.0.0.2", group), event("another", "10.0.0.2", group), group=group)
    started = list(iter(partial(starts, queue), None))
    names = [event.session_hash for event in started]
    most = max(1, getattr(queues, group.upper())["concurrency_limit"] // 4)
    assert names[:2] == ["greedy0", "other"]
    assert sum(name.startswith("greedy") for name in names) == most and max(Counter(names).values()) == 1
    assert most == 1 or "another" in names


def test_when_too_much_waits_the_address_that_has_most_gives_way(shared, monkeypatch):
    """It fills the queue and listens. Others go on, who is pushed out is told, and alone it may have all the room."""
    monkeypatch.setattr(queues, "WAITING", 6)
    monkeypatch.setitem(queues.SLOTS_OF_SESSION, "long", 0)  # nothing of it starts
    page, _ = shared
    crowd = [Visit(page, f"fills{number}") for number in range(8)]
    try:
        answers = []
        for visit in crowd:
            answers.append(visit.join(event_of(page, "optimize"), *ARGUMENTS))
            visit.listen()
            while len(page._queue._unheard):  # until its stream is open
                threading.Event().wait(0.01)
        assert [answer.status_code for answer in answers] == [200] * 6 + [429] * 2
        assert answers[-1].json()["detail"] == queues.BUSY
        late = Visit(page, "elsewhere", "127.0.0.2")
        assert slider(page, late).is_success
        late.listen()
        assert late.hear("process_completed")["success"]
        pushed_out = crowd[5].hear("process_completed")
        assert not pushed_out["success"] and pushed_out["output"]["error"] == queues.BUSY
        assert not any(m["msg"] == "process_completed" for visit in crowd[:5] for m in visit.messages)
        others = [Visit(page, f"others{number}", "127.0.0.2") for number in range(4)]
        codes = [visit.join(event_of(page, "optimize"), *ARGUMENTS).status_code for visit in others]
        assert codes == [200] * 4 and len(page._queue.waiting()) == 6
        count = Counter(queues._caller(event).address for event in page._queue.waiting())
        assert count == {"127.0.0.1": 3, "127.0.0.2": 3}  # an address that has as many as any other makes its own room
    finally:
        for visit in crowd:
            visit.leave()


def test_long_jobs_of_addresses_take_turns_though_one_has_many_sessions(shared):
    page, lent = shared
    crowd = [Visit(page, f"many{number}") for number in range(4)]
    with lent.jobs.line():
        for visit in [*crowd, Visit(page, "alone", "127.0.0.2")]:
            assert visit.join(event_of(page, "optimize"), *ARGUMENTS).is_success
            visit.listen()
            visit.hear("process_generating", 2)  # the second says how many are before
        order = [(job.address, job.visitor) for job in lent.jobs._line]
    assert order[1:4] == [("127.0.0.1", "many0"), ("127.0.0.2", "alone"), ("127.0.0.1", "many1")]
    assert all(visit.hear("process_completed")["success"] for visit in crowd)


def test_what_one_address_runs_outside_the_queue_waits_for_its_own():
    """Two hundred pages that open at once hold up nobody of another address."""
    running, most, go_on = Counter(), Counter(), asyncio.Event()

    async def app(scope, receive, send):
        address = scope["client"][0]
        running[address] += 1
        most[address] = max(most[address], running[address])
        if address == "10.0.0.1":
            await go_on.wait()
        running[address] -= 1

    async def ask(limits, address, path="/gradio_api/run/predict"):
        await limits({"type": "http", "path": path, "client": (address, 1), "headers": []}, None, None)

    async def crowd():
        limits = request_limits.RequestLimits(app)
        many = [asyncio.create_task(ask(limits, "10.0.0.1")) for _ in range(200)]
        await asyncio.sleep(0)
        await asyncio.wait_for(ask(limits, "10.0.0.2"), 60)
        assert running["10.0.0.1"] == request_limits.RUN
        go_on.set()
        await asyncio.gather(*many)
        assert not limits._running and not limits._open

    asyncio.run(crowd())
    assert most["10.0.0.1"] == request_limits.RUN


def test_a_class_behind_one_address_is_neither_refused_nor_left_waiting(shared):
    """Thirty visitors move a slider at once, and each presses Optimize."""
    page, lent = shared
    pupils = [Visit(page, f"pupil{number}") for number in range(30)]
    with lent.jobs.line():
        for visit in pupils:
            assert slider(page, visit).is_success
            visit.listen()
        for visit in pupils:
            assert visit.hear("process_completed")["success"]
            assert visit.join(event_of(page, "optimize"), *ARGUMENTS).is_success
            visit.listen()
        for visit in pupils:
            visit.hear("process_generating", 2)  # each is told how many are before
        for visit in pupils[1:]:
            visit.leave()
    assert pupils[0].hear("process_completed", 2)["success"]


@pytest.mark.parametrize(("trusted", "counted"), [("10.1.0.0/16", "192.0.2.7"), ("127.0.0.1", "10.1.2.3")])
def test_visitors_behind_a_proxy_that_is_trusted_count_by_their_own_addresses(trusted, counted):
    """uvicorn reads FORWARDED_ALLOW_IPS; what visitors write into the header themselves doesn't count."""
    seen = []

    async def app(scope, receive, send):
        seen.append(request_limits.address_of(Request(scope)))

    headers = [(b"x-forwarded-for", b"203.0.113.1, 192.0.2.7")]
    scope = {"type": "http", "client": ("10.1.2.3", 1), "headers": headers, "scheme": "http"}
    asyncio.run(ProxyHeadersMiddleware(app, trusted)(scope, None, None))
    assert seen == [counted]


def test_every_picture_that_a_program_sends_is_read_in_a_place_for_photos(studio, monkeypatch):
    lent, taken, read = ModelHandle(studio), [], decode.open_checked
    programs = Programs(lent)
    monkeypatch.setattr(decode, "open_checked", lambda file: taken.append(len(lent.jobs._running)) or read(file))
    for module in (values, faces):
        monkeypatch.setattr(module, "uploaded", lambda file: io.BytesIO(file))
    photo = EXAMPLES[0].read_bytes()
    programs._face(photo, 0, True)
    programs._face(photo, 0, False)
    programs.paste(photo, photo)
    assert len(taken) >= 4 and set(taken) == {1}


@pytest.mark.parametrize(
    ("host", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("unix", "unix"),
    ],
)
def test_a_network_that_one_client_has_counts_as_one_address(host, counted):
    assert queues.address_of(Request({"type": "http", "client": (host, 1), "headers": []})) == counted
