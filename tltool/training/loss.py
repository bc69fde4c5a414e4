"""Cross-entropy and focal loss, with smoothing and weights that stay right for soft labels."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

_LEAST_UNSURE = 1e-7


def classification_loss(
    labels: tf.Tensor,
    logits: tf.Tensor,
    *,
    class_weights: np.ndarray | None,
    smoothing: float,
    focal_gamma: float,
) -> tf.Tensor:
    """Return the loss of each row, float32 [B], in nats.

    ``-sum_c t_c (1 - p_c)^gamma log p_c``. Without weights the target t is the smoothed label
    (Szegedy et al. 2016, arXiv:1512.00567). It is linear in the label: an image blended of two
    counts as a share of the one and a share of the other, each with its own class's weight. What
    smoothing spreads counts as much as the image it is taken from; weighted by the classes that it
    falls on, it would teach that images of a large class are likely to be of a small one.

    Args:
        labels: float32 [B, C], one-hot or mixed, times the weights that images have of their own.
        logits: [B, C].
        class_weights: float32 [C]; None where every label counts the same.
        smoothing: share of each label spread over all classes.
        focal_gamma: exponent of the focal loss (Lin et al. 2017, arXiv:1708.02002), 0 for none.
    """
    classes = tf.cast(tf.shape(labels)[-1], tf.float32)
    log_probabilities = tf.nn.log_softmax(tf.cast(logits, tf.float32))
    if class_weights is None:
        # times one: without it TensorFlow rewrites the graph, and the last digits are others
        target = tf.ones(labels.shape[-1]) * (labels * (1.0 - smoothing) + smoothing / classes)
    else:
        weighted = labels * tf.constant(class_weights, tf.float32)
        rows = tf.reduce_sum(weighted, axis=-1, keepdims=True)
        target = weighted * (1.0 - smoothing) + rows * smoothing / classes
    if focal_gamma:
        target *= _unsure(log_probabilities) ** focal_gamma
    return -tf.reduce_sum(target * log_probabilities, axis=-1)


def _unsure(log_probabilities: tf.Tensor) -> tf.Tensor:
    """Return 1 - p, kept above zero, where a power below one has no finite slope."""
    return tf.maximum(-tf.math.expm1(log_probabilities), _LEAST_UNSURE)
