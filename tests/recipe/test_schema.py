"""The schema: every value survives a file, every key is used, every key is explained."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from tests.recipe.keys_read import keys_read
from tltool.errors import UsageError
from tltool.recipe.augmentation_policies import OFF
from tltool.recipe.json_schema import json_schema
from tltool.recipe.key_paths import all_keys
from tltool.recipe.library import find, shipped
from tltool.recipe.load import load_recipe, to_yaml
from tltool.recipe.schema import Recipe

SCHEMA = json_schema()
READ = keys_read()
NOT_A_SETTING = {"format"}  # load.py rejects later ones before there is a Recipe
SWITCHES = (
    *(f"augment.{name}" for name in OFF if name != "flip"),
    "model.regularization.drop_block",
)


def entry_of(key: str) -> dict[str, Any]:
    """Return the entry of the JSON Schema for the key at a dotted path."""
    entry: dict[str, Any] = SCHEMA
    for part in key.split("."):
        options = [entry, *entry.get("anyOf", ())]
        inner = next((option["$ref"] for option in options if "$ref" in option), None)
        entry = SCHEMA["$defs"][inner.rsplit("/", 1)[-1]] if inner else entry
        entry = entry["properties"][part]
    return entry


def values(entry: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return the values that a JSON Schema allows."""
    if "anyOf" in entry:
        return st.one_of(*map(values, entry["anyOf"]))
    if "const" in entry:
        return st.just(entry["const"])
    if "enum" in entry:
        return st.sampled_from(entry["enum"])
    match entry["type"]:
        case "integer":
            below = entry.get("exclusiveMaximum", 10**9 + 1) - 1
            return st.integers(entry["minimum"], entry.get("maximum", below))
        case "number":
            return st.floats(
                entry.get("minimum", entry.get("exclusiveMinimum")),
                entry.get("maximum", entry.get("exclusiveMaximum", 1e300)),
                exclude_min="exclusiveMinimum" in entry,
                exclude_max="exclusiveMaximum" in entry,
            )
        case "array":
            sizes = {"min_size": entry["minItems"], "max_size": entry["maxItems"]}
            return st.lists(values(entry["items"]), **sizes)
        case "string" if "pattern" in entry:
            return st.from_regex(entry["pattern"].replace("$", r"\Z"))
        case "string":
            return st.text(min_size=entry.get("minLength", 0))
    return {"boolean": st.booleans(), "null": st.none()}[entry["type"]]


def some_recipe() -> st.SearchStrategy[dict[str, Any]]:
    """Return trees of any keys with any valid values; paths of data are absolute."""
    by_key = {key: values(entry_of(key)) for key in all_keys()}
    letters = st.characters(exclude_characters="/.", exclude_categories=["Cs"])
    places = st.none() | st.text(letters, min_size=1).map(lambda name: f"/{name}")
    names = st.text(letters.filter(lambda letter: letter != "\\"), min_size=1)
    by_key |= {"data.source": places, "data.ood_images": places, "model.backbone": names}
    chosen = st.fixed_dictionaries({}, optional=by_key)
    return st.tuples(chosen, st.sets(st.sampled_from(SWITCHES))).map(lambda drawn: nested(*drawn))


def nested(flat: dict[str, Any], off: set[str]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in {**flat, **dict.fromkeys(off)}.items():
        if not any(key.startswith(f"{section}.") for section in off):
            *sections, leaf = key.split(".")
            inner = tree
            for section in sections:
                inner = inner.setdefault(section, {})
            inner[leaf] = value
    return tree


@pytest.mark.thorough
@settings(max_examples=100)
@given(some_recipe())
def test_any_keys_written_and_read_are_the_same_recipe(tmp_path_factory, tree):
    file = tmp_path_factory.getbasetemp() / "vgg16.yaml"  # the default name
    recipe = Recipe.model_validate(tree)
    file.write_text(yaml.safe_dump(tree), encoding="utf-8")
    assert load_recipe(str(file)) == recipe
    file.write_text(to_yaml(recipe), encoding="utf-8")
    assert load_recipe(str(file)) == recipe


@pytest.mark.parametrize("key", sorted(set(all_keys()) - NOT_A_SETTING))
def test_every_key_is_read_somewhere(key):
    assert key in READ, f"nothing reads {key}"


def test_a_key_that_nothing_reads_would_be_detected():
    assert "train.nonsense" not in READ
    assert all("." in key or key in Recipe.model_fields for key in READ if key in all_keys())


def sections() -> list[type[BaseModel]]:
    return [Recipe, *(other for other in Recipe.__base__.__subclasses__() if other is not Recipe)]


@pytest.mark.parametrize("section", sections(), ids=lambda section: section.__name__)
def test_every_key_is_explained(section):
    for name, field in section.model_fields.items():
        assert field.description, f"{section.__name__}.{name}"


def test_a_recipe_cannot_be_changed_by_accident():
    recipe = Recipe()
    with pytest.raises(ValueError, match="frozen"):
        recipe.seed = 3


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf"])
def test_no_number_is_nan_or_infinite(tmp_path, value):
    (tmp_path / "r.yaml").write_text(f"train: {{head: {{learning_rate: {value}}}}}")
    with pytest.raises(UsageError):
        load_recipe(str(tmp_path / "r.yaml"))


# the JSON Schema ----------------------------------------------------------------------------


def test_the_json_schema_rejects_unknown_keys_everywhere():
    assert SCHEMA["additionalProperties"] is False
    assert all(section["additionalProperties"] is False for section in SCHEMA["$defs"].values())


@pytest.mark.parametrize("key", all_keys())
def test_the_json_schema_explains_every_key_on_one_line(key):
    assert entry_of(key)["description"]
    assert "\n" not in entry_of(key)["description"]


def test_the_json_schema_knows_what_only_files_have():
    assert "base" in SCHEMA["properties"]
    assert {"on", "off", "auto", False} <= set(entry_of("train.cache")["anyOf"][1]["enum"])


@pytest.mark.parametrize("name", [name for name, _ in shipped()])
def test_the_json_schema_knows_every_key_of_the_shipped_recipes(name):
    for key in keys_of(yaml.safe_load(find(name).read_text("utf-8"))):
        assert entry_of(key)


def keys_of(tree: dict[str, Any], prefix: str = "") -> list[str]:
    found = []
    for key, value in tree.items():
        inner = isinstance(value, dict)
        found += keys_of(value, f"{prefix}{key}.") if inner else [f"{prefix}{key}"]
    return found
