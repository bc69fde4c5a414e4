"""Temperature scaling: one number that makes confidences honest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.evaluation.metrics.classification import expected_calibration_error

_FOLDS = 5


@dataclass(frozen=True)
class Temperature:
    """What was found on the validation part. Log-losses are in nats.

    Attributes:
        value: divides the logits before the softmax; 1 where none was better.
        fitted: the temperature that fits all images best, taken or not.
        log_loss_before: at temperature 1.
        log_loss_after: cross-fitted: of each image at the temperature that the others give.
        ece_after: calibration error, cross-fitted likewise.
    """

    value: float
    fitted: float
    log_loss_before: float
    log_loss_after: float
    ece_after: float

    @property
    def refused(self) -> bool:
        """Whether a temperature was found and not taken, as it would have raised the log-loss."""
        return self.value == 1.0 and self.fitted != 1.0

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {
            "value": self.value,
            "fitted": self.fitted,
            "refused": self.refused,
            "log_loss_before": self.log_loss_before,
            "log_loss_after_cross_fitted": self.log_loss_after,
            "ece_after_cross_fitted": self.ece_after,
        }


def choose_temperature(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> Temperature:
    """Fit a temperature, and take it only if it lowers the log-loss of images it has not seen.

    Guo et al. 2017 (arXiv:1706.04599). With few images the best temperature of these is not that
    of the next ones: five folds tell, each at the temperature that the other four give.

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
    error = expected_calibration_error(np.exp(shares), labels)
    return Temperature(fitted if after < before else 1.0, fitted, before, after, error)


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

    found = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
    return float(np.exp(found.x)) if found.fun < loss(0.0) - 1e-9 else 1.0


def _loss(shares: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Return the mean negative log-likelihood of the labels, in nats."""
    return -float(shares[np.arange(len(labels)), labels].mean())


def _log_shares(logits: NDArray[np.float32], temperature: float) -> NDArray[np.float64]:
    """Return the logarithm of ``softmax(logits / temperature)``, [N, C]."""
    scaled = logits.astype(np.float64) / temperature
    shifted = scaled - scaled.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
