"""The photo family's model card, and a table in it."""

import pytest

from families.photo import card, reader, samples
from pipeline.errors import UserError


def test_a_value_of_which_there_are_no_faces_does_not_count():
    found = reader.table({"beard": [0.5, float("nan")], "hat": [1.0, 0.5]})
    assert "| beard | 0.500 | no 0.50, yes nan |" in found and "| hat | 0.750 |" in found


def test_the_card_has_what_the_parts_measured_and_the_files(tmp_path, monkeypatch):
    monkeypatch.setattr(card, "CHECKPOINTS", tmp_path / "photo")
    (tmp_path / "photo").mkdir()
    (tmp_path / "photo" / "clip.safetensors").write_bytes(b"x" * 12_000)
    for part in list(card.SECTIONS)[1:]:
        samples.tell(tmp_path, part, f"| {part} | 0.5 |")
    with pytest.raises(UserError, match="The part labels has measured nothing yet"):
        card.write(tmp_path)
    samples.tell(tmp_path, "labels", "| sex | 0.97 |")
    card.write(tmp_path)
    text = (tmp_path / "photo" / "README.md").read_text()
    assert "| sex | 0.97 |" in text and "| likeness | 0.5 |" in text and "| clip.safetensors | 0.01 MB |" in text
    assert "Apache-2.0" in text and "NVIDIA Source Code License-NC" in text
