"""Whether two settings differ, from runs of each with the same several random seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tltool.evaluation.metrics.paired_intervals import variance_of_mean

Floats = NDArray[np.floating[Any]]

_CONFIDENCE = 0.95
_CORRECTION = 1.5  # with 1, as published, up to 6.6 % of sweeps distinguished equal settings


class MeanDifference(NamedTuple):
    """A mean of paired differences and its 95 % interval; None for what is unknown."""

    mean: float | None
    low: float | None = None
    high: float | None = None

    def excludes_zero(self) -> bool:
        """Return whether the interval is known and excludes zero."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def over_drawn_splits(
    differences: Sequence[float], *, ratio: float, step: float = 0.0
) -> MeanDifference:
    """Return the mean difference over seeds that each draw a validation set of their own.

    The splits share most of their images, so the differences are correlated, and more seeds do not
    narrow the interval without limit. The corrected resampled t-test of Nadeau and Bengio adds
    validation images / training images to 1 / seeds in the variance; here 1.5 times this ratio is
    added, because with their factor equal settings were distinguished in up to 6.6 % of
    simulations instead of 5 %.

    Args:
        differences: of each seed, between the same metric of two settings.
        ratio: validation images / training images of a run.
        step: the change of the metric if one image changes, 1 / validation images for an accuracy:
            few seeds often have the same difference, which would leave no variance. Two differences
            of one step, one of each sign, are added to it.

    Reference:
        Nadeau and Bengio, "Inference for the generalization error", 2003.
    """
    if len(differences) < 2:
        return MeanDifference(differences[0] if differences else None)
    values = np.array(differences, np.float64)
    squares = float(((values - values.mean()) ** 2).sum()) + 2 * step**2
    variance = squares / (len(values) - 1) * (1 / len(values) + _CORRECTION * ratio)
    return _interval(float(values.mean()), variance, len(values) - 1)


def over_given_images(differences: Floats, groups: NDArray[np.int64]) -> MeanDifference:
    """Return the mean difference over seeds whose runs are all evaluated on the same images.

    The variances over images and over seeds add up; the spread over seeds alone would not contain
    the chance of these images. Two images with the largest difference, one of each sign, are added
    to the variance over images. The degrees of freedom are those of Satterthwaite (1946).

    Args:
        differences: of each image with each seed, between the same metric of two settings,
            float [seeds, N].
        groups: the group of each image, int [N].
    """
    by_image, by_seed = differences.mean(axis=0), differences.mean(axis=1)
    seeds = len(by_seed)
    mean = float(by_image.mean())
    if seeds < 2 or len(np.unique(groups)) < 2:
        return MeanDifference(mean)
    possible = float(np.abs(differences).max())
    of_images, freedom = variance_of_mean(by_image, groups, possible=possible)
    of_seeds = float(by_seed.var(ddof=1)) / seeds
    total = of_images + of_seeds
    parts = of_images**2 / freedom + of_seeds**2 / (seeds - 1)
    return _interval(mean, total, total**2 / parts if parts else freedom)


def _interval(mean: float, variance: float, freedom: float) -> MeanDifference:
    from scipy.stats import t

    half = float(t.ppf((1 + _CONFIDENCE) / 2, freedom)) * math.sqrt(variance)
    return MeanDifference(mean, mean - half, mean + half)
