"""A power law of the error rate against the number of training images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

_FLOORS = np.linspace(0.0, 0.95, 20)  # tried as the final error rate, in units of the least one


@dataclass(frozen=True)
class PowerLaw:
    """Error rates ``floor + scale * m ** -exponent`` after m training images, one law per row.

    Attributes:
        floor: error rate with unlimited images, float64 [R].
        scale: float64 [R].
        exponent: at least 0, float64 [R].
    """

    floor: Floats
    scale: Floats
    exponent: Floats

    def error_rate(self, images: float | Floats) -> Floats:
        """Return the error rates [R] after training on ``images``."""
        return np.asarray(self.floor + self.scale * images**-self.exponent)

    def gain(self, images: float, factor: float) -> Floats:
        """Return the decrease of the error rate [R] from ``images`` to ``factor`` times as many."""
        return self.error_rate(images) - self.error_rate(images * factor)


def fit_power_law(images: Floats, rates: Floats, n: Floats, *, with_floor: bool) -> PowerLaw:
    """Fit one law to each row of error rates, by least squares with binomial weights.

    The floor is searched on a grid; for each floor, the logarithms are fitted by weighted least
    squares (Cortes et al., "Learning curves: asymptotic values and rate of convergence", 1993).

    Args:
        images: training images of each point, ascending, float [S], S >= 2.
        rates: error rates inside (0, 1), float [R, S].
        n: images that each row was measured on, float [R].
        with_floor: False fixes the floor at 0, as for problems without label noise.
    """
    weights = n[:, np.newaxis] / (rates * (1 - rates))
    least, x = rates.min(axis=1), np.log(images)
    best = np.full(len(rates), np.inf)
    law = np.zeros((3, len(rates)))
    for share in _FLOORS if with_floor else _FLOORS[:1]:
        floor = share * least
        slope, level = _line(x, rates - floor[:, np.newaxis], weights)
        exponent = np.maximum(0.0, -slope)  # more images do not make a classifier worse
        fitted = floor[:, np.newaxis] + np.exp(level[:, np.newaxis] - np.outer(exponent, x))
        residual = (weights * (rates - fitted) ** 2).sum(axis=1)
        better = residual < best
        best = np.where(better, residual, best)
        law = np.where(better, [floor, np.exp(level), exponent], law)
    return PowerLaw(*law)


def _line(x: Floats, excess: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return slopes and intercepts [R] of the logarithm of each row of ``excess`` on x."""
    y, w = np.log(excess), weights * excess**2  # the delta method
    total = w.sum(axis=1)
    x_mean, y_mean = (w * x).sum(axis=1) / total, (w * y).sum(axis=1) / total
    centred = x - x_mean[:, np.newaxis]
    slope = (w * centred * y).sum(axis=1) / (w * centred**2).sum(axis=1)
    return slope, y_mean - slope * x_mean
