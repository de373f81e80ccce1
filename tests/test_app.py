"""The page's parts that need no browser."""

import xml.etree.ElementTree as ET

import gradio as gr
import pytest

from pipeline.errors import UserError
from pipeline.models.registry import read_registry
from webapp.error_messages import guard
from webapp.files import file_name
from webapp.lossplot import plot, progress
from webapp.presets import FILE, Pair, presets, tomllib


def test_every_family_has_suggestions():
    rows = read_registry()
    for name, row in rows.items():
        known = presets(name, row.defaults)
        assert known.prompts and known.pairs
    assert presets("cars", rows["cars"].defaults).pairs == (Pair("a car", "a sports car"),)
    assert set(tomllib.loads(FILE.read_text())) <= set(rows)


def test_a_user_error_is_told_as_it_is_but_never_as_markup():
    def handler():
        raise UserError("No <b>face</b>.")

    with pytest.raises(gr.Error, match="No &lt;b&gt;face&lt;/b&gt;."):
        guard(handler)()


def test_a_bug_is_told_by_number_and_logged_in_full(caplog):
    def steps():
        yield 1
        raise RuntimeError("the inside of the machine")

    running = guard(steps)()
    assert next(running) == 1
    with pytest.raises(gr.Error) as told:
        next(running)
    number = caplog.records[0].args[0]
    assert number in told.value.message and "inside" not in told.value.message
    assert "the inside of the machine" in caplog.text


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Face → smiling face!", "face-smiling-face"),
        ("../../etc/passwd", "etc-passwd"),
        ("😀", "edit"),
        ("", "edit"),
    ],
)
def test_file_names_are_harmless(text, name):
    assert file_name(text) == name


def test_the_plot_is_drawn_within_its_frame():
    drawn = ET.fromstring(plot({"CLIP": [0.9, 0.5, 0.4], "λ L2": [0.0, 0.1, 0.2]}, steps=3))
    lines = [line.get("points") for line in drawn.iter("polyline")]
    heights = [float(point.split(",")[1]) for points in lines for point in points.split()]
    assert len(lines) == 2 and min(heights) >= 0 and max(heights) <= 132
    ET.fromstring(plot({"CLIP": []}, steps=1))
    assert "about 4 s left" in progress(2, 10, 4.2) and "left" not in progress(10, 10)
