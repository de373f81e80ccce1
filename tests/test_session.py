"""What one visitor has: edits go to the picture that they were made from, whatever was chosen meanwhile."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace

import pytest
from PIL import Image

from pipeline import Edit
from pipeline.errors import UserError
from pipeline.models.registry import read_registry
from pipeline.wishes import Wish
from tests.visits import event_of
from webapp.example_faces import DRAWINGS, PHOTOGRAPHS
from webapp.history import DetectedFace, HistoryItem, Line
from webapp.page import build
from webapp.panels import likeness, photo
from webapp.panels.result import mean_face
from webapp.pictures import MOST_ITEMS, PHOTO
from webapp.session import Session


@pytest.fixture
def session(studio):
    session = Session()
    latent = studio.sample(0)
    session.start_from(HistoryItem.of(studio.image(latent), "A face", latent))
    return session


def edited(studio, session, target="smiling face"):
    source = session.base("direct", target=target, neutral="face")
    edit = studio.direct(source, target, "face", 2.0, channels=20)
    return source, edit


def another_face(studio, session, seed=1):
    latent = studio.sample(seed)
    session.start_from(HistoryItem.of(studio.image(latent), f"Face {seed}", latent))


def test_edits_stack_and_the_same_words_adjust(studio, session):
    session.keep(*edited(studio, session))
    session.keep(*edited(studio, session))
    assert [item.title for item in session.strip] == ["A face", "smiling face"]
    session.keep(*edited(studio, session, "face with glasses"))
    assert [recipe["parameters"]["target"] for recipe in session.current.recipes] == [
        "smiling face",
        "face with glasses",
    ]
    session.undo()
    assert session.current.title == "smiling face"
    session.redo()
    assert session.current.title == "face with glasses" and session.before.title == "A face"


def test_the_same_wish_again_is_the_same_picture_and_a_new_strength_has_its_words(studio, session):
    for said, share, target in (("a bit older", 0.5, "old face"), ("older", 1.0, "old face"), ("glasses", 1.0, "b")):
        wish = Wish(said, target, "face", share)
        source = session.base_of(session.current, wish)
        edit = studio.adjust(source, studio.direct(source, target, "face"), share)
        session.keep(source, edit, begun=session.current, wish=wish)
    assert [item.title for item in session.strip] == ["A face", "older", "glasses"]
    older, glasses = session.strip[1:]
    assert (older.wish.share, older.share, older.recipes[-1]["name"]) == (1.0, 1.0, "older")
    session.rename(older.key, "Grandma")
    assert [recipe["name"] for recipe in session.items[glasses.key].recipes] == ["Grandma", "glasses"]


def test_a_face_from_a_photo_is_compared_with_it_until_something_else_is_chosen(studio, session, drawn_faces):
    photo.start(studio, session, [DetectedFace.of("one.png", studio.align(drawn_faces[0][0])[0])])
    face, crop = session.current, session.current.detected.crop
    assert session.beside_photo and session.before_picture == crop
    session.keep(*edited(studio, session))
    assert session.before_picture == face.picture
    session.compared = PHOTO
    assert session.before_picture == crop
    session.keep(*edited(studio, session, "face with glasses"))
    assert session.before_picture == crop
    another_face(studio, session)
    assert not session.beside_photo and session.before_picture == session.current.picture


def test_an_edit_of_a_face_that_is_gone_is_left_out(studio, session):
    late = edited(studio, session)
    another_face(studio, session)
    with pytest.raises(UserError, match="meanwhile"):
        session.keep(*late)
    assert [item.title for item in session.strip] == ["Face 1"]


def test_a_photo_is_inverted_while_another_is_chosen_and_knows_its_faces(studio, session, drawn_faces, tmp_path):
    def photo_of(count):
        return [DetectedFace.of(str(tmp_path / "photo.png"), studio.align(drawn_faces[0][0])[0]) for _ in range(count)]

    class Slow:
        """A studio whose visitor chooses an example while their photo is inverted."""

        def __getattr__(self, name):
            return getattr(studio, name)

        def invert(self, face):
            photo.start(studio, session, photo_of(1))
            return studio.invert(face)

    photo.start(Slow(), session, photo_of(2))
    assert photo.note(session).count("2 faces found.") == 1 and len(session.faces) == 2


def test_handlers_that_change_a_visit_at_once_leave_it_whole(studio, session):
    """One takes other faces, one edits them, one deletes and undoes; the page is drawn meanwhile."""
    latents = [studio.sample(seed) for seed in range(3)]
    faces = [HistoryItem.of(studio.image(latent, 16), f"Face {seed}", latent) for seed, latent in enumerate(latents)]

    def repeatedly(act):
        for number in range(60):
            with suppress(UserError):
                act(number)

    def edit(number):
        source = session.base("direct", target=f"words {number % 2}", neutral="face")
        recipe = {
            "method": "direct",
            "parameters": {"target": f"words {number % 2}", "neutral": "face", "strength": 1.0},
        }
        session.keep(source, Edit(lambda: Image.new("RGB", (8, 8)), latents[number % 3], recipe))

    def draw(number):
        assert session.current and session.before and session.origin and session.strip

    acts = [
        lambda number: session.start_from(replace(faces[number % 3], key=f"{number}")),
        edit,
        lambda number: session.delete() if number % 3 else session.undo(),
        draw,
    ]
    with ThreadPoolExecutor(len(acts)) as handlers:
        list(handlers.map(repeatedly, acts))
    known = {*session.order, *session.deleted}
    assert {session.cursor, *session.undo_keys, *session.redo_keys} <= known and len(known) <= MOST_ITEMS
    assert known | {session.origin_of(session.items[key]).key for key in known} == session.items.keys()


def test_an_item_that_a_handler_holds_stays_as_it_was(studio, session):
    session.keep(*edited(studio, session))
    item = session.current
    title, latent, recipes = item.title, item.latent, item.recipes
    session.rename(item.key, "Mine")
    source, edit = edited(studio, session)
    session.redraw(item, 0.5, source.towards(edit.latent, 0.5), edit.image)
    assert (session.current.title, session.current.share) == ("Mine", 0.5)
    session.keep(source, edit)
    assert session.current == item and (item.title, item.latent, item.recipes) == (title, latent, recipes)
    drawn = session.current
    session.redraw(item, 0.2, source, edit.image)  # comes late, of a try that another one has replaced
    assert session.current is drawn


def test_of_several_choices_the_newest_counts_but_not_one_that_failed(session):
    with session.choices.making(1) as first:
        with pytest.raises(UserError), session.choices.making(2):
            raise UserError("No face was found.")
        assert first()
    with ThreadPoolExecutor(1) as elsewhere, session.choices.making(3) as third:
        with pytest.raises(UserError), session.choices.making(4):
            waits = elsewhere.submit(third)  # it is done before the newer one, which may still fail
            raise UserError("No face was found.")
        assert waits.result(60)
    with session.choices.making(6) as sixth, session.choices.making(5) as fifth:  # threads may begin in another order
        assert sixth() and not fifth()
    with session.choices.making(0) as late:
        assert not late()
    assert session.choices.pending == []


def test_edits_of_a_face_that_the_visitor_let_go_meanwhile_are_left_out(studio, session):
    face = session.current
    another_face(studio, session)
    with pytest.raises(UserError, match="meanwhile"):
        session.resume(face)
    assert session.current.title == "Face 1"
    session.keep(*edited(studio, session))
    face = session.origin
    session.go(face)
    session.delete()
    session.keep(*edited(studio, session, "old face"))  # of an edit whose face was deleted
    session.resume(face)
    session.keep(*edited(studio, session, "angry face"))
    assert session.origin == face and face in session.strip


def test_undo_brings_deleted_pictures_back_to_their_places(studio, session):
    for target in ("smiling face", "old face"):
        session.keep(*edited(studio, session, target))
    strip = list(session.strip)
    session.go(strip[0])
    session.delete()
    session.delete()
    assert session.strip == [strip[2]]
    for _ in range(2):
        session.undo()
    assert session.strip == strip and session.current == strip[0] and not session.deleted
    session.redo()
    assert session.strip == strip


def test_deleted_pictures_are_the_first_to_make_room(studio, session):
    for number in range(MOST_ITEMS - 2):
        session.keep(*edited(studio, session, f"face number {number}"))
    for _ in range(3):
        session.delete()
    strip = list(session.strip)
    for number in range(3):
        session.keep(*edited(studio, session, f"another face, number {number}"))
    assert session.strip[: len(strip)] == strip and len(session.deleted) == 1
    assert {item.key for item in session.strip} | session.deleted.keys() >= set(session.undo_keys)


def test_faces_from_photos_are_called_by_their_files(studio, session, drawn_faces):
    def taken(path, count=1, number=0, example=False):
        found = [DetectedFace.of(path, studio.align(drawn_faces[0][0])[0], example=example) for _ in range(count)]
        photo.start(studio, session, found, number)
        session.keep(*edited(studio, session, f"face {len(session.strip)}"))
        return session.origin.title

    assert taken("/tmp/secret/holiday in\u202e\nRome.jpg") == "holiday in Rome"
    assert taken("/tmp/another/holiday in Rome.png") == "holiday in Rome (2)"
    assert taken("two.jpg", count=2, number=1) == "two, face 2"
    assert taken("/tmp/secret/" + "x" * 300) == "x" * photo.LONGEST_NAME
    assert taken(str(DRAWINGS[2].path), example=True) == "Example 3"
    assert taken(str(PHOTOGRAPHS[1].path), example=True) == "Example 2"


def test_who_brings_a_photo_to_drawn_faces_is_told(studio, monkeypatch):
    assert photo.drawing_line(studio) == ""
    drawings = SimpleNamespace(family=SimpleNamespace(row=read_registry()["demo"]))
    line = photo.drawing_line(drawings)
    assert "drawn faces only" in line
    assert all(f"“{read_registry()[name].title}”" in line for name in ("photo", "ffhq"))


def test_an_edit_goes_behind_the_picture_that_it_was_made_from(studio, session):
    session.keep(*edited(studio, session))
    late = edited(studio, session, "old face")
    another_face(studio, session)
    session.keep(*late)
    assert session.origin.title == "A face" and len(session.current.recipes) == 2


def test_an_optimization_is_kept_when_a_slider_changed_the_edit_that_it_began_with(studio, session):
    session.keep(*edited(studio, session))
    source = session.base("optimize", prompt="an old face")
    moved = session.base("direct", target="smiling face", neutral="face")
    session.keep(moved, studio.direct(moved, "smiling face", "face", 3.0, channels=20))
    *_, step = studio.optimize(source, "an old face", steps=1)
    session.keep(source, step.edit)
    first, second = session.current.recipes
    assert (first["parameters"]["strength"], second["method"]) == (2.0, "optimize")
    assert [item.title for item in session.strip] == ["A face", "smiling face", "an old face"]


def test_a_face_stays_on_the_strip_if_anything_was_made_of_it(studio, session):
    session.keep(*edited(studio, session))
    for seed in (1, 2, 3):
        another_face(studio, session, seed)
    assert [item.title for item in session.strip] == ["A face", "smiling face", "Face 3"]
    session.undo()
    assert session.current.title == "smiling face"


def test_the_strip_is_bounded_and_keeps_the_current_picture_and_its_face(studio, session):
    for number in range(MOST_ITEMS + 5):
        session.keep(*edited(studio, session, f"face number {number}"))
    assert len(session.strip) == MOST_ITEMS
    assert session.current in session.strip and session.origin in session.strip


def test_coming_closer_is_offered_for_people_in_photos_only(studio, session, drawn_faces, tmp_path):
    face = studio.align(drawn_faces[0][0])[0]
    panel = photo.Photo(
        *"photo working examples random faces keys crop inversion note".split(), SimpleNamespace(row="closer")
    )
    assert not photo.draw(panel, studio, session)["closer"]["visible"]  # a made-up face
    latent = studio.invert(face)
    detected = DetectedFace.of(str(tmp_path / "photo.png"), face)
    session.start_from(HistoryItem.of(studio.image(latent), "The photo", latent, detected=detected))
    assert photo.draw(panel, studio, session)["closer"]["visible"]
    cars = SimpleNamespace(family=SimpleNamespace(faces=None, encoder=studio.family.encoder))
    drawn = photo.draw(panel, cars, session)
    assert drawn["crop"]["visible"] and not drawn["closer"]["visible"]


def mixed(studio, session, seed=1):
    line = Line(session.current.latent, studio.sample(seed), 0.5, (session.current.title, "Another"))
    session.mix(line, studio.image(line.start.towards(line.end, 0.5)))


def test_a_mixture_is_a_face_to_begin_with_and_stays_with_the_one_it_was_made_of(studio, session):
    mixed(studio, session)
    assert (session.current.title, session.current.share) == ("A face + Another", 0.5)
    assert session.current.details == "50% “A face”, 50% “Another”" and session.before.title == "A face"
    session.keep(*edited(studio, session))
    assert len(session.current.recipes) == 1 and session.origin.is_mixture
    session.undo()
    session.undo()
    another_face(studio, session)
    assert [item.title for item in session.strip] == ["A face", "A face + Another", "smiling face", "Face 1"]


def test_a_mixture_is_compared_with_what_it_was_made_of_and_nothing_else_is(studio, session):
    session.keep(*edited(studio, session))
    mixed(studio, session)
    assert session.before.title == "smiling face"
    session.undo()
    assert (session.current.title, session.before.title) == ("smiling face", "A face")
    session.redo()
    session.compared = session.strip[0].key  # the visitor's own choice
    assert session.before.title == "A face"

    # What it was made of may leave the strip, also while the mixture comes.
    while len(session.strip) < MOST_ITEMS:
        session.keep(*edited(studio, session, f"face number {len(session.strip)}"))
    oldest = session.strip[1]
    session.go(oldest)
    mixed(studio, session)
    assert oldest not in session.strip and session.before in session.strip


def test_the_names_of_mixtures_do_not_grow(studio, session):
    for _ in range(3):
        mixed(studio, session)
    assert [item.title for item in session.strip[1:]] == ["A face + Another", "Mixture", "Mixture"]


def test_a_face_from_words_has_a_recipe_and_a_strength_that_leads_to_the_mean_face(studio, session):
    edit = next(studio.generate("a face", steps=1)).edit
    session.keep(mean_face(studio), studio.adjust(mean_face(studio), edit, 0.5), whole=edit.latent)
    start, whole = session.current.line.start, session.current.line.end
    assert (session.current.share, start.digest()) == (0.5, edit.recipe["source"])
    assert whole is edit.latent
    session.keep(*edited(studio, session))
    assert [recipe["method"] for recipe in session.current.recipes] == ["generate", "direct"]
    assert session.origin == session.strip[1]


def test_an_edit_that_comes_late_does_not_take_the_place_of_a_mixture(studio, session):
    late = edited(studio, session)
    mixed(studio, session)
    session.keep(*late)
    assert [item.title for item in session.strip] == ["A face", "A face + Another", "smiling face"]
    assert session.origin.title == "A face"


@pytest.mark.parametrize("known", [None, "drawings", "photographs"])
@pytest.mark.parametrize(
    ("example", "kind"), [(DRAWINGS[0], "drawings"), (PHOTOGRAPHS[0], "photographs"), (None, "photographs")]
)
def test_likeness_is_told_only_of_pictures_on_which_it_was_shown_to_hold(
    known, example, kind, studio, drawn_faces, tmp_path, monkeypatch
):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    face = studio.align(drawn_faces[0][0])[0]
    family = SimpleNamespace(family=SimpleNamespace(row=SimpleNamespace(likeness=known)), likeness=studio.likeness)
    found = DetectedFace.of(str(example.path) if example else "photo.png", face, example=example is not None)
    assert ("identity" in likeness.line(family, found, studio.invert(face))) == (known == kind)


def test_a_registry_says_of_which_pictures_likeness_holds():
    rows = read_registry()
    assert (rows["demo"].likeness, rows["ffhq"].likeness, rows["custom"].likeness) == ("drawings", "photographs", None)


def test_a_name_is_kept_by_every_recipe_that_has_the_edit(studio, session):
    source, edit = edited(studio, session)
    session.keep(source, edit)
    smile = session.current

    def now():
        return session.strip[1]

    session.keep(smile.latent, studio.map(smile.latent, "levels"))
    session.go(smile)
    session.rename(smile.key, "  Wry\n smile\ud800 ")
    assert now().title == "Wry smile"
    assert [recipe.get("name") for recipe in session.strip[-1].recipes] == ["Wry smile", None]
    session.keep(source, studio.adjust(source, edit, 0.5), whole=edit.latent)  # another try, as a slider makes
    assert now().title == "Wry smile" and now().recipes[-1]["name"] == "Wry smile"
    session.rename(smile.key, " ")
    assert now().title == "Wry smile"


def test_a_link_to_an_edit_of_no_strength_keeps_what_its_slider_leads_to(studio, session):
    page = build(studio)
    edit = {"method": "direct", "target": "smiling face", "neutral": "face", "strength": "2", "channels": "20"}
    edit |= {"limit": "3.5"}
    page.fns[event_of(page, "arrive")].fn(session, SimpleNamespace(query_params=edit | {"share": "0"}))
    _, whole = edited(studio, session)
    assert session.current.share == 0 and session.current.line.end.digest() == whole.latent.digest()
