"""Which backbone suits some images: a linear probe on each one's features, cross-validated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from tltool.data.audit.audit import audit
from tltool.data.catalog import Catalog
from tltool.data.sources.listing import Listing
from tltool.data.sources.open import read_source
from tltool.errors import DataError, EnvironmentProblem, UsageError
from tltool.evaluation.metrics.intervals import wilson
from tltool.evaluation.metrics.paired_tests import Paired, against_first
from tltool.events import Observer, SilentObserver
from tltool.models.backbone_registry import Backbone, get_backbone
from tltool.recipe.schema import DataSection
from tltool.recipe.train_section import ProbeSection
from tltool.training.probe import fit_probe
from tltool.workflows.dataset.embeddings import extract_embeddings
from tltool.workflows.dataset.splitting import find_duplicates, groups_of

_FOLDS = 5


@dataclass(frozen=True)
class Place:
    """A backbone on the leaderboard.

    Attributes:
        backbone: registry entry.
        correct: which images its probe gets right out of fold, bool [N].
        features: numbers per image, D.
        seconds_per_image: of the backbone alone, in batches, here and now.
        against_best: against the best backbone; None for that itself.
    """

    backbone: Backbone
    correct: np.ndarray
    features: int
    seconds_per_image: float
    against_best: Paired | None = None

    @property
    def accuracy(self) -> tuple[float, float, float]:
        """Cross-validated accuracy and its Wilson interval."""
        hits, n = int(self.correct.sum()), len(self.correct)
        return hits / n, *wilson(hits, n)

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
    """Backbones, the best first, and those that could not be tried with the reason.

    Attributes:
        n: images.
        classes: of them.
        places: the backbones.
        left_out: reasons by name.
    """

    n: int
    classes: int
    places: tuple[Place, ...]
    left_out: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        places = [place.to_json() for place in self.places]
        return {
            "n": self.n,
            "classes": self.classes,
            "backbones": places,
            "left_out": self.left_out,
        }


def leaderboard(
    source: str,
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

    Near copies stay in one fold, and the strength of each probe is chosen inside its training
    folds. Features are kept in the user's cache: a second call with the same images takes seconds.

    Args:
        source: images; parts that it gives are joined.
        backbones: names of the registry.
        image_size: side in pixels for all; None means each backbone's own.
        weights: imagenet, or random for what the architecture alone is worth.
        ood_images: name of a folder of out-of-distribution images next to the class folders.
        pixels: shape of the images in a table of pixels.
        seed: of the folds.
        offline: open no network connection.
        observer: told about the progress.

    Raises:
        UsageError: a backbone is unknown.
        DataError: the images cannot be used, or a class has too few.
        EnvironmentProblem: the weights of none of the backbones can be had.
    """
    observer = observer or SilentObserver()
    entries = [get_backbone(name) for name in dict.fromkeys(backbones)]
    if not entries:
        raise UsageError("no backbone is named", hint="--backbones vgg16,resnet50")
    observer.on_phase("audit", source)
    listing = read_source(
        source, ood_images=ood_images, pixels=pixels, offline=offline, observer=observer
    )
    catalog = _catalog(listing, observer)
    folds, random_weights = _folds(catalog, seed, observer), weights == "random"
    trial = _Trial(catalog, folds, image_size, random_weights, seed, offline, observer)
    places, left_out, reasons = [], {}, []
    for entry in entries:
        try:
            places.append(trial.place(entry))
        except (EnvironmentProblem, UsageError) as problem:
            reasons.append(problem.message)
            left_out[entry.name] = "; ".join(filter(None, (problem.message, problem.hint)))
            observer.on_message(f"{entry.name} is left out", level="warning")
    if not places:
        raise EnvironmentProblem(
            f"none of the backbones can be tried: {'; '.join(reasons)}",
            hint="tltool weights pull NAME, or tltool weights import NAME FILE",
        )
    return Leaderboard(len(catalog), len(catalog.class_names), _ranked(places), left_out)


def _catalog(listing: Listing, observer: Observer) -> Catalog:
    settings = DataSection()
    checked = audit(
        listing,
        on_bad=settings.on_bad,
        max_bad_fraction=settings.max_bad_fraction,
        max_pixels=settings.max_pixels,
        observer=observer,
    )
    return checked.catalog


def _folds(catalog: Catalog, seed: int, observer: Observer) -> np.ndarray:
    """Return the fold of every image, int64 [N]; copies and groups share one.

    Raises:
        DataError: a class is too small for two folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    labels = catalog.labels()
    groups = groups_of(catalog, find_duplicates(catalog, observer))
    count = min(_FOLDS, *(len(np.unique(groups[labels == label])) for label in np.unique(labels)))
    if count < 2:
        raise DataError(
            "every class needs at least 2 different images to be cross-validated",
            hint="add images to the small classes, or leave them out",
        )
    found = np.zeros(len(labels), np.int64)
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    for number, (_, held) in enumerate(splitter.split(labels, labels, groups)):
        found[held] = number
    return found


@dataclass(frozen=True)
class _Trial:
    """What is the same for every backbone."""

    catalog: Catalog
    folds: np.ndarray
    image_size: int | None
    random_weights: bool
    seed: int
    offline: bool
    observer: Observer

    def place(self, backbone: Backbone) -> Place:
        """Return what a backbone reaches."""
        self.observer.on_phase(backbone.name, f"{len(self.catalog)} images")
        found = extract_embeddings(
            self.catalog,
            backbone,
            image_size=self.image_size,
            resize=DataSection().resize,
            random_weights=self.random_weights,
            offline=self.offline,
            observer=self.observer,
        )
        correct = self._cross_validated(found.features)
        return Place(backbone, correct, found.features.shape[1], found.seconds_per_image)

    def _cross_validated(self, features: np.ndarray) -> np.ndarray:
        """Return which images are named right by the probe of the other folds, bool [N]."""
        labels, settings = self.catalog.labels(), ProbeSection()
        correct = np.zeros(len(labels), np.bool_)
        for fold in np.unique(self.folds):
            train, held = self.folds != fold, self.folds == fold
            probe = fit_probe(
                features[train],
                labels[train],
                classes=len(self.catalog.class_names),
                c_values=list(settings.c_values),
                folds=settings.folds,
                weights=None,
                seed=self.seed,
            )
            correct[held] = probe.logits(features[held]).argmax(axis=1) == labels[held]
        return correct


def _ranked(places: Sequence[Place]) -> tuple[Place, ...]:
    """Return the best first, each other compared with it."""
    best, *others = sorted(places, key=lambda place: (-place.correct.mean(), place.backbone.name))
    corrects = [place.correct for place in others]
    paired = against_first(best.correct, corrects, best_of_all=True)
    return (
        best,
        *(replace(place, against_best=one) for place, one in zip(others, paired, strict=True)),
    )
