"""An exported model is named after its data, unless the user names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tltool.recipe.load import load_recipe
from tltool.recipe.overrides import Override
from tltool.recipe.schema import Recipe
from tltool.recipe.source_text import data_name
from tltool.runs.run_options import RunOptions
from tltool.workflows.resolve.export_name import export_name


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("ants and bees", "ants_and_bees"),
        ("birds/train", "birds"),
        ("birds/Data", "birds"),
        ("pets.tar.gz", "pets"),
        ("labels.csv", "labels"),
        ("tfds:tf_flowers:3.0.1", "tf_flowers"),
        ("wds:shards/pets.tar", "pets"),
        ("花", ""),
    ],
)
def test_data_gives_its_name(source: str, name: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("ants and bees", "birds/train", "birds/Data", "花"):
        Path(folder).mkdir(parents=True)
    assert data_name(source) == name


def test_a_name_that_the_user_chose_counts_and_that_of_a_recipe_does_not(tmp_path: Path) -> None:
    options = RunOptions(str(tmp_path / "birds"))

    def name(recipe: Recipe) -> str:
        return export_name(recipe, options)

    assert name(load_recipe("quick")) == "birds"
    assert name(load_recipe("quick", ["name=mine"])) == "mine"
    follows = Override("name", "resnet18", "--backbone resnet18", by_user=False)
    assert load_recipe("quick", [follows]).name == "resnet18"
    assert name(load_recipe("quick", [follows])) == "birds"
    (tmp_path / "own.yaml").write_text("base: quick\n", encoding="utf-8")
    assert name(load_recipe(str(tmp_path / "own.yaml"))) == "birds"
    (tmp_path / "named.yaml").write_text("base: quick\nname: mine\n", encoding="utf-8")
    assert name(load_recipe(str(tmp_path / "named.yaml"))) == "mine"
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").write_text("name: quick\n", encoding="utf-8")
    (tmp_path / "run" / "manifest.json").touch()
    assert name(load_recipe(str(tmp_path / "run"))) == "birds"
