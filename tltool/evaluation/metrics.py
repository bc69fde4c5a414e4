"""The numbers of ``metrics.json``, computed once from probabilities and labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.errors import DataError, GateError
from tltool.evaluation.intervals import wilson

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]

TOP_K = (2, 3, 5)
CALIBRATION_BINS = 15


def compute_metrics(
    probabilities: Floats, labels: Integers, class_names: Sequence[str]
) -> dict[str, Any]:
    """Return every figure of an evaluation as a document that ``json.dumps`` takes as it is.

    Args:
        probabilities: float [N, C], rows sum to 1.
        labels: int [N], the true class of each row, 0 … C-1.
        class_names: the C names, in the order of the columns.

    Returns:
        ``n``; ``accuracy`` and each ``top_k`` entry (only k < C) as ``{value, low, high}`` with
        the Wilson 95 % interval; ``log_loss`` in nats; ``ece``; ``macro`` (mean over the classes
        that have images) ``{precision, recall, f1}``; ``per_class`` ``[{name, precision,
        precision_interval, recall, recall_interval, f1, support}]``; ``confusion_matrix``
        [C][C], rows true. A rate without a denominator is ``None``: the recall of a class
        without images, the precision of a class never predicted.

    Raises:
        DataError: there is nothing to evaluate.
        GateError: the model answers with numbers that are not finite.
        ValueError: the shapes do not belong together.
    """
    _check(probabilities, labels, class_names)
    predicted = probabilities.argmax(axis=1)
    matrix = confusion_matrix(labels, predicted, classes=len(class_names))
    per_class = [_class_row(name, matrix, index) for index, name in enumerate(class_names)]
    return {
        "n": len(labels),
        "accuracy": _rate(int(np.trace(matrix)), len(labels)),
        "log_loss": log_loss(probabilities, labels),
        "top_k": _top_k(probabilities, labels),
        "ece": expected_calibration_error(probabilities, labels),
        "macro": _macro(per_class),
        "per_class": per_class,
        "confusion_matrix": matrix.tolist(),
    }


def confusion_matrix(labels: Integers, predicted: Integers, *, classes: int) -> Integers:
    """Count the pairs (true, predicted): int64 [C, C], rows are the true classes."""
    pairs = labels.astype(np.int64) * classes + predicted
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def log_loss(probabilities: Floats, labels: Integers) -> float:
    """Return the mean negative log-probability of the true class, in nats.

    Probabilities come from a float32 softmax, so they are clipped at float32's epsilon: one
    image that is wrong with "certainty" costs 15.9, not infinity.
    """
    rows = probabilities.astype(np.float64)
    true = rows[np.arange(len(labels)), labels] / rows.sum(axis=1)
    return float(-np.log(np.clip(true, np.finfo(np.float32).eps, 1.0)).mean())


def expected_calibration_error(
    probabilities: Floats, labels: Integers, *, bins: int = CALIBRATION_BINS
) -> float:
    """Return the mean gap between confidence and accuracy over bins of equal mass, in [0, 1].

    Reference:
        Naeini et al., "Obtaining well calibrated probabilities using Bayesian binning", 2015;
        equal-mass bins as in Nixon et al., "Measuring calibration in deep learning", 2019.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    correct = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    # Saturated confidences tie, and a bin border inside a tie must not depend on file order.
    _, group = np.unique(confidence, return_inverse=True)
    shared = np.bincount(group, weights=correct) / np.bincount(group)
    gap = (shared[group] - confidence)[np.argsort(confidence, kind="stable")]
    parts = np.array_split(gap, min(bins, len(gap)))
    return float(sum(abs(part.sum()) for part in parts) / len(gap))


def _check(probabilities: Floats, labels: Integers, class_names: Sequence[str]) -> None:
    if probabilities.shape != (len(labels), len(class_names)) or labels.ndim != 1:
        raise ValueError(
            f"probabilities {probabilities.shape}, labels {labels.shape} and "
            f"{len(class_names)} class names do not belong together"
        )
    if len(labels) == 0:
        raise DataError(
            "There is no image to evaluate.", hint="give a folder with at least one photo per class"
        )
    if labels.min() < 0 or labels.max() >= len(class_names):
        raise ValueError(f"labels {labels.min()} … {labels.max()}, classes {len(class_names)}")
    bad = int((~np.isfinite(probabilities)).any(axis=1).sum())
    if bad:
        raise GateError(
            f"The model answers {bad} of {len(labels)} images with numbers that are not finite.",
            hint="training diverged: lower the learning rate and train again",
        )


def _rate(successes: int, n: int) -> dict[str, float]:
    low, high = wilson(successes, n)
    return {"value": successes / n, "low": low, "high": high}


def _top_k(probabilities: Floats, labels: Integers) -> dict[str, dict[str, float]]:
    """Return ``{"2": rate, …}`` for each k under the number of classes.

    Ties go to the lower class, as argmax has it, so that no top-k falls below the accuracy.
    """
    order = np.argsort(-probabilities, axis=1, kind="stable")
    rank = (order == labels[:, None]).argmax(axis=1)  # int [N], 0 is the first guess
    known = [k for k in TOP_K if k < probabilities.shape[1]]
    return {str(k): _rate(int((rank < k).sum()), len(labels)) for k in known}


def _class_row(name: str, matrix: Integers, index: int) -> dict[str, Any]:
    hits = int(matrix[index, index])
    support, predicted = int(matrix[index].sum()), int(matrix[:, index].sum())
    return {
        "name": name,
        "precision": hits / predicted if predicted else None,
        "precision_interval": list(wilson(hits, predicted)) if predicted else None,
        "recall": hits / support if support else None,
        "recall_interval": list(wilson(hits, support)) if support else None,
        "f1": 2 * hits / (support + predicted) if support + predicted else None,
        "support": support,
    }


def _macro(per_class: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Average over the classes that have images; a class never predicted has precision 0."""
    present = [row for row in per_class if row["support"]]
    return {
        key: float(np.mean([row[key] or 0.0 for row in present]))
        for key in ("precision", "recall", "f1")
    }
