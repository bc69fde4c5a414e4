"""Grad-CAM inside the exported graph: heat maps of the evidence for a class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from tltool.data.decoding.decode import decode_batch
from tltool.data.decoding.decode_spec import DecodeSpec

EXPLAIN_SIGNATURE, EXPLAIN_CLASS_SIGNATURE = "explain", "explain_class"
PREDICTED = -1  # as a class id, the predicted class
FEATURE_MAP = "feature_map"  # in the metadata of an export: height and width of the last one


def why_not_explained(metadata: Mapping[str, Any], spec: DecodeSpec | None) -> tuple[str, str]:
    """Return why an export has no ``explain`` signatures, and what to do about it.

    Args:
        metadata: of the export.
        spec: how bytes become its input; None if unknown.
    """
    if metadata.get(FEATURE_MAP) != [1, 1]:
        return "it has no explain signature", "export it again"
    images = f" for images of {spec.height}x{spec.width} pixels" if spec else ""
    return (
        f"its last feature map{images} is a single position, so Grad-CAM cannot localise",
        "use `tltool explain` with the folder of its run and --method occlusion, or train with a "
        "larger data.image_size",
    )


class HeatMap:
    """Grad-CAM heat maps.

    Selvaraju et al. 2017 (https://arxiv.org/abs/1610.02391).

    Args:
        features: symbolic feature map [B, h, w, K] of a float32 model.
        logits: symbolic output [B, C] of the same model.
    """

    def __init__(self, features: keras.KerasTensor, logits: keras.KerasTensor) -> None:
        self._head = keras.Model(features, logits)

    def __call__(self, features: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
        """Return heat maps float32 [N, h, w] in 0…1.

        The maximum of each is 1; a heat map of zeros means that there is no evidence for the class.

        Args:
            features: feature maps of the images, [N, h, w, K].
            classes: class id of each image, int64 [N]; negative for the predicted class.
        """
        with tf.GradientTape() as tape:
            tape.watch(features)
            logits = self._head(features, training=False)
            class_ids = tf.where(classes < 0, tf.argmax(logits, axis=1), classes)
            score = tf.gather(logits, class_ids, axis=1, batch_dims=1)
        weights = tf.reduce_mean(tape.gradient(score, features), axis=(1, 2))
        maps = tf.nn.relu(tf.einsum("bhwk,bk->bhw", features, weights))
        return tf.math.divide_no_nan(maps, tf.reduce_max(maps, axis=(1, 2), keepdims=True))


def explain_signatures(network: Any, heat_map: HeatMap, spec: DecodeSpec) -> dict[str, Any]:
    """Return the ``explain`` signatures; the backward pass ends at the last feature map.

    Args:
        network: images to a dictionary with the last feature ``map`` [B, h, w, K].
        heat_map: computes heat maps from these feature maps.
        spec: how bytes become images.
    """
    encoded = tf.TensorSpec([None], tf.string, "image_bytes")
    class_ids = tf.TensorSpec([None], tf.int64, "class_id")
    features = tf.TensorSpec(network.structured_outputs["map"].shape, tf.float32)

    # traced once: both signatures call this same function
    @tf.function(input_signature=[features, class_ids], autograph=False)
    def maps_of(maps: tf.Tensor, class_id: tf.Tensor) -> tf.Tensor:
        return heat_map(maps, class_id)

    def heat_maps(image_bytes: tf.Tensor, class_id: tf.Tensor) -> dict[str, tf.Tensor]:
        images, ok = decode_batch(image_bytes, spec)
        maps = maps_of(network(images)["map"], class_id)
        masked = tf.where(ok[:, tf.newaxis, tf.newaxis], maps, tf.zeros_like(maps))
        return {"heatmap": masked, "ok": tf.identity(ok)}

    @tf.function(input_signature=[encoded], autograph=False)
    def explain(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        predicted = tf.constant(PREDICTED, tf.int64)
        return heat_maps(image_bytes, tf.fill(tf.shape(image_bytes), predicted))

    @tf.function(input_signature=[encoded, class_ids], autograph=False)
    def explain_class(image_bytes: tf.Tensor, class_id: tf.Tensor) -> dict[str, tf.Tensor]:
        return heat_maps(image_bytes, class_id)

    return {EXPLAIN_SIGNATURE: explain, EXPLAIN_CLASS_SIGNATURE: explain_class}
