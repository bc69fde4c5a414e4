"""What the best model of a run reached on each validation image, and in the mean."""

from __future__ import annotations

from typing import Any

from tltool.data.splits.split import shown_path
from tltool.evaluation.csv_tables import ValidationRows
from tltool.evaluation.metrics.confidence_intervals import rate_of
from tltool.training.validation import image_losses
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


def validation_figures(rows: ValidationRows) -> dict[str, Any]:
    """Return log-loss (nats), accuracy and its 95 % Wilson interval, as metrics.json has them.

    The log-loss is that at the temperature of the run. The interval is that of the effective sample
    size: images of one group count together.
    """
    accuracy = rate_of(rows.correct, rows.groups)
    return {
        "n": len(rows.paths),
        "val_loss": float(rows.losses.mean()),
        "val_accuracy": accuracy["value"],
        "val_accuracy_interval": [accuracy["low"], accuracy["high"]],
    }
