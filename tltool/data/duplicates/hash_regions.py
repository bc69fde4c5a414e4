"""Regions of similar perceptual hashes, so that not all pairs of very many images are compared."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tltool.data.duplicates.perceptual_hash import as_signs

ALL_PAIRS = 200_000
"""Images up to which all pairs of hashes are compared; more are compared by region."""

_COMPARED = 10_000  # later images with which each is compared, at least
_REGIONS_OF_EACH = 2  # a copy is in one of the regions of its original more often than in both
_BLOCK = 1024


def regions_of(packed: NDArray[np.uint8]) -> tuple[Sequence[NDArray[np.int64]], int]:
    """Return regions in which the pairs of hashes are compared, and how many pairs are in none.

    Up to ``ALL_PAIRS`` hashes are one region. More are in the regions of the hashes nearest to
    them, among hashes evenly spaced over all (an inverted file; H. Jegou, M. Douze and C. Schmid,
    "Product Quantization for Nearest Neighbor Search", 2011). The number of regions is such that
    about as many pairs are compared as of ``ALL_PAIRS`` hashes, or 10,000 for each hash.

    Args:
        packed: the bits of the hashes, uint8 [N, 32].

    Returns:
        positions of the hashes of each region, int64, ascending; and the number of pairs that are
        in no region, at least.
    """
    count = len(packed)
    if count <= ALL_PAIRS:
        return [np.arange(count)], 0
    budget = max(ALL_PAIRS**2 // 2, count * _COMPARED)  # pairs
    number = -(-((_REGIONS_OF_EACH * count) ** 2) // (2 * budget))
    centres = as_signs(packed[np.linspace(0, count - 1, number).astype(np.int64)])
    nearest = np.empty((count, _REGIONS_OF_EACH), np.int64)
    for start in range(0, count, _BLOCK):
        agreement = as_signs(packed[start : start + _BLOCK]) @ centres.T
        # the first of equally near ones, on every machine
        order = np.argsort(-agreement, axis=1, kind="stable")
        nearest[start : start + _BLOCK] = order[:, :_REGIONS_OF_EACH]
    regions = [np.flatnonzero((nearest == centre).any(axis=1)) for centre in range(number)]
    compared = sum(len(region) * (len(region) - 1) // 2 for region in regions)
    return regions, max(count * (count - 1) // 2 - compared, 0)
