"""Captions say what their meaning says, and the CLIP's joint space keeps attributes apart."""

import random

import torch

from families.clip import Space
from families.drawn.attributes import CATEGORIES, attributes, labels, sample_z
from families.drawn.captions import CAPTIONS
from families.drawn.clip import NUMBERS_OF, known_faces


def test_captions_state_every_value_and_repeat() -> None:
    drawn = [CAPTIONS.caption(random.Random(i)) for i in range(3000)]
    meanings = torch.stack([meaning for _, meaning in drawn])
    assert (meanings.sum(0) > 20).all()
    assert 200 < (meanings.sum(1) == 0).sum() < 700
    assert drawn[7][0] == CAPTIONS.caption(random.Random(7))[0]
    assert all(len(CAPTIONS.prompts[name]) == len(values) for name, values in CATEGORIES.items())


def test_meaning_of_one_category_is_shared() -> None:
    found = CAPTIONS.meaning(["lips=red,lips=pink", "age=old"])
    stated = {"=".join(CAPTIONS.values[i]): found[i].item() for i in found.nonzero()[:, 0]}
    assert stated == {"lips=red": 0.5, "lips=pink": 0.5, "age=old": 1.0}


def test_faces_agree_with_labels_and_values_of_different_categories_are_orthogonal() -> None:
    a = attributes(sample_z(3000, 5))
    truth = labels(a)
    seen = known_faces(a)
    for name, share in seen.shares.items():
        clear = truth[name] >= 0
        assert torch.equal(share[clear].argmax(1), truth[name][clear]), name
        assert (share[clear].max(1).values > 0.9).all(), name
    space = Space(CAPTIONS, NUMBERS_OF, seen)
    apart = torch.tensor([[p[0] != q[0] for q in CAPTIONS.values] for p in CAPTIONS.values])
    assert (space.values @ space.values.T)[apart].abs().max() < 1e-5
    # a statement's nearest faces show it
    faces = space.faces(seen)
    beard = torch.zeros(1, len(CAPTIONS.values))
    beard[0, CAPTIONS.values.index(("beard", "yes"))] = 1
    nearest = (faces @ space.texts(beard).T)[:, 0].topk(50).indices
    assert (truth["beard"][nearest] == 1).all()
