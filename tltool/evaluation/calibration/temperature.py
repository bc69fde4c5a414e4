"""Temperature scaling: one parameter that calibrates the predicted probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.evaluation.calibration.group_folds import group_folds
from tltool.evaluation.metrics.calibration_error import (
    expected_calibration_error,
    simulated_calibration_errors,
)
from tltool.evaluation.metrics.probability_scores import count_clipped, log_loss
from tltool.training.temperature import BOUNDS, fit_temperature, log_softmax, row_blocks

_FOLDS, _FEWER_FOLDS, _MANY = 10, 5, 1000  # with many images fewer folds are enough
_NEAR = 1.001  # a temperature this close to a bound, as a factor, is at it
_REPLICATES = 200  # of the bootstrap of the calibration error
_Z = 1.645  # one-sided 95 %


@dataclass(frozen=True)
class Temperature:
    """The temperature fitted on the validation set, and the metrics that decide on its use.

    Attributes:
        fitted: the posterior mode over all images, used or not.
        log_loss_before: nats per image, at temperature 1, as ``classification.log_loss``.
        log_loss_after: the same, cross-fitted: each image at the temperature of the other folds.
        ece_before: expected calibration error at temperature 1, 0…1.
        ece_after: the same, cross-fitted.
        ece_rises: whether ``ece_after`` is above ``ece_before`` by more than chance explains.
        clipped_before: images whose log-loss is clipped at temperature 1.
        clipped_after: the same, cross-fitted.
    """

    fitted: float
    log_loss_before: float
    log_loss_after: float
    ece_before: float
    ece_after: float
    ece_rises: bool = False
    clipped_before: int = 0
    clipped_after: int = 0

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
        if min(self.fitted / BOUNDS[0], BOUNDS[1] / self.fitted) < _NEAR:
            return f"{named} is at the bound of the search"
        if self.log_loss_after >= self.log_loss_before:
            return (
                f"{named} would increase the cross-validated log-loss from "
                f"{self.log_loss_before:.4g} to {self.log_loss_after:.4g}"
            )
        if self.ece_rises:
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
            "log_loss_clipped_before": self.clipped_before,
            "log_loss_clipped_after_cross_fitted": self.clipped_after,
        }


def choose_temperature(
    logits: NDArray[np.float32],
    labels: NDArray[np.int64],
    *,
    groups: NDArray[np.int64] | None = None,
    log_prior: NDArray[np.float64] | None = None,
) -> Temperature:
    """Fit a temperature (Guo et al. 2017, arXiv:1706.04599) and decide whether it is used.

    It is cross-validated in ten folds, or five of more than 1000 images, each scored at the
    temperature of the other folds. Temperature scaling is skipped if that does not lower the
    log-loss, or if it raises the calibration error beyond chance: by more than 1.645 bootstrap
    standard errors of the difference, and above the error of a calibrated model. It is also skipped
    at a bound of the search, where the logits are wrong and not just too large.

    Args:
        logits: float [N, C] of images that the model was not trained on.
        labels: class numbers, int [N].
        groups: int [N]; images of one group are in one fold and are resampled together. None if
            all images are independent.
        log_prior: float [C], added to the logits after their division by T (prior correction).
    """
    shift = np.zeros(logits.shape[1]) if log_prior is None else log_prior
    groups = np.arange(len(labels)) if groups is None else groups
    fitted = fit_temperature(logits, labels, log_prior=shift)
    folds = group_folds(groups, _FOLDS if len(labels) <= _MANY else _FEWER_FOLDS)
    after = np.zeros(logits.shape, np.float32)
    for fold in np.unique(folds):
        inside, others = folds == fold, folds != fold
        value = (
            fit_temperature(logits[others], labels[others], log_prior=shift)
            if others.any()
            else 1.0
        )
        after[inside] = _probabilities(logits[inside], value, shift)
    before = _probabilities(logits, 1.0, shift)
    return Temperature(
        fitted,
        log_loss_before=log_loss(before, labels),
        log_loss_after=log_loss(after, labels),
        ece_before=expected_calibration_error(before, labels),
        ece_after=expected_calibration_error(after, labels),
        ece_rises=_ece_rises(before, after, labels, groups),
        clipped_before=count_clipped(before, labels),
        clipped_after=count_clipped(after, labels),
    )


def _probabilities(
    logits: NDArray[np.float32], temperature: float, shift: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return ``softmax(logits / temperature + shift)``, float32 [N, C]."""
    result = np.empty(logits.shape, np.float32)
    for part in row_blocks(logits.shape):
        result[part] = np.exp(log_softmax(logits[part] / temperature + shift))
    return result


def _ece_rises(
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
) -> bool:
    """Whether the calibration error rises from ``before`` to ``after`` [N, C] beyond chance."""
    reached = expected_calibration_error(after, labels)
    rise = reached - expected_calibration_error(before, labels)
    if rise <= 0:
        return False
    by_chance = simulated_calibration_errors(after, labels, groups)
    if reached <= np.quantile(by_chance, 0.95):
        return False
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    random, rises = np.random.default_rng(0), []
    for _ in range(_REPLICATES):
        drawn = np.concatenate(
            [members[i] for i in random.integers(len(members), size=len(members))]
        )
        errors = [
            expected_calibration_error(rows[drawn], labels[drawn]) for rows in (after, before)
        ]
        rises.append(errors[0] - errors[1])
    return bool(rise > _Z * np.std(rises))
