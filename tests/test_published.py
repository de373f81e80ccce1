"""The family `ffhq` end to end on files of the published form: small ones from a Hub of our own, and the full size."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from PIL import Image

from pipeline import StyleCLIP
from pipeline.errors import UserError
from pipeline.models.__main__ import main
from pipeline.models.measured import own_path
from pipeline.models.registry import REGISTRY, family_row, read_registry
from tests.conftest import train_landmarks
from tests.hub import Hub
from tests.published import write_family

FILES = {
    "e4e-ffhq": ("public-data/e4e", "e4e_ffhq_encode.pt"),
    "ir-se50": ("AIRI-Institute/StyleFeatureEditor", "pretrained_models/model_ir_se50.pth"),
    "landmarks-68": ("public-data/dlib_face_landmark_model", "shape_predictor_68_face_landmarks.dat"),
    "clip-vit-b-32": (None, "ViT-B-32.pt"),
    "relevance-ffhq": (None, "fs3.npy"),
}


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Path:
    """The small files, laid out as their publishers have them."""
    made, served = tmp_path_factory.mktemp("made"), tmp_path_factory.mktemp("served")
    write_family(made, small=True)
    shutil.copy(REGISTRY.parent / "demo" / "landmarks.dat", made / "shape_predictor_68_face_landmarks.dat")
    for repo, file in FILES.values():
        place = served / (repo or "") / file
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(made / Path(file).name, place)
    shutil.move(made / "afro.pt", served / "afro.pt")
    return served


@pytest.fixture
def hub(served, tmp_path, monkeypatch) -> Hub:
    """The server, with an empty cache, and a models file whose sources have these files' checksums."""
    hub = Hub(served)
    for name, folder in (("HF_HOME", "."), ("HF_HUB_CACHE", "hub"), ("HF_ASSETS_CACHE", "assets")):
        monkeypatch.setattr(constants, name, str(tmp_path / "cache" / folder))
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
    lines = []
    for name, (repo, file) in FILES.items():
        content = (served / (repo or "") / file).read_bytes()
        where = f'repo = "{repo}"' if repo else f'url = "{hub.url}/files/{file}"'
        lines.append(f'[sources.{name}]\n{where}\nfile = "{file}"\nsize = {len(content)}')
        lines.append(f'sha256 = "{hashlib.sha256(content).hexdigest()}"\n')
    lines.append(
        f'[families.ffhq.mappers]\nafro = {{ title = "Afro", url = "{hub.url}/files/afro.pt", file = "afro.pt" }}'
    )
    (tmp_path / "own.toml").write_text("\n".join(lines))
    monkeypatch.setenv("STYLECLIP_MODELS", str(tmp_path / "own.toml"))
    yield hub
    hub.close()


def test_ffhq_is_fetched_loaded_and_edits_faces(hub, photo):
    told = set()
    studio = StyleCLIP.from_pretrained("ffhq", device="cpu", progress=lambda name, *_: told.add(name))
    assert told == {Path(file).name for _, file in FILES.values()}

    face = studio.align(photo)[0]
    latent = studio.invert(face)
    *_, last = studio.optimize(latent, "a person with purple hair", steps=3)
    assert set(last.losses) == {"clip", "identity", "l2", "total"}
    edits = [last.edit, studio.map(latent, "afro"), studio.direct(latent, "face with blonde hair", "face")]
    before = studio.image(latent)
    for edit in edits:
        assert edit.image.size == before.size == (64, 64)
        assert edit.image.tobytes() != before.tobytes()
        json.dumps(edit.recipe)
        assert studio.repeat(edit.recipe, latent).image.tobytes() == edit.image.tobytes()


def test_a_published_checkpoint_of_stylegan_nada_is_a_generator_of_ffhq(hub, served, tmp_path, photo):
    """As its authors' training saves it: the averaged generator beside the state of the optimizer."""
    plain = StyleCLIP.from_pretrained("ffhq", device="cpu", progress=lambda *_: None)
    state = {name: value.clone() for name, value in plain.family.generator.state_dict().items()}
    state["convs.0.conv.weight"] += 0.5
    (served / "rinong/stylegan-nada-models").mkdir(parents=True)
    torch.save({"g_ema": state, "g_optim": {"state": {}}}, served / "rinong/stylegan-nada-models/pixar.pt")
    studio = StyleCLIP.from_pretrained("ffhq-pixar", device="cpu", progress=lambda *_: None)
    face = plain.align(photo)[0]
    latent = studio.invert(face)
    torch.testing.assert_close(latent.w_plus, plain.invert(face).w_plus)
    assert studio.image(latent).tobytes() != plain.image(latent).tobytes()
    one, other = (model.direct(latent, "face with blonde hair", "face", 3.0).latent for model in (studio, plain))
    assert torch.equal(one.style_step[3] != 0, other.style_step[3] != 0)  # the same channels move


def test_with_a_filled_cache_it_starts_without_the_network(hub):
    first = StyleCLIP.from_pretrained("ffhq", device="cpu", progress=lambda *_: None)
    picture = first.image(first.sample(1))
    hub.close()
    assert not family_row("ffhq").missing()
    again = StyleCLIP.from_pretrained("ffhq", device="cpu")
    assert again.image(again.sample(1)).tobytes() == picture.tobytes()


def test_a_file_that_was_altered_in_the_cache_is_noticed(hub, tmp_path):
    StyleCLIP.from_pretrained("ffhq", device="cpu", progress=lambda *_: None)
    path = family_row("ffhq").files["generator"].here().resolve()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"e4e_ffhq_encode\.pt is not the file that was published"):
        StyleCLIP.from_pretrained("ffhq", device="cpu")


def test_a_file_of_another_kind_is_named(hub, tmp_path, monkeypatch):
    own = Path(os.environ["STYLECLIP_MODELS"])
    url = f"{hub.url}/files/afro.pt"
    own.write_text(own.read_text() + f'\n[families.ffhq.files]\nidentity = {{ url = "{url}", file = "afro.pt" }}\n')
    with pytest.raises(UserError, match=r"afro\.pt"):
        StyleCLIP.from_pretrained("ffhq", device="cpu", progress=lambda *_: None)


def test_the_command_line_lists_fetches_and_verifies(hub, tmp_path, monkeypatch, capsys):
    environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "pipeline.models", "fetch", "ffhq"]
    fetched = subprocess.run(command, env=environment, cwd=REGISTRY.parents[1], capture_output=True, text=True)
    assert fetched.returncode == 0, fetched.stderr
    assert "not for commercial use" in fetched.stdout
    assert "e4e_ffhq_encode.pt" in fetched.stdout
    hub.close()

    def zoo(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["zoo", *arguments])
        main()
        return capsys.readouterr().out

    assert ["ffhq", "here"] in [line.split()[:2] for line in zoo("list").splitlines()]
    assert [line.split()[0] for line in zoo("verify", "ffhq").splitlines()].count("ok") == len(FILES)
    assert str(tmp_path / "cache") in zoo("where", "ffhq")
    with pytest.raises(SystemExit, match="There is no model “cats”"):
        zoo("fetch", "cats")

    altered = family_row("ffhq").files["identity"].here().resolve()
    altered.write_bytes(altered.read_bytes() + b"more")
    with pytest.raises(SystemExit, match="1"):
        zoo("verify", "ffhq")
    told = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert told.count("wrong") == 1 and told.count("ok") == len(FILES) - 1
    assert altered.exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'[sources.x]\nrepo = "no such/name"\nfile = "x.pt"', "no such/name"),
        (b'[sources.x]\nfile = "x.pt"', "one of path, repo, drive, url and wheel"),
        (b'[sources.x]\npath = "x.pt"\nurl = "http://x"', "one of path, repo, drive, url and wheel"),
        (b'[sources.x]\nurl = "http://x"', "name of its file"),
        (b'[sources.x]\nrepo = "a/b"\nfile = "../x.pt"', "inside its repository"),
        (b'[sources.x]\nrepo = "a/b"\nfile = "x.pt"\nrevision = "../../c"', "inside its repository"),
        (
            b'[sources.x]\nurl = "http://x"\nfile = "x.pt"\nsize = "large"',
            r"sources\.x\.size: it should be a valid integer",
        ),
        (b'[sources.x]\npath = "~nobody-of-this-name/x.pt"', "home"),
        (b"[families.demo]\ndefaults = 3", "can't be understood"),
        (b'[sources.x]\npath = "\xff"', "utf-8"),
        (b"[sources.x", "can't be understood"),
        (b"sources = 3", "sources: it should be a table"),
        (b"famlies = {}", "famlies: there is no such key"),
        (b"[families]\ndemo = 3", r"families\.demo: it should be a table"),
        (b'[families.demo]\ntitel = "x"', r"families\.demo\.titel: there is no such key"),
        (b"[families.demo]\ntitle = 3", r"families\.demo\.title: it should be a valid string"),
        (b'[families.demo]\ntitle = " "', r"families\.demo\.title: it should be a text"),
        (b'[families."../demo"]\ntitle = "x"', r"families\.\.\./demo: it should be a name"),
        (b'[families.demo.files]\ngenerater = { path = "x" }', r"families\.demo\.files\.generater"),
        (b'[families.demo.files]\ngenerator = "nowhere"', r"families\.demo\.files\.generator: .*“nowhere”"),
        (
            b'[families.demo.files]\ngenerator = { path = "a\\u0000b" }',
            r"families\.demo\.files\.generator: .*“path”",
        ),
        (b'[families.demo.files]\ngenerator = { path = "' + b"x" * 300 + b'" }', "too long"),
        (b'[families.demo.mappers.own]\npath = "x.pt"\ntitle = 4', r"families\.demo\.mappers\.own\.title"),
        (b'[families.demo.defaults]\nstrength = "high"', r"families\.demo\.defaults\.strength: .*number"),
        (b"[families.demo.defaults]\nmapper_strength = 0", r"families\.demo\.defaults\.mapper_strength: .*greater"),
        (b"[families.demo.defaults]\nl2 = 0", r"families\.demo\.defaults\.l2: .*greater than 0"),
        (b"[families.demo.defaults]\nidentity = 0.0", r"families\.demo\.defaults\.identity: .*greater than 0"),
        (b"[families.demo.defaults]\nlr = nan", r"families\.demo\.defaults\.lr: .*finite"),
        (b"[families.demo.defaults]\ncsla_strength = -1", r"families\.demo\.defaults\.csla_strength: .*greater"),
        (b"[families.demo.defaults]\nsteps = true", r"families\.demo\.defaults\.steps"),
        (b'[families.demo.defaults]\nspace = "z"', r"families\.demo\.defaults\.space: .*'w'"),
        (b"[sources.x]\npath = 'x'\nsize = -1", r"sources\.x\.size: .*greater"),
    ],
)
def test_a_models_file_with_a_mistake_is_named_in_a_sentence(content, words, tmp_path, monkeypatch):
    own = tmp_path / "own.toml"
    own.write_bytes(content)
    monkeypatch.setenv("STYLECLIP_MODELS", str(own))
    with pytest.raises(UserError, match=words) as error:
        read_registry()
    assert str(own) in str(error.value)


def test_a_mapper_without_a_title_is_called_by_its_name(tmp_path, monkeypatch):
    (tmp_path / "own.toml").write_text('[families.demo.mappers.afro]\npath = "afro.pt"')
    monkeypatch.setenv("STYLECLIP_MODELS", str(tmp_path / "own.toml"))
    assert read_registry()["demo"].mappers["afro"][0] == "afro"


def test_a_models_file_of_a_windows_editor_is_read(tmp_path, monkeypatch):
    (tmp_path / "own.toml").write_bytes(b'\xef\xbb\xbf[families.demo]\r\ntitle = "Mine"\r\n')
    monkeypatch.setenv("STYLECLIP_MODELS", str(tmp_path / "own.toml"))
    row = read_registry()["demo"]
    assert row.title == "Mine" and row.defaults.channels == 80 and "generator" in row.files


# Every family's row


def test_every_published_row_states_its_licence_and_terms():
    for row in read_registry().values():
        if any(source.path is None for source in row.files.values()) and row.name != "custom":
            assert "License-NC" in row.licence
            assert "not for commercial use" in row.terms
            assert {"generator", "clip"} <= row.files.keys()


# Other domains: pictures that are wider than high, no faces, no encoder


@pytest.fixture
def cars(tmp_path, monkeypatch, seeded_registry) -> StyleCLIP:
    """The small generator as a family of cars: three quarters of its rows are the picture, and nothing is aligned."""
    rows = [f'{kind} = {{ path = "{seeded_registry.parent / kind}.safetensors" }}' for kind in ("generator", "encoder")]
    rows.append(f'clip = {{ path = "{seeded_registry.parent / "clip"}.safetensors" }}')
    (tmp_path / "own.toml").write_text("[families.wide]\ncrop_rows = 48\n[families.wide.files]\n" + "\n".join(rows))
    monkeypatch.setenv("STYLECLIP_MODELS", str(tmp_path / "own.toml"))
    return StyleCLIP.from_pretrained("wide", device="cpu")


def test_a_family_without_faces_takes_the_middle_of_a_photo(cars):
    (found,) = cars.align(Image.new("RGB", (900, 500), "teal"))
    assert found.landmarks is None
    assert found.image.size == (256, 192)
    latent = cars.invert(found)
    assert cars.image(latent).size == (64, 48)
    *_, last = cars.optimize(latent, "a sports car", steps=2, preview=32)
    assert last.image.size == (64, 48)
    with pytest.raises(UserError, match="256:192"):
        cars.invert(Image.new("RGB", (300, 300)))


def test_a_family_without_relevance_estimates_its_directions(cars):
    latent = cars.sample(0)
    edit = cars.direct(latent, "a red car", "a car", channels=10)
    assert edit.channels == 10
    assert edit.image.tobytes() != cars.image(latent).tobytes()
    assert "pipeline.training.relevance --model wide" in edit.notes[0]
    assert cars.repeat(edit.recipe, latent).image.tobytes() == edit.image.tobytes()


def test_more_rows_than_the_generator_draws_are_refused(cars, monkeypatch):
    own = Path(os.environ["STYLECLIP_MODELS"])
    own.write_text(own.read_text().replace("crop_rows = 48", "crop_rows = 384"))
    with pytest.raises(UserError, match="“wide” has crop_rows = 384, and its generator draws 64"):
        StyleCLIP.from_pretrained("wide", device="cpu")


def test_a_family_without_clip_is_told_so(tmp_path, monkeypatch, seeded_registry):
    generator = seeded_registry.parent / "generator.safetensors"
    (tmp_path / "own.toml").write_text(f'[families.bare.files]\ngenerator = {{ path = "{generator}" }}')
    monkeypatch.setenv("STYLECLIP_MODELS", str(tmp_path / "own.toml"))
    with pytest.raises(UserError, match="“bare” needs a CLIP"):
        StyleCLIP.from_pretrained("bare", device="cpu")


def test_a_landmark_model_of_five_points_is_named_when_it_is_loaded(seeded_registry, drawn_faces, tmp_path):
    images, landmarks = drawn_faces
    train_landmarks(images, landmarks[:, :5], tmp_path / "five.dat")
    registry = tmp_path / "models.toml"
    rows = seeded_registry.read_text().replace('path = "', f'path = "{seeded_registry.parent}/')
    registry.write_text(rows.replace(f"{seeded_registry.parent}/landmarks.dat", "five.dat"))
    with pytest.raises(UserError, match=r"five\.dat finds 5 points of a face, and this studio needs .* 68"):
        StyleCLIP.from_pretrained("seeded", device="cpu", registry=registry)


def test_a_generator_of_one_s_own(sizes_file, monkeypatch):
    studio = StyleCLIP.from_pretrained("custom", device="cpu", files=sizes_file)
    assert studio.image(studio.sample(3)).size == (64, 64)
    with pytest.raises(UserError, match="random picture"):
        studio.invert(Image.new("RGB", (256, 256)))
    with pytest.raises(UserError, match="--generator"):
        StyleCLIP.from_pretrained("custom", device="cpu")
    monkeypatch.setenv("STYLECLIP_GENERATOR", str(sizes_file["generator"]))
    assert family_row("custom").files["generator"].here() == sizes_file["generator"]
    with pytest.raises(UserError, match="custom"):
        StyleCLIP.from_pretrained("ffhq", device="cpu", files=sizes_file)


def test_each_generator_of_one_s_own_has_its_own_relevance(sizes_file, tmp_path):
    rows = [family_row("custom", own={"generator": sizes_file[kind]}) for kind in ("generator", "clip", "generator")]
    first, other, again = (own_path("directions", row) for row in rows)
    assert first == again != other
    sizes_file["generator"].rename(tmp_path / "moved.pt")
    assert own_path("directions", family_row("custom", own={"generator": tmp_path / "moved.pt"})) == first


@pytest.fixture
def sizes_file(tmp_path, monkeypatch) -> dict[str, Path]:
    """A generator alone, without its mean code, and a CLIP."""
    monkeypatch.setattr(constants, "HF_ASSETS_CACHE", str(tmp_path / "assets"))
    sizes = write_family(tmp_path, small=True)
    torch.save(sizes.generator, tmp_path / "mine.pt")
    return {"generator": tmp_path / "mine.pt", "clip": tmp_path / "ViT-B-32.pt"}


# The full size


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_ffhq_at_full_size(dtype, tmp_path_factory, photo, capfd):
    """In processes of their own, whose memory is counted; prints what README says of it."""
    folder = Path(os.environ.get("FULL_SIZE_FOLDER") or tmp_path_factory.getbasetemp() / "full")
    if not folder.exists():
        folder.mkdir(parents=True)
        write_family(folder, small=False)
    photo.save(folder / "photo.png")
    command = [sys.executable, "-m", "tests.full_size", str(folder), dtype]
    environment = os.environ | {"HF_HOME": str(folder / f"home-{dtype}")}
    for _ in ("first", "with slim copies"):
        done = subprocess.run(command, env=environment, cwd=REGISTRY.parents[1], capture_output=True, text=True)
        with capfd.disabled():
            print("\n" + done.stdout)
        assert done.returncode == 0, done.stderr
    peak = float(done.stdout.split("peak ")[-1].split()[0])
    assert peak <= {"float32": 4.0, "bfloat16": 2.5}[dtype], f"{peak} GiB"
