"""Whether a trained model is better than the linear probe, on the same images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.evaluation.metrics.confidence_intervals import effective_sample_size, rate_of
from tltool.evaluation.metrics.paired_tests import compare_with_first
from tltool.evaluation.metrics.probability_scores import log_losses

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]


def compare_with_probe(
    probe: Floats, model: Floats, labels: Integers, groups: Integers | None = None
) -> dict[str, Any]:
    """Return how much better a model predicts than the linear probe it began from.

    Args:
        probe: probabilities of the probe, calibrated as the model's are, float [N, C].
        model: probabilities of the model, float [N, C].
        labels: class numbers, int [N].
        groups: group of each image, int [N]; None if they are independent.

    Returns:
        ``accuracy`` and ``log_loss`` of the probe; ``accuracy_difference``, the paired comparison
        of `paired_tests`, positive if the model is better; ``log_loss_difference`` ``{value, low,
        high}`` in nats, negative if the model is better, with a 95 % t interval of the mean of the
        paired differences.
    """
    correct = [rows.argmax(axis=1) == labels for rows in (probe, model)]
    paired = compare_with_first(correct[0], [correct[1]], groups=groups)[0]
    losses = [log_losses(rows, labels) for rows in (probe, model)]
    return {
        "accuracy": rate_of(correct[0], groups),
        "log_loss": float(losses[0].mean()),
        "accuracy_difference": paired.to_json(),
        "log_loss_difference": _mean_difference(losses[1] - losses[0], groups),
    }


def _mean_difference(differences: Floats, groups: Integers | None) -> dict[str, float]:
    from scipy.stats import t

    value = float(differences.mean())
    numbers = np.arange(len(differences)) if groups is None else groups
    n = effective_sample_size(differences, numbers)
    if n < 2:
        return {"value": value, "low": -np.inf, "high": np.inf}
    half = float(t.ppf(0.975, n - 1) * differences.std(ddof=1) / np.sqrt(n))
    return {"value": value, "low": value - half, "high": value + half}
