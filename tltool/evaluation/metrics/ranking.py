"""How well each class is told from the others by its probability: ROC-AUC, average precision."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.evaluation.metrics.intervals import bootstrap, bootstrap_interval, replicates_for

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]

FIGURES = ("roc_auc", "average_precision")


def one_against_rest(
    scores: Floats, positive: NDArray[np.bool_], weights: Floats | Integers
) -> Floats:
    """Return ROC-AUC and average precision of one class for many weightings of the same items.

    Equal scores are one step: half a point each for the AUC, as in the Mann-Whitney statistic, and
    one threshold for the average precision, as in scikit-learn.

    Args:
        scores: float [N], higher means more likely of the class.
        positive: bool [N], whether it is of the class.
        weights: [B, N], how often each item counts.

    Returns:
        float64 [B, 2]; NaN in a row whose weights leave no positive or no negative item.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    drawn = weights[:, order].astype(np.float64)
    hits = np.add.reduceat(drawn * positive[order], starts, axis=1)  # [B, distinct scores]
    misses = np.add.reduceat(drawn, starts, axis=1) - hits
    true, false = hits.cumsum(axis=1), misses.cumsum(axis=1)
    total, others = true[:, -1], false[:, -1]
    with np.errstate(divide="ignore", invalid="ignore"):
        auc = (misses * (true - hits / 2)).sum(axis=1) / (total * others)
        precision = np.nan_to_num(true / (true + false))
        average = np.where(others > 0, (hits * precision).sum(axis=1) / total, np.nan)
    return np.stack([auc, average], axis=1)


def ranking_figures(probabilities: Floats, labels: Integers) -> tuple[dict[str, Any], list[Any]]:
    """Return macro figures, and those of each class, with bootstrap intervals.

    Args:
        probabilities: float [N, C].
        labels: int [N].

    Returns:
        ``{roc_auc, roc_auc_interval, average_precision, average_precision_interval}`` as mean over
        the classes that have images and are not alone, and a list of the same for each class. What
        is not defined is None; so is an interval that would take long: over 150,000 probabilities.
    """
    n, classes = probabilities.shape
    values = _all_classes(probabilities, labels, np.ones((1, n)))[0]  # [C, 2]
    replicates = replicates_for(n, cost=classes)

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
    # what the smallest class leaves open stays open in the mean
    fewest = int(np.minimum(sizes, n - sizes).min())
    return _with_intervals(macro, _means(drawn, defined), n=fewest), per_class


def _all_classes(probabilities: Floats, labels: Integers, weights: Any) -> Floats:
    """Return float64 [B, C, 2]."""
    found = [
        one_against_rest(probabilities[:, number], labels == number, weights)
        for number in range(probabilities.shape[1])
    ]
    return np.stack(found, axis=1)


def _means(drawn: Floats | None, defined: NDArray[np.bool_]) -> Floats | None:
    """Return the mean over the classes that a replicate defines: float64 [B, 2]."""
    if drawn is None:
        return None
    present = np.isfinite(drawn[:, defined])
    count = present.sum(axis=1)
    total = np.where(present, drawn[:, defined], 0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _with_intervals(values: Floats, drawn: Floats | None, *, n: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for position, name in enumerate(FIGURES):
        known = np.isfinite(values[position])
        value = float(values[position]) if known else None
        found[name] = value
        found[f"{name}_interval"] = (
            None
            if value is None or drawn is None
            else bootstrap_interval(value, drawn[:, position], n=n)
        )
    return found
