"""Logits and metrics on the validation set, from images, activations or pooled features."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tltool.features.out_of_memory import InParts
from tltool.models.batch_norm_folding import folded
from tltool.training.precision import Precision
from tltool.training.temperature import calibrated_log_losses, true_log_probabilities

Measure = Callable[[np.ndarray, np.ndarray], dict[str, float]]
ToPooled = Callable[[np.ndarray | tf.Tensor], np.ndarray]


class HeadLogits:
    """The head alone, always in float32, because bfloat16 would round the logits."""

    def __init__(self, pooled_to_logits: keras.Model) -> None:
        self._run = tf.function(
            lambda pooled: tf.cast(pooled_to_logits(pooled, training=False), tf.float32),
            autograph=False,
            reduce_retracing=True,
        )

    def __call__(self, pooled: np.ndarray) -> np.ndarray:
        """Return logits float32 [N, C] of pooled features float32 [N, D]."""
        return np.asarray(self._run(tf.constant(pooled, tf.float32)))


class Pooling:
    """The network up to the pooled features, in the arithmetic of ``precision``."""

    def __init__(self, to_pooled: keras.Model, precision: Precision) -> None:
        self._precision = precision
        network = folded(to_pooled)
        run = tf.function(
            lambda inputs: tf.cast(
                network(tf.cast(inputs, tf.float32), training=False), tf.float32
            ),
            autograph=False,
            reduce_retracing=True,
        )
        self._run = InParts(run, "predictions")

    def __call__(self, inputs: np.ndarray | tf.Tensor) -> np.ndarray:
        """Return pooled features float32 [B, D] of images or activations [B, h, w, c]."""
        with self._precision.active():
            return np.asarray(self._run(inputs))


def loss_and_accuracy(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return validation metrics of logits [N, C] for class numbers [N].

    Returns:
        ``val_loss``, the log-loss in nats; ``val_calibrated_loss``, the same after temperature
        scaling; ``val_balanced_loss``, the mean over the classes of their mean calibrated loss, so
        that every class counts the same (classes without images are left out); ``val_accuracy``.
    """
    losses = image_losses(logits, labels)
    hits = logits.argmax(axis=1) == labels
    calibrated = calibrated_log_losses(logits, labels)
    counts = np.bincount(labels)
    by_class = np.bincount(labels, weights=calibrated)[counts > 0] / counts[counts > 0]
    return {
        "val_loss": float(losses.mean()),
        "val_calibrated_loss": float(calibrated.mean()),
        "val_balanced_loss": float(by_class.mean()),
        "val_accuracy": float(hits.mean()),
    }


def image_losses(logits: np.ndarray, labels: np.ndarray) -> NDArray[np.float64]:
    """Return the log-loss (nats) of each image, [N], of logits [N, C] for class numbers [N]."""
    return -true_log_probabilities(logits, labels, temperature=1.0)
