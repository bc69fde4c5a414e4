"""What test-time augmentation (TTA) gains, measured on the same images."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.evaluation.metrics.paired_intervals import mean_interval
from tltool.evaluation.metrics.paired_tests import compare_with_first

_SMALLEST = float(np.finfo(np.float32).eps)


def tta_gain(
    without_tta: NDArray[np.float32],
    with_tta: NDArray[np.float32],
    labels: NDArray[np.int64],
    *,
    groups: NDArray[np.int64] | None = None,
) -> dict[str, Any]:
    """Return the gain in accuracy and in log-loss, JSON-ready; positive is better.

    The 95 % intervals are paired by image. That of the accuracy is the one of
    `compare_with_first`. That of the log-loss is Student's t interval of the mean gain, with two
    images added: one that TTA corrects and one that it makes wrong, at the median confidence.
    Without them the interval would exclude such images wherever the sample has none.

    Args:
        without_tta: probabilities of the original images, [N, C].
        with_tta: mean probabilities over the augmented copies too, [N, C].
        labels: class numbers [N].
        groups: the group of each image, int [N]; None if the images are independent.
    """
    first, second = (each.argmax(axis=1) == labels for each in (without_tta, with_tta))
    (paired,) = compare_with_first(first, [second], groups=groups)
    gains = _losses(without_tta, labels) - _losses(with_tta, labels)
    confidence = float(np.median(with_tta.max(axis=1)))
    changed = max(float(np.abs(gains).max()), -math.log(max(1 - confidence, _SMALLEST)))
    low, high = mean_interval(gains, groups, possible=changed)
    return {
        "accuracy_gain": {"value": paired.difference, "low": paired.low, "high": paired.high},
        "log_loss_gain": {"value": float(gains.mean()), "low": low, "high": high},
    }


def _losses(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    true = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return -np.log(np.maximum(true, _SMALLEST))
