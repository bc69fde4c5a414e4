"""Grad-CAM inside a graph: which parts of an image speak for a class."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tltool.data.decoding.decode import decode_batch
from tltool.data.decoding.decode_spec import DecodeSpec

EXPLAIN_SIGNATURE, EXPLAIN_CLASS_SIGNATURE = "explain", "explain_class"


class HeatMap:
    """Maps of what speaks for a class.

    Selvaraju et al. 2017 (https://arxiv.org/abs/1610.02391).

    Args:
        features: symbolic feature map [B, h, w, K] of a float32 model.
        logits: its symbolic output [B, C].
    """

    def __init__(self, features: keras.KerasTensor, logits: keras.KerasTensor) -> None:
        self._head = keras.Model(features, logits)

    def __call__(self, features: tf.Tensor, classes: tf.Tensor | None = None) -> tf.Tensor:
        """Return maps float32 [N, h, w] in 0…1 of feature maps [N, h, w, K].

        The largest value of each is 1; a map of zeros says that nothing speaks for the class.

        Args:
            features: of the images.
            classes: the class of each, int64 [N]; without it, and where it is negative, the most
                probable one.
        """
        with tf.GradientTape() as tape:
            tape.watch(features)
            logits = self._head(features, training=False)
            named = tf.argmax(logits, axis=1)
            wanted = named if classes is None else tf.where(classes < 0, named, classes)
            score = tf.gather(logits, wanted, axis=1, batch_dims=1)
        weights = tf.reduce_mean(tape.gradient(score, features), axis=(1, 2))
        maps = tf.nn.relu(tf.einsum("bhwk,bk->bhw", features, weights))
        return tf.math.divide_no_nan(maps, tf.reduce_max(maps, axis=(1, 2), keepdims=True))


def explain_signatures(network: Any, heat: HeatMap, spec: DecodeSpec) -> dict[str, Any]:
    """Return the signatures that explain; the backward pass ends at the last feature map.

    Args:
        network: images to a dictionary with the last feature ``map`` [B, h, w, K].
        heat: of these feature maps.
        spec: how bytes become images.
    """
    encoded = tf.TensorSpec([None], tf.string, "image_bytes")

    def seen(image_bytes: tf.Tensor, classes: tf.Tensor | None) -> dict[str, tf.Tensor]:
        images, ok = decode_batch(image_bytes, spec)
        maps = heat(network(images)["map"], classes)
        shown = tf.where(ok[:, tf.newaxis, tf.newaxis], maps, tf.zeros_like(maps))
        return {"heatmap": shown, "ok": tf.identity(ok)}

    @tf.function(input_signature=[encoded], autograph=False)
    def explain(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return seen(image_bytes, None)

    @tf.function(
        input_signature=[encoded, tf.TensorSpec([None], tf.int64, "class_id")], autograph=False
    )
    def explain_class(image_bytes: tf.Tensor, class_id: tf.Tensor) -> dict[str, tf.Tensor]:
        return seen(image_bytes, class_id)

    return {EXPLAIN_SIGNATURE: explain, EXPLAIN_CLASS_SIGNATURE: explain_class}
