"""The registry is literal, complete and true to the networks it names."""

from __future__ import annotations

import functools
import subprocess
import sys

import keras
import numpy as np
import pytest

from tests.conftest import by_cost
from tests.models.families import WALKED
from tltool.errors import UsageError
from tltool.evaluation.explain.saliency import Explainer
from tltool.models.backbone_registry import BACKBONES, Backbone, get_backbone, listed_backbones
from tltool.models.build import build_model
from tltool.models.layer_table import layer_rows
from tltool.models.network_parts import Network
from tltool.weights.keras_files import KERAS_FILES
from tltool.weights.published import PUBLISHED

# built like smaller ones of their family
LARGE = (
    *("resnet101", "resnet152", "resnet101v2", "resnet152v2"),
    *("efficientnet_lite1", "efficientnet_lite2"),
)
BY_KERAS = [row[0] for row in KERAS_FILES]
# small, and yet with more than one position at the end
SIZES = {
    "alexnet": 99,
    "inception_v3": 111,
    "inception_resnet_v2": 111,
    "xception": 71,
    "convnext_tiny": 40,
}


@functools.lru_cache(maxsize=1)
def classifier(name: str) -> keras.Model:
    return build_model(
        get_backbone(name),
        image_size=(size_of(name),) * 2,
        classes=3,
        head="gap",
        dropout=0.2,
        hidden_units=0,
        norm="none",
        weights=None,
        seed=0,
    )


def size_of(name: str) -> int:
    return SIZES.get(name, 64)


def images(size: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (2, size, size, 3)).astype("float32")


# one test per backbone, so that each is built once
@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    by_cost(
        list(BACKBONES),
        *("lenet5", "vgg16", "resnet18"),
        thorough=[
            *(name for name in BACKBONES if name not in (*LARGE, *BY_KERAS)),
            *(name for name in WALKED if name != "convnext_tiny"),  # its heat map takes a minute
        ],
    ),
)
def test_every_entry_is_correct_and_can_be_cut_at_every_stage(name: str) -> None:
    backbone, model, x = get_backbone(name), classifier(name), images(size_of(name))
    inside = [layer for layer in model.layers if not layer.name.startswith("head_")]
    assert sum(layer.count_params() for layer in inside) == backbone.parameters
    logits = np.asarray(model(x, training=False))
    rows = {row.name: row for row in layer_rows(model, backbone)}
    for stage in backbone.stages:
        output = model.get_layer(stage.layer).output
        assert tuple(output.shape[1:]) == rows[stage.layer].output
        assert (rows[stage.layer].jump, output.shape[-1]) == (stage.stride, stage.channels)
        check_cut(model, backbone, stage.name, x, logits)
    check_explained(Network(model, backbone, "gap"), x, logits)


def check_cut(
    model: keras.Model, backbone: Backbone, stage: str, x: np.ndarray, logits: np.ndarray
) -> None:
    if backbone.previous(stage) is None:
        return
    cut = Network(model, backbone, "gap").cut(stage)
    trunk, tail = keras.Model(model.input, cut), keras.Model(cut, model.output)
    activation = trunk(x, training=False)
    np.testing.assert_array_equal(np.asarray(tail(activation, training=False)), logits)


def check_explained(network: Network, x: np.ndarray, logits: np.ndarray) -> None:
    found = Explainer(network, "grad-cam++")(x, [0, 2])
    assert min(found.maps.shape[1:]) > 1, "Grad-CAM needs positions"
    assert found.maps.max() == 1
    np.testing.assert_allclose(found.logits, logits, rtol=1e-3)


def test_tests_nets_are_not_listed() -> None:
    assert [b.name for b in listed_backbones() if b.licence] == list(PUBLISHED)
    assert len(listed_backbones(include_test=True)) == len(BACKBONES)


def test_the_registry_is_read_without_tensorflow() -> None:
    code = (
        "import sys, tltool.models.backbone_registry\n"
        "import tltool.weights.fetch_weights, tltool.weights.load_weights\n"
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_backbone_asks_did_you_mean() -> None:
    with pytest.raises(UsageError, match="Did you mean 'resnet50'") as caught:
        get_backbone("ResNet-50")
    assert "tltool backbones list" in str(caught.value.hint)


def test_an_unknown_stage_names_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"vgg16 has no stage 'blok5'\. Did you mean") as caught:
        get_backbone("vgg16").stage("blok5")
    assert "block1, block2" in str(caught.value.hint)


def test_the_cut_lies_before_the_stage_that_is_unfrozen() -> None:
    before = get_backbone("vgg16").previous("block5")
    assert before is not None
    assert (before.layer, before.stride, before.channels) == ("block4_pool", 16, 512)
    assert get_backbone("vgg16").previous("block1") is None
