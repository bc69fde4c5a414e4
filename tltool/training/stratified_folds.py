"""Stratified folds of cross-validation that keep the images of a group together."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.runs.keras_setup import import_scikit_learn

_ABSOLUTE, _RELATIVE = 1e-8, 1e-5  # tolerances of np.isclose
Integers = NDArray[np.integer[Any]]


def groups_of_smallest_class(labels: Integers, groups: Integers) -> int:
    """Return the least number of groups that any class has images of.

    Args:
        labels: class numbers, int [N], N >= 1.
        groups: number of the group of each image, int [N].
    """
    pairs = np.unique(np.stack([labels, groups]), axis=1)
    return int(np.unique(pairs[0], return_counts=True)[1].min())


def stratified_folds(
    labels: Integers, groups: Integers, *, count: int, seed: int
) -> list[tuple[Integers, Integers]]:
    """Return the rows of the training and of the validation images of each fold.

    Args:
        labels: class numbers, int [N].
        groups: number of the group of each image, int [N]; a group is in one fold.
        count: folds, at least 2 and at most ``groups_of_smallest_class``.
        seed: of the order of the groups.

    Returns:
        ``count`` pairs of int64 arrays.
    """
    splitter = group_splitter(count, seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of small classes
        return list(splitter.split(labels, labels, groups))


def group_splitter(count: int, *, seed: int) -> Any:
    """Return scikit-learn's ``StratifiedGroupKFold``, shuffled, with a faster choice of folds.

    Args:
        count: folds.
        seed: of the order of the groups.
    """
    import_scikit_learn()
    from sklearn.model_selection import StratifiedGroupKFold

    class Splitter(StratifiedGroupKFold):
        def _find_best_fold(self, **counts: NDArray[Any]) -> int:
            return _best_fold(**counts)

    return Splitter(count, shuffle=True, random_state=seed)


def _best_fold(
    y_counts_per_fold: NDArray[Any], y_cnt: NDArray[Any], group_y_counts: NDArray[Any]
) -> int:
    """Return the fold for a group, as scikit-learn chooses it; all folds are compared at once.

    Args:
        y_counts_per_fold: images so far of each class, float [F, C].
        y_cnt: images of each class, int [C].
        group_y_counts: images of the group, float [C].
    """
    folds = len(y_counts_per_fold)
    proposed = y_counts_per_fold + np.eye(folds)[:, :, np.newaxis] * group_y_counts  # [F, F, C]
    spread = np.std(proposed / y_cnt, axis=1).mean(axis=1)
    sizes = y_counts_per_fold.sum(axis=1)
    best = 0
    for fold in range(1, folds):
        least = spread[best]
        equal = abs(spread[fold] - least) <= _ABSOLUTE + _RELATIVE * least
        if spread[fold] < least or (equal and sizes[fold] < sizes[best]):
            best = fold
    return best
