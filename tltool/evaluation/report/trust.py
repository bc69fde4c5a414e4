"""What the report says of confidences and of images that are left unanswered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tltool.evaluation.metrics.classification import CALIBRATION_BINS
from tltool.evaluation.report.advice import percent

_ENOUGH_PER_BIN = 10  # images; with fewer a bin's accuracy is mostly chance


@dataclass(frozen=True)
class Row:
    """A figure before and after the temperature, each with its interval where one is known."""

    name: str
    before: float
    before_interval: Sequence[float] | None
    after: float
    after_interval: Sequence[float] | None


def calibration_rows(metrics: Mapping[str, Any]) -> list[Row]:
    """Return both figures; cross-fitted where the temperature was fitted on these images."""
    fitted = _cross_fitted(metrics)
    return [
        Row(
            name,
            metrics[f"{key}_uncalibrated"],
            metrics[f"{key}_uncalibrated_interval"],
            fitted[f"{key}_after_cross_fitted"] if fitted else metrics[key],
            None if fitted else metrics[f"{key}_interval"],
        )
        for key, name in (("ece", "calibration error"), ("log_loss", "log-loss"))
    ]


def after_heading(metrics: Mapping[str, Any]) -> str:
    """Return the heading of the last column."""
    return "after, cross-fitted" if _cross_fitted(metrics) else "after"


def describe_calibration(metrics: Mapping[str, Any]) -> str:
    """Return what to make of the calibration error."""
    return " ".join(_of_calibration(metrics))


def describe_selective(metrics: Mapping[str, Any]) -> str:
    """Return how many images the reject option leaves; empty without one."""
    refusal = metrics["refusal"]
    if refusal.get("known") is None:
        return ""
    return " ".join(_of_refusal(refusal, own=_own(metrics)))


def _own(metrics: Mapping[str, Any]) -> bool:
    return bool(metrics["part"] == "validation")


def _cross_fitted(metrics: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return figures of images that the temperature was not fitted on, where they are needed."""
    found = metrics.get("calibration")
    return found if _own(metrics) and found and found["value"] != 1.0 else None


def _of_calibration(metrics: Mapping[str, Any]) -> Iterator[str]:
    found = metrics.get("calibration")
    if found and found.get("refused"):
        yield (
            f"Temperature scaling was skipped: {found['reason']}. Probabilities are left "
            "uncalibrated."
        )
    if _cross_fitted(metrics):
        yield (
            "The temperature was fitted on these images: the last column has each of them at the "
            "temperature that the others give."
        )
    elif _own(metrics) and metrics["ece"] != metrics["ece_uncalibrated"]:
        yield "The temperature was fitted on these images: the last column is a little optimistic."
    if "tta" in metrics:
        yield (
            "The temperature was fitted on images as they are, and the figures before it are of "
            "such; those after it are of the mean over changed copies, which is less sure."
        )
    error = calibration_rows(metrics)[0].after
    above = "above" if error > metrics["ece_by_chance"] else "not above"
    yield (
        "Of a perfectly calibrated model with so many images the calibration error reaches "
        f"{metrics['ece_by_chance']:.3f} by chance; this one is {above} it."
    )
    if metrics["n"] < _ENOUGH_PER_BIN * CALIBRATION_BINS:
        yield f"A point is fewer than {_ENOUGH_PER_BIN} images, and says little by itself."


def _of_refusal(refusal: Mapping[str, Any], *, own: bool) -> Iterator[str]:
    known, right = refusal["known"], refusal["accuracy_of_known"]
    answered = f", and of those {percent(right['value'])} are named right" if right else ""
    yield (
        f"Reject option: {percent(known['value'])} of these images are taken as known "
        f"({percent(known['low'])} to {percent(known['high'])}){answered}."
    )
    if own:
        yield "The border was set on these images; of new ones a few more or fewer are known."
    other = refusal.get("other")
    if other:
        area = other["auroc"]
        set_by = ", which helped to set the border," if refusal.get("border_set_on") else ""
        yield (
            f"Of {other['n_others']:,} images of something else{set_by} "
            f"{percent(other['refused']['value'])} are refused; area under the curve "
            f"{area['value']:.3f} ({area['low']:.3f} to {area['high']:.3f})."
        )
