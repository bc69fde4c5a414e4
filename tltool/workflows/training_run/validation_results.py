"""What the best model of a run reached on each validation image, and in the mean."""

from __future__ import annotations

from typing import Any

from tltool.data.splits.split import shown_path
from tltool.evaluation.csv_tables import ValidationRows
from tltool.evaluation.metrics.confidence_intervals import effective_sample_size, wilson_interval
from tltool.training.validation import image_losses, loss_and_accuracy
from tltool.workflows.dataset.dataset import Dataset
from tltool.workflows.training_run.calibration import CalibrationResult


def validation_rows(dataset: Dataset, calibrated: CalibrationResult) -> ValidationRows:
    """Return what the best model reached on each validation image, at its temperature."""
    part = dataset.part("validation")
    logits = calibrated.outcome.validation_logits / calibrated.temperature
    return ValidationRows(
        tuple(shown_path(item.path, part.root) for item in part.items),
        logits.argmax(axis=1) == part.labels(),
        image_losses(logits, part.labels()),
        dataset.groups("validation"),
    )


def validation_figures(dataset: Dataset, calibrated: CalibrationResult) -> dict[str, Any]:
    """Return ``n``, the metrics of ``loss_and_accuracy`` and the interval of the accuracy.

    The logits are divided by the temperature of the run. The interval is Wilson's at the effective
    sample size: images of one group count together.
    """
    rows, labels = validation_rows(dataset, calibrated), dataset.part("validation").labels()
    logits = calibrated.outcome.validation_logits / calibrated.temperature
    figures = loss_and_accuracy(logits, labels)
    n = effective_sample_size(rows.correct, rows.groups)
    interval = list(wilson_interval(figures["val_accuracy"] * n, n))
    return {"n": len(rows.paths), **figures, "val_accuracy_interval": interval}
