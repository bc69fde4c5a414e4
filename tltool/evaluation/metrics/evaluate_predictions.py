"""All metrics of one evaluation, as they are written to ``metrics.json``."""

from __future__ import annotations

from typing import Any

from tltool.evaluation.metrics.accuracy_by_slice import accuracy_by_slice
from tltool.evaluation.metrics.classification import compute_metrics
from tltool.evaluation.metrics.labelled_predictions import LabelledPredictions
from tltool.evaluation.metrics.selective_prediction import selective_metrics


def evaluate_predictions(predictions: LabelledPredictions) -> dict[str, Any]:
    """Return the document of ``compute_metrics`` with ``selective`` and ``slices``.

    ``evaluated_on`` describes the images. ``split`` is the split of the run that they belong to, or
    None for other images: a folder may be called ``validation`` too.

    Raises:
        DataError, GateError: as ``compute_metrics``.
    """
    images, probabilities = predictions.images, predictions.probabilities
    labels = images.labels()
    correct = probabilities.argmax(axis=1) == labels
    groups = predictions.group_numbers()
    return {
        "evaluated_on": predictions.name,
        "split": predictions.split,
        **compute_metrics(
            probabilities,
            labels,
            images.class_names,
            uncalibrated=predictions.uncalibrated,
            groups=groups,
        ),
        "selective": selective_metrics(probabilities, labels, predictions.ood_scores, groups),
        "slices": accuracy_by_slice(images, correct, groups),
    }
