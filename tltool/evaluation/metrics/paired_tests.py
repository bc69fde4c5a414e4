"""Which of two classifiers is better, from their answers to the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.evaluation.metrics.intervals import rule_of_three

ALPHA = 0.05
_RESAMPLES = 20_000


@dataclass(frozen=True)
class Paired:
    """A second classifier against a first, on ``n`` images.

    Attributes:
        n: images.
        difference: accuracy of the second less that of the first.
        low: lower end of its 95 % bootstrap interval.
        high: upper end.
        only_first: images that only the first gets right.
        only_second: images that only the second gets right.
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
        """Whether one is better for sure: test and interval agree."""
        return self.adjusted < ALPHA and (self.low > 0 or self.high < 0)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**fields, "distinguishable": self.distinguishable}


def against_first(
    first: NDArray[np.bool_],
    others: Sequence[NDArray[np.bool_]],
    *,
    best_of_all: bool = False,
    seed: int = 0,
) -> list[Paired]:
    """Compare each of ``others`` with ``first``.

    The interval is a percentile interval over resampled images (Efron 1979); an image keeps both of
    its answers, which makes it narrower than two intervals apart; where all images are alike it is
    that of the rule of three. The test is McNemar's (1947) in its exact form: a binomial test on
    the images that only one gets right. Several comparisons are corrected by Holm's step-down
    method (1979); the intervals are not.

    Args:
        first: which images it gets right, bool [N].
        others: the same of each other, in the same order of images.
        best_of_all: whether ``first`` was chosen as the best on these images. Any two might have
            been compared then, and all pairs count for the correction.
        seed: of the resampling.
    """
    found = [_paired(first, other, seed) for other in others]
    pairs = len(others) * (len(others) + 1) // 2
    adjusted = holm([one.p_value for one in found], made=pairs if best_of_all else len(others))
    return [
        Paired(**{**vars(one), "adjusted": value})
        for one, value in zip(found, adjusted, strict=True)
    ]


def holm(p_values: Sequence[float], *, made: int | None = None) -> list[float]:
    """Return p-values corrected for their number, in the given order; none is above 1.

    Args:
        p_values: of the comparisons that are told.
        made: how many were made, if more; those that are not told count as the least significant.
    """
    count = len(p_values) if made is None else made
    order = np.argsort(p_values, kind="stable")
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, position in enumerate(order):
        highest = max(highest, min(1.0, (count - rank) * p_values[position]))
        corrected[position] = highest
    return corrected


def verdict(name: str, other: str, paired: Paired) -> str:
    """Return one sentence on the second classifier ``other`` against the first, ``name``."""
    if not paired.only_first + paired.only_second:
        return (
            f"{other} and {name} cannot be told apart with n = {paired.n:,}: they get the same "
            f"images right (interval {100 * paired.low:+.1f} to {100 * paired.high:+.1f} points)"
        )
    if not paired.distinguishable:
        return (
            f"{other} and {name} cannot be told apart with n = {paired.n:,} (difference "
            f"{100 * paired.difference:+.1f} points, interval {100 * paired.low:+.1f} to "
            f"{100 * paired.high:+.1f})"
        )
    better, worse = (other, name) if paired.difference > 0 else (name, other)
    low, high = sorted((abs(paired.low), abs(paired.high)))
    return (
        f"{better} is better than {worse} by {100 * abs(paired.difference):.1f} points, interval "
        f"{100 * low:.1f} to {100 * high:.1f}"
    )


def _paired(first: NDArray[np.bool_], second: NDArray[np.bool_], seed: int) -> Paired:
    from scipy.stats import binomtest

    n = len(first)
    only_first = int((first & ~second).sum())
    only_second = int((second & ~first).sum())
    differing = only_first + only_second
    p_value = float(binomtest(only_first, differing).pvalue) if differing else 1.0
    # images differ only in which of three kinds they are, so that kinds can be drawn, not images
    shares = np.array([only_first, only_second, n - differing]) / n
    drawn = np.random.default_rng(seed).multinomial(n, shares, size=_RESAMPLES)
    low, high = np.quantile((drawn[:, 1] - drawn[:, 0]) / n, (ALPHA / 2, 1 - ALPHA / 2))
    difference = (only_second - only_first) / n
    if low == high:  # every image is of one kind, and so is every drawn one
        low, high = rule_of_three(difference, n, least=-1.0)
    return Paired(n, difference, float(low), float(high), only_first, only_second, p_value, p_value)
