"""The numbers of ``metrics.json``, computed once from probabilities and labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.errors import DataError, GateError
from tltool.evaluation.metrics.confusion import confusion_matrix, matrix_figures
from tltool.evaluation.metrics.intervals import (
    bootstrap,
    bootstrap_interval,
    replicates_for,
    wilson,
)
from tltool.evaluation.metrics.ranking import ranking_figures

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]

TOP_K = (2, 3, 5)
CALIBRATION_BINS = 15
_BY_CHANCE = 200  # made-up sets of labels that tell what chance does to a calibration error
_AT_ONCE = 1_000_000  # of their labels, which bounds the memory


def compute_metrics(
    probabilities: Floats,
    labels: Integers,
    class_names: Sequence[str],
    *,
    uncalibrated: Floats | None = None,
) -> dict[str, Any]:
    """Return every figure of an evaluation as a document that ``json.dumps`` takes as it is.

    Rates have Wilson's 95 % interval, everything else that of a bootstrap over the images with a
    fixed seed. A figure without a denominator is ``None``, never NaN: the recall of a class
    without images, the precision of a class never predicted, the ROC-AUC of a class alone.
    docs/evaluation.md says what each means.

    Args:
        probabilities: float [N, C], rows sum to 1.
        labels: int [N], the true class of each row, 0 … C-1.
        class_names: the C names, in the order of the columns.
        uncalibrated: probabilities without the temperature, for the figures "before".

    Returns:
        ``n``; ``accuracy``, ``balanced_accuracy`` and each ``top_k`` entry (only k < C) as
        ``{value, low, high}``; ``log_loss`` in nats, ``brier`` (0 … 2), ``ece``, ``roc_auc`` and
        ``average_precision``, each with ``…_interval`` (None where all images are alike);
        ``ece_by_chance``; ``log_loss_uncalibrated`` and ``ece_uncalibrated`` with their intervals
        where they are known; ``macro``, ``weighted``, ``per_class``, ``absent_classes``,
        ``not_above_chance``, ``rarest_of_these``; ``confusion_matrix`` [C][C], rows true;
        ``reliability`` and ``reliability_uncalibrated``, the bins of ``ece``, each
        ``{confidence, accuracy, n}``.

    Raises:
        DataError: there is nothing to evaluate.
        GateError: the model answers with numbers that are not finite.
        ValueError: the shapes do not belong together.
    """
    _check(probabilities, labels, class_names)
    predicted = probabilities.argmax(axis=1)
    matrix = confusion_matrix(labels, predicted, classes=len(class_names))
    of_matrix = matrix_figures(matrix, class_names)
    ranking, ranking_by_class = ranking_figures(probabilities, labels)
    rows = zip(of_matrix["per_class"], ranking_by_class, strict=True)
    return {
        "n": len(labels),
        "accuracy": _rate(int(np.trace(matrix)), len(labels)),
        "top_k": _top_k(probabilities, labels),
        **_of_confidence(probabilities, labels),
        "ece_by_chance": calibration_error_by_chance(probabilities),
        **_before(uncalibrated, labels),
        "reliability": reliability(probabilities, labels),
        **ranking,
        **of_matrix,
        "per_class": [{**row, **more} for row, more in rows],
        "confusion_matrix": matrix.tolist(),
    }


def log_loss(probabilities: Floats, labels: Integers) -> float:
    """Return the mean negative log-probability of the true class, in nats.

    Probabilities come from a float32 softmax, so they are clipped at float32's epsilon: one
    image that is wrong with "certainty" costs 15.9, not infinity.
    """
    return float(_surprise(probabilities.astype(np.float64), labels).mean())


def brier_scores(probabilities: Floats, labels: Integers) -> Floats:
    """Return the squared distance of each row from the truth, float64 [N], 0 … 2.

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
    rows = reliability(probabilities, labels, bins=bins)
    gaps = [abs(row["accuracy"] - row["confidence"]) * row["n"] for row in rows]
    return float(sum(gaps) / len(labels))


def reliability(
    probabilities: Floats, labels: Integers, *, bins: int = CALIBRATION_BINS
) -> list[dict[str, Any]]:
    """Return ``{confidence, accuracy, n}`` of bins with equally many images, the least sure first.

    Images of the same confidence share their accuracy: a border inside of such a tie must not
    depend on the order of files.
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
    """Return the calibration error that perfectly calibrated answers stay below 95 times in 100.

    With few images the bins' accuracies are noise, which the error counts as a gap. Here the images
    are right as often as their confidences say, 200 times with a fixed seed, and the 95 % quantile
    of the errors is returned.

    Reference:
        Bröcker and Smith, "Increasing the reliability of reliability diagrams", 2007.
    """
    confidence = np.sort(probabilities.max(axis=1).astype(np.float64))
    n = len(confidence)
    _, group = np.unique(confidence, return_inverse=True)
    starts = _bin_starts(n, bins)
    random, errors = np.random.default_rng(0), []
    step = max(1, _AT_ONCE // n)
    for start in range(0, _BY_CHANCE, step):
        rows = min(step, _BY_CHANCE - start)
        right: Floats = (random.random((rows, n)) < confidence).astype(np.float64)
        if group[-1] + 1 < n:  # some images have the same confidence
            right = _shared(right, np.broadcast_to(group, right.shape))
        gaps = np.add.reduceat(right - confidence, starts, axis=1)
        errors.append(np.abs(gaps).sum(axis=1) / n)
    return float(np.quantile(np.concatenate(errors), 0.95))


def _bin_starts(n: int, bins: int) -> Integers:
    """Return where the bins of ``reliability`` begin, int64 [min(bins, n)]."""
    return np.array([part[0] for part in np.array_split(np.arange(n), min(bins, n))])


def _check(probabilities: Floats, labels: Integers, class_names: Sequence[str]) -> None:
    if probabilities.shape != (len(labels), len(class_names)) or labels.ndim != 1:
        raise ValueError(
            f"probabilities {probabilities.shape}, labels {labels.shape} and "
            f"{len(class_names)} class names do not belong together"
        )
    if len(labels) == 0:
        raise DataError(
            "There is no image to evaluate.", hint="give a folder with at least one image per class"
        )
    if labels.min() < 0 or labels.max() >= len(class_names):
        raise ValueError(f"labels {labels.min()} … {labels.max()}, classes {len(class_names)}")
    bad = int((~np.isfinite(probabilities)).any(axis=1).sum())
    if bad:
        raise GateError(
            f"The model answers {bad} of {len(labels)} images with numbers that are not finite.",
            hint="training diverged: lower the learning rate and train again",
        )


def _surprise(rows: Floats, labels: Integers) -> Floats:
    """Return the negative log-probability of the true class, float64 [N]."""
    true = rows[np.arange(len(labels)), labels] / rows.sum(axis=1)
    return np.asarray(-np.log(np.clip(true, np.finfo(np.float32).eps, 1.0)))


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


def _of_confidence(probabilities: Floats, labels: Integers) -> dict[str, Any]:
    """Return log-loss, Brier score and calibration error with their intervals."""
    values = {
        "log_loss": log_loss(probabilities, labels),
        "brier": float(brier_scores(probabilities, labels).mean()),
        "ece": expected_calibration_error(probabilities, labels),
    }
    order = np.argsort(probabilities.max(axis=1), kind="stable")
    rows, true = probabilities[order].astype(np.float64), labels[order]
    means = np.stack([_surprise(rows, true), brier_scores(rows, true)], axis=1)
    confidence, right = rows.max(axis=1), (rows.argmax(axis=1) == true).astype(np.float64)
    _, group = np.unique(confidence, return_inverse=True)
    n, alone = len(labels), int(group.max()) + 1 == len(labels)
    starts = _bin_starts(n, CALIBRATION_BINS)

    def statistics(draws: Integers) -> Floats:
        drawn = right[draws] if alone else _shared(right[draws], group[draws])
        gap = drawn - confidence[draws]
        ece = np.abs(np.add.reduceat(gap, starts, axis=1)).sum(axis=1) / n
        return np.column_stack([means[draws].mean(axis=1), ece])

    drawn = bootstrap(statistics, n, replicates=replicates_for(n))
    intervals = {
        f"{name}_interval": bootstrap_interval(value, drawn[:, position])
        for position, (name, value) in enumerate(values.items())
    }
    return {**values, **intervals}


def _shared(values: Floats, group: Integers) -> Floats:
    """Return the mean of each row's ``values`` over those of the same ``group``, both [B, n]."""
    place = group + np.arange(len(group))[:, None] * (group.max() + 1)
    sums = np.bincount(place.ravel(), weights=values.ravel())
    counts = np.bincount(place.ravel())
    return np.asarray((sums / np.maximum(counts, 1))[place])


def _uncalibrated(name: str) -> str:
    """Return ``log_loss_uncalibrated_interval`` for ``log_loss_interval``."""
    figure, end, _ = name.partition("_interval")
    return f"{figure}_uncalibrated{end}"


def _before(uncalibrated: Floats | None, labels: Integers) -> dict[str, Any]:
    if uncalibrated is None:
        return {}
    found = _of_confidence(uncalibrated, labels)
    names = [f"{name}{end}" for name in ("log_loss", "ece") for end in ("", "_interval")]
    return {
        **{_uncalibrated(name): found[name] for name in names},
        "reliability_uncalibrated": reliability(uncalibrated, labels),
    }
