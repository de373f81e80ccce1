"""Addresses that hold a picture's edits: what goes in comes out, or it is said what is left out."""

from urllib.parse import parse_qsl

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import UserError
from pipeline.methods.regions import MASK_SIZE, checked_regions
from webapp.links import LONGEST, edits_of, query_of

PAIR = {"target": "face with blonde, long hair", "neutral": "face & hair = ?"}
OPTIMIZE = {"prompt": "a man", "neutral": "", "space": "s", "steps": 7, "l2": 0.0001, "identity": 0.0, "lr": 0.05}
EDITS = [
    ("direct", PAIR | {"strength": -1.5, "channels": 40}),
    ("direct", PAIR | {"strength": 3.0, "threshold": 0.123}),
    ("csla_edit", PAIR | {"strength": 0.3, "levels": ["coarse", "fine"]}),
    ("map", {"mapper": "afro", "strength": 0.1}),
    ("optimize", OPTIMIZE | {"noise": 0.5}),
]
KEEPING = ("direct", PAIR | {"strength": 3.0, "channels": 40, "keep": ["glasses", "a beard"]})
GENERATE = ("generate", {"prompt": "a hat", "steps": 3, "space": "w", "noise": 0.0})
# A mask whose file has an empty part behind the picture, which Pillow's readers stumble over.
STUMBLING = (
    "iVBORw0KGgoAAAANSUhEUgAAAEAAAABACAAAAACPAi4CAAAAKUlEQVR42u3MQREAAAwCIPuX1hD77SAA6VEEAoFAIBAIBAKBQCAQfA8Gpwvw4qrw"
    "DDIAAAAAZ0FNQbLhtx8AAAAASUVORK5CYII"
)


def recipe(method, parameters, **more):
    return {"method": method, "model": "demo", "source": "", "parameters": parameters, "weights": {}} | more


def asked(query: str):
    return edits_of(dict(parse_qsl(query, keep_blank_values=True)))


@pytest.mark.parametrize(("method", "parameters"), [*EDITS, KEEPING, GENERATE])
def test_a_link_holds_all_that_an_edit_was_made_with(method, parameters):
    query, left_out = query_of([recipe(method, parameters)])
    assert asked(query) == [(method, parameters)] and not left_out
    assert query.startswith(f"method={method}&")


def test_a_link_holds_the_whole_stack():
    first = ("csla_generate", {"prompt": "an old man", "neutral": "face", "strength": 0.3})
    stack = [recipe(*first), recipe(*EDITS[0], share=0.5), *(recipe(*edit) for edit in EDITS[1:])]
    query, left_out = query_of(stack)
    assert asked(query) == [first, (EDITS[0][0], EDITS[0][1] | {"share": 0.5}), *EDITS[1:]]
    assert len(query) < LONGEST and not left_out


def test_what_a_link_leaves_out_is_said():
    last = recipe(*EDITS[3])
    for earlier, why in (
        ([recipe("map", {"mapper": "Mine", "strength": 1.0, "file": "0123"})], "a file of yours"),
        ([recipe("refine", {"steps": 40})], "a file of yours or a photo"),
        ([recipe(*EDITS[4])], "takes long, and no link starts it"),
        ([recipe("direct", PAIR | {"target": "a beard " * 20, "strength": 1.0, "channels": 3})] * 12, "too long"),
        ([recipe(*EDITS[3])] * 25, "too long"),
    ):
        query, left_out = query_of([*earlier, last])
        assert asked(query) == [EDITS[3]]
        assert f"newest of {len(earlier) + 1} edits" in left_out and why in left_out and "recipe" in left_out
    for method, parameters in (("tune", {"steps": 80}), ("map", {"mapper": "Mine", "strength": 1.0, "file": "0123"})):
        assert query_of([last, recipe(method, parameters)]) == ("", "")
    assert query_of([]) == ("", "")


def test_a_link_holds_sliders_and_none_that_are_no_sliders():
    sliders = [{"target": "smiling face", "neutral": "face", "strength": 4.0}]
    parameters = {"sliders": sliders, "channels": 40, "limit": 3.5}
    query, left_out = query_of([recipe("combine", parameters)])
    assert asked(query) == [("combine", parameters)] and not left_out
    for junk in ("[" * 5000, "7", '[["a","b"]]', '[["a","b",1e9]]', "null"):
        with pytest.raises(UserError):
            asked(f"method=combine&sliders={junk}")
    eased = recipe(*EDITS[3], within={"regions": ["hair"], "share": 0.5})
    assert query_of([eased]) == ("", "")  # a link has no place for the share


def test_a_link_tells_the_regions_that_an_edit_is_held_to():
    held = recipe(*EDITS[3], within={"regions": ["hair", "face"]})
    query, _ = query_of([held])
    assert query.endswith("within=hair,face")
    assert asked(query) == [(EDITS[3][0], EDITS[3][1] | {"within": ["hair", "face"]})]
    with pytest.raises(UserError, match="not whole"):
        asked(query.replace("hair", "elbow"))


def test_a_link_holds_what_was_painted_unless_that_is_too_long():
    dots = np.random.default_rng(0).integers(0, 256, (MASK_SIZE, MASK_SIZE), np.uint8)
    for mask, fits in ((Image.new("L", (256, 256), 200), True), (Image.fromarray(dots), False)):
        regions = checked_regions(["hair", mask])
        query, left_out = query_of([recipe(*EDITS[3], within={"regions": regions})])
        assert len(query) <= LONGEST and bool(left_out) is not fits
        assert asked(query) == [(EDITS[3][0], EDITS[3][1] | {"within": regions if fits else ["hair"]})]
    assert "leaves out what you painted" in left_out and "recipe" in left_out
    everywhere, _ = query_of([recipe(*EDITS[3], within={"regions": regions[1:]})])
    assert asked(everywhere) == [EDITS[3]]
    for junk in ("painted.", "painted.AAAA", "painted.%", "painted./etc/passwd", "painted." + "A" * 5000):
        with pytest.raises(UserError, match="not whole"):
            asked(f"method=map&mapper=afro&within={junk}")


def test_links_with_the_old_names_of_methods_are_understood():
    assert asked("method=imagine&prompt=a+man&2.method=bridge&2.target=a&2.neutral=b") == [
        ("csla_generate", {"prompt": "a man"}),
        ("csla_edit", {"target": "a", "neutral": "b"}),
    ]


@pytest.mark.parametrize(
    "query",
    [
        "method=nonsense",
        "method=map",
        "method=direct&target=a",
        "method=direct&target=a&neutral=b&threshold=0.1&channels=4",
        "method=optimize&prompt=a&space=z",
        "method=optimize&prompt=a&steps=",
        "method=optimize&prompt=a&2.method=map&2.mapper=afro",
        "method=map&mapper=afro&2.method=csla_generate&2.prompt=a",
        "method=map&mapper=afro&2.method=map",
        "method=map&mapper=afro&2.method=refine",
        f"method=map&mapper=afro&within=painted.{STUMBLING}",
        "method=map&mapper=afro" + "".join(f"&{number}.method=map&{number}.mapper=afro" for number in range(2, 22)),
    ],
)
def test_a_link_that_is_not_whole_is_told(query):
    with pytest.raises(UserError, match="not whole"):
        asked(query)


def test_numbers_that_no_edit_has_are_told():
    for odd in ("strength=nan", "strength=1e9", "channels=0", "channels=nan", "share=inf", f"channels={'9' * 310}"):
        with pytest.raises(UserError, match="out of range|not whole"):
            asked(f"method=direct&target=a&neutral=b&{odd}")
    assert asked("utm_source=mail") == []
