"""Drift of features: a classifier two-sample test, a kernel ridge classifier left-one-out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_RIDGE = 0.3  # times the mean eigenvalue of the kernel; see benchmarks/drift.py


@dataclass(frozen=True)
class FeatureDrift:
    """How well a classifier separates new images from the reference.

    Attributes:
        auc: area under its ROC curve, by leave-one-out; 0.5 without drift.
        p_value: probability of such an AUC or a larger one without drift.
        scores: of the M new images, float64 [M]; the larger, the less similar to the reference.
    """

    auc: float
    p_value: float
    scores: NDArray[np.float64]

    @property
    def distance(self) -> float:
        """Size of the drift, 0 … 1: 2 AUC - 1 (Gini coefficient)."""
        return max(0.0, 2 * self.auc - 1)


def compare_features(
    reference: NDArray[np.floating],
    features: NDArray[np.floating],
    *,
    permutations: int,
    seed: int = 0,
) -> FeatureDrift:
    """Compare two samples of features, float [K, D] and [M, D].

    A classifier two-sample test (Lopez-Paz and Oquab, "Revisiting classifier two-sample tests",
    2017): if a classifier separates the samples better than chance, they differ. The classifier is
    ridge regression on the sample, in its dual form, where leave-one-out predictions are linear in
    the labels. So a permutation needs no new fit, and the p-value is exact.

    Args:
        reference: of the reference.
        features: of the new images.
        permutations: random labels.
        seed: of the random labels.

    Raises:
        ValueError: a sample is empty, or the numbers of features differ.
    """
    if not len(reference) or not len(features) or reference.shape[1] != features.shape[1]:
        raise ValueError(f"features {reference.shape} and {features.shape} cannot be compared")
    from threadpoolctl import threadpool_limits

    labels = np.repeat([0, 1], [len(reference), len(features)])
    random = np.random.default_rng(seed)
    dealt = random.permuted(np.tile(labels, (permutations, 1)), axis=1)
    with threadpool_limits(1):  # threads slow down such small matrices
        operator = _leave_one_out(np.concatenate([reference, features]).astype(np.float64))
        scores = _predictions(operator, labels[None])
        by_chance = _areas(_predictions(operator, dealt), dealt)
    auc = float(_areas(scores, labels[None])[0])
    as_large = int((by_chance >= auc - 1e-12).sum())
    return FeatureDrift(auc, (1 + as_large) / (1 + permutations), scores[0, len(reference) :])


def _leave_one_out(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the matrix, [N, N], that maps labels to leave-one-out predictions."""
    centred = features - features.mean(axis=0)
    kernel = centred @ centred.T
    ridge = max(_RIDGE * np.trace(kernel) / len(kernel), np.finfo(np.float64).tiny)
    hat = kernel @ np.linalg.inv(kernel + ridge * np.eye(len(kernel)))
    own = np.diag(hat)
    return np.asarray((hat - np.diag(own)) / (1 - own)[:, None], np.float64)


def _predictions(operator: NDArray[np.float64], labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the predictions for rows of labels 0 and 1, int [B, N], float64 [B, N]."""
    centred = labels - labels.mean(axis=1, keepdims=True)
    return np.asarray(centred @ operator.T, np.float64)


def _areas(scores: NDArray[np.float64], labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the AUC of each row, float64 [B]; ties count half."""
    from scipy.stats import rankdata

    ranks = rankdata(scores, axis=1)
    new = labels.sum(axis=1)
    total = (ranks * labels).sum(axis=1)
    return np.asarray((total - new * (new + 1) / 2) / (new * (labels.shape[1] - new)), np.float64)
