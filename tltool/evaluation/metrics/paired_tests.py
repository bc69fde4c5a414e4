"""Which of two classifiers is better: paired tests on their predictions for the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.evaluation.metrics.confidence_intervals import rule_of_three_interval

ALPHA = 0.05
_RESAMPLES = 20_000


@dataclass(frozen=True)
class PairedComparison:
    """A second classifier compared with a first, on ``n`` images.

    Attributes:
        n: images.
        difference: accuracy of the second minus that of the first.
        low: lower bound of its 95 % bootstrap interval.
        high: upper bound.
        only_first: images that only the first classifies correctly.
        only_second: images that only the second classifies correctly.
        p_value: of McNemar's exact test, two-sided.
        adjusted: the same after Holm's correction for all comparisons made together.
    """

    n: int
    difference: float
    low: float
    high: float
    only_first: int
    only_second: int
    p_value: float
    adjusted: float

    @property
    def distinguishable(self) -> bool:
        """Whether the difference is significant: test and interval agree."""
        return self.adjusted < ALPHA and (self.low > 0 or self.high < 0)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**fields, "distinguishable": self.distinguishable}


def compare_with_first(
    first: NDArray[np.bool_],
    others: Sequence[NDArray[np.bool_]],
    *,
    best_of_all: bool = False,
    seed: int = 0,
) -> list[PairedComparison]:
    """Compare each of ``others`` with ``first``.

    The interval is a percentile interval over resampled images (Efron 1979). A resampled image
    keeps both predictions, which makes the interval narrower than that of two independent samples.
    If the two classifiers agree on every image, it is the interval of the rule of three. The test
    is McNemar's (1947) in its exact form: a binomial test on the images that only one classifies
    correctly. Multiple comparisons are corrected by Holm's step-down method (1979); the intervals
    are not.

    Args:
        first: whether its prediction is correct, bool [N].
        others: the same of each other classifier, for the same images in the same order.
        best_of_all: whether ``first`` was selected as the best on these images. The correction then
            counts all pairs, as any two might have been compared.
        seed: of the resampling.
    """
    compared = [_compare(first, other, seed) for other in others]
    pairs = len(others) * (len(others) + 1) // 2
    adjusted = holm([one.p_value for one in compared], made=pairs if best_of_all else len(others))
    return [
        PairedComparison(**{**vars(one), "adjusted": value})
        for one, value in zip(compared, adjusted, strict=True)
    ]


def holm(p_values: Sequence[float], *, made: int | None = None) -> list[float]:
    """Return Holm-adjusted p-values in the same order, each at most 1.

    Args:
        p_values: of the reported comparisons.
        made: how many comparisons were made, if more; the others count as the least significant.
    """
    count = len(p_values) if made is None else made
    order = np.argsort(p_values, kind="stable")
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, position in enumerate(order):
        highest = max(highest, min(1.0, (count - rank) * p_values[position]))
        adjusted[position] = highest
    return adjusted


def verdict(name: str, other: str, paired: PairedComparison) -> str:
    """Return one sentence on the second classifier ``other`` compared with the first, ``name``."""
    points = f"95 % interval {100 * paired.low:+.1f} to {100 * paired.high:+.1f} points"
    if not paired.only_first + paired.only_second:
        return (
            f"no difference between {other} and {name} with n = {paired.n:,}: they classify the "
            f"same images correctly ({points})"
        )
    if not paired.distinguishable:
        return (
            f"no significant difference between {other} and {name} with n = {paired.n:,} "
            f"({100 * paired.difference:+.1f}, {points})"
        )
    better, worse = (other, name) if paired.difference > 0 else (name, other)
    low, high = sorted((abs(paired.low), abs(paired.high)))
    return (
        f"{better} is better than {worse} by {100 * abs(paired.difference):.1f} points (95 % "
        f"interval {100 * low:.1f} to {100 * high:.1f})"
    )


def _compare(first: NDArray[np.bool_], second: NDArray[np.bool_], seed: int) -> PairedComparison:
    from scipy.stats import binomtest

    n = len(first)
    only_first = int((first & ~second).sum())
    only_second = int((second & ~first).sum())
    differing = only_first + only_second
    p_value = float(binomtest(only_first, differing).pvalue) if differing else 1.0
    # only three kinds of images matter, so counts are resampled instead of images
    shares = np.array([only_first, only_second, n - differing]) / n
    drawn = np.random.default_rng(seed).multinomial(n, shares, size=_RESAMPLES)
    low, high = np.quantile((drawn[:, 1] - drawn[:, 0]) / n, (ALPHA / 2, 1 - ALPHA / 2))
    difference = (only_second - only_first) / n
    if low == high:  # all images are of one kind, so every resample is the same
        low, high = rule_of_three_interval(difference, n, least=-1.0)
    return PairedComparison(
        n, difference, float(low), float(high), only_first, only_second, p_value, p_value
    )
