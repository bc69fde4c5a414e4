"""Temperature scaling: one number that makes confidences honest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.evaluation.metrics.classification import expected_calibration_error

_FOLDS = 5
_BOUNDS = (0.05, 20.0)  # of the search
_NEAR = 1.001  # a temperature this close to a bound, as a factor, is at it


@dataclass(frozen=True)
class Temperature:
    """The temperature of the validation set, and the figures that decide on it.

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
        """What divides the logits before the softmax; 1 where ``fitted`` is refused."""
        return 1.0 if self.refused else self.fitted

    @property
    def refused(self) -> bool:
        """Whether ``fitted`` is not used."""
        return self.reason is not None

    @property
    def reason(self) -> str | None:
        """Why ``fitted`` is not used, a clause; None where it is, or where it is 1."""
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
            "refused": self.refused,
            "reason": self.reason,
            "log_loss_before": self.log_loss_before,
            "log_loss_after_cross_fitted": self.log_loss_after,
            "ece_before": self.ece_before,
            "ece_after_cross_fitted": self.ece_after,
        }


def choose_temperature(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> Temperature:
    """Fit a temperature (Guo et al. 2017, arXiv:1706.04599) and decide whether it is used.

    With few images the temperature that fits them best may fit the next ones worse. Five folds
    decide, each scored at the temperature of the other four: a temperature that increases their
    log-loss or their calibration error is refused. So is one at a bound of the search, which says
    that the logits are wrong and not only too large.

    Args:
        logits: float [N, C] of images that the model was not trained on.
        labels: class numbers, int [N].
    """
    fitted = fit_temperature(logits, labels)
    order = np.random.default_rng(0).permutation(len(labels))
    shares = np.zeros(logits.shape)  # logarithms
    for fold in np.array_split(order, min(_FOLDS, len(labels))):
        others = np.setdiff1d(order, fold)
        value = fit_temperature(logits[others], labels[others]) if len(others) else 1.0
        shares[fold] = _log_shares(logits[fold], value)
    before, after = (_loss(one, labels) for one in (_log_shares(logits, 1.0), shares))
    errors = (
        expected_calibration_error(np.exp(one), labels)
        for one in (_log_shares(logits, 1.0), shares)
    )
    return Temperature(fitted, before, after, *errors)


def fit_temperature(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Return the temperature that minimises the log-loss of ``softmax(logits / T)``.

    1.0 is returned when nothing else is better. Labels give way to Platt's targets (1999), 1 - 1/(N
    + 2) for the true class: where all images are named right, no temperature would be cold enough.

    Args:
        logits: float [N, C] of images that the model was not trained on.
        labels: class numbers, int [N].
    """
    from scipy.optimize import minimize_scalar

    doubt = 1 / (len(labels) + 2)
    targets = np.full(logits.shape, doubt / max(1, logits.shape[1] - 1))
    targets[np.arange(len(labels)), labels] = 1 - doubt

    def loss(log_temperature: float) -> float:
        return -float((targets * _log_shares(logits, np.exp(log_temperature))).sum(axis=1).mean())

    found = minimize_scalar(loss, bounds=tuple(np.log(_BOUNDS)), method="bounded")
    return float(np.exp(found.x)) if found.fun < loss(0.0) - 1e-9 else 1.0


def _loss(shares: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Return the mean negative log-likelihood of the labels, in nats."""
    return -float(shares[np.arange(len(labels)), labels].mean())


def _log_shares(logits: NDArray[np.float32], temperature: float) -> NDArray[np.float64]:
    """Return the logarithm of ``softmax(logits / temperature)``, [N, C]."""
    scaled = logits.astype(np.float64) / temperature
    shifted = scaled - scaled.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
