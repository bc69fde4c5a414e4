"""The schema: every value survives a file, every key is used, every key is explained."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

import tltool
from tltool.recipe.load import all_keys, load_recipe, to_yaml
from tltool.recipe.schema import Recipe

PACKAGE = Path(tltool.__file__).parent

SECTIONS = sorted({part for key in all_keys() for part in key.split(".")[:-1]})

CHANGES: dict[str, st.SearchStrategy[Any]] = {
    "name": st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,20}\Z"),
    "seed": st.integers(0, 2**31 - 1),
    "data": st.fixed_dictionaries(
        {},
        optional={
            "image_size": st.none() | st.integers(16, 2048),
            "resize": st.sampled_from(["squash", "crop", "pad"]),
            "validation_fraction": st.floats(0.01, 0.8),
        },
    ),
    "augment": st.fixed_dictionaries(
        {},
        optional={
            "flip": st.sampled_from(["none", "horizontal", "vertical"]),
            "crop": st.none() | st.fixed_dictionaries({"min_area": st.floats(0.01, 1)}),
            "mixup": st.none() | st.fixed_dictionaries({"alpha": st.floats(1e-6, 10)}),
        },
    ),
    "train": st.fixed_dictionaries(
        {},
        optional={
            "weight_decay": st.floats(0, 0.99),
            "cache": st.sampled_from(["auto", True, False, {"views": 3}]),
            "precision": st.sampled_from(["auto", "float32", "bfloat16"]),
            "probe": st.fixed_dictionaries(
                {"strengths": st.lists(st.floats(1e-300, 1e300), min_size=1, max_size=12)}
            ),
        },
    ),
    "model": st.fixed_dictionaries({}, optional={"backbone": st.text(), "weights": st.text()}),
}


@settings(max_examples=60, deadline=None)
@given(st.fixed_dictionaries({}, optional=CHANGES))
def test_a_resolved_recipe_written_and_read_is_the_same(tmp_path_factory, tree):
    recipe = Recipe.model_validate(tree)
    file = tmp_path_factory.getbasetemp() / "round_trip.yaml"
    file.write_text(to_yaml(recipe), encoding="utf-8")
    assert load_recipe(str(file)) == recipe


def sources() -> str:
    """Return all code that may read a recipe: everything but the schema itself."""
    parts = [
        path.read_text("utf-8")
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.name != "schema.py" and path.parent.name != "recipe"
    ]
    return "\n".join(parts)


@pytest.mark.parametrize("key", all_keys())
def test_every_key_is_read_somewhere(key):
    leaf = key.rsplit(".", 1)[-1]
    holder = "|".join([*SECTIONS, "recipe", "settings", "given"])
    assert re.search(rf"\b({holder})\.{leaf}\b", sources()), f"nothing reads {key}"


def sections(model: type[BaseModel]) -> list[type[BaseModel]]:
    return [model, *(other for other in Recipe.__base__.__subclasses__() if other is not model)]


@pytest.mark.parametrize("section", sections(Recipe), ids=lambda section: section.__name__)
def test_every_key_is_explained(section):
    for name, field in section.model_fields.items():
        assert field.description, f"{section.__name__}.{name}"


def test_a_recipe_cannot_be_changed_by_accident():
    recipe = Recipe()
    with pytest.raises(ValueError, match="frozen"):
        recipe.seed = 3


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf"])
def test_no_number_is_nan_or_infinite(tmp_path, value):
    from tltool.errors import UsageError

    (tmp_path / "r.yaml").write_text(f"train: {{head: {{learning_rate: {value}}}}}")
    with pytest.raises(UsageError):
        load_recipe(str(tmp_path / "r.yaml"))
