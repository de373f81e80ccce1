"""Latent alignment: one pass from texts to edits, to pictures from text alone, and from CLIP's view of a face back."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from families.drawn.attributes import CATEGORIES
from families.drawn.reader import Reader, read
from pipeline import Latent, StyleCLIP, UserError
from pipeline.methods.csla import csla_step
from pipeline.models.family import load_family
from pipeline.models.measured import own_path
from pipeline.models.registry import family_row
from pipeline.networks.csla import CSLA
from pipeline.networks.stylegan2 import Generator
from pipeline.training.csla import csla_command

FIRST_SEED = 3_000_000  # faces that neither training nor the choice of the defaults saw
EDITS = {
    "face with purple hair": ("hair_colour", "purple"),
    "face with glasses": ("eyewear", "glasses"),
    "smiling face": ("expression", "smiling"),
}
TINY = ["--model", "tiny", "--pairs", "40", "--steps", "3"]


@pytest.fixture(scope="module")
def demo() -> StyleCLIP:
    return StyleCLIP.from_pretrained("demo", device="cpu")


@pytest.fixture(scope="module")
def faces(demo) -> list[Latent]:
    return [demo.sample(FIRST_SEED + i, truncation=1.0) for i in range(8)]


def found(image: Image.Image) -> dict[str, str]:
    """What the reader, which no method uses, sees in a picture."""
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 127.5 - 1
    return {name: CATEGORIES[name][index] for name, index in read(Reader.from_file(), pixels).items()}


def moved(demo: StyleCLIP, latent: Latent) -> set[int]:
    """The rows that feed the vectors of S that an edit moved."""
    rows = [layer.row for layer in demo.family.generator.style_layers]
    return {row for row, step in zip(rows, latent.style_step, strict=True) if step.abs().max()}


@pytest.mark.parametrize("target", EDITS)
def test_what_was_asked_for_appears_on_faces_that_no_training_saw(demo, faces, target):
    category, value = EDITS[target]
    before = [found(demo.image(face)) for face in faces]
    lacking = [i for i, seen in enumerate(before) if seen[category] != value and seen["hairstyle"] == "hair"][:3]
    after = {i: found(demo.csla_edit(faces[i], target, "face").image) for i in lacking}
    assert [after[i][category] for i in lacking] == [value] * 3
    others = [before[i][name] == after[i][name] for i in lacking for name in CATEGORIES if name != category]
    assert sum(others) >= 0.9 * len(others)


def test_without_strength_nothing_moves(demo, faces):
    edit = demo.csla_edit(faces[0], "smiling face", "face", strength=0)
    assert edit.image.tobytes() == demo.image(faces[0]).tobytes()


def test_only_the_levels_asked_for_move(demo, faces):
    def rows(*levels: str) -> set[int]:
        return moved(demo, demo.csla_edit(faces[0], "face with glasses", "face", levels=levels).latent)

    assert (rows("coarse"), rows("medium")) == ({0, 1, 2, 3}, {4, 5, 6, 7})
    assert rows("fine", "coarse") == {0, 1, 2, 3, *range(8, demo.family.generator.num_rows)}
    assert moved(demo, demo.csla_edit(faces[0], "face with glasses", "face").latent) == set(
        range(demo.family.generator.num_rows)
    )
    for levels in ((), ("course",)):
        with pytest.raises(UserError, match="at least one level of coarse, medium, fine"):
            rows(*levels)


def test_a_text_that_says_what_the_mean_face_is_moves_nothing_and_says_so(demo):
    with pytest.raises(UserError, match="are the same; please say what should change"):
        demo.csla_generate(demo.family.defaults.neutral)


def test_a_text_alone_makes_a_picture(demo):
    edit = demo.csla_generate("a face with purple hair")
    assert found(edit.image)["hair_colour"] == "purple"
    assert demo.repeat(edit.recipe).image.tobytes() == edit.image.tobytes()


def test_a_recipe_repeats_the_edit_to_the_bit(demo, faces):
    edit = demo.csla_edit(faces[0], "smiling face", "face", strength=0.3, levels=["medium", "coarse"])
    assert edit.recipe["parameters"]["levels"] == ["coarse", "medium"]
    again = demo.repeat(edit.recipe, faces[0])
    assert (again.latent.digest(), again.recipe) == (edit.latent.digest(), edit.recipe)
    half = demo.adjust(faces[0], edit, 0.5)
    assert demo.repeat(half.recipe, faces[0]).latent.digest() == half.latent.digest()
    for levels in ("coarse", [1], [["coarse"]], None):
        with pytest.raises(UserError, match="no recipe"):
            demo.repeat(edit.recipe | {"parameters": edit.recipe["parameters"] | {"levels": levels}}, faces[0])


def test_recipes_with_the_old_names_of_methods_repeat_the_edit(demo, faces):
    edit, drawn = demo.csla_edit(faces[0], "smiling face", "face"), demo.csla_generate("an old man")
    again = demo.repeat(edit.recipe | {"method": "bridge"}, faces[0])
    assert (again.latent.digest(), again.recipe) == (edit.latent.digest(), edit.recipe)
    assert demo.repeat(drawn.recipe | {"method": "imagine"}).latent.digest() == drawn.latent.digest()


def test_through_clip_a_face_comes_back_as_clip_understood_it(demo, faces):
    kept = []
    for face in faces[:4]:
        before = found(demo.image(face))
        after = found(demo.image(demo.invert(demo.image(face), through="clip")))
        kept += [before[name] == after[name] for name in ("hair_colour", "hairstyle", "beard", "eyewear", "expression")]
    assert sum(kept) >= 0.8 * len(kept)
    with pytest.raises(UserError, match="`through` is one of encoder, clip, not eyes"):
        demo.invert(demo.image(faces[0]), through="eyes")


def test_a_model_without_an_alignment_says_how_to_get_one(studio):
    latent = studio.sample(0)
    for edit in (
        lambda: studio.csla_edit(latent, "smiling face", "face"),
        lambda: studio.csla_generate("a smiling face"),
        lambda: studio.invert(studio.image(latent), through="clip"),
    ):
        with pytest.raises(UserError, match=r"python -m pipeline\.training\.csla --model seeded"):
            edit()


def test_texts_that_say_nothing_are_told(demo, faces):
    with pytest.raises(UserError, match="in a few words"):
        demo.csla_generate(" ")
    with pytest.raises(UserError, match="are the same"):
        demo.csla_edit(faces[0], "face", "face")


@pytest.fixture
def place(seeded_registry, tmp_path, monkeypatch):
    """Where the alignment of the family "tiny" is written; processes of their own get the same environment."""
    folder = seeded_registry.parent
    rows = "".join(f'{kind} = {{ path = "{folder / kind}.safetensors" }}\n' for kind in ("generator", "clip"))
    (tmp_path / "own.toml").write_text(f'[families.tiny]\ntitle = "Tiny"\n[families.tiny.files]\n{rows}')
    monkeypatch.setenv("STYLECLIP_MODELS", str(tmp_path / "own.toml"))
    monkeypatch.setenv("HF_ASSETS_CACHE", str(tmp_path / "assets"))
    monkeypatch.setattr("huggingface_hub.constants.HF_ASSETS_CACHE", str(tmp_path / "assets"))
    return own_path("alignment", family_row("tiny"))


def test_a_killed_training_goes_on_to_the_same_file(place, monkeypatch):
    assert csla_command(TINY) == place
    once = load_file(place)
    assert load_family(family_row("tiny"), torch.device("cpu"), torch.float32).alignment is not None
    place.unlink()
    command = [sys.executable, "-c", KILLED, *TINY]
    with subprocess.Popen(command, env=os.environ | {"PYTHONUNBUFFERED": "1"}, stdout=subprocess.PIPE) as process:
        process.wait()
    assert process.returncode == -9
    assert not place.exists()
    (part,) = place.parent.glob("*.pairs")
    assert 0 < len(load_file(part)["w"]) < 40
    csla_command(TINY)
    assert all(torch.equal(value, once[name]) for name, value in load_file(place).items())
    assert [file for file in place.parent.glob("*") if file != place] == []


# The command, saving after each batch, which is killed at the third.
KILLED = """
import os, signal, sys
from pipeline.training import csla, pairs
from pipeline.training.partial import write

def writing(state, path, written=[]):
    write(state, path)
    written.append(path)
    if len(written) == 3:
        os.kill(os.getpid(), signal.SIGKILL)

pairs.EVERY, pairs.write = -1, writing
csla.csla_command(sys.argv[1:])
"""


def test_an_alignment_of_another_generator_is_refused(place, tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = CSLA(32, 32, 7, 16).state_dict()
    place.parent.mkdir(parents=True)
    save_file(state, place)
    assert load_family(family_row("tiny"), torch.device("cpu"), torch.float32).alignment is None


def test_the_demo_model_has_an_alignment_already(tmp_path):
    with pytest.raises(UserError, match="--output"):
        csla_command(["--model", "demo"])
    with pytest.raises(UserError, match=r"ends in \.safetensors"):
        csla_command(["--model", "demo", "--output", str(tmp_path / "alignment.pt")])


def test_full_size_networks_move_every_vector_of_s():
    with torch.device("meta"):
        generator = Generator(1024)
    channels = sum(layer.channels for layer in generator.style_layers)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        alignment = CSLA.from_state_dict(CSLA(512, 512, channels, 256).state_dict())
        target, neutral = torch.nn.functional.normalize(torch.randn(2, 512))
    assert channels == 9088
    step: list[Tensor] = csla_step(alignment, generator, target, neutral, ["medium"])
    assert [s.shape for s in step] == [(1, layer.channels) for layer in generator.style_layers]
    assert all(bool(s.abs().max()) == (4 <= la.row < 8) for s, la in zip(step, generator.style_layers, strict=True))
    assert alignment.to_w(target[None]).shape == (1, 512)
