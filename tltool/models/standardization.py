"""Features of mean 0 and standard deviation 1, without blowing up those that hardly vary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SHARE = 1 / 100  # of the mean variance; a tenth of the usual standard deviation
_LEAST = 1e-12  # variance of features that are all constant


@dataclass(frozen=True)
class Standardization:
    """Mean and scale of features, fitted on the rows that a model learns from, and only on these.

    Attributes:
        mean: float64 [D].
        scale: float64 [D], the standard deviations, none below the floor of ``floored``.
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
    """Return variances float64 [D], none below a hundredth of their mean.

    A channel that is zero in all training images but one would otherwise be divided by next to
    nothing: a linear model gives it a weight thousands of times the usual one, and the first new
    image that has it gets a log-loss of hundreds.
    """
    return np.maximum(variance, max(float(variance.mean()) * _SHARE, _LEAST))
