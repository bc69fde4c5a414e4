"""Which changes of images leave them what they are, by a frozen probe."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tltool.data.checks.recipe_choice import tiny_and_grey
from tltool.errors import DataError
from tltool.evaluation.metrics.confidence_intervals import wilson_interval
from tltool.evaluation.metrics.paired_tests import ALPHA, PairedComparison, compare_with_first
from tltool.events import Observer, SilentObserver
from tltool.features.image_source import ImageSource
from tltool.models.backbone_registry import get_backbone
from tltool.recipe.augment_section import AugmentSection
from tltool.recipe.schema import Recipe
from tltool.training.probe import Probe, fit_probe
from tltool.weights.fetch_weights import obtain
from tltool.workflows.dataset.dataset import load_dataset
from tltool.workflows.dataset.embeddings import EmbeddingExtractor
from tltool.workflows.resolve.augmentation import resolve_augmentation, single_transforms

MOST_IMAGES = 200  # validation images that are changed: each change costs a pass over them
_TOLERATED = 0.05  # a loss of accuracy that a change which fits may cost
_ENOUGH = math.ceil(3 / _TOLERATED)  # images that exclude more, where no answer changes


@dataclass(frozen=True)
class AugmentationEffect:
    """How a change does.

    Attributes:
        change: its name.
        used: whether the recipe makes it.
        correct: which of the changed images the probe names right, bool [N].
        against_plain: compared with the images as they are.
    """

    change: str
    used: bool
    correct: np.ndarray
    against_plain: PairedComparison

    @property
    def accuracy(self) -> tuple[float, float, float]:
        """Accuracy on the changed images, with its 95 % interval."""
        return _rate(self.correct)

    @property
    def advice(self) -> str:
        """What to do about it; without evidence either way, ``unsure``.

        That a whole interval lies below the tolerated loss is margin enough for the number of
        changes that are tried; that it lies below no loss at all must stand the corrected test.
        """
        paired = self.against_plain
        if paired.high < -_TOLERATED and paired.p_value < ALPHA:
            return "leave it out"
        if paired.high < 0 and paired.distinguishable:
            return "make it weaker"
        # of fewer images, that none is lost does not yet exclude so large a loss (rule of three)
        sure = paired.low >= -_TOLERATED and paired.n >= _ENOUGH
        return "fits" if sure else "unsure"

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        value, low, high = self.accuracy
        return {
            "change": self.change,
            "used": self.used,
            "accuracy": value,
            "interval": [low, high],
            "against_plain": self.against_plain.to_json(),
            "advice": self.advice,
        }


@dataclass(frozen=True)
class AugmentationRanking:
    """A probe on images as they are, and on changed ones.

    Attributes:
        backbone: whose features the probe sees.
        trained_on: training images of the probe.
        plain: which of the images as they are it names right, bool [N].
        fits: every change, the most harmful first.
    """

    backbone: str
    trained_on: int
    plain: np.ndarray
    fits: tuple[AugmentationEffect, ...]

    @property
    def accuracy(self) -> tuple[float, float, float]:
        """Accuracy on the images as they are, with its 95 % interval."""
        return _rate(self.plain)

    @property
    def few(self) -> str:
        """A sentence on too few images where they leave most changes unsure, else empty."""
        count, unsure = len(self.plain), sum(fit.advice == "unsure" for fit in self.fits)
        if 2 * unsure <= len(self.fits):
            return ""
        told = (
            f"{count} validation images are few: {unsure} of {len(self.fits)} changes stay unsure."
        )
        if count < _ENOUGH:
            told += (
                f" To exclude a loss of more than {100 * _TOLERATED:.0f} points takes at least "
                f"{_ENOUGH}."
            )
        if count < MOST_IMAGES:
            told += " Add images, or raise data.validation_fraction."
        return told

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        value, low, high = self.accuracy
        return {
            "backbone": self.backbone,
            "trained_on": self.trained_on,
            "n": len(self.plain),
            "accuracy": value,
            "interval": [low, high],
            "few": self.few,
            "changes": [fit.to_json() for fit in self.fits],
        }


def fitness(
    source: str, *, recipe: Recipe, offline: bool = False, observer: Observer | None = None
) -> AugmentationRanking:
    """Fit a probe on images as they are, and try it on other images under each change.

    A change under which even a probe that never saw it keeps its accuracy leaves the images what
    they are. One under which it fails may turn them into something else, or be too strong. Changes
    are those of the recipe, with its amounts, and all others at their defaults. Features are kept
    in the user's cache: a second call takes seconds.

    Args:
        source: the images, as ``finetune`` takes them.
        recipe: its images, backbone and augmentation.
        offline: open no network connection.
        observer: told about the progress.

    Raises:
        UsageError: the backbone is unknown.
        DataError: the images cannot be used, or there are too few.
        EnvironmentProblem: the weights cannot be had.
    """
    observer = observer or SilentObserver()
    backbone = get_backbone(recipe.model.backbone)
    observer.on_phase("weights", backbone.name)
    weights = _weights(recipe, offline=offline, observer=observer)
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
    pooler = EmbeddingExtractor(
        backbone,
        image_size=recipe.data.image_size,
        resize=recipe.data.resize,
        weights=weights,
        observer=observer,
    )
    train, held = pooler.source(data.part("train")), pooler.source(data.part("validation"))
    held = held.spread(MOST_IMAGES)
    if len(held) < 2 * held.classes:
        raise DataError(
            f"{len(held)} validation images are too few to tell anything",
            hint="add images, or raise data.validation_fraction",
        )
    observer.on_phase("features", f"{len(train)} training images, as they are")
    probe = _probe(pooler.features(train), train, recipe)
    section, _ = resolve_augmentation(recipe.augment, len(train), signs=tiny_and_grey(train.items))
    trial = _Trial(pooler, probe, held, recipe.seed, observer)
    plain = trial.correct("as they are")
    names, used = _changes(section)
    tried = {name: trial.correct(name, spec) for name, spec in names.items()}
    paired = compare_with_first(plain, list(tried.values()))
    fits = [
        AugmentationEffect(name, name in used, correct, one)
        for (name, correct), one in zip(tried.items(), paired, strict=True)
    ]
    ranked = sorted(fits, key=lambda fit: fit.against_plain.difference)
    return AugmentationRanking(backbone.name, len(train), plain, tuple(ranked))


def _changes(section: AugmentSection) -> tuple[dict[str, Any], set[str]]:
    """Return all changes of single images, and the names of those that a section makes."""
    every = single_transforms(section, every=True)
    singles = {name: spec for name, spec in every.items() if not spec.mixes}
    used = set(single_transforms(section, every=False))
    if section.flip == "horizontal_and_vertical":
        used |= {"flip horizontal", "flip vertical"}
    return singles, used


def _weights(recipe: Recipe, *, offline: bool, observer: Observer) -> Path | None:
    wanted = recipe.model.weights
    if wanted == "random":
        return None
    if wanted != "imagenet":
        return Path(wanted)
    return obtain(recipe.model.backbone, offline=offline, observer=observer).path


def _probe(features: np.ndarray, train: ImageSource, recipe: Recipe) -> Probe:
    settings = recipe.train.probe
    return fit_probe(
        features,
        train.labels,
        classes=train.classes,
        strengths=list(settings.strengths),
        folds=settings.folds,
        weights=None,
        seed=recipe.seed,
    )


@dataclass(frozen=True)
class _Trial:
    pooler: EmbeddingExtractor
    probe: Probe
    held: ImageSource
    seed: int
    observer: Observer

    def correct(self, name: str, spec: Any = None) -> np.ndarray:
        """Return which of the held images the probe names right under a change, bool [N]."""
        self.observer.on_phase("features", f"{len(self.held)} validation images: {name}")
        features = self.pooler.features(self.held, spec, seed=self.seed)
        return self.probe.logits(features).argmax(axis=1) == self.held.labels


def _rate(correct: np.ndarray) -> tuple[float, float, float]:
    return float(correct.mean()), *wilson_interval(int(correct.sum()), len(correct))
