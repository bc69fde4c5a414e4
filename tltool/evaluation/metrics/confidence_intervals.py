"""Confidence intervals: the Wilson score interval for rates, the bootstrap for everything else."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]

_SAME = 1e-12  # replicates closer than this differ by rounding only
REPLICATES, LEAST_REPLICATES = 1000, 200
_WORK = 5_000_000  # items drawn over all replicates: large samples need fewer replicates
_AT_ONCE = 1_000_000  # items drawn per step, which bounds the memory


def wilson_interval(successes: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval of the rate ``successes / n``.

    Unlike the normal approximation ``p ± 1.96 s``, it stays inside [0, 1] and does not have zero
    width at 0 or ``n`` successes, which small validation sets often reach.

    Args:
        successes: number of successes, 0 … ``n``; a fraction where ``n`` is an effective number.
        n: number of trials, or their effective number; with 0 the interval is (0, 1).
        confidence: nominal coverage, inside (0, 1).

    Returns:
        The lower and the upper bound, both inside [0, 1].

    Raises:
        ValueError: the counts or the confidence are impossible.

    Reference:
        Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    if not 0 <= successes <= n or not 0 < confidence < 1:
        raise ValueError(f"no such rate: {successes} of {n} at confidence {confidence}")
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate = successes / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    # Without rounding errors the bound at 0 and at n successes is exactly 0 and 1.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return low, high


def effective_sample_size(values: Floats, groups: Integers) -> float:
    """Return the number of independent images that determine the mean of ``values`` as well.

    It is ``n`` divided by the design effect: the variance of the mean between groups, divided by
    that of ``n`` independent images (Kish, "Survey sampling", 1965, section 5.4; the variance is
    that of Liang and Zeger, 1986). Where few images are wrong, a sample rarely shows that errors
    come in groups. Therefore one group of typical size with the rarest value is added before the
    variances are computed; without it, the Wilson interval of a high accuracy is too narrow.

    Args:
        values: of each image, such as 1 for a correct prediction and 0 for an error, [N], N >= 1.
        groups: number of the group of each image, int [N]; images of different groups are
            independent.

    Returns:
        1 … N; N if each group is a single image; about the number of groups if all values are
        equal, as the sample then says nothing about the variance.

    Raises:
        ValueError: the lengths differ, or there are no images.
    """
    if values.shape != groups.shape or not len(values):
        raise ValueError(f"values {values.shape} and groups {groups.shape} do not match")
    n, x = len(values), values.astype(np.float64)
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(sizes) == n:
        return float(n)
    typical = float((sizes**2).sum() / n)  # the mean size of the group of an image
    if np.ptp(x) < _SAME:
        return n / typical
    rarest = x.min() if x.mean() - x.min() > x.max() - x.mean() else x.max()
    images = n + typical
    mean = (x.sum() + typical * rarest) / images
    deviations = np.append(np.bincount(group, weights=x - mean), typical * (rarest - mean))
    between = (deviations**2).sum() * len(deviations) / (len(deviations) - 1)
    within = ((x - mean) ** 2).sum() + typical * (rarest - mean) ** 2
    return float(min(n, max(1.0, n * within / between)))


def rate_with_interval(successes: int, n: int) -> dict[str, float]:
    """Return ``{value, low, high}``: a rate and its 95 % Wilson interval; ``n`` is at least 1."""
    low, high = wilson_interval(successes, n)
    return {"value": successes / n, "low": low, "high": high}


def interval_of_mean(
    values: Sequence[float], intervals: Sequence[tuple[float, float]]
) -> tuple[float, float]:
    """Return the interval of the mean of independent estimates, from the interval of each.

    Zou and Donner, "Construction of confidence limits about effect measures", 2008 (MOVER): the
    distances to the bounds add in quadrature, so the most uncertain estimate dominates.

    Args:
        values: the estimates, at least one.
        intervals: the lower and upper bound of each.
    """
    estimates, bounds = np.array(values), np.array(intervals)
    mean = float(estimates.mean())
    below, above = (
        float(np.sqrt(((estimates - bounds[:, end]) ** 2).sum()) / len(estimates)) for end in (0, 1)
    )
    return mean - below, mean + above


def rule_of_three_interval(
    value: float, n: int, *, least: float = 0.0, most: float = 1.0
) -> list[float]:
    """Return the 95 % interval of a mean when all ``n`` images have the same value.

    The rate of an event that did not occur in n trials is at most 3/n (Hanley and Lippman-Hand, "If
    nothing goes wrong, is everything all right?", 1983).
    """
    return [max(least, value - 3 / n), min(most, value + 3 / n)]


def affordable_replicates(n: int, *, cost: int = 1) -> int:
    """Return how many bootstrap replicates of ``n`` items to draw; 0 where too few are affordable.

    Args:
        n: items.
        cost: work per item of a replicate, such as the number of classes for one-vs-rest metrics.
    """
    affordable = min(REPLICATES, 6 * _WORK // max(1, n * cost))
    if affordable < LEAST_REPLICATES:
        return 0 if cost > 1 else LEAST_REPLICATES
    return min(affordable, max(LEAST_REPLICATES, _WORK // max(1, n)))


def bootstrap(
    statistics: Callable[[Integers], Floats], n: int, *, replicates: int, seed: int = 0
) -> Floats:
    """Compute statistics on resampled items; the same seed draws the same items.

    Args:
        statistics: takes positions int64 [B, n] of the resampled items, sorted in each row, and
            returns one row of statistics for each, float [B, S].
        n: items.
        replicates: rows in all.
        seed: of the resampling.

    Returns:
        float64 [replicates, S].

    Reference:
        Efron and Tibshirani, "An introduction to the bootstrap", 1993, chapter 13.
    """
    parts = [statistics(draws) for draws in _draws(n, replicates, seed)]
    return np.concatenate(parts).astype(np.float64)


def bootstrap_interval(
    value: float, replicates: Floats, *, n: int = 0, confidence: float = 0.95
) -> list[float] | None:
    """Return the bias-corrected percentile interval of ``value``; it always contains ``value``.

    The expected calibration error is larger in almost every replicate than in the sample; the bias
    correction shifts the percentiles accordingly. NaN replicates (a class was not drawn) are
    ignored.

    Args:
        value: of the sample.
        replicates: the same of the resampled data, float [B].
        n: number of images behind a value in [0, 1]. If the model makes no mistake, the bootstrap
            cannot resample one; the Wilson interval for 0 errors in ``n`` images is returned.
        confidence: nominal coverage, inside (0, 1).

    Returns:
        ``[low, high]``; None if all replicates are equal, as the sample then has no variance.

    Reference:
        Efron, "Better bootstrap confidence intervals", 1987, section 2.
    """
    finite = replicates[np.isfinite(replicates)]
    if not len(finite):
        return None
    if np.ptp(finite) < _SAME:
        perfect_rate = value in (0.0, 1.0) and n
        return list(wilson_interval(round(value * n), n, confidence)) if perfect_rate else None
    normal = NormalDist()
    below = (np.sum(finite < value) + np.sum(finite == value) / 2) / len(finite)
    edge = 0.5 / len(finite)
    bias = normal.inv_cdf(min(max(float(below), edge), 1 - edge))
    tail = normal.inv_cdf((1 + confidence) / 2)
    levels = [normal.cdf(2 * bias - tail), normal.cdf(2 * bias + tail)]
    low, high = np.quantile(finite, levels).tolist()
    return [min(low, value), max(high, value)]


def _draws(n: int, replicates: int, seed: int) -> Iterator[Integers]:
    random = np.random.default_rng(seed)
    step = max(1, _AT_ONCE // max(1, n))
    for start in range(0, replicates, step):
        rows = min(step, replicates - start)
        yield np.sort(random.integers(0, n, (rows, n)), axis=1)
