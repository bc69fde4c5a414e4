"""Options such as --epochs set the keys of the phases that a recipe has."""

from __future__ import annotations

from typing import Any

import pytest

from tltool.errors import UsageError
from tltool.recipe.load import read_recipe
from tltool.recipe.overrides import parse_override
from tltool.recipe.shorthands import Shorthands, shorthand_overrides


def keys(recipe: str, *settings: str, **given: Any) -> dict[str, object]:
    parsed = [parse_override(setting) for setting in settings]
    overrides = shorthand_overrides(read_recipe(recipe), parsed, Shorthands(**given))
    return {one.key: one.value for one in overrides[len(parsed) :]}


def test_epochs_are_those_of_every_phase_that_the_recipe_has():
    both = {"train.head.epochs": 3, "train.finetune.epochs": 3}
    assert keys("vgg16", epochs=3) == both
    assert keys("scratch", epochs=3) == {"train.finetune.epochs": 3}
    assert keys("vgg16", "train.finetune.epochs=0", epochs=3) == {"train.head.epochs": 3}


def test_the_learning_rate_is_that_of_the_last_phase():
    assert keys("vgg16", learning_rate=0.1) == {"train.finetune.learning_rate": 0.1}
    only_head = "train.finetune.epochs=0"
    assert keys("vgg16", only_head, learning_rate=0.1) == {"train.head.learning_rate": 0.1}


def test_a_probe_has_no_epochs():
    with pytest.raises(UsageError, match="fits only the linear probe"):
        keys("quick", learning_rate=0.1)
    assert keys("quick", image_size=64, batch_size=8) == {
        "train.batch_size": 8,
        "data.image_size": 64,
    }
