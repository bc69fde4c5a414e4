"""Log-loss and Brier score: how good the predicted probabilities are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.evaluation.metrics.confidence_intervals import (
    affordable_replicates,
    bootstrap,
    bootstrap_interval,
    expanded_level,
)
from tltool.evaluation.metrics.sample_sizes import few_independent, independent_images
from tltool.training.temperature import LOSS_LIMIT

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]


def probability_scores(
    probabilities: Floats, labels: Integers, groups: Integers | None = None
) -> dict[str, Any]:
    """Return ``log_loss`` and ``brier``, each with its ``…_interval`` and ``…_rough``.

    Most of the log-loss of an accurate model comes from its errors, and a small sample may have
    none of them. Therefore the bootstrap also resamples one error more than there is: the image of
    median confidence, with its second most probable class as the label.

    Args:
        probabilities: float [N, C], N >= 1 and C >= 2.
        labels: int [N].
        groups: number of the group of each image, int [N]; None where all are independent.
    """
    values = _scores(probabilities, labels)
    middle = np.argsort(probabilities.max(axis=1), kind="stable")[len(labels) // 2]
    row = probabilities[middle][None]
    error = _scores(row, np.argsort(row, axis=1, kind="stable")[:, -2])[0]
    intervals = intervals_of_means(values, error, groups)
    metrics: dict[str, Any] = {}
    for position, name in enumerate(("log_loss", "brier")):
        metrics[name] = float(values[:, position].mean())
        metrics[f"{name}_interval"] = intervals[position]
        metrics[f"{name}_rough"] = few_independent(len(labels), groups)
    return metrics


def intervals_of_means(
    values: Floats, error: Floats, groups: Integers | None = None
) -> list[list[float]]:
    """Return 95 % bootstrap intervals of means that are mostly due to rare large values.

    Each contains two intervals: the bias-corrected one of the sample, and the percentile interval
    of the sample with one more image, of the values ``error``. The percentiles of the second are
    expanded for few images.

    Args:
        values: of each image, float [N, S], N >= 1.
        error: a plausible large value of each statistic, float [S].
        groups: number of the group of each image, int [N]; one group of typical size is then added
            instead of one image.

    Returns:
        ``[low, high]`` of each of the S means.
    """
    n, more, wider = len(values), 1, None
    if groups is not None:
        more = max(1, round(n / independent_images(np.ones(n, np.bool_), groups)))
        wider = np.append(groups, np.full(more, groups.max() + 1))
    with_error = np.concatenate([values, np.broadcast_to(error, (more, len(error)))])
    drawn, drawn_with_error = _resampled_means(values, groups), _resampled_means(with_error, wider)
    size = n + 1 if wider is None else len(np.unique(wider))
    level = expanded_level(size)
    lows, highs = np.quantile(drawn_with_error, [level, 1 - level], axis=0)
    intervals = []
    for column, value in enumerate(values.mean(axis=0).tolist()):
        low, high = bootstrap_interval(value, drawn[:, column]) or (value, value)
        intervals.append([min(low, float(lows[column])), max(high, float(highs[column]))])
    return intervals


def _resampled_means(values: Floats, groups: Integers | None) -> Floats:
    """Return the means of bootstrap replicates of images, or of groups: float64 [B, S]."""
    n = len(values)
    replicates = affordable_replicates(n)
    if groups is None:
        return bootstrap(lambda rows: values[rows].mean(axis=1), n, replicates=replicates)
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    sums = np.zeros((len(sizes), values.shape[1]))
    np.add.at(sums, group, values)

    def statistics(draws: Integers) -> Floats:
        return np.asarray(sums[draws].sum(axis=1) / sizes[draws].sum(axis=1, keepdims=True))

    return bootstrap(statistics, len(sizes), replicates=replicates)


def log_loss(probabilities: Floats, labels: Integers) -> float:
    """Return the mean negative log-probability of the true class, in nats.

    Probabilities come from a float32 softmax, so they are clipped at float32's epsilon: a
    prediction that is wrong with probability 1 costs 15.9, not infinity.
    """
    return float(log_losses(probabilities, labels).mean())


def count_clipped(probabilities: Floats, labels: Integers) -> int:
    """Return the number of images whose log-loss is clipped: the true class has almost no share."""
    return int((log_losses(probabilities, labels) >= LOSS_LIMIT).sum())


def brier_scores(probabilities: Floats, labels: Integers) -> Floats:
    """Return the squared distance of each row from the one-hot label, float64 [N], 0 … 2.

    Reference:
        Brier, "Verification of forecasts expressed in terms of probability", 1950.
    """
    true = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    squares = np.einsum("nc,nc->n", probabilities, probabilities, dtype=np.float64)
    return np.asarray(squares - 2 * true + 1)


def _scores(probabilities: Floats, labels: Integers) -> Floats:
    """Return log-loss and Brier score of each image, float64 [N, 2]."""
    return np.stack(
        [log_losses(probabilities, labels), brier_scores(probabilities, labels)], axis=1
    )


def log_losses(probabilities: Floats, labels: Integers) -> Floats:
    """Return the negative log-probability of the true class, float64 [N]."""
    own = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    true = own / probabilities.sum(axis=1, dtype=np.float64)
    return np.asarray(-np.log(np.clip(true, np.finfo(np.float32).eps, 1.0)))
