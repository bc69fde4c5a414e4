"""Selective prediction: the error rate (risk) when only some images are answered (coverage)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.evaluation.metrics.confidence_intervals import (
    affordable_replicates,
    bootstrap,
    bootstrap_interval,
    expanded_level,
    rate_of,
)
from tltool.evaluation.metrics.sample_sizes import few_independent, independent_images

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]

_POINTS = 100  # of a curve: more are not visible


def selective_metrics(
    probabilities: NDArray[np.floating[Any]],
    labels: NDArray[np.int64],
    ood_scores: NDArray[np.floating[Any]] | None,
    groups: NDArray[np.integer[Any]] | None = None,
) -> dict[str, Any]:
    """Return the metrics of selective prediction, JSON-ready.

    Args:
        probabilities: [N, C].
        labels: class numbers [N].
        ood_scores: out-of-distribution scores, [N], above 1 is OOD; None without a detector.
        groups: number of the group of each image, int [N]; None where all are independent.

    Returns:
        ``risk_coverage``: for each ranking of the images, ``confidence`` and ``ood_score``, the
        curve of ``coverage`` and ``risk`` (error rate on the images covered), and ``aurc``, the
        mean risk over all coverages (Geifman and El-Yaniv 2017, arXiv:1705.08500), with
        ``aurc_interval``, a bootstrap interval over the images or groups, which also resamples one
        error of median rank. With OOD scores also ``coverage``, the share of images at or below
        the OOD threshold, and ``selective_accuracy``, the accuracy on them (None if there are
        none), each with its interval.
    """
    wrong = probabilities.argmax(axis=1) != labels
    rankings = {"confidence": -probabilities.max(axis=1)}
    metrics: dict[str, Any] = {}
    if ood_scores is not None:
        rankings["ood_score"] = ood_scores
        covered = ood_scores <= 1
        metrics["coverage"] = rate_of(covered, groups)
        of_covered = None if groups is None else groups[covered]
        metrics["selective_accuracy"] = (
            rate_of(~wrong[covered], of_covered) if covered.any() else None
        )
    metrics["risk_coverage"] = {
        name: _curve(score, wrong, groups) for name, score in rankings.items()
    }
    return metrics


def _curve(
    scores: NDArray[np.floating[Any]], wrong: NDArray[np.bool_], groups: Integers | None
) -> dict[str, Any]:
    order = np.argsort(scores, kind="stable")
    covered = np.arange(1, len(wrong) + 1)
    risk = np.cumsum(wrong[order]) / covered
    # images of equal score are covered together: the curve has a point at the last of them
    last = np.append(np.diff(scores[order]) > 0, [True])
    risk = risk[np.flatnonzero(last)[np.searchsorted(np.flatnonzero(last), np.arange(len(risk)))]]
    shown = np.unique(np.linspace(0, len(wrong) - 1, min(_POINTS, len(wrong))).astype(int))
    return {
        "coverage": (covered[shown] / len(wrong)).tolist(),
        "risk": risk[shown].tolist(),
        "aurc": float(risk.mean()),
        "aurc_interval": _aurc_interval(
            float(risk.mean()), wrong[order], None if groups is None else groups[order]
        ),
        "aurc_rough": few_independent(len(wrong), groups),
    }


def _aurc_interval(value: float, wrong: NDArray[np.bool_], groups: Integers | None) -> list[float]:
    """Return the 95 % interval of the area under the risk-coverage curve.

    It contains the bias-corrected bootstrap interval, and the percentile interval of the images
    with one more error, or group of errors, of median rank: a sample without errors does not vary.

    Args:
        value: the area.
        wrong: bool [N], in the order in which the images are covered.
        groups: number of the group of each image in the same order, int [N], or None.
    """
    n, more, wider = len(wrong), 1, None
    if groups is not None:
        more = max(1, round(n / independent_images(np.ones(n, np.bool_), groups)))
        wider = np.insert(groups, n // 2, np.full(more, groups.max() + 1))
    with_error = np.insert(wrong, n // 2, np.ones(more, np.bool_))
    level = expanded_level(n + 1 if wider is None else len(np.unique(wider)))
    bounds = bootstrap_interval(value, _areas(wrong, groups)) or [value, value]
    low, high = np.quantile(_areas(with_error, wider), [level, 1 - level]).tolist()
    return [min(bounds[0], low), max(bounds[1], high)]


def _areas(wrong: NDArray[np.bool_], groups: Integers | None) -> Floats:
    """Return the areas of bootstrap replicates, float64 [B]."""

    def statistics(draws: Integers) -> Floats:
        risk = wrong[draws].cumsum(axis=1) / np.arange(1, draws.shape[1] + 1)
        return np.asarray(risk.mean(axis=1, keepdims=True))

    n = len(wrong)
    return bootstrap(statistics, n, replicates=affordable_replicates(n), groups=groups)[:, 0]
