"""Precision, recall and F1 of a confusion matrix, per class and averaged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.evaluation.metrics.class_rates import (
    RATES,
    ClassRates,
    GroupedPredictions,
    resample_averages,
)
from tltool.evaluation.metrics.confidence_intervals import (
    bootstrap_interval,
    interval_of_mean,
    wilson_interval,
)
from tltool.evaluation.metrics.confusion_matrix import ConfusionMatrix
from tltool.evaluation.metrics.paired_tests import holm
from tltool.evaluation.metrics.sample_sizes import is_rough

Floats = NDArray[np.floating[Any]]

ALPHA = 0.05


def confusion_matrix_metrics(
    matrix: ConfusionMatrix, class_names: Sequence[str], grouped: GroupedPredictions | None = None
) -> dict[str, Any]:
    """Return the metrics of a confusion matrix.

    Args:
        matrix: counts of at least one image.
        class_names: the C names.
        grouped: the images of the matrix, where they are not independent.

    Returns:
        ``balanced_accuracy`` ``{value, low, high, rough}``; ``macro`` and ``weighted`` (by class
        size) averages of precision, recall and F1 with their ``…_interval`` and ``…_rough``, over
        the classes that have images; ``per_class``; ``absent_classes``, those without images;
        ``not_above_chance``, the classes whose recall is not significantly above chance (corrected
        for the number of classes), and ``needs_more_images``, those of which more images would make
        the test conclusive.
    """
    rates = ClassRates.of(matrix)
    drawn = resample_averages(matrix, grouped)
    sizes = _sizes(matrix, grouped)
    rows = [
        _class_row(name, matrix, number, sizes[number]) for number, name in enumerate(class_names)
    ]
    _test_against_chance(rows, matrix)
    own = [size["recall"] for size in sizes if size["recall"]]
    balanced_size = len(own) ** 2 / sum(1 / size for size in own)
    macro = _averages(rates, drawn, balanced_size, weighted=False)
    macro = _with_class_intervals(macro, rows)
    size = float(matrix.total) if grouped is None else grouped.size()
    low, high = macro["recall_interval"]
    return {
        "balanced_accuracy": {
            "value": macro["recall"],
            "low": low,
            "high": high,
            "rough": macro["recall_rough"],
        },
        "macro": macro,
        "weighted": _averages(rates, drawn, size, weighted=True),
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
            rare = row
            if row["support"] > total - row["support"]:
                others = [one for one in rows if one is not row and one["support"]]
                rare = min(others, key=lambda one: one["support"])
            names.append(rare["name"])
    return list(dict.fromkeys(names))


def _averages(
    rates: ClassRates, drawn: dict[tuple[str, bool], Floats], size: float, *, weighted: bool
) -> dict[str, Any]:
    """Return the averages; each interval contains the bootstrap's and Wilson's of ``size``."""
    averages: dict[str, Any] = {}
    for name in RATES:
        value = float(rates.average(name, weighted=weighted)[0])
        low, high = wilson_interval(value * size, size)
        replicates = bootstrap_interval(value, drawn[name, weighted])
        if replicates is not None:
            low, high = min(low, replicates[0]), max(high, replicates[1])
        averages[name] = value
        averages[f"{name}_interval"] = [min(low, value), max(high, value)]
        averages[f"{name}_rough"] = is_rough(size)
    return averages


def _with_class_intervals(macro: dict[str, Any], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return macro averages with intervals that account for classes with few images.

    If both images of a class of two are correct, they are in every bootstrap replicate too. The
    recalls of different classes are independent, so their intervals give that of the mean; each
    bound is the wider of that one and the given one.
    """
    averages = dict(macro)
    present = [row for row in rows if row["support"]]
    for name in RATES:
        pairs = [  # the precision of a class never predicted counts as 0
            (row[name] or 0.0, row[f"{name}_interval"] or (0.0, 0.0)) for row in present
        ]
        low, high = interval_of_mean([pair[0] for pair in pairs], [pair[1] for pair in pairs])
        given = macro[f"{name}_interval"]
        averages[f"{name}_interval"] = [min(low, given[0]), max(high, given[1])]
    return averages


def _sizes(matrix: ConfusionMatrix, grouped: GroupedPredictions | None) -> list[dict[str, float]]:
    """Return the number of independent images behind recall, precision and F1 of each class."""
    if grouped is not None:
        return [grouped.sizes(number) for number in range(matrix.classes)]
    either = matrix.support + matrix.predicted_as - matrix.hits
    columns = (matrix.support, matrix.predicted_as, either)
    return [
        {"recall": float(own), "precision": float(predicted), "f1": float(both)}
        for own, predicted, both in zip(*columns, strict=True)
    ]


def _class_row(
    name: str, matrix: ConfusionMatrix, index: int, sizes: dict[str, float]
) -> dict[str, Any]:
    hits, support, predicted = (
        int(each[index]) for each in (matrix.hits, matrix.support, matrix.predicted_as)
    )
    counts = {"precision": predicted, "recall": support, "f1": support + predicted - hits}
    row: dict[str, Any] = {"name": name}
    for rate, count in counts.items():
        size = sizes[rate]
        share = hits / count if count else None
        interval = None if share is None else list(wilson_interval(share * size, size))
        if rate == "f1":  # a function of the share of hits among images of either kind
            share = None if share is None else _f1_of_jaccard(share)
            interval = interval and [_f1_of_jaccard(bound) for bound in interval]
        row[rate] = share
        row[f"{rate}_interval"] = interval
        row[f"{rate}_rough"] = bool(count) and is_rough(size)
    return {
        **row,
        "support": support,
        "correct": hits,
        # the expected recall if predictions were independent of the images
        "chance": predicted / matrix.total,
    }


def _test_against_chance(rows: Sequence[dict[str, Any]], matrix: ConfusionMatrix) -> None:
    """Add to each row whether the recall is significantly above chance, as ``above_chance``.

    Fisher's exact test (1935), one-sided, with Holm's correction for all tested classes, so that a
    model that guesses clears any class in at most 5 % of cases. With two classes both tests are
    the same. It is None without images of the class, or without images of other classes.
    """
    from scipy.stats import hypergeom

    hits, supports, predicted = matrix.hits, matrix.support, matrix.predicted_as
    total = matrix.total
    tested = [number for number, support in enumerate(supports) if support not in (0, total)]
    p_values = hypergeom.sf(hits - 1, total, supports, predicted)[tested].tolist()
    adjusted = p_values if len(rows) == 2 else holm(p_values)
    above = dict(zip(tested, adjusted, strict=True))
    for number, row in enumerate(rows):
        row["above_chance"] = above[number] < ALPHA if number in above else None


def _f1_of_jaccard(jaccard: float) -> float:
    """Return the F1 score for a Jaccard index: hits / (images of the class or predicted as it)."""
    return 2 * jaccard / (1 + jaccard)
