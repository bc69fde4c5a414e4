"""How well out-of-distribution (OOD) scores separate OOD images from in-distribution images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.evaluation.metrics.confidence_intervals import (
    rate_with_interval,
    rule_of_three_interval,
)

Floats = NDArray[np.floating[Any]]


def ood_detection_metrics(in_distribution: Floats, ood: Floats) -> dict[str, Any]:
    """Return the metrics of out-of-distribution detection, JSON-ready.

    Args:
        in_distribution: scores of images of the classes, [N].
        ood: scores of OOD images, [K], at least one; above 1 is detected as OOD.

    Returns:
        ``auroc`` with its 95 % interval (DeLong et al. 1988), ``detected``, the share of the OOD
        images above the threshold with its Wilson interval, ``n_in_distribution`` and ``n_ood``.
    """
    return {
        "auroc": auroc(in_distribution, ood),
        "detected": rate_with_interval(int((ood > 1).sum()), len(ood)),
        "n_in_distribution": len(in_distribution),
        "n_ood": len(ood),
    }


def auroc(in_distribution: Floats, ood: Floats) -> dict[str, float]:
    """Return the area under the ROC curve with a 95 % interval.

    It is the probability that an OOD image scores above an in-distribution image. The interval is
    that of DeLong et al. 1988 on the logit scale, which keeps it inside [0, 1]. If the separation
    is perfect, the interval is that of the rule of three for the smaller group (Hanley and
    Lippman-Hand 1983).
    """
    low, high = np.sort(in_distribution.astype(np.float64)), np.sort(ood.astype(np.float64))
    # for each image, the share of the other group that it is ranked correctly against
    above = _share_below(low, ood.astype(np.float64))
    below = 1 - _share_below(high, in_distribution.astype(np.float64))
    value = float(above.mean())
    variance = _variance_of_mean(above) + _variance_of_mean(below)
    if variance == 0 or value in (0.0, 1.0):
        bounds = rule_of_three_interval(value, min(len(in_distribution), len(ood)))
        return {"value": value, "low": bounds[0], "high": bounds[1]}
    logit = np.log(value / (1 - value))
    half = 1.96 * np.sqrt(variance) / (value * (1 - value))
    return {
        "value": value,
        "low": float(1 / (1 + np.exp(-(logit - half)))),
        "high": float(1 / (1 + np.exp(-(logit + half)))),
    }


def _share_below(ordered: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of ``ordered`` below each value; ties count half."""
    left = np.searchsorted(ordered, values, side="left")
    right = np.searchsorted(ordered, values, side="right")
    return (left + right) / (2 * len(ordered))


def _variance_of_mean(shares: NDArray[np.float64]) -> float:
    return float(shares.var(ddof=1) / len(shares)) if len(shares) > 1 else 0.0
