"""Cross-entropy with smoothing and class weights that stay right for soft labels."""

from __future__ import annotations

import numpy as np
import tensorflow as tf


def weighted_cross_entropy(
    labels: tf.Tensor, logits: tf.Tensor, *, class_weights: tf.Tensor, smoothing: float
) -> tf.Tensor:
    """Return the loss of each row, float32 [B], in nats.

    ``-sum_c w_c y_c log p_c`` with labels float32 [B, C] that may be mixed, so that the share of
    each class in a blended photo carries that class's own weight. Smoothing as in Szegedy et al.
    2016 (arXiv:1512.00567).
    """
    classes = tf.cast(tf.shape(labels)[-1], tf.float32)
    smooth = labels * (1.0 - smoothing) + smoothing / classes
    log_probabilities = tf.nn.log_softmax(tf.cast(logits, tf.float32))
    return -tf.reduce_sum(class_weights * smooth * log_probabilities, axis=-1)


def balanced_weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """Return class weights N / (C · n_c), float32 [C], so that each class counts the same."""
    counts = np.maximum(np.bincount(labels, minlength=classes), 1)
    return (len(labels) / (classes * counts)).astype(np.float32)
