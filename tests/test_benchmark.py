"""The benchmark of edits: one command, what it keeps, what it counts, and its rule of strength."""

import contextlib
import io
import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from benchmarks import cells, edits
from benchmarks.cells import Plan, Work, key, strength
from benchmarks.judging import Judge, Seen, verdict
from benchmarks.methods import METHODS
from benchmarks.realism import BELIEVABLE, PALETTE, colour_error, coloured, drawn, drawn_outside
from benchmarks.tables import difference, frechet, interval
from benchmarks.targets import PAIRS
from families.drawn.attributes import attributes, sample_z
from families.drawn.reader import Reader
from families.drawn.renderer import render
from pipeline import StyleCLIP

GLASSES, SMILING = (next(pair for pair in PAIRS if word in pair.target) for word in ("glasses", "smiling"))


@pytest.fixture(scope="module")
def studio() -> StyleCLIP:
    return StyleCLIP.from_pretrained("demo", device="cpu")


@pytest.fixture(scope="module")
def judge(studio) -> Judge:
    return Judge(studio, Reader.from_file())


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[list[str], Path, Path, str]:
    """A finished run on two targets, two faces and two methods: its arguments, what it kept, drew, and printed."""
    kept, folder = tmp_path_factory.mktemp("kept"), tmp_path_factory.mktemp("pictures")
    arguments = ["--faces", "2", "--methods", "directions", "mapper", "--workers", "1"]
    arguments += ["--kept", str(kept), "--folder", str(folder)]
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as printed:
        patch.setattr(edits, "PAIRS", (GLASSES, SMILING))
        patch.setattr(cells, "CHUNK", 16)
        patch.setattr(cells, "HAVING", 2)
        cells.core.cache_clear()
        edits.main(arguments)
    return arguments, kept, folder, printed.getvalue()


def test_one_command_prints_tables_and_writes_figure_and_sheet(run):
    _, _, folder, text = run
    assert "| global directions | 2 × 2 |" in text and "| mapper | 2 × 2 |" in text
    assert "| glasses |" in text and "| smiling |" in text and "| mean |" in text
    with Image.open(folder / "edits.png") as figure, Image.open(folder / "edits.jpg") as sheet:
        assert figure.width > 800 and sheet.width > 300


def test_a_kept_cell_is_not_computed_again(run, monkeypatch, capsys):
    arguments, kept, *_ = run
    lines = (kept / "cells.jsonl").read_text()
    (kept / "cells.jsonl").write_text(lines + '{"key": "a line that was c')
    monkeypatch.setattr(edits, "PAIRS", (GLASSES, SMILING))
    monkeypatch.setattr(Work, "cell", lambda *_: pytest.fail("computed again"))
    edits.main(arguments)
    assert "4 cells, 4 of them kept" in capsys.readouterr().out


def test_another_text_or_amount_of_faces_is_another_cell(run):
    _, kept, *_ = run
    plan, pairs = Plan(2, 2), (GLASSES, SMILING)
    known = {json.loads(line)["key"] for line in (kept / "cells.jsonl").read_text().splitlines()[:4]}
    assert key("mapper", GLASSES, plan, pairs) in known
    others = [
        key("mapper", GLASSES._replace(target="face with spectacles"), plan, pairs),
        key("mapper", GLASSES, Plan(3, 2), pairs),
        key("csla", GLASSES, plan, pairs),
    ]
    assert len({*others, *known}) == 3 + len(known)


def test_the_judge_counts_a_known_edit(judge):
    """The same drawn face, with glasses, and with glasses and a beard: both read, both named."""
    a = attributes(sample_z(400, 11))
    plain = (a["glasses"] == 0) & (a["beard"] == 0) & (a["masculine"] == 1) & (a["bald"] == 0)
    face = {name: value[plain][:1] for name, value in a.items() if value.ndim == 1}
    worn, both = face | {"glasses": torch.ones(1)}, {"glasses": torch.ones(1), "beard": torch.ones(1)}
    both = face | both | {"moustache": torch.ones(1)}
    before, *after = (judge.look(render(numbers, 256)[0]) for numbers in (face, worn, both))
    result = verdict(GLASSES, Seen.joined([before, before, before]), Seen.joined([before, *after]))
    assert result.hits.tolist() == [0, 1, 1]
    assert result.changed[:2].tolist() == [0, 0] and 0 < result.changed[2] < 0.2
    assert [name for name, changed in result.others.items() if changed.any()] == ["beard"]
    assert result.rise[0] == 0 and result.rise[1] > 5 and result.identity[0] > 0.999


def test_a_colour_is_judged_by_the_renderer_s_and_the_rest_by_its_masks():
    seed = next(s for s in range(100) if coloured(s, "hair_colour").float().mean() > 0.05)
    blonde, plain = drawn(seed, PALETTE["hair_colour", "blonde"]), drawn(seed, {})
    assert colour_error(seed, "hair_colour", "blonde", blonde) < 0.5
    assert colour_error(seed, "hair_colour", "black", blonde) > 2 * BELIEVABLE
    lemon = blonde * (1 - coloured(seed, "hair_colour").float()) + torch.tensor([1.0, 0.95, 0.0]).view(3, 1, 1) * (
        coloured(seed, "hair_colour").float()
    )
    assert colour_error(seed, "hair_colour", "blonde", lemon) > BELIEVABLE
    outside = drawn_outside(seed, "face with blonde hair", plain, plain + 0.1)
    assert outside.all == pytest.approx(25.5, rel=0.01) and outside.backdrop == pytest.approx(25.5, rel=0.01)
    assert drawn_outside(seed, "face with blonde hair", blonde, lemon).all < 0.5
    assert drawn_outside(seed, "male face", plain, blonde) is None


def test_the_rule_meets_its_amount_where_a_path_does():
    factors = (0.5, 1.0, 2.0)
    assert strength(factors, [1.0, 3.0, 9.0], 6.0) == (1.5, True)
    assert strength(factors, [2.0, 3.0, 9.0], 1.0) == (0.25, True)
    assert strength(factors, [1.0, 3.0, 2.0], 6.0) == (1.0, False)


def test_methods_edit_as_the_studio_does(studio):
    latent = studio.sample(3)
    for name, edit in (
        ("directions", studio.direct(latent, GLASSES.target, GLASSES.neutral)),
        ("csla", studio.csla_edit(latent, GLASSES.target, GLASSES.neutral)),
        ("mapper", studio.map(latent, "glasses")),
    ):
        method = METHODS[name](studio, Path(), None)
        method.prepare(GLASSES)
        assert method.edit(latent, GLASSES).digest() == edit.latent.digest()


def test_intervals_take_a_face_with_all_that_it_brings():
    values = torch.randn(50, generator=torch.Generator().manual_seed(0)).tolist()
    once, thrice = interval(range(50), values), interval([*range(50)] * 3, values * 3)
    assert once.low < once.mean < once.high
    assert thrice == pytest.approx(once)


def test_methods_are_compared_on_the_same_faces():
    known = {
        ("one", "t"): {"faces": [1, 2, 3], "hits": [1.0, 1.0, 0.0]},
        ("other", "t"): {"faces": [2, 3], "hits": [0.0, 0.0]},
        ("other", "u"): {"faces": [1], "hits": [0.0]},
    }
    result, edits_ = difference(known, "one", "other", "hits")
    assert (result.mean, edits_) == (0.5, 2)


def test_frechet_distance_of_shifted_features():
    features = torch.randn(500, 6, generator=torch.Generator().manual_seed(0))
    assert frechet(features, features) == pytest.approx(0, abs=1e-6)
    assert frechet(features, features + 2) == pytest.approx(24, rel=1e-4)
