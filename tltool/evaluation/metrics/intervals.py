"""Confidence intervals: Wilson for rates, the bootstrap for everything else."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]

_SAME = 1e-12  # replicates are no nearer than that but for rounding
REPLICATES, LEAST_REPLICATES = 1000, 200
_WORK = 5_000_000  # items drawn over all replicates: with many items fewer replicates do
_AT_ONCE = 1_000_000  # items drawn per step, which bounds the memory


def wilson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval of the rate ``successes / n``.

    Unlike the textbook ``p ± 1.96 s``, it stays inside [0, 1] and is not empty at 0 or ``n``
    successes, which is where a small validation split often ends.

    Args:
        successes: how often it happened, 0 … ``n``.
        n: how often it was tried; with 0 nothing is known and the answer is (0, 1).
        confidence: the coverage wanted, inside (0, 1).

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
    # Rounding alone puts the bound of 0 and of n successes a hair off its exact value.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return low, high


def interval_of_mean(
    values: Sequence[float], intervals: Sequence[tuple[float, float]]
) -> tuple[float, float]:
    """Return the interval of the mean of independent figures, from the interval of each.

    Zou and Donner, "Construction of confidence limits about effect measures", 2008 (MOVER): the
    distances to the bounds add up as squares, so that the figure known worst decides.

    Args:
        values: the figures, at least one.
        intervals: of each.
    """
    figures, bounds = np.array(values), np.array(intervals)
    mean = float(figures.mean())
    below, above = (
        float(np.sqrt(((figures - bounds[:, end]) ** 2).sum()) / len(figures)) for end in (0, 1)
    )
    return mean - below, mean + above


def rule_of_three(value: float, n: int, *, least: float = 0.0, most: float = 1.0) -> list[float]:
    """Return the 95 % interval of a figure that is the same for each of ``n`` images.

    Of what was never seen in n images at most 3/n is to be expected (Hanley and Lippman-Hand, "If
    nothing goes wrong, is everything all right?", 1983).
    """
    return [max(least, value - 3 / n), min(most, value + 3 / n)]


def replicates_for(n: int, *, cost: int = 1) -> int:
    """Return how many replicates of ``n`` items are affordable, 0 where too few would be.

    Args:
        n: items.
        cost: work per item of a replicate; a figure that looks at each class costs the classes.
    """
    affordable = min(REPLICATES, 6 * _WORK // max(1, n * cost))
    if affordable < LEAST_REPLICATES:
        return 0 if cost > 1 else LEAST_REPLICATES
    return min(affordable, max(LEAST_REPLICATES, _WORK // max(1, n)))


def bootstrap(
    statistics: Callable[[Integers], Floats], n: int, *, replicates: int, seed: int = 0
) -> Floats:
    """Compute statistics on items drawn with replacement; the same seed draws the same items.

    Args:
        statistics: gets positions int64 [B, n] of the drawn items, sorted in each row, and returns
            one row of figures for each, float [B, S].
        n: items.
        replicates: rows in all.
        seed: of the draws.

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
    """Return the bias-corrected percentile interval of ``value``.

    A calibration error is larger in almost every replicate than in the sample: the correction
    moves the percentiles by as much. Replicates that are NaN (no image of a class was drawn) do
    not count. The interval always holds the value itself.

    Args:
        value: of the sample.
        replicates: the same of drawn samples, float [B].
        n: images that decide a value between 0 and 1. Where nothing is wrong no replicate can be
            wrong either; then Wilson's interval of ``n`` images without a mistake is returned.
        confidence: the coverage wanted, inside (0, 1).

    Returns:
        None where every replicate is the same: what varies is not among the images.

    Reference:
        Efron, "Better bootstrap confidence intervals", 1987, section 2.
    """
    found = replicates[np.isfinite(replicates)]
    if not len(found):
        return None
    if np.ptp(found) < _SAME:
        edge_of_rate = value in (0.0, 1.0) and n
        return list(wilson(round(value * n), n, confidence)) if edge_of_rate else None
    normal = NormalDist()
    below = (np.sum(found < value) + np.sum(found == value) / 2) / len(found)
    edge = 0.5 / len(found)
    bias = normal.inv_cdf(min(max(float(below), edge), 1 - edge))
    tail = normal.inv_cdf((1 + confidence) / 2)
    shares = [normal.cdf(2 * bias - tail), normal.cdf(2 * bias + tail)]
    low, high = np.quantile(found, shares).tolist()
    return [min(low, value), max(high, value)]


def _draws(n: int, replicates: int, seed: int) -> Iterator[Integers]:
    random = np.random.default_rng(seed)
    step = max(1, _AT_ONCE // max(1, n))
    for start in range(0, replicates, step):
        rows = min(step, replicates - start)
        yield np.sort(random.integers(0, n, (rows, n)), axis=1)
