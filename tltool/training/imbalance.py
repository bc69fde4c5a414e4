"""Class weights and image weights in the loss: remedies for class imbalance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Imbalance = Literal["none", "weights", "balanced_sampling", "focal"]

_TOLERANCE = 1e-6  # weights this close to 1 count as equal


def loss_weights(
    imbalance: Imbalance, numbers: np.ndarray, labels: np.ndarray
) -> np.ndarray | None:
    """Return the weight of each class in the loss, float32 [C]; None if all are 1.

    The mean weight over an epoch is 1, so that learning rates keep their meaning. With ``weights``
    it is n / (C · n_c) (King and Zeng 2001, "Logistic regression in rare events data";
    scikit-learn's "balanced"). With ``balanced_sampling`` each class is sampled equally often, and
    weights only correct what sampling cannot: images that were blended before sampling, and
    images with individual weights.

    Args:
        imbalance: the remedy, ``train.imbalance``.
        numbers: class of each training image, int64 [N].
        labels: expected label of each, float [N, C]: one-hot, or the mean over its views, times
            the weight of the image.
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
    same = max(np.abs(weights - 1).max(), np.abs(rows - 1).max()) < _TOLERANCE
    return None if same else weights.astype(np.float32)


def log_prior(class_weights: np.ndarray) -> NDArray[np.float64]:
    """Return what turns balanced logits into those of the class frequencies, float64 [C].

    A network that is trained with class weights w estimates p(c | x) · w_c up to a factor, so the
    correction subtracts log w (Saerens, Latinne and Decaestecker 2002, "Adjusting the outputs of a
    classifier to new a priori probabilities"; Menon et al. 2021, arXiv:2007.07314).

    Args:
        class_weights: [C].
    """
    return -np.log(class_weights.astype(np.float64))


def mean_labels(numbers: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean label of each image over its views, float64 [N, C].

    Args:
        numbers: for each view, the image of each row, int64 [N].
        labels: for each view, the labels of its rows, float32 [N, C].
    """
    total = np.zeros(labels[0].shape, np.float64)
    for positions, rows in zip(numbers, labels, strict=True):
        total[positions] += rows
    return total / len(labels)


def image_weights(class_weights: np.ndarray | None, labels: np.ndarray) -> np.ndarray | None:
    """Return the weight of each image, float64 [N]; None if all are equal.

    Args:
        class_weights: float32 [C], or None.
        labels: one-hot labels times the individual weights of the images, float [N, C].
    """
    if class_weights is None:
        return None
    weights: np.ndarray = labels @ class_weights.astype(np.float64)
    return weights
