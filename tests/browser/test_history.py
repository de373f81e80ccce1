"""A whole visit with edits that build on each other: two faces, the strip, comparing, taking home, coming back."""

import json
import re

import av
import pytest
from PIL import Image
from playwright.sync_api import expect

from pipeline import Latent
from tests.browser.test_page import SLOW, after, changes, open_tab, press, visit  # noqa: F401
from tests.pictures import EXAMPLES


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A photo of two people, taken somewhere with a camera that writes where."""
    photo = Image.new("RGB", (700, 400), (120, 130, 140))
    for x, path in ((20, EXAMPLES[1]), (370, EXAMPLES[4])):
        photo.paste(Image.open(path).convert("RGB").resize((310, 310)), (x, 60))
    exif = Image.Exif()
    exif[0x010F] = "SecretCamera"
    exif.get_ifd(0x8825)[2] = (48.0, 12.0, 0.0)
    path = tmp_path_factory.mktemp("pair") / "pair.jpg"
    photo.save(path, exif=exif, comment=b"SecretPlace", quality=95)
    return path


ENDLESS = {"prompt": "an old face", "steps": 10**9, "l2": 0, "identity": 0, "lr": 0.1, "space": "w", "noise": 0}


def words(page):
    return page.locator("#edit-words textarea")


def taken_home(page, name, folder):
    with page.expect_download(timeout=SLOW) as download:
        press(page, name)
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def bring(page, recipe):
    with page.expect_file_chooser() as chooser:
        press(page, "Bring a recipe or latent")
    chooser.value.set_files(recipe)


def test_edits_build_on_each_other(visit, pair, tmp_path, shown_studio):  # noqa: F811
    # Two faces: the other one is chosen.
    changes(visit, lambda: visit.locator("#photo input[type=file]").set_input_files(pair))
    expect(visit.locator("#photo-note")).to_contain_text("2 faces found")
    expect(visit.locator("#photo-note")).not_to_contain_text("identity")  # which is known of drawings alone
    changes(visit, lambda: visit.locator("#faces button").nth(1).click())
    expect(visit.locator("#strip button")).to_have_count(1)

    # One edit on the other, by two methods; a slider adjusts the last one and adds none.
    changes(visit, lambda: visit.locator("#pairs button").nth(0).click())
    open_tab(visit, "Mappers")
    changes(visit, lambda: visit.locator("#mappers button").nth(7).click())
    changes(visit, lambda: visit.locator("#mapper-strength input[type=range]").press("ArrowLeft"))
    expect(visit.locator("#strip button")).to_have_count(3)
    both = after(visit).get_attribute("src")
    changes(visit, lambda: press(visit, "Undo"))
    expect(words(visit)).to_have_value(re.compile("^smiling face"))
    changes(visit, lambda: press(visit, "Redo"))
    assert after(visit).get_attribute("src") == both

    # Back to the first picture; its name; another picture to compare with; and another strength.
    changes(visit, lambda: visit.locator("#strip button").nth(1).click())
    expect(visit.locator("#shot-name textarea, #shot-name input").first).to_have_value("smiling face")
    name = visit.locator("#shot-name textarea, #shot-name input").first
    name.fill("<b>Happy</b>")
    name.press("Enter")
    expect(words(visit)).to_have_value(re.compile("^<b>Happy</b>"))
    expect(visit.locator("#strip")).to_contain_text("<b>Happy</b>")
    before = visit.locator("#before-after img").first
    old = before.get_attribute("src")
    visit.locator("#compare input").click()
    visit.get_by_role("option", name=re.compile("^3")).click()
    expect(before).not_to_have_attribute("src", old)
    visit.locator("#compare input").click()
    visit.get_by_role("option", name=re.compile("^1")).click()
    expect(before).to_have_attribute("src", old)
    changes(visit, lambda: visit.locator("#share input[type=range]").press("Home"))

    # Taking home: nothing of the camera goes out.
    visit.locator("#strip button").nth(2).click()
    expect(visit.locator("#shot-name textarea, #shot-name input").first).to_have_value("glasses")
    files = {name: taken_home(visit, name, tmp_path) for name in ("PNG", "JPEG", "GIF", "MP4", "Latent", "Recipe")}
    files["Photo"] = taken_home(visit, "In the photo", tmp_path)
    assert len({path.name for path in files.values()}) == len(files)
    assert all(b"Secret" not in path.read_bytes() for path in files.values())
    with Image.open(files["Photo"]) as photo:
        assert photo.size == (700, 400) and not photo.getexif()
    with Image.open(files["GIF"]) as loop, av.open(files["MP4"]) as video:
        assert loop.n_frames > 20 and video.streams.video[0].frames > 20
    latent = Latent.load(files["Latent"])
    recipe = json.loads(files["Recipe"].read_text())
    assert [edit["method"] for edit in recipe["edits"]] == ["direct", "map"]

    # Another face, and the recipe for it; nonsense in its place loses nothing.
    changes(visit, lambda: press(visit, "Random face"))
    expect(visit.locator("#faces")).to_be_hidden()
    changes(visit, lambda: bring(visit, files["Recipe"]))
    expect(visit.locator("#strip button")).to_have_count(6, timeout=SLOW)  # the face before, and this one
    (tmp_path / "odd.json").write_text('{"edits": "none"}')
    bring(visit, tmp_path / "odd.json")
    expect(visit.locator(".toast-body")).to_contain_text("no recipe", timeout=SLOW)
    press(visit, "Close")
    recipe["edits"].append(recipe["edits"][0] | {"method": "optimize", "parameters": ENDLESS, "taken": 10**9})
    (tmp_path / "endless.json").write_text(json.dumps(recipe))
    bring(visit, tmp_path / "endless.json")
    expect(visit.locator(".toast-body")).to_contain_text("out of range", timeout=SLOW)
    press(visit, "Close")
    expect(visit.locator("#strip button")).to_have_count(6)

    # The latent is the picture that was taken home.
    changes(visit, lambda: bring(visit, files["Latent"]))
    expect(words(visit)).to_have_value("glasses")
    with Image.open(taken_home(visit, "PNG", tmp_path)) as again:
        assert again.tobytes() == shown_studio.image(latent).tobytes()
    changes(visit, lambda: press(visit, "Undo"))


def test_a_recipe_gives_the_same_picture_again(visit, tmp_path):  # noqa: F811
    changes(visit, lambda: visit.locator("#examples button").nth(3).click())
    changes(visit, lambda: visit.locator("#pairs button").nth(7).click())
    recipe, picture = (taken_home(visit, name, tmp_path) for name in ("Recipe", "PNG"))
    first = picture.read_bytes()
    changes(visit, lambda: visit.locator("#examples button").nth(3).click())
    changes(visit, lambda: bring(visit, recipe))
    assert taken_home(visit, "PNG", tmp_path).read_bytes() == first


def test_a_link_brings_the_words_and_numbers_back(visit, url):  # noqa: F811
    visit.goto(f"{url}?method=direct&target=old+face&neutral=face&strength=3&threshold=0.2", timeout=SLOW)
    expect(words(visit)).to_have_value(re.compile("^old face\n.*α 3, β 0.2"), timeout=SLOW)
    open_tab(visit, "Global directions")
    expect(visit.locator("#target textarea")).to_have_value("old face")
    visit.goto(f"{url}?method=map&mapper=glasses&strength=0.08", timeout=SLOW)
    expect(words(visit)).to_have_value(re.compile("^glasses\nMapper, strength 0.08"), timeout=SLOW)
    press(visit, "Copy link")
    expect(visit).to_have_url(re.compile(r"\?method=map&mapper=glasses&strength=0.08$"))
    visit.goto(f"{url}?method=optimize&prompt=an+old+person&steps=7&l2=0.0001&identity=0.002", timeout=SLOW)
    expect(visit.locator("#prompt textarea")).to_have_value("an old person", timeout=SLOW)
    expect(visit.locator("#steps input[type=number]")).to_have_value("7")
    changes(visit, lambda: press(visit, "Random face"))  # its answer ends the stream; one cut off is complained of
    for odd in ("method=nonsense", "method=map", "method=direct&target=a&neutral=b&strength=nan"):
        visit.goto(f"{url}?{odd}", timeout=SLOW)
        expect(visit.locator(".toast-body")).to_contain_text(re.compile("link|out of range"), timeout=SLOW)
        expect(after(visit)).to_be_visible()


def test_a_link_holds_the_whole_stack_and_what_has_no_field(visit, url):  # noqa: F811
    stack = "method=direct&target=old+face&neutral=face&strength=3.0&channels=25&share=0.5"
    stack += "&2.method=map&2.mapper=glasses&2.strength=0.08"
    visit.goto(f"{url}?{stack}", timeout=SLOW)
    expect(words(visit)).to_have_value(re.compile("^glasses\nMapper, strength 0.08"), timeout=SLOW)
    expect(visit.locator("#strip button")).to_have_count(4)  # with the strip comes the link
    press(visit, "Copy link")
    expect(visit).to_have_url(f"{url}?{stack}".replace("&share", "&limit=0.0&share"))  # older links had no limit

    run = "prompt=an+old+person&steps=3&l2=0.0001&identity=0.0&lr=0.02&space=w%2B&noise=0.0&neutral="
    visit.goto(f"{url}?method=optimize&{run}", timeout=SLOW)
    brought = "learning rate 0.02, space w+, noise 0.0, compared with nothing."
    expect(visit.locator("#optimization-note")).to_contain_text(brought, timeout=SLOW)
    changes(visit, lambda: press(visit, "Optimize"))
    expect(words(visit)).to_have_value(re.compile("^an old person\n3 steps, λ L2 0.0001, λ ID 0$"), timeout=SLOW)
    press(visit, "Copy link")
    expect(visit).to_have_url(re.compile(r"method=direct&.*&3.method=optimize&.*&3.lr=0.02&3.space=w%2B&3.noise=0.0&"))

    # A link starts no long run, so one that comes earlier is left out, and that is said.
    open_tab(visit, "Mappers")
    changes(visit, lambda: visit.locator("#mappers button").first.click())
    press(visit, "Copy link")
    expect(visit.locator("#take-home-note")).to_contain_text("newest of 4 edits only")


def test_the_likeness_can_be_refined_and_the_generator_tuned(visit):  # noqa: F811
    changes(visit, lambda: visit.locator("#examples button").nth(2).click())
    changes(visit, lambda: visit.locator("#pairs button").nth(3).click())
    edited = words(visit).input_value()

    # The edit that is seen is made again on the refined face.
    press(visit, "Refine likeness")
    expect(visit.locator("#photo-note")).to_contain_text("Your edits were made again on it.", timeout=SLOW)
    assert edited.startswith("face with glasses\n")
    expect(words(visit)).to_have_value(edited)
    expect(visit.locator("#strip button")).to_have_count(4)
    expect(visit.locator("#strip button").nth(2)).to_contain_text("Refined face")
    changes(visit, lambda: visit.locator("#strip button").nth(2).click())
    press(visit, "Tune to this face")
    expect(visit.locator("#likeness-progress progress")).to_be_visible(timeout=SLOW)
    press(visit, "Stop")
    expect(words(visit)).to_have_value(re.compile("^Tuned face"), timeout=SLOW)
    changes(visit, lambda: visit.locator("#pairs button").nth(3).click())
    expect(visit.locator("#strip button")).to_have_count(6)

    # A run of its own is not: it is kept where it is, and said to be.
    open_tab(visit, "Optimization")
    visit.locator("#steps input[type=number]").fill("1")
    changes(visit, lambda: press(visit, "Optimize"))
    press(visit, "Refine likeness")
    expect(visit.locator("#photo-note")).to_contain_text("is on the strip as it was", timeout=SLOW)
    expect(words(visit)).to_have_value(re.compile("^Refined face"))
    expect(visit.locator("#strip button")).to_have_count(8)


def test_another_face_ends_what_is_made_of_the_one_before(visit):  # noqa: F811
    changes(visit, lambda: visit.locator("#examples button").nth(2).click())
    press(visit, "Tune to this face")
    expect(visit.locator("#likeness-progress progress")).to_be_visible(timeout=SLOW)
    changes(visit, lambda: visit.locator("#examples button").nth(3).click())
    expect(visit.locator(".toast-body")).to_contain_text("Another face was chosen", timeout=SLOW)
    press(visit, "Close")
    open_tab(visit, "Optimization")
    visit.locator("#steps input[type=number]").fill("300")
    changes(visit, lambda: press(visit, "Optimize"))
    changes(visit, lambda: visit.locator("#examples button").nth(4).click())
    expect(visit.locator("#optimization-note")).to_contain_text("Another face was chosen", timeout=SLOW)
    expect(visit.locator("#strip button")).to_have_count(1)
    now = after(visit).get_attribute("src")
    expect(visit.locator("#inversion img")).to_have_attribute("src", now, timeout=SLOW)


def test_a_hurried_visitor_gets_what_was_asked_for(visit):  # noqa: F811
    changes(visit, lambda: visit.locator("#pairs button").nth(3).click())
    expect(visit.locator("#shot-name textarea, #shot-name input").first).to_have_value("face with glasses")
    saved = []
    visit.on("download", lambda download: saved.append(download.suggested_filename[-4:]))
    for name in ("PNG", "JPEG"):
        press(visit, name)
    for _ in range(2):
        if len(saved) < 2:
            visit.wait_for_event("download", timeout=SLOW)
    assert sorted(saved) == [".jpg", ".png"]
