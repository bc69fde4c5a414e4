"""Classification metrics of ``metrics.json``, computed from probabilities and labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.errors import DataError, GateError
from tltool.evaluation.metrics.calibration_error import calibration_metrics, reliability_bins
from tltool.evaluation.metrics.class_metrics import confusion_matrix_metrics
from tltool.evaluation.metrics.class_rates import GroupedPredictions
from tltool.evaluation.metrics.confidence_intervals import effective_sample_size, rate_of
from tltool.evaluation.metrics.confusion_matrix import ConfusionMatrix
from tltool.evaluation.metrics.probability_scores import count_clipped, probability_scores
from tltool.evaluation.metrics.roc_auc import ranking_metrics
from tltool.training.temperature import row_blocks

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]

TOP_K = (2, 3, 5)
MATRIX_UP_TO = 200
"""Classes; with more, ``confusion_matrix`` is None, as it grows with their square."""
MOST_CONFUSIONS = 1000


def compute_metrics(
    probabilities: Floats,
    labels: Integers,
    class_names: Sequence[str],
    *,
    uncalibrated: Floats | None = None,
    groups: Integers | None = None,
) -> dict[str, Any]:
    """Return all classification metrics, JSON-ready.

    Every metric has a 95 % interval; ``rough`` says that there are too few images for the interval
    to hold the true value in 93 % of samples. An undefined metric is ``None``, never NaN: the
    recall of a class without images, the precision of a class never predicted, the ROC-AUC where
    all images are of one class. docs/evaluation.md explains each metric and its interval.

    Args:
        probabilities: float [N, C], rows sum to 1.
        labels: int [N], the true class of each row, 0 … C-1.
        class_names: the C names, in the order of the columns.
        uncalibrated: probabilities without temperature scaling, for the uncalibrated metrics.
        groups: number of the group of each image, int [N]: images of one patient, film or burst,
            and near duplicates, are not independent. None, or all different, where all are.

    Returns:
        ``n``; ``groups``, ``{n, effective_n}``, the number of groups and the effective sample size
        of the accuracy, None where all images are independent; ``accuracy``, ``balanced_accuracy``
        and each ``top_k`` entry (only k < C) as ``{value, low, high, rough}``; ``log_loss`` in
        nats, ``brier`` (0 … 2), ``ece``, ``roc_auc`` and ``average_precision``, each with
        ``…_interval``; ``log_loss_clipped``, a number of images; ``ece_raw``,
        ``ece_expected_by_chance``, ``ece_by_chance``;
        ``log_loss_uncalibrated`` and ``ece_uncalibrated`` with their intervals, and
        ``ece_raw_uncalibrated``, where ``uncalibrated`` is given; ``macro``, ``weighted``,
        ``per_class``, ``absent_classes``, ``not_above_chance``, ``needs_more_images``;
        ``confusion_matrix`` [C][C], rows are the true classes, None with more than 200 classes;
        ``confusions``, the most frequent errors as ``{true, predicted, n}`` with class names, at
        most 1,000; ``reliability`` and ``reliability_uncalibrated``, the bins of ``ece_raw``, each
        ``{confidence, accuracy, n}``.

    Raises:
        DataError: there are no images.
        GateError: some probabilities are not finite.
        ValueError: the shapes do not match.
    """
    _check(probabilities, labels, class_names, groups)
    predicted = probabilities.argmax(axis=1)
    matrix = ConfusionMatrix.count(labels, predicted, classes=len(class_names))
    if groups is not None and len(np.unique(groups)) == len(groups):
        groups = None
    grouped = None if groups is None else GroupedPredictions(labels, predicted, groups)
    matrix_metrics = confusion_matrix_metrics(matrix, class_names, grouped)
    ranking, ranking_by_class = ranking_metrics(probabilities, labels, groups)
    rows = zip(matrix_metrics["per_class"], ranking_by_class, strict=True)
    return {
        "n": len(labels),
        "groups": None if groups is None else _describe_groups(predicted == labels, groups),
        "accuracy": rate_of(predicted == labels, groups),
        "top_k": _top_k(probabilities, labels, groups),
        **probability_scores(probabilities, labels, groups),
        "log_loss_clipped": count_clipped(probabilities, labels),
        **calibration_metrics(probabilities, labels, groups),
        **_uncalibrated_metrics(uncalibrated, labels, groups),
        "reliability": reliability_bins(probabilities, labels),
        **ranking,
        **matrix_metrics,
        "per_class": [{**row, **more} for row, more in rows],
        "confusion_matrix": matrix.dense().tolist() if matrix.classes <= MATRIX_UP_TO else None,
        "confusions": [
            {"true": class_names[true], "predicted": class_names[wrong], "n": count}
            for true, wrong, count in matrix.confusions(MOST_CONFUSIONS)
        ],
    }


def _describe_groups(correct: NDArray[np.bool_], groups: Integers) -> dict[str, float]:
    return {
        "n": len(np.unique(groups)),
        "effective_n": effective_sample_size(correct, groups),
    }


def _check(
    probabilities: Floats,
    labels: Integers,
    class_names: Sequence[str],
    groups: Integers | None,
) -> None:
    if probabilities.shape != (len(labels), len(class_names)) or labels.ndim != 1:
        raise ValueError(
            f"probabilities {probabilities.shape}, labels {labels.shape} and "
            f"{len(class_names)} class names do not match"
        )
    if groups is not None and groups.shape != labels.shape:
        raise ValueError(f"groups {groups.shape} and labels {labels.shape} do not match")
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


def _top_k(
    probabilities: Floats, labels: Integers, groups: Integers | None
) -> dict[str, dict[str, Any]]:
    """Return ``{"2": rate, …}`` for each k below the number of classes.

    Ties go to the class with the lower number, as in argmax, so top-k is never below top-1.
    """
    rank = _ranks(probabilities, labels)
    defined = [k for k in TOP_K if k < probabilities.shape[1]]
    return {str(k): rate_of(rank < k, groups) for k in defined}


def _ranks(probabilities: Floats, labels: Integers) -> Integers:
    """Return the position of the true class among the sorted ones, int64 [N]; 0 is top-1."""
    own = probabilities[np.arange(len(labels)), labels][:, None]
    higher = np.zeros(len(labels), np.int64)
    numbers = np.arange(probabilities.shape[1])
    for part in row_blocks(probabilities.shape):
        tied = (probabilities[part] == own[part]) & (numbers < labels[part, None])
        higher[part] = ((probabilities[part] > own[part]) | tied).sum(axis=1)
    return higher


def _uncalibrated_metrics(
    uncalibrated: Floats | None, labels: Integers, groups: Integers | None
) -> dict[str, Any]:
    if uncalibrated is None:
        return {}
    scores = probability_scores(uncalibrated, labels, groups)
    error = calibration_metrics(uncalibrated, labels, groups)
    return {
        "log_loss_uncalibrated": scores["log_loss"],
        "log_loss_uncalibrated_interval": scores["log_loss_interval"],
        "ece_uncalibrated": error["ece"],
        "ece_uncalibrated_interval": error["ece_interval"],
        "ece_raw_uncalibrated": error["ece_raw"],
        "reliability_uncalibrated": reliability_bins(uncalibrated, labels),
    }
