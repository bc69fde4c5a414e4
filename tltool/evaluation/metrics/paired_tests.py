"""Which of two classifiers is better: paired tests on their predictions for the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.evaluation.metrics.paired_intervals import (
    Integers,
    design_effect,
    grouped_paired_interval,
    paired_interval,
    sign_flip_p_value,
)

ALPHA = 0.05


@dataclass(frozen=True)
class PairedComparison:
    """A second classifier compared with a first, on ``n`` images.

    Attributes:
        n: images.
        difference: accuracy of the second minus that of the first.
        low: lower bound of its 95 % interval.
        high: upper bound.
        only_first: images that only the first classifies correctly.
        only_second: images that only the second classifies correctly.
        p_value: of McNemar's exact test, two-sided; with groups, of its form for groups.
        adjusted: the same after Holm's correction for all comparisons made together.
        groups: number of groups of dependent images; None if the images are independent.
        effective_n: number of independent images that would determine the difference as well.
    """

    n: int
    difference: float
    low: float
    high: float
    only_first: int
    only_second: int
    p_value: float
    adjusted: float
    groups: int | None
    effective_n: float

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
    groups: Integers | None = None,
) -> list[PairedComparison]:
    """Compare each of ``others`` with ``first``.

    The interval is the adjusted Wald interval of Bonett and Price (2012). The test is McNemar's
    (1947) in its exact form: a binomial test on the images that only one classifies correctly. If
    images belong to groups, such as patients, both are computed from the sums over the groups.
    Multiple comparisons are corrected by Holm's step-down method (1979); the intervals are not.

    Args:
        first: whether its prediction is correct, bool [N].
        others: the same of each other classifier, for the same images in the same order.
        best_of_all: whether ``first`` was selected as the best on these images. The correction then
            counts all pairs, as any two might have been compared.
        groups: the group of each image, int [N]; None if the images are independent.
    """
    if groups is not None and len(np.unique(groups)) == len(groups):
        groups = None
    compared = [_compare(first, other, groups) for other in others]
    pairs = len(others) * (len(others) + 1) // 2
    adjusted = holm([one.p_value for one in compared], made=pairs if best_of_all else len(others))
    return [replace(one, adjusted=value) for one, value in zip(compared, adjusted, strict=True)]


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
    images = f"n = {paired.n:,}" + (f" in {paired.groups:,} groups" if paired.groups else "")
    if not paired.only_first + paired.only_second:
        return (
            f"no difference between {other} and {name} with {images}: they classify the "
            f"same images correctly ({points})"
        )
    if not paired.distinguishable:
        return (
            f"no significant difference between {other} and {name} with {images} "
            f"({100 * paired.difference:+.1f}, {points})"
        )
    better, worse = (other, name) if paired.difference > 0 else (name, other)
    low, high = sorted((abs(paired.low), abs(paired.high)))
    return (
        f"{better} is better than {worse} by {100 * abs(paired.difference):.1f} points (95 % "
        f"interval {100 * low:.1f} to {100 * high:.1f}, {images})"
    )


def _compare(
    first: NDArray[np.bool_], second: NDArray[np.bool_], groups: Integers | None
) -> PairedComparison:
    from scipy.stats import binomtest

    n = len(first)
    only_first = int((first & ~second).sum())
    only_second = int((second & ~first).sum())
    differing = only_first + only_second
    count, effect = None, 1.0
    if groups is None:
        low, high = paired_interval(only_first, only_second, n)
        p_value = float(binomtest(only_first, differing).pvalue) if differing else 1.0
    else:
        differences = second.astype(np.int64) - first
        low, high = grouped_paired_interval(differences, groups)
        p_value, count = sign_flip_p_value(differences, groups), len(np.unique(groups))
        effect = design_effect(differences, groups) if count > 1 else n
    difference = (only_second - only_first) / n
    counts = n, difference, low, high, only_first, only_second
    return PairedComparison(*counts, p_value, p_value, count, n / effect)
