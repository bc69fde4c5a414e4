"""Where does it fail: the accuracy on images of a size, a brightness, a folder, a file type."""

from __future__ import annotations

import itertools
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.data.catalog import Catalog, Item
from tltool.evaluation.metrics.intervals import wilson

OTHERS = "others"
_VALUES_AT_MOST = 12  # of one property; the rarest come together
_IMAGES_FOR_THIRDS = 30  # with fewer, halves
_SIGNIFICANT = 0.05


def sliced(photos: Catalog, correct: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Return the accuracy on parts of the images, by what the audit knows of them.

    Numbers are cut into thirds of the images (halves with fewer than 30). A property that is the
    same for all images is left out.

    Args:
        images: N audited images.
        correct: bool [N], whether the model named each right.

    Returns:
        ``[{by, value, n, accuracy: {value, low, high}, worse}]``; ``worse`` says that the accuracy
        is lower than on all other images by more than chance explains: one-sided Fisher's exact
        test, Bonferroni-corrected for the number of slices, 5 %.
    """
    parts = [
        (by, value, np.array([each == value for each in values]))
        for by, values in _properties(photos)
        for value in _in_order(by, values)
    ]
    return [
        {
            "by": by,
            "value": value,
            "n": int(mask.sum()),
            "accuracy": _rate(correct[mask]),
            "worse": _worse(correct, mask) * len(parts) < _SIGNIFICANT,
        }
        for by, value, mask in parts
    ]


def _properties(photos: Catalog) -> Iterator[tuple[str, list[str]]]:
    """Yield each property that differs between images, and its value for each image."""
    items = photos.items
    values = {
        "image size": _thirds([min(item.width, item.height) for item in items], "px"),
        "brightness": _thirds([item.brightness for item in items], "of 255"),
        "sharpness": _thirds([item.sharpness for item in items]),
        "shape": [_shape(item) for item in items],
        "orientation": ["as stored" if i.orientation == 1 else "turned by EXIF" for i in items],
        "file type": [item.format for item in items],
        "folder": _pooled([_folder(item, photos.root) for item in items]),
    }
    columns = dict.fromkeys(name for item in items for name, _ in item.columns)
    for name in columns:
        values[f"column {name}"] = _pooled([dict(item.columns).get(name, "") for item in items])
    return ((by, found) for by, found in values.items() if len(set(found)) > 1)


def _thirds(numbers: Sequence[float], unit: str = "") -> list[str]:
    """Return for each number in which third of the images it lies, as text with the bounds."""
    parts = 3 if len(numbers) >= _IMAGES_FOR_THIRDS else 2
    bounds = np.quantile(numbers, np.arange(1, parts) / parts, method="inverted_cdf")
    # a bound that many images share would cut nothing off
    edges = [float(f"{bound:.3g}") for bound in np.unique(bounds) if bound > min(numbers)]
    texts = _texts(edges, unit)
    return [texts[int(np.searchsorted(edges, number, side="right"))] for number in numbers]


def _texts(edges: Sequence[float], unit: str) -> list[str]:
    if not edges:
        return ["all"]
    told = [f"{edge:g}" for edge in edges]
    between = [f"{a} to {b}" for a, b in itertools.pairwise(told)]
    parts = [f"under {told[0]}", *between, f"from {told[-1]}"]
    return [f"{part} {unit}".strip() for part in parts]


def _shape(item: Item) -> str:
    ratio = item.width / max(1, item.height)
    return "upright" if ratio < 0.9 else "wide" if ratio > 1 / 0.9 else "square"


def _folder(item: Item, root: PurePath) -> str:
    """Return the folder of an image below that of its class, "" for the latter itself."""
    path = item.path.relative_to(root) if item.path.is_relative_to(root) else item.path
    parts = [unicodedata.normalize("NFC", part) for part in path.parent.parts]
    below = parts[parts.index(item.label) + 1 :] if item.label in parts else parts
    return "/".join(below)


def _pooled(values: list[str]) -> list[str]:
    """Bring the rarest of many values together; one for almost every image is no property."""
    counts = Counter(values)
    if len(counts) <= _VALUES_AT_MOST:
        return [value or "(none)" for value in values]
    if len(counts) > len(values) / 2:
        return ["all"] * len(values)
    kept = {value for value, _ in counts.most_common(_VALUES_AT_MOST - 1)}
    return [(value or "(none)") if value in kept else OTHERS for value in values]


def _in_order(by: str, values: Sequence[str]) -> list[str]:
    """Return the different values: numbers from small to large, names from frequent to rare."""
    if by in ("image size", "brightness", "sharpness"):
        rank = {"under": 0, "from": 2}
        return sorted(set(values), key=lambda value: rank.get(value.split()[0], 1))
    return [value for value, _ in Counter(sorted(values)).most_common()]


def _rate(correct: NDArray[np.bool_]) -> Mapping[str, float]:
    hits, n = int(correct.sum()), len(correct)
    low, high = wilson(hits, n)
    return {"value": hits / n, "low": low, "high": high}


def _worse(correct: NDArray[np.bool_], mask: NDArray[np.bool_]) -> float:
    """Return the p-value of "no less often right than the other photos"."""
    from scipy.stats import fisher_exact

    inside, outside = correct[mask], correct[~mask]
    table = [[inside.sum(), (~inside).sum()], [outside.sum(), (~outside).sum()]]
    return float(fisher_exact(table, alternative="less").pvalue)
