"""What test-time augmentation (TTA) gains, measured on the same images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.evaluation.metrics.confidence_intervals import (
    affordable_replicates,
    bootstrap,
    bootstrap_interval,
    rule_of_three_interval,
)


def tta_gain(
    without_tta: NDArray[np.float32], with_tta: NDArray[np.float32], labels: NDArray[np.int64]
) -> dict[str, Any]:
    """Return the gain in accuracy and in log-loss, JSON-ready; positive is better.

    The 95 % intervals are paired bootstrap intervals: each resampled image keeps both predictions.
    If the accuracy changes on no image, its interval is that of the rule of three. If the log-loss
    changes on no image, its bounds are None.

    Args:
        without_tta: probabilities of the original images, [N, C].
        with_tta: mean probabilities over the augmented copies too, [N, C].
        labels: class numbers [N].
    """
    gains = np.stack(
        [
            _correct(with_tta, labels) - _correct(without_tta, labels),
            _loss(without_tta, labels) - _loss(with_tta, labels),
        ],
        axis=1,
    )
    n = len(labels)
    drawn = bootstrap(lambda rows: gains[rows].mean(axis=1), n, replicates=affordable_replicates(n))
    metrics: dict[str, Any] = {}
    for column, name in enumerate(("accuracy", "log_loss")):
        value = float(gains[:, column].mean())
        interval = bootstrap_interval(value, drawn[:, column])
        if interval is None and name == "accuracy":
            interval = rule_of_three_interval(value, n, least=-1.0)
        low, high = interval or (None, None)
        metrics[f"{name}_gain"] = {"value": value, "low": low, "high": high}
    return metrics


def _correct(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    return result


def _loss(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    true = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return -np.log(np.maximum(true, np.finfo(np.float32).eps))
