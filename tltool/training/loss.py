"""Cross-entropy and focal loss with label smoothing and class weights, for soft labels too."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tltool.training.phase_plan import PhasePlan

_MIN_UNCERTAINTY = 1e-7


def phase_loss(plan: PhasePlan, labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Return the loss of each row in a phase, float32 [B]: cross-entropy, or that of a program.

    A loss of a program gets smoothed labels of which each row sums to 1; its values are multiplied
    by the weights of images and classes.

    Args:
        plan: settings of the phase.
        labels: float32 [B, C], one-hot or mixed, times the individual weights of the images.
        logits: [B, C].
    """
    if plan.loss is None:
        return classification_loss(
            labels,
            logits,
            class_weights=plan.class_weights,
            smoothing=plan.smoothing,
            focal_gamma=plan.focal_gamma,
        )
    sums = tf.reduce_sum(labels, axis=-1, keepdims=True)
    share = plan.smoothing / tf.cast(tf.shape(labels)[-1], tf.float32)
    targets = tf.math.divide_no_nan(labels, sums) * (1.0 - plan.smoothing) + share
    weighted = labels if plan.class_weights is None else labels * tf.constant(plan.class_weights)
    return tf.reduce_sum(weighted, axis=-1) * plan.loss(targets, tf.cast(logits, tf.float32))


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
    (Szegedy et al. 2016, arXiv:1512.00567). The loss is linear in the label: a blend of two images
    counts as a fraction of each, with the weight of its class. The smoothed part of a label keeps
    the weight of the image's own class; weighted by the classes it is spread over, it would teach
    that images of a large class are likely to belong to a small one.

    Args:
        labels: float32 [B, C], one-hot or mixed, times the individual weights of the images.
        logits: [B, C].
        class_weights: float32 [C]; None if all are equal.
        smoothing: fraction of each label spread over all classes.
        focal_gamma: focusing parameter of the focal loss, 0 for none (Lin et al. 2017,
            arXiv:1708.02002).
    """
    classes = tf.cast(tf.shape(labels)[-1], tf.float32)
    log_probabilities = tf.nn.log_softmax(tf.cast(logits, tf.float32))
    if class_weights is None:
        # times one: without it TensorFlow rewrites the graph, and the last digits change
        rows = tf.reduce_sum(labels, axis=-1, keepdims=True)
        smoothed = labels * (1.0 - smoothing) + rows * smoothing / classes
        target = tf.ones(labels.shape[-1]) * smoothed
    else:
        weighted = labels * tf.constant(class_weights, tf.float32)
        rows = tf.reduce_sum(weighted, axis=-1, keepdims=True)
        target = weighted * (1.0 - smoothing) + rows * smoothing / classes
    if focal_gamma:
        target *= _uncertainty(log_probabilities) ** focal_gamma
    return -tf.reduce_sum(target * log_probabilities, axis=-1)


def _uncertainty(log_probabilities: tf.Tensor) -> tf.Tensor:
    """Return 1 - p, clipped above zero, where powers below one have no finite gradient."""
    return tf.maximum(-tf.math.expm1(log_probabilities), _MIN_UNCERTAINTY)
