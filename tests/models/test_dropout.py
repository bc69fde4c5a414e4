"""Dropout layers: rate, preserved expectation, and identity in inference."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tltool.augment.keras_cv_operations import DropPath
from tltool.models.dropout import DropBlock, DropConnectDense

RATE = 0.3


def compiled(layer: keras.layers.Layer, inputs: np.ndarray) -> np.ndarray:
    """Return the output of the layer for ``inputs`` in a compiled training step."""
    step = tf.function(lambda x: layer(x, training=True), autograph=False)
    return step(inputs).numpy()


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.Dropout(RATE, seed=1),
        keras.layers.GaussianDropout(RATE, seed=1),
        keras.layers.SpatialDropout2D(RATE, seed=1),
        keras.layers.AlphaDropout(RATE, seed=1),
        DropPath(RATE, seed=1),
        DropBlock(RATE, 3, seed=1),
    ],
    ids=lambda layer: layer.name,
)
def test_the_expectation_stays_and_inference_is_the_identity(layer):
    rng = np.random.default_rng(0)
    inputs = rng.normal(0 if "alpha" in layer.name else 2, 1, (400, 12, 12, 8)).astype(np.float32)
    np.testing.assert_array_equal(layer(inputs, training=False), inputs)
    outputs = compiled(layer, inputs)
    assert not np.array_equal(outputs, inputs)
    assert outputs.mean() == pytest.approx(inputs.mean(), abs=0.05)


@pytest.mark.parametrize("side", [1, 3, 5])
def test_drop_block_drops_about_its_share_in_whole_squares(side):
    outputs = compiled(DropBlock(0.1, side, seed=3), np.ones((300, 14, 14, 4), np.float32))
    dropped = outputs == 0
    assert dropped.mean() == pytest.approx(0.1, abs=0.015)
    # every dropped position lies in a whole dropped square
    whole = -tf.nn.max_pool2d(-dropped.astype(np.float32), side, 1, "VALID")
    around = [[0, 0], [side - 1] * 2, [side - 1] * 2, [0, 0]]
    covered = tf.nn.max_pool2d(tf.pad(whole, around), side, 1, "VALID").numpy()
    np.testing.assert_array_equal(covered == 1, dropped)
    kept = outputs[~dropped]
    np.testing.assert_allclose(kept, 1 / (1 - dropped.mean()), rtol=1e-5)


def test_drop_block_draws_each_image_and_channel_independently():
    outputs = compiled(DropBlock(0.3, 3, seed=1), np.ones((20, 9, 9, 6), np.float32)) == 0
    assert len({one.tobytes() for one in outputs}) == 20
    assert len({outputs[..., channel].tobytes() for channel in range(6)}) == 6


def test_drop_block_works_on_maps_that_are_not_square():
    outputs = compiled(DropBlock(0.2, 3, seed=1), np.ones((200, 5, 20, 4), np.float32))
    assert (outputs == 0).mean() == pytest.approx(0.2, abs=0.04)


def connect(**settings: int) -> DropConnectDense:
    layer = DropConnectDense(64, RATE, seed=2, kernel_initializer="ones", **settings)
    layer.build((None, 500))
    return layer


def test_dropconnect_drops_weights_not_inputs():
    layer = connect()
    outputs = compiled(layer, np.eye(500, dtype=np.float32))  # the weights themselves
    assert set(np.unique(outputs).round(5)) == {0.0, np.float32(1 / (1 - RATE)).round(5)}
    assert (outputs == 0).mean() == pytest.approx(RATE, abs=0.01)
    assert (outputs == 0).any(axis=1).mean() > 0
    assert not (outputs == 0).all(axis=1).any()


def test_dropconnect_keeps_the_expectation_and_is_dense_in_inference():
    layer, inputs = connect(), np.ones((3, 500), np.float32)
    np.testing.assert_allclose(layer(inputs, training=False), 500)
    drawn = np.stack([compiled(layer, inputs)[0] for _ in range(20)])
    assert drawn.mean() == pytest.approx(500, rel=0.01)
    assert drawn.std() > 1


@pytest.mark.parametrize("make", [lambda: DropBlock(0.2, 3, seed=4), lambda: connect()])
def test_they_are_made_anew_from_their_configuration(make):
    layer = make()
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
