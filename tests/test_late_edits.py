"""What comes late, while the visitor has gone on: it goes where it was asked for, and changes nothing else."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest
from PIL import Image

from pipeline import StyleCLIP
from pipeline.errors import UserError
from tests.pictures import EXAMPLES
from tests.test_session import another_face, edited, session  # noqa: F401
from tests.visits import event_of
from webapp import model_handle
from webapp.history import DetectedFace
from webapp.jobs import LongJob
from webapp.page import build
from webapp.panels import photo
from webapp.panels.chooser import chosen, keys_of


def test_a_late_edit_does_not_take_the_place_of_another_edit(studio, session):  # noqa: F811
    session.keep(*edited(studio, session))
    face, smile = session.strip
    session.go(face)
    session.keep(*edited(studio, session, "face with glasses"))
    glasses = session.current
    for begun in (smile, face):
        session.go(begun)
        late = edited(studio, session)
        session.go(glasses)
        session.keep(*late)
        told = [[recipe["parameters"]["target"] for recipe in item.recipes] for item in session.strip]
        assert told[2] == ["face with glasses"] and told[-1] == ["smiling face"]
        session.undo()
        assert session.current is glasses


def test_a_name_goes_to_the_picture_whose_field_it_was_typed_in(studio, session):  # noqa: F811
    face = session.current
    session.keep(*edited(studio, session))
    session.rename(face.key, "Ann")  # the visitor has pressed the next thumbnail already
    session.rename("no key", "Bob")
    assert [item.title for item in session.strip] == ["Ann", "smiling face"]


def test_what_comes_while_another_picture_is_looked_at_changes_nothing_but_the_strip(studio, session):  # noqa: F811
    begun = session.current
    late = edited(studio, session)
    session.keep(*edited(studio, session, "old face"))
    session.keep(*edited(studio, session, "face with glasses"))
    session.undo()
    looking, undo, redo = session.current, session.undo_keys, session.redo_keys
    kept = session.keep(*late, begun=begun)
    assert session.strip[-1] == kept and kept.parent == begun.key and redo
    assert (session.current, session.undo_keys, session.redo_keys) == (looking, undo, redo)
    session.go(begun)
    session.delete()
    undo = session.undo_keys
    with pytest.raises(UserError, match="meanwhile"):
        session.keep(*late, begun=begun)
    assert session.undo_keys == undo


def handler(studio, name, panel=""):
    """The handler of this name of the page itself, as its events call it; of a panel, where several have one."""
    page = build(studio)
    if not panel:
        return page.fns[event_of(page, name)].fn
    of_panel = [fn.fn for fn in page.fns.values() if fn.fn and fn.fn.__module__ == f"webapp.panels.{panel}"]
    return next(fn for fn in of_panel if fn.__name__ == name)


def test_a_slider_edits_the_picture_that_it_was_moved_on(studio, session, monkeypatch):  # noqa: F811
    session.keep(*edited(studio, session))
    count, threshold = handler(studio, "count"), StyleCLIP.threshold

    def late(*args):
        if session.origin.title == "A face":
            another_face(studio, session)
        return threshold(*args)

    monkeypatch.setattr(StyleCLIP, "threshold", late)
    list(count("old face", "face", 2.0, [], 30, session))
    assert [item.title for item in session.strip] == ["A face", "smiling face", "Face 1", "old face"]
    assert session.origin.title == "A face"


def test_a_slider_edits_the_picture_in_the_regions_that_it_was_moved_in(studio, session, monkeypatch):  # noqa: F811
    """Meanwhile the visitor wants the same edit in another place."""
    half = Image.new("L", (64, 64))
    half.paste(255, (0, 0, 32, 64))
    face, threshold = session.current.latent, StyleCLIP.threshold
    session.keep(face, studio.direct(face, "old face", "face", 2.0, channels=20))
    held = studio.direct(face, "old face", "face", 2.0, channels=20, regions=[half])

    def late(*args):
        session.keep(face, held)
        return threshold(*args)

    count = handler(studio, "count")
    monkeypatch.setattr(StyleCLIP, "threshold", late)
    list(count("old face", "face", 2.0, [], 30, session))
    recipe = session.current.recipes[-1]
    assert session.current.channels == 30 and "within" not in recipe


def test_a_run_whose_page_was_loaded_again_leaves_the_newer_run_its_record(studio, session):  # noqa: F811
    run = handler(studio, "optimize")("a face with a hat", "This face", 300, 0.01, 0.01, session)
    next(run)
    session.page, session.run = "loaded again", (newer := {"prompt": "an old face"})
    list(run)
    assert session.run is newer


def test_who_looks_at_another_face_goes_on_there_when_a_face_is_refined(studio, session, drawn_faces, monkeypatch):  # noqa: F811
    another = session.current
    session.keep(*edited(studio, session))
    photo.start(studio, session, [DetectedFace.of("one.png", studio.align(drawn_faces[0][0])[0])])
    session.keep(*edited(studio, session, "old face"))
    monkeypatch.setattr(LongJob, "is_over_time", True)
    run = handler(studio, "refine")(session)
    next(run)
    session.go(another)
    list(run)
    assert session.current == another and session.strip[-1].title == "Refined face"
    assert "this run ended after 5 minutes" in session.strip[-1].face_note


def test_the_gallery_of_mappers_waits_while_others_compute_and_ends_with_its_face(studio, session):  # noqa: F811
    page = build(studio)
    draw, jobs = page.fns[event_of(page, "draw")].fn, page.studio.jobs
    drawing = draw(session)
    grey = next(drawing)
    assert len({picture for picture, _ in grey}) == 1
    with ThreadPoolExecutor(1) as thread:
        with jobs.interactive():
            waiting = thread.submit(next, drawing)
            while not jobs._waiting:  # until it asks for its turn, which it gets when this one is over
                assert not waiting.done()
        assert waiting.result(60)[0] != grey[0] and waiting.result()[1] == grey[1]
    another_face(studio, session)
    assert list(drawing) == [] and not session.shelves["mapper"].thumbs.keys() - {"levels"}
    *_, last = draw(session)
    assert len({picture for picture, _ in last}) == len(studio.mappers())


def test_a_mapper_that_cannot_be_applied_leaves_the_others_their_pictures(studio, session, tmp_path):  # noqa: F811
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no mapper")
    page = build(studio)
    session.shelves["mapper"].files = {"Broken": broken, "Good": Path(studio.family.row.mappers["levels"][1].path)}
    *_, shown = page.fns[event_of(page, "draw")].fn(session)
    pictures = {title: picture for picture, title in shown}
    assert list(pictures)[-2:] == ["Broken · yours · unusable", "Good · yours"]
    assert pictures["Good · yours"] == pictures["Levels"] != pictures["Broken · yours · unusable"]
    apply = handler(studio, "apply", "gallery")
    with pytest.raises(gr.Error, match="holds no mapper"):
        apply("Broken", 0.1, session)


def test_a_gallery_of_mappers_that_waits_says_so_and_holds_no_turn(studio, session, monkeypatch):  # noqa: F811
    page = build(studio)
    (event, run), jobs = (page.fns[event_of(page, name)] for name in ("draw", "optimize")), page.studio.jobs
    assert event.concurrency_id != run.concurrency_id
    drawing = event.fn(session)
    grey = next(drawing)
    monkeypatch.setattr(model_handle, "TELL_EVERY", 0.01)
    with jobs.line(), jobs.batch():
        assert next(drawing) == next(drawing) == gr.skip() and not jobs._waiting
    assert next(drawing)[0] != grey[0]


def test_a_slider_beyond_its_end_stays_there_when_another_is_moved(studio, session):  # noqa: F811
    usual, face = studio.family.defaults, session.current.latent
    full = studio.strength(usual.target, usual.neutral)
    brought = [(usual.target, usual.neutral, 3 * full), ("an old face", "face", 2.123)]
    session.keep(face, studio.combine(face, brought))
    handler(studio, "drawn")(session)  # from now on the visitor has a slider for the second pair
    for family, own, strengths in ((150, 50, (3 * full, 1.062)), (-50, 50, (-full / 2, 1.062))):
        list(handler(studio, "slide", "sliders")(family, own, 0, 0, 0, session))
        made = [slider["strength"] for slider in session.current.recipes[-1]["parameters"]["sliders"]]
        assert made == pytest.approx(strengths, abs=1e-3)


def test_nothing_of_a_visit_that_was_started_over_is_drawn(studio, session):  # noqa: F811
    session.ended = True
    assert handler(studio, "drawn")(session) == handler(studio, "as_before")(session) == gr.skip()


def test_a_thumbnail_is_chosen_by_what_the_browser_shows(studio, session):  # noqa: F811
    """A picture has left the strip, and the browser has not drawn it anew yet."""
    session.keep(*edited(studio, session))
    session.keep(*edited(studio, session, "old face"))
    face, smile, old = session.strip
    keys, second = keys_of(session.strip), SimpleNamespace(index=1)
    session.go(face)
    session.delete()
    assert chosen(session.strip, keys, second) == smile
    session.go(smile)
    session.delete()
    with pytest.raises(UserError, match="can't be chosen"):
        chosen(session.strip, keys, second)
    assert session.current == old


def test_the_photo_is_sent_once_so_that_a_late_answer_takes_no_new_one_away(studio, session, drawn_faces):  # noqa: F811
    """What follows an edit may come while the visitor's next photo is on its way from the browser."""
    page = build(studio)
    field = next(block for block in page.blocks.values() if block.elem_id == "photo")
    followers = [fn for fn in page.fns.values() if fn.name == "drawn" and field in fn.outputs]
    assert followers

    def sent():
        return [fn.fn(session)[field] for fn in followers]

    face = DetectedFace.of("one.png", studio.align(drawn_faces[0][0])[0])
    photo.start(studio, session, [face])
    assert sent() == ["one.png", *[gr.skip()] * (len(followers) - 1)]
    session.keep(*edited(studio, session))
    assert sent() == [gr.skip()] * len(followers)
    another_face(studio, session)
    assert sent()[0] is None
    session.undo()
    assert sent()[0] == "one.png"


@pytest.fixture
def photo_field(studio, session, monkeypatch):  # noqa: F811
    """What the page shows as the photo after events of that field; `meanwhile` runs while a photo is read."""
    page = build(studio)
    field = next(block for block in page.blocks.values() if block.elem_id == "photo")
    handlers = {fn.name: fn.fn for fn in page.fns.values() if field in [*fn.inputs, *fn.outputs]}
    put_away = next(fn.fn for fn in page.fns.values() if fn.name == "put_away")
    meanwhile = []

    def read(path, *_):
        for act in meanwhile:
            act()
        return Path(path).read_bytes()

    monkeypatch.setattr(photo.uploads, "read", read)
    return SimpleNamespace(
        take=lambda path: handlers["take"](path, session),
        sent=lambda: handlers["drawn"](session)[field],
        put_away=lambda: put_away(session),
        meanwhile=meanwhile,
    )


def test_a_new_photo_is_sent_because_a_late_answer_may_have_replaced_it_on_the_page(photo_field):
    photo_field.take(str(EXAMPLES[0]))
    assert photo_field.sent() == str(EXAMPLES[0])
    photo_field.take(str(EXAMPLES[1]))
    assert photo_field.sent() == str(EXAMPLES[1])
    assert photo_field.sent() == gr.skip()


def test_a_photo_that_is_put_away_while_it_is_read_stays_away_and_no_other_goes(photo_field, session):  # noqa: F811
    photo_field.take(str(EXAMPLES[0]))
    assert photo_field.sent() == str(EXAMPLES[0])
    kept, at_the_time = session.origin, []
    photo_field.meanwhile += [photo_field.put_away, lambda: at_the_time.append(photo.shown_photo(session))]
    photo_field.take(str(EXAMPLES[1]))
    assert photo_field.sent() is None and at_the_time == [str(EXAMPLES[0])] and session.origin != kept
    photo_field.meanwhile.clear()
    photo_field.take(str(EXAMPLES[1]))  # the same photo once more
    assert photo_field.sent() == str(EXAMPLES[1])
    photo_field.put_away()
    assert photo.shown_photo(session) is None and photo_field.sent() == gr.skip()
