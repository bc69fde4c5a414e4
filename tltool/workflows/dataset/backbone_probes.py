"""Evaluates backbones on labelled images by a cross-validated linear probe on their features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from tltool.data.catalog import Catalog
from tltool.data.decoding.decode_spec import Resize
from tltool.engine.work import Engine
from tltool.errors import DataError
from tltool.evaluation.metrics.confidence_intervals import rate_of
from tltool.evaluation.metrics.paired_tests import PairedComparison, compare_with_first
from tltool.events import Observer
from tltool.models.backbone_registry import Backbone
from tltool.recipe.train_section import ProbeSection
from tltool.training.probe import fit_probe, standard_error
from tltool.training.stratified_folds import groups_of_smallest_class, stratified_folds
from tltool.workflows.dataset.embeddings import extract_embeddings
from tltool.workflows.dataset.image_size import size_by_images
from tltool.workflows.resolve.find_backbone import at_side

_FOLDS = 5
_MUCH_FASTER = 0.5  # of the time of another backbone, at most
_RECIPES = {"efficientnet_lite0": "--recipe fast"}  # of backbones that have one of their own


@dataclass(frozen=True)
class LeaderboardEntry:
    """A backbone on the leaderboard.

    Attributes:
        backbone: registry entry.
        correct: whether its probe classifies each image correctly out of fold, bool [N].
        groups: the group of each image, int64 [N]; near duplicates share one.
        features: features per image, D.
        image_size: side in pixels of its input.
        seconds_per_image: of the backbone alone, in batches, measured on this machine.
        against_best: comparison with the best backbone; None for the best itself.
    """

    backbone: Backbone
    correct: np.ndarray
    groups: np.ndarray
    features: int
    image_size: int
    seconds_per_image: float
    against_best: PairedComparison | None = None

    @property
    def accuracy(self) -> tuple[float, float, float]:
        """Cross-validated accuracy and its 95 % Wilson interval for the effective sample size."""
        rate = rate_of(self.correct, self.groups)
        return rate["value"], rate["low"], rate["high"]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        value, low, high = self.accuracy
        return {
            "backbone": self.backbone.name,
            "accuracy": {"value": value, "low": low, "high": high},
            "against_best": self.against_best.to_json() if self.against_best else None,
            "features": self.features,
            "image_size": self.image_size,
            "parameters": self.backbone.parameters,
            "seconds_per_image": self.seconds_per_image,
        }


@dataclass(frozen=True)
class BackboneProbes:
    """Settings shared by the probes of all backbones.

    Attributes:
        catalog: the images.
        groups: the group of each image, int64 [N].
        folds: the fold of each image, int64 [N], as ``probe_folds`` returns it.
        image_size: side in pixels for all; None means each backbone's own, auto the same but for
            smaller images, as `data.image_size: auto`.
        resize: how images are made square.
        random_weights: instead of pretrained ones.
        seed: of the folds in which the regularisation strength is selected.
        offline: open no network connection.
        observer: receives the progress.
        engine: has the workers that compute features; None to compute them here.
    """

    catalog: Catalog
    groups: np.ndarray
    folds: np.ndarray
    image_size: int | Literal["auto"] | None
    resize: Resize
    random_weights: bool
    seed: int
    offline: bool
    observer: Observer
    engine: Engine | None = None

    def evaluate(self, backbone: Backbone) -> LeaderboardEntry:
        """Return the result of the probe on one backbone's features.

        Raises:
            EnvironmentProblem: the weights are not available, or the disk is full.
            UsageError: there are no pretrained weights, or the images are too small for it.
        """
        side = self.side(backbone)
        backbone = at_side(backbone, side) or backbone
        self.observer.on_phase(
            backbone.name, f"{len(self.catalog)} images of {side} x {side} pixels"
        )
        embeddings = extract_embeddings(
            self.catalog,
            backbone,
            image_size=side,
            resize=self.resize,
            random_weights=self.random_weights,
            offline=self.offline,
            observer=self.observer,
            engine=self.engine,
        )
        features = embeddings.features
        correct, seconds = self._cross_validate(features), embeddings.seconds_per_image
        return LeaderboardEntry(backbone, correct, self.groups, features.shape[1], side, seconds)

    def side(self, backbone: Backbone) -> int:
        """Return the side in pixels of the input of ``backbone``."""
        if self.image_size == "auto":
            side = size_by_images(backbone, self.catalog.items)
            return side if at_side(backbone, side) else backbone.image_size
        return self.image_size or backbone.image_size

    def _cross_validate(self, features: np.ndarray) -> np.ndarray:
        """Return whether the probe of the other folds classifies each image correctly, bool [N]."""
        labels, settings = self.catalog.labels(), ProbeSection()
        correct = np.zeros(len(labels), np.bool_)
        for fold in np.unique(self.folds):
            train, validation = self.folds != fold, self.folds == fold
            probe = fit_probe(
                features[train],
                labels[train],
                classes=len(self.catalog.class_names),
                c_values=list(settings.c_values),
                folds=settings.folds,
                weights=None,
                seed=self.seed,
                groups=self.groups[train],
            )
            predicted = probe.logits(features[validation]).argmax(axis=1)
            correct[validation] = predicted == labels[validation]
        return correct


def ranked(entries: Sequence[LeaderboardEntry]) -> tuple[LeaderboardEntry, ...]:
    """Return the entries by descending accuracy, the others compared with the best."""
    best, *others = sorted(entries, key=lambda entry: (-entry.correct.mean(), entry.backbone.name))
    paired = compare_with_first(
        best.correct,
        [entry.correct for entry in others],
        best_of_all=True,
        groups=best.groups,
    )
    return (
        best,
        *(replace(entry, against_best=one) for entry, one in zip(others, paired, strict=True)),
    )


def fastest_within_one_standard_error(entries: Sequence[LeaderboardEntry]) -> LeaderboardEntry:
    """Return the fastest backbone that is as accurate as the best, within one standard error.

    Args:
        entries: by descending accuracy, of the same images.
    """
    best = entries[0]

    def is_close(entry: LeaderboardEntry) -> bool:
        lost = best.correct.astype(np.float64) - entry.correct
        members = np.unique(entry.groups, return_inverse=True)[1]
        return bool(lost.mean() <= standard_error(lost, members))

    return min(filter(is_close, entries), key=lambda entry: entry.seconds_per_image)


def describe_saving(entries: Sequence[LeaderboardEntry]) -> str | None:
    """Return a sentence on the time that the fastest of the best backbones saves; None if little.

    Args:
        entries: by descending accuracy, of the same images.
    """
    fast = fastest_within_one_standard_error(entries)
    slow = [
        entry
        for entry in entries
        if fast.seconds_per_image <= _MUCH_FASTER * entry.seconds_per_image
    ]
    if not slow:
        return None
    share = 100 * fast.seconds_per_image / slow[0].seconds_per_image
    name, other = fast.backbone.name, slow[0].backbone.name
    more = fast.correct.mean() > slow[0].correct.mean()
    return (
        f"{name} {'exceeds' if more else 'reaches'} the accuracy of {other} "
        f"{'' if more else 'within one standard error '}in {share:.0f} % of the time: "
        f"{_RECIPES.get(name, f'--backbone {name}')}"
    )


def probe_folds(labels: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
    """Return the fold of every image, int64 [N]; the images of a group share one.

    Raises:
        DataError: a class is too small for two folds.
    """
    count = min(_FOLDS, groups_of_smallest_class(labels, groups))
    if count < 2:
        raise DataError(
            "cross-validation needs at least 2 different images per class",
            hint="add images to the small classes, or remove these classes",
        )
    folds = np.zeros(len(labels), np.int64)
    parts = stratified_folds(labels, groups, count=count, seed=seed)
    for number, (_, validation) in enumerate(parts):
        folds[validation] = number
    return folds
