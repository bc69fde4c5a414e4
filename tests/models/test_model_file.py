"""A .keras file of someone else names only layers that compute, and contains what it claims."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tltool.models.model_file import check_model_file, load_model_file


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    keras.utils.set_random_seed(0)
    images = keras.Input((8, 8, 3))
    flow = keras.layers.Conv2D(4, 3, kernel_regularizer="l2")(images)
    flow = keras.layers.BatchNormalization()(flow)
    flow = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(flow))
    model = keras.Model(images, keras.layers.Dense(2, name="logits")(flow))
    path = tmp_path_factory.mktemp("model") / "model.keras"
    model.save(path)
    return path


def changed(path: Path, target: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Write a copy of a model in which ``change`` was applied to its last layer."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                config = json.loads(content)
                change(config["config"]["layers"][-1])
                content = json.dumps(config).encode()
            new.writestr(name, content)
    return target


def test_a_valid_file_gives_the_model_that_keras_loads(saved):
    model, expected = load_model_file(saved), keras.saving.load_model(saved, compile=False)
    images = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    np.testing.assert_array_equal(model(images), expected(images))


def becomes(class_name: str, module: str, **config: object) -> Callable[[dict[str, Any]], object]:
    def change(layer: dict[str, Any]) -> None:
        layer.update(class_name=class_name, module=module)
        layer["config"].update(config)

    return change


def registered_as(
    name: str, change: Callable[[dict[str, Any]], object]
) -> Callable[[dict[str, Any]], object]:
    """Add a name that Keras looks up before the module, and ignores if nobody registered it."""

    def registered(layer: dict[str, Any]) -> None:
        change(layer)
        layer["registered_name"] = name

    return registered


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            becomes("StringLookup", "keras.layers", vocabulary="/etc/passwd"),
            "keras.layers.StringLookup, not",
        ),
        (
            registered_as("tltool>x", becomes("StringLookup", "keras.layers", vocabulary="x")),
            "StringLookup, not",
        ),
        (becomes("TFSMLayer", "keras.layers", filepath="elsewhere"), "TFSMLayer, not"),
        (becomes("Lambda", "keras.layers"), "Lambda, not"),
        (becomes("system", "os"), "os.system, not"),
        (becomes("get_file", "keras.utils"), "get_file, not"),
        (becomes("Dense", "keras.src.layers.core.dense"), "dense.Dense, not"),
        (lambda layer: layer["config"].update(units=10_000_000), "claims 50,000,1.. weights"),
    ],
)
def test_a_file_that_does_more_than_compute_is_refused(change, message, saved, tmp_path):
    path = changed(saved, tmp_path / "model.keras", change)
    with pytest.raises(ValueError, match=message):
        load_model_file(path)
    with pytest.raises(ValueError, match=message):
        check_model_file(path)
