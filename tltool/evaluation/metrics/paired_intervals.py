"""Intervals and exact tests for the difference of two accuracies on the same images."""

from __future__ import annotations

import functools
import math
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.integer[Any]]

_CONFIDENCE = 0.95
_MOST_EXACT = 20_000  # a larger sum over groups takes seconds to enumerate
_NUISANCE = 41  # gains at which the size of the non-inferiority test is computed


def paired_interval(
    only_first: float, only_second: float, n: float, *, quantile: float | None = None
) -> tuple[float, float]:
    """Return the 95 % interval of the accuracy of the second classifier minus that of the first.

    The adjusted Wald interval: one image is added to each kind of disagreement, so that the
    interval has a width if the classifiers agree on all images.

    Args:
        only_first: images that only the first classifies correctly; may be an effective number.
        only_second: images that only the second classifies correctly.
        n: all images.
        quantile: half-width in standard errors; by default 1.96.

    Reference:
        Bonett and Price, "Adjusted Wald confidence interval for a difference of binomial
        proportions based on paired data", 2012.
    """
    quantile = quantile or NormalDist().inv_cdf((1 + _CONFIDENCE) / 2)
    first, second = (only_first + 1) / (n + 2), (only_second + 1) / (n + 2)
    difference = second - first
    half = quantile * math.sqrt((first + second - difference**2) / (n + 2))
    return max(-1.0, difference - half), min(1.0, difference + half)


def grouped_paired_interval(differences: Integers, groups: Integers) -> tuple[float, float]:
    """Return the interval of ``paired_interval`` for images that are independent only by group.

    The design effect divides the number of images, and the quantile is that of Student's t for as
    many degrees of freedom as groups less one.

    Args:
        differences: -1, 0 or 1 of each image, int [N]: correct by the second minus by the first.
        groups: the group of each image, int [N].
    """
    from scipy.stats import t

    count = len(np.unique(groups))
    if count < 2:
        return -1.0, 1.0
    effect = design_effect(differences, groups)
    first, second = (float((differences == sign).sum()) / effect for sign in (-1, 1))
    quantile = float(t.ppf((1 + _CONFIDENCE) / 2, count - 1))
    return paired_interval(first, second, len(differences) / effect, quantile=quantile)


def design_effect(differences: Integers, groups: Integers) -> float:
    """Return the variance of the mean difference over that of independent images, at least 1.

    It is estimated as if one further group had all its images classified differently, because a few
    differing images say little about how they are correlated; without any, it is the typical size
    of a group.

    Args:
        differences: -1, 0 or 1 of each image, int [N].
        groups: the group of each image, int [N]; two or more different ones.

    Reference:
        Kish, "Survey sampling", 1965, section 5.4.
    """
    n, sizes = len(differences), _sums(groups, np.ones_like(differences))
    mean, share = float(differences.mean()), len(sizes) / (len(sizes) - 1)
    variance = share * float(((_sums(groups, differences) - sizes * mean) ** 2).sum())
    independent = float(np.abs(differences).sum()) - n * mean**2
    typical = float((sizes**2).sum()) / n  # size of the group of a random image
    return min(n / 2, max(1.0, (variance + typical**2) / (independent + typical)))


def mean_interval(
    values: NDArray[np.floating[Any]], groups: Integers | None, *, possible: float = 0.0
) -> tuple[float, float]:
    """Return the 95 % interval of a mean of paired differences: Student's t on group sums.

    Args:
        values: the difference of each image, float [N].
        groups: the group of each image, int [N]; None if the images are independent.
        possible: a difference that an image can have, although none of the sample may have it; one
            image with it and one with its negative are added to the variance.
    """
    from scipy.stats import t

    groups = np.arange(len(values)) if groups is None else groups
    if len(np.unique(groups)) < 2:
        return -math.inf, math.inf
    variance, freedom = variance_of_mean(values, groups, possible=possible)
    half = float(t.ppf((1 + _CONFIDENCE) / 2, freedom)) * math.sqrt(variance)
    return float(values.mean()) - half, float(values.mean()) + half


def variance_of_mean(
    values: NDArray[np.floating[Any]], groups: Integers, *, possible: float
) -> tuple[float, int]:
    """Return the variance of a mean, from the sums of the groups, and its degrees of freedom.

    Args:
        values: of each image, float [N].
        groups: the group of each image, int [N]; two or more different ones.
        possible: a difference that an image can have; see ``mean_interval``.
    """
    sizes, mean = _sums(groups, np.ones(len(values))), float(values.mean())
    squares = float(((_sums(groups, values) - sizes * mean) ** 2).sum()) + 2 * possible**2
    return squares * len(sizes) / (len(sizes) - 1) / len(values) ** 2, len(sizes) - 1


def sign_flip_p_value(differences: Integers, groups: Integers) -> float:
    """Return the two-sided p-value of an exact test that two classifiers are interchangeable.

    Under this hypothesis the two predictions of each group may be exchanged, which flips the sign
    of the sum of its differences; the p-value is the share of all sign patterns with a total at
    least as far from 0. If each image is its own group, this is McNemar's exact test.

    Args:
        differences: -1, 0 or 1 of each image, int [N].
        groups: the group of each image, int [N].

    Reference:
        Fisher, "The design of experiments", 1935, section 21.
    """
    sums = _sums(groups, differences).astype(np.int64)
    sizes, total = np.abs(sums[sums != 0]), abs(int(sums.sum()))
    highest = int(sizes.sum())
    if not highest:
        return 1.0
    if highest > _MOST_EXACT:
        score = total / math.sqrt(float((sizes.astype(np.float64) ** 2).sum()))
        return 2 * NormalDist().cdf(-score)
    probabilities = np.zeros(2 * highest + 1)
    probabilities[highest] = 1.0
    for size in sizes.tolist():
        flipped = np.zeros_like(probabilities)
        flipped[size:] += probabilities[:-size] / 2
        flipped[:-size] += probabilities[size:] / 2
        probabilities = flipped
    far = np.abs(np.arange(-highest, highest + 1)) >= total
    return min(1.0, float(probabilities[far].sum()))


def noninferiority_p_value(lost: int, gained: int, n: int, *, margin: float) -> float:
    """Return the one-sided p-value of the hypothesis that accuracy fell by ``margin`` or more.

    Tango's score statistic orders the outcomes. The p-value is the probability of an outcome as
    extreme, at a loss of exactly the margin, for the least favourable rate of gained images; so the
    error rate of the test is at most its level with every number of images.

    Args:
        lost: images that are only classified correctly before.
        gained: images that are only classified correctly after.
        n: all images, at most some hundreds: all (n + 1) (n + 2) / 2 outcomes are enumerated.
        margin: a difference of accuracy above 0.

    References:
        Tango, "Equivalence test and confidence interval for the difference in proportions for the
        paired-sample design", 1998. Hsueh, Liu and Chen, "Unconditional exact tests for equivalence
        or noninferiority for paired binary endpoints", 2001.
    """
    return float(_noninferiority_table(n, margin)[lost, gained])


@functools.lru_cache(maxsize=4)
def _noninferiority_table(n: int, margin: float) -> NDArray[np.float64]:
    """Return the p-value of every outcome (lost, gained), float64 [n + 1, n + 1]."""
    from scipy.special import gammaln, xlogy

    lost, gained = (axis.ravel() for axis in np.indices((n + 1, n + 1)))
    possible = lost + gained <= n
    lost, gained = lost[possible], gained[possible]
    same = n - lost - gained
    scores = np.round(_tango_scores(lost, gained, n, margin), 9)
    order = np.argsort(-scores, kind="stable")
    last_of_ties = np.searchsorted(-scores[order], -scores[order], side="right") - 1
    ways = gammaln(n + 1) - gammaln(lost + 1) - gammaln(gained + 1) - gammaln(same + 1)
    worst = np.zeros(len(lost))
    for rate in np.linspace(0, math.sqrt((1 - margin) / 2), _NUISANCE) ** 2:
        log = ways + xlogy(lost, margin + rate) + xlogy(gained, rate)
        log = log + xlogy(same, max(0.0, 1 - margin - 2 * rate))
        worst = np.maximum(worst, np.cumsum(np.exp(log)[order])[last_of_ties])
    table = np.ones((n + 1, n + 1))
    table[lost[order], gained[order]] = np.minimum(1.0, worst)
    return table


def _tango_scores(
    lost: Integers, gained: Integers, n: int, margin: float
) -> NDArray[np.floating[Any]]:
    """Return the score statistic of a loss of exactly ``margin``; high values speak against it."""
    linear = -gained - lost - (2 * n - gained + lost) * margin
    constant = lost * margin * (1 + margin)
    gain = (np.sqrt(linear**2 - 8 * n * constant) - linear) / (4 * n)
    variance = n * (2 * gain - margin * (1 + margin))
    scores: NDArray[np.floating[Any]] = (gained - lost + n * margin) / np.sqrt(
        np.maximum(variance, 1e-12)
    )
    return scores


def _sums(groups: Integers, values: Integers | NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return the sum of the values of each group, float64 [K]."""
    _, numbers = np.unique(groups, return_inverse=True)
    sums: NDArray[np.float64] = np.bincount(numbers, weights=values).astype(np.float64)
    return sums
