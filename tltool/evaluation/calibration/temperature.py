"""Temperature scaling: one parameter that calibrates the predicted probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.evaluation.metrics.calibration_error import expected_calibration_error

_FOLDS = 5
_BOUNDS = (0.05, 20.0)  # of the search
_NEAR = 1.001  # a temperature this close to a bound, as a factor, is at it


@dataclass(frozen=True)
class Temperature:
    """The temperature fitted on the validation set, and the metrics that decide on its use.

    Attributes:
        fitted: the temperature that minimises the log-loss of all images, used or not.
        log_loss_before: nats per image, at temperature 1.
        log_loss_after: the same, cross-fitted: each image at the temperature of the other folds.
        ece_before: expected calibration error at temperature 1, 0…1.
        ece_after: the same, cross-fitted.
    """

    fitted: float
    log_loss_before: float
    log_loss_after: float
    ece_before: float
    ece_after: float

    @property
    def value(self) -> float:
        """The divisor of the logits before the softmax; 1 if temperature scaling is skipped."""
        return 1.0 if self.skipped else self.fitted

    @property
    def skipped(self) -> bool:
        """Whether ``fitted`` is not used."""
        return self.reason is not None

    @property
    def reason(self) -> str | None:
        """Why ``fitted`` is not used, a clause; None if it is used, or is 1."""
        named = f"T = {self.fitted:.3g}"
        if self.fitted == 1.0:
            return None
        if min(self.fitted / _BOUNDS[0], _BOUNDS[1] / self.fitted) < _NEAR:
            return f"{named} is at the bound of the search"
        if self.log_loss_after >= self.log_loss_before:
            return (
                f"{named} would increase the cross-validated log-loss from "
                f"{self.log_loss_before:.4g} to {self.log_loss_after:.4g}"
            )
        if self.ece_after > self.ece_before:
            return (
                f"{named} would increase the cross-validated calibration error from "
                f"{self.ece_before:.3f} to {self.ece_after:.3f}"
            )
        return None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {
            "value": self.value,
            "fitted": self.fitted,
            "skipped": self.skipped,
            "reason": self.reason,
            "log_loss_before": self.log_loss_before,
            "log_loss_after_cross_fitted": self.log_loss_after,
            "ece_before": self.ece_before,
            "ece_after_cross_fitted": self.ece_after,
        }


def choose_temperature(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> Temperature:
    """Fit a temperature (Guo et al. 2017, arXiv:1706.04599) and decide whether it is used.

    With few images the fitted temperature may not generalise. It is cross-validated in five folds,
    each scored at the temperature of the other four: if that increases log-loss or calibration
    error, temperature scaling is skipped. So it is at a bound of the search, where the logits are
    wrong and not just too large.

    Args:
        logits: float [N, C] of images that the model was not trained on.
        labels: class numbers, int [N].
    """
    fitted = fit_temperature(logits, labels)
    order = np.random.default_rng(0).permutation(len(labels))
    cross_fitted = np.zeros(logits.shape)
    for fold in np.array_split(order, min(_FOLDS, len(labels))):
        others = np.setdiff1d(order, fold)
        value = fit_temperature(logits[others], labels[others]) if len(others) else 1.0
        cross_fitted[fold] = _log_softmax(logits[fold], value)
    both = (_log_softmax(logits, 1.0), cross_fitted)
    losses = (_loss(log_probabilities, labels) for log_probabilities in both)
    errors = (
        expected_calibration_error(np.exp(log_probabilities), labels) for log_probabilities in both
    )
    return Temperature(fitted, *losses, *errors)


def fit_temperature(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Return the temperature that minimises the log-loss of ``softmax(logits / T)``.

    It is 1.0 if no other is better. The targets are those of Platt (1999), 1 - 1/(N + 2) for the
    true class: if all predictions are correct, one-hot labels would drive the temperature to 0.

    Args:
        logits: float [N, C] of images that the model was not trained on.
        labels: class numbers, int [N].
    """
    from scipy.optimize import minimize_scalar

    smoothing = 1 / (len(labels) + 2)
    targets = np.full(logits.shape, smoothing / max(1, logits.shape[1] - 1))
    targets[np.arange(len(labels)), labels] = 1 - smoothing

    def loss(log_temperature: float) -> float:
        return -float((targets * _log_softmax(logits, np.exp(log_temperature))).sum(axis=1).mean())

    result = minimize_scalar(loss, bounds=tuple(np.log(_BOUNDS)), method="bounded")
    return float(np.exp(result.x)) if result.fun < loss(0.0) - 1e-9 else 1.0


def _loss(log_probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Return the mean negative log-likelihood of the labels, in nats."""
    return -float(log_probabilities[np.arange(len(labels)), labels].mean())


def _log_softmax(logits: NDArray[np.float32], temperature: float) -> NDArray[np.float64]:
    """Return the logarithm of ``softmax(logits / temperature)``, [N, C]."""
    scaled = logits.astype(np.float64) / temperature
    shifted = scaled - scaled.max(axis=1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result
