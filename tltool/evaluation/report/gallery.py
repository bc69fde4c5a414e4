"""Which images a report shows, and their small copies."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.data.splits.split import shown_path
from tltool.evaluation.metrics.predictions import LabelledPredictions
from tltool.evaluation.report.thumbnails import as_uri, small_copy

WORST = 12  # mistakes that are shown large
WORST_SIDE, _SIDE = 224, 128  # pixels
_MISTAKES, _PHOTOS = 160, 320  # at most, of all images behind the confusion matrix


def worst_mistakes(evaluated: LabelledPredictions, most: int = WORST) -> list[int]:
    """Return the numbers of the images that are wrong, the least probable truth first."""
    labels = evaluated.photos.labels()
    rows = np.arange(len(labels))
    wrong = np.flatnonzero(evaluated.probabilities.argmax(axis=1) != labels)
    truth = evaluated.probabilities[rows, labels][wrong]
    return [int(n) for n in wrong[np.argsort(truth, kind="stable")][:most]]


def gallery_images(evaluated: LabelledPredictions) -> list[int]:
    """Return which images a reader can look at: the worst mistakes, and some right ones per class.

    Of the right ones the least certain come first; they teach more.
    """
    labels = evaluated.photos.labels()
    found = worst_mistakes(evaluated, _MISTAKES)
    right = np.flatnonzero(evaluated.probabilities.argmax(axis=1) == labels)
    order = right[np.argsort(evaluated.probabilities.max(axis=1)[right], kind="stable")]
    rank = _rank_in_class(labels[order])
    fair = order[np.argsort(rank, kind="stable")]  # the first of each class, then the second …
    return [*found, *(int(n) for n in fair[: _PHOTOS - len(found)])]


def image_cards(evaluated: LabelledPredictions, numbers: Sequence[int]) -> list[dict[str, Any]]:
    """Return name, classes, confidence and small copy of images, for the page's script."""
    items = evaluated.photos.items
    sources = pictures([items[number].path for number in numbers])
    return [_card(evaluated, *pair) for pair in zip(numbers, sources, strict=True)]


def large_card(evaluated: LabelledPredictions, number: int) -> dict[str, Any]:
    """Return the same of one image with a larger copy."""
    return _card(evaluated, number, _picture(evaluated.photos.items[number].path, WORST_SIDE))


def pictures(paths: Sequence[Path]) -> list[str | None]:
    """Return small copies as addresses, None for images that Pillow cannot read."""
    with ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, 8)) as pool:
        return list(pool.map(lambda path: _picture(path, _SIDE), paths))


def _picture(path: Path, side: int) -> str | None:
    image = small_copy(path, side)
    return None if image is None else as_uri(image, quality=74)


def _card(evaluated: LabelledPredictions, number: int, source: str | None) -> dict[str, Any]:
    photos, row = evaluated.photos, evaluated.probabilities[number]
    item = photos.items[number]
    return {
        "name": shown_path(item.path, photos.root),
        "label": photos.class_names.index(item.label),
        "predicted": int(row.argmax()),
        "confidence": round(float(row.max()), 4),
        "source": source,
    }


def _rank_in_class(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the how-manieth of its class each is, int64 [N]."""
    ranks = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        where = np.flatnonzero(labels == label)
        ranks[where] = np.arange(len(where))
    return ranks
