"""Everything that the confusion matrix says: per class, averaged, and against chance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.evaluation.metrics.intervals import (
    REPLICATES,
    bootstrap_interval,
    interval_of_mean,
    wilson,
)

Integers = NDArray[np.integer[Any]]
Floats = NDArray[np.floating[Any]]

ALPHA = 0.05
RATES = ("precision", "recall", "f1")
_AT_ONCE = 2_000_000  # counts drawn per step, which bounds the memory


def confusion_matrix(labels: Integers, predicted: Integers, *, classes: int) -> Integers:
    """Count the pairs (true, predicted): int64 [C, C], rows are the true classes."""
    pairs = labels.astype(np.int64) * classes + predicted
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def matrix_figures(matrix: Integers, class_names: Sequence[str]) -> dict[str, Any]:
    """Return what follows from a confusion matrix alone.

    Args:
        matrix: int [C, C], rows are the true classes; at least one image.
        class_names: the C names.

    Returns:
        ``balanced_accuracy`` ``{value, low, high}``; ``macro`` and ``weighted`` (by images) means
        of precision, recall and F1 with their ``…_interval``, over the classes that have images;
        ``per_class``; ``absent_classes`` without images; ``not_above_chance``, and in
        ``rarest_of_these`` the classes of which more images would decide that.
    """
    rates = _Rates.of(matrix[None])
    drawn = _resampled(matrix)
    rows = [_class_row(name, matrix, number) for number, name in enumerate(class_names)]
    macro = _of_classes(_averages(rates, drawn, weighted=False), rows)
    low, high = macro["recall_interval"]
    return {
        "balanced_accuracy": {"value": macro["recall"], "low": low, "high": high},
        "macro": macro,
        "weighted": _averages(rates, drawn, weighted=True),
        "per_class": rows,
        "absent_classes": [row["name"] for row in rows if not row["support"]],
        "not_above_chance": [row["name"] for row in rows if row["above_chance"] is False],
        "rarest_of_these": _rarest(rows),
    }


def _rarest(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return what there is too little of: a class not above chance, or the rarest beside it.

    Of a class with more images than all others together the others leave it open.
    """
    total = sum(row["support"] for row in rows)
    found = []
    for row in rows:
        if row["above_chance"] is False:
            others = [one for one in rows if one is not row and one["support"]]
            common = row["support"] > total - row["support"]
            rare = min(others, key=lambda one: one["support"]) if common else row
            found.append(rare["name"])
    return list(dict.fromkeys(found))


class _Rates:
    """Rates of each class in B confusion matrices; NaN without a denominator.

    Attributes:
        support: images of each class, int [B, C].
        precision: float64 [B, C]; so are recall and f1.
    """

    def __init__(self, hits: Integers, support: Integers, predicted: Integers) -> None:
        self.support = support
        with np.errstate(divide="ignore", invalid="ignore"):
            self.precision = hits / predicted
            self.recall = hits / support
            self.f1 = 2 * hits / (support + predicted)

    @classmethod
    def of(cls, matrices: Integers) -> _Rates:
        """Return the rates of matrices [B, C, C]."""
        hits = matrices.diagonal(axis1=1, axis2=2)
        return cls(hits, matrices.sum(axis=2), matrices.sum(axis=1))

    def average(self, name: str, *, weighted: bool) -> Floats:
        """Return the mean over the classes with images, float64 [B]; never predicted is 0."""
        values = np.nan_to_num(getattr(self, name))
        weights = self.support if weighted else (self.support > 0)
        return np.asarray((values * weights).sum(axis=1) / weights.sum(axis=1))


def _resampled(matrix: Integers) -> _Rates:
    """Return the rates of matrices of images drawn with replacement.

    Such a matrix is multinomial over the cells that are not empty, so no image need be drawn.
    """
    true, predicted = np.nonzero(matrix)
    cells = matrix[true, predicted]
    n, classes = int(cells.sum()), len(matrix)
    random = np.random.default_rng(0)
    step = max(1, _AT_ONCE // max(len(cells), classes))
    parts = []
    for start in range(0, REPLICATES, step):
        rows = min(step, REPLICATES - start)
        counts = random.multinomial(n, cells / n, size=rows)
        totals = [
            _summed(counts[:, mask], where[mask], classes)
            for mask, where in (
                (true == predicted, true),
                (true >= 0, true),
                (true >= 0, predicted),
            )
        ]
        parts.append(totals)
    hits, support, named = (np.concatenate(part) for part in zip(*parts, strict=True))
    return _Rates(hits, support, named)


def _summed(counts: Integers, where: Integers, classes: int) -> Integers:
    """Add up columns of counts [B, K] by the class ``where`` [K] of each: int64 [B, C]."""
    found = np.zeros((classes, len(counts)), np.int64)
    np.add.at(found, where, counts.T)
    return found.T


def _averages(rates: _Rates, drawn: _Rates, *, weighted: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    n = int(rates.support.sum())
    for name in RATES:
        value = float(rates.average(name, weighted=weighted)[0])
        found[name] = value
        replicates = drawn.average(name, weighted=weighted)
        found[f"{name}_interval"] = bootstrap_interval(value, replicates, n=n)
    return found


def _of_classes(macro: dict[str, Any], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return macro means whose intervals know of the classes with few images.

    A class of two images that are both right is right in every replicate too. Recalls are of
    different images, so their intervals make that of the mean. Precisions and F1s share images;
    there the wider of that and the bootstrap stands at each end.
    """
    found = dict(macro)
    for name in RATES:
        there = [row for row in rows if row["support"]]
        pairs = [
            (row[name] or 0.0, row[f"{name}_interval"] or (0.0, 0.0))  # never named: 0 as it is
            for row in there
        ]
        low, high = interval_of_mean([pair[0] for pair in pairs], [pair[1] for pair in pairs])
        drawn = None if name == "recall" else macro[f"{name}_interval"]
        if drawn is not None:
            low, high = min(low, drawn[0]), max(high, drawn[1])
        found[f"{name}_interval"] = [min(low, macro[name]), max(high, macro[name])]
    return found


def _class_row(name: str, matrix: Integers, index: int) -> dict[str, Any]:
    hits = int(matrix[index, index])
    support, predicted = int(matrix[index].sum()), int(matrix[:, index].sum())
    either = support + predicted - hits  # images that are of the class, or named so
    total = int(matrix.sum())
    return {
        "name": name,
        "precision": hits / predicted if predicted else None,
        "precision_interval": list(wilson(hits, predicted)) if predicted else None,
        "recall": hits / support if support else None,
        "recall_interval": list(wilson(hits, support)) if support else None,
        "f1": 2 * hits / (support + predicted) if either else None,
        "f1_interval": [_f1(share) for share in wilson(hits, either)] if either else None,
        "support": support,
        # what the recall would be if the answers had nothing to do with the images
        "chance": predicted / total,
        "above_chance": _above_chance(hits, support, predicted, total),
    }


def _above_chance(hits: int, support: int, predicted: int, total: int) -> bool | None:
    """Return whether images of a class are named so more often than others (Fisher 1935).

    None without images of the class, or of others.
    """
    from scipy.stats import hypergeom

    if support in (0, total):
        return None
    return bool(hypergeom.sf(hits - 1, total, support, predicted) < ALPHA)


def _f1(share: float) -> float:
    """Return F1 of the share of hits among images of a class or named so (the Jaccard index)."""
    return 2 * share / (1 + share)
