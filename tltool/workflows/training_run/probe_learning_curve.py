"""The learning curve of a run's linear probe, on features that exist already."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tltool.evaluation.learning_curve import Fit, learning_curve
from tltool.models.standardization import fit_standardization
from tltool.training.outcome import TrainingOutcome
from tltool.training.probe import solve_softmax
from tltool.workflows.dataset.dataset import Dataset
from tltool.workflows.dataset.splitting import group_numbers
from tltool.workflows.training_run.context import RunContext
from tltool.workflows.training_run.linear_probe import has_random_weights, vectors

_MOST_IMAGES = 2000  # with more it takes longer than a few seconds: tltool learning-curve


def measure_learning_curve(
    run: RunContext, dataset: Dataset, outcome: TrainingOutcome
) -> dict[str, Any] | None:
    """Return the learning curve of the probe on training and validation images, for metrics.json.

    All points use the regularisation strength of the run's probe. None where the recipe leaves the
    curve out, without a probe or pretrained weights, with more than 2,000 images, or where a class
    has too few.
    """
    images = len(dataset.split.indices("train")) + len(dataset.split.indices("validation"))
    if (
        not run.recipe.evaluate.learning_curve
        or outcome.probe is None
        or outcome.pretrained is None
        or has_random_weights(run.manifest)
        or images > _MOST_IMAGES
    ):
        return None
    catalog, clusters = dataset.without_test()
    pretrained = outcome.pretrained
    curve = learning_curve(
        np.concatenate([vectors(pretrained.train), vectors(pretrained.validation)]),
        catalog.labels(),
        group_numbers(catalog, clusters),
        _regression(len(catalog.class_names), outcome.probe.strength),
        seed=run.recipe.seed,
    )
    return curve.to_json() if curve else None


def _regression(classes: int, strength: float) -> Fit:
    """Return a logistic regression whose regularisation strength is given."""

    def fit(
        features: np.ndarray, labels: np.ndarray, _: np.ndarray
    ) -> Callable[[np.ndarray], np.ndarray]:
        standard = fit_standardization(features)
        kernel, bias = solve_softmax(
            standard.apply(features), labels, classes=classes, strength=strength, weights=None
        )
        return lambda rows: np.asarray(standard.apply(rows) @ kernel + bias)

    return fit
