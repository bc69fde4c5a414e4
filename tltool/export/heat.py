"""Grad-CAM inside a graph: which parts of an image speak for the class that is named."""

from __future__ import annotations

import keras
import tensorflow as tf


class HeatMap:
    """Maps of what speaks for the most probable class.

    Selvaraju et al. 2017 (https://arxiv.org/abs/1610.02391).

    Args:
        features: symbolic feature map [B, h, w, K] of a float32 model.
        logits: its symbolic output [B, C].
    """

    def __init__(self, features: keras.KerasTensor, logits: keras.KerasTensor) -> None:
        self._head = keras.Model(features, logits)

    def __call__(self, features: tf.Tensor) -> tf.Tensor:
        """Return maps float32 [N, h, w] in 0…1 of feature maps [N, h, w, K].

        The largest value of each is 1; a map of zeros says that nothing speaks for the class.
        """
        with tf.GradientTape() as tape:
            tape.watch(features)
            best = tf.reduce_max(self._head(features, training=False), axis=1)
        weights = tf.reduce_mean(tape.gradient(best, features), axis=(1, 2))
        maps = tf.nn.relu(tf.einsum("bhwk,bk->bhw", features, weights))
        return tf.math.divide_no_nan(maps, tf.reduce_max(maps, axis=(1, 2), keepdims=True))
