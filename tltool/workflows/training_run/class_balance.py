"""What a run does about class imbalance, and what it reports of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tltool.features.extract import Features
from tltool.features.image_source import ImageSource
from tltool.features.sampler import Sampler
from tltool.recipe.schema import Recipe
from tltool.training.imbalance import image_weights, loss_weights, mean_labels
from tltool.workflows.training_run.context import RunContext
from tltool.workflows.training_run.training_inputs import TrainingImages

_HINT_FROM = 3.0  # the largest class against the smallest
_LISTED = 8  # classes; of more, only the extremes are listed


@dataclass(frozen=True)
class ClassBalance:
    """How images are drawn and weighted in the phases of epochs.

    Attributes:
        sampler: which images an epoch takes.
        class_weights: weights of the loss, float32 [C]; None for none.
    """

    sampler: Sampler
    class_weights: np.ndarray | None


def balance_classes(
    run: RunContext, images: TrainingImages, views: Sequence[Features]
) -> ClassBalance:
    """Return how images are drawn and weighted. It is reported, and recorded in manifest.json.

    Args:
        run: the run.
        images: the images.
        views: the cached views that epochs draw from; none where nothing is cached.
    """
    class_names = images.class_names
    _report_kind(run, images.train, class_names)
    balance = class_balance(run.recipe, images.train, views)
    if balance.class_weights is not None:
        by_name = dict(zip(class_names, map(float, balance.class_weights), strict=True))
        run.record(replace(run.manifest, class_weights=by_name))
        run.observer.on_message(f"weights in the loss: {_listed(by_name)}")
    return balance


def class_balance(recipe: Recipe, train: ImageSource, views: Sequence[Features]) -> ClassBalance:
    """Return how images are drawn and weighted.

    Args:
        recipe: what the run does.
        train: training images.
        views: the cached views that epochs draw from; none where nothing is cached.
    """
    kind, labels = recipe.train.imbalance, train.expected_labels()
    balanced = kind == "balanced_sampling"
    if balanced and views:
        labels = mean_labels([view.index for view in views], [view.labels for view in views])
    weights = loss_weights(kind, train.labels, labels)
    return ClassBalance(Sampler(train.labels, recipe.seed, balanced=balanced), weights)


def probe_image_weights(recipe: Recipe, train: ImageSource) -> np.ndarray | None:
    """Return the weights of the images for the probe, which draws none: float64 [N] or None."""
    return probe_weights(recipe, train.labels, train.expected_labels())


def probe_weights(recipe: Recipe, numbers: np.ndarray, labels: np.ndarray) -> np.ndarray | None:
    """Return the same for any images: float64 [N] or None.

    Args:
        recipe: what the run does.
        numbers: class numbers, int [N].
        labels: one-hot labels times the weights of the images, float32 [N, C].
    """
    # to draw a class more often is, in expectation, to weight it more
    imbalance = recipe.train.imbalance
    kind = "weights" if imbalance == "balanced_sampling" else imbalance
    return image_weights(loss_weights(kind, numbers, labels), labels)


def hint_at_imbalance(run: RunContext, counts: Mapping[str, int]) -> None:
    """Say so where classes differ much in size and nothing is done about it."""
    small, large = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    ratio = counts[large] / max(counts[small], 1)
    if run.recipe.train.imbalance == "none" and ratio > _HINT_FROM:
        run.observer.on_message(
            f"'{large}' has {ratio:.1f} times as many training images as '{small}'; if small "
            "classes matter as much as large ones: --set train.imbalance=weights"
        )


def _report_kind(run: RunContext, train: ImageSource, class_names: Sequence[str]) -> None:
    settings = run.recipe.train
    if settings.imbalance == "focal":
        run.observer.on_message(f"focal loss, gamma {settings.focal_gamma:g}")
    if settings.imbalance == "balanced_sampling":
        sizes = np.bincount(train.labels)
        each, least, most = len(train) / len(sizes), int(sizes.argmin()), int(sizes.argmax())
        run.observer.on_message(
            f"every epoch draws {each:.0f} images of each class: one of "
            f"'{class_names[least]}' {each / sizes[least]:.1f} times, one of "
            f"'{class_names[most]}' {each / sizes[most]:.1f} times"
        )


def _listed(weights: Mapping[str, float]) -> str:
    shown = list(weights.items())
    if len(shown) > _LISTED:
        shown.sort(key=lambda pair: pair[1])
        shown = [shown[0], shown[-1]]
    text = ", ".join(f"{name} {weight:.3f}" for name, weight in shown)
    rest = len(weights) - len(shown)
    return f"{text} and {rest} between" if rest else text
