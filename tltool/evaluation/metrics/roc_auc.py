"""One-vs-rest ROC-AUC and average precision of each class."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.evaluation.metrics.confidence_intervals import (
    affordable_replicates,
    bootstrap,
    bootstrap_interval,
)

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]

METRICS = ("roc_auc", "average_precision")


def one_vs_rest(scores: Floats, positive: NDArray[np.bool_], weights: Floats | Integers) -> Floats:
    """Return ROC-AUC and average precision of one class for many weightings of the same items.

    Equal scores are one step: half a point each for the AUC, as in the Mann-Whitney statistic, and
    one threshold for the average precision, as in scikit-learn.

    Args:
        scores: float [N], higher means more likely of the class.
        positive: bool [N], whether the item belongs to the class.
        weights: [B, N], the count of each item.

    Returns:
        float64 [B, 2]; NaN in a row whose weights leave no positive or no negative item.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    counts = weights[:, order].astype(np.float64)
    hits = np.add.reduceat(counts * positive[order], starts, axis=1)  # [B, distinct scores]
    misses = np.add.reduceat(counts, starts, axis=1) - hits
    true, false = hits.cumsum(axis=1), misses.cumsum(axis=1)
    positives, negatives = true[:, -1], false[:, -1]
    with np.errstate(divide="ignore", invalid="ignore"):
        auc = (misses * (true - hits / 2)).sum(axis=1) / (positives * negatives)
        precision = np.nan_to_num(true / (true + false))
        average = np.where(negatives > 0, (hits * precision).sum(axis=1) / positives, np.nan)
    return np.stack([auc, average], axis=1)


def ranking_metrics(probabilities: Floats, labels: Integers) -> tuple[dict[str, Any], list[Any]]:
    """Return macro averages, and the metrics of each class, with bootstrap intervals.

    Args:
        probabilities: float [N, C].
        labels: int [N].

    Returns:
        ``{roc_auc, roc_auc_interval, average_precision, average_precision_interval}`` as the mean
        over the classes with both positive and negative images, and a list of the same for each
        class. Undefined metrics are None; so are intervals for more than 150,000 probabilities,
        which would take long.
    """
    n, classes = probabilities.shape
    values = _all_classes(probabilities, labels, np.ones((1, n)))[0]  # [C, 2]
    replicates = affordable_replicates(n, cost=classes)

    def statistics(draws: Integers) -> Floats:
        rows = np.arange(len(draws))[:, None] * n
        counts = np.bincount((draws + rows).ravel(), minlength=draws.size).reshape(draws.shape)
        return _all_classes(probabilities, labels, counts).reshape(len(draws), -1)

    drawn = None
    if replicates:
        drawn = bootstrap(statistics, n, replicates=replicates).reshape(-1, classes, 2)
    per_class = [
        _with_intervals(
            values[number],
            None if drawn is None else drawn[:, number],
            n=min(size, n - size),
        )
        for number, size in enumerate(np.bincount(labels, minlength=classes).tolist())
    ]
    defined = np.isfinite(values[:, 0])
    if not defined.any():
        return _with_intervals(np.full(2, np.nan), None, n=n), per_class
    macro = values[defined].mean(axis=0)
    sizes = np.bincount(labels, minlength=classes)[defined]
    # the uncertainty of the smallest class carries over to the mean
    fewest = int(np.minimum(sizes, n - sizes).min())
    return _with_intervals(macro, _means(drawn, defined), n=fewest), per_class


def _all_classes(probabilities: Floats, labels: Integers, weights: Any) -> Floats:
    """Return float64 [B, C, 2]."""
    per_class = [
        one_vs_rest(probabilities[:, number], labels == number, weights)
        for number in range(probabilities.shape[1])
    ]
    return np.stack(per_class, axis=1)


def _means(drawn: Floats | None, defined: NDArray[np.bool_]) -> Floats | None:
    """Return the mean over the classes that are defined in a replicate: float64 [B, 2]."""
    if drawn is None:
        return None
    present = np.isfinite(drawn[:, defined])
    count = present.sum(axis=1)
    total = np.where(present, drawn[:, defined], 0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _with_intervals(values: Floats, drawn: Floats | None, *, n: int) -> dict[str, Any]:
    metrics: dict[str, Any] = {}
    for position, name in enumerate(METRICS):
        defined = np.isfinite(values[position])
        value = float(values[position]) if defined else None
        metrics[name] = value
        metrics[f"{name}_interval"] = (
            None
            if value is None or drawn is None
            else bootstrap_interval(value, drawn[:, position], n=n)
        )
    return metrics
