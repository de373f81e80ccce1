"""`python app.py --ray`: the page's own tests where replicas compute, what happens where one dies, what is wrong."""

import os
import re
import select
import signal
import socket
import sys

import httpx
import pytest

pytest.importorskip("ray")

from gradio_client.exceptions import AppError
from playwright.sync_api import expect

import app
from benchmarks.replicas import processes, replicas_of
from pipeline import Latent, UserError, ray_cluster
from pipeline.models.registry import REGISTRY
from tests.browser.conftest import opened_browser
from tests.browser.test_page import SLOW, after, changes, open_tab, press
from tests.browser.test_words import say, strip
from tests.pictures import EXAMPLES
from tests.test_api import (  # noqa: F401
    run,
    test_a_program_and_the_library_get_the_same,
    test_programs_do_not_meet,
    test_several_faces,
    test_what_only_some_latents_and_levels_can_do,
    test_words_are_done_one_after_the_other_or_said_to_be_unknown,
    test_words_that_the_model_was_never_taught_are_noted,
)
from tests.test_start import ROOT, running
from webapp.backends import ray_serve, travelling
from webapp.backends.weightless import known_of


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The app with one replica, and its address. Nothing is left of it when it was told to end."""
    with running(tmp_path_factory.mktemp("app"), "--ray", "--replicas", "1", OMP_NUM_THREADS="1") as (process, url):
        yield process, url
        below = processes(process.pid)
        assert replicas_of(process.pid)
        process.terminate()
        process.wait()
        for pid in below:
            waited(pid)


def waited(pid):
    """Wait until a process has ended that is no child of this one."""
    for _ in range(20):
        try:
            door = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            assert select.select([door], [], [], 20)[0], processes(os.getpid())
        finally:
            os.close(door)


@pytest.fixture(scope="module")
def url(served):
    return served[1]


def test_the_replicas_that_answer_are_counted(url):
    assert httpx.get(f"{url}ready", timeout=SLOW).json() == {"replicas": 1}


@pytest.fixture
def chromium():
    with opened_browser() as browser:
        yield browser


def test_a_visit_in_the_browser(chromium, url, tmp_path):
    page = chromium.new_page(viewport={"width": 1366, "height": 900})
    page.set_default_timeout(SLOW)
    page.goto(url, timeout=SLOW)
    expect(after(page)).to_be_visible(timeout=SLOW)
    expect(page.locator("#models")).to_have_count(0)  # the model is the same for everybody

    page.locator("input[type=file]").first.set_input_files(EXAMPLES[1])
    expect(strip(page)).to_have_count(1, timeout=SLOW)
    say(page, "add glasses and blue eyes")  # a mapper, and an exchange
    expect(strip(page)).to_have_count(3, timeout=SLOW)
    changes(page, lambda: page.locator("#share input[type=number]").fill("50"))

    open_tab(page, "Optimization")
    page.locator("#steps input[type=number]").fill("500")
    page.locator("#prompt textarea").fill("an old person")
    press(page, "Optimize")
    expect(page.locator("#edit-words textarea")).to_have_value(re.compile("step [1-9]"), timeout=SLOW)
    changes(page, lambda: press(page, "Stop"))
    expect(strip(page)).to_have_count(4, timeout=SLOW)
    expect(page.locator("#stop")).to_be_disabled(timeout=SLOW)
    page.close()


def test_a_replica_that_dies_is_replaced_and_only_a_run_has_to_be_told(served, program, latent):
    process, _ = served
    wanted = program.predict(target="smiling face", latent=latent, api_name="/direct")
    job = program.submit(prompt="an old person", latent=latent, steps=500, api_name="/optimize")
    assert next(iter(job))
    (replica,) = replicas_of(process.pid)
    os.kill(replica, signal.SIGKILL)
    with pytest.raises(AppError, match="has ended, perhaps for want of memory. Your pictures are still here"):
        job.result(SLOW)
    again = program.predict(target="smiling face", latent=latent, api_name="/direct")
    assert Latent.load(again[1]).digest() == Latent.load(wanted[1]).digest() and again[2] == wanted[2]


# Without a cluster


@pytest.fixture
def replica(seeded_registry):
    """A replica, made by hand."""
    return ray_serve.Replica(None, "seeded", seeded_registry)


def test_a_run_that_nobody_listens_to_ends_after_its_step(replica, studio):
    request = travelling.packed(("optimize", (studio.sample(1), "a red face"), {"steps": 500, "preview": 16}))

    async def two_steps():
        steps = replica.run(request)
        taken = [travelling.unpacked(await anext(steps), studio.image) for _ in range(2)]
        await steps.aclose()
        return taken

    one, two = run(two_steps())
    expected = studio.optimize(studio.sample(1), "a red face", steps=500, preview=16)
    for step, wanted in zip((one, two), expected, strict=False):
        assert step.index == wanted.index and step.image.tobytes() == wanted.image.tobytes()
        assert step.latent.digest() == wanted.latent.digest()
        assert step.edit.image.tobytes() == studio.image(wanted.latent).tobytes()
    with replica._jobs.background(SLOW) as free:
        assert free


def test_the_page_knows_a_model_without_its_weights(demo):
    sent = travelling.packed(known_of(app.StyleCLIP.from_pretrained("demo", device="cpu").family))
    assert len(sent) < 2**20
    known = travelling.unpacked(sent)
    bare = app.StyleCLIP(type(demo.family)(**known))
    latent = demo.sample(1)
    assert latent.fits(bare.family.generator) and latent.working_size(bare.family.generator) == 256
    assert bare.mappers() == demo.mappers() and bare.wishes("blonde hair") == demo.wishes("blonde hair")
    assert all(tensor.is_meta for tensor in bare.family.generator.state_dict().values())
    with pytest.raises(UserError, match="a few words"):
        bare.optimize(latent, " ")


def test_a_file_of_a_visitor_goes_along(replica, studio, seeded_registry):
    file = seeded_registry.parent / "levels.safetensors"
    request = travelling.packed(("map", (studio.sample(1), file), {"strength": 0.2}), files=True)
    edit = travelling.unpacked(run(replica.call(request, True)))
    wanted = studio.map(studio.sample(1), file, 0.2)
    assert edit.recipe == wanted.recipe and edit.image.tobytes() == wanted.image.tobytes()


def test_a_model_that_cannot_be_had_is_told_by_its_sentence():
    replica = ray_serve.Replica(None, "ghosts", REGISTRY)
    with pytest.raises(UserError, match="There is no model “ghosts”"):
        travelling.unpacked(run(replica.known()))


@pytest.mark.parametrize(
    ("replicas", "cpus", "gpus", "wanted"),
    [
        (2, [8], [0], (2, {"num_cpus": 4.0})),
        (4, [2], [0], (4, {"num_cpus": 0.5})),
        (1, [4, 4], [0, 0], (1, {"num_cpus": 4.0})),  # a replica is on one machine
        (3, [4, 4], [0, 0], (3, {"num_cpus": 2.0})),
        (None, [1, 1], [0, 0], (1, {"num_cpus": 1.0})),
        (3, [16], [1], (3, {"num_gpus": 0.3333, "num_cpus": 1.0})),
        (3, [8, 8], [1, 1], (3, {"num_gpus": 0.5, "num_cpus": 1.0})),
        (2, [16], [4], (2, {"num_gpus": 1.0, "num_cpus": 1.0})),
        (None, [16], [4], (4, {"num_gpus": 1.0, "num_cpus": 1.0})),
        (None, [1], [0], (1, {"num_cpus": 1.0})),
    ],
)
def test_replicas_share_what_a_cluster_has(replicas, cpus, gpus, wanted):
    assert ray_serve.shares(replicas, cpus, gpus) == wanted


# What is wrong


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--ray", "--replicas", "0"], "a number of replicas, 1 to 1000, or auto, instead of 0"),
        (["--ray", "--replicas", "abc"], "or auto, instead of abc"),
        (["--replicas", "2"], "--replicas needs --ray"),
    ],
)
def test_options_that_make_no_sense(monkeypatch, capsys, options, sentence):
    monkeypatch.setattr(sys, "argv", ["app.py", *options])
    with pytest.raises(SystemExit):
        app.main()
    assert sentence in capsys.readouterr().err


def test_without_the_extra_it_says_how_to_install_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr(sys, "argv", ["app.py", "--ray"])
    with pytest.raises(SystemExit):
        app.main()
    assert "pip install -r requirements-ray.txt" in capsys.readouterr().err


def test_without_the_option_ray_is_not_imported():
    """No module of the page imports it, or the one that does, but in a function."""
    for path in [ROOT / "app.py", *(ROOT / "webapp").rglob("*.py")]:
        top = [line for line in path.read_text().splitlines() if re.match(r"(import|from) .*\bray(_serve)?\b", line)]
        assert not top or path.stem == "ray_serve", path


@pytest.mark.parametrize("address", ["nowhere", "127.0.0.1:99999", "127.0.0.1:1"])
def test_an_address_where_nothing_is(address):
    with pytest.raises(UserError, match=address):
        ray_cluster.join(address)


def test_an_address_that_does_not_answer(monkeypatch):
    monkeypatch.setattr(ray_cluster, "PROBE_SECONDS", 3.0)
    with socket.create_server(("127.0.0.1", 0)) as mute, pytest.raises(UserError, match="No Ray cluster answers"):
        ray_cluster.join(f"127.0.0.1:{mute.getsockname()[1]}")


def test_a_cluster_of_another_version(monkeypatch):
    def init(*args, **options):
        raise RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.1.0\n    Python: 3.9.1\n")

    monkeypatch.setattr(ray_cluster, "_probe", lambda address: None)
    monkeypatch.setattr(ray_serve.ray, "init", init)
    with pytest.raises(UserError, match="can't be used: Version mismatch.*Ray: 2.1.0"):
        ray_cluster.join("127.0.0.1:6379")
