"""Classification metrics of ``metrics.json``, computed from probabilities and labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.errors import DataError, GateError
from tltool.evaluation.metrics.confidence_intervals import (
    affordable_replicates,
    bootstrap,
    bootstrap_interval,
    rate_with_interval,
)
from tltool.evaluation.metrics.confusion_matrix import confusion_matrix, confusion_matrix_metrics
from tltool.evaluation.metrics.roc_auc import ranking_metrics
from tltool.training.temperature import LOSS_LIMIT

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]

TOP_K = (2, 3, 5)
CALIBRATION_BINS = 15
_SIMULATIONS = 200  # simulated label sets for the calibration error that chance explains
_AT_ONCE = 1_000_000  # simulated labels per step, which bounds the memory


def compute_metrics(
    probabilities: Floats,
    labels: Integers,
    class_names: Sequence[str],
    *,
    uncalibrated: Floats | None = None,
) -> dict[str, Any]:
    """Return all classification metrics, JSON-ready.

    Rates have a 95 % Wilson interval, all other metrics a bootstrap interval over the images with a
    fixed seed. An undefined metric is ``None``, never NaN: the recall of a class without images,
    the precision of a class never predicted, the ROC-AUC where all images are of one class.
    docs/evaluation.md explains each metric.

    Args:
        probabilities: float [N, C], rows sum to 1.
        labels: int [N], the true class of each row, 0 … C-1.
        class_names: the C names, in the order of the columns.
        uncalibrated: probabilities without temperature scaling, for the uncalibrated metrics.

    Returns:
        ``n``; ``accuracy``, ``balanced_accuracy`` and each ``top_k`` entry (only k < C) as
        ``{value, low, high}``; ``log_loss`` in nats, ``brier`` (0 … 2), ``ece``, ``roc_auc`` and
        ``average_precision``, each with ``…_interval`` (None where it does not vary between
        images); ``log_loss_clipped``, a number of images; ``ece_by_chance``;
        ``log_loss_uncalibrated`` and ``ece_uncalibrated`` with their intervals where
        ``uncalibrated`` is given; ``macro``, ``weighted``, ``per_class``,
        ``absent_classes``, ``not_above_chance``, ``needs_more_images``; ``confusion_matrix``
        [C][C], rows are the true classes; ``reliability`` and ``reliability_uncalibrated``, the
        bins of ``ece``, each ``{confidence, accuracy, n}``.

    Raises:
        DataError: there are no images.
        GateError: some probabilities are not finite.
        ValueError: the shapes do not match.
    """
    _check(probabilities, labels, class_names)
    predicted = probabilities.argmax(axis=1)
    matrix = confusion_matrix(labels, predicted, classes=len(class_names))
    matrix_metrics = confusion_matrix_metrics(matrix, class_names)
    ranking, ranking_by_class = ranking_metrics(probabilities, labels)
    rows = zip(matrix_metrics["per_class"], ranking_by_class, strict=True)
    return {
        "n": len(labels),
        "accuracy": rate_with_interval(int(np.trace(matrix)), len(labels)),
        "top_k": _top_k(probabilities, labels),
        **_probability_metrics(probabilities, labels),
        "log_loss_clipped": count_clipped(probabilities, labels),
        "ece_by_chance": calibration_error_by_chance(probabilities),
        **_uncalibrated_metrics(uncalibrated, labels),
        "reliability": reliability_bins(probabilities, labels),
        **ranking,
        **matrix_metrics,
        "per_class": [{**row, **more} for row, more in rows],
        "confusion_matrix": matrix.tolist(),
    }


def log_loss(probabilities: Floats, labels: Integers) -> float:
    """Return the mean negative log-probability of the true class, in nats.

    Probabilities come from a float32 softmax, so they are clipped at float32's epsilon: a
    prediction that is wrong with probability 1 costs 15.9, not infinity.
    """
    return float(log_losses(probabilities.astype(np.float64), labels).mean())


def count_clipped(probabilities: Floats, labels: Integers) -> int:
    """Return the number of images whose log-loss is clipped: the true class has almost no share."""
    losses = log_losses(probabilities.astype(np.float64), labels)
    return int((losses >= LOSS_LIMIT).sum())


def brier_scores(probabilities: Floats, labels: Integers) -> Floats:
    """Return the squared distance of each row from the one-hot label, float64 [N], 0 … 2.

    Reference:
        Brier, "Verification of forecasts expressed in terms of probability", 1950.
    """
    rows = probabilities.astype(np.float64)
    true = rows[np.arange(len(labels)), labels]
    return np.asarray((rows**2).sum(axis=1) - 2 * true + 1)


def expected_calibration_error(
    probabilities: Floats, labels: Integers, *, bins: int = CALIBRATION_BINS
) -> float:
    """Return the mean gap between confidence and accuracy over bins of equal mass, in [0, 1].

    Reference:
        Naeini et al., "Obtaining well calibrated probabilities using Bayesian binning", 2015;
        equal-mass bins as in Nixon et al., "Measuring calibration in deep learning", 2019.
    """
    rows = reliability_bins(probabilities, labels, bins=bins)
    gaps = [abs(row["accuracy"] - row["confidence"]) * row["n"] for row in rows]
    return float(sum(gaps) / len(labels))


def reliability_bins(
    probabilities: Floats, labels: Integers, *, bins: int = CALIBRATION_BINS
) -> list[dict[str, Any]]:
    """Return ``{confidence, accuracy, n}`` of equal-mass bins, in ascending order of confidence.

    Images of equal confidence share their mean accuracy, so that a bin edge inside such a tie does
    not depend on the order of the files.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    correct = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    _, group = np.unique(confidence, return_inverse=True)
    shared = np.bincount(group, weights=correct) / np.bincount(group)
    order = np.argsort(confidence, kind="stable")
    return [
        {
            "confidence": float(confidence[part].mean()),
            "accuracy": float(shared[group[part]].mean()),
            "n": len(part),
        }
        for part in np.array_split(order, min(bins, len(order)))
    ]


def calibration_error_by_chance(probabilities: Floats, *, bins: int = CALIBRATION_BINS) -> float:
    """Return the 95 % quantile of the calibration error of a perfectly calibrated model.

    With few images the accuracies of the bins are noisy, which the calibration error counts as a
    gap. Here the labels are simulated 200 times, with a fixed seed, so that each prediction is
    correct with a probability equal to its confidence.

    Reference:
        Bröcker and Smith, "Increasing the reliability of reliability diagrams", 2007.
    """
    confidence = np.sort(probabilities.max(axis=1).astype(np.float64))
    n = len(confidence)
    _, group = np.unique(confidence, return_inverse=True)
    starts = _bin_starts(n, bins)
    random, errors = np.random.default_rng(0), []
    step = max(1, _AT_ONCE // n)
    for start in range(0, _SIMULATIONS, step):
        rows = min(step, _SIMULATIONS - start)
        correct: Floats = (random.random((rows, n)) < confidence).astype(np.float64)
        if group[-1] + 1 < n:  # some images have equal confidence
            correct = _group_means(correct, np.broadcast_to(group, correct.shape))
        gaps = np.add.reduceat(correct - confidence, starts, axis=1)
        errors.append(np.abs(gaps).sum(axis=1) / n)
    return float(np.quantile(np.concatenate(errors), 0.95))


def _bin_starts(n: int, bins: int) -> Integers:
    """Return where the bins of ``reliability_bins`` start, int64 [min(bins, n)]."""
    return np.array([part[0] for part in np.array_split(np.arange(n), min(bins, n))])


def _check(probabilities: Floats, labels: Integers, class_names: Sequence[str]) -> None:
    if probabilities.shape != (len(labels), len(class_names)) or labels.ndim != 1:
        raise ValueError(
            f"probabilities {probabilities.shape}, labels {labels.shape} and "
            f"{len(class_names)} class names do not match"
        )
    if len(labels) == 0:
        raise DataError(
            "there are no images to evaluate",
            hint="give a folder with at least one image per class",
        )
    if labels.min() < 0 or labels.max() >= len(class_names):
        raise ValueError(f"labels {labels.min()} … {labels.max()}, classes {len(class_names)}")
    bad = int((~np.isfinite(probabilities)).any(axis=1).sum())
    if bad:
        raise GateError(
            f"the model's outputs for {bad} of {len(labels)} images are not finite",
            hint="training diverged: lower the learning rate and train again",
        )


def log_losses(rows: Floats, labels: Integers) -> Floats:
    """Return the negative log-probability of the true class, float64 [N]."""
    true = rows[np.arange(len(labels)), labels] / rows.sum(axis=1)
    return np.asarray(-np.log(np.clip(true, np.finfo(np.float32).eps, 1.0)))


def _top_k(probabilities: Floats, labels: Integers) -> dict[str, dict[str, float]]:
    """Return ``{"2": rate, …}`` for each k below the number of classes.

    Ties go to the class with the lower number, as in argmax, so top-k is never below top-1.
    """
    order = np.argsort(-probabilities, axis=1, kind="stable")
    rank = (order == labels[:, None]).argmax(axis=1)  # int [N], 0 is the top-1 prediction
    defined = [k for k in TOP_K if k < probabilities.shape[1]]
    return {str(k): rate_with_interval(int((rank < k).sum()), len(labels)) for k in defined}


def _probability_metrics(probabilities: Floats, labels: Integers) -> dict[str, Any]:
    """Return log-loss, Brier score and expected calibration error with their intervals."""
    values = {
        "log_loss": log_loss(probabilities, labels),
        "brier": float(brier_scores(probabilities, labels).mean()),
        "ece": expected_calibration_error(probabilities, labels),
    }
    order = np.argsort(probabilities.max(axis=1), kind="stable")
    rows, true = probabilities[order].astype(np.float64), labels[order]
    means = np.stack([log_losses(rows, true), brier_scores(rows, true)], axis=1)
    confidence, correct = rows.max(axis=1), (rows.argmax(axis=1) == true).astype(np.float64)
    _, group = np.unique(confidence, return_inverse=True)
    n, no_ties = len(labels), int(group.max()) + 1 == len(labels)
    starts = _bin_starts(n, CALIBRATION_BINS)

    def statistics(draws: Integers) -> Floats:
        drawn = correct[draws] if no_ties else _group_means(correct[draws], group[draws])
        gap = drawn - confidence[draws]
        ece = np.abs(np.add.reduceat(gap, starts, axis=1)).sum(axis=1) / n
        return np.column_stack([means[draws].mean(axis=1), ece])

    drawn = bootstrap(statistics, n, replicates=affordable_replicates(n))
    intervals = {
        f"{name}_interval": bootstrap_interval(value, drawn[:, position])
        for position, (name, value) in enumerate(values.items())
    }
    return {**values, **intervals}


def _group_means(values: Floats, group: Integers) -> Floats:
    """Return the mean of each row's ``values`` over those of the same ``group``, both [B, n]."""
    cell = group + np.arange(len(group))[:, None] * (group.max() + 1)
    sums = np.bincount(cell.ravel(), weights=values.ravel())
    counts = np.bincount(cell.ravel())
    return np.asarray((sums / np.maximum(counts, 1))[cell])


def _uncalibrated_name(name: str) -> str:
    """Return ``log_loss_uncalibrated_interval`` for ``log_loss_interval``."""
    metric, end, _ = name.partition("_interval")
    return f"{metric}_uncalibrated{end}"


def _uncalibrated_metrics(uncalibrated: Floats | None, labels: Integers) -> dict[str, Any]:
    if uncalibrated is None:
        return {}
    metrics = _probability_metrics(uncalibrated, labels)
    names = [f"{name}{end}" for name in ("log_loss", "ece") for end in ("", "_interval")]
    return {
        **{_uncalibrated_name(name): metrics[name] for name in names},
        "reliability_uncalibrated": reliability_bins(uncalibrated, labels),
    }
