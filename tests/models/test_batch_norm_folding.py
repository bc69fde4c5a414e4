"""Folded batch normalisation changes the speed of inference, not its results."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import by_cost
from tests.models.families import WALKED
from tltool.models.backbone_registry import BACKBONES, get_backbone
from tltool.models.batch_norm_folding import FoldedConv2D, FusedNorm, folded, folding_version
from tltool.models.build import build_model
from tltool.models.network_parts import Network
from tltool.models.regularization_spec import RegularizationSpec
from tltool.training.precision import FLOAT32
from tltool.training.validation import Pooling

KINDS = ("resnet50", "resnet50v2", "efficientnet_lite0", "mobilenet_v3_small", "tiny_resnet")
"""One of each way of building; tiny_resnet has the blocks of resnet18 and resnet34."""
WITH_NORMS = [name for name, entry in BACKBONES.items() if entry.norm_channels]


def make(name: str, size: int = 32, **changes: Any) -> Network:
    """Return a network whose batch normalisation has statistics as after training."""
    options: dict[str, Any] = {"classes": 3, "head": "gap", "dropout": 0.0, "hidden_units": 8}
    options |= {"norm": "none", "weights": None, "seed": 0, **changes}
    model = build_model(get_backbone(name), image_size=(size, size), **options)
    draw = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            for variable in layer.variables:
                variable.assign(draw.uniform(0.5, 1.5, variable.shape))
        elif isinstance(layer, keras.layers.Conv2D) and layer.use_bias:
            layer.bias.assign(draw.normal(size=layer.bias.shape))
    return Network(model, get_backbone(name), "gap")


def images(count: int = 2, size: int = 32) -> tf.Tensor:
    draw = np.random.default_rng(0)
    return tf.constant(draw.uniform(0, 255, (count, size, size, 3)), tf.float32)


def relative_difference(one: Any, other: Any) -> float:
    one, other = (np.asarray(array, np.float64) for array in (one, other))
    return float(np.abs(one - other).max() / np.abs(one).max())


def fused(model: keras.Model) -> tuple[int, int]:
    """Return the number of folded convolutions and of single normalisations."""
    kinds = [type(layer) for layer in model.layers]
    return kinds.count(FoldedConv2D), kinds.count(FusedNorm)


@pytest.mark.parametrize("name", by_cost(WITH_NORMS, *KINDS[2:], thorough=(*KINDS, *WALKED)))
def test_features_at_every_cut_are_those_of_the_live_network(name: str) -> None:
    side = max(32, get_backbone(name).min_size)
    network = make(name, side)
    cuts = [network.cut(stage.name) for stage in network.backbone.stages[1:]]
    model = keras.Model(network.images, [network.pooled, *cuts])
    fast = folded(model)
    norms = sum(isinstance(one, keras.layers.BatchNormalization) for one in model.layers)
    assert sum(fused(fast)) == norms > 0
    assert folding_version(model)  # of the key of its cached features
    x = images(size=side)
    # with random weights a deep network amplifies rounding: as much as this change of its input
    nearly = x * (1 + 1e-7 * np.random.default_rng(1).normal(size=x.shape))
    for live, quick, moved in zip(model(x), fast(x, training=False), model(nearly), strict=True):
        rounding = relative_difference(live, moved)
        assert relative_difference(live, quick) < max(1e-5, 10 * rounding) < 0.02


def test_a_convolution_that_is_also_an_output_keeps_its_value() -> None:
    network = make("tiny_resnet")
    convolution = network.model.get_layer("block2_conv1").output
    model = keras.Model(network.images, [convolution, network.pooled])
    fast = folded(model)
    folds, single = fused(fast)
    assert single == 1 and folds > 5
    for live, quick in zip(model(images()), fast(images(), training=False), strict=True):
        assert relative_difference(live, quick) < 1e-5


@pytest.mark.parametrize(
    "regularization",
    [
        RegularizationSpec(norm="group"),
        RegularizationSpec(norm="sync_batch"),
        RegularizationSpec(stochastic_depth=0.2, drop_block=(0.2, 3)),
    ],
    ids=lambda spec: spec.norm if spec.norm != "batch" else "drops",
)
def test_regularized_backbones_give_the_same_features(regularization: RegularizationSpec) -> None:
    network = make("tiny_resnet", regularization=regularization)
    live = network.images_to_pooled(images(), training=False)
    assert relative_difference(live, Pooling(network.images_to_pooled, FLOAT32)(images())) < 1e-5


def test_a_network_without_batch_normalization_is_not_changed() -> None:
    network = make("tiny_vgg")
    assert folded(network.images_to_pooled) is network.images_to_pooled
    assert folding_version(network.images_to_pooled) == ()


def test_the_folded_network_follows_its_variables() -> None:
    network = make("tiny_resnet")
    pooling = Pooling(network.images_to_pooled, FLOAT32)
    before = pooling(images())
    for name in ("block3_conv2", "block3_bn2"):
        for variable in network.model.get_layer(name).variables:
            variable.assign(variable * 1.5)
    after = pooling(images())
    assert relative_difference(before, after) > 0.1
    live = network.images_to_pooled(images(), training=False)
    assert relative_difference(live, after) < 1e-5


def test_kernels_are_multiplied_in_float32_under_mixed_precision() -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = make("tiny_resnet")
        fast = folded(network.images_to_pooled)
    finally:
        keras.config.set_dtype_policy("float32")
    live = network.images_to_pooled(images(), training=False)
    quick = fast(images(), training=False)
    assert live.dtype == quick.dtype
    exact = make("tiny_resnet").images_to_pooled(images(), training=False)
    assert relative_difference(exact, quick) <= 1.5 * relative_difference(exact, live)


def test_the_model_can_still_be_cut_saved_and_loaded(tmp_path: Any) -> None:
    network = make("tiny_resnet")
    folded(network.images_to_pooled)
    assert tuple(network.cut("block3").shape[1:]) == (8, 8, 32)
    network.model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    again = Network(loaded, network.backbone, "gap")
    live = network.images_to_pooled(images(), training=False)
    assert relative_difference(live, Pooling(again.images_to_pooled, FLOAT32)(images())) < 1e-5
