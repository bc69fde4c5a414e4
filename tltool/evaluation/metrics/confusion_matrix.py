"""The confusion matrix and its metrics: precision, recall and F1, per class and averaged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.evaluation.metrics.confidence_intervals import (
    REPLICATES,
    bootstrap_interval,
    interval_of_mean,
    wilson_interval,
)
from tltool.evaluation.metrics.paired_tests import holm

Integers = NDArray[np.integer[Any]]
Floats = NDArray[np.floating[Any]]

ALPHA = 0.05
RATES = ("precision", "recall", "f1")
_AT_ONCE = 2_000_000  # counts drawn per step, which bounds the memory


def confusion_matrix(labels: Integers, predicted: Integers, *, classes: int) -> Integers:
    """Count the pairs (true, predicted): int64 [C, C], rows are the true classes."""
    pairs = labels.astype(np.int64) * classes + predicted
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def confusion_matrix_metrics(matrix: Integers, class_names: Sequence[str]) -> dict[str, Any]:
    """Return the metrics of a confusion matrix.

    Args:
        matrix: int [C, C], rows are the true classes; at least one image.
        class_names: the C names.

    Returns:
        ``balanced_accuracy`` ``{value, low, high}``; ``macro`` and ``weighted`` (by class size)
        averages of precision, recall and F1 with their ``…_interval``, over the classes that have
        images; ``per_class``; ``absent_classes``, those without images; ``not_above_chance``, the
        classes whose recall is not significantly above chance (corrected for the number of
        classes), and ``needs_more_images``, those of which more images would make the test
        conclusive.
    """
    rates = _Rates.of(matrix[None])
    drawn = _resample(matrix)
    rows = [_class_row(name, matrix, number) for number, name in enumerate(class_names)]
    _test_against_chance(rows, matrix)
    macro = _with_class_intervals(_averages(rates, drawn, weighted=False), rows)
    low, high = macro["recall_interval"]
    return {
        "balanced_accuracy": {"value": macro["recall"], "low": low, "high": high},
        "macro": macro,
        "weighted": _averages(rates, drawn, weighted=True),
        "per_class": rows,
        "absent_classes": [row["name"] for row in rows if not row["support"]],
        "not_above_chance": [row["name"] for row in rows if row["above_chance"] is False],
        "needs_more_images": _needs_more_images(rows),
    }


def _needs_more_images(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the classes with too few images for the test against chance.

    That is each class not above chance; where it has more images than all others together, it is
    the rarest of the others.
    """
    total = sum(row["support"] for row in rows)
    names = []
    for row in rows:
        if row["above_chance"] is False:
            others = [one for one in rows if one is not row and one["support"]]
            majority = row["support"] > total - row["support"]
            rare = min(others, key=lambda one: one["support"]) if majority else row
            names.append(rare["name"])
    return list(dict.fromkeys(names))


class _Rates:
    """Precision, recall and F1 of each class in B confusion matrices; NaN where undefined.

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
        """Return the mean over the classes with images, float64 [B]; undefined counts as 0."""
        values = np.nan_to_num(getattr(self, name))
        weights = self.support if weighted else (self.support > 0)
        return np.asarray((values * weights).sum(axis=1) / weights.sum(axis=1))


def _resample(matrix: Integers) -> _Rates:
    """Return the rates of bootstrap replicates of the matrix.

    A replicate is multinomial over the non-empty cells, so images need not be drawn one by one.
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
            _sum_by_class(counts[:, mask], where[mask], classes)
            for mask, where in (
                (true == predicted, true),
                (true >= 0, true),
                (true >= 0, predicted),
            )
        ]
        parts.append(totals)
    hits, support, predicted_counts = (np.concatenate(part) for part in zip(*parts, strict=True))
    return _Rates(hits, support, predicted_counts)


def _sum_by_class(counts: Integers, where: Integers, classes: int) -> Integers:
    """Sum columns of counts [B, K] by the class ``where`` [K] of each: int64 [B, C]."""
    sums = np.zeros((classes, len(counts)), np.int64)
    np.add.at(sums, where, counts.T)
    return sums.T


def _averages(rates: _Rates, drawn: _Rates, *, weighted: bool) -> dict[str, Any]:
    averages: dict[str, Any] = {}
    n = int(rates.support.sum())
    for name in RATES:
        value = float(rates.average(name, weighted=weighted)[0])
        averages[name] = value
        replicates = drawn.average(name, weighted=weighted)
        averages[f"{name}_interval"] = bootstrap_interval(value, replicates, n=n)
    return averages


def _with_class_intervals(macro: dict[str, Any], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return macro averages with intervals that account for classes with few images.

    If both images of a class of two are correct, they are in every bootstrap replicate too. The
    recalls of different classes are independent, so their intervals give that of the mean.
    Precisions and F1 scores are not independent; there each bound is the wider of that one and the
    bootstrap's.
    """
    averages = dict(macro)
    present = [row for row in rows if row["support"]]
    for name in RATES:
        pairs = [  # the precision of a class never predicted counts as 0
            (row[name] or 0.0, row[f"{name}_interval"] or (0.0, 0.0)) for row in present
        ]
        low, high = interval_of_mean([pair[0] for pair in pairs], [pair[1] for pair in pairs])
        drawn = None if name == "recall" else macro[f"{name}_interval"]
        if drawn is not None:
            low, high = min(low, drawn[0]), max(high, drawn[1])
        averages[f"{name}_interval"] = [min(low, macro[name]), max(high, macro[name])]
    return averages


def _class_row(name: str, matrix: Integers, index: int) -> dict[str, Any]:
    hits = int(matrix[index, index])
    support, predicted = int(matrix[index].sum()), int(matrix[:, index].sum())
    either = support + predicted - hits  # images of the class or predicted as it
    total = int(matrix.sum())
    return {
        "name": name,
        "precision": hits / predicted if predicted else None,
        "precision_interval": list(wilson_interval(hits, predicted)) if predicted else None,
        "recall": hits / support if support else None,
        "recall_interval": list(wilson_interval(hits, support)) if support else None,
        "f1": 2 * hits / (support + predicted) if either else None,
        "f1_interval": [_f1_of_jaccard(share) for share in wilson_interval(hits, either)]
        if either
        else None,
        "support": support,
        # the expected recall if predictions were independent of the images
        "chance": predicted / total,
    }


def _test_against_chance(rows: Sequence[dict[str, Any]], matrix: Integers) -> None:
    """Add to each row whether the recall is significantly above chance, as ``above_chance``.

    Fisher's exact test (1935), one-sided, with Holm's correction for all tested classes, so that a
    model that guesses clears any class in at most 5 % of cases. With two classes both tests are
    the same. It is None without images of the class, or without images of other classes.
    """
    from scipy.stats import hypergeom

    hits, supports, predicted = matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0)
    total = int(matrix.sum())
    tested = [number for number, support in enumerate(supports) if support not in (0, total)]
    p_values = hypergeom.sf(hits - 1, total, supports, predicted)[tested].tolist()
    adjusted = p_values if len(rows) == 2 else holm(p_values)
    above = dict(zip(tested, adjusted, strict=True))
    for number, row in enumerate(rows):
        row["above_chance"] = above[number] < ALPHA if number in above else None


def _f1_of_jaccard(jaccard: float) -> float:
    """Return the F1 score for a Jaccard index: hits / (images of the class or predicted as it)."""
    return 2 * jaccard / (1 + jaccard)
