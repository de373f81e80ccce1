"""Small pictures for sliders: where there is one, and where the whole picture has to do."""

from dataclasses import replace

import pytest

from pipeline import StyleCLIP
from pipeline.errors import UserError
from pipeline.networks.stylegan2 import Generator
from webapp.backends.travelling import packed, unpacked_request
from webapp.jobs import CHANGED, STOPPING
from webapp.model_handle import ModelHandle

SMALL = 16


@pytest.fixture
def quick(studio, monkeypatch):
    """The seeded family, whose generator is said to draw small pictures for less."""
    monkeypatch.setattr(Generator, "working_size", property(lambda self: SMALL))
    return ModelHandle(studio)


def test_it_is_small_and_of_the_latent(quick, studio):
    latent = studio.sample(1)
    small = quick.glance(lambda model: latent)
    assert small.size == (SMALL, SMALL)
    assert small.tobytes() == studio.image(latent, SMALL).tobytes()


def test_there_is_none_where_it_would_be_no_quicker(studio):
    assert ModelHandle(studio).glance(lambda model: studio.sample(1)) is None


def test_of_a_tuned_face_there_is_one_where_small_pictures_were_tuned_too(quick, studio, photo, monkeypatch):
    (face,) = studio.align(photo)[:1]
    (step,) = studio.tune(studio.invert(face), face, steps=1)
    assert quick.glance(lambda model: step.latent).size == (SMALL, SMALL)
    monkeypatch.setattr(Generator, "preview_weights", lambda self: {"preview.conv1": None})
    assert quick.glance(lambda model: step.latent) is None
    assert quick.glance(lambda model: studio.sample(1)) is not None


def test_what_is_wrong_is_left_to_the_whole_edit_to_say(quick):
    def wrong(model: StyleCLIP):
        raise UserError("These words say nothing.")

    def changed(model: StyleCLIP):
        quick.release()
        return model.sample(1)

    assert quick.glance(wrong) is None
    assert quick.glance(changed).size == (SMALL, SMALL)
    with pytest.raises(UserError, match="model was changed"):
        quick.glance(wrong)


@pytest.mark.parametrize("why", [STOPPING, CHANGED])
def test_who_comes_after_the_studio_was_let_go_of_is_told_why(studio, why):
    handle = ModelHandle(studio)
    optimize = handle.optimize
    handle.jobs.stop(why)
    handle.release()
    with pytest.raises(UserError, match=why):
        handle.sample(1)
    with pytest.raises(UserError, match=why):
        next(optimize(studio.sample(1), "an old face", 1).places())


def test_an_edit_goes_to_another_process_without_its_picture(studio):
    latent = studio.sample(1)
    edit = replace(studio.map(latent, "levels"), draw=lambda: pytest.fail("drawn for nobody"))
    with unpacked_request(packed(("adjust", (latent, edit, 0.5), {}), pictures=False), studio) as (_, make):
        assert make().image.tobytes() == studio.adjust(latent, edit, 0.5).image.tobytes()
