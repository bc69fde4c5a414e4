"""With few validation images: cross-validation of a linear probe on the frozen features."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tltool.evaluation.metrics.confidence_intervals import effective_sample_size, rate_of
from tltool.evaluation.metrics.images_needed import images_for_half_width
from tltool.evaluation.metrics.probability_scores import log_loss
from tltool.features.image_source import weighted_one_hot
from tltool.inference import softmax
from tltool.training.cross_validated_probe import cross_validate_probe
from tltool.training.outcome import TrainingOutcome
from tltool.workflows.dataset.dataset import Dataset
from tltool.workflows.dataset.splitting import group_numbers
from tltool.workflows.training_run.class_balance import probe_weights
from tltool.workflows.training_run.context import RunContext
from tltool.workflows.training_run.linear_probe import has_random_weights, vectors

ENOUGH_VALIDATION_IMAGES = 100
"""With fewer, the 95 % interval of an accuracy of 0.90 is wider than ± 6 points."""
_MOST_IMAGES = 5_000  # of more, the probe takes minutes
_HALF_WIDTH = 0.05
_WHAT = "linear probe on frozen features"


def cross_validate_features(
    run: RunContext, dataset: Dataset, outcome: TrainingOutcome
) -> dict[str, Any] | None:
    """Return the cross-validated accuracy of the probe on all training and validation images.

    It is an estimate of the probe and not of the fine-tuned model. Its interval is Wilson's for all
    images, at their effective number where some are in groups.

    Returns:
        ``{what, n, n_effective, folds, accuracy, log_loss, images_for_5_points}`` for metrics.json.
        None where it is not needed (a test set, or ``ENOUGH_VALIDATION_IMAGES``), where the
        features are random or there is no probe, where the validation images are not drawn from the
        same images as the training images (the source defines them, or they are a fold), or
        where a class has images of a single group.
    """
    features = outcome.pretrained
    if features is None or outcome.probe is None or not _is_needed(run, dataset):
        return None
    catalog, clusters = dataset.without_test()
    if len(catalog) > _MOST_IMAGES:
        return None
    labels, groups = catalog.labels(), group_numbers(catalog, clusters)
    individual = catalog.columns.rows["weight"].copy()
    weights = weighted_one_hot(labels, individual, len(catalog.class_names))
    settings = run.recipe.train.probe
    predicted = cross_validate_probe(
        np.concatenate([vectors(part) for part in (features.train, features.validation)]),
        labels,
        groups,
        classes=len(catalog.class_names),
        c_values=settings.c_values,
        folds=settings.folds,
        weights=probe_weights(run.recipe, labels, weights),
        seed=run.recipe.seed,
    )
    if predicted is None:
        return None
    figures = _figures(softmax(predicted.logits, 1.0), labels, groups)
    return {"what": _WHAT, "n": len(labels), "folds": predicted.folds, **figures}


def _is_needed(run: RunContext, dataset: Dataset) -> bool:
    few = len(dataset.split.indices("validation")) < ENOUGH_VALIDATION_IMAGES
    no_test = not len(dataset.split.indices("test"))
    drawn = "validation" not in dataset.catalog.columns.given_splits()
    return (
        few
        and no_test
        and drawn
        and not dataset.split.folds
        and not has_random_weights(run.manifest)
    )


def _figures(probabilities: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> dict[str, Any]:
    """Return accuracy, log-loss, and how many images would narrow the interval."""
    correct = probabilities.argmax(axis=1) == labels
    n, effective = len(labels), effective_sample_size(correct, groups)
    needed = images_for_half_width(float(correct.mean()), _HALF_WIDTH) * n / effective
    return {
        "n_effective": effective,
        "accuracy": rate_of(correct, groups),
        "log_loss": log_loss(probabilities, labels),
        "images_for_5_points": math.ceil(needed),
    }
