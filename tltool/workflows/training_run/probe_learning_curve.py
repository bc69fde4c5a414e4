"""The learning curve of a run's linear probe, on features that exist already."""

from __future__ import annotations

from typing import Any

import numpy as np

from tltool.evaluation.learning_curve import learning_curve
from tltool.training.outcome import TrainingOutcome
from tltool.workflows.dataset.dataset import Dataset
from tltool.workflows.dataset.probe_fit import probe_fit
from tltool.workflows.dataset.splitting import group_numbers
from tltool.workflows.training_run.context import RunContext
from tltool.workflows.training_run.linear_probe import has_random_weights, vectors

_MOST_IMAGES = 1000  # with more it takes longer than some seconds: tltool learning-curve


def measure_learning_curve(
    run: RunContext, dataset: Dataset, outcome: TrainingOutcome
) -> dict[str, Any] | None:
    """Return the learning curve of the probe on training and validation images, for metrics.json.

    Every probe selects its regularisation strength on its own training images. None where the
    recipe leaves the curve out, without a probe or pretrained weights, with more than 1,000 images,
    or where a class has too few.
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
        probe_fit(run.recipe.train.probe, len(catalog.class_names), run.recipe.seed),
        seed=run.recipe.seed,
    )
    return curve.to_json() if curve else None
