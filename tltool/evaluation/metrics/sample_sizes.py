"""How many independent images there are, and whether they are too few for an interval."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.integer[Any]]

FEWEST_FOR_RATE = 20
"""Images; with fewer the interval of a rate is rough: coverage as low as 0.84 near 0 and 1."""


def independent_images(mask: NDArray[np.bool_], groups: Integers | None) -> float:
    """Return how many independent images those of ``mask`` are at least: their number of groups.

    Large groups count more than small ones: it is n divided by the mean size of the group of an
    image. Without groups it is the number of images.

    Args:
        mask: bool [N].
        groups: number of the group of each image, int [N]; None where all are independent.
    """
    n = int(mask.sum())
    if groups is None or not n:
        return float(n)
    _, sizes = np.unique(groups[mask], return_counts=True)
    return float(n**2 / (sizes**2).sum())


def is_rough(n: float) -> bool:
    """Return whether the Wilson interval of ``n`` images may hold the rate in less than 93 %."""
    return n < FEWEST_FOR_RATE


def few_independent(n: int, groups: Integers | None) -> bool:
    """Return whether ``n`` images, or their groups, are so few that a bootstrap is rough."""
    return is_rough(independent_images(np.ones(n, np.bool_), groups))
