"""Drift of counts: the population stability index (PSI), tested by permutation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CONFIDENCE_EDGES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999)
"""Inner bounds of the bins of confidences; a confidence on a bound is in the bin below."""
_CHUNK = 1 << 18  # counts of random tables at a time: 2 MB for each array
_LEAST = 0.5  # added to each count: a class without images would make the PSI infinite


@dataclass(frozen=True)
class BinnedDrift:
    """How two tables of counts over the same bins differ.

    Attributes:
        psi: population stability index, 0 … infinity.
        distance: total variation distance of the shares, 0 … 1.
        p_value: probability of such a PSI or a larger one without drift.
    """

    psi: float
    distance: float
    p_value: float


def confidence_counts(confidence: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return how many confidences, float [N], are in each of the nine bins, int64 [9]."""
    bins = np.searchsorted(CONFIDENCE_EDGES, confidence.astype(np.float64), side="left")
    return np.bincount(bins, minlength=len(CONFIDENCE_EDGES) + 1)


def stability_index(
    reference: NDArray[np.integer], counts: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Return the PSI of two tables of counts, int [..., K] each, float64 [...].

    It is the symmetric Kullback-Leibler divergence of the shares. Half an image is added to each
    count, so that an empty bin gives a finite value.
    """
    first, second = (_shares(table) for table in (reference, counts))
    index: NDArray[np.float64] = ((first - second) * np.log(first / second)).sum(axis=-1)
    return index


def compare_counts(
    reference: NDArray[np.integer],
    counts: NDArray[np.integer],
    *,
    permutations: int,
    seed: int = 0,
) -> BinnedDrift:
    """Compare two tables of counts over the same K bins, int [K].

    The p-value is that of a permutation test with the PSI as statistic: images are dealt anew to
    the two samples, so the table of one of them is multivariate hypergeometric. The usual bounds
    of 0.1 and 0.25 are not used: without drift the PSI of small samples exceeds them (Yurdakul and
    Naranjo, "Statistical properties of the population stability index", 2020).

    Args:
        reference: of the reference.
        counts: of the new images.
        permutations: random tables.
        seed: of the random tables.

    Raises:
        ValueError: a table is empty, or the lengths differ.
    """
    if reference.shape != counts.shape or not reference.sum() or not counts.sum():
        raise ValueError(f"tables {reference.shape} and {counts.shape} cannot be compared")
    psi = float(stability_index(reference, counts))
    by_chance = _by_chance(reference, counts, permutations, np.random.default_rng(seed))
    as_large = sum(int((chunk >= psi - 1e-12).sum()) for chunk in by_chance)
    shares = reference / reference.sum(), counts / counts.sum()
    return BinnedDrift(
        psi, float(np.abs(shares[0] - shares[1]).sum() / 2), (1 + as_large) / (1 + permutations)
    )


def _by_chance(
    reference: NDArray[np.integer],
    counts: NDArray[np.integer],
    permutations: int,
    random: np.random.Generator,
) -> Iterator[NDArray[np.float64]]:
    """Yield the PSI of random tables, in chunks: with 20,000 classes all take gigabytes."""
    pooled = (reference + counts).astype(np.int64)
    most = max(1, _CHUNK // len(pooled))
    for start in range(0, permutations, most):
        size = min(most, permutations - start)
        tables = random.multivariate_hypergeometric(
            pooled, int(counts.sum()), size=size, method="marginals"
        )
        yield stability_index(pooled - tables, tables)


def _shares(counts: NDArray[np.integer]) -> NDArray[np.float64]:
    smoothed = counts + _LEAST
    return np.asarray(smoothed / smoothed.sum(axis=-1, keepdims=True), np.float64)
