"""Compare backbones on a data set: a cross-validated linear probe on the features of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from tltool.data.catalog import Catalog
from tltool.errors import DataError, EnvironmentProblem, UsageError
from tltool.evaluation.metrics.confidence_intervals import rate_of
from tltool.evaluation.metrics.paired_tests import PairedComparison, compare_with_first
from tltool.events import Observer, SilentObserver
from tltool.models.backbone_registry import Backbone, get_backbone
from tltool.recipe.schema import DataSection
from tltool.recipe.train_section import ProbeSection
from tltool.training.probe import fit_probe
from tltool.workflows.dataset.embeddings import extract_embeddings
from tltool.workflows.dataset.labelled_images import read_labelled_images
from tltool.workflows.dataset.splitting import find_duplicates, group_numbers

_FOLDS = 5


@dataclass(frozen=True)
class LeaderboardEntry:
    """A backbone on the leaderboard.

    Attributes:
        backbone: registry entry.
        correct: whether its probe classifies each image correctly out of fold, bool [N].
        groups: the group of each image, int64 [N]; near duplicates share one.
        features: features per image, D.
        seconds_per_image: of the backbone alone, in batches, measured on this machine.
        against_best: comparison with the best backbone; None for the best itself.
    """

    backbone: Backbone
    correct: np.ndarray
    groups: np.ndarray
    features: int
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
            "parameters": self.backbone.parameters,
            "seconds_per_image": self.seconds_per_image,
        }


@dataclass(frozen=True)
class Leaderboard:
    """Backbones by descending accuracy, and those that could not be evaluated.

    Attributes:
        n: number of images.
        classes: number of classes.
        entries: the backbones.
        skipped: by name, why a backbone could not be evaluated.
    """

    n: int
    classes: int
    entries: tuple[LeaderboardEntry, ...]
    skipped: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {
            "n": self.n,
            "classes": self.classes,
            "backbones": [entry.to_json() for entry in self.entries],
            "skipped": self.skipped,
        }


def compare_backbones(
    data: str,
    backbones: Sequence[str],
    *,
    image_size: int | None = None,
    weights: Literal["imagenet", "random"] = "imagenet",
    ood_images: str | None = None,
    pixels: str | None = None,
    seed: int = 0,
    offline: bool = False,
    observer: Observer | None = None,
) -> Leaderboard:
    """Cross-validate a linear probe on the features of each backbone, in the same folds.

    Near-duplicates stay in one fold, and the regularisation strength of each probe is selected
    within its training folds. Features are cached: a second call with the same images takes
    seconds.

    Args:
        data: any source of labelled images; its splits are merged.
        backbones: names of the registry.
        image_size: side in pixels for all; None means each backbone's default.
        weights: imagenet, or random to evaluate the architecture alone.
        ood_images: name of a folder of out-of-distribution images next to the class folders.
        pixels: shape of the images in a table of pixels.
        seed: of the folds.
        offline: open no network connection.
        observer: receives progress and messages.

    Raises:
        UsageError: a backbone is unknown.
        DataError: the images cannot be used, or a class has too few.
        EnvironmentProblem: none of the backbones has weights available.
    """
    observer = observer or SilentObserver()
    candidates = [get_backbone(name) for name in dict.fromkeys(backbones)]
    if not candidates:
        raise UsageError("no backbone is given", hint="--backbones vgg16,resnet50")
    catalog = read_labelled_images(
        data, ood_images=ood_images, pixels=pixels, offline=offline, observer=observer
    )
    groups = group_numbers(catalog, find_duplicates(catalog, observer))
    random_weights = weights == "random"
    folds = _folds(catalog.labels(), groups, seed)
    probes = _Probes(catalog, folds, groups, image_size, random_weights, seed, offline, observer)
    entries, skipped, reasons = [], {}, []
    for backbone in candidates:
        try:
            entries.append(probes.evaluate(backbone))
        except (EnvironmentProblem, UsageError) as problem:
            reasons.append(problem.message)
            skipped[backbone.name] = "; ".join(filter(None, (problem.message, problem.hint)))
            observer.on_message(f"{backbone.name} is skipped", level="warning")
    if not entries:
        raise EnvironmentProblem(
            f"none of the backbones can be evaluated: {'; '.join(reasons)}",
            hint="tltool weights pull NAME, or tltool weights import NAME FILE",
        )
    return Leaderboard(len(catalog), len(catalog.class_names), _ranked(entries), skipped)


def _folds(labels: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
    """Return the fold of every image, int64 [N]; the images of a group share one.

    Raises:
        DataError: a class is too small for two folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    count = min(_FOLDS, *(len(np.unique(groups[labels == label])) for label in np.unique(labels)))
    if count < 2:
        raise DataError(
            "cross-validation needs at least 2 different images per class",
            hint="add images to the small classes, or remove these classes",
        )
    folds = np.zeros(len(labels), np.int64)
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    for number, (_, validation) in enumerate(splitter.split(labels, labels, groups)):
        folds[validation] = number
    return folds


@dataclass(frozen=True)
class _Probes:
    """Settings shared by the probes of all backbones."""

    catalog: Catalog
    folds: np.ndarray
    groups: np.ndarray
    image_size: int | None
    random_weights: bool
    seed: int
    offline: bool
    observer: Observer

    def evaluate(self, backbone: Backbone) -> LeaderboardEntry:
        """Return the result of the probe on one backbone's features."""
        self.observer.on_phase(backbone.name, f"{len(self.catalog)} images")
        embeddings = extract_embeddings(
            self.catalog,
            backbone,
            image_size=self.image_size,
            resize=DataSection().resize,
            random_weights=self.random_weights,
            offline=self.offline,
            observer=self.observer,
        )
        features = embeddings.features
        correct, seconds = self._cross_validate(features), embeddings.seconds_per_image
        return LeaderboardEntry(backbone, correct, self.groups, features.shape[1], seconds)

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


def _ranked(entries: Sequence[LeaderboardEntry]) -> tuple[LeaderboardEntry, ...]:
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
