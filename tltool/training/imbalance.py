"""Weights of the loss where classes, or images, are not to count as they come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

Imbalance = Literal["none", "weights", "balanced_sampling", "focal"]

_SAME = 1e-6  # weights this near to 1 are none


def loss_weights(
    imbalance: Imbalance, numbers: np.ndarray, labels: np.ndarray
) -> np.ndarray | None:
    """Return the weight of each class in the loss, float32 [C]; None where all are 1.

    The mean weight of what an epoch takes is 1, so that learning rates keep their meaning. With
    ``weights`` it is n / (C · n_c) (King and Zeng 2001, "Logistic regression in rare events data";
    scikit-learn's "balanced"). With ``balanced_sampling`` each class is drawn equally often, and
    weights only make up for what the draws cannot: images blended before they were drawn, and
    images with weights of their own.

    Args:
        imbalance: what is done about classes of unequal size.
        numbers: class of each training image, int64 [N].
        labels: its expected label, float [N, C]: one-hot, or the mean over its views, times its own
            weight.
    """
    classes, rows = labels.shape[1], labels.sum(axis=1, dtype=np.float64)
    if imbalance == "weights":
        mass = labels.mean(axis=0, dtype=np.float64)
    elif imbalance == "balanced_sampling":
        each = [labels[numbers == number] for number in range(classes)]
        mass = np.mean([part.mean(axis=0, dtype=np.float64) for part in each], axis=0)
    else:
        mass = np.full(classes, rows.mean() / classes)
    weights = np.divide(1, classes * mass, out=np.ones(classes), where=mass > 0)
    same = max(np.abs(weights - 1).max(), np.abs(rows - 1).max()) < _SAME
    return None if same else weights.astype(np.float32)


def mean_labels(numbers: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean label of each image over its views, float64 [N, C].

    Args:
        numbers: for each view, which image each row shows: int64 [N].
        labels: for each view, the labels of its rows: float32 [N, C].
    """
    total = np.zeros(labels[0].shape, np.float64)
    for photos, rows in zip(numbers, labels, strict=True):
        total[photos] += rows
    return total / len(labels)


def image_weights(class_weights: np.ndarray | None, labels: np.ndarray) -> np.ndarray | None:
    """Return how much each image counts, float64 [N]; None where all count the same.

    Args:
        class_weights: float32 [C], or None.
        labels: one-hot labels times the images' own weights, float [N, C].
    """
    if class_weights is None:
        return None
    weights: np.ndarray = labels @ class_weights.astype(np.float64)
    return weights
