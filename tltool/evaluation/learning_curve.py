"""Learning curve: the accuracy of a linear probe against the number of training images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.evaluation.metrics.confidence_intervals import rate_of
from tltool.evaluation.metrics.power_law import fit_power_law
from tltool.training.stratified_folds import groups_of_smallest_class, stratified_folds

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]
Fit = Callable[[Floats, Integers, Integers], Callable[[Floats], Floats]]
"""Fits a classifier on features [M, D], class numbers [M] and groups [M]; returns a function of
features [N, D] to logits [N, C]."""

SHARES = (0.1, 0.2, 0.5, 1.0)
_FOLDS = 5
_FEWEST = 2  # groups of each class in a training set
_EXTRAPOLATED_FROM = 100  # groups; with fewer the interval of the gain is too narrow
_FEWEST_ERRORS = 5  # at the last point; fewer do not show whether the error rate still falls
_REPLICATES = 1000


@dataclass(frozen=True)
class CurvePoint:
    """Accuracy after training on some of the images.

    Attributes:
        images: training images, the mean over the folds.
        accuracy: cross-validated accuracy, 0…1.
        low: lower bound of its 95 % interval.
        high: upper bound.
    """

    images: int
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class LearningCurve:
    """Accuracy against training images, and a power law fitted to the error rate.

    Attributes:
        n: images, each of which is predicted once for every point.
        points: by ascending number of training images.
        power_law: a, b and c of the error rate a + b * m**-c after m training images; None with one
            point, fewer than 100 images or groups, or fewer than 5 errors at the last point.
        gain: predicted increase in accuracy with twice as many images, with the bounds of its 95 %
            interval; None like ``power_law``.
    """

    n: int
    points: tuple[CurvePoint, ...]
    power_law: tuple[float, float, float] | None
    gain: tuple[float, float, float] | None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        gain = dict(zip(("value", "low", "high"), self.gain, strict=True)) if self.gain else None
        law = (
            dict(zip(("floor", "scale", "exponent"), self.power_law, strict=True))
            if self.power_law
            else None
        )
        points = [
            {
                "images": point.images,
                "accuracy": {"value": point.accuracy, "low": point.low, "high": point.high},
            }
            for point in self.points
        ]
        return {
            "n": self.n,
            "points": points,
            "power_law": law,
            "gain_with_twice_the_images": gain,
        }


def learning_curve(
    features: Floats,
    labels: Integers,
    groups: Integers,
    fit: Fit,
    *,
    seed: int,
    shares: Sequence[float] = SHARES,
) -> LearningCurve | None:
    """Cross-validate a classifier that is trained on a growing share of the training folds.

    All points are measured on the same images: each image is predicted by the classifiers of the
    other folds. The training sets of one fold are nested and stratified, and the images of one
    group are in one fold, and all or none of them in a training set.

    The error rate is extrapolated by a power law (Cortes et al., "Learning curves: asymptotic
    values and rate of convergence", 1993; Hestness et al., "Deep learning scaling is predictable,
    empirically", 2017, arXiv:1712.00409). The interval of the gain is a percentile interval over
    resampled groups. It does not include that the law may be wrong outside the measured range.

    Args:
        features: of each image, float [N, D].
        labels: class numbers, int [N].
        groups: group of each image, int [N].
        fit: the classifier.
        seed: of the folds, training sets and resampling.
        shares: shares of the images of the training folds, ascending. Those that leave a class
            with fewer than two groups are skipped.

    Returns:
        The curve; None if a class has fewer than four groups, or there is one class.
    """
    sizes = [len(np.unique(groups[labels == label])) for label in np.unique(labels)]
    if len(sizes) < _FEWEST or min(sizes) < 2 * _FEWEST:
        return None
    correct, images = _cross_validate(features, labels, groups, fit, seed, shares)
    measured = [row for row in range(len(shares)) if images[row] > 0]
    correct, images = correct[measured], images[measured]
    points = tuple(
        _point(round(count), row, groups) for count, row in zip(images, correct, strict=True)
    )
    if len(points) < _FEWEST or not _can_extrapolate(correct, groups):
        return LearningCurve(len(labels), points, None, None)
    return LearningCurve(len(labels), points, *extrapolate(images, correct, groups, seed))


def _can_extrapolate(correct: NDArray[np.bool_], groups: Integers) -> bool:
    enough = len(np.unique(groups)) >= _EXTRAPOLATED_FROM
    return enough and int((~correct[-1]).sum()) >= _FEWEST_ERRORS


def _cross_validate(
    features: Floats,
    labels: Integers,
    groups: Integers,
    fit: Fit,
    seed: int,
    shares: Sequence[float],
) -> tuple[NDArray[np.bool_], Floats]:
    """Return correctness [S, N] and training images [S], 0 for a share that is too small."""
    count = max(2, min(_FOLDS, groups_of_smallest_class(labels, groups) // _FEWEST))
    correct = np.zeros((len(shares), len(labels)), np.bool_)
    images = np.zeros((len(shares), count))
    folds = stratified_folds(labels, groups, count=count, seed=seed)
    for fold, (train, held_out) in enumerate(folds):
        rank = _stratified_rank(labels[train], groups[train], seed + fold)
        for row, share in enumerate(shares):
            chosen = train[rank < share]
            if not _is_enough(labels[chosen], groups[chosen], len(np.unique(labels))):
                continue
            logits = fit(features[chosen], labels[chosen], groups[chosen])(features[held_out])
            correct[row, held_out] = logits.argmax(axis=1) == labels[held_out]
            images[row, fold] = len(chosen)
    return correct, np.where((images > 0).all(axis=1), images.mean(axis=1), 0.0)


def _stratified_rank(labels: Integers, groups: Integers, seed: int) -> Floats:
    """Return for each image the share of its class at which its group is added, [0, 1).

    A group with images of several classes is ranked in the class of its first image.
    """
    random = np.random.default_rng(seed)
    _, first, number = np.unique(groups, return_index=True, return_inverse=True)
    classes, rank = labels[first], np.zeros(len(first))
    for label in np.unique(classes):
        inside = random.permutation(np.flatnonzero(classes == label))
        rank[inside] = np.arange(len(inside)) / len(inside)
    return rank[number]


def _is_enough(labels: Integers, groups: Integers, classes: int) -> bool:
    present = np.unique(labels)
    return len(present) == classes and all(
        len(np.unique(groups[labels == label])) >= _FEWEST for label in present
    )


def _point(images: int, correct: NDArray[np.bool_], groups: Integers) -> CurvePoint:
    rate = rate_of(correct, groups)
    return CurvePoint(images, rate["value"], rate["low"], rate["high"])


def extrapolate(
    images: Floats, correct: NDArray[np.bool_], groups: Integers, seed: int
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Return floor, scale and exponent of the power law, and the predicted gain with its interval.

    The gain is from N images to 2N, although the last point is trained on the training folds only.
    The interval contains those of a law with and without a floor, which four points rarely
    distinguish.

    Args:
        images: training images of each point, ascending, float [S], S >= 2.
        correct: whether each image is predicted correctly at each point, bool [S, N].
        groups: group of each image, int [N].
        seed: of the resampling.
    """
    n = correct.shape[1]
    _, number = np.unique(groups, return_inverse=True)
    per_group = np.stack([np.bincount(number, weights=~row) for row in correct])  # errors [S, G]
    sizes = np.bincount(number)
    draws = np.random.default_rng(seed).multinomial(
        len(sizes), np.full(len(sizes), 1 / len(sizes)), _REPLICATES
    )
    errors = np.vstack([per_group.sum(axis=1), draws @ per_group.T])
    totals = np.append(n, draws @ sizes).astype(np.float64)
    rates = (errors + 0.5) / (totals[:, np.newaxis] + 1)
    laws = [fit_power_law(images, rates, totals, with_floor=floor) for floor in (True, False)]
    bounds = np.quantile([law.gain(n, 2)[1:] for law in laws], (0.025, 0.975), axis=1)
    law, value = laws[0], float(laws[0].gain(n, 2)[0])
    low, high = min(float(bounds[0].min()), value), max(float(bounds[1].max()), value)
    return (float(law.floor[0]), float(law.scale[0]), float(law.exponent[0])), (value, low, high)
