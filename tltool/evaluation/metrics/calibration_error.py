"""Calibration error: how far the confidences are from the accuracy, beyond what chance explains."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.evaluation.metrics.confidence_intervals import (
    bootstrap,
    effective_sample_size,
)
from tltool.evaluation.metrics.sample_sizes import few_independent, independent_images

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]

CALIBRATION_BINS = 15
_SIMULATIONS = 400  # simulated label sets of a calibrated model
_REPLICATES = 200  # of the bootstrap: enough for a standard deviation
_AT_ONCE = 1_000_000  # simulated labels per step, which bounds the memory
_Z = NormalDist().inv_cdf(0.975)


def calibration_metrics(
    probabilities: Floats, labels: Integers, groups: Integers | None = None
) -> dict[str, Any]:
    """Return the calibration error, with its interval and its level by chance, JSON-ready.

    The error of finitely many images is larger than the model's, because the accuracies of the bins
    are noisy. Therefore its expected value for a perfectly calibrated model is subtracted; the
    rest, at least 0, is reported. It is too small if the model is miscalibrated and the images are
    few, because noise and miscalibration partly cancel in a bin.

    The interval starts at 0 if the error is not above the 97.5 % quantile of a calibrated model.
    It ends at the largest error that would exceed the measured one with a probability of 2.5 %, if
    the noise of each bin is normal.

    Args:
        probabilities: float [N, C].
        labels: int [N].
        groups: number of the group of each image, int [N]; None where all are independent.

    Returns:
        ``ece``, with the expected value subtracted; ``ece_interval`` and
        ``ece_rough``; ``ece_raw``, the error of
        ``expected_calibration_error``; ``ece_expected_by_chance`` and ``ece_by_chance``, the mean
        and the 95 % quantile of ``ece_raw`` of a perfectly calibrated model on as many images.
    """
    raw = expected_calibration_error(probabilities, labels)
    chance = simulated_calibration_errors(probabilities, labels, groups)
    expected = float(chance.mean())
    deviation = max(float(chance.std()), _bootstrap_deviation(probabilities, labels, groups))
    value = max(0.0, raw - expected)
    above = raw > np.quantile(chance, 0.975)
    low = max(0.0, raw - expected - _Z * deviation) if above else 0.0
    high = _largest_error(raw + _Z * deviation, expected)
    return {
        "ece": value,
        "ece_interval": [min(low, value), max(high, value)],
        "ece_rough": few_independent(len(labels), groups),
        "ece_raw": raw,
        "ece_expected_by_chance": expected,
        "ece_by_chance": float(np.quantile(chance, 0.95)),
    }


def expected_calibration_error(
    probabilities: Floats, labels: Integers, *, bins: int = CALIBRATION_BINS
) -> float:
    """Return the mean gap between confidence and accuracy over bins of equal mass, in [0, 1].

    Reference:
        Naeini et al., "Obtaining well calibrated probabilities using Bayesian binning", 2015;
        equal-mass bins as in Nixon et al., "Measuring calibration in deep learning", 2019.
    """
    rows = reliability_bins(probabilities, labels, bins=bins)
    gaps = [abs(row["accuracy"] - row["confidence"]) * row["n"] for row in rows]
    return float(sum(gaps) / len(labels))


def reliability_bins(
    probabilities: Floats, labels: Integers, *, bins: int = CALIBRATION_BINS
) -> list[dict[str, Any]]:
    """Return ``{confidence, accuracy, n}`` of equal-mass bins, in ascending order of confidence.

    Images of equal confidence share their mean accuracy, so that a bin edge inside such a tie does
    not depend on the order of the files.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    correct = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    _, tie = np.unique(confidence, return_inverse=True)
    shared = np.bincount(tie, weights=correct) / np.bincount(tie)
    order = np.argsort(confidence, kind="stable")
    return [
        {
            "confidence": float(confidence[part].mean()),
            "accuracy": float(shared[tie[part]].mean()),
            "n": len(part),
        }
        for part in np.array_split(order, min(bins, len(order)))
    ]


def simulated_calibration_errors(
    probabilities: Floats, labels: Integers, groups: Integers | None = None
) -> Floats:
    """Return calibration errors of a perfectly calibrated model with these probabilities.

    Labels are simulated with a fixed seed, so that each prediction is correct with a probability
    equal to its confidence. With groups, the images of a group are correct together as often as
    their intraclass correlation says.

    Args:
        probabilities: float [N, C].
        labels: int [N], which only determine the correlation within the groups.
        groups: number of the group of each image, int [N]; None where all are independent.

    Returns:
        float64 [400], each as ``expected_calibration_error``.

    Reference:
        Bröcker and Smith, "Increasing the reliability of reliability diagrams", 2007.
    """
    order = np.argsort(probabilities.max(axis=1), kind="stable")
    confidence = probabilities.max(axis=1).astype(np.float64)[order]
    n = len(confidence)
    correct = (probabilities.argmax(axis=1) == labels)[order].astype(np.float64)
    group = None if groups is None else np.unique(groups[order], return_inverse=True)[1]
    shared = 0.0 if group is None else _share_of_common(correct - confidence, group)
    random, errors = np.random.default_rng(0), []
    step = max(1, _AT_ONCE // n)
    for start in range(0, _SIMULATIONS, step):
        uniform = random.random((min(step, _SIMULATIONS - start), n))
        if group is not None and shared > 0:
            common = random.random((len(uniform), int(group.max()) + 1))[:, group]
            uniform = np.where(random.random(uniform.shape) < shared, common, uniform)
        rows = np.broadcast_to(confidence, uniform.shape)
        errors.append(_errors(rows, (uniform < rows).astype(np.float64)))
    return np.concatenate(errors)


def _share_of_common(residuals: Floats, group: Integers) -> float:
    """Return with which probability an image is correct if its group is, beyond its own chance.

    It is the square root of the intraclass correlation.
    """
    n = len(residuals)
    typical = n / independent_images(np.ones(n, np.bool_), group)
    effect = n / effective_sample_size(residuals, group)  # 1 + (size - 1) * correlation
    return math.sqrt(min(1.0, (effect - 1) / (typical - 1))) if typical > 1 else 0.0


def _bootstrap_deviation(probabilities: Floats, labels: Integers, groups: Integers | None) -> float:
    """Return the standard deviation of the calibration error over resampled images or groups.

    One error of median confidence is added, as a sample without errors does not vary.
    """
    order = np.argsort(probabilities.max(axis=1), kind="stable")
    middle = len(order) // 2
    confidence = probabilities.max(axis=1).astype(np.float64)[order]
    correct = (probabilities.argmax(axis=1) == labels)[order].astype(np.float64)
    confidence = np.insert(confidence, middle, confidence[middle])
    correct = np.insert(correct, middle, 0.0)
    resampled = None
    if groups is not None:
        resampled = np.insert(groups[order], middle, groups.max() + 1)

    def statistics(draws: Integers) -> Floats:
        return _errors(confidence[draws], correct[draws])[:, None]

    n = len(confidence)
    drawn = bootstrap(statistics, n, replicates=_REPLICATES, groups=resampled)
    return float(drawn.std())


def _errors(confidence: Floats, correct: Floats) -> Floats:
    """Return the calibration error of each row: [B, n], confidences ascending, to float64 [B]."""
    n = confidence.shape[1]
    starts = [part[0] for part in np.array_split(np.arange(n), min(CALIBRATION_BINS, n))]
    if (confidence[:, 1:] == confidence[:, :-1]).any():
        correct = _means_of_ties(confidence, correct)
    gaps = np.add.reduceat(correct - confidence, starts, axis=1)
    return np.asarray(np.abs(gaps).sum(axis=1) / n)


def _means_of_ties(confidence: Floats, correct: Floats) -> Floats:
    """Return the mean of each row's ``correct`` over the images of equal confidence, [B, n]."""
    first = np.ones(confidence.shape, np.bool_)
    first[:, 1:] = confidence[:, 1:] != confidence[:, :-1]
    tie = np.cumsum(first.ravel()) - 1
    sums = np.bincount(tie, weights=correct.ravel())
    return np.asarray((sums / np.bincount(tie))[tie].reshape(correct.shape))


def _largest_error(measured: float, by_chance: float) -> float:
    """Return the error of a model whose expected measured error is ``measured``.

    The measured gap of a bin is the absolute value of a normal variable, around the model's gap;
    around 0 its mean is ``by_chance``.
    """
    from scipy.stats import norm

    if by_chance < 1e-9:
        return min(1.0, measured)
    deviation = by_chance * math.sqrt(math.pi / 2)
    errors = np.linspace(0, 1, 2001)
    scaled = errors / deviation
    expected = by_chance * np.exp(-(scaled**2) / 2) + errors * (1 - 2 * norm.cdf(-scaled))
    return float(np.interp(measured, expected, errors, left=0.0, right=1.0))
