"""Rank augmentations by how much they change the accuracy of a linear probe."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tltool.data.audit.changed_files import files_as_audited
from tltool.data.checks.recipe_choice import looks_like_text
from tltool.errors import DataError
from tltool.evaluation.metrics.confidence_intervals import rate_of
from tltool.evaluation.metrics.paired_intervals import noninferiority_p_value
from tltool.evaluation.metrics.paired_tests import ALPHA, PairedComparison, compare_with_first
from tltool.events import Observer, SilentObserver
from tltool.features.image_source import ImageSource
from tltool.features.sampler import spread_over_classes
from tltool.models.backbone import Backbone
from tltool.recipe.augment_section import AugmentSection
from tltool.recipe.schema import Recipe
from tltool.training.own_settings import with_own_settings
from tltool.training.probe import Probe, fit_probe
from tltool.workflows.dataset.dataset import Dataset, load_dataset
from tltool.workflows.dataset.embeddings import EmbeddingExtractor, pretrained_file
from tltool.workflows.dataset.image_size import fit_image_size
from tltool.workflows.resolve.augmentation import resolve_augmentation, single_transforms
from tltool.workflows.resolve.run_spec import resolve

MAX_IMAGES = 200  # validation images used: each augmentation takes a forward pass over them
_MARGIN = 0.05  # loss of accuracy that still counts as safe (non-inferiority margin)
_MIN_IMAGES = 75  # with fewer, not even results without any change exclude a larger loss


@dataclass(frozen=True)
class AugmentationEffect:
    """Effect of one augmentation on the accuracy of a probe that was not trained with it.

    Attributes:
        name: the transform, such as ``rotation``.
        used: whether the recipe uses it.
        correct: which of the augmented images are classified correctly, bool [N].
        against_original: paired comparison with the original images.
        groups: the group of each image, int64 [N]; None if the images are independent.
    """

    name: str
    used: bool
    correct: np.ndarray
    against_original: PairedComparison
    groups: np.ndarray | None = None

    @property
    def accuracy(self) -> tuple[float, float, float]:
        """Accuracy on the augmented images, with its 95 % confidence interval."""
        return _accuracy(self.correct, self.groups)

    @property
    def advice(self) -> str:
        """``leave it out``, ``make it weaker`` or ``safe``; ``unsure`` without evidence.

        An interval that lies entirely below the margin needs no correction for the number of
        augmentations tested; one that lies entirely below zero must pass the corrected test. An
        augmentation is safe if the exact test excludes a loss of the margin, one-sided at 2.5 %.
        """
        paired = self.against_original
        if paired.high < -_MARGIN and paired.p_value < ALPHA:
            return "leave it out"
        if paired.high < 0 and paired.distinguishable:
            return "make it weaker"
        return "safe" if paired.low >= -_MARGIN and self._excludes_margin() else "unsure"

    def _excludes_margin(self) -> bool:
        """Return whether the exact test excludes a loss of the margin.

        Images of groups count as their effective number, rounded against the augmentation.
        """
        paired = self.against_original
        n = math.floor(paired.effective_n)
        lost = min(n, math.ceil(paired.only_first * n / paired.n))
        gained = min(n - lost, math.floor(paired.only_second * n / paired.n))
        if n < _MIN_IMAGES:
            return False
        return noninferiority_p_value(lost, gained, n, margin=_MARGIN) <= ALPHA / 2

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        value, low, high = self.accuracy
        return {
            "name": self.name,
            "used": self.used,
            "accuracy": value,
            "interval": [low, high],
            "against_original": self.against_original.to_json(),
            "advice": self.advice,
        }


@dataclass(frozen=True)
class AugmentationRanking:
    """Accuracy of a probe on original and on augmented validation images.

    Attributes:
        backbone: name of the backbone that extracts the features.
        train_images: number of training images of the probe.
        original: which of the original images are classified correctly, bool [N].
        effects: of every augmentation, the most harmful first.
        groups: the group of each image, int64 [N]; None if the images are independent.
    """

    backbone: str
    train_images: int
    original: np.ndarray
    effects: tuple[AugmentationEffect, ...]
    groups: np.ndarray | None = None

    @property
    def accuracy(self) -> tuple[float, float, float]:
        """Accuracy on the original images, with its 95 % confidence interval."""
        return _accuracy(self.original, self.groups)

    @property
    def warning(self) -> str:
        """A warning when most results are ``unsure`` for lack of images, else empty."""
        count, effects = len(self.original), self.effects
        unsure = sum(effect.advice == "unsure" for effect in effects)
        if 2 * unsure <= len(effects):
            return ""
        text = (
            f"{count} validation images are too few: {unsure} of {len(effects)} results are unsure."
        )
        if count < _MIN_IMAGES:
            text += (
                f" At least {_MIN_IMAGES} are needed to exclude a loss of more than "
                f"{100 * _MARGIN:.0f} percentage points."
            )
        if count < MAX_IMAGES:
            text += " Add images, or increase data.validation_fraction."
        return text

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        value, low, high = self.accuracy
        return {
            "backbone": self.backbone,
            "train_images": self.train_images,
            "n": len(self.original),
            "accuracy": value,
            "interval": [low, high],
            "warning": self.warning,
            "augmentations": [effect.to_json() for effect in self.effects],
        }


@with_own_settings
def rank_augmentations(
    source: str, *, recipe: Recipe, offline: bool = False, observer: Observer | None = None
) -> AugmentationRanking:
    """Fit a probe on original training images and test it on augmented validation images.

    An augmentation under which a probe that was never trained with it keeps its accuracy preserves
    the class. One under which the accuracy drops may change the class, or be too strong. Tested are
    the augmentations of the recipe, with its settings, and all others with their defaults.
    Features are kept in the user's cache: a second call takes seconds.

    Args:
        source: data source, as for ``finetune``.
        recipe: data settings, backbone and augmentation.
        offline: open no network connection.
        observer: receives the progress.

    Raises:
        UsageError: the backbone is unknown.
        DataError: the data cannot be used, or there are too few images.
        EnvironmentProblem: the weights are not available.
    """
    observer = observer or SilentObserver()
    spec = resolve(recipe)
    backbone = spec.backbone
    observer.on_phase("weights", backbone.name)
    weights = _weights(recipe, backbone, offline=offline, observer=observer)
    observer.on_phase("audit", source)
    data = load_dataset(
        source,
        test=None,
        settings=recipe.data,
        seed=recipe.seed,
        offline=offline,
        observer=observer,
    )
    observer.on_phase("model", backbone.name)
    extractor = EmbeddingExtractor(
        backbone,
        image_size=fit_image_size(spec, data, observer).decode.height,
        resize=recipe.data.resize,
        weights=weights,
        observer=observer,
    )
    train = extractor.source(data.part("train"))
    validation = extractor.source(data.part("validation")).spread(MAX_IMAGES)
    if len(validation) < 2 * validation.classes:
        raise DataError(
            f"{len(validation)} validation images are too few to measure an effect",
            hint="add images, or increase data.validation_fraction",
        )
    observer.on_phase("features", f"{len(train)} training images, original")
    text = looks_like_text(train.items)
    section, _ = resolve_augmentation(recipe.augment, len(train), looks_like_text=text)
    transforms, used = _transforms(section)
    with files_as_audited(lambda: data.catalog.items):
        probe = _probe(extractor.features(train), train, data.groups("train"), recipe)
        test = _ProbeTest(extractor, probe, validation, recipe.seed, observer)
        original = test.correct("original")
        results = {name: test.correct(name, spec) for name, spec in transforms.items()}
    groups = _tested_groups(data)
    paired = compare_with_first(original, list(results.values()), groups=groups)
    effects = [
        AugmentationEffect(name, name in used, correct, one, groups)
        for (name, correct), one in zip(results.items(), paired, strict=True)
    ]
    ranked = sorted(effects, key=lambda effect: effect.against_original.difference)
    return AugmentationRanking(backbone.name, len(train), original, tuple(ranked), groups)


def _tested_groups(data: Dataset) -> np.ndarray:
    """Return the group of each validation image that is tested, int64 [N]."""
    labels = data.part("validation").labels()
    groups: np.ndarray = data.groups("validation")[spread_over_classes(labels, MAX_IMAGES)]
    return groups


def _transforms(section: AugmentSection) -> tuple[dict[str, Any], set[str]]:
    """Return all transforms of single images, and the names of those that a section uses."""
    every = single_transforms(section, every=True)
    singles = {name: spec for name, spec in every.items() if not spec.mixes}
    used = set(single_transforms(section, every=False))
    if section.flip == "horizontal_and_vertical":
        used |= {"flip horizontal", "flip vertical"}
    return singles, used


def _weights(
    recipe: Recipe, backbone: Backbone, *, offline: bool, observer: Observer
) -> Path | None:
    weights = recipe.model.weights
    if weights == "random":
        return None
    if weights != "imagenet":
        return Path(weights)
    return pretrained_file(backbone, offline=offline, observer=observer)


def _probe(features: np.ndarray, train: ImageSource, groups: np.ndarray, recipe: Recipe) -> Probe:
    settings = recipe.train.probe
    return fit_probe(
        features,
        train.labels,
        classes=train.classes,
        c_values=list(settings.c_values),
        folds=settings.folds,
        weights=None,
        seed=recipe.seed,
        groups=groups,
    )


@dataclass(frozen=True)
class _ProbeTest:
    extractor: EmbeddingExtractor
    probe: Probe
    validation: ImageSource
    seed: int
    observer: Observer

    def correct(self, name: str, spec: Any = None) -> np.ndarray:
        """Return which validation images are classified correctly when augmented, bool [N]."""
        self.observer.on_phase("features", f"{len(self.validation)} validation images, {name}")
        features = self.extractor.features(self.validation, spec, seed=self.seed)
        result: np.ndarray = self.probe.logits(features).argmax(axis=1) == self.validation.labels
        return result


def _accuracy(correct: np.ndarray, groups: np.ndarray | None) -> tuple[float, float, float]:
    rate = rate_of(correct, groups)
    return rate["value"], rate["low"], rate["high"]
