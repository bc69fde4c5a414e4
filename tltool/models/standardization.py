"""Standardise features to mean 0 and standard deviation 1, with a floor on the variance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FLOOR = 1 / 100  # of the mean variance: a tenth of the typical standard deviation
_MIN_VARIANCE = 1e-12  # if all features are constant


@dataclass(frozen=True)
class Standardization:
    """Mean and scale of features, fitted on training rows only.

    Attributes:
        mean: float64 [D].
        scale: float64 [D], standard deviations, with the floor of ``floored``.
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    def apply(self, features: NDArray[Any]) -> NDArray[np.float64]:
        """Return features [N, D] as float64 [N, D] of mean 0 and standard deviation 1."""
        return np.asarray((features - self.mean) / self.scale, np.float64)


def fit_standardization(features: NDArray[Any]) -> Standardization:
    """Return the standardisation of features float [N, …, D]."""
    rows = features.reshape(-1, features.shape[-1])
    mean = rows.mean(axis=0, dtype=np.float64)
    return Standardization(mean, np.sqrt(floored(rows.var(axis=0, dtype=np.float64))))


def floored(variance: NDArray[Any]) -> NDArray[np.float64]:
    """Return variances float64 [D], at least a hundredth of their mean.

    Without the floor a channel that is non-zero in a single training image would be divided by
    almost zero: a linear model then gives it a weight thousands of times the typical one, and a new
    image with that channel gets a log-loss of hundreds.
    """
    result: NDArray[np.float64] = np.maximum(
        variance, max(float(variance.mean()) * _FLOOR, _MIN_VARIANCE)
    )
    return result
