"""The linear probe of a run: fitted or read from the cache, reported, and given to the head."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tltool.features.image_source import ImageSource
from tltool.recipe.schema import Recipe
from tltool.runs.manifest import Manifest
from tltool.training.probe import Probe, evenly_by_class, fit_probe, refit_probe
from tltool.training.validation import loss_and_accuracy
from tltool.workflows.training_run.class_balance import probe_image_weights
from tltool.workflows.training_run.context import RunContext
from tltool.workflows.training_run.feature_cache import FeatureCache


def vectors(pooled: np.ndarray) -> np.ndarray:
    """Return the head's input as vectors [N, D]; feature maps [N, h, w, D] are averaged."""
    return pooled.mean(axis=(1, 2)) if pooled.ndim == 4 else pooled


def solve_probe(
    run: RunContext,
    cache: FeatureCache,
    train: ImageSource,
    features: np.ndarray,
    groups: np.ndarray,
) -> Probe:
    """Return the probe on ``features`` float32 [N, D] of the training images.

    Args:
        run: the run.
        cache: where a solved probe is kept.
        train: training images.
        features: their input of the head, float32 [N, D].
        groups: their groups, int [N].
    """
    recipe = run.recipe
    how: dict[str, Any] = {
        "classes": train.classes,
        "c_values": list(recipe.train.probe.c_values),
        "folds": recipe.train.probe.folds,
        "seed": recipe.seed,
    }
    key = {**how, "imbalance": recipe.train.imbalance, "groups": groups.tolist()}
    rows = evenly_by_class(train.labels, recipe.train.probe.rows)
    run.record(replace(run.manifest, probe_rows=len(rows)))
    if len(rows) < len(train):
        run.observer.on_message(
            f"the linear probe is fitted on {len(rows):,} of the {len(train):,} training images, "
            "evenly from each class (train.probe.rows)"
        )
        key["rows"] = len(rows)

    def solve() -> Probe:
        """Fit the probe on the chosen rows."""
        weights = probe_image_weights(recipe, train)
        return fit_probe(
            features[rows],
            train.labels[rows],
            weights=None if weights is None else weights[rows],
            groups=groups[rows],
            **how,
        )

    return cache.probe(train.digest(), key, solve=solve)


def refit_on(recipe: Recipe, probe: Probe, features: np.ndarray, train: ImageSource) -> Probe:
    """Return ``probe`` fitted anew on other training images, at most ``train.probe.rows``.

    Args:
        recipe: the settings.
        probe: of the same features.
        features: input of the head of the images, float32 [N, D].
        train: the images.
    """
    rows = evenly_by_class(train.labels, recipe.train.probe.rows)
    weights = probe_image_weights(recipe, train)
    return refit_probe(
        probe,
        features[rows],
        train.labels[rows],
        weights=None if weights is None else weights[rows],
    )


def is_no_better_than_chance(logits: np.ndarray, labels: np.ndarray) -> bool:
    """Whether always naming the most frequent class would be right as often.

    Args:
        logits: float32 [N, C].
        labels: int [N].
    """
    right = np.count_nonzero(logits.argmax(axis=1) == labels)
    return bool(right <= np.bincount(labels).max())


def log_probe(run: RunContext, logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return what the probe reaches on the validation images, and warn where that is chance.

    Args:
        run: the run.
        logits: of the probe for the validation images, float32 [V, C].
        labels: of these images, int [V].
    """
    measures = loss_and_accuracy(logits, labels)
    run.observer.on_epoch(0, 0, measures)
    if is_no_better_than_chance(logits, labels):
        advice = (
            "its weights are random, so that this says little"
            if has_random_weights(run.manifest)
            else "check the labels, the images and the weights"
        )
        run.observer.on_message(
            f"a linear probe on the {describe_features(run.manifest)} does no better than always "
            f"naming the most frequent class: {advice}",
            level="warning",
        )
    return measures


def has_random_weights(manifest: Manifest) -> bool:
    """Whether the network began with weights that nobody has trained."""
    return bool(manifest.weights and manifest.weights["source"] == "random")


def describe_features(manifest: Manifest) -> str:
    """Return what the features of untouched images are called."""
    return "random features" if has_random_weights(manifest) else "pretrained features"


def warn_if_below_probe(
    run: RunContext, head: str, logits: np.ndarray, probe: np.ndarray, labels: np.ndarray
) -> None:
    """Warn where a head that began at random has not come as far as the probe.

    Args:
        run: the run.
        head: kind of the head.
        logits: of the kept model for the validation images, float32 [V, C].
        probe: of the probe for the same.
        labels: of these images, int [V].
    """
    monitor = run.spec.monitor
    reached, before = (loss_and_accuracy(one, labels)[monitor] for one in (logits, probe))
    if reached < before if monitor == "val_accuracy" else reached > before:
        run.observer.on_message(
            f"the head '{head}' ended worse than the linear probe ({monitor} {reached:.4g} against "
            f"{before:.4g}): train it longer, or set model.head.kind to gap, which begins as the "
            "probe",
            level="warning",
        )
