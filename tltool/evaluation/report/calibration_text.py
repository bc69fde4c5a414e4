"""What the report says about calibration and about selective prediction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tltool.evaluation.metrics.calibration_error import CALIBRATION_BINS
from tltool.evaluation.report.text_tables import percent
from tltool.training.temperature import LOSS_LIMIT

_ENOUGH_PER_BIN = 10  # images; with fewer the accuracy of a bin is mostly noise


@dataclass(frozen=True)
class CalibrationRow:
    """A metric before and after temperature scaling, each with its interval where it has one."""

    name: str
    before: float
    before_interval: Sequence[float] | None
    after: float
    after_interval: Sequence[float] | None


def calibration_rows(metrics: Mapping[str, Any]) -> list[CalibrationRow]:
    """Return calibration error and log-loss; cross-fitted on the images of the temperature."""
    fitted = _cross_fitted(metrics)
    error = max(0.0, _measured_error(metrics) - metrics["ece_expected_by_chance"])
    loss = fitted["log_loss_after_cross_fitted"] if fitted else metrics["log_loss"]
    return [
        CalibrationRow(
            name,
            metrics[f"{key}_uncalibrated"],
            metrics[f"{key}_uncalibrated_interval"],
            after,
            None if fitted else metrics[f"{key}_interval"],
        )
        for key, name, after in (
            ("ece", "calibration error (ECE) beyond chance", error),
            ("log_loss", "log-loss", loss),
        )
    ]


def _measured_error(metrics: Mapping[str, Any]) -> float:
    """Return the calibration error with what chance explains; cross-fitted if fitted here."""
    fitted = _cross_fitted(metrics)
    return float(fitted["ece_after_cross_fitted"] if fitted else metrics["ece_raw"])


def calibrated_heading(metrics: Mapping[str, Any]) -> str:
    """Return the heading of the column after temperature scaling."""
    return "calibrated, cross-fitted" if _cross_fitted(metrics) else "calibrated"


def describe_calibration(metrics: Mapping[str, Any]) -> str:
    """Return how to read the calibration metrics."""
    return " ".join(_calibration_sentences(metrics))


def describe_selective(metrics: Mapping[str, Any]) -> str:
    """Return how many images are below the OOD threshold; empty without an OOD detector."""
    selective = metrics["selective"]
    if selective.get("coverage") is None:
        return ""
    return " ".join(_selective_sentences(selective, validation=_is_validation(metrics)))


def _is_validation(metrics: Mapping[str, Any]) -> bool:
    return bool(metrics["split"] == "validation")


def _cross_fitted(metrics: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the cross-fitted metrics where the temperature was fitted on these images."""
    calibration: Mapping[str, Any] | None = metrics.get("calibration")
    fitted_here = _is_validation(metrics) and calibration and calibration["value"] != 1.0
    return calibration if fitted_here else None


def _calibration_sentences(metrics: Mapping[str, Any]) -> Iterator[str]:
    calibration = metrics.get("calibration")
    if calibration and calibration.get("skipped"):
        yield (
            f"Temperature scaling was skipped: {calibration['reason']}. Probabilities are left "
            "uncalibrated."
        )
    if _cross_fitted(metrics):
        yield (
            "The temperature was fitted on these images. The last column is cross-fitted: each "
            "image is scored with a temperature fitted on the other folds."
        )
    elif _is_validation(metrics) and metrics["log_loss"] != metrics["log_loss_uncalibrated"]:
        yield "The temperature was fitted on these images, so the last column is optimistic."
    clipped = metrics.get("log_loss_clipped", 0)
    if clipped:
        yield (
            f"The log-loss of {clipped:,} image{'' if clipped == 1 else 's'} is clipped at "
            f"{LOSS_LIMIT:.1f} nats: there the true class has almost no probability."
        )
    if "tta" in metrics:
        yield (
            "The temperature was fitted without test-time augmentation. The uncalibrated column is "
            "without it too; the calibrated column is with it, which lowers the confidences."
        )
    measured, chance = _measured_error(metrics), metrics["ece_by_chance"]
    above = "above" if measured > chance else "not above"
    yield (
        f"The measured calibration error is {measured:.3f}. With {metrics['n']:,} images, chance "
        f"alone gives a perfectly calibrated model {metrics['ece_expected_by_chance']:.3f} on "
        f"average, which is subtracted in the table, and up to {chance:.3f} (95 % quantile); this "
        f"model is {above} it."
    )
    if metrics["n"] < _ENOUGH_PER_BIN * CALIBRATION_BINS:
        yield f"Each point is fewer than {_ENOUGH_PER_BIN} images, so single points are noisy."


def _selective_sentences(selective: Mapping[str, Any], *, validation: bool) -> Iterator[str]:
    coverage, accuracy = selective["coverage"], selective["selective_accuracy"]
    selected = f"; accuracy on them {percent(accuracy['value'])}" if accuracy else ""
    yield (
        f"Out-of-distribution (OOD) detection: {percent(coverage['value'])} of these images are "
        f"below the OOD threshold (95 % interval {percent(coverage['low'])} to "
        f"{percent(coverage['high'])}){selected}."
    )
    accepted = selective.get("coverage_range")
    if accepted:
        grouped = selective["ood_threshold_effective_images"] < selective["ood_threshold_images"]
        independent = (
            f", as many as {selective['ood_threshold_effective_images']:,.0f} independent ones,"
            if grouped
            else ""
        )
        yield (
            f"From the {selective['ood_threshold_images']:,} images{independent} on which it was "
            f"set follows that it accepts between {percent(accepted[0])} and "
            f"{percent(accepted[1])} of new images like them (95 % interval)."
        )
    if validation:
        yield "The OOD threshold was set on these images; on new images the share varies."
    ood = selective.get("ood")
    if ood:
        area = ood["auroc"]
        set_on = selective.get("ood_threshold_set_on")
        used = ", which were also used to set the threshold," if set_on else ""
        yield (
            f"Of {ood['n_ood']:,} OOD images{used} {percent(ood['detected']['value'])} are "
            f"detected; AUROC {area['value']:.3f} ({area['low']:.3f} to {area['high']:.3f})."
        )
