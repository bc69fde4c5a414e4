"""Accuracy by slice: on images of a size, a brightness, a folder, a file type."""

from __future__ import annotations

import itertools
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.data.catalog import Catalog, Item
from tltool.evaluation.metrics.confidence_intervals import effective_sample_size, rate_of

OTHER_VALUES = "others"
_MOST_VALUES = 12  # of one property; the rarest are merged
_IMAGES_FOR_THIRDS = 30  # with fewer, halves
_SIGNIFICANT = 0.05


def accuracy_by_slice(
    images: Catalog, correct: NDArray[np.bool_], groups: NDArray[np.int64] | None = None
) -> list[dict[str, Any]]:
    """Return the accuracy on subsets of the images, by the properties that the audit recorded.

    Numbers are divided into thirds of the images (halves with fewer than 30). A property that is
    the same for all images is omitted.

    Args:
        images: N audited images.
        correct: bool [N], whether the prediction is correct.
        groups: number of the group of each image, int [N]; None where all are independent.

    Returns:
        ``[{by, value, n, accuracy: {value, low, high, rough}, worse}]``; ``worse`` says that the
        accuracy is significantly lower than on all other images: one-sided Fisher's exact test,
        5 %, Bonferroni-corrected for the number of slices. With groups the test counts effective
        images.
    """
    slices = [
        (by, value, np.array([each == value for each in values]))
        for by, values in _properties(images)
        for value in _ordered(by, values)
    ]
    return [
        {
            "by": by,
            "value": value,
            "n": int(mask.sum()),
            "accuracy": rate_of(correct[mask], None if groups is None else groups[mask]),
            "worse": _p_worse(correct, mask, groups) * len(slices) < _SIGNIFICANT,
        }
        for by, value, mask in slices
    ]


def _properties(images: Catalog) -> Iterator[tuple[str, list[str]]]:
    """Yield each property that differs between images, and its value for each image."""
    items = images.items
    values = {
        "image size": _thirds([min(item.width, item.height) for item in items], "px"),
        "brightness": _thirds([item.brightness for item in items], "of 255"),
        "sharpness": _thirds([item.sharpness for item in items]),
        "shape": [_shape(item) for item in items],
        "orientation": ["as stored" if i.orientation == 1 else "rotated by EXIF" for i in items],
        "file type": [item.format for item in items],
        "folder": _merged([_folder(item, images.root) for item in items]),
    }
    columns = dict.fromkeys(name for item in items for name, _ in item.columns)
    for name in columns:
        values[f"column {name}"] = _merged([dict(item.columns).get(name, "") for item in items])
    return ((by, each) for by, each in values.items() if len(set(each)) > 1)


def _thirds(numbers: Sequence[float], unit: str = "") -> list[str]:
    """Return for each number the third of the images that it falls into, as text with bounds."""
    parts = 3 if len(numbers) >= _IMAGES_FOR_THIRDS else 2
    bounds = np.quantile(numbers, np.arange(1, parts) / parts, method="inverted_cdf")
    # a bound equal to the minimum would leave an empty slice
    edges = [float(f"{bound:.3g}") for bound in np.unique(bounds) if bound > min(numbers)]
    texts = _interval_texts(edges, unit)
    return [texts[int(np.searchsorted(edges, number, side="right"))] for number in numbers]


def _interval_texts(edges: Sequence[float], unit: str) -> list[str]:
    if not edges:
        return ["all"]
    numbers = [f"{edge:g}" for edge in edges]
    between = [f"{a} to {b}" for a, b in itertools.pairwise(numbers)]
    parts = [f"under {numbers[0]}", *between, f"from {numbers[-1]}"]
    return [f"{part} {unit}".strip() for part in parts]


def _shape(item: Item) -> str:
    ratio = item.width / max(1, item.height)
    return "portrait" if ratio < 0.9 else "landscape" if ratio > 1 / 0.9 else "square"


def _folder(item: Item, root: PurePath) -> str:
    """Return the folder of an image below that of its class, "" for the class folder itself."""
    path = item.path.relative_to(root) if item.path.is_relative_to(root) else item.path
    parts = [unicodedata.normalize("NFC", part) for part in path.parent.parts]
    below = parts[parts.index(item.label) + 1 :] if item.label in parts else parts
    return "/".join(below)


def _merged(values: list[str]) -> list[str]:
    """Merge the rarest of many values; a value that is unique to most images is no property."""
    counts = Counter(values)
    if len(counts) <= _MOST_VALUES:
        return [value or "(none)" for value in values]
    if len(counts) > len(values) / 2:
        return ["all"] * len(values)
    kept = {value for value, _ in counts.most_common(_MOST_VALUES - 1)}
    return [(value or "(none)") if value in kept else OTHER_VALUES for value in values]


def _ordered(by: str, values: Sequence[str]) -> list[str]:
    """Return the distinct values: numbers in ascending order, names by descending frequency."""
    if by in ("image size", "brightness", "sharpness"):
        rank = {"under": 0, "from": 2}
        return sorted(set(values), key=lambda value: rank.get(value.split()[0], 1))
    return [value for value, _ in Counter(sorted(values)).most_common()]


def _p_worse(
    correct: NDArray[np.bool_], mask: NDArray[np.bool_], groups: NDArray[np.int64] | None
) -> float:
    """Return the p-value of the hypothesis that the slice is no worse than the other images."""
    from scipy.stats import fisher_exact

    table = [
        _counts(correct[part], None if groups is None else groups[part]) for part in (mask, ~mask)
    ]
    return float(fisher_exact(table, alternative="less").pvalue)


def _counts(correct: NDArray[np.bool_], groups: NDArray[np.int64] | None) -> tuple[int, int]:
    """Return the number of correct and of wrong images, both in effective images of the groups."""
    n, right = len(correct), int(correct.sum())
    if groups is None or not n:
        return right, n - right
    share = effective_sample_size(correct, groups) / n
    return round(right * share), round((n - right) * share)
