"""What each method is told: the same for the library, recipes, programs and links."""

import pytest

from pipeline.errors import UserError
from pipeline.models.registry import Defaults, read_registry
from pipeline.parameters import METHODS, checked, completed

VALUES = {"prompt": "a man", "target": "old face", "neutral": "face", "mapper": "afro", "style": "neon", "sliders": []}


@pytest.mark.parametrize("method", METHODS)
def test_the_family_has_a_default_for_all_that_need_not_be_given(method):
    fields = METHODS[method].model_fields
    given = {name: VALUES[name] for name, field in fields.items() if field.is_required()}
    assert list(completed(method, Defaults(), given)) == [n for n in fields if n not in ("threshold", "keep")]
    assert checked(method, dict.fromkeys(fields) | given) == given


def test_the_default_has_a_name_of_its_own_where_methods_share_a_parameter():
    own = {"mapper_strength": 0.2, "style_strength": 0.7, "csla_strength": 0.4}
    defaults = Defaults(strength=5.0, steps=77, paint_steps=12, neutral="a thing", prompt_neutral="an it", **own)
    strengths = {"direct": 5.0, "map": 0.2, "style": 0.7, "csla_edit": 0.4, "csla_generate": 0.4}
    for method, strength in strengths.items():
        assert completed(method, defaults, WORDS_OF[method])["strength"] == strength
    assert completed("optimize", defaults, {"prompt": "a man"})["neutral"] == "an it"
    assert completed("optimize", defaults, {"prompt": "a man"})["steps"] == 77
    assert completed("paint", defaults, PAIR)["steps"] == 12
    assert completed("csla_generate", defaults, {"prompt": "a man"})["neutral"] == "a thing"
    assert "channels" not in completed("direct", defaults, WORDS_OF["direct"] | {"threshold": 0.1})


PAIR = {"target": "old face", "neutral": "face"}
WORDS_OF = {
    "direct": PAIR,
    "csla_edit": PAIR,
    "map": {"mapper": "afro"},
    "style": {"style": "neon"},
    "csla_generate": {"prompt": "a man"},
}


def test_the_list_of_levels_is_each_edit_s_own():
    levels = completed("csla_edit", Defaults(), PAIR)["levels"]
    levels.clear()
    assert completed("csla_edit", Defaults(), PAIR)["levels"] == ["coarse", "medium", "fine"]


@pytest.mark.parametrize("name", ["csla_strength", "bridge_strength"])
def test_models_files_from_before_are_read(name, tmp_path, monkeypatch):
    (tmp_path / "own.toml").write_text(f"[families.demo]\nresolution = 256\n[families.demo.defaults]\n{name} = 0.7\n")
    monkeypatch.setenv("STYLECLIP_MODELS", str(tmp_path / "own.toml"))
    assert read_registry()["demo"].defaults.csla_strength == 0.7


def test_a_missing_or_unknown_name_is_named():
    with pytest.raises(TypeError, match="`direct` needs `neutral`"):
        checked("direct", {"target": "old face"})
    with pytest.raises(TypeError, match="`generate` has no `colour`"):
        checked("generate", {"prompt": "a man", "colour": "red"})
    with pytest.raises(TypeError, match="`map` needs `mapper`"):
        completed("map", Defaults(), {})


def test_a_wrong_value_is_named():
    with pytest.raises(TypeError, match="`prompt` is a text, not NoneType"):
        checked("generate", {"prompt": None})
    with pytest.raises(UserError, match="`lr` is a number from 0 to 10, not 11"):
        checked("generate", {"prompt": "a man", "lr": 11})
