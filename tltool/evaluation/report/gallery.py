"""Which images a report shows, and their thumbnails."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.data.splits.split import shown_path
from tltool.evaluation.metrics.labelled_predictions import LabelledPredictions
from tltool.evaluation.report.thumbnails import data_uri, thumbnail

WORST = 12  # errors that are shown large
WORST_SIDE, _SIDE = 224, 128  # pixels
_MOST_ERRORS, _MOST_IMAGES = 160, 320  # of all images behind the confusion matrix


def worst_errors(predictions: LabelledPredictions, most: int = WORST) -> list[int]:
    """Return the numbers of misclassified images, by ascending probability of the true class."""
    labels = predictions.images.labels()
    rows = np.arange(len(labels))
    wrong = np.flatnonzero(predictions.probabilities.argmax(axis=1) != labels)
    true_probability = predictions.probabilities[rows, labels][wrong]
    return [int(n) for n in wrong[np.argsort(true_probability, kind="stable")][:most]]


def gallery_images(predictions: LabelledPredictions) -> list[int]:
    """Return the numbers of the images that the page contains.

    These are the worst errors and, of each class, the correct images of lowest confidence.
    """
    labels = predictions.images.labels()
    errors = worst_errors(predictions, _MOST_ERRORS)
    correct = np.flatnonzero(predictions.probabilities.argmax(axis=1) == labels)
    confidence = predictions.probabilities.max(axis=1)[correct]
    order = correct[np.argsort(confidence, kind="stable")]
    rank = _rank_in_class(labels[order])
    balanced = order[np.argsort(rank, kind="stable")]  # the first of each class, then the second …
    return [*errors, *(int(n) for n in balanced[: _MOST_IMAGES - len(errors)])]


def image_cards(predictions: LabelledPredictions, numbers: Sequence[int]) -> list[dict[str, Any]]:
    """Return name, classes, confidence and thumbnail of images, for the page's script."""
    items = predictions.images.items
    sources = thumbnail_uris([items[number].path for number in numbers])
    return [_card(predictions, *pair) for pair in zip(numbers, sources, strict=True)]


def large_card(predictions: LabelledPredictions, number: int) -> dict[str, Any]:
    """Return the same for one image with a larger thumbnail."""
    source = _thumbnail_uri(predictions.images.items[number].path, WORST_SIDE)
    return _card(predictions, number, source)


def thumbnail_uris(paths: Sequence[Path]) -> list[str | None]:
    """Return thumbnails as ``data:`` URIs, None for images that Pillow cannot read."""
    with ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, 8)) as pool:
        return list(pool.map(lambda path: _thumbnail_uri(path, _SIDE), paths))


def _thumbnail_uri(path: Path, side: int) -> str | None:
    image = thumbnail(path, side)
    return None if image is None else data_uri(image, quality=74)


def _card(predictions: LabelledPredictions, number: int, source: str | None) -> dict[str, Any]:
    images, row = predictions.images, predictions.probabilities[number]
    item = images.items[number]
    return {
        "name": shown_path(item.path, images.root),
        "label": images.class_names.index(item.label),
        "predicted": int(row.argmax()),
        "confidence": round(float(row.max()), 4),
        "source": source,
    }


def _rank_in_class(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the position of each image within its class, int64 [N]."""
    ranks = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        where = np.flatnonzero(labels == label)
        ranks[where] = np.arange(len(where))
    return ranks
