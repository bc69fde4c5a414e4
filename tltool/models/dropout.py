"""Layers that drop something while training; keras-cv and Keras have none that work here."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


class DropBlock(keras.layers.Layer):  # type: ignore[misc]
    """Squares of each feature map dropped, at random places (Ghiasi et al. 2018).

    Each position may be the corner of a square with probability
    ``gamma = rate / size^2 * h w / ((h - size + 1) (w - size + 1))``, for each channel by itself;
    what stays is multiplied by ``count / count kept``. In inference it does nothing. keras-cv's
    layer (0.9.0) fails in a compiled graph.

    Args:
        rate: share of the positions that is dropped; a little less, because squares overlap.
        size: side of the squares.
        seed: of the places.

    Reference: https://arxiv.org/abs/1810.12890
    """

    def __init__(self, rate: float, size: int, seed: int, **others: Any) -> None:
        super().__init__(**others)
        self.rate, self.size, self.seed = rate, size, seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, maps: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Return maps ``[B, h, w, C]`` with squares of zeros."""
        if not training or not self.rate:
            return maps
        side = self.size
        rows, height, width, channels = keras.ops.shape(maps)
        corners = (rows, height - side + 1, width - side + 1, channels)
        gamma = self.rate / side**2 * height * width / (corners[1] * corners[2])
        drawn = keras.random.uniform(corners, seed=self.seed_generator) < gamma
        around = [[0, 0], [side - 1, side - 1], [side - 1, side - 1], [0, 0]]
        marked = tf.pad(tf.cast(drawn, tf.float32), around)
        kept = 1.0 - tf.nn.max_pool2d(marked, side, 1, "VALID")
        scale = tf.cast(tf.size(kept), tf.float32) / tf.maximum(tf.reduce_sum(kept), 1.0)
        return maps * tf.cast(kept * scale, maps.dtype)

    def get_config(self) -> dict[str, Any]:
        """Return what makes the layer anew."""
        own = {"rate": self.rate, "size": self.size, "seed": self.seed}
        return {**super().get_config(), **own}


class DropConnectDense(keras.layers.Dense):  # type: ignore[misc]
    """A dense layer whose weights are dropped, instead of its inputs (Wan et al. 2013).

    One mask is drawn for each batch (the paper draws one for each example), and the weights that
    stay are divided by ``1 - rate``, so that inference uses all of them as they are.

    Args:
        units: outputs.
        rate: share of the weights dropped.
        seed: of the masks.

    Reference: https://proceedings.mlr.press/v28/wan13.html
    """

    def __init__(self, units: int, rate: float, seed: int, **others: Any) -> None:
        super().__init__(units, **others)
        self.rate, self.seed = rate, seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Return ``inputs [B, D]`` times the weights that stay, plus the bias: ``[B, units]``."""
        if not training or not self.rate:
            return super().call(inputs)
        kernel = keras.random.dropout(self.kernel, self.rate, seed=self.seed_generator)
        outputs = keras.ops.matmul(inputs, kernel)
        return self.activation(outputs if self.bias is None else outputs + self.bias)

    def get_config(self) -> dict[str, Any]:
        """Return what makes the layer anew."""
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}
