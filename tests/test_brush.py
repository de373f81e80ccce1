"""What a visitor paints: edits are held to it, and nothing else that a caller sends in its place is taken."""

import base64
from dataclasses import replace
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from pipeline import StyleCLIP
from pipeline.errors import UserError
from pipeline.methods.regions import DRAWN, MASK_SIZE
from tests.programs import as_file
from tests.test_late_edits import handler
from tests.test_session import another_face, session  # noqa: F401
from webapp.history import DetectedFace
from webapp.model_handle import ModelHandle
from webapp.panels import brush

HALF = Image.new("L", (MASK_SIZE, MASK_SIZE))
HALF.paste(255, (0, 0, MASK_SIZE // 2, MASK_SIZE))
LEFT = base64.b64encode(HALF.tobytes()).decode()


def change(before: Image.Image, after: Image.Image) -> tuple[float, float]:
    """The mean change of a picture in its left half and in its last quarter, in grey levels."""
    difference = np.abs(np.asarray(before, float) - np.asarray(after, float)).mean((0, 2))
    return difference[: len(difference) // 2].mean(), difference[-len(difference) // 4 :].mean()


def test_a_run_and_its_moments_are_held_to_what_was_painted(studio, session):  # noqa: F811
    face, take = session.current, handler(studio, "take", "optimization")
    list(handler(studio, "thorough")("smile", brush.PAINTED, LEFT, 4, 0.0001, 0.0, session))
    end = session.current
    assert end.places == "the painted area" and end.recipes[-1]["taken"] == 4
    assert [preview.kept for preview in session.previews] == [None, None, None, end.latent]
    take(SimpleNamespace(index=1), session)
    moment = session.current
    assert moment.recipes[-1]["within"] == end.recipes[-1]["within"] and moment.recipes[-1]["taken"] == 2
    for item in (moment, end):
        inside, outside = change(studio.image(face.latent), studio.image(item.latent))
        assert inside > 2 * outside
    count = len(session.strip)
    for index, item in ((3, end), (1, moment)):  # they are there already
        take(SimpleNamespace(index=index), session)
        assert session.current == item and len(session.strip) == count


def test_with_nothing_painted_nothing_is_done_but_a_sentence_said(studio, session):  # noqa: F811
    face = session.current
    *_, said = handler(studio, "thorough")("smile", brush.PAINTED, "", 4, 0.0001, 0.0, session)
    assert any("Nothing is painted yet" in str(value) for value in said.values())
    assert session.current == face and session.run is None
    empty = base64.b64encode(bytes(MASK_SIZE**2)).decode()
    with pytest.raises(UserError, match="Nothing is painted"):
        brush.regions(brush.PAINTED, empty, session, MASK_SIZE)


def test_what_was_painted_is_kept_for_a_page_that_is_loaded_again(session):  # noqa: F811
    (mask,) = brush.regions(brush.PAINTED, LEFT, session, MASK_SIZE)
    assert mask.startswith(DRAWN) and brush.value_of(session.painted, MASK_SIZE) == LEFT
    assert brush.regions(brush.SAID, LEFT, session, MASK_SIZE) is None
    assert brush.regions(brush.EVERYWHERE, LEFT, session, MASK_SIZE) == ()
    assert brush.value_of(session.painted, MASK_SIZE) == LEFT
    brush.regions(brush.EVERYWHERE, "", session, MASK_SIZE)
    assert brush.value_of(session.painted, MASK_SIZE) == ""


def test_faint_remains_of_what_was_erased_do_not_count(session):  # noqa: F811
    faint = HALF.point(lambda value: value // 16)
    with pytest.raises(UserError, match="Nothing is painted"):
        brush.regions(brush.PAINTED, base64.b64encode(faint.tobytes()).decode(), session, MASK_SIZE)


def test_every_method_is_held_to_what_was_painted_until_another_face_is_chosen(studio, session):  # noqa: F811
    words, place = ("old face", "face"), (brush.PAINTED, LEFT, session)
    handler(studio, "painted")(*place)
    handler(studio, "apply", "directions")(*words, 3.0, [], 200, None, session)
    handler(studio, "apply", "gallery")("levels", 0.1, session)
    list(handler(studio, "slide", "sliders")(100, 0, 0, 0, 0, session))
    list(handler(studio, "optimize")("smile", "This face", 2, 0.0001, 0.0, session))
    made = {recipe["method"]: recipe.get("within") for recipe in session.current.recipes}
    assert list(made) == ["direct", "map", "combine", "optimize"] and None not in made.values()
    handler(studio, "painted")(brush.EVERYWHERE, LEFT, session)
    handler(studio, "apply", "gallery")("levels", 0.1, session)
    assert "within" not in session.current.recipes[-1]

    handler(studio, "painted")(*place)
    another_face(studio, session)
    canvas = {value for block, value in handler(studio, "drawn")(session).items() if block.elem_id == "paint"}
    assert canvas == {""}
    with pytest.raises(gr.Error, match="Nothing is painted"):
        handler(studio, "apply", "directions")(*words, 3.0, [], 200, None, session)


def test_what_was_painted_stays_when_the_face_is_tuned(session):  # noqa: F811
    brush.choose(brush.PAINTED, LEFT, session, MASK_SIZE)
    face, painted = session.current, session.painted
    detected = DetectedFace("photo.png", "crop.png", None, np.zeros((4, 2)))
    session.items[face.key] = replace(face, detected=detected)
    session.add(replace(face, key="tuned", detected=detected))
    assert session.current.key == "tuned" and session.painted == painted


@pytest.mark.parametrize(
    "sent",
    [
        "/etc/passwd",
        "file:///etc/passwd",
        "https://example.com/mask.png",
        DRAWN + "AAAA",
        LEFT[:-4],
        LEFT + "AAAA",
        "é" * 5464,
        7,
        [LEFT],
        as_file("/etc/passwd"),
    ],
)
def test_only_a_mask_is_taken_for_one(session, sent):  # noqa: F811
    with pytest.raises(UserError, match="paint it again"):
        brush.regions(brush.PAINTED, sent, session, MASK_SIZE)


def test_a_held_edit_is_drawn_once(studio, monkeypatch):
    drawn, image = [], StyleCLIP.image
    monkeypatch.setattr(StyleCLIP, "image", lambda *args: drawn.append(args) or image(*args))
    shared, latent = ModelHandle(studio), studio.sample(1)
    edit = shared.map(latent, "levels", 1.0, [HALF])
    assert edit.image and len(drawn) == 1
    assert shared.adjust(latent, edit, 0.5).image and len(drawn) == 2
