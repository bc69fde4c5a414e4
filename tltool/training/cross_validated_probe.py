"""Out-of-fold predictions of the linear probe, for an estimate from all labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tltool.training.probe import fit_probe
from tltool.training.stratified_folds import groups_of_smallest_class, stratified_folds


@dataclass(frozen=True)
class OutOfFold:
    """Predictions of probes for images that they were not fitted on.

    Attributes:
        logits: float32 [N, C].
        folds: number of folds.
    """

    logits: np.ndarray
    folds: int


def cross_validate_probe(
    pooled: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    *,
    classes: int,
    c_values: Sequence[float],
    folds: int,
    weights: np.ndarray | None,
    seed: int,
    outer_folds: int = 5,
) -> OutOfFold | None:
    """Return out-of-fold predictions of the probe on pooled features [N, D].

    The folds are stratified, and images of one group are in one fold. All that the probe
    learns is learned in each fold anew, from the other folds alone: the standardisation, the
    strength of the regularization, and the classifier. So no image has any part in its own
    prediction (nested cross-validation; Varma and Simon, "Bias in error estimation when using
    cross-validation for model selection", 2006).

    Args:
        pooled: features, float [N, D].
        labels: class numbers, int [N].
        groups: group of each image, int [N].
        classes: number of classes.
        c_values: candidates for the regularization, see ``fit_probe``.
        folds: of the choice among them.
        weights: sample weights, float [N]; None for equal ones.
        seed: of the folds.
        outer_folds: folds at most; fewer if a class has fewer groups.

    Returns:
        None where a class has images of a single group.
    """
    count = min(outer_folds, groups_of_smallest_class(labels, groups))
    if count < 2 or len(np.unique(labels)) < 2:
        return None
    logits = np.zeros((len(labels), classes), np.float32)
    for train, validation in stratified_folds(labels, groups, count=count, seed=seed):
        probe = fit_probe(
            pooled[train],
            labels[train],
            classes=classes,
            c_values=c_values,
            folds=folds,
            weights=None if weights is None else weights[train],
            seed=seed,
            groups=groups[train],
        )
        logits[validation] = probe.logits(pooled[validation])
    return OutOfFold(logits, count)
