"""Hostile uploads, texts and numbers: each gets a picture or a sentence, soon, and the next visit goes well."""

import html
import inspect
import json
import random
import time
from functools import partial
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline import Latent
from pipeline.errors import UserError
from tests import hostile
from tests.pictures import EXAMPLES
from tests.programs import as_file, posted, uploaded
from webapp import api, jobs
from webapp.files import new_file
from webapp.model_handle import ModelHandle

pytestmark = pytest.mark.filterwarnings("ignore:Saving I mode:DeprecationWarning")
SOON = 10.0  # seconds; two on a quiet machine, see what is printed


@pytest.fixture
def quiet(caplog, capfd):
    """Afterwards: nothing went wrong on our side, and no words were written to a log."""
    yield
    told = capfd.readouterr().err + caplog.text
    wrong = [record for record in caplog.records if record.name != "webapp.events"]
    assert not wrong and not any(s in told for s in ("Traceback", "DROP TABLE", "alert(1)", "etc/passwd")), told


def wrong(event: str, said: str) -> bool:
    """Whether this is neither a result nor a sentence."""
    if event == "complete":
        return "picture.png" not in said
    sentence = html.unescape(json.loads(said).get("error") or "") if event == "error" else ""
    return not sentence.endswith((".", ".)")) or "Something went wrong" in sentence or len(sentence) > 300


def sent(raw, url, kind, content, name) -> tuple[str, str]:
    """An upload and what an endpoint makes of it; what Gradio itself refuses to take is refused."""
    try:
        file = uploaded(raw, url, content, name)
    except (httpx.HTTPStatusError, ValueError) as error:
        return "error", json.dumps({"error": f"Refused: {error}.", "refused": True})
    if kind == "photo":
        return posted(raw, url, "align", photo=file)
    return posted(raw, url, "direct", target="smiling face", latent=file, channels=5)


def judged(what: str, calls: list[tuple[str, object]]) -> None:
    """Make the calls, name -> function; each must be answered in time, and properly."""
    bad, times = [], []
    for name, call in calls:
        began = time.monotonic()
        event, said = call()
        times.append((time.monotonic() - began, name))
        if wrong(event, said) or times[-1][0] > SOON:
            bad.append((name[:40], event, said[:200], round(times[-1][0], 2)))
    slowest = ", ".join(f"{seconds:.2f} s {name[:40]!a}" for seconds, name in sorted(times)[-3:])
    print(f"{len(calls)} {what}, slowest: {slowest}")
    assert not bad


def visit(raw, url) -> None:
    photo = uploaded(raw, url, EXAMPLES[0].read_bytes())
    event, said = posted(raw, url, "align", photo=photo)
    assert event == "complete" and '"faces": 1' in said
    assert posted(raw, url, "direct", target="smiling face", photo=photo, channels=5)[0] == "complete"


@pytest.fixture(scope="module")
def pictures():
    return hostile.uploads()


def test_the_corpus_is_large_and_always_the_same(pictures):
    texts, latents = (list(make(random.Random(0))) for make in (hostile.texts, hostile.latents))
    assert len(pictures) + len(texts) + len(latents) >= 300
    assert texts == list(hostile.texts(random.Random(0))) and latents == list(hostile.latents(random.Random(0)))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_hostile_pictures(url, raw, pictures, quiet):
    judged(
        "pictures",
        [(name, partial(sent, raw, url, "photo", content, name)) for name, content in pictures],
    )
    visit(raw, url)


def test_hostile_latents(url, raw, quiet):
    files = list(hostile.latents(random.Random(0)))
    judged("latents", [(name, partial(sent, raw, url, "latent", content, name)) for name, content in files])
    visit(raw, url)


def test_hostile_texts(url, raw, studio, tmp_path, quiet):
    studio.sample(1).save(tmp_path / "a")
    latent = uploaded(raw, url, (tmp_path / "a").read_bytes(), "a.safetensors")
    calls = []
    for number, text in enumerate(hostile.texts(random.Random(0))):
        texts = {"prompt": text} if number % 4 == 1 else {"prompt": "a face", "neutral": text}
        other = ("optimize", texts | {"steps": 1}) if number % 2 else ("map", {"mapper": text})
        for name, fields in (
            ("direct", {"target": text, "channels": 5}),
            ("direct", {"target": "a face", "neutral": text, "channels": 5}),
            other,
        ):
            call = partial(posted, raw, url, name, latent=latent, **fields)
            calls.append((f"{name} {text[:20]!a}", call))
    judged("texts", calls)
    visit(raw, url)


# Parameters of any type and size, at the endpoints themselves

NUMBERS = st.one_of(
    st.integers(-3, 12),
    st.floats(-2, 2),
    st.sampled_from([float("nan"), float("inf"), -float("inf"), 1e308, -0.0, 1e-320, 2**31, 2**32, 2**64, -(10**400)]),
)
JUNK = st.one_of(
    NUMBERS,
    st.none(),
    st.booleans(),
    st.text(max_size=20),
    st.sampled_from(["\ud800", "w+", "levels", "../..", "0.5", "a" * 1001, {}, [], {"path": "/etc/passwd"}]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.sampled_from(["path", "meta", "url", "size"]), st.text(max_size=5) | st.none(), max_size=3),
)


@pytest.fixture(scope="module")
def files(studio):
    """Uploads: a photo, a crop, a latent, and others."""
    paths = [new_file("a.png"), new_file("b.png"), new_file("c.safetensors")]
    paths[0].write_bytes(EXAMPLES[0].read_bytes())
    studio.align(EXAMPLES[0])[0].image.save(paths[1])
    studio.sample(1).save(paths[2])
    return [as_file(str(path)) for path in (*paths, EXAMPLES[0], paths[0].parent, "", "\0", "http://localhost/")]


FITTING = {
    "steps": st.integers(1, 2),
    "seed": st.integers(0, 99),
    "which": st.just(0),
    "prompt": st.just("a smiling face"),
    "text": st.just("make her smile"),
    "regions": st.just([]),
    "sliders": st.just([["smiling face", "face", 1.0]]),
    "target": st.just("smiling face"),
    "neutral": st.just("face"),
    "mapper": st.sampled_from(["levels", "stylespace"]),
    "style": st.just("rough"),
    "space": st.sampled_from(["w", "w+", "s"]),
    "through": st.sampled_from(["encoder", "clip"]),
    "levels": st.lists(st.sampled_from(["coarse", "medium", "fine"]), min_size=1),
    "aligned": st.just(False),
    "tune": st.booleans(),
}


def fitting(endpoint, files) -> st.SearchStrategy[dict]:
    """Arguments that an endpoint takes."""
    parameters = inspect.signature(endpoint).parameters
    given_files = {"photo": files[0], "edited": files[1], "latent": files[2], "other": files[2]}
    fields = {}
    for name, parameter in parameters.items():
        usual = st.just(given_files[name]) if name in given_files else FITTING.get(name, st.floats(0, 1))
        fields[name] = st.none() | usual if parameter.default is None else usual
    if parameters.get("photo") and parameters["photo"].default is None:
        fields["photo"], fields["latent"] = st.none(), st.just(files[2])
    if "threshold" in parameters:
        fields["threshold"] = st.none()
    return st.fixed_dictionaries(fields)


@pytest.mark.parametrize("name", api.ANSWERS)
def test_any_parameters_get_a_result_or_a_sentence(aligned_studio, files, monkeypatch, name):
    monkeypatch.setattr(jobs, "LONGEST_RUN", 0.5)
    monkeypatch.setattr(jobs.Scheduler, "others_wait", lambda _: True)
    endpoint = getattr(api.Programs(ModelHandle(aligned_studio)), name)
    names = list(inspect.signature(endpoint).parameters)
    if not names:
        assert endpoint()
        return
    odd = st.dictionaries(st.sampled_from(names), JUNK | st.sampled_from(files), max_size=2)
    results = []

    @settings(max_examples=50, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(fitting(endpoint, files), odd)
    def answered(fields, odd):
        try:
            answer = endpoint(**fields | odd)
            *_, answer = answer if inspect.isgenerator(answer) else [answer]
        except UserError as error:
            assert str(error).endswith(".") and len(str(error)) < 300
            results.append(str(error))
        else:
            results.append("")
            json.dumps(answer[-1])
            assert Path(answer[0].path).stat().st_size > 100
            assert len(answer) == 2 or Latent.load(answer[1].path)

    answered()
    assert "" in results and len(set(results)) > 2, set(results)
