"""The endpoints for programs: every example of docs/api.md, and what they answer."""

import asyncio
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from PIL import Image, ImageChops

from pipeline import Latent
from pipeline.methods.regions import drawn_mask
from tests.pictures import EXAMPLES
from tests.programs import MAKER, as_file, served
from webapp import api, jobs
from webapp.api import values
from webapp.page import build

DOCS = Path(__file__).parents[1] / "docs" / "api.md"


@pytest.fixture(scope="module")
def url(demo):
    with served(demo, mcp_server=True) as url:
        yield url


def test_the_examples_of_the_docs_work_as_they_stand(demo, url, tmp_path, monkeypatch, capsys):
    """Run in order in one place; what one prints is what the docs say it prints."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(EXAMPLES[0], "photo.png")
    text, names = DOCS.read_text(encoding="utf-8"), {"__name__": "docs"}
    examples = re.findall(r"```python\n(.*?)```\n(?:```text\n(.*?)```)?", text, re.DOTALL)
    with served(demo, auth=MAKER) as guarded:
        for code, said in examples:
            code = code.replace("http://localhost:7860/", url).replace("http://localhost:7860", url)
            in_a_thread(exec, code.replace("https://studio.example.org", guarded), names)
            assert re.sub(r".*\r", "", capsys.readouterr().out) == said  # of a line that is written over, the last
    documented = set(re.findall(r'api_name="(/\w+)"', text))
    assert documented == {f"/{name}" for name in api.ANSWERS}


def test_the_page_offers_these_and_no_others(demo):
    named = build(demo).get_api_info()["named_endpoints"]
    assert set(named) == {f"/{name}" for name in api.ANSWERS}


def test_every_parameter_is_described(url):
    for name, tool in run(_tools(url)).items():
        assert tool.description and all(field.get("description") for field in tool.inputSchema["properties"].values())
        assert name in api.ANSWERS
        assert all({"type", "oneOf", "enum"} & set(field) for field in tool.inputSchema["properties"].values())


def run(coroutine):
    return in_a_thread(asyncio.run, coroutine)


def in_a_thread(act, *arguments):
    """In a thread of its own: in this one a browser's loop may be running."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(act, *arguments).result()


async def _tools(url):
    async with (
        streamable_http_client(f"{url}gradio_api/mcp/") as (read, write, _),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        return {tool.name: tool for tool in (await session.list_tools()).tools}


async def _called(url, tool, **fields):
    async with (
        streamable_http_client(f"{url}gradio_api/mcp/") as (read, write, _),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        return await session.call_tool(tool, fields)


@pytest.mark.parametrize(
    ("tool", "fields", "sentence"),
    [
        ("align", {"photo": "/etc/passwd"}, "Invalid file data"),
        ("align", {"photo": as_file("/etc/passwd")}, "validation error"),
        ("align", {"photo": "data:image/png;base64,AAAA", "which": as_file("/etc/passwd")}, "validation error"),
        ("align", {"photo": "data:image/png;base64,AAAA"}, "could not be read"),
        ("sample", {"seed": -1}, "whole number"),
    ],
)
def test_a_tool_tells_what_is_wrong(url, tool, fields, sentence):
    answer = run(_called(url, tool, **fields))
    assert answer.isError and sentence in answer.content[0].text


def test_a_program_and_the_library_get_the_same(program, demo, latent):
    picture, code, edit = program.predict(
        target="face with glasses", photo=handle_file(EXAMPLES[1]), threshold=0.1, api_name="/direct"
    )
    wanted = demo.direct(demo.invert(demo.align(EXAMPLES[1])[0]), "face with glasses", "face", threshold=0.1)
    np.testing.assert_array_equal(Image.open(picture), wanted.image)
    assert Latent.load(code).digest() == wanted.latent.digest()
    assert edit["recipe"] == wanted.recipe and edit["channels"] == wanted.channels


def test_words_are_done_one_after_the_other_or_said_to_be_unknown(program, demo, latent):
    _, code, edit = program.predict(text="glasses and blue eyes", latent=latent, share=0.5, api_name="/change")
    wanted = Latent.load(latent["path"])
    for wish in demo.wishes("glasses and blue eyes").wishes:
        wanted = demo.change(wanted, wish, 0.5).latent
    assert Latent.load(code).digest() == wanted.digest()
    assert [recipe["method"] for recipe in edit["recipes"]] == ["map", "exchange"]
    mask = drawn_mask(Image.new("L", (9, 9), 255))
    *_, edit = program.predict(text="glasses", latent=latent, regions=["hair", mask], api_name="/change")
    assert edit["recipes"][0]["within"]["regions"] == ["hair", mask]
    with pytest.raises(AppError, match="paint it again"):
        program.predict(text="glasses", latent=latent, regions=[mask[:40]], api_name="/change")
    for text, sentence in (
        ("a zebra", "zebra"),
        ("blonde hiar", "Did you mean “blonde hair”"),
        (" ", "in"),
        (7, "words"),
    ):
        with pytest.raises(AppError, match=sentence):
            program.predict(text=text, latent=latent, api_name="/change")
    with pytest.raises(AppError, match="share"):
        program.predict(text="glasses", latent=latent, share=9, api_name="/change")


def test_what_only_some_latents_and_levels_can_do(program, demo, latent):
    _, other, _ = program.predict(seed=5, api_name="/sample")
    _, mixture, _ = program.predict(latent=latent, other=handle_file(other), share=0.25, api_name="/interpolate")
    wanted = Latent.load(latent["path"]).towards(Latent.load(other), 0.25)
    assert Latent.load(mixture).digest() == wanted.digest()
    _, code, edit = program.predict(target="smiling face", latent=latent, levels=["fine"], api_name="/bridge")
    wanted = demo.csla_edit(Latent.load(latent["path"]), "smiling face", "face", levels=["fine"])
    assert Latent.load(code).digest() == wanted.latent.digest() and edit["recipe"] == wanted.recipe
    for levels in ([], ["finest"], "fine", [["fine"]]):
        with pytest.raises(AppError, match="level"):
            program.predict(target="smiling face", latent=latent, levels=levels, api_name="/bridge")
    with pytest.raises(AppError, match="encoder or clip"):
        program.predict(photo=handle_file(EXAMPLES[0]), through="eyes", api_name="/invert")


def test_programs_do_not_meet(url, program, latent):
    """Nothing is kept from one call to the next, whoever makes it."""
    first = program.predict(target="smiling face", latent=latent, api_name="/direct")
    other = Client(url, verbose=False)
    other.predict(seed=5, api_name="/sample")
    with pytest.raises(AppError, match="either a photo or a latent"):
        program.predict(target="smiling face", api_name="/direct")
    again = other.predict(target="smiling face", latent=latent, api_name="/direct")
    assert Path(first[0]).read_bytes() == Path(again[0]).read_bytes() and first[2] == again[2]


def test_a_run_streams_and_ends_with_the_result(program, latent, monkeypatch):
    monkeypatch.setattr(values, "PREVIEW_EVERY", 0.0)
    job = program.submit(prompt="smiling face", latent=latent, steps=4, api_name="/optimize")
    *previews, (picture, code, last) = list(job)
    assert [state["step"] for _, _, state in previews] == [1, 2, 3]
    assert all(Path(preview).suffix == ".jpg" and code is None for preview, code, _ in previews)
    assert Image.open(picture).format == "PNG" and Latent.load(code).space == "w+" and last["step"] == 4
    assert last["recipe"]["taken"] == 4 and last["notes"] == []


def test_words_that_the_model_was_never_taught_are_noted(program, latent):
    note = "This model was never taught “zeppelin”, which may change little or something else."
    for name, fields in (
        ("direct", {"target": "face with a zeppelin", "latent": latent}),
        ("bridge", {"target": "face with a zeppelin", "latent": latent}),
        ("imagine", {"prompt": "a zeppelin"}),
        ("optimize", {"prompt": "a zeppelin", "latent": latent, "steps": 1}),
        ("generate", {"prompt": "a zeppelin", "steps": 1}),
    ):
        _, _, told = program.predict(**fields, api_name=f"/{name}")
        assert told["notes"] == [note], name
    _, _, told = program.predict(target="smiling face", latent=latent, api_name="/direct")
    assert told["notes"] == []


def test_a_run_that_takes_too_long_ends_with_what_it_has(program, latent, monkeypatch):
    monkeypatch.setattr(jobs, "LONGEST_RUN", 0.0)
    monkeypatch.setattr(jobs.Scheduler, "others_wait", lambda _: True)
    picture, _, state = program.predict(prompt="smiling face", latent=latent, steps=50, api_name="/optimize")
    assert Path(picture).exists() and state["step"] < 50
    assert f"at step {state['step']} of 50" in state["notes"][-1]


def test_several_faces(program, tmp_path):
    couple, (one, other) = Image.new("RGB", (800, 320), "grey"), map(Image.open, EXAMPLES[:2])
    couple.paste(one.resize((300, 300)), (10, 10))
    couple.paste(other.resize((240, 240)), (500, 40))
    photo, changed = handle_file(_saved(couple, tmp_path / "couple.png")), set()
    red = handle_file(_saved(Image.new("RGB", (256, 256), "red"), tmp_path / "red.png"))
    for which in (0, 1):
        crop, found = program.predict(photo=photo, which=which, api_name="/align")
        whole, _ = program.predict(photo=photo, edited=red, which=which, api_name="/paste")
        assert found == {"faces": 2} and Image.open(crop).size == (256, 256)
        left, top, right, bottom = ImageChops.difference(Image.open(whole), couple).getbbox()
        assert right < 400 or left > 400
        assert Image.open(whole).getpixel(((left + right) // 2, (top + bottom) // 2)) == (255, 0, 0)
        changed.add(left > 400)
    assert changed == {False, True}
    with pytest.raises(AppError, match="`which` is a whole number from 0 to 1"):
        program.predict(photo=photo, which=2, api_name="/align")


def test_a_photo_and_its_painted_face(program):
    photo, given = handle_file(EXAMPLES[0]), {"target": "oil painting", "neutral": "drawing"}
    picture, painted, told = program.predict(**given, photo=photo, steps=2, api_name="/paint")
    assert told["step"] == 2 and told["recipe"]["parameters"] == given | {"steps": 2}
    face, _ = program.predict(photo=photo, edited=handle_file(picture), api_name="/paste")
    whole, _ = program.predict(photo=photo, latent=handle_file(painted), api_name="/paste")
    corner = (0, 0, 8, 8)
    face, whole, before = (Image.open(path).convert("RGB").crop(corner) for path in (face, whole, EXAMPLES[0]))
    assert face.tobytes() == before.tobytes() != whole.tobytes()
    for wrong in ({}, {"edited": handle_file(picture), "latent": handle_file(painted)}):
        with pytest.raises(AppError, match="either the edited picture or its latent"):
            program.predict(photo=photo, **wrong, api_name="/paste")
    with pytest.raises(AppError, match="is what there is already"):
        program.predict(target="drawing", neutral="drawing", photo=photo, api_name="/paint")


def _saved(image, path, **options):
    image.save(path, **options)
    return path


def test_nothing_that_a_camera_noted_goes_out(program, tmp_path):
    exif = Image.Exif()
    exif[0x010F] = "The Camera"
    exif.get_ifd(0x8825)[1] = "N"
    path = _saved(Image.open(EXAMPLES[0]).convert("RGB"), tmp_path / "a.jpg", exif=exif, comment=b"The Camera")
    photo = handle_file(path)
    crop, _ = program.predict(photo=photo, api_name="/align")
    picture, _, _ = program.predict(photo=photo, api_name="/invert")
    whole, _ = program.predict(photo=photo, edited=handle_file(picture), api_name="/paste")
    for given in (crop, picture, whole):
        assert b"Camera" in path.read_bytes() and b"Camera" not in Path(given).read_bytes()
        assert not Image.open(given).info and not Image.open(given).getexif()
