"""All figures of one evaluation: of the answers, and of slices of the images."""

from __future__ import annotations

from typing import Any

from tltool.evaluation.metrics.classification import compute_metrics
from tltool.evaluation.metrics.predictions import LabelledPredictions
from tltool.evaluation.metrics.selective import selective_metrics
from tltool.evaluation.metrics.slices import sliced


def measured(evaluated: LabelledPredictions) -> dict[str, Any]:
    """Return the document of ``compute_metrics`` with its images, ``refusal`` and ``slices``.

    ``evaluated_on`` names the images, ``part`` is that of the run or None: a folder may be called
    ``validation`` too.

    Raises:
        DataError, GateError: as ``compute_metrics`` does.
    """
    photos, probabilities = evaluated.photos, evaluated.probabilities
    labels = photos.labels()
    figures = compute_metrics(
        probabilities, labels, photos.class_names, uncalibrated=evaluated.uncalibrated
    )
    slices = sliced(photos, probabilities.argmax(axis=1) == labels)
    refusal = selective_metrics(probabilities, labels, evaluated.ood_scores)
    return {
        "evaluated_on": evaluated.name,
        "part": evaluated.part,
        **figures,
        "refusal": refusal,
        "slices": slices,
    }
