"""The quantile of split conformal prediction, for single images and for groups of images."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]


class Quantile(NamedTuple):
    """A quantile of calibration scores.

    Attributes:
        value: a new score is at or below it with probability ``level`` or more.
        level: probability of ``value``, inside (0, 1).
    """

    value: float
    level: float


def conformal_quantile(
    scores: Floats, level: float, groups: NDArray[np.int64] | None = None
) -> Quantile | None:
    """Return the smallest score that a new score is at or below with probability ``level``.

    Split conformal prediction (Vovk et al. 2005). With groups the new image is of a new group, and
    all groups weigh the same, whatever their size (Lee, Barber and Willett 2023, "Distribution-free
    inference with hierarchical data", arXiv:2306.06342; Dunn, Wasserman and Ramdas 2022 take one
    image of each group instead, which is valid too but random).

    Args:
        scores: of the calibration images, [N], N >= 1.
        level: target coverage, inside (0, 1).
        groups: int [N], the group of each image; None if all images are independent.

    Returns:
        None with too few images: with K groups the level is at most K / (K + 1).
    """
    numbers = np.arange(len(scores)) if groups is None else groups
    _, group, sizes = np.unique(numbers, return_inverse=True, return_counts=True)
    order = np.argsort(scores, kind="stable")
    levels = np.cumsum(1 / sizes[group[order]]) / (len(sizes) + 1)
    rank = int(np.searchsorted(levels, level - 1e-9))
    if rank == len(scores):
        return None
    return Quantile(float(scores[order[rank]]), float(levels[rank]))


def images_needed(level: float) -> int:
    """Return how many images, or groups of images, a quantile of this level needs."""
    return math.ceil(level / (1 - level) - 1e-9)


def highest_level(groups: int) -> float:
    """Return the highest level that so many images or groups allow, rounded down to 0.001."""
    return math.floor(1000 * groups / (groups + 1)) / 1000
