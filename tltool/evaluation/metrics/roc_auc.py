"""One-vs-rest ROC-AUC and average precision of each class, with confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tltool.evaluation.metrics.confidence_intervals import (
    wilson_interval,
)
from tltool.evaluation.metrics.sample_sizes import independent_images

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]
Booleans = NDArray[np.bool_]

FEWEST_FOR_AUC = 5
"""Images of a class, and of the others; with fewer the interval of the ROC-AUC is rough."""
FEWEST_FOR_AVERAGE_PRECISION = 15
"""Images of a class; with fewer the interval of the average precision is rough."""


class Estimate(NamedTuple):
    """A metric and how it depends on each image.

    Attributes:
        value: the metric; NaN without images of the class, or of other classes.
        influence: change of the metric if the weight of an image increases, divided by N,
            float64 [N]; the sum of squares estimates the variance of ``value``.
    """

    value: float
    influence: Floats


def roc_auc(scores: Floats, positive: Booleans) -> Estimate:
    """Return the area under the ROC curve; equal scores count half.

    The influences are the structural components of DeLong et al. 1988: the share of the other
    class that an image is ranked correctly against.

    Args:
        scores: float [N], higher means more likely of the class.
        positive: bool [N], whether the image belongs to the class.
    """
    above, below = np.sort(scores[positive]), np.sort(scores[~positive])
    if not len(above) or not len(below):
        return Estimate(np.nan, np.zeros(len(scores)))
    correct = np.where(
        positive, _share_below(below, scores), 1 - _share_below(above, scores)
    )  # [N]
    value = float(correct[positive].mean())
    size = np.where(positive, len(above), len(below))
    # n / (n - 1) as in the unbiased variance of a mean
    influence = (correct - value) / size * np.sqrt(size / np.maximum(size - 1, 1))
    return Estimate(value, influence)


def average_precision(scores: Floats, positive: Booleans) -> Estimate:
    """Return the mean precision at the positive images; equal scores are one threshold.

    Args:
        scores: float [N], higher means more likely of the class.
        positive: bool [N], whether the image belongs to the class.
    """
    count = int(positive.sum())
    if not 0 < count < len(scores):
        return Estimate(np.nan, np.zeros(len(scores)))
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], positive[order].astype(np.float64)
    last = np.append(ranked[1:] != ranked[:-1], [True])  # of each distinct score
    step = np.append([0], np.cumsum(last)[:-1])  # the threshold of each image, int [N]
    true, total = hits.cumsum()[last], np.flatnonzero(last) + 1.0  # at each threshold
    hits_at = np.bincount(step, weights=hits)
    precision = true / total
    value = float((hits_at * precision).sum() / count)
    # an image changes the precision at its own threshold and at all lower ones
    gain = _sum_of_lower(hits_at * (total - true) / total**2)[step]
    loss = _sum_of_lower(hits_at * true / total**2)[step]
    influence = np.empty(len(scores))
    influence[order] = np.where(hits > 0, precision[step] - value + gain, -loss) / count
    return Estimate(value, influence)


def ranking_metrics(
    probabilities: Floats, labels: Integers, groups: Integers | None = None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return macro averages, and the metrics of each class, with their intervals.

    Args:
        probabilities: float [N, C].
        labels: int [N].
        groups: number of the group of each image, int [N]; None where all are independent.

    Returns:
        For ``roc_auc`` and for ``average_precision``: the value, ``…_interval`` and ``…_rough``,
        whether there are too few images for the interval to hold its coverage. First as the mean
        over the classes with both positive and negative images, then a list for each class.
        Undefined metrics and their intervals are None.
    """
    n, classes = probabilities.shape
    names = ("roc_auc", "average_precision")
    means = {name: _Mean(n) for name in names}
    per_class = []
    for number in range(classes):
        row: dict[str, Any] = {}
        positive = labels == number
        for name, estimate, size, rough in _estimates(probabilities[:, number], positive, groups):
            row |= _figures(name, estimate, size, rough=rough, groups=groups)
            means[name].add(estimate, size, rough=rough)
        per_class.append(row)
    macro: dict[str, Any] = {}
    for name, mean in means.items():
        macro |= _figures(name, mean.estimate(), mean.size(), rough=mean.rough, groups=groups)
    return macro, per_class


def logit_interval(
    value: float, influence: Floats, size: float, *, groups: Integers | None = None
) -> list[float]:
    """Return the 95 % interval of a metric in [0, 1] from the influence of each image.

    The interval is symmetric on the logit scale, which keeps it inside [0, 1]. If few images have
    an influence, as with a ROC-AUC near 1, their squares estimate the variance badly: Student's t
    has as many degrees of freedom as there are images with influence, (sum of squares)^2 / sum of
    fourth powers. It never is wider than needed to contain both the normal interval and the
    Wilson interval of ``size`` images, which it is if no image has an influence.

    Args:
        value: of the metric.
        influence: float [N]; the sum of its squares is the variance of ``value``.
        size: independent images behind the metric.
        groups: number of the group of each image, int [N]; the influences of a group are added.

    Reference:
        DeLong et al. 1988; Qin and Hotilovac, "Comparison of non-parametric confidence intervals
        for the area under the ROC curve", 2008.
    """
    from scipy.stats import t as student

    parts = influence
    if groups is not None:
        _, group = np.unique(groups, return_inverse=True)
        sums = np.bincount(group, weights=influence).astype(np.float64)
        parts = sums * math.sqrt(len(sums) / max(1, len(sums) - 1))
    squares = np.square(parts)
    variance = float(squares.sum())
    rate = wilson_interval(min(max(value, 0.0), 1.0) * size, size)
    if variance < 1e-24 or not 0 < value < 1:
        return [min(rate[0], value), max(rate[1], value)]
    freedom = max(1.0, variance**2 / float(np.square(squares).sum()))
    scale, logit = math.sqrt(variance) / (value * (1 - value)), math.log(value / (1 - value))
    exact, normal = (
        [1 / (1 + math.exp(min(700.0, -logit - side * z * scale))) for side in (-1, 1)]
        for z in (float(student.ppf(0.975, freedom)), NormalDist().inv_cdf(0.975))
    )
    widest = [min(rate[0], normal[0]), max(rate[1], normal[1])]
    return [max(exact[0], widest[0]), min(exact[1], widest[1])]


class _Mean:
    """The mean of estimates over classes; undefined ones are ignored."""

    def __init__(self, n: int) -> None:
        self.values: list[float] = []
        self.sizes: list[float] = []
        self.influence = np.zeros(n)
        self.rough = False

    def add(self, estimate: Estimate, size: float, *, rough: bool) -> None:
        if np.isfinite(estimate.value):
            self.values.append(estimate.value)
            self.sizes.append(size)
            self.influence += estimate.influence
            self.rough |= rough

    def estimate(self) -> Estimate:
        if not self.values:
            return Estimate(np.nan, self.influence)
        return Estimate(float(np.mean(self.values)), self.influence / len(self.values))

    def size(self) -> float:
        """Return the number of independent images that determine the mean as well."""
        classes = len(self.sizes)
        if not classes:
            return 0.0
        independent = classes**2 / sum(1 / size for size in self.sizes)
        # the same images are ranked for every class: with two classes, twice the same
        return independent * max(classes - 1, 1) / classes


def _estimates(
    scores: Floats, positive: Booleans, groups: Integers | None
) -> Iterator[tuple[str, Estimate, float, bool]]:
    """Yield name, estimate, independent images, and whether they are too few."""
    others = independent_images(~positive, groups)
    own = independent_images(positive, groups)
    fewest = min(own, others)
    yield "roc_auc", roc_auc(scores, positive), fewest, fewest < FEWEST_FOR_AUC
    estimate = average_precision(scores, positive)
    yield "average_precision", estimate, own, own < FEWEST_FOR_AVERAGE_PRECISION


def _figures(
    name: str, estimate: Estimate, size: float, *, rough: bool, groups: Integers | None
) -> dict[str, Any]:
    defined = bool(np.isfinite(estimate.value))
    interval = logit_interval(*estimate, size, groups=groups) if defined else None
    return {
        name: estimate.value if defined else None,
        f"{name}_interval": interval,
        f"{name}_rough": defined and rough,
    }


def _share_below(ordered: Floats, values: Floats) -> Floats:
    """Return the share of ``ordered`` below each value; ties count half."""
    left = np.searchsorted(ordered, values, side="left")
    right = np.searchsorted(ordered, values, side="right")
    return np.asarray((left + right) / (2 * len(ordered)))


def _sum_of_lower(values: Floats) -> Floats:
    """Return for each position the sum of ``values`` there and at all later positions."""
    return np.asarray(values[::-1].cumsum()[::-1])
