"""What the best model of a run reached on each validation image, and in the mean."""

from __future__ import annotations

from typing import Any

import numpy as np

from tltool.data.splits.split import shown_path
from tltool.evaluation.csv_tables import ValidationRows
from tltool.evaluation.metrics.confidence_intervals import effective_sample_size, wilson_interval
from tltool.training.outcome import TrainingOutcome
from tltool.training.validation import image_losses, loss_and_accuracy
from tltool.workflows.dataset.dataset import Dataset


def validation_rows(dataset: Dataset, outcome: TrainingOutcome) -> ValidationRows:
    """Return what the best model reached on each validation image, without temperature."""
    part, logits = dataset.part("validation"), outcome.validation_logits
    return ValidationRows(
        tuple(shown_path(item.path, part.root) for item in part.items),
        logits.argmax(axis=1) == part.labels(),
        image_losses(logits, part.labels()),
        dataset.groups("validation"),
    )


def validation_figures(dataset: Dataset, outcome: TrainingOutcome) -> dict[str, Any]:
    """Return log-loss (nats), accuracy and its 95 % Wilson interval, as metrics.json has them.

    The interval is that of the effective sample size: images of one group count together.
    """
    rows, labels = validation_rows(dataset, outcome), dataset.part("validation").labels()
    figures = loss_and_accuracy(outcome.validation_logits, labels)
    n = effective_sample_size(rows.correct.astype(np.float64), rows.groups)
    interval = list(wilson_interval(figures["val_accuracy"] * n, n))
    return {"n": len(rows.paths), **figures, "val_accuracy_interval": interval}
