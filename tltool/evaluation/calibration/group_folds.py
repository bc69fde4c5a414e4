"""Folds for cross-fitting that keep the images of one group together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def group_folds(groups: NDArray[np.int64], count: int, *, seed: int = 0) -> NDArray[np.int64]:
    """Return the fold of each image, int64 [N], of about equally many images each.

    Args:
        groups: int [N]; images of one group are in the same fold.
        count: folds; with fewer groups there are fewer.
        seed: of the order of the groups.
    """
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(sizes))
    middles = np.cumsum(sizes[order]) - sizes[order] / 2  # images before the middle of each group
    fold_of_group = np.zeros(len(sizes), np.int64)
    fold_of_group[order] = (middles * min(count, len(sizes)) / len(groups)).astype(np.int64)
    return fold_of_group[group]
