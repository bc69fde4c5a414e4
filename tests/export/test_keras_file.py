"""The Keras export opens in every version of Keras that the documentation promises."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest

from tests.conftest import by_cost, unless_thorough
from tltool.errors import GateError
from tltool.export.convert import with_probabilities
from tltool.export.keras_file import OLDEST_KERAS, write_keras_file
from tltool.models.backbone_registry import get_backbone
from tltool.models.build import build_model

# keys of Keras 3.15 that Keras 3.6 rejects
NEW_KEYS = {"quantization_config", "renorm", "renorm_clipping", "renorm_momentum", "input_axes"}
CASES = [
    *(
        ("tiny_vgg", head, "none")
        for head in ("gap", "gap_conv", "gap_max", "flatten", "attention")
    ),
    *(("tiny_resnet", "mlp", norm) for norm in ("batch", "layer", "group")),
]


def network(backbone: str, head: str, norm: str) -> keras.Model:
    model = build_model(
        get_backbone(backbone),
        image_size=(32, 32),
        classes=3,
        head=head,
        dropout=0.1,
        hidden_units=8,
        norm=norm,
        weights=None,
        seed=1,
        groups=2,
    )
    return with_probabilities(model, 1.3)


def images() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)


def keys(tree: object) -> set[str]:
    if isinstance(tree, dict):
        return set(tree).union(*map(keys, tree.values()))
    return set().union(*map(keys, tree)) if isinstance(tree, list) else set()


@pytest.mark.parametrize(("backbone", "head", "norm"), unless_thorough(CASES, CASES[0], CASES[-1]))
def test_a_file_has_no_setting_that_older_versions_reject(tmp_path, backbone, head, norm):
    model = network(backbone, head, norm)
    write_keras_file(model, tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        found = keys(json.loads(archive.read("config.json")))
        assert archive.testzip() is None
    assert not found & NEW_KEYS
    assert not any(key.endswith("_initializer") for key in found)
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(images()), model(images()))
    assert [layer.dtype_policy.name for layer in loaded.layers] == ["float32"] * len(loaded.layers)
    assert [path.name for path in tmp_path.iterdir()] == ["model.keras"]


def wrapped(layer: keras.layers.Layer) -> keras.Model:
    inputs = keras.Input((4,), name="images")
    return keras.Model(inputs, layer(inputs))


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (keras.layers.BatchNormalization(renorm=True, name="bn"), "'bn'"),
        (keras.layers.UnitNormalization(name="unit"), "'unit' is a UnitNormalization"),
    ],
)
def test_what_the_oldest_version_does_not_know_fails_the_gate(tmp_path, layer, expected):
    with pytest.raises(GateError, match=f"{expected}.*Keras {OLDEST_KERAS}"):
        write_keras_file(wrapped(layer), tmp_path / "model.keras")


OPEN = """
import sys
sys.path.insert(0, sys.argv[1])
import keras, numpy as np
assert keras.__version__ == sys.argv[2], keras.__version__
for number in range(int(sys.argv[4])):
    model = keras.saving.load_model(f"{sys.argv[3]}/{number}.keras")
    outputs = np.asarray(model(np.load(f"{sys.argv[3]}/images.npy"), training=False))
    np.testing.assert_allclose(outputs, np.load(f"{sys.argv[3]}/{number}.npy"), atol=1e-6)
"""


@pytest.mark.parametrize(
    "version", by_cost(["3.6.0", "3.8.0", "3.12.0"], thorough=[OLDEST_KERAS + ".0"])
)
def test_older_versions_open_it_and_predict_the_same(tmp_path, version):
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target"]
    fetched = subprocess.run([*command, str(tmp_path / "keras"), f"keras=={version}"])
    if fetched.returncode:
        pytest.skip(f"Keras {version} cannot be downloaded")
    for number, case in enumerate(CASES):
        model = network(*case)
        write_keras_file(model, tmp_path / f"{number}.keras")
        np.save(tmp_path / f"{number}.npy", model(images(), training=False))
    np.save(tmp_path / "images.npy", images())
    arguments = [str(tmp_path / "keras"), version, str(tmp_path), str(len(CASES))]
    child = subprocess.run(
        [sys.executable, "-c", OPEN, *arguments],
        env={**os.environ, "KERAS_BACKEND": "tensorflow", "KERAS_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert child.returncode == 0, child.stderr[-2000:]
