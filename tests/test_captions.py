"""Captions say what their meaning says, and the CLIP's joint space keeps attributes apart."""

import random

import torch

from pipeline.training.demo import captions, clip
from pipeline.training.demo.attributes import CATEGORIES, attributes, labels, sample_z


def test_captions_state_every_value_and_repeat() -> None:
    drawn = [captions.caption(random.Random(i)) for i in range(3000)]
    meanings = torch.stack([meaning for _, meaning in drawn])
    assert (meanings.sum(0) > 20).all()
    assert 200 < (meanings.sum(1) == 0).sum() < 700
    assert drawn[7][0] == captions.caption(random.Random(7))[0]
    assert all(len(captions.PROMPTS[name]) == len(values) for name, values in CATEGORIES.items())


def test_meaning_of_one_category_is_shared() -> None:
    found = captions.meaning(["lips=red,lips=pink", "age=old"])
    stated = {"=".join(captions.VALUES[i]): found[i].item() for i in found.nonzero()[:, 0]}
    assert stated == {"lips=red": 0.5, "lips=pink": 0.5, "age=old": 1.0}


def test_faces_agree_with_labels_and_values_of_different_categories_are_orthogonal() -> None:
    a = attributes(sample_z(3000, 5))
    truth = labels(a)
    for name, share in clip.weights(a).items():
        clear = truth[name] >= 0
        assert torch.equal(share[clear].argmax(1), truth[name][clear]), name
        assert (share[clear].max(1).values > 0.9).all(), name
    space = clip.Space(a, truth)
    apart = torch.tensor([[p[0] != q[0] for q in captions.VALUES] for p in captions.VALUES])
    assert (space.values @ space.values.T)[apart].abs().max() < 1e-5
    # a statement's nearest faces show it
    faces = space.faces(a)
    beard = torch.zeros(1, len(captions.VALUES))
    beard[0, captions.VALUES.index(("beard", "yes"))] = 1
    nearest = (faces @ space.texts(beard).T)[:, 0].topk(50).indices
    assert (truth["beard"][nearest] == 1).all()
