"""DropBlock and DropConnect layers; those of keras-cv fail here and Keras has none."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


class DropBlock(keras.layers.Layer):
    """Drops random squares of each feature map (Ghiasi et al. 2018).

    Each position is the corner of a square with probability
    ``gamma = rate / size^2 * h w / ((h - size + 1) (w - size + 1))``, independently for each
    channel; the rest is multiplied by ``count / count kept``. In inference it is the identity.
    keras-cv's layer (0.9.0) fails in a compiled graph.

    Args:
        rate: fraction of the positions that is dropped; slightly less, because squares overlap.
        size: side of the squares.
        seed: of the random squares.

    Reference: https://arxiv.org/abs/1810.12890
    """

    def __init__(self, rate: float, size: int, seed: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
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
        """Return the arguments that rebuild this layer."""
        own = {"rate": self.rate, "size": self.size, "seed": self.seed}
        return {**super().get_config(), **own}


class DropConnectDense(keras.layers.Dense):
    """A dense layer that drops weights instead of inputs (Wan et al. 2013).

    One mask is drawn for each batch (in the paper, for each example), and the remaining weights are
    divided by ``1 - rate``, so that inference uses all of them unchanged.

    Args:
        units: number of outputs.
        rate: fraction of the weights dropped.
        seed: of the masks.

    Reference: https://proceedings.mlr.press/v28/wan13.html
    """

    def __init__(self, units: int, rate: float, seed: int, **kwargs: Any) -> None:
        super().__init__(units, **kwargs)
        self.rate, self.seed = rate, seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Return ``inputs [B, D]`` times the remaining weights, plus the bias: ``[B, units]``."""
        if not training or not self.rate:
            return super().call(inputs)
        kernel = keras.random.dropout(self.kernel, self.rate, seed=self.seed_generator)
        outputs = keras.ops.matmul(inputs, kernel)
        return self.activation(outputs if self.bias is None else outputs + self.bias)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that rebuild this layer."""
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}
