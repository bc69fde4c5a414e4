"""What averaging over changed copies of the images gives, on the very same images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.evaluation.metrics.intervals import (
    bootstrap,
    bootstrap_interval,
    replicates_for,
    rule_of_three,
)


def gain_of_copies(
    plain: NDArray[np.float32], averaged: NDArray[np.float32], labels: NDArray[np.int64]
) -> dict[str, Any]:
    """Return by how much accuracy and log-loss differ, JSON-ready; positive is better.

    The 95 % intervals are those of a paired bootstrap: images are drawn, with both answers. Where
    no image changes, the rule of three says how many new ones may; of the log-loss nothing is known
    then, and its bounds are None.

    Args:
        plain: probabilities of the images as they are, [N, C].
        averaged: over their copies too, [N, C].
        labels: class numbers [N].
    """
    gains = np.stack(
        [
            _right(averaged, labels) - _right(plain, labels),
            _loss(plain, labels) - _loss(averaged, labels),
        ],
        axis=1,
    )
    n = len(labels)
    drawn = bootstrap(lambda rows: gains[rows].mean(axis=1), n, replicates=replicates_for(n))
    found: dict[str, Any] = {}
    for column, name in enumerate(("accuracy", "log_loss")):
        value = float(gains[:, column].mean())
        interval = bootstrap_interval(value, drawn[:, column])
        if interval is None and name == "accuracy":
            interval = rule_of_three(value, n, least=-1.0)
        low, high = interval or (None, None)
        found[f"{name}_gain"] = {"value": value, "low": low, "high": high}
    return found


def _right(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    return (probabilities.argmax(axis=1) == labels).astype(np.float64)


def _loss(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    true = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return -np.log(np.maximum(true, np.finfo(np.float32).eps))
