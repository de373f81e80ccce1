"""What the photo family is trained on and how, at a small size."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from families import clip as small_clip
from families.drawn.reader import Reader
from families.photo import clip as photo_clip
from families.photo import (
    edited,
    encoder,
    face_labels,
    identity,
    labels,
    landmarks,
    likeness,
    preview,
    reader,
    samples,
)
from families.photo.captions import CATEGORIES
from families.photo.face_labels import EXPRESSIONS, label
from pipeline.errors import UserError
from pipeline.faces.detection import FaceFinder
from pipeline.networks.arcface import IRSE
from pipeline.networks.clip import build_clip, tokenize
from pipeline.networks.preview import Preview
from pipeline.networks.w_encoder import WEncoder


@pytest.fixture
def folder(tmp_path, studio, monkeypatch):
    """Eight samples of the seeded family, and room for sheets of four."""
    monkeypatch.setattr(samples, "load_generator", lambda *_: (studio.family.generator, studio.family.latent_avg[:1]))
    for name, value in (("COLUMNS", 2), ("ROWS", 2), ("LABELLED", 4), ("SIZE", 64)):
        monkeypatch.setattr(samples, name, value)
    samples.sample(tmp_path, 8)
    return tmp_path


def test_a_sample_is_the_face_of_its_seed(folder, studio):
    kept = load_file(folder / "codes.safetensors")
    assert kept["psi"].min() >= 0.5 and kept["psi"].max() < 1
    again = studio.sample(5, kept["psi"][5].item()).w_plus[0, 0]
    assert torch.allclose(again, kept["w"][5], atol=1e-5)
    with Image.open(samples.picture_path(folder, 5)) as picture:
        assert picture.size == (64, 64)
    assert [path.name for path in (folder / "sheets").iterdir()] == ["00000.jpg"]


def test_samples_go_on_where_they_stopped(folder):
    kept, removed = (samples.picture_path(folder, seed) for seed in (2, 3))
    before = kept.stat().st_mtime_ns
    removed.unlink()
    samples.sample(folder, 10)
    assert kept.stat().st_mtime_ns == before
    assert removed.exists() and samples.picture_path(folder, 9).exists()


def answer(age: float) -> dict:
    return {
        "age": age,
        "female": 0.25,
        "expressions": {name: float(name == "happy") for name in reversed(EXPRESSIONS)},
        "landmarks": [[i, i + 1] for i in range(68)],
        "descriptor": [0.5] * 128,
    }


def test_labels_become_a_table_and_go_on_where_they_stopped(folder, monkeypatch):
    (folder / "face_labels.jsonl").write_text(json.dumps(answer(20)) + "\n" + json.dumps(answer(30))[:50])
    asked = []

    def answers(pictures):
        asked.extend(picture.size for picture in pictures)
        return iter([answer(40)] * len(asked))

    monkeypatch.setattr(face_labels, "face_labels", answers)
    label(folder)
    rows = np.load(folder / "face_labels.npz")
    assert len(asked) == 7  # the line that was cut off is made again
    assert rows["age"].tolist() == [20, *[40] * 7]
    assert rows["expressions"].argmax(1)[0] == EXPRESSIONS.index("happy")
    assert rows["landmarks"].shape == (8, 68, 2)
    assert rows["descriptor"].shape == (8, 128)


def test_the_encoder_learns_goes_on_and_is_written_for_the_mean_latent(folder, monkeypatch):
    small = {"widths": (4, 4, 4), "depths": (1, 1), "head": 4, "style_dim": 32}
    monkeypatch.setattr(encoder, "WEncoder", lambda: WEncoder(**small))
    for name, value in (("BATCH", 4), ("KEEP_EVERY", 2), ("HELD_OUT", 4), ("SIZE", 64)):
        monkeypatch.setattr(encoder, name, value)
    encoder.train(folder, 2)
    before = torch.load(folder / "encoder.pt", weights_only=True)["whitening"]
    samples.sample(folder, 12)  # whose principal directions are others
    encoder.train(folder, 4)
    state = torch.load(folder / "encoder.pt", weights_only=True)
    assert all(torch.equal(state["whitening"][name], value) for name, value in before.items())
    assert state["steps"] == 4
    written = WEncoder.from_state_dict(load_file(folder / "encoder.safetensors"))
    drawn, codes = encoder.Samples(folder), load_file(folder / "codes.safetensors")
    fit = encoder.Fit(encoder.Whitening(drawn.w))
    fit.load(folder / "encoder.pt")
    pictures = torch.rand(2, 3, 64, 64)
    expected = fit.whitening.undo(fit.mean.module.eval()(pictures)[:, 0])
    assert torch.allclose(written(pictures)[:, 0] + codes["latent_avg"], expected, atol=0.02)


def test_a_preview_learns_goes_on_and_is_written_for_s_as_it_is(one_row_studio, tmp_path, monkeypatch, capsys):
    family = one_row_studio.family
    for part in (samples, preview):
        monkeypatch.setattr(part, "load_generator", lambda *_: (family.generator, family.latent_avg[:1]))
    for part in (samples, encoder):
        monkeypatch.setattr(part, "SIZE", 32)
    small = {"FROM": 16, "WIDTH": 6, "ROWS": 8, "BATCH": 2, "KEEP_EVERY": 4, "MEASURED": 2}
    for part, name, value in (
        (samples, "LABELLED", 0),
        (encoder, "HELD_OUT", 4),
        *((preview, *x) for x in small.items()),
    ):
        monkeypatch.setattr(part, name, value)
    samples.sample(tmp_path, 8)
    preview.train(tmp_path, 4)
    preview.train(tmp_path, 60)
    assert capsys.readouterr().out.count("moved in S") == 2
    examples = preview.Examples(family.generator, encoder.Samples(tmp_path))
    fit = preview.Fit(family.generator)
    fit.load(tmp_path / "preview.pt")
    features, standardised, pictures = examples.draw(torch.tensor([0, 3]), 1, torch.Generator().manual_seed(0))
    assert pictures.shape == (2, 3, 32, 32)
    before, after = (part(features.float(), standardised) for part in (preview.Fit(family.generator).model, fit.model))
    assert (after - pictures).square().mean() < (before - pictures).square().mean()
    written = Preview.from_state_dict(load_file(tmp_path / "preview.safetensors"))
    expected = fit.mean.module(features.float(), standardised)
    styles = standardised * examples.spread + examples.centre
    assert torch.allclose(written(features.float(), styles), expected, atol=0.05)


@pytest.fixture
def known(folder, monkeypatch):
    """The samples with labels of all values, and a small CLIP to learn them."""
    count = len(load_file(folder / "codes.safetensors")["w"])
    told, lines = {}, []
    for rule in photo_clip.RULES.values():
        values = list(rule.shares)
        told[f"{rule.attribute}.values"] = np.array(values)
        told[rule.attribute] = np.full((count, len(values)), 1 / len(values), np.float32)
        lines.append([rule.attribute, *(values[seed % len(values)] for seed in range(count))])
    np.savez(folder / "labels.npz", **told)
    seen = np.eye(7, dtype=np.float32)[np.arange(count) % 7]
    np.savez(folder / "face_labels.npz", expressions=seen)
    rows = zip(["seed", *map(str, range(count))], *lines, strict=True)
    (folder / "eye.csv").write_text("\n".join(",".join(row) for row in rows) + "\n")
    monkeypatch.setattr(photo_clip, "EYE_LABELS", folder / "eye.csv")
    for name, value in (("RESOLUTION", 32), ("WIDTH", 2), ("SIZE", 64), ("HELD_OUT", 4)):
        monkeypatch.setattr(photo_clip, name, value)
    for name, value in (("BATCH", 4), ("TEXTS", 8), ("LISTED", 200)):
        monkeypatch.setattr(small_clip, name, value)
    return folder


def test_a_clip_learns_what_faces_show_and_goes_on(known, capsys):
    faces = photo_clip.known_faces(known, 8)
    assert all(faces.shares[name].shape == (8, len(values)) for name, values in CATEGORIES.items())
    assert faces.truth["eyewear"].tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert faces.truth["expression"].tolist() == [1, 2, 0, 4, 3, 4, 3, 1]
    assert faces.truth["hair_length"].tolist() == [0, 0, -1, 1, 0, 0, -1, 1]  # medium is neither
    photo_clip.learn(known, 1e-4)
    first = torch.load(known / "clip.pt", weights_only=True)["steps"]
    photo_clip.learn(known, 2e-2)
    assert torch.load(known / "clip.pt", weights_only=True)["steps"] > first > 0
    model = build_clip(load_file(known / "clip.safetensors"))
    features = model.encode_image(torch.rand(1, 3, 32, 32)), model.encode_text(tokenize("face with a hat"))
    assert all(f.shape == (1, small_clip.EMBED) and f.isfinite().all() for f in features)
    assert "| eyewear |" in capsys.readouterr().out


def test_a_reader_learns_what_people_said_and_goes_on(known, monkeypatch, capsys):
    for name, value in (("BATCH", 4), ("BY_PEOPLE", 2), ("KEEP_EVERY", 2)):
        monkeypatch.setattr(reader, name, value)
    monkeypatch.setattr(encoder, "HELD_OUT", 4)
    monkeypatch.setattr(photo_clip, "RESOLUTION", 128)
    reader.learn(known, 2)
    reader.learn(known, 4)
    assert torch.load(known / "reader.pt", weights_only=True)["steps"] == 4
    model = Reader.from_file(known / "reader.safetensors", CATEGORIES)
    found = model(torch.rand(2, 3, 128, 128))
    assert {name: logits.shape for name, logits in found.items()} == {n: (2, len(v)) for n, v in CATEGORIES.items()}
    assert "| eyewear | " in capsys.readouterr().out


def test_the_encoder_is_shown_what_its_codes_look_like(one_row_studio, tmp_path, monkeypatch, capsys):
    family = one_row_studio.family
    monkeypatch.setattr(family.generator, "preview", None)  # what the part sets is taken back
    for part in (samples, preview, likeness):
        monkeypatch.setattr(part, "load_generator", lambda *_: (family.generator, family.latent_avg[:1]))
    small = {"widths": (4, 4, 4), "depths": (1, 1), "head": 4, "style_dim": family.generator.style_dim}
    monkeypatch.setattr(encoder, "WEncoder", lambda: WEncoder(**small))
    for part, name, value in (
        (samples, "SIZE", 32), (samples, "LABELLED", 0), (encoder, "SIZE", 64), (encoder, "HELD_OUT", 4),
        (encoder, "BATCH", 4), (encoder, "KEEP_EVERY", 2), (likeness, "BATCH", 2), (likeness, "KEEP_EVERY", 2),
        (preview, "FROM", 16), (preview, "WIDTH", 4), (preview, "ROWS", 8), (preview, "BATCH", 2),
    ):  # fmt: skip
        monkeypatch.setattr(part, name, value)
    samples.sample(tmp_path, 8)
    with pytest.raises(UserError, match="part encoder first"):
        likeness.learn(tmp_path, 2)
    encoder.train(tmp_path, 2)
    with pytest.raises(UserError, match="the part preview"):
        likeness.learn(tmp_path, 2)
    preview.Fit(family.generator).export(
        tmp_path / "preview.safetensors", preview.Examples(family.generator, encoder.Samples(tmp_path))
    )
    network = IRSE((4, 8), (1, 1), 16, reduction=4)
    save_file(network.state_dict(), tmp_path / "identity.safetensors")
    before = load_file(tmp_path / "encoder.safetensors")
    likeness.learn(tmp_path, 2)
    likeness.learn(tmp_path, 4)
    assert torch.load(tmp_path / "likeness.pt", weights_only=True)["steps"] == 4
    after = load_file(tmp_path / "encoder.safetensors")
    assert before.keys() == after.keys() and not before["stem.weight"].equal(after["stem.weight"])
    told = capsys.readouterr().out
    assert told.count("| pixels |") == 2


def test_a_value_that_no_face_has_and_labels_of_other_samples_are_named(known):
    with pytest.raises(UserError, match="8 samples"):
        photo_clip.known_faces(known, 9)
    np.savez(known / "face_labels.npz", expressions=np.eye(7, dtype=np.float32)[[0] * 8])
    with pytest.raises(UserError, match="expression: sad"):
        photo_clip.learn(known, 1e-4)
    (known / "labels.npz").unlink()
    with pytest.raises(UserError, match="no labels yet"):
        photo_clip.learn(known, 1e-4)


def test_an_identity_network_learns_to_answer_as_descriptors_do_and_goes_on(folder, monkeypatch, capsys):
    samples.sample(folder, 12)
    descriptors = torch.randn(12, 128, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(encoder, "HELD_OUT", 4)
    for name, value in (("WIDTHS", (4, 8)), ("DEPTHS", (1, 1)), ("BATCH", 4), ("KEEP_EVERY", 2)):
        monkeypatch.setattr(identity, name, value)
    with pytest.raises(UserError, match="face_labels"):
        identity.train(folder, 1)
    np.savez(folder / "face_labels.npz", descriptor=descriptors.numpy())
    identity.train(folder, 2)
    identity.train(folder, 4)
    assert torch.load(folder / "identity.pt", weights_only=True)["steps"] == 4
    network = IRSE.from_state_dict(load_file(folder / "identity.safetensors"))
    assert network(torch.rand(2, 3, 112, 112)).shape == (2, 128)
    assert "cosine that parts people" in capsys.readouterr().out


def test_landmarks_are_learned_where_face_api_saw_them(folder, monkeypatch, capsys):
    """From noise nothing is learned but where points are in the mean: what is written is a model of 68 points."""
    monkeypatch.setattr(encoder, "HELD_OUT", 4)
    monkeypatch.setattr(encoder, "SIZE", 256)
    rng = np.random.default_rng(0)
    for path in (folder / "images").iterdir():
        Image.fromarray(rng.integers(0, 255, (256, 256, 3), dtype=np.uint8)).save(path)
    with pytest.raises(UserError, match="face_labels"):
        landmarks.learn(folder, 6)
    points = 128 + rng.uniform(-60, 60, (68, 2))
    points[36:48] = [(100, 110)] * 6 + [(156, 110)] * 6
    points[48:] = (128, 170)
    np.savez(folder / "face_labels.npz", landmarks=np.tile(points, (8, 1, 1)).astype(np.float32))
    landmarks.learn(folder, 6)
    off = float(re.search(r"of the eye distance \| ([\d.]+) ", capsys.readouterr().out)[1])
    assert off < 40
    FaceFinder.from_file(folder / "landmarks.dat", "landmarks.dat")  # which takes models of 68 points only


def test_answers_that_are_the_descriptors_agree_with_them(monkeypatch):
    """The same people twice: a network that gives the goals finds all of them."""
    people = torch.randn(6, 128, generator=torch.Generator().manual_seed(1))
    descriptors = torch.cat([people, people + 0.02])
    monkeypatch.setattr(identity, "identity_features", lambda _, pictures: identity.goals(descriptors))
    found = identity.agreement(None, torch.zeros(len(descriptors), 3, 8, 8), descriptors)
    assert found["pairs of one person that are found"] == 1
    assert found["correlation with the descriptors' distances"] > 0.9


def test_whitening_is_undone():
    w = torch.randn(200, 6) @ torch.randn(6, 6) + 3
    whitening = encoder.Whitening(w)
    y = whitening.whiten(w)
    assert torch.allclose(y.T.cov(), torch.eye(6), atol=1e-3)
    assert torch.allclose(whitening.undo(y), w, atol=1e-3)


def test_the_encoder_s_sizes_are_read_off_its_state(tmp_path):
    network = WEncoder((4, 6, 8), (1, 2), 3, 10).eval()
    save_file(network.state_dict(), tmp_path / "encoder.safetensors")
    again = WEncoder.from_state_dict(load_file(tmp_path / "encoder.safetensors"))
    x = torch.rand(1, 3, 64, 64)
    with pytest.raises(ValueError, match="expected images"):
        again(x[..., :32, :32])
    assert again(x).shape == (1, 1, 10) and torch.allclose(again(x), network(x))


@pytest.fixture
def labelled(tmp_path, monkeypatch):
    """600 codes whose first number tells the hat, and the largest of the next three the hair; labels of 300 of them,
    some of them unsure, and what face-api says of all."""
    w = torch.randn(600, 8, generator=torch.Generator().manual_seed(0)) + 2
    psi = torch.full((600,), 0.75)
    save_file({"w": w, "psi": psi, "latent_avg": w.mean(0)}, tmp_path / "codes.safetensors")
    hats = ["yes" if x > 2 else "no" for x in w[:, 0]]
    hair = [("short", "medium", "long")[i] for i in w[:, 1:4].argmax(1)]
    asked = ["unsure" if i % 7 == 0 else hat for i, hat in enumerate(hats)]
    lines = [f"{i},0.75,{asked[i]},{hair[i]},yes,{'other' if i < 2 else 'hidden'}" for i in range(300)]
    (tmp_path / "eye.csv").write_text("\n".join(["seed,psi,hat,hair,always,never", *lines]) + "\n")
    monkeypatch.setattr(labels, "EYE_LABELS", tmp_path / "eye.csv")
    age = (30 + 2 * w[:, 5]).numpy()
    expressions = np.full((600, 7), 0.05, np.float32)
    expressions[np.arange(600), np.where(w[:, 6] > 2, 1, 0)] = 0.7 + 0.25 * (np.arange(600) % 2)
    sexes = {"female": np.where(w[:, 7] > 2, 0.9, 0.1).astype(np.float32)}
    np.savez(tmp_path / "face_labels.npz", age=age, expressions=expressions, **sexes)
    return tmp_path, w, hats, hair, age


def test_probes_spread_labels_to_all_samples(labelled, capsys):
    folder, w, hats, hair, age = labelled
    labels.spread(folder)
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in capsys.readouterr().out.splitlines()[2:]]
    table = {row[0]: row[1:] for row in rows}
    # Columns of a single value, or of too few answers, are left out, and answers that tell nothing.
    assert list(table) == ["hat", "hair", "face_api_sex", "face_api_expression", "face_api_age"]
    assert [int(table[name][0]) for name in table] == [257, 300, 600, 300, 600]
    accuracies = {name: float(row[1]) for name, row in table.items() if row[1]}
    assert len(accuracies) == 4 and min(accuracies.values()) > 0.85, accuracies
    with np.load(folder / "labels.npz") as file:
        told = {name: file[name] for name in file.files}
    for name, truth in (("hat", hats), ("hair", hair)):
        assert np.allclose(told[name].sum(1), 1, atol=1e-5)
        assert (told[f"{name}.values"][told[name].argmax(1)] == truth)[300:].mean() > 0.9
        logits = w.numpy() @ told[f"{name}.weight"].T + told[f"{name}.bias"]
        assert np.allclose(torch.from_numpy(logits).softmax(1), told[name], atol=1e-3)
    assert np.corrcoef(told["face_api_age"], age)[0, 1] > 0.99


def test_edited_samples_have_what_their_probe_asks_for_and_are_appended_once(labelled, monkeypatch):
    folder, w = labelled[:2]
    with pytest.raises(UserError, match="no labels yet"):
        edited.extend(folder, 40)
    labels.spread(folder)
    drawn = []
    monkeypatch.setattr(edited, "load_generator", lambda *_: (SimpleNamespace(), None))
    monkeypatch.setattr(edited, "draw_pictures", lambda generator, w, folder: drawn.append(len(w)))
    for _ in range(2):
        edited.extend(folder, 40)
    codes = load_file(folder / "codes.safetensors")
    more, begun = codes["w"][600:], codes["begun"]
    assert drawn == [640, 640] and codes["psi"].shape == (640,) and more.shape == (40, 8) and len(begun) == 40
    assert torch.equal(codes["w"][:600], w)
    with_hats = (more - w[begun]).norm(dim=1) > 0  # face-api saw no anger, surprise or sadness in any of them
    assert 5 <= with_hats.sum() <= 10
    assert (more[with_hats, 0] > 2.2).all()
    assert (more - w[begun])[with_hats, 1:].abs().mean() < 0.3 * (more - w[begun])[with_hats, 0].abs().mean()


def test_a_label_that_has_nothing_to_do_with_w_is_told_by_chance(labelled, capsys):
    folder = labelled[0]
    rng = np.random.default_rng(0)
    lines = [f"{i},0.75,{rng.choice(['yes', 'no'])}" for i in range(300)]
    (folder / "eye.csv").write_text("\n".join(["seed,psi,hat", *lines]) + "\n")
    labels.spread(folder)
    assert 0.38 < float(capsys.readouterr().out.splitlines()[2].split("|")[3]) < 0.62


def test_labels_of_other_samples_are_refused(labelled):
    folder = labelled[0]
    for wrong, told in (("0,0.9,yes", "another ψ"), ("600,0.75,yes", "make the others")):
        (folder / "eye.csv").write_text(f"seed,psi,hat\n{wrong}\n")
        with pytest.raises(UserError, match=told):
            labels.spread(folder)
